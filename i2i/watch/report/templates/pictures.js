// Samples over time, the comparison of two pictures by dragging, and the images that did best and worst.
"use strict";

const data = JSON.parse(document.getElementById("data").textContent);
const byId = id => document.getElementById(id);

function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

function show(image, key) {
  image.src = data.pictures[key];
  image.onload = () => image.classList.toggle("small", image.naturalWidth < 128 && image.naturalHeight < 128);
}

// What a picture was made from, if that is among the labels, or else any other, if there is one.
function inputOf(output, labels) {
  const input = /^(fake_A|rec_B)/.test(output) ? "real_B" : "real_A";
  return labels.find(label => label === input && label !== output) ?? labels.find(label => label !== output) ?? output;
}

// Two pictures in one place, divided where the range input stands: at first an input and its output. Gives a function
// that takes other pictures by label and, if it is given, what to show on the right.
function comparison(host, labels) {
  const [under, over] = [element("img", {className: "under"}), element("img", {className: "over"})];
  const slider = element("input", {type: "range", min: 0, max: 100, step: 0.5, value: 50, ariaLabel: "divide between the two"});
  const box = element("div", {className: "compare"}, under, over, element("div", {className: "line"}), slider);
  const selects = ["on the left", "on the right"].map(ariaLabel => element("select", {ariaLabel}, ...labels.map(label => new Option(label))));
  let pictures = {};
  const choose = output => { selects[1].value = output; selects[0].value = inputOf(output, labels); };
  const divide = () => box.style.setProperty("--split", slider.value + "%");
  const refresh = () => [over, under].forEach((image, side) => {
    image.alt = selects[side].value;
    show(image, pictures[selects[side].value]);
  });
  slider.addEventListener("input", divide);
  selects.forEach(select => select.addEventListener("change", refresh));
  host.replaceChildren(box, element("div", {className: "choices"}, ...selects));
  choose(labels.find(label => label.startsWith("fake")) ?? labels.at(-1));
  divide();
  return (changed, output) => {
    pictures = changed;
    if (output !== undefined) choose(output);
    refresh();
  };
}

function samplesOverTime({labels, frames}) {
  const slider = byId("frame"), play = byId("play"), grid = byId("grid");
  const cells = frames.at(-1).rows.map(row => row.map((_, column) => element("img", {alt: labels[column]})));
  const rows = cells.map(row => element("tr", {}, ...row.map(image => element("td", {}, image))));
  const isTranslation = labels.length > 1 && labels.some(label => label.startsWith("real"));
  const viewer = isTranslation ? comparison(byId("viewer"), labels) : null;
  let chosen = 0, now = frames.length - 1, playing = null;

  function refresh(output) {
    const frame = frames[now];
    frame.rows.forEach((row, y) => row.forEach((key, x) => cells[y] && show(cells[y][x], key)));
    rows.forEach((row, y) => row.classList.toggle("chosen", viewer !== null && y === chosen));
    viewer?.(Object.fromEntries(labels.map((label, x) => [label, frame.rows[chosen][x]])), output);
    if (slider) {
      slider.value = now;
      byId("when").textContent = `${frame.images.toLocaleString("en")} images, epoch ${frame.epoch}`;
    }
  }
  function stop() {
    clearInterval(playing);
    playing = null;
    play.textContent = "▶";
    play.ariaLabel = "play";
  }
  function start() {
    if (now === frames.length - 1) now = -1;
    play.textContent = "❚❚";
    play.ariaLabel = "pause";
    playing = setInterval(() => {
      now += 1;
      refresh();
      if (now === frames.length - 1) stop();
    }, 300);
  }
  rows.forEach((row, y) => {
    if (!viewer) return;
    row.tabIndex = 0;
    row.addEventListener("keydown", event => { if (event.key === "Enter") { chosen = y; refresh(); } });
    row.addEventListener("click", event => {
      chosen = y;
      const output = event.target.alt;
      refresh(output && !output.startsWith("real") ? output : undefined);
    });
  });
  if (slider) {
    slider.addEventListener("input", () => { stop(); now = Number(slider.value); refresh(); });
    play.addEventListener("click", () => playing === null ? start() : stop());
  }
  grid.style.setProperty("--columns", labels.length);
  grid.classList.toggle("dense", labels.length === 1);
  const heads = element("tr", {}, ...labels.map(label => element("th", {textContent: label, title: label})));
  grid.replaceChildren(...(labels.length > 1 ? [heads] : []), ...rows);
  refresh();
}

function enlarge(name, pictures) {
  const host = element("div");
  const close = element("button", {textContent: "close"});
  const dialog = element("dialog", {ariaLabel: name}, element("form", {method: "dialog"}, close), host);
  comparison(host, Object.keys(pictures))(pictures);
  dialog.addEventListener("close", () => dialog.remove());
  dialog.addEventListener("click", event => event.target === dialog && dialog.close());
  document.body.append(dialog);
  dialog.showModal();
}

function example({name, figures, pictures}) {
  const shown = Object.entries(pictures).map(([label, key]) => {
    const image = element("img", {alt: label});
    show(image, key);
    return element("figure", {}, image, element("figcaption", {textContent: label}));
  });
  const row = element("button", {className: "row", type: "button", title: "compare"}, ...shown);
  row.addEventListener("click", () => enlarge(name, pictures));
  const words = Object.entries(figures).map(([figure, value]) => `${figure} ${value === null ? "–" : Number(value.toPrecision(4))}`);
  const head = element("h4", {textContent: name}, element("small", {textContent: words.join(", ")}));
  return element("div", {className: "example"}, head, row);
}

if (data.samples.frames.length) samplesOverTime(data.samples);
for (const kind of ["best", "worst"]) byId(kind)?.append(...data.examples[kind].map(example));
