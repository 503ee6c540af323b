"use strict";

// The page of the server: asks the model over its REST interface, as any
// client may, and shows what it answers. It loads nothing from anywhere else.
// see.js draws how the model came to it.

const TYPING_MS = 300; // how long to wait for the next key
const RETRY_MS = 1000; // how long to wait for a model that is being loaded

const state = {
  about: null, // what the server tells of the model
  lines: [], // texts that were sent
  found: null, // columns of the answer
  chosen: 0, // line that is shown in detail
  layers: {}, // place of the layer shown, by side
  asking: null, // AbortController of the request that runs
};

const byId = (id) => document.getElementById(id);

/** Makes an element; text is never read as HTML. */
function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith("--")) element.style.setProperty(name, value);
    else if (name in element) element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

// ---- The server

class Refused extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

async function ask(path, body, signal) {
  const headers = {};
  const token = sessionStorage.getItem("token");
  if (token) headers.Authorization = `Bearer ${token}`;
  const method = body ? "POST" : "GET";
  const response = await fetch(path, {
    method, headers, signal, body: body && JSON.stringify(body),
  });
  if (response.status === 401) {
    byId("token-form").hidden = false;
    byId("token").focus();
  }
  if (!response.ok) {
    const told = await response.json().catch(() => ({}));
    const message = told.error || `Status ${response.status}`;
    throw new Refused(message, response.status);
  }
  return response;
}

async function predict(signature, inputs, signal) {
  const path = `/v1/models/${encodeURIComponent(state.about.name)}:predict`;
  const body = { signature_name: signature, inputs };
  const { outputs } = await (await ask(path, body, signal)).json();
  const names = Object.keys(state.about.signatures[signature].outputs);
  return names.length === 1 ? { [names[0]]: outputs } : outputs;
}

const offers = (name) => name in state.about.signatures;
const translates = () => offers("translate_nbest");

/** The signature that shows most, and what it takes beside the texts. */
function mainSignature() {
  if (offers("generate_with_options")) return "generate_with_options";
  return translates() && offers("routing") ? "routing" : "serving_default";
}

/** Whether a signature of a translator is told into which language. */
const asksLanguage = (name) =>
  offers(name) && "target_language" in state.about.signatures[name].inputs;

/** A tag with the name of its language, as "French (fr)". */
function languageName(tag) {
  const names = new Intl.DisplayNames(["en"], { type: "language" });
  try {
    return `${names.of(tag)} (${tag})`;
  } catch { // no tag that the browser knows
    return tag;
  }
}

// ---- Asking, as one types

function delayed(action, milliseconds) {
  let timer;
  return () => {
    clearTimeout(timer);
    timer = setTimeout(action, milliseconds);
  };
}

function typedLines() {
  const lines = byId("input").value.split("\n");
  while (lines.length && !lines[lines.length - 1].trim()) lines.pop();
  return lines;
}

async function askModel() {
  if (state.asking) state.asking.abort(); // the server stops working on it
  const asking = (state.asking = new AbortController());
  const lines = typedLines();
  if (!lines.length) {
    Object.assign(state, { lines, found: null });
    say("");
    return show();
  }
  const began = performance.now();
  byId("output").classList.add("waiting");
  try {
    const found = await answer(lines, asking.signal);
    const took = Math.round(performance.now() - began);
    const chosen = Math.min(state.chosen, lines.length - 1);
    Object.assign(state, { lines, found, chosen });
    say(`${lines.length} ${lines.length > 1 ? "lines" : "line"}, ${took} ms`);
    show();
  } catch (error) {
    if (error.name === "AbortError") return; // a newer request runs
    say(error instanceof Refused ? error.message : "The server is gone", true);
  }
  if (state.asking === asking) byId("output").classList.remove("waiting");
}

async function answer(lines, signal) {
  const name = mainSignature();
  const inputs = optionValues(name);
  inputs[textInput(name)] = lines;
  const found = await predict(name, inputs, signal);
  for (const output of ["outputs", "scores"]) { // the best of several
    if (Array.isArray((found[output] || [])[0]))
      found[output] = found[output].map((row) => row[0]);
  }
  return translates() ? found : withProbabilities(found, lines, signal);
}

const textInput = (name) =>
  "inputs" in state.about.signatures[name].inputs ? "inputs" : "sources";

/** The subwords of a text and its continuation, which routing may show. */
async function withProbabilities(found, lines, signal) {
  if (found.target_tokens || !found.outputs) return found;
  const whole = lines.map((line, i) => joined(line, found.outputs[i]));
  if (offers("routing")) {
    const input = textInput("routing");
    return { ...found, ...(await predict("routing", { [input]: whole }, signal)) };
  }
  if (found.tokens) return found;
  if (offers("score") && "inputs" in state.about.signatures.score.inputs)
    return { ...(await predict("score", { inputs: whole }, signal)), ...found };
  return found;
}

const joined = (text, more) => (more.startsWith(text) ? more : text + more);

function say(text, isError = false) {
  byId("status").textContent = text;
  byId("status").classList.toggle("error", isError);
}

// ---- Options: a field for each input of the signature that is no text

const DEFAULTS = { // what stands for the default of the export
  beam_width: 0, length_penalty: -1, coverage_penalty: -1, temperature: -1,
  top_k: -1, top_p: -1, max_tokens: 0, min_length: -1, no_repeat_ngram_size: -1,
  seed: 0,
};

function optionValues(name) {
  const values = {};
  for (const [input, dtype] of
    Object.entries(state.about.signatures[name].inputs)) {
    if (input === textInput(name)) continue;
    const field = byId(input);
    if (dtype === "string") values[input] = [field ? field.value : ""];
    else values[input] = [Number(field ? field.value : DEFAULTS[input] ?? 0)];
  }
  return values;
}

