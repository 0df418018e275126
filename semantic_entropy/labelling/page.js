"use strict";
// The texts come from files and models: they are written with textContent, and are never read as markup.
const data = JSON.parse(document.getElementById("data").textContent);
const store = "semantic-entropy labels " + data.page;
const find = (id) => document.getElementById(id);
let labels = {};
let steps = [];
let at = 0;

function load() {
  try {
    const kept = JSON.parse(localStorage.getItem(store) || "{}");
    labels = {};
    for (const item of data.items) if (typeof kept[item.key] === "boolean") labels[item.key] = kept[item.key];
  } catch (error) {
    warn();
  }
}

function save() {
  try {
    localStorage.setItem(store, JSON.stringify(labels));
  } catch (error) {
    warn();
  }
}

function warn() {
  find("problem").hidden = false;
  find("problem").textContent = "This browser keeps no data for this page: export your labels before you close it.";
  window.onbeforeunload = (event) => event.preventDefault();
}

function add(name, text, kind) {
  const term = document.createElement("dt");
  const value = document.createElement("dd");
  term.textContent = name;
  value.textContent = text;
  value.dir = "auto";
  value.className = kind;
  find("texts").append(term, value);
}

function show(said) {
  const item = data.items[at];
  const done = Object.keys(labels).length;
  find("count").textContent = done + " of " + data.items.length + " labelled";
  find("progress").max = data.items.length;
  find("progress").value = done;
  find("place").textContent = "Answer " + (at + 1) + " of " + data.items.length;
  find("texts").replaceChildren();
  add("Question", item.question === null ? "(no question)" : item.question, "question");
  add("Answer", item.answer, "answer");
  for (const [name, text] of item.shown) add(name, text, "shown");
  const label = labels[item.key];
  find("state").textContent = label === undefined ? "No label yet." : label ? "Labelled: right." : "Labelled: wrong.";
  find("right").setAttribute("aria-pressed", String(label === true));
  find("wrong").setAttribute("aria-pressed", String(label === false));
  find("undo").disabled = steps.length === 0;
  find("previous").disabled = at === 0;
  find("next").disabled = at === data.items.length - 1;
  find("live").textContent = (said ? said + " " : "") + find("count").textContent;
}

function go(to, said) {
  at = Math.min(data.items.length - 1, Math.max(0, to));
  show(said);
  window.scrollTo(0, 0);
  find("place").focus({ preventScroll: true });
}

function firstOpen(from) {
  for (let i = 0; i < data.items.length; i++) {
    const index = (from + i) % data.items.length;
    if (labels[data.items[index].key] === undefined) return index;
  }
  return -1;
}

function label(correct) {
  const key = data.items[at].key;
  steps.push([at, labels[key]]);
  labels[key] = correct;
  save();
  const open = firstOpen(at + 1);
  const said = correct ? "Right." : "Wrong.";
  if (open < 0) show(said + " All answers have a label: export them.");
  else go(open, said);
}

function skip() {
  steps.push([at, labels[data.items[at].key]]);
  go(at + 1, "Skipped.");
}

function undo() {
  const step = steps.pop();
  if (!step) return;
  const key = data.items[step[0]].key;
  if (step[1] === undefined) delete labels[key];
  else labels[key] = step[1];
  save();
  go(step[0], "Undone.");
}

function exported() {
  const listed = data.items.filter((item) => labels[item.key] !== undefined);
  return {
    format: data.format,
    version: data.version,
    page: data.page,
    labels: listed.map((item) => ({ key: item.key, number: item.number, correct: labels[item.key] })),
  };
}

function download() {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([JSON.stringify(exported(), null, 1)], { type: "application/json" }));
  link.download = "labels-" + data.page.slice(0, 8) + ".json";
  document.body.append(link);
  link.click();
  link.remove();
  find("live").textContent = "Exported " + exported().labels.length + " labels as " + link.download;
  find("state").textContent = find("live").textContent;
  window.onbeforeunload = null;
}

const actions = {
  right: () => label(true),
  wrong: () => label(false),
  skip: skip,
  undo: undo,
  previous: () => go(at - 1),
  next: () => go(at + 1),
  open: () => (firstOpen(at + 1) < 0 ? show("All answers have a label.") : go(firstOpen(at + 1))),
  export: download,
};
const keys = { y: "right", n: "wrong", s: "skip", u: "undo", ArrowLeft: "previous", ArrowRight: "next" };
for (const name of Object.keys(actions)) find(name).addEventListener("click", actions[name]);
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat || !find("keys").checked) return;
  const name = keys[event.key.length === 1 ? event.key.toLowerCase() : event.key];
  if (!name || find(name).disabled) return;
  event.preventDefault();
  actions[name]();
});
window.addEventListener("storage", (event) => {
  if (event.key === store) {
    load();
    show();
  }
});
load();
at = Math.max(0, firstOpen(0));
show();
