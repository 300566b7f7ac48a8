"use strict";

// Each header of a sortable table becomes a button.
function sortKey(row, column) {
  const cell = row.cells[column];
  const text = cell.dataset.sort ?? cell.textContent.trim();
  const number = text === "" ? NaN : Number(text);
  return { text, number, empty: text === "" };
}

function sortTable(table, column, descending) {
  const body = table.tBodies[0];
  const rows = Array.from(body.rows, (row) => ({ row, key: sortKey(row, column) }));
  const numeric = rows.every(({ key }) => key.empty || !Number.isNaN(key.number));
  const sign = descending ? -1 : 1;
  rows.sort((a, b) => {
    if (a.key.empty !== b.key.empty) return a.key.empty ? 1 : -1;
    return sign * (numeric ? a.key.number - b.key.number || 0 : a.key.text.localeCompare(b.key.text));
  });
  body.append(...rows.map(({ row }) => row));
  Array.from(table.tHead.rows[0].cells, (head, i) => {
    if (i === column) head.setAttribute("aria-sort", descending ? "descending" : "ascending");
    else head.removeAttribute("aria-sort");
  });
}

for (const table of document.querySelectorAll("table.sortable")) {
  Array.from(table.tHead.rows[0].cells, (head, column) => {
    if (!head.textContent.trim()) return;
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    button.addEventListener("click", () => sortTable(table, column, head.getAttribute("aria-sort") === "ascending"));
    head.append(button);
  });
}

// The filter of the implementations: by words in the name and by verdict. Another workload replaces the numbers.
for (const form of document.querySelectorAll("form.filter")) {
  const table = document.getElementById(form.dataset.table);
  const rows = Array.from(table.tBodies[0].rows);
  const { text, state, workload } = form.elements;
  const apply = () => {
    const words = text.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of rows) {
      const name = `${row.cells[0].textContent}:${row.cells[1].textContent}`.toLowerCase();
      row.hidden = !words.every((word) => name.includes(word)) || (state.value !== "" && row.dataset.state !== state.value);
      shown += row.hidden ? 0 : 1;
    }
    form.querySelector("output").textContent = `${shown} of ${rows.length}`;
  };
  const measure = () => {
    for (const cell of table.querySelectorAll("td.measured")) {
      const [shown, sort] = JSON.parse(cell.dataset.all)[workload.value] ?? ["", ""];
      cell.textContent = shown;
      cell.dataset.sort = sort;
    }
    for (const name of document.querySelectorAll(".workload")) name.textContent = workload.selectedOptions[0].text;
  };
  form.addEventListener("submit", (event) => event.preventDefault());
  text.addEventListener("input", apply);
  state.addEventListener("change", apply);
  if (workload) workload.addEventListener("change", measure);
  apply();
}

// A link to an element inside a closed <details> opens it.
function reveal() {
  const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (target) target.closest("details")?.setAttribute("open", "");
}
addEventListener("hashchange", reveal);
reveal();

// Charts are drawn in the page's colours, when they come near the window.
function themed(figure, width) {
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(name).trim();
  const axis = { gridcolor: colour("--line"), linecolor: colour("--line"), zeroline: false, automargin: true };
  const layout = structuredClone(figure.layout);
  const named = figure.data.filter((trace) => trace.showlegend !== false);
  const entries = named.length;
  const longest = Math.max(0, ...named.map((trace) => (trace.name ?? "").length));
  const beside = width > 760 && entries > 1;
  const lines = beside ? 0 : Math.ceil(entries / Math.max(1, Math.floor(width / (longest * 7 + 60))));
  layout.height += lines * 20;
  return Object.assign(layout, {
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: style.getPropertyValue("--sans"), size: 12, color: colour("--quiet") },
    margin: { l: 8, r: 16, t: 16, b: lines ? 60 + lines * 20 : 8 },
    hoverlabel: { font: { family: style.getPropertyValue("--sans") } },
    showlegend: entries > 1,
    legend: beside
      ? { x: 1.02, y: 1, font: { size: 12 } }
      : { orientation: "h", x: 0, y: 0, yref: "container", yanchor: "bottom", font: { size: 11 } },
    shapes: (layout.shapes ?? []).map((shape) => ({ ...shape, line: { ...shape.line, color: colour("--ink") } })),
    xaxis: { ...axis, ...layout.xaxis },
    yaxis: { ...axis, ...layout.yaxis },
  });
}

function draw(plot) {
  const figure = JSON.parse(plot.parentElement.querySelector("script.figure").textContent);
  const options = { responsive: true, displaylogo: false, displayModeBar: false };
  const inked = figure.data.map((trace) => (trace.mode === "markers+text" ? { ...trace, textfont: { size: 11 } } : trace));
  plot.replaceChildren();
  plot.style.minHeight = "";
  return Plotly.newPlot(plot, inked, themed(figure, plot.clientWidth), options);
}

addEventListener("DOMContentLoaded", () => {
  const plots = Array.from(document.querySelectorAll(".plot"));
  if (!plots.length || typeof Plotly === "undefined") return;
  const seen = new IntersectionObserver(
    (entries) => {
      for (const { isIntersecting, target } of entries) {
        if (isIntersecting) {
          seen.unobserve(target);
          draw(target);
        }
      }
    },
    { rootMargin: "600px" },
  );
  plots.forEach((plot) => seen.observe(plot));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    for (const plot of plots) if (plot.querySelector(".main-svg")) draw(plot);
  });
  addEventListener("beforeprint", () => plots.filter((plot) => !plot.querySelector(".main-svg")).forEach(draw));
});
