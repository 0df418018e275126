// Long answers: the text with its doubtful sentences marked, the sentences of a row, and the least supported ones of all rows.

const LONGEST_CUT = 600; // characters of a long answer in a cell or a card
const MOST_SEGMENTS = 40; // of the bar of sentences

const supportText = (row, by) => `supported by ${count(by)} of ${plural(row.long.samples, "sample")}`;

// The fields of a sentence or claim of a row.
function sentenceOf(row, [start, end, uncertainty, by, doubtful]) {
  return { start, end, text: end === null ? start : row.answer.slice(start, end), uncertainty, by, doubtful: Boolean(doubtful) };
}

const sentencesOf = (row) => row.long.sentences.map((fields) => sentenceOf(row, fields));

function doubtMark(text, title) {
  return element("mark", { class: "doubt", dir: "auto", title }, text);
}

// The answer, cut to a number of characters, with its doubtful sentences marked.
function markedAnswer(row, tag, attributes = {}, most = Infinity) {
  const text = row.answer.length > most ? `${row.answer.slice(0, most)} …` : row.answer;
  const parts = [];
  let at = 0;
  for (const each of row.long.unit === "sentence" ? sentencesOf(row) : []) {
    if (!each.doubtful || each.start < at || each.start >= most) continue;
    const end = Math.min(each.end, text.length);
    parts.push(text.slice(at, each.start), doubtMark(text.slice(each.start, end), supportText(row, each.by)));
    at = end;
  }
  return element(tag, { dir: "auto", ...attributes }, ...parts, text.slice(at));
}

// One segment for each sentence, in the order of the answer; a doubtful one has stripes.
function sentenceBar(row) {
  const doubtful = row.counted - row.largest;
  const bar = element("div", { class: "shares", role: "img", "aria-label": `${count(doubtful)} of ${plural(row.counted, row.long.unit)} doubtful` });
  const whole = row.long.sentences.length === row.counted && row.counted <= MOST_SEGMENTS;
  const segments = whole ? sentencesOf(row).map((each) => [each.doubtful, 1]) : [[false, row.largest], [true, doubtful]];
  for (const [isDoubtful, share] of segments) {
    if (!share) continue;
    const part = element("span", { class: isDoubtful ? "doubted" : "supported" });
    part.style.flex = `${share} 1 0`;
    bar.append(part);
  }
  return bar;
}

function sentenceItem(row, each, text = each.text) {
  const known = each.uncertainty === null ? "uncertainty unknown" : `uncertainty ${fixed(each.uncertainty, 2)}`;
  return [each.doubtful ? element("bdi", {}, doubtMark(text)) : shown("span", text, { class: "text" }), " ",
    element("span", { class: each.doubtful ? "chip wrong" : "chip" }, `${each.doubtful ? "doubtful: " : ""}${supportText(row, each.by)}`), " ",
    element("span", { class: "quiet" }, known)];
}

// The answer with its marks, and its sentences: the least supported first.
function sentenceBlock(row) {
  const rank = (each) => (each.uncertainty === null ? 2 : each.uncertainty);
  const listed = sentencesOf(row).map((each, i) => ({ ...each, i })).sort((a, b) => rank(b) - rank(a) || a.i - b.i);
  const more = row.long.count - listed.length;
  return [element("h3", {}, "Answer"), row.answer !== null && markedAnswer(row, "div", { class: "text" }),
    element("h3", {}, `${row.long.unit === "claim" ? "Claims" : "Sentences"}, the least supported first`),
    element("p", { class: "quiet" }, row.long.head),
    element("ul", { class: "plain" }, listed.map((each) => element("li", {}, ...sentenceItem(row, each)))),
    more > 0 && element("p", { class: "quiet" }, `and ${plural(more, row.long.unit)} more, which are not less supported than these`)];
}

function leastCard([i, text, uncertainty, by, doubtful]) {
  const row = DATA.rows[i];
  const cut = text.length > LONGEST_CUT ? `${text.slice(0, LONGEST_CUT)} …` : text;
  return element("li", {},
    element("div", {},
      element("p", {}, ...sentenceItem(row, { uncertainty, by, doubtful: Boolean(doubtful) }, cut)),
      element("p", { class: "clamp two quiet" }, element("span", { class: "label" }, "Question:"), shown("bdi", row.question ?? row.id))),
    element("div", { class: "facts" }, element("button", { type: "button", class: "link", onclick: () => openRow(i) }, "Show the answer",
      element("span", { class: "hidden-text" }, ` to question ${count(row.rank + 1)}`))));
}

function leastSupported() {
  const found = DATA.least;
  byId("least").hidden = !found;
  if (!found) return;
  const { unit } = DATA.totals;
  byId("least-title").textContent = `The least supported ${unit}s of all answers`;
  const equal = found.equal > DATA.first ? ` ${plural(found.equal, unit)} are as uncertain as the first one: those of the more uncertain answers come first.` : "";
  const unknown = found.unknown ? ` The uncertainty of ${plural(found.unknown, unit)} is unknown, because too few samples could be decided: they are not in this list.` : "";
  const most = found.known > found.sentences.length ? ` The first ${count(found.sentences.length)} of ${count(found.known)} can be listed here; semantic-entropy estimate --sentences FILE writes all.` : "";
  byId("least-note").textContent = `By their uncertainty: 1 minus the mean support of the samples.${equal}${unknown}${most}`;
  const more = element("button", { type: "button", onclick: () => { const start = end; add(20); byId("least-list").children[start]?.querySelector("button").focus(); } });
  let end = 0;
  function add(number) {
    byId("least-list").append(...found.sentences.slice(end, end + number).map(leastCard));
    end = Math.min(found.sentences.length, end + number);
    more.textContent = `Show ${Math.min(20, found.sentences.length - end)} more`;
    more.hidden = end === found.sentences.length;
  }
  add(DATA.first);
  byId("least-more").append(more);
}
