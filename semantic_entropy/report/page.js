// The parts above the table, and the start of the page.

function overall() {
  const { rows, bands, responses, entropy, normalized, labelled, wrong, wrong_agree: sure, warned } = DATA.totals;
  document.title = `${DATA.title} – semantic entropy`;
  byId("title").textContent = DATA.title;
  const { judges } = DATA.totals;
  const judge = judges.length === 1 ? `, compared by the judge ${judges[0][0]}` : `, compared by ${judges.length} judges`;
  const what = { short: "Semantic entropy", long: `Support of the ${UNITS}`, mixed: `Semantic entropy, and support of the ${UNITS} of ${plural(DATA.totals.long, "long answer")},` }[KIND];
  byId("made").textContent = `${what} of ${plural(responses, "response")} to ${plural(rows, "question")}${judge} · made ${DATA.made} by semantic-entropy ${DATA.version}`;
  if (KIND !== "short") byId("overall-title").textContent = KIND === "long" ? "How far the samples support the answers" : "How far the responses agree, and support the long answers";
  const sentences = KIND !== "short" ? longLead() : [bands.split
    ? `${count(bands.split)} of ${plural(rows, "question")} (${percent(bands.split / rows)}) have no majority: check these answers before you use them.`
    : rows > bands.unknown
      ? `In each of the ${plural(rows - bands.unknown, "question")} that can be compared, more than half of the responses mean the same.`
      : "No question has two valid answers, so nothing can be compared."];
  if (labelled) sentences.push(`${percent(wrong / labelled)} of the ${count(labelled)} labelled answers are wrong${sure ? `; ${count(sure)} of these cannot be found by comparison, because all responses agree` : ""}.`);
  byId("lead").textContent = sentences.join(" ");
  if (DATA.words) byId("lead").after(element("p", { class: "notice" }, DATA.words));
  for (const [band, [title, text]] of Object.entries(BANDS)) {
    if (!bands[band]) continue;
    byId("bands").append(element("button", { type: "button", class: band, value: band, "aria-pressed": "false", onclick: () => { showOnly({ band: state.band === band ? "" : band }); byId("all").scrollIntoView(); } },
      element("strong", {}, count(bands[band])), ` ${title}, ${percent(bands[band] / rows)}`, element("small", {}, text)));
  }
  const tile = (title, value, note = "") => element("div", {}, element("dt", {}, title), element("dd", {}, value, note && element("small", {}, ` ${note}`)));
  const auroc = DATA.labelled?.scores[0].metrics.auroc;
  byId("tiles").append(
    KIND !== "short" ? tile("Mean unsupported share of the long answers", fixed(DATA.totals.unsupported, 2), `(0: the samples support every ${DATA.totals.unit})`) : "",
    KIND !== "long" ? tile("Mean entropy (0: all agree)", `${fixed(entropy, 2)} nats`, `${percent(normalized)} of the maximum`) : "",
    labelled ? tile("Labelled right", percent(1 - wrong / labelled), `of ${count(labelled)}`) : "",
    auroc ? tile("A wrong answer ranks above a right one", `in ${percent(auroc[0])} of pairs`, `AUROC${auroc[1] === null ? "" : `, 95% interval ${fixed(auroc[1], 2)} to ${fixed(auroc[2], 2)}`}`) : "",
    tile("Questions with warnings", count(DATA.rows.filter((row) => row.why.length > 1).length)),
    DATA.totals.undecided ? tile("Undecided pairs", percent(DATA.totals.undecided / DATA.totals.pairs), `of ${count(DATA.totals.pairs)}`) : "",
    DATA.totals.costs.map(([title, cost]) => tile(`Cost of ${title}`, cost)));
}

