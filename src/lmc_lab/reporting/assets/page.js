// Draws the panels of the figures with plotly, and switches what is switched in them. Data: see reporting/panel.py.
"use strict";

const SYMLOG_LINEAR = 0.6; // how many decades wide the piece from 0 to the first positive step is
const GLYPHS = {
  circle: "M9 1a4 4 0 1 0 .01 0Z", diamond: "M9 0l5 5-5 5-5-5Z", square: "M5 1h8v8h-8Z", "triangle-up": "M9 0l5 9h-10Z",
  star: "M9 0l1.5 3.4 3.7.3-2.8 2.4.9 3.6L9 7.8l-3.3 1.9.9-3.6-2.8-2.4 3.700-.3Z", cross: "M7.5 0h3v3.5h3.5v3h-3.5v3.5h-3v-3.5H4v-3h3.5Z",
  "circle-open": "M9 1a4 4 0 1 0 .01 0ZM9 2.5a2.5 2.5 0 1 1-.01 0Z", "line-ew": "M0 4h18v2H0Z",
};

const PAPER = {width: 340, height: 290}; // of a panel on paper, where two stand side by side
const MANY_STEPS = 30; // from which on an axis has labels at some of its steps: they are those of a curve, and no splits
const MOVES = {ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0]};

// The page

const theme = {
  get isDark() {
    const chosen = document.documentElement.dataset.theme;
    return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  },
  colour(name) {
    return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
  },
};

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

function toggle(label, glyph, colour, onChange) {
  const button = element("button", {type: "button", "aria-pressed": "true"});
  if (glyph) button.innerHTML = `<svg aria-hidden="true"><path d="${GLYPHS[glyph] || GLYPHS.circle}" fill="${colour}"/></svg>`;
  button.append(label);
  button.addEventListener("click", () => {
    const isOn = button.getAttribute("aria-pressed") !== "true";
    button.setAttribute("aria-pressed", String(isOn));
    onChange(isOn);
  });
  return button;
}

// On paper everything is light, open and as wide as the sheet, whatever the screen shows.
const paper = {
  isLaid: false,
  lay() {
    if (this.isLaid) return;
    this.isLaid = true;
    this.before = {theme: document.documentElement.dataset.theme, closed: document.querySelectorAll("details:not([open])")};
    document.documentElement.dataset.theme = "light";
    for (const each of this.before.closed) each.open = true;
    for (const view of views) view.redraw(); // plotly draws before it returns
    for (const drawing of document.querySelectorAll(".main-svg")) // which the style sheet then makes as wide as its column
      drawing.setAttribute("viewBox", `0 0 ${PAPER.width} ${PAPER.height}`);
  },
  takeAway() {
    this.isLaid = false;
    if (this.before.theme) document.documentElement.dataset.theme = this.before.theme;
    else delete document.documentElement.dataset.theme;
    for (const each of this.before.closed) each.open = false;
    for (const drawing of document.querySelectorAll(".main-svg")) drawing.removeAttribute("viewBox");
    drawAll();
  },
};

// Axes of steps

function places(steps, isSymlog) {
  if (!isSymlog) return step => step;
  const first = Math.min(...steps.filter(step => step > 0), Infinity);
  if (!isFinite(first)) return step => step;
  return step => step <= first ? SYMLOG_LINEAR * step / first : SYMLOG_LINEAR + Math.log10(step / first);
}

function stepAxis(panel, isSymlog, width) {
  const place = places(panel.steps, isSymlog);
  const at = panel.steps.map(place);
  const low = Math.min(...at), high = Math.max(...at), pad = 0.05 * (high - low || 1);
  const pixels = (width - 80) / (high - low + 2 * pad);
  const widest = 8 * Math.max(...panel.steps.map(step => String(step).length)) + 6;
  const isClose = at.some((value, i) => i && (value - at[i - 1]) * pixels < widest);
  const groups = together(at, isClose ? 11 / pixels : 0); // turned labels still need a line each
  const ticks = panel.steps.length > MANY_STEPS ? groups.map(([first]) => [first]) : groups;
  const labels = ticks.flatMap(group => group.map((number, i) => i ? "" : group.map(each => panel.steps[each]).join(", ")));
  return {
    tickmode: "array", tickvals: ticks.flat().map(number => at[number]), ticktext: labels, tickangle: isClose ? -90 : 0,
    range: [low - pad, high + pad], zeroline: false, ticks: "outside",
  };
}

