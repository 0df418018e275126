"use strict";
// Elements of the page. A text of the data is only ever a text node or the value of a harmless attribute.

const DATA = JSON.parse(document.getElementById("data").textContent);
// Long answers are measured by their sentences, or claims; short ones by their meanings. A report can have both.
const KIND = DATA.totals.long === 0 ? "short" : DATA.totals.long === DATA.totals.rows ? "long" : "mixed";
const UNITS = `${DATA.totals.unit}s`;
const BANDS = {
  short: {
    agree: ["All agree", "every response means the same"],
    majority: ["Majority", "one meaning has more than half"],
    split: ["No majority", "no meaning has more than half"],
    unknown: ["Nothing to compare", "fewer than two valid answers"],
  },
  long: {
    agree: ["All supported", `no ${DATA.totals.unit} is doubtful`],
    majority: ["Mostly supported", `fewer than half of the ${UNITS} are doubtful`],
    split: ["Mostly doubtful", `half of the ${UNITS} or more are doubtful`],
    unknown: ["Unknown", "too few samples, or none is decided"],
  },
  mixed: {
    agree: ["All agree", `one meaning, or no doubtful ${DATA.totals.unit}`],
    majority: ["Majority", `more than half mean the same; or fewer than half of the ${UNITS} are doubtful`],
    split: ["No majority", `no meaning has more than half; or half of the ${UNITS} or more are doubtful`],
    unknown: ["Unknown", "nothing can be compared"],
  },
}[KIND];
const SCORE_NAME = { p_wrong: "p(wrong)", entropy: "Entropy", unsupported: "Unsupported", uncertainty: "Uncertainty" }[DATA.score];
const SCORE_UNIT = { p_wrong: "p(wrong)", entropy: "entropy in nats", unsupported: "unsupported, 0 to 1", uncertainty: "unsupported, or share of the maximal entropy" }[DATA.score];
// What a calibration or a gate decided, from the best to the worst.
const ACTIONS = {
  passed: "not flagged", allow: "allow", warn: "allow, with a warning", defer: "defer: check it", flagged: "flagged: do not answer with this", block: "block",
};
const MANY = 280; // characters of a response that are shown before it is opened

const byId = (id) => document.getElementById(id);
const count = (number) => number.toLocaleString("en");
const percent = (share) => (share === null ? "unknown" : `${Number((100 * share).toFixed(share < 0.1 ? 1 : 0))}%`);
const fixed = (number, digits = 3) => (number === null || number === undefined ? "unknown" : number.toFixed(digits));
const plural = (number, noun) => `${count(number)} ${noun}${number === 1 ? "" : "s"}`;
const words = (numbers) => numbers.map((number) => DATA.texts[number]);

// element("p", {class: "quiet", onclick: open}, "text", child): names of attributes are those of this script.
function element(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

function svg(tag, attributes = {}, ...children) {
  return filled(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

function filled(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

// A text of the data. Its writing direction does not change that of the page around it.
function shown(tag, text, attributes = {}) {
  return element(tag, { dir: "auto", ...attributes }, text);
}

// The letter of a meaning: A ... Z, AA ...
function letter(number) {
  return (number >= 26 ? letter(Math.floor(number / 26) - 1) : "") + String.fromCharCode(65 + (number % 26));
}

// The meanings of a row, the largest first; all invalid answers are one group, at the end.
function meanings(row) {
  const groups = row.clusters.map(([answer, share], label) => ({ answer, share: share ?? 0, label }));
  const members = row.clusters.map(() => []);
  row.labels.forEach((label, i) => label >= 0 && members[label].push(i));
  const valid = groups.filter((group) => group.answer !== null);
  valid.forEach((group) => (group.members = members[group.label]));
  valid.sort((a, b) => b.share - a.share || b.members.length - a.members.length || a.label - b.label);
  valid.forEach((group, i) => Object.assign(group, { name: letter(i), style: `m${i % 8}` }));
  const invalid = groups.filter((group) => group.answer === null);
  const dropped = row.labels.flatMap((label, i) => (label < 0 ? [i] : []));
  if (invalid.length || dropped.length) {
    valid.push({
      answer: null,
      share: invalid.reduce((sum, group) => sum + group.share, 0),
      members: [...invalid.flatMap((group) => members[group.label]), ...dropped].sort((a, b) => a - b),
      parts: invalid.length,
      dropped: dropped.length,
      name: "–",
      style: "mx",
    });
  }
  return valid;
}

function mark(group) {
  const title = group.answer === null ? "no valid answer" : `meaning ${group.name}`;
  return element("span", { class: `mark ${group.style}`, title }, group.name);
}

// The shares of the meanings as one bar with letters.
function shareBar(row) {
  if (row.long) return sentenceBar(row);
  return meaningBar(row);
}

function meaningBar(row) {
  const groups = meanings(row);
  const told = groups.map((group) => `${group.answer === null ? "no valid answer" : group.name} ${percent(group.share)}`);
  const most = 12;
  const text = told.slice(0, most).join(", ") + (told.length > most ? `, and ${told.length - most} more` : "");
  const bar = element("div", { class: "shares", role: "img", "aria-label": `Shares of the meanings: ${text}` });
  for (const group of groups) {
    if (group.share <= 0) continue;
    const part = element("span", { class: group.style, title: `${group.name} ${percent(group.share)}` });
    part.textContent = group.share >= 0.06 && group.answer !== null ? group.name : ""; // stripes are no background for a text
    part.style.flex = `${group.share} 1 0`;
    bar.append(part);
  }
  return bar;
}

function labelChip(row, before = "") {
  if (row.wrong === undefined) return null;
  return element("span", { class: `chip ${row.wrong ? "wrong" : "right"}` }, before + (row.wrong ? "wrong" : "right"));
}

function decisionChip(row) {
  return row.action ? element("span", { class: `chip ${row.action}`, title: ACTIONS[row.action] }, row.action === "passed" ? "not flagged" : row.action) : null;
}

function numbersTable(caption, heads, lines) {
  return element(
    "div",
    { class: "scroll", tabindex: "0", role: "region", "aria-label": caption },
    element(
      "table",
      { class: "numbers" },
      element("caption", { class: "hidden-text" }, caption),
      element("thead", {}, element("tr", {}, heads.map((head) => element("th", { scope: "col" }, head)))),
      element("tbody", {}, lines.map((line) => element("tr", {}, line.map((cell) => element("td", {}, String(cell)))))),
    ),
  );
}
