// Charts as SVG. Each has a description for a screen reader, and its numbers as a table.

const WIDTH = 360, HEIGHT = 205, LEFT = 44, RIGHT = 12, TOP = 10, BOTTOM = 38;

function scale(low, high, from, to) {
  return (value) => from + ((value - low) / (high - low || 1)) * (to - from);
}

function ticks(low, high, most = 5) {
  const rough = (high - low || 1) / most;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((each) => each >= rough * 0.999);
  const found = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9; i++) found.push(i * step);
  return found;
}

const tick = (value) => String(Number(value.toPrecision(3)) || 0); // no "-0"

function frame(x, y, xRange, yRange, xTitle, yTitle, whole = false) {
  const parts = [];
  for (const value of ticks(...yRange)) {
    if (whole && !Number.isInteger(value)) continue;
    parts.push(svg("line", { class: "axis", x1: LEFT, x2: WIDTH - RIGHT, y1: y(value), y2: y(value) }));
    parts.push(svg("text", { x: LEFT - 5, y: y(value) + 4, "text-anchor": "end" }, whole ? count(value || 0) : tick(value)));
  }
  for (const value of ticks(...xRange)) {
    parts.push(svg("text", { x: x(value), y: HEIGHT - BOTTOM + 15, "text-anchor": "middle" }, tick(value)));
  }
  parts.push(svg("text", { x: (LEFT + WIDTH - RIGHT) / 2, y: HEIGHT - 6, "text-anchor": "middle" }, xTitle));
  const middle = (TOP + HEIGHT - BOTTOM) / 2;
  parts.push(svg("text", { transform: `translate(11 ${middle}) rotate(-90)`, "text-anchor": "middle" }, yTitle));
  return parts;
}

// A chart: title, what it shows in words, the drawing, and the numbers.
function figure(title, words, parts, heads, lines, legend = null) {
  const drawing = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": `${title}. ${words}` }, ...parts);
  return element(
    "figure",
    {},
    element("figcaption", {}, title, element("small", {}, words)),
    legend,
    drawing,
    element("details", {}, element("summary", {}, "Numbers of this chart"), numbersTable(title, heads, lines)),
  );
}

