// The table of all rows: sort, filter, search. Only the rows of one page are in the document.

const hasLabels = DATA.totals.labelled > 0;
const hasActions = DATA.rows.some((row) => row.action);
const compareText = new Intl.Collator("en", { numeric: true, sensitivity: "base" }).compare;

const COLUMNS = [
  { key: "rank", title: "#", value: (row) => row.rank, first: 1 },
  { key: "question", title: "Question", text: (row) => row.question ?? row.id, first: 1 },
  { key: "answer", title: "Answer", text: (row) => row.answer ?? "", first: 1 },
  { key: "agreement", title: KIND === "long" ? "Support" : "Agreement", value: (row) => (row.counted ? row.largest / row.counted : 0), first: 1 },
  DATA.score !== "entropy" && { key: "score", title: SCORE_NAME, value: (row) => row.score ?? Infinity, first: -1 },
  DATA.score !== "unsupported" && { key: "entropy", title: "Entropy", value: (row) => row.entropy ?? Infinity, first: -1 },
  hasActions && { key: "decision", title: "Decision", value: (row) => Object.keys(ACTIONS).indexOf(row.action), first: -1 },
  hasLabels && { key: "label", title: "Label", value: (row) => row.wrong ?? -1, first: -1 },
].filter(Boolean);

const state = { search: "", kind: "", band: "", action: "", label: "", source: "", warned: false, sort: "rank", direction: 1, page: 0, size: 50, opened: new Set() };
let order = DATA.rows.map((_, i) => i).sort((a, b) => DATA.rows[a].rank - DATA.rows[b].rank);
const haystacks = []; // lower-case text of each row, made when it is first searched

function sourceOf(row) {
  const found = (row.fields ?? []).find(([name]) => DATA.texts[name] === "source");
  return found ? found[1] : "";
}

function haystack(i) {
  if (haystacks[i] === undefined) {
    const row = DATA.rows[i];
    const fields = (row.fields ?? []).map((field) => field[1]);
    haystacks[i] = [row.id, row.question ?? "", row.answer ?? "", row.greedy ?? "", ...row.responses, ...fields].join("\n").toLowerCase();
  }
  return haystacks[i];
}

function matches(row, i, terms) {
  if (state.kind && Boolean(row.long) !== (state.kind === "long")) return false;
  if (state.band && row.band !== state.band) return false;
  if (state.action && row.action !== state.action) return false;
  if (state.label === "none" ? row.wrong !== undefined : state.label && row.wrong !== Number(state.label)) return false;
  if (state.source && sourceOf(row) !== state.source) return false;
  if (state.warned && row.why.length < 2) return false;
  return terms.every((term) => haystack(i).includes(term));
}

function refresh() {
  const terms = state.search.toLowerCase().split(/\s+/).filter(Boolean);
  order = [];
  DATA.rows.forEach((row, i) => matches(row, i, terms) && order.push(i));
  const column = COLUMNS.find((each) => each.key === state.sort);
  const compare = column.text
    ? (a, b) => compareText(column.text(a).slice(0, 80), column.text(b).slice(0, 80))
    : (a, b) => (column.value(a) === column.value(b) ? 0 : column.value(a) - column.value(b));
  order.sort((a, b) => state.direction * compare(DATA.rows[a], DATA.rows[b]) || DATA.rows[a].rank - DATA.rows[b].rank);
  state.page = Math.min(state.page, Math.max(0, Math.ceil(order.length / state.size) - 1));
  draw();
}

