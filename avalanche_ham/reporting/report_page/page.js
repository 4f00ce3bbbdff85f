const page = JSON.parse(document.getElementById("data").textContent);
const at = (id) => document.getElementById(id);
const names = page.controls;
const body = at("numbers").tBodies[0];
const views = [];

function update() { // charts and table follow the controls
  const state = Object.fromEntries(names.map((name) => [name, at(name).value]));
  for (const view of views) {
    for (const name of names) view.signal(name, state[name]);
    view.runAsync();
  }
  for (const row of body.rows) {
    const here = at("everywhere").checked || row.dataset.site === state.site;
    row.hidden = !here || !row.dataset.label.includes(state.search.toLowerCase());
    row.classList.toggle("chosen", row.id === state.chosen);
  }
  at("about").textContent = page.sites[state.site];
  at("grouped").hidden = !page.datasets.groups.some((row) => row.key === state.chosen);
  at("count").textContent = `${[...body.rows].filter((row) => !row.hidden).length} shown`;
}

function choose(key) { // a row, at its own data set and length
  const { site } = page.datasets.rows.find((row) => row.key === key);
  const rows = page.datasets.rows.filter((row) => row.site === site);
  at("site").value = site;
  at("chosen").replaceChildren(...rows.map((row) => new Option(row.label, row.key)));
  at("chosen").value = key;
  update();
}

function sort(heading) {
  const down = heading.ariaSort !== "descending";
  const value = ({ cells: { [heading.cellIndex]: { dataset, textContent } } }) =>
    dataset.value === undefined ? textContent : Number(dataset.value);
  const order = (a, b) => (value(a) > value(b)) - (value(a) < value(b));
  for (const other of heading.parentNode.cells) other.removeAttribute("aria-sort");
  heading.ariaSort = down ? "descending" : "ascending";
  body.append(...[...body.rows].sort((a, b) => (down ? order(b, a) : order(a, b))));
}

for (const name of ["chosen", "search", "metric", "cost", "curve", "everywhere"]) {
  at(name).addEventListener("input", update);
}
at("site").addEventListener("input", () => {
  choose(page.datasets.rows.find((row) => row.site === at("site").value).key);
});
at("numbers").addEventListener("click", ({ target }) => {
  if (target.closest("thead button")) sort(target.closest("th"));
  else if (target.closest("th button")) choose(target.closest("tr").id);
});
choose(page.first);
Promise.all(Object.entries(page.charts).map(async ([name, spec]) => {
  const params = names.map((control) => ({ name: control, value: at(control).value }));
  const datasets = Object.fromEntries(page.uses[name].map((used) => [used, page.datasets[used]]));
  const whole = { ...spec, params, datasets };
  const options = { renderer: "svg", actions: false, logLevel: 1 }; // errors
  const { view } = await vegaEmbed(at(name), whole, options);
  view.addEventListener("click", (event, item) => item?.datum?.key && choose(item.datum.key));
  views.push(view);
})).then(() => { document.body.dataset.ready = performance.now(); });
