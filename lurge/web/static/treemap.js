"use strict";
/* A tree map: tiles lead to what is in them, their colours are those of the legend beside it. */
(() => {
  const figure = document.getElementById("treemap");
  if (!figure) return;
  figure.hidden = false;

  const colours = (element) => {
    const { backgroundColor, color } = getComputedStyle(element);
    return { tile: backgroundColor, text: color };
  };

  /* The colours of so many days: of the last step of the legend that begins below them. */
  const scale = () => {
    const steps = [...figure.querySelectorAll("[data-days]")].map((step) => [Number(step.dataset.days), colours(step)]);
    const unknown = colours(figure.querySelector(".colour:not([data-days])"));
    return (days) => (days === null ? unknown : steps.filter(([from]) => from <= Math.max(0, days)).pop()[1]);
  };

  charts.kinds.treemap = ({ area, tiles }) => {
    const shades = tiles.map((tile) => tile.last_used_days).map(scale());
    const lines = (some) => some.map(charts.plain).join("<br>");
    const trace = {
      type: "treemap",
      ids: tiles.map((_, number) => `${number}`),
      labels: tiles.map(() => ""),
      parents: tiles.map(() => ""),
      values: tiles.map((tile) => tile[area]),
      text: tiles.map((tile) => lines([tile.name.split("/").pop(), tile.shown[0]])),
      hovertext: tiles.map((tile) => lines([tile.name, ...tile.shown])),
      sort: false,
      textinfo: "text",
      hoverinfo: "text",
      textfont: { color: shades.map((shade) => shade.text) },
      marker: {
        colors: shades.map((shade) => shade.tile),
        pattern: { shape: tiles.map((tile) => (tile.last_used_days === null ? "/" : "")), fgcolor: "#777", size: 6, solidity: 0.3 },
        line: { width: 1 },
      },
      tiling: { pad: 2 },
      pathbar: { visible: false },
    };
    /* False: plotly does not make the tile as large as all. */
    const clicked = (number) => {
      const page = tiles[number]?.page;
      if (page) location.assign(page);
      return false;
    };
    const layout = { ...charts.layout(), margin: { l: 0, r: 0, t: 0, b: 0 }, uniformtext: { minsize: 10, mode: "hide" } };
    return { data: [trace], layout, clicked };
  };
})();