function cell(column, row) {
  const attributes = { role: "cell", class: `c-${column.key}`, "data-name": column.title };
  switch (column.key) {
    case "question":
      return element("td", attributes, shown("div", row.question ?? row.id, { class: "clamp" }));
    case "answer":
      return element("td", attributes, row.answer === null ? element("span", { class: "quiet" }, "no valid answer") : row.long ? markedAnswer(row, "div", { class: "clamp" }, LONGEST_CUT) : shown("div", row.answer, { class: "clamp" }));
    case "agreement":
      return element("td", attributes, shareBar(row), element("span", { class: "quiet" }, row.band === "unknown" ? BANDS.unknown[0].toLowerCase() : `${row.largest} of ${row.counted}${row.long ? ` ${row.long.unit}s supported` : ""}`,
        row.why.length > 1 && element("span", { class: "warning", title: words(row.why.slice(1)).join("\n") }, ` · ${plural(row.why.length - 1, "warning")}`)));
    case "score":
      return element("td", { ...attributes, class: "number c-score" }, DATA.score === "p_wrong" ? percent(row.score) : fixed(row.score));
    case "entropy":
      return element("td", { ...attributes, class: "number c-entropy" }, fixed(row.entropy), element("div", { class: "quiet" }, row.normalized === null ? "" : `${percent(row.normalized)} of max`));
    case "decision":
      return element("td", attributes, decisionChip(row));
    default:
      return element("td", attributes, labelChip(row) ?? element("span", { class: "quiet" }, "none"));
  }
}

function rowElements(i) {
  const row = DATA.rows[i];
  const isOpen = state.opened.has(i);
  const button = element("button", {
    type: "button", class: "toggle", "aria-expanded": String(isOpen), "aria-controls": `detail-${i}`, "data-row": i,
    onclick: (event) => { event.stopPropagation(); toggle(i); },
  }, element("span", { class: "hidden-text" }, "Question "), count(row.rank + 1));
  const line = element("tr", { class: "row", role: "row", id: `row-${i}`, onclick: () => String(getSelection()) || toggle(i) },
    element("td", { role: "cell", class: "c-rank" }, button), COLUMNS.slice(1).map((column) => cell(column, row)));
  return isOpen ? [line, detailRow(i)] : [line];
}

function detailRow(i) {
  return element("tr", { role: "row", id: `detail-${i}` }, element("td", { role: "cell", class: "detail", colspan: COLUMNS.length }, detail(DATA.rows[i])));
}

function toggle(i) {
  const button = document.querySelector(`#row-${i} .toggle`);
  if (state.opened.delete(i)) byId(`detail-${i}`).remove();
  else {
    state.opened.add(i);
    byId(`row-${i}`).after(detailRow(i));
  }
  button.setAttribute("aria-expanded", String(state.opened.has(i)));
}

// Show a row in the table, opened.
function openRow(i) {
  showOnly({});
  state.page = Math.floor(order.indexOf(i) / state.size);
  state.opened.add(i);
  draw();
  document.querySelector(`#row-${i} .toggle`).focus();
  byId(`row-${i}`).scrollIntoView({ block: "start" });
}

function heads() {
  const cells = COLUMNS.map((column) => {
    const sorted = state.sort === column.key ? (state.direction > 0 ? "ascending" : "descending") : "none";
    const title = column.key === "rank" ? ["#", element("span", { class: "hidden-text" }, " rank: the most uncertain first")] : column.title;
    return element("th", { scope: "col", role: "columnheader", class: `c-${column.key}`, "aria-sort": sorted },
      element("button", { type: "button", onclick: () => sortBy(column) }, title));
  });
  byId("heads").replaceChildren(...cells);
}

function sortBy(column) {
  state.direction = state.sort === column.key ? -state.direction : column.first;
  state.sort = column.key;
  state.page = 0;
  refresh();
  byId("heads").children[COLUMNS.indexOf(column)].firstChild.focus();
}

function draw() {
  heads();
  const start = state.page * state.size;
  const visible = order.slice(start, start + state.size);
  byId("rows").replaceChildren(...visible.flatMap(rowElements));
  const column = COLUMNS.find((each) => each.key === state.sort);
  const sorted = state.sort === "rank" && state.direction > 0 ? "the most uncertain first" : `sorted by ${column.title.toLowerCase()}, ${state.direction > 0 ? "lowest" : "highest"} first`;
  const range = order.length > state.size ? ` Rows ${count(start + 1)} to ${count(start + visible.length)} are shown.` : "";
  byId("count").textContent = order.length ? `${count(order.length)} of ${plural(DATA.rows.length, "question")}, ${sorted}.${range}` : "No question matches. Clear the filters to see all.";
  pager();
  byId("bands").querySelectorAll("button").forEach((button) => button.setAttribute("aria-pressed", String(button.value === state.band)));
}

