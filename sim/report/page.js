"use strict";
// Draws each figure when it comes near the view; drop-downs of one dimension move together.
(() => {
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
    figure.element.querySelector(".says").textContent = drawing ? drawing.says : "";
    figure.plot.querySelector(".nothing")?.remove();
    if (!drawing) {
      Plotly.purge(figure.plot);
      figure.plot.insertAdjacentHTML("beforeend", '<p class="nothing">Nothing of this choice was looked at.</p>');
      figure.drawn = true;
      return;
    }
    const layout = structuredClone(drawing.layout);
    const paper = dark.matches && !printing ? "dark" : "light";
    layout.template = templates[paper];
    if (drawing.scales) layout.coloraxis.colorscale = drawing.scales[paper];
    layout.autosize = true;
    if (coarse) layout.dragmode = false; // a finger scrolls the page
    figure.plot.style.minHeight = `${layout.height ?? 340}px`;
    Plotly.react(figure.plot, structuredClone(drawing.data), layout, config);
    figure.drawn = true;
  }

  const redraw = () => figures.forEach((figure) => figure.drawn && draw(figure));

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
      const place = [...other.options].findIndex((option) => option.text === chosen.selectedOptions[0].text);
      if (place >= 0) other.selectedIndex = place;
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
