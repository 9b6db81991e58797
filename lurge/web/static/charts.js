"use strict";
/*
 * Charts: an element with data-chart="KIND" and data-source="URL" gets a chart of what the URL gives.
 * charts.kinds[KIND] makes plotly's data and layout of it; other scripts add kinds of their own.
 */
const charts = (() => {
  const UNITS = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
  const DAY = 24 * 60 * 60 * 1000;
  const SERIES = 8;
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const kinds = {};

  /* Text that plotly shows as it is: it takes some of HTML in labels for markup. */
  const plain = (text) =>
    String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");

  /* A colour of the page by its name in lurge.css or plotly.css. */
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

  /* The same, see-through: colours there are #rrggbb. */
  const faint = (name) => `${colour(name)}40`;

  const series = (number) => colour(`series-${(number % SERIES) + 1}`);

  /* The unit for an axis up to some bytes or inodes: its name, and by what a figure is divided. */
  const unit = (of, most) => {
    if (of !== "bytes") return { name: "inodes", by: 1, format: ",.0f" };
    let power = 0;
    while (power < UNITS.length - 1 && most >= 1024 ** (power + 1)) power += 1;
    return { name: UNITS[power], by: 1024 ** power, format: power ? ",.1f" : ",.0f" };
  };

  /* What all charts look like. */
  const layout = (more) => ({
    font: { family: "system-ui, sans-serif", size: 13, color: colour("ink") },
    paper_bgcolor: colour("paper"),
    plot_bgcolor: colour("paper"),
    margin: { l: 70, r: 12, t: 12, b: 40 },
    hoverlabel: { bgcolor: colour("shade"), bordercolor: colour("line"), font: { color: colour("ink") } },
    ...more,
  });

  /* A fortnight up to a single day, of which plotly would show a millisecond. */
  const around = ([first, ...others]) =>
    others.length ? {} : { range: [text(day(first) - 14 * DAY), text(day(first) + DAY)] };

  /* The layout of a chart over time. */
  const overTime = (of, more) =>
    layout({
      hovermode: "x unified",
      legend: { orientation: "h", y: -0.12, yanchor: "top" },
      xaxis: { type: "date", gridcolor: colour("line"), linecolor: colour("line"), hoverformat: "%d %b %Y", ...more },
      yaxis: {
        title: { text: of.name },
        rangemode: "tozero",
        tickformat: ",",
        fixedrange: true,
        gridcolor: colour("line"),
        zerolinecolor: colour("quiet"),
      },
    });

  const day = (text) => Date.parse(`${text}T00:00:00Z`);

  const text = (time) => new Date(time).toISOString().slice(0, 10);

  /* How far the axis reaches beyond the newest day: no further than what is past is long. */
  const horizon = (first, newest, days) => {
    const reach = Math.max(day(newest) - day(first), 60 * DAY);
    const known = days.filter(Boolean).map(day);
    const last = known.length ? Math.max(...known) + 5 * DAY : day(newest) + reach / 3;
    return text(Math.min(last, day(newest) + reach));
  };

  /* From the newest point: the likely line, and the span in which the quota is reached. */
  const ahead = (from, forecast, by, end) => {
    const likely = forecast.likely && forecast.likely > from.date ? forecast.likely : null;
    const days = (day(end) - day(from.date)) / DAY;
    const there = likely
      ? { x: likely, y: from.quota }
      : { x: end, y: Math.max(0, from.used + forecast.rate_per_day * days) };
    const line = {
      x: [from.date, there.x],
      y: [from.used / by, there.y / by],
      name: "likely",
      mode: "lines",
      line: { color: colour("link"), dash: "dot", width: 2 },
      hoverinfo: "skip",
    };
    if (!forecast.earliest || forecast.earliest <= from.date) return [line];
    const latest = forecast.latest ? [[forecast.latest, from.quota]] : [[end, from.quota], [end, from.used]];
    const corners = [[from.date, from.used], [forecast.earliest, from.quota], ...latest];
    const band = {
      x: corners.map((corner) => corner[0]),
      y: corners.map((corner) => corner[1] / by),
      name: forecast.latest ? "earliest to latest" : "earliest, and later",
      mode: "lines",
      line: { width: 0 },
      fill: "toself",
      fillcolor: faint("link"),
      hoverinfo: "skip",
    };
    return [band, line];
  };

  /* A line where days end that were counted in another way. */
  const cutOver = (until) => ({
    shapes: [{ type: "line", x0: until, x1: until, y0: 0, y1: 1, yref: "paper", line: { color: colour("quiet"), dash: "dash", width: 1 } }],
    annotations: [{ x: until, y: 0, yref: "paper", yanchor: "bottom", xanchor: "left", text: "imported until here", showarrow: false, font: { color: colour("quiet"), size: 12 } }],
  });

  kinds.history = ({ of, points, forecast, imported_until: until }) => {
    if (!points.length) return null;
    const most = Math.max(...points.map((point) => Math.max(point.used, point.quota || 0)));
    const { by, ...scale } = unit(of, most);
    const x = points.map((point) => point.date);
    const hover = { hovertemplate: `%{y:${scale.format}} ${scale.name}` };
    const suspect = points.filter((point) => point.suspect);
    const traces = [
      { x, y: points.map((point) => point.used / by), name: "used", mode: points.length > 1 ? "lines" : "markers", line: { color: colour("link"), width: 2 }, ...hover },
    ];
    if (points.some((point) => point.quota !== null))
      traces.push({ x, y: points.map((point) => point.quota && point.quota / by), name: "quota", mode: "lines", line: { color: colour("bad"), dash: "dash", shape: "hv", width: 2 }, ...hover });
    if (suspect.length)
      traces.push({ x: suspect.map((point) => point.date), y: suspect.map((point) => point.used / by), name: "suspect", mode: "markers", marker: { color: colour("so-so"), symbol: "x", size: 9 }, ...hover });
    const first = x[0];
    const newest = points[points.length - 1];
    if (!forecast) return { data: traces, layout: { ...overTime(scale, around(x)), ...(until ? cutOver(until) : {}) } };
    const end = horizon(first, newest.date, [forecast.likely, forecast.earliest, forecast.latest]);
    const quota = traces.find((trace) => trace.name === "quota");
    if (quota && newest.quota !== null) {
      quota.x = [...x, end];
      quota.y.push(newest.quota / by);
    }
    return {
      data: [...ahead(newest, forecast, by, end), ...traces],
      layout: { ...overTime(scale, { range: [first, end] }), ...(until ? cutOver(until) : {}) },
    };
  };

  kinds.stack = ({ of, dates, volumes }) => {
    const sums = dates.map((_, index) => volumes.reduce((sum, volume) => sum + volume.used[index], 0));
    if (!dates.length || !volumes.length) return null;
    const { by, ...scale } = unit(of, Math.max(...sums));
    const data = volumes.map((volume, number) => ({
      x: dates,
      y: volume.used.map((used) => used / by),
      name: plain(volume.volume),
      stackgroup: "all",
      mode: dates.length > 1 ? "lines" : "markers",
      line: { color: series(number), width: 1 },
      hovertemplate: `%{y:${scale.format}} ${scale.name}`,
    }));
    return { data, layout: overTime(scale, around(dates)) };
  };

  const say = (element, words) => {
    Plotly.purge(element);
    element.classList.add("note");
    element.textContent = words;
  };

  /* A kind may say what a click does: `clicked` gets the number of what is clicked on. */
  const draw = async (element, data) => {
    const made = kinds[element.dataset.chart](data);
    if (!made) return say(element, "Nothing is recorded of this time.");
    await Plotly.react(element, made.data, made.layout, { displayModeBar: false, responsive: true });
    if (!made.clicked) return;
    element.removeAllListeners("plotly_treemapclick");
    element.on("plotly_treemapclick", (event) => made.clicked(event.points[0].pointNumber));
  };

  const load = async (element) => {
    try {
      const answer = await fetch(element.dataset.source, { headers: { Accept: "application/json" } });
      const data = await answer.json();
      if (!answer.ok) throw new Error(data.error);
      await draw(element, data);
      dark.addEventListener("change", () => draw(element, data));
    } catch (error) {
      say(element, `The chart cannot be shown: ${error.message}`);
    }
  };

  document.addEventListener("DOMContentLoaded", () => document.querySelectorAll("[data-chart]").forEach(load));
  return { kinds, plain, colour, series, unit, layout };
})();