function together(at, least) { // the numbers of places in order, in groups whose first places are `least` apart
  const groups = [];
  at.forEach((value, number) => {
    if (groups.length && value - at[groups.at(-1)[0]] < least) groups.at(-1).push(number);
    else groups.push([number]);
  });
  return groups;
}

function room(at) { // how far from each place a mark may stand without being taken for its neighbour's
  const distances = at.map((value, i) => Math.min(value - (at[i - 1] ?? -Infinity), (at[i + 1] ?? Infinity) - value));
  return new Map(at.map((value, i) => [value, distances[i] / 4]));
}

// Figures

function points(trace, curveNumber) { // what is read in a trace: rows of points, each where it is and its text
  if (trace.type === "heatmap") return trace.z.map((line, i) => line.flatMap((value, j) => {
    const text = `${trace.name}: ${trace.text[i][j]}${trace.customdata[i][j]}<br>k = ${trace.x[j]}, t = ${trace.y[i]}`;
    return value === null ? [] : [{at: {curveNumber, xval: j, yval: i}, text}];
  })).filter(line => line.length).reverse(); // from above
  if (trace.type !== "scatter" || !trace.text || trace.hoverinfo === "skip") return [];
  const read = trace.x.flatMap((x, i) => x === null ? [] : [{at: {curveNumber, pointNumber: i}, text: trace.text[i]}]);
  return read.length ? [read] : [];
}

class PanelView {
  constructor(panel) {
    this.panel = panel;
    this.hidden = new Set();
    this.isSymlog = true;
    this.plot = element("div", {class: "plot", role: "img", "aria-label": `${panel.title}; arrow keys read its points`, tabindex: "0"});
    this.chips = element("div", {class: "chips"});
    this.said = element("p", {class: "said", "aria-live": "polite"});
    this.node = element("div", {class: "panel"}, element("h3", {}, panel.title), this.chips, this.plot, this.said);
    this.place = [0, -1]; // of the point that was read last: which of the shown series, which of its points
    this.plot.addEventListener("keydown", event => this.read(event));
    this.plot.addEventListener("blur", () => this.leave());
    const shown = new Map();
    for (const trace of panel.traces) if (trace.meta?.series && !shown.has(trace.meta.series)) shown.set(trace.meta.series, trace);
    const swatch = trace => typeof trace.marker?.color === "string" ? trace.marker.color : trace.line?.color || "currentColor";
    for (const [series, trace] of shown) {
      const glyph = trace.meta.trunk === null ? trace.meta.symbol : "circle";
      this.chips.append(toggle(series, glyph, swatch(trace), isOn => this.show(series, isOn)));
    }
  }

  show(series, isOn) {
    this.hidden[isOn ? "delete" : "add"](series);
    this.node.classList.toggle("off", this.hidden.has(this.panel.trunk));
    this.redraw();
  }

  read(event) { // left and right along a series, up and down to another
    const [across, along] = MOVES[event.key] || [0, 0];
    if (event.key === "Escape") this.leave();
    if (!across && !along) return;
    event.preventDefault();
    const series = this.panel.traces.flatMap((trace, number) => this.isShown(trace) ? points(trace, number) : []);
    if (!series.length) return;
    const within = (number, length) => Math.max(0, Math.min(number, length - 1));
    const row = within(this.place[0] + across, series.length), column = within(this.place[1] + along, series[row].length);
    this.place = [row, column];
    const {at, text} = series[row][column];
    Plotly.Fx.hover(this.plot, [at]);
    this.said.innerHTML = text;
  }

