// The curves: smoothed here, over images or time, linear or logarithmic; each panel is drawn when it comes into view.
const COLOURS = ["#4c7fdb", "#e5813a", "#2ba37c", "#c25bb5", "#cfa21a", "#7a6be0", "#35a5c8", "#d8525c"];
const DASHES = ["solid", "dash", "dot", "dashdot"];
const FEW = 60; // points up to which they are marked
const view = {smoothing: 5, logarithmic: false, axis: "images", hidden: new Set()};

// The mean over a centred window of so many percent of the values, as much of it as there is at the ends.
function smoothed(values, percent) {
  const half = Math.floor(values.length * percent / 200), sums = [0];
  for (const value of values) sums.push(sums.at(-1) + value);
  return values.map((_, index) => {
    const start = Math.max(index - half, 0), end = Math.min(index + half + 1, values.length);
    return (sums[end] - sums[start]) / (end - start);
  });
}

function secondsAt(clock, images) {
  const next = clock.x.findIndex(x => x >= images);
  if (next === -1) return clock.y.at(-1);
  const [x0, y0] = next ? [clock.x[next - 1], clock.y[next - 1]] : [0, 0];
  return y0 + (clock.y[next] - y0) * (images - x0) / (clock.x[next] - x0 || 1);
}

function timeUnit() {
  const longest = Math.max(...data.runs.map(run => run.clock.y.at(-1) ?? 0));
  return longest > 2 * 3600 ? [3600, "hours"] : longest > 120 ? [60, "minutes"] : [1, "seconds"];
}

const along = (run, xs) => view.axis === "images" ? xs : xs.map(x => secondsAt(run.clock, x) / timeUnit()[0]);
const plain = text => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;"); // Plotly reads tags in names

function tracesOf(run, number, panel) {
  return panel.names.filter(name => run.curves[name]).flatMap(name => {
    const index = panel.names.indexOf(name), curve = run.curves[name], {x, y} = curve.means ?? curve;
    const single = data.runs.length === 1;
    const line = {color: COLOURS[(single ? index : number) % COLOURS.length], dash: single ? "solid" : DASHES[index % DASHES.length]};
    const label = plain(single ? name : panel.names.length > 1 ? `${run.name}, ${name}` : run.name);
    const smooth = {x: along(run, x), y: smoothed(y, view.smoothing), name: label, line: {...line, width: 1.8}, hovertemplate: "%{y:.4~g}",
      mode: x.length <= FEW ? "lines+markers" : "lines", marker: {size: 4}};
    const raw = {x: along(run, curve.x), y: curve.y, mode: "lines", line: {...line, width: 1}, opacity: 0.25, hoverinfo: "skip", showlegend: false};
    const traces = view.smoothing > 0 ? [raw, smooth] : [{...smooth, x: along(run, curve.x), y: curve.y}];
    const best = run.best[name];
    if (best) traces.push({x: along(run, [best[0]]), y: [best[1]], mode: "markers", showlegend: false, hovertemplate: "best %{y:.4~g}<extra></extra>",
      name: "best", marker: {symbol: "star", size: 13, color: line.color, line: {width: 1, color: "#fff"}}});
    return traces;
  });
}

// One peak in a thousand would flatten everything else; a double click shows it. What differs by rounding is constant.
function verticalRange(traces) {
  const scale = view.logarithmic ? Math.log10 : value => value;
  const values = traces.flatMap(trace => trace.y).filter(y => !view.logarithmic || y > 0).map(scale).sort((a, b) => a - b);
  if (!values.length) return undefined;
  const low = values[Math.floor(0.005 * (values.length - 1))], high = values[Math.ceil(0.995 * (values.length - 1))];
  const margin = high - low > 1e-6 * Math.abs(high) ? 0.06 * (high - low) : 0.05 * Math.abs(high) || 1;
  return [low - margin, high + margin];
}

function layoutOf(panel, traces) {
  const style = getComputedStyle(document.documentElement), colour = name => style.getPropertyValue(name).trim();
  const axis = {gridcolor: colour("--line"), linecolor: colour("--line"), zeroline: false, automargin: true, nticks: 6};
  const title = view.axis === "time" ? {text: timeUnit()[1], standoff: 4, font: {size: 11}} : undefined;
  return {
    margin: {l: 40, r: 8, t: 6, b: 30}, hovermode: "x unified", paper_bgcolor: "transparent", plot_bgcolor: "transparent",
    font: {color: colour("--soft"), size: 11, family: getComputedStyle(document.body).fontFamily},
    hoverlabel: {bgcolor: colour("--card"), bordercolor: colour("--line"), font: {color: colour("--ink")}},
    showlegend: data.runs.length === 1 && panel.names.length > 1, legend: {orientation: "h", x: 0, y: 1, yanchor: "bottom", bgcolor: "transparent"},
    modebar: {bgcolor: "transparent", color: colour("--soft"), activecolor: colour("--ink")},
    dragmode: matchMedia("(pointer: coarse)").matches ? false : "zoom", // on a phone a finger scrolls the page
    uirevision: `${view.axis} ${view.logarithmic}`,
    xaxis: {...axis, title, ...(view.axis === "images" ? {tickformat: "~s", hoverformat: ",d"} : {hoverformat: ".2f"})},
    yaxis: {...axis, type: view.logarithmic ? "log" : "linear", range: verticalRange(traces), tickformat: view.logarithmic ? "" : "~g"},
  };
}

function draw(plot, panel) {
  const traces = data.runs.flatMap((run, number) => view.hidden.has(number) ? [] : tracesOf(run, number, panel));
  const config = {responsive: true, displaylogo: false, modeBarButtons: [["toImage", "zoomIn2d", "zoomOut2d", "resetScale2d"]], doubleClick: "reset+autosize"};
  Plotly.react(plot, traces, layoutOf(panel, traces), config);
}

const drawn = new Map();
const redraw = () => drawn.forEach((panel, plot) => draw(plot, panel));
const inView = new IntersectionObserver(entries => entries.filter(entry => entry.isIntersecting).forEach(({target}) => {
  inView.unobserve(target);
  drawn.set(target, target.panel);
  draw(target, target.panel);
}), {rootMargin: "300px"});

document.querySelectorAll(".plots").forEach(host => data.groups[host.dataset.group].forEach(panel => {
  const plot = element("div", {panel});
  host.append(element("div", {className: "panel"}, element("h3", {textContent: panel.title, title: panel.about}, element("small", {textContent: panel.about})), plot));
  inView.observe(plot);
}));

let pending = 0;
function change(values) {
  Object.assign(view, values);
  cancelAnimationFrame(pending);
  pending = requestAnimationFrame(redraw);
}
byId("smoothing")?.addEventListener("input", event => {
  event.target.nextElementSibling.value = `${event.target.value} %`;
  change({smoothing: Number(event.target.value)});
});
byId("logarithmic")?.addEventListener("change", event => change({logarithmic: event.target.checked}));
byId("axis")?.addEventListener("change", event => change({axis: event.target.value}));
if (byId("axis") && !data.runs.every(run => run.clock.x.length)) byId("axis").closest("label").hidden = true;
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
