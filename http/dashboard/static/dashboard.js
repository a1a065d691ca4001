"use strict";

// What moves on a page: parts of it ask for themselves anew when the engine has done something, and charts are drawn.

const STEPS = ["pending", "processing", "completed", "failed", "cancelled", "review", "late"].map((status) => `order.${status}`);

// The element that follows the engine says what of it: only steps that fit this query are sent. Whatever shows more than
// these goes by the metrics, which come once a second, and asks for itself anew where they have changed.
function followEngine() {
  const follower = document.querySelector("[data-follow]");
  if (!follower) return;
  const source = new EventSource(`/events?${follower.dataset.follow}`);
  const tellMoved = atMostEachSecond(() => document.body.dispatchEvent(new CustomEvent("moved")));
  let known = null;
  source.addEventListener("metrics", (event) => {
    const counts = JSON.stringify(JSON.parse(event.data).orders_by_status);
    if (known !== null && counts !== known && "metrics" in follower.dataset) tellMoved();
    known = counts;
  });
  for (const step of STEPS) source.addEventListener(step, tellMoved);
  window.addEventListener("pagehide", () => source.close());
}

function atMostEachSecond(tell) {
  let timer = null;
  let isWaiting = false;
  return function call() {
    if (timer !== null) {
      isWaiting = true;
      return;
    }
    if (document.visibilityState === "visible") tell();
    timer = setTimeout(() => {
      timer = null;
      if (isWaiting) {
        isWaiting = false;
        call();
      }
    }, 1_000);
  };
}

function color(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function seconds(value) {
  if (value === null || value === undefined) return "–";
  if (value < 0.001) return `${Math.round(value * 1e6)} µs`;
  if (value < 1) return `${Number((value * 1e3).toPrecision(3))} ms`;
  return value < 120 ? `${Number(value.toPrecision(3))} s` : `${Math.round(value / 60)} min`;
}

function orders(value) {
  return value === null || value === undefined ? "–" : String(Math.round(value));
}

function perSecond(value) {
  return value === null || value === undefined ? "–" : `${Number(value.toPrecision(3))}/s`;
}

// In UTC, as all times of the pages: the day at midnight, and where the labels are days apart.
function moment(stamp, apart) {
  const text = new Date(stamp * 1e3).toISOString();
  return apart >= 86400 || text.slice(11, 19) === "00:00:00" ? text.slice(5, 10) : text.slice(11, apart >= 60 ? 16 : 19);
}

const CHARTS = {
  rate: {
    lines: [["Accepted", "--muted"], ["Completed", "--accent"], ["Failed", "--bad"]],
    text: perSecond,
    columns: (points) => [2, 3, 4].map((place) => points.map((point) => (point[1] > 0.5 ? point[place] / point[1] : null))),
  },
  time: {
    lines: [["Half under", "--accent"], ["95 % under", "--warn"]],
    text: seconds,
    columns: (points) => [5, 6].map((place) => points.map((point) => point[place])),
  },
  backlog: {
    lines: [["Expected", "--accent"], ["Low", "--muted"], ["High", "--muted"]],
    text: orders,
    columns: (points) => [1, 2, 3].map((place) => points.map((point) => point[place])),
  },
  compared: {
    lines: [["After it", "--accent"], ["As it is", "--muted"]],
    text: orders,
    columns: (points) => [1, 2].map((place) => points.map((point) => point[place])),
  },
};

class Chart {
  constructor(element) {
    this.element = element;
    this.kind = CHARTS[element.dataset.chart];
    this.window = "15m";
    this.plot = new uPlot(this.options(), [[], ...this.kind.lines.map(() => [])], element);
    new ResizeObserver(() => this.plot.setSize(this.size())).observe(element);
  }

  size() {
    return { width: this.element.clientWidth, height: 190 };
  }

  options() {
    const axis = { stroke: color("--muted"), grid: { stroke: color("--line"), width: 1 }, ticks: { show: false } };
    return {
      ...this.size(),
      tzDate: (stamp) => uPlot.tzDate(new Date(stamp * 1e3), "Etc/UTC"),
      cursor: { y: false, points: { size: 6 } },
      series: [
        { value: (_, stamp) => (stamp === null ? "–" : new Date(stamp * 1e3).toISOString().slice(11, 19)), label: "Time" },
        ...this.kind.lines.map(([label, name]) => ({
          label,
          stroke: color(name),
          width: 1.5,
          points: { show: false },
          spanGaps: true,
          value: (_, value) => this.kind.text(value),
        })),
      ],
      axes: [
        { ...axis, space: 72, values: (_, stamps, at, space, apart) => stamps.map((stamp) => moment(stamp, apart)) },
        { ...axis, size: 62, values: (_, values) => values.map(this.kind.text) },
      ],
      scales: { y: { range: (_, low, high) => [0, high > 0 ? high * 1.1 : 1] } },
    };
  }

  show(points) {
    this.plot.setData([points.map((point) => point[0]), ...this.kind.columns(points)]);
  }
}

async function drawCharts() {
  const elements = [...document.querySelectorAll("[data-chart]:not([data-points])")];
  if (!elements.length) return;
  const charts = elements.map((element) => new Chart(element));
  let shown = "15m";
  let isAsking = false;

  async function refresh() {
    if (isAsking) return;
    isAsking = true;
    try {
      const answer = await fetch(`/metrics/history?window=${shown}`);
      if (answer.ok) {
        const { points } = await answer.json();
        charts.forEach((chart) => chart.show(points));
      }
    } catch {
      // The server is away: what is drawn stays, and the next refresh tries again.
    } finally {
      isAsking = false;
    }
  }

  for (const button of document.querySelectorAll("[data-window]")) {
    button.addEventListener("click", () => {
      shown = button.dataset.window;
      for (const other of document.querySelectorAll("[data-window]")) {
        other.setAttribute("aria-pressed", String(other === button));
      }
      refresh();
    });
  }
  document.body.addEventListener("moved", refresh);
  setInterval(refresh, 10_000);
  await refresh();
}

// A chart of what does not change: the page brings its points along.
function drawPoints() {
  for (const element of document.querySelectorAll("[data-points]:empty")) {
    new Chart(element).show(JSON.parse(element.dataset.points));
  }
}

followEngine();
drawCharts();
drawPoints();
document.body.addEventListener("htmx:afterSettle", drawPoints); // which may have come with a part of the page