function pager() {
  const last = Math.max(0, Math.ceil(order.length / state.size) - 1);
  const go = (page, name) => () => {
    state.page = page;
    draw();
    byId("count").scrollIntoView({ block: "start" });
    [...byId("pager").children].find((button) => button.textContent === name && !button.disabled)?.focus({ preventScroll: true });
  };
  const button = (name, page, enabled) => element("button", { type: "button", disabled: !enabled, onclick: go(page, name) }, name);
  byId("pager").hidden = last === 0;
  byId("pager").replaceChildren(button("First", 0, state.page > 0), button("Previous", state.page - 1, state.page > 0),
    element("span", {}, `Page ${count(state.page + 1)} of ${count(last + 1)}`),
    button("Next", state.page + 1, state.page < last), button("Last", last, state.page < last));
}

function choice(name, title, options) {
  const select = element("select", { name, onchange: (event) => { state[name] = event.target.value; state.page = 0; refresh(); } },
    options.map(([value, text]) => element("option", { value }, text)));
  return element("label", {}, title, select);
}

function filters() {
  let timer;
  const search = element("input", {
    type: "search", name: "search", placeholder: "Words in question or answers", autocomplete: "off", spellcheck: "false",
    oninput: (event) => { clearTimeout(timer); timer = setTimeout(() => { state.search = event.target.value; state.page = 0; refresh(); }, 120); },
  });
  const totals = DATA.totals;
  const sources = [...new Set(DATA.rows.map(sourceOf))].filter(Boolean).sort(compareText);
  byId("filters").append(
    element("label", {}, "Search", search),
    KIND === "mixed" ? choice("kind", "Answers", [["", "All"], ["long", `Long (${count(totals.long)})`], ["short", `Short (${count(totals.rows - totals.long)})`]]) : "",
    choice("band", KIND === "long" ? "Support" : "Agreement", [["", "All"], ...Object.entries(BANDS).filter(([band]) => totals.bands[band]).map(([band, [title]]) => [band, `${title} (${count(totals.bands[band])})`])]),
    hasActions ? choice("action", "Decision", [["", "All"], ...Object.entries(ACTIONS).filter(([action]) => DATA.rows.some((row) => row.action === action))]) : "",
    hasLabels ? choice("label", "Label", [["", "All"], ["1", "Wrong"], ["0", "Right"], ...(totals.labelled < totals.rows ? [["none", "No label"]] : [])]) : "",
    sources.length > 1 && sources.length <= 40 ? choice("source", "Source", [["", "All"], ...sources.map((source) => [source, source])]) : "",
    element("label", { class: "check" }, element("input", { type: "checkbox", name: "warned", onchange: (event) => { state.warned = event.target.checked; state.page = 0; refresh(); } }), "With warnings"),
    element("button", { type: "reset" }, "Clear filters"));
  byId("filters").addEventListener("submit", (event) => event.preventDefault());
  byId("filters").addEventListener("reset", () => showOnly({}));
}

// Set the filters, and show the table.
function showOnly(chosen) {
  Object.assign(state, { search: "", kind: "", band: "", action: "", label: "", source: "", warned: false, page: 0 }, chosen);
  const form = byId("filters");
  for (const name of ["search", "kind", "band", "action", "label", "source"]) if (form.elements[name]) form.elements[name].value = state[name];
  form.elements.warned.checked = state.warned;
  refresh();
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName);
  if (event.key === "/" && !typing) {
    event.preventDefault();
    byId("filters").elements.search.focus();
  } else if ((event.key === "ArrowDown" || event.key === "ArrowUp") && event.target.classList?.contains("toggle")) {
    const buttons = [...document.querySelectorAll(".toggle")];
    const next = buttons[buttons.indexOf(event.target) + (event.key === "ArrowDown" ? 1 : -1)];
    if (next) {
      event.preventDefault();
      next.focus();
    }
  }
});
