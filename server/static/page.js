"use strict";

// The page of the server: asks the model over its REST interface, as any
// client may, and shows what it answers. It loads nothing from anywhere else.

const TYPING_MS = 300; // how long to wait for the next key
const MOST_BARS = 32; // experts in a chart; the others are one row
const GOLDEN_ANGLE = 137.508; // degrees: neighbouring numbers, unlike hues
const SPACE = "\u2581"; // what SentencePiece writes for a space
const UNSPACED = /[\u0e00-\u0eff\u3040-\u30ff\u3400-\u9fff]/;

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

class Refused extends Error {}

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
    throw new Refused(told.error || `Status ${response.status}`);
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
  const language = byId("target_language");
  if (language && language.value) return "translate_with_options";
  if (offers("generate_with_options")) return "generate_with_options";
  return translates() && offers("routing") ? "routing" : "serving_default";
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
  if (translates() && languages.length > 1) {
    const choice = make("select", { id: "target_language" });
    choice.append(...languages.map((x) => make("option", { value: x }, x)));
    choice.addEventListener("change", askModel);
    box.append(make("label", {}, "Language", choice));
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
  const examples = state.about.examples.slice(0, 3).map((text) => {
    const button = make("button", { type: "button" }, text);
    button.addEventListener("click", () => {
      byId("input").value = text;
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
  const language = byId("target_language");
  const name = language ? "translate_with_options" : "translate_nbest";
  const inputs = optionValues(name);
  inputs.inputs = [state.lines[state.chosen]];
  const found = await predict(name, inputs).catch(() => null);
  if (!found) return;
  const items = found.outputs[0].map((text, i) => [text, found.scores[0][i]]);
  byId("alternatives-list").replaceChildren(
    ...items.filter(([, score]) => score > -1e38).map(([text, score]) =>
      make("li", {}, text,
        make("span", { className: "score" }, number(score)))));
}

// ---- Words, and the attention between them

/** Subwords of a side in the chosen line, without those of padding. */
function tokensOf(side) {
  const { found, chosen } = state;
  const name = found && [`${side}_tokens`, "tokens"].find((x) => found[x]);
  if (!name || (side === "source" && name === "tokens")) return [];
  const lengths = found[name.replace("tokens", "lengths")];
  const row = found[name][chosen].map((x) =>
    typeof x === "string" ? x : `bytes ${x.b64}`);
  return lengths ? row.slice(0, lengths[chosen]) : row.filter((x) => x);
}

/** Groups places of subwords into words; the end mark is none. */
function wordsOf(tokens) {
  const words = [];
  tokens.forEach((token, place) => {
    if (place === tokens.length - 1 && /^<\/?s>$/.test(token)) return;
    const starts = token.startsWith(SPACE) || UNSPACED.test(token);
    if (starts || !words.length) words.push([place]);
    else words[words.length - 1].push(place);
  });
  return words.filter((word) => textOf(tokens, word).trim());
}

const textOf = (tokens, places) =>
  places.map((i) => tokens[i]).join("").replaceAll(SPACE, " ").trim();

function showAlignment() {
  const { found, chosen } = state;
  const attention = found && found.alignments && found.alignments[chosen];
  const tokens = { source: tokensOf("source"), target: tokensOf("target") };
  const words = { source: wordsOf(tokens.source), target: wordsOf(tokens.target) };
  byId("alignment").hidden = !attention || !words.target.length;
  byId("aligned").textContent = "";
  if (byId("alignment").hidden) return;
  const weight = (target, source) => { // mean over the one, sum over the other
    let sum = 0;
    for (const t of target) for (const s of source) sum += attention[t][s];
    return sum / target.length;
  };
  const table = words.target.map((t) => words.source.map((s) => weight(t, s)));
  for (const side of ["source", "target"]) {
    const buttons = words[side].map((places, i) => make(
      "button", { type: "button", tabIndex: i ? -1 : 0 },
      textOf(tokens[side], places)));
    buttons.forEach((button, i) => {
      const light = () => lightUp(side, i, table);
      button.addEventListener("mouseenter", light);
      button.addEventListener("focus", light);
    });
    byId(`${side}-words`).replaceChildren(...buttons);
    moveByArrows(byId(`${side}-words`));
  }
}

function lightUp(side, place, table) {
  const other = side === "source" ? "target" : "source";
  const weights = side === "target"
    ? table[place] : table.map((row) => row[place]);
  const words = [...byId(`${other}-words`).children];
  words.forEach((word, i) => {
    word.classList.remove("chosen");
    word.style.setProperty("--weight", Math.min(1, weights[i]).toFixed(3));
  });
  [...byId(`${side}-words`).children].forEach((word, i) => {
    word.style.setProperty("--weight", 0);
    word.classList.toggle("chosen", i === place);
  });
  const best = words.map((word, i) => [weights[i], word.textContent])
    .sort(([a], [b]) => b - a).slice(0, 3).filter(([x]) => x >= 0.05);
  byId("aligned").textContent = best.length
    ? "Aligned with " + best.map(([x, text]) =>
      `${text} (${Math.round(100 * x)} %)`).join(", ")
    : "Aligned with no word";
}

/** Arrow keys move within a group of buttons; Tab moves past it. */
function moveByArrows(group) {
  group.onkeydown = (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: 1, ArrowUp: -1 };
    const buttons = [...group.querySelectorAll("button")];
    const place = buttons.indexOf(document.activeElement);
    const next = buttons[place + (step[event.key] || 0)];
    if (place < 0 || !step[event.key] || !next) return;
    event.preventDefault();
    buttons[place].tabIndex = -1;
    next.tabIndex = 0;
    next.focus();
  };
}

// ---- Experts

const SIDES = { source: "Source", target: "Translation" };

function showRouting() {
  const boxes = [];
  for (const side of Object.keys(SIDES)) {
    const tokens = tokensOf(side);
    if (tokens.length) boxes.push(...sideBoxes(side, tokens));
  }
  byId("routing").hidden = !boxes.length;
  byId("sides").replaceChildren(...boxes);
}

/** What `routing` says of a side; names of a language model have no side. */
function routed(side, name) {
  const { found } = state;
  return found[`${side}_${name}`] ?? (side === "target" ? found[name] : undefined);
}

function sideBoxes(side, tokens) {
  const { chosen } = state;
  const layers = (routed(side, "layers") || [[]])[0];
  const place = Math.min(state.layers[side] || 0, layers.length - 1);
  const experts = layers.length
    ? routed(side, "experts")[chosen].map((x) => x[place]) : [];
  const gates = layers.length
    ? routed(side, "gates")[chosen].map((x) => x[place]) : [];
  const logs = (routed(side, "token_log_probs") || [])[chosen];
  const layer = layers[place];
  const detail = make("div", { className: "detail", hidden: true, id: `${side}-detail` });
  const group = make("div", {
    className: "chips", role: "group", "aria-label": `Subwords, ${side}`,
  });
  group.append(...tokens.map((token, i) => chip(
    token, (experts[i] || []).map((e, k) => [e, gates[i][k]])
      .filter(([e]) => e >= 0), logs && logs[i], layer, detail, group)));
  if (group.firstChild) group.firstChild.tabIndex = 0;
  moveByArrows(group);
  const title = translates() ? SIDES[side] : "Text";
  const boxes = [make("h3", {}, title), layerChoice(side, layers, place), group, detail];
  if (layer) {
    const count = routed(side, "num_experts")[0][place];
    boxes.push(loadChart(title, layer, count, experts.slice(0, tokens.length)));
  }
  return boxes;
}

function layerChoice(side, layers, place) {
  if (!layers.length) return make("p", { className: "hint" }, "No MoE layer");
  if (layers.length === 1)
    return make("p", { className: "hint" }, `Layer ${layers[0]}`);
  const choice = make("select", {});
  choice.append(...layers.map((name, i) =>
    make("option", { value: i, selected: i === place }, name)));
  choice.addEventListener("change", () => {
    state.layers[side] = choice.selectedIndex;
    showRouting();
  });
  return make("label", { className: "hint" }, "Layer ", choice);
}

function chip(token, routes, log, layer, detail, group) {
  const [first] = routes;
  const text = token.replaceAll(SPACE, "\u00b7");
  const button = make("button", {
    type: "button", className: first ? "chip" : "chip none", tabIndex: -1,
    "aria-expanded": false, "aria-controls": detail.id,
  }, text);
  if (first) {
    button.style.setProperty("--hue", (first[0] * GOLDEN_ANGLE) % 360);
    button.append(
      make("span", { className: "unseen" }, ", expert "),
      make("small", {}, String(first[0])));
  }
  if (log !== undefined)
    button.append(make("small", {}, `${Math.round(100 * Math.exp(log))} %`));
  button.addEventListener("click", () => {
    const opens = button.getAttribute("aria-expanded") === "false";
    for (const other of group.children)
      other.setAttribute("aria-expanded", other === button && opens);
    detail.hidden = !opens;
    detail.replaceChildren(...tokenDetail(text, routes, log, layer));
  });
  return button;
}

function tokenDetail(text, routes, log, layer) {
  const lines = [];
  if (log !== undefined)
    lines.push(make("p", {}, `Probability ${Math.exp(log).toFixed(4)}`));
  if (!routes.length) return [...lines, make("p", {}, "No expert")];
  const rows = routes.map(([expert, gate]) => make("tr", {},
    make("th", { scope: "row" }, `Expert ${expert}`),
    make("td", { className: "bars" },
      make("span", { className: "bar here", "--share": Math.min(1, gate) })),
    make("td", { className: "number" }, gate.toFixed(3)),
    make("td", { className: "typical" }, typical(layer, expert))));
  return [...lines, make("table", {},
    make("caption", {}, `Gates of ${text}`), make("tbody", {}, ...rows))];
}

/** Tokens that an expert is for, where experts.json tells. */
function typical(layer, expert) {
  const tokens = ((state.about.specialties[layer] || [])[expert] || []).slice(0, 5);
  return tokens.map((x) => x.replaceAll(SPACE, "\u00b7")).join(" ");
}

function shares(counts) {
  const sum = counts.reduce((a, b) => a + b, 0);
  return counts.map((x) => (sum ? x / sum : 0));
}

function loadChart(title, layer, count, experts) {
  const here = new Array(count).fill(0);
  for (const chosen of experts)
    for (const e of chosen) if (e >= 0) here[e] += 1;
  const now = shares(here);
  const training = state.about.training_load[layer];
  const then = training && training.length === count ? shares(training) : null;
  const order = now.map((_, e) => e).sort((a, b) => now[b] - now[a] || a - b);
  const shown = (count > MOST_BARS ? order.slice(0, MOST_BARS) : order)
    .sort((a, b) => a - b);
  const most = Math.max(...now, ...(then || [0]), 1e-9);
  const rows = shown.map((e) => make("tr", {},
    make("th", { scope: "row" }, String(e)),
    make("td", { className: "bars" },
      make("span", { className: "bar here", "--share": now[e] / most }),
      ...(then ? [make("span",
        { className: "bar then", "--share": then[e] / most })] : [])),
    make("td", { className: "number" }, percent(now[e])),
    make("td", { className: "number" }, then ? percent(then[e]) : "\u2013"),
    make("td", { className: "typical" }, typical(layer, e))));
  const heads = ["Expert", "Load", "Here", "Training", "Typical subwords"];
  const rest = count - shown.length;
  const frame = { // Tab moves to it, so that arrow keys scroll it
    className: "scroll", tabIndex: 0, role: "region",
    "aria-label": `Load of the experts, ${title}`,
  };
  return make("div", frame, make("table", {},
    make("caption", {}, `${title}: load of the experts`,
      keyOf("here", "this text"), ...(then ? [keyOf("then", "training")] : []),
      rest ? ` (${rest} experts with less are left out)` : ""),
    make("thead", {}, make("tr", {}, ...heads.map((x) =>
      make("th", { scope: "col" }, x)))),
    make("tbody", {}, ...rows)));
}

const keyOf = (kind, text) => make("span", { className: "keyed" },
  make("span", { className: `key ${kind}` }), text);

const percent = (x) => `${(100 * x).toFixed(1)} %`;

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
    return say(error instanceof Refused ? error.message : "The server is gone", true);
  }
  const { about } = state;
  byId("token-form").hidden = true;
  document.title = `${about.name} \u2013 moe_keras`;
  byId("title").textContent = about.name;
  const bleu = about.figures.bleu;
  byId("facts").textContent = [
    about.pair, `version ${about.version}`, bleu && `BLEU ${bleu.toFixed(1)}`,
  ].filter(Boolean).join(" \u00b7 ");
  const what = translates() ? "Translation" : "Continuation";
  byId("tab-try").textContent = translates() ? "Translate" : "Continue";
  byId("output-title").textContent = what;
  byId("hint").textContent = translates()
    ? `A sentence in each line, up to ${about.max_rows} lines.`
    : `A text in each line, up to ${about.max_rows} lines.`;
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