// The sentences that a report with long answers opens with.
function longLead() {
  const { rows, bands, long, sentences, doubtful } = DATA.totals;
  const of = KIND === "long" ? plural(rows, "answer") : plural(rows, "question");
  const which = KIND === "long" ? `half of the ${UNITS} or more are doubtful` : `no meaning has a majority, or half of the ${UNITS} of a long answer or more are doubtful`;
  const first = bands.split
    ? `In ${count(bands.split)} of ${of} (${percent(bands.split / rows)}), ${which}: check these answers before you use them.`
    : rows > bands.unknown
      ? `In none of ${plural(rows - bands.unknown, "question")} that can be compared, ${which}.`
      : "Nothing can be compared: every uncertainty is unknown.";
  const second = sentences ? `${count(doubtful)} of ${plural(sentences, DATA.totals.unit)} in ${plural(long, "long answer")} (${percent(doubtful / sentences)}) are doubtful: fewer than half of the samples support them, or it is unknown how many do.` : "";
  return [first, second];
}

function firstCard(i) {
  const row = DATA.rows[i];
  const [main, ...notes] = words(row.why);
  const card = element("li");
  const button = element("button", { type: "button", class: "link", "aria-expanded": "false", onclick: () => {
    const opened = card.querySelector(".opened");
    button.setAttribute("aria-expanded", String(!opened));
    if (opened) opened.remove();
    else card.append(element("div", { class: "opened" }, detail(row)));
  } }, row.long ? `All ${row.long.unit}s and responses` : "All responses", element("span", { class: "hidden-text" }, ` to question ${row.rank + 1}`));
  card.append(
    element("div", {},
      shown("p", row.question ?? row.id, { class: "question clamp two" }),
      row.answer !== null && element("p", { class: "clamp two" }, element("span", { class: "label" }, row.long ? "Answer:" : `Answer (${row.largest} of ${row.counted}):`), labelChip(row, "labelled "), " ",
        row.long ? markedAnswer(row, "bdi", {}, LONGEST_CUT) : shown("bdi", row.answer)),
      element("p", { class: "why clamp two" }, element("span", { class: "label" }, "Why:"), main, notes.length > 0 && ` · ${notes.join(" · ")}`)),
    element("div", { class: "facts" }, shareBar(row),
      element("span", {}, DATA.score === "p_wrong" ? `p(wrong) ${percent(row.score)}` : row.long ? `unsupported ${fixed(row.score, 2)}` : `entropy ${fixed(row.entropy, 2)}`),
      decisionChip(row), button));
  return card;
}

function checkFirst() {
  const ranked = order.filter((i) => DATA.rows[i].score !== null && DATA.rows[i].band !== "unknown" && DATA.rows[i].band !== "agree");
  let end = 0;
  const more = element("button", { type: "button", onclick: () => { const start = end; add(5); byId("first-list").children[start]?.querySelector("button").focus(); } });
  function add(number) {
    byId("first-list").append(...ranked.slice(end, end + number).map(firstCard));
    end = Math.min(ranked.length, end + number);
    more.textContent = `Show ${Math.min(5, ranked.length - end)} more`;
    more.hidden = end === ranked.length;
  }
  add(DATA.first);
  const by = {
    p_wrong: "by the calibrated probability that the answer is wrong",
    entropy: "by semantic entropy",
    unsupported: `by the estimator unsupported: how little the other samples support the ${UNITS} of the answer, from 0 to 1`,
    uncertainty: `long answers by the estimator unsupported (how little the samples support their ${UNITS}), short ones by their semantic entropy as a share of its maximum. Both are from 0 to 1, and different measures: the filter “Answers” shows each kind by itself`,
  }[DATA.score];
  const equal = DATA.equal ? ` ${plural(DATA.equal, "question")} are as uncertain as number ${DATA.first}: equal ones are in the order of the file.` : "";
  byId("first-note").textContent = ranked.length ? `The most uncertain answers, ${by}.${equal}` : "No question has responses that disagree.";
  byId("first-more").append(more);
  const unknown = DATA.totals.bands.unknown;
  if (unknown) {
    byId("first-more").append(" ", element("button", { type: "button", onclick: () => { showOnly({ band: "unknown" }); byId("all").scrollIntoView(); } },
      `Also look at ${plural(unknown, "question")} ${KIND === "short" ? "with fewer than two valid answers: their uncertainty is unknown" : "whose uncertainty is unknown"}`));
  }
}