  leave() {
    Plotly.Fx.unhover(this.plot);
    this.said.textContent = "";
  }

  isShown(trace) {
    return !trace.meta || !(this.hidden.has(trace.meta.series) || this.hidden.has(trace.meta.trunk));
  }

  traces() {
    const {steps} = this.panel;
    const place = steps ? places(steps, this.isSymlog) : x => x;
    const all = steps ? steps.map(place) : [];
    const width = steps ? Math.max(...all) - Math.min(...all) || 1 : 0, most = room(all);
    const apart = (x, shift) => Math.sign(shift) * Math.min(Math.abs(shift) * width, most.get(x) ?? Infinity);
    const placed = (step, shift) => place(step) + apart(place(step), shift);
    return this.panel.traces.map(trace => {
      const drawn = {...trace, visible: this.isShown(trace), showlegend: false};
      if (steps) drawn.x = trace.x.map(x => x === null ? null : placed(x, trace.meta?.shift || 0));
      return drawn;
    });
  }

  layout() {
    const {panel} = this;
    const text = theme.colour("text"), line = theme.colour("line"), soft = theme.colour("soft");
    const place = panel.steps ? places(panel.steps, this.isSymlog) : x => x;
    const axis = {gridcolor: line, linecolor: soft, zerolinecolor: line, tickcolor: soft, automargin: true};
    const own = panel.layout;
    const steps = panel.steps ? stepAxis(panel, this.isSymlog, paper.isLaid ? PAPER.width : this.plot.clientWidth || 400) : {};
    const across = {yref: "paper", y0: 0, y1: 1, layer: "below"};
    return {
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", font: {color: text, size: 12},
      margin: {l: 58, r: 12, t: 8, b: 48}, hovermode: "closest", dragmode: matchMedia("(pointer: coarse)").matches ? false : "zoom",
      hoverlabel: {bgcolor: theme.colour("raised"), bordercolor: soft, font: {color: text, size: 12}, align: "left"},
      ...(paper.isLaid ? PAPER : {}),
      ...own,
      xaxis: {...axis, title: {text: panel.x, standoff: 8}, ...steps, ...own.xaxis},
      yaxis: {...axis, title: {text: panel.y, standoff: 6}, exponentformat: "power", ...own.yaxis},
      shapes: [
        ...panel.spans.filter(([, , trunks]) => !trunks.every(trunk => this.hidden.has(`trunk ${trunk}`))).map(([low, high]) => ({
          ...across, type: "rect", x0: place(low), x1: place(high), fillcolor: `${soft}26`, // an alpha of 0.15, but
          line: {color: soft, width: 0.7}, // not of the edge, which tells those of two trunks that touch
        })),
        ...panel.lines.map(x => ({...across, type: "line", x0: place(x), x1: place(x), line: {color: soft, width: 1.5, dash: "dot"}})),
      ],
    };
  }

  async redraw() {
    if (this.node.hidden || this.node.classList.contains("off")) return;
    const config = {responsive: true, displayModeBar: false}; // its buttons would lie on the last split, at p_conv = 1
    await Plotly.react(this.plot, this.traces(), this.layout(), config);
    this.plot.dataset.drawn = "true";
  }
}

class FigureView {
  constructor(section, panels) {
    this.views = panels.map(panel => new PanelView(panel));
    const bar = element("div", {class: "chips"});
    const grid = section.querySelector(".panels");
    grid.before(bar);
    grid.append(...this.views.map(view => view.node));
    this.addChoices(bar, [...new Set(panels.map(panel => panel.choice).filter(Boolean))]);
    this.addTrunks(bar, panels);
    if (panels.some(panel => panel.steps)) this.addScale(bar);
    if (!bar.childElementCount) bar.remove();
  }

