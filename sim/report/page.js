"use strict";
// Draws each figure when it comes near the view; drop-downs of one dimension move together.
(() => {
  const NARROW = 560; // pixels: below this a figure has smaller text and margins
  const LEGEND_ROW = 30; // pixels: a legend that is not higher has a single row
  const read = (id) => JSON.parse(document.getElementById(id).textContent);
  const templates = read("templates");
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const coarse = matchMedia("(pointer: coarse)").matches;
  const config = {
    displaylogo: false,
    responsive: true,
    modeBarButtons: [["toImage", "resetScale2d"]],
    displayModeBar: coarse ? false : "hover",
  };
  const figures = new Map();
  let printing = false;

  const keyOf = (figure) =>
    figure.choices.map((dimension) => figure.element.querySelector(`select[data-dimension="${dimension}"]`).selectedIndex).join(".");

  function draw(figure) {
    figure.data ??= read(`data-${figure.name}`).drawings;
    const drawing = figure.data[keyOf(figure)];
    figure.element.querySelector(".summary").textContent = drawing ? drawing.summary : "";
    figure.plot.querySelector(".nothing")?.remove();
    figure.drawn = true;
    if (!drawing) {
      Plotly.purge(figure.plot);
      figure.plot.insertAdjacentHTML("beforeend", '<p class="nothing">No design of this choice was evaluated.</p>');
      return;
    }
    const layout = structuredClone(drawing.layout);
    const scheme = dark.matches && !printing ? "dark" : "light";
    layout.template = templates[scheme];
    if (drawing.scales) layout.coloraxis.colorscale = drawing.scales[scheme];
    layout.autosize = true;
    if (coarse) layout.dragmode = false; // a finger scrolls the page
    layout.height ??= 340;
    if (figure.plot.clientWidth < NARROW) narrow(layout);
    figure.plot.style.minHeight = `${layout.height}px`;
    Plotly.react(figure.plot, structuredClone(drawing.data), layout, config).then(() => makeRoomForLegend(figure, layout));
  }

  // On a narrow page a legend has several rows. Plotly would rather let it cover the bars of a low
  // figure than push them down, so the figure grows by what the first row does not hold.
  function makeRoomForLegend(figure, layout) {
    const legend = figure.plot.querySelector(".legend");
    const height = legend ? Math.ceil(legend.getBBox().height) : 0;
    if (height <= LEGEND_ROW) return;
    const grown = layout.height + height - LEGEND_ROW;
    figure.plot.style.minHeight = `${grown}px`;
    Plotly.relayout(figure.plot, { height: grown, "margin.t": height + 16 });
  }

  function narrow(layout) {
    for (const name of ["xaxis", "yaxis"]) {
      layout[name] = { ...layout[name], tickfont: { size: 11 }, tickangle: 0 };
      if (name === "xaxis" && layout.coloraxis) layout.xaxis.nticks = 8; // the colour bar takes room
    }
    layout.margin = { l: 48, r: 10, t: 8, b: 44 };
  }

  const redraw = () => figures.forEach((figure) => figure.drawn && draw(figure));

  let width = innerWidth;
  addEventListener("resize", () => {
    if (innerWidth === width) return; // the bars of a phone's browser come and go
    width = innerWidth;
    redraw();
  });

  const watcher = new IntersectionObserver(
    (entries) => {
      for (const entry of entries) {
        if (!entry.isIntersecting) continue;
        watcher.unobserve(entry.target);
        const figure = figures.get(entry.target.dataset.figure);
        if (!figure.drawn) draw(figure);
      }
    },
    { rootMargin: "400px" },
  );

  for (const element of document.querySelectorAll("figure[data-figure]")) {
    const name = element.dataset.figure;
    const choices = [...element.querySelectorAll("select")].map((select) => select.dataset.dimension);
    figures.set(name, { name, element, choices, plot: element.querySelector(".plot"), data: null, drawn: false });
    watcher.observe(element);
  }

  document.addEventListener("change", (event) => {
    const chosen = event.target.closest("select[data-dimension]");
    if (!chosen) return;
    for (const other of document.querySelectorAll(`select[data-dimension="${chosen.dataset.dimension}"]`)) {
      const index = [...other.options].findIndex((option) => option.text === chosen.selectedOptions[0].text);
      if (index >= 0) other.selectedIndex = index;
    }
    for (const figure of figures.values()) {
      if (figure.drawn && figure.choices.includes(chosen.dataset.dimension)) draw(figure);
    }
  });
  dark.addEventListener("change", redraw);
  addEventListener("beforeprint", () => {
    printing = true;
    figures.forEach(draw);
  });
  addEventListener("afterprint", () => {
    printing = false;
    redraw();
  });
})();