function makeOptions() {
  const box = byId("options");
  const languages = state.about.target_languages;
  if (languages.length > 1 && asksLanguage("translate_nbest")) {
    const choice = make("select", { id: "target_language" });
    choice.append(...languages.map((x) =>
      make("option", { value: x }, languageName(x))));
    choice.addEventListener("change", askModel);
    box.append(make("label", {}, "Into", choice));
  }
  if (!translates()) {
    const { inputs } = state.about.signatures[mainSignature()];
    for (const [name, dtype] of Object.entries(inputs)) {
      if (name === "inputs" || dtype === "string") continue;
      const field = make("input", {
        id: name, type: "number", step: dtype.startsWith("float") ? "any" : 1,
        value: DEFAULTS[name] ?? 0,
      });
      field.addEventListener("change", askModel);
      box.append(make("label", {}, name.replaceAll("_", " "), field));
    }
  }
  const { examples: all } = state.about; // several languages share some
  const examples = all.filter(({ text }, i) =>
    all.findIndex((other) => other.text === text) === i,
  ).slice(0, 3).map(({ text, target }) => {
    const button = make("button", { type: "button" }, text);
    button.addEventListener("click", () => {
      byId("input").value = text;
      if (byId("target_language")) byId("target_language").value = target;
      askModel();
    });
    return button;
  });
  if (examples.length)
    box.append(make("div", { className: "examples" }, ...examples));
}

// ---- The answer

function show() {
  const { lines, found, chosen } = state;
  byId("output").classList.remove("waiting");
  byId("output").replaceChildren(...lines.map((line, row) => {
    const button = make(
      "button", { type: "button", "aria-pressed": row === chosen },
      found.outputs[row] || "(nothing)");
    button.addEventListener("click", () => {
      state.chosen = row;
      show();
      byId("output").children[row].firstChild.focus();
    });
    const score = found.scores ? number(found.scores[row]) : "";
    return make(
      "li", {}, button, make("span", { className: "score" }, score));
  }));
  byId("alternatives").hidden = !found || !translates();
  if (found && byId("alternatives").open) showAlternatives();
  showAlignment();
  showRouting();
}

const number = (x) => (x < -1e38 ? "" : x.toFixed(2));

async function showAlternatives() {
  const inputs = optionValues("translate_nbest");
  inputs.inputs = [state.lines[state.chosen]];
  const found = await predict("translate_nbest", inputs).catch(() => null);
  if (!found) return;
  const items = found.outputs[0].map((text, i) => [text, found.scores[0][i]]);
  byId("alternatives-list").replaceChildren(
    ...items.filter(([, score]) => score > -1e38).map(([text, score]) =>
      make("li", {}, text,
        make("span", { className: "score" }, number(score)))));
}

// ---- The report, in a shadow: its style is its own

async function showReport() {
  const box = byId("report");
  if (box.shadowRoot) return;
  byId("report-status").textContent = "The report is being drawn \u2026";
  try {
    const page = new DOMParser().parseFromString(
      await (await ask("/report")).text(), "text/html");
    const sheet = new CSSStyleSheet();
    sheet.replaceSync([...page.querySelectorAll("style")]
      .map((style) => style.textContent).join("\n"));
    const shadow = box.attachShadow({ mode: "open" });
    shadow.adoptedStyleSheets = [sheet];
    shadow.append(page.querySelector(".report"));
    byId("report-status").textContent = "";
  } catch (error) {
    byId("report-status").textContent = error.message;
  }
}

// ---- Tabs

function chooseTab(tab) {
  for (const other of document.querySelectorAll("[role=tab]")) {
    const isChosen = other === tab;
    other.setAttribute("aria-selected", isChosen);
    other.tabIndex = isChosen ? 0 : -1;
    byId(other.getAttribute("aria-controls")).hidden = !isChosen;
  }
  if (tab.id === "tab-report") showReport();
}

// ---- Start

async function start() {
  try {
    state.about = await (await ask("/about")).json();
  } catch (error) {
    if (error.status === 503) setTimeout(start, RETRY_MS); // it is loading
    return say(error instanceof Refused ? error.message : "The server is gone", true);
  }
  const { about } = state;
  byId("token-form").hidden = true;
  document.title = `${about.name} \u2013 moe_keras`;
  byId("title").textContent = about.name;
  const bleu = about.figures.bleu;
  const { directions } = about;
  byId("facts").title = directions.join(", ");
  byId("facts").textContent = [
    directions.length ? `${directions.length} directions` : about.pair,
    `version ${about.version}`,
    bleu && `BLEU ${bleu.toFixed(1)}`,
  ].filter(Boolean).join(" \u00b7 ");
  const what = translates() ? "Translation" : "Continuation";
  byId("tab-try").textContent = translates() ? "Translate" : "Continue";
  byId("output-title").textContent = what;
  byId("hint").textContent = translates()
    ? `A sentence in each line, up to ${about.max_rows} lines.`
    : `A text in each line, up to ${about.max_rows} lines.`;
  byId("chances").hidden = translates();
  byId("tab-report").hidden = !about.has_report;
  makeOptions();
  byId("input").addEventListener("input", delayed(askModel, TYPING_MS));
  byId("alternatives").addEventListener("toggle", () => {
    if (byId("alternatives").open && state.found) showAlternatives();
  });
  say("");
  if (byId("input").value) askModel(); // typed while the page was loading
}

for (const tab of document.querySelectorAll("[role=tab]"))
  tab.addEventListener("click", () => chooseTab(tab));
moveByArrows(document.querySelector("[role=tablist]"));
byId("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem("token", byId("token").value);
  start();
});
start();
