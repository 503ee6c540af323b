"use strict";

// What can be seen of a translation or continuation: aligned words, the
// experts of each subword, the load of the experts. `state`, `make` and `byId`
// are those of page.js.

const MOST_BARS = 32; // experts in a chart; the others are one row
const GOLDEN_ANGLE = 137.508; // degrees: neighbouring numbers, unlike hues
const SPACE = "\u2581"; // what SentencePiece writes for a space
const UNSPACED = /[\u0e00-\u0eff\u3040-\u30ff\u3400-\u9fff]/;

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

/** Groups places of subwords into words; marks at both ends are none. */
function wordsOf(tokens) {
  const words = [];
  const targets = state.about.target_languages.map((x) => `<2${x}>`);
  tokens.forEach((token, place) => {
    if (place === 0 && targets.includes(token)) return;
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