function charts() {
  const found = DATA.labelled;
  const drawn = (score) => byId("chart-grid").replaceChildren(
    ...[DATA.histogram && histogramChart(), ...(score ? [rejectionChart(score), rocChart(score), calibrationChart(score)] : [])].filter(Boolean));
  drawn(found?.scores[0]);
  if (!found) {
    const why = DATA.totals.labelled ? `all labelled answers are ${DATA.totals.wrong ? "wrong" : "right"}` : "the rows have no labels";
    byId("metrics").append(element("p", { class: "quiet" }, `No rejection curve, ROC curve and calibration: ${why}.`));
    return;
  }
  byId("charts-title").textContent = "Does the uncertainty find the wrong answers?";
  if (found.scores.length > 1) {
    byId("score-choice").append(element("label", {}, "Score of the curves", element("select", { onchange: (event) => drawn(found.scores[Number(event.target.value)]) },
      found.scores.map((score, i) => element("option", { value: i }, score.name)))));
  }
  const names = { auroc: "AUROC", aurac: "AURAC", prr: "PRR", brier: "Brier", ece: "ECE" };
  const value = (metric, range) => (range === undefined ? "" : metric === "auroc" && range[1] !== null ? `${fixed(range[0])} (${fixed(range[1])} to ${fixed(range[2])})` : range[0] === null ? "" : fixed(range[0]));
  const lines = found.scores.map((score) => [score.name, ...found.metrics.map((metric) => value(metric, score.metrics[metric])), score.unknown]);
  byId("metrics").append(element("h3", {}, `Scores on ${plural(found.groups, "labelled question")}, ${count(found.wrong)} wrong`),
    numbersTable("Scores on labelled questions", ["score", ...found.metrics.map((metric) => names[metric] ?? metric), "unknown"], lines),
    element("p", { class: "quiet" }, "AUROC, AURAC, PRR and accuracy@C (of the C most certain answers): higher is better. Brier and ECE, of the score mapped to a probability by cross-validation: lower is better."));
}

function method() {
  const { judges, pairs, cached, undecided } = DATA.totals;
  byId("method-body").append(
    element("ul", { class: "plain" }, judges.map(([judge, reason, rows, compared]) => element("li", {}, "judge ", shown("bdi", judge),
      " (", shown("bdi", reason), `): ${plural(compared, "pair")}${rows === null ? "" : ` of ${plural(rows, "question")}`}`))),
    element("p", {}, `${plural(pairs, "pair")} compared, ${count(cached)} of them from the cache; ${count(undecided)} undecided, which count as different.`));
  const { rows, problems, unmeasured } = DATA.left_out;
  if (unmeasured) byId("method-body").append(element("p", { class: "notice" }, `${plural(unmeasured, "row")} of the input could not be measured and have no result: see the file of bad rows beside the source.`));
  if (rows) byId("method-body").append(element("div", { class: "notice" }, `Left out: ${plural(rows, "row")} without a usable result.`, list("The first of them", problems)));
  byId("method-body").append(KIND !== "short" && element("p", { class: "quiet" }, `The uncertainty of a ${DATA.totals.unit} is 1 minus the mean support of the samples, from 0 to 1. That of a long answer is the mean over its ${UNITS}, or the highest if the rows were measured with roll_up=max.`), element("p", { class: "quiet" }, "Entropy is in nats: 0 if all responses mean the same, ln n if n responses have n meanings. Each question shows its own method when it is opened."));
}

overall();
filters();
checkFirst();
leastSupported();
charts();
refresh();
method();
document.documentElement.dataset.ready = "yes";
performance.mark("ready");