function histogramChart() {
  const { edges, right, wrong, unlabelled } = DATA.histogram;
  const totals = right.map((each, i) => each + wrong[i] + unlabelled[i]);
  const labelled = right.some(Boolean) || wrong.some(Boolean);
  const x = scale(edges[0], edges.at(-1), LEFT, WIDTH - RIGHT);
  const y = scale(0, Math.max(...totals), HEIGHT - BOTTOM, TOP);
  const unit = SCORE_UNIT;
  const parts = [
    svg("defs", {}, svg("pattern", { id: "stripes", width: 6, height: 6, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" },
      svg("rect", { class: "wrong-fill", width: 6, height: 6 }), svg("line", { class: "wrong-line", x1: 0, y1: 0, x2: 0, y2: 6 }))),
    ...frame(x, y, [edges[0], edges.at(-1)], [0, Math.max(...totals)], unit, "questions", true),
  ];
  totals.forEach((total, i) => {
    let below = 0;
    const told = `${fixed(edges[i], 2)} to ${fixed(edges[i + 1], 2)}: ${plural(total, "question")}`;
    for (const [kind, counts] of [["right", right], ["unlabelled", unlabelled], ["wrong", wrong]]) {
      if (!counts[i]) continue;
      const bar = svg("rect", {
        class: kind === "wrong" ? "" : kind, fill: kind === "wrong" ? "url(#stripes)" : undefined,
        x: x(edges[i]) + 0.75, width: Math.max(1, x(edges[i + 1]) - x(edges[i]) - 1.5), y: y(below + counts[i]), height: y(below) - y(below + counts[i]),
      }, svg("title", {}, labelled ? `${told}, ${count(wrong[i])} labelled wrong` : told));
      parts.push(bar);
      below += counts[i];
    }
  });
  const legend = labelled && element("p", { class: "legend" },
    element("span", {}, element("i"), unlabelled.some(Boolean) ? "right or without a label" : "right"),
    element("span", { class: "wrong" }, element("i"), "wrong"));
  const heads = ["from", "to", "questions", ...(labelled ? ["right", "wrong"] : [])];
  const lines = totals.map((total, i) => [fixed(edges[i], 2), fixed(edges[i + 1], 2), total, ...(labelled ? [right[i], wrong[i]] : [])]);
  const text = labelled ? "Wrong answers should stand further to the right." : "Questions further to the right are more uncertain.";
  return figure(`${SCORE_NAME} of the questions`, text, parts, heads, lines, legend);
}

function pathOf(points, x, y) {
  return points.map(([a, b], i) => `${i ? "L" : "M"}${x(a).toFixed(1)} ${y(b).toFixed(1)}`).join("");
}

// Some points of a curve, for its table of numbers.
function sampled(points, most = 11) {
  const step = Math.max(1, (points.length - 1) / (most - 1));
  const places = [...new Set(Array.from({ length: Math.min(most, points.length) }, (_, i) => Math.round(i * step)))];
  return places.filter((i) => i < points.length).map((i) => points[i].map((value) => fixed(value)));
}

function rejectionChart(score) {
  const { groups, wrong } = DATA.labelled;
  const accuracy = 1 - wrong / groups;
  const low = Math.max(0, Math.floor(10 * Math.min(accuracy, ...score.rejection.map((point) => point[1]))) / 10);
  const x = scale(0, 1, LEFT, WIDTH - RIGHT), y = scale(low, 1, HEIGHT - BOTTOM, TOP);
  const parts = [
    ...frame(x, y, [0, 1], [low, 1], "share of answers not given", "accuracy of the rest"),
    svg("line", { class: "base", x1: x(0), x2: x(1), y1: y(accuracy), y2: y(accuracy) }),
    svg("path", { class: "curve", d: pathOf(score.rejection, x, y) }),
  ];
  const kept = score.metrics["accuracy@80%"]?.[0];
  const told = kept === undefined ? "" : ` Without the most uncertain 20%, ${percent(kept)} of the answers are right.`;
  return figure("If the most uncertain answers are not given", `${percent(accuracy)} of all answers are right (dashed).${told}`,
    parts, ["not given", "accuracy of the rest"], sampled(score.rejection));
}

function rocChart(score) {
  const x = scale(0, 1, LEFT, WIDTH - RIGHT), y = scale(0, 1, HEIGHT - BOTTOM, TOP);
  const parts = [
    ...frame(x, y, [0, 1], [0, 1], "right answers flagged", "wrong answers flagged"),
    svg("path", { class: "base", d: pathOf([[0, 0], [1, 1]], x, y) }),
    svg("path", { class: "curve", d: pathOf(score.roc, x, y) }),
  ];
  const [value, from, to] = score.metrics.auroc;
  const range = from === null ? "" : ` (95% interval ${fixed(from)} to ${fixed(to)})`;
  return figure("Wrong answers found, by threshold (ROC)", `AUROC ${fixed(value)}${range}: a wrong answer is more uncertain than a right one this often. Chance is 0.5 (dashed).`,
    parts, ["right answers flagged", "wrong answers flagged"], sampled(score.roc));
}

function calibrationChart(score) {
  const bins = score.calibration;
  const values = bins.map((bin) => bin[0]);
  let range = score.probability ? [0, 1] : [Math.min(0, ...values), Math.max(...values)];
  if (range[0] === range[1]) range = [range[0] - 0.5, range[1] + 0.5];
  const x = scale(...range, LEFT + 8, WIDTH - RIGHT - 8), y = scale(0, 1, HEIGHT - BOTTOM, TOP);
  const parts = frame(x, y, range, [0, 1], score.probability ? "predicted p(wrong)" : score.name.slice(0, 40), "share of wrong answers");
  if (score.probability) parts.push(svg("path", { class: "base", d: pathOf([[0, 0], [1, 1]], x, y) }));
  for (const [value, share, low, high, size] of bins) {
    const told = `${fixed(value)}: ${percent(share)} wrong of ${count(size)}, 95% interval ${percent(low)} to ${percent(high)}`;
    parts.push(svg("line", { class: "range", x1: x(value), x2: x(value), y1: y(low), y2: y(high) }));
    parts.push(svg("circle", { class: "dot", cx: x(value), cy: y(share), r: 4 }, svg("title", {}, told)));
  }
  const text = score.probability
    ? "Each dot is a group of rows with a similar p(wrong). On the dashed line, the probability can be believed."
    : `Each dot is a group of rows with a similar value; lines are 95% intervals. ${score.confidence ? "Wrong answers should become fewer" : "Wrong answers should become more"} to the right.`;
  return figure(score.probability ? "Calibration" : "Wrong answers by score", text, parts, ["score", "share wrong", "low", "high", "rows"],
    bins.map(([value, share, low, high, size]) => [fixed(value), fixed(share), fixed(low), fixed(high), size]));
}
