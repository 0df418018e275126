// An opened row: its meanings with their responses, why it is uncertain, who judged it, and what it cost.

function responseText(text) {
  if (text.length <= MANY) return shown("span", text || "(empty)", { class: "text" });
  const opened = element("details", {}, shown("summary", `${text.slice(0, MANY - 80)} …`));
  opened.addEventListener("toggle", () => opened.childElementCount === 1 && opened.append(shown("div", text, { class: "text" })));
  return opened;
}

// One entry for equal responses with equal labels.
function distinct(row, members) {
  const found = new Map();
  for (const i of members) {
    const label = row.correct ? row.correct[i] : undefined;
    const key = `${label} ${row.responses[i]}`;
    if (found.has(key)) found.get(key).times++;
    else found.set(key, { index: i, label, times: 1 });
  }
  return [...found.values()];
}

function meaningBlock(row, group, answers) {
  const size = `${percent(group.share)} · ${count(group.members.length)} of ${count(row.responses.length)}`;
  const meter = element("span", { class: "meter" }, element("span"));
  meter.firstChild.style.width = `${100 * group.share}%`;
  const items = distinct(row, group.members).map(({ index, label, times }) => {
    const extracted = answers.get(index);
    return element("li", {}, responseText(row.responses[index]), " ",
      times > 1 && element("span", { class: "chip" }, `× ${times}`), " ",
      label !== undefined && element("span", { class: `chip ${label ? "right" : "wrong"}` }, label ? "right" : "wrong"),
      extracted !== undefined && element("div", { class: "quiet" }, "answer: ", shown("bdi", extracted)));
  });
  let note = null;
  if (group.answer === null) {
    const counted = group.parts > 1 ? "each counts as a meaning of its own" : "together they count as one meaning";
    note = element("span", { class: "quiet" }, "No valid answer: empty, a refusal, or nothing to extract",
      group.parts && group.members.length > 1 ? `; ${counted}` : "", group.dropped ? "; left out of the entropy" : "");
  }
  return element("div", { class: `meaning ${group.style}` },
    element("header", {}, mark(group), meter, element("strong", {}, size), note), element("ul", {}, items));
}

function list(title, lines, style = "") {
  return lines.length ? [element("h3", {}, title), element("ul", { class: `plain ${style}` }, lines.map((line) => shown("li", line)))] : [];
}

function detail(row) {
  const answers = new Map(row.answers ?? []);
  const groups = meanings(row);
  const left = element("div", {},
    row.question !== null && [element("h3", {}, "Question"), responseText(row.question)],
    row.greedy !== undefined && !row.long && [element("h3", {}, "Greedy answer"), responseText(row.greedy)],
    row.long && sentenceBlock(row),
    element("h3", {}, `${row.long ? "The responses as wholes: " : ""}${plural(groups.filter((group) => group.answer !== null).length, "meaning")} in ${plural(row.responses.length, "response")}${row.valid < row.responses.length ? `, ${count(row.responses.length - row.valid)} of them without a valid answer` : ""}`),
    meaningBar(row), groups.map((group) => meaningBlock(row, group, answers)));
  const undecided = (row.undecided ?? []).map(([a, b, reason]) => `“${a.slice(0, 120)}” and “${b.slice(0, 120)}”: ${reason}`);
  const facts = row.scores.map(([name, value]) => [DATA.texts[name], Number.isInteger(value) ? count(value) : fixed(value, 4)]);
  const right = element("div", {},
    row.action && [element("h3", {}, "Decision"), element("p", {}, decisionChip(row), ` ${ACTIONS[row.action]}`)],
    row.action && element("ul", { class: "plain" }, words(row.basis).map((line) => shown("li", line))),
    list("Why", words(row.why)),
    element("h3", {}, "Scores"), numbersTable("Scores of this question", ["score", "value"],
      row.long ? [...facts, ["entropy of the wholes (nats)", fixed(row.entropy, 4)]] : [["entropy (nats)", fixed(row.entropy, 4)], ["share of the maximum", percent(row.normalized)], ...facts]),
    list("Judging and cost", words(row.work)),
    list("Pairs without a verdict", undecided),
    (row.fields ?? []).length > 0 && [element("h3", {}, "Other fields of the row"),
      element("ul", { class: "plain" }, row.fields.map(([name, value]) => element("li", {}, shown("bdi", DATA.texts[name], { class: "label" }), shown("bdi", value))))],
    element("details", {}, element("summary", {}, "Method"), element("ul", { class: "plain quiet" }, words(row.method).map((line) => shown("li", line)))));
  return element("div", { class: "detail-grid" }, left, right);
}