  addTrunks(bar, panels) {
    const traces = panels.flatMap(panel => panel.traces).filter(trace => trace.meta?.trunk);
    const symbols = new Map([ // none where a panel is of one trunk
      ...panels.filter(panel => panel.trunk).map(panel => [panel.trunk, null]),
      ...traces.map(trace => [trace.meta.trunk, trace.meta.symbol]),
    ]);
    if (symbols.size < 2) return;
    for (const [trunk, symbol] of [...symbols].sort()) {
      const change = isOn => this.views.forEach(view => view.show(trunk, isOn));
      bar.append(toggle(trunk, symbol, "currentColor", change));
    }
  }

  addScale(bar) {
    const button = element("button", {type: "button", class: "scale"}, "linear axis");
    button.addEventListener("click", () => {
      const isSymlog = button.textContent === "symlog axis";
      button.textContent = isSymlog ? "linear axis" : "symlog axis";
      for (const view of this.views) { view.isSymlog = isSymlog; view.redraw(); }
    });
    bar.append(button);
  }

  addChoices(bar, choices) {
    if (!choices.length) return;
    const group = element("div", {class: "chips choice", role: "group"});
    const choose = choice => {
      for (const button of group.children) button.setAttribute("aria-pressed", String(button.textContent === choice));
      for (const view of this.views) view.node.hidden = Boolean(view.panel.choice) && view.panel.choice !== choice;
    };
    for (const choice of choices) {
      const button = element("button", {type: "button"}, choice);
      button.addEventListener("click", () => { choose(choice); this.views.forEach(view => view.redraw()); });
      group.append(button);
    }
    bar.append(group);
    choose(choices[choices.length - 1]);
  }
}

// Tables

function sortTable(header) {
  const isDown = header.getAttribute("aria-sort") === "ascending";
  for (const other of header.parentNode.children) other.setAttribute("aria-sort", "none");
  header.setAttribute("aria-sort", isDown ? "descending" : "ascending");
  const body = header.closest("table").tBodies[0], column = header.cellIndex;
  const value = row => row.cells[column].textContent;
  const order = (a, b) => {
    const [x, y] = [parseFloat(value(a)), parseFloat(value(b))];
    if (!isNaN(x) && !isNaN(y) && x !== y) return x - y;
    return value(a).localeCompare(value(b), undefined, {numeric: true});
  };
  const rows = [...body.rows].sort(order);
  body.append(...(isDown ? rows.reverse() : rows));
}

async function copy(button) {
  const text = button.dataset.copies === "command"
    ? button.parentNode.querySelector("pre").textContent
    : [...button.parentNode.querySelectorAll("tr")].map(row => [...row.cells].map(cell => cell.textContent).join("\t")).join("\n");
  try {
    await navigator.clipboard.writeText(text);
  } catch { // without leave, as in some browsers from disk
    const area = element("textarea");
    area.value = text;
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
  button.textContent = "copied";
  setTimeout(() => { button.textContent = "copy"; }, 1500);
}

// All of it

const figures = Object.entries(JSON.parse(document.getElementById("data").textContent))
  .map(([name, panels]) => new FigureView(document.getElementById(name), panels));
const views = figures.flatMap(figure => figure.views);

async function drawAll() { // one after another, so that the page can be scrolled meanwhile
  for (const view of views) {
    await view.redraw();
    await new Promise(resolve => setTimeout(resolve));
  }
  document.documentElement.dataset.drawn = "true";
}

function showTheme() {
  document.getElementById("theme").textContent = theme.isDark ? "light" : "dark";
}

document.getElementById("theme").addEventListener("click", () => {
  document.documentElement.dataset.theme = theme.isDark ? "light" : "dark";
  showTheme();
  drawAll();
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { showTheme(); drawAll(); });
document.querySelectorAll("th .sort").forEach(button => button.addEventListener("click", () => sortTable(button.parentNode)));
document.querySelectorAll(".copy").forEach(button => button.addEventListener("click", () => copy(button)));
let waiting;
addEventListener("resize", () => { // labels have other room
  if (paper.isLaid) return;
  clearTimeout(waiting);
  waiting = setTimeout(drawAll, 200);
});
addEventListener("beforeprint", () => paper.lay());
addEventListener("afterprint", () => paper.takeAway());
showTheme();
drawAll();
