// What is neither curve nor picture: how old the page is, which runs are shown, the search in the options.
const SILENCE = 3600e3; // milliseconds without a number, after which a run no longer counts as running

function age(milliseconds) {
  const minutes = Math.max(0, milliseconds) / 60e3;
  return minutes < 2 ? "a moment ago" : minutes < 120 ? `${Math.round(minutes)} minutes ago`
    : minutes < 2880 ? `${Math.round(minutes / 60)} hours ago` : `${Math.round(minutes / 1440)} days ago`;
}

function tellTheAge() {
  for (const time of document.querySelectorAll("time.ago")) time.textContent = age(Date.now() - Date.parse(time.dateTime));
  for (const badge of document.querySelectorAll(".badge.running"))
    if (Date.now() - Date.parse(badge.dataset.updated) > SILENCE) badge.textContent = "running, as of this page";
}
document.querySelectorAll("time.ago").forEach(time => { time.title = time.textContent; });
tellTheAge();
setInterval(tellTheAge, 30e3);

const live = byId("live");
if (live) setInterval(() => live.checked && !document.hidden && location.reload(), 60e3);

// What a reload keeps: that there are more to come, and how the curves are shown.
for (const field of document.querySelectorAll("#live, #smoothing, #logarithmic, #axis")) {
  const kept = field.type === "checkbox" ? "checked" : "value", before = history.state?.[field.id];
  if (before !== undefined) {
    field[kept] = before;
    for (const kind of ["input", "change"]) field.dispatchEvent(new Event(kind));
  }
  field.addEventListener("change", () => history.replaceState({...history.state, [field.id]: field[kept]}, ""));
}

document.querySelectorAll(".swatch").forEach(swatch => { swatch.style.background = COLOURS[swatch.dataset.run % COLOURS.length]; });
document.querySelectorAll(".shown-run").forEach(box => box.addEventListener("change", () => {
  view.hidden[box.checked ? "delete" : "add"](Number(box.value));
  redraw();
}));
byId("search")?.addEventListener("input", event => {
  const words = event.target.value.toLowerCase();
  for (const row of document.querySelectorAll(".options > div")) row.hidden = !row.textContent.toLowerCase().includes(words);
});
