// Bars stacked by model, from the JSON that components/chart.html leaves beside each canvas.
"use strict";

(() => {
  const charts = new Map();

  // $0.0285 keeps its digits, $1,200 its cents.
  const dollars = (nanos) => {
    const amount = nanos / 1e9;
    const digits = amount === 0 || amount >= 0.1 ? 2 : Math.min(9, 2 - Math.floor(Math.log10(amount)));
    return "$" + amount.toLocaleString("en", { minimumFractionDigits: 2, maximumFractionDigits: digits });
  };

  const figure = (data) => (data.unit === "count" ? (value) => value.toLocaleString("en") : dollars);

  // A colour as a canvas takes it: the browser resolves the token, for light or for dark.
  const probe = document.body.appendChild(document.createElement("span"));
  probe.hidden = true;
  const colour = (name) => {
    probe.style.color = `var(--${name})`;
    return getComputedStyle(probe).color;
  };

  const datasets = (series) =>
    series.map((each) => ({
      label: each.name,
      data: each.nanos,
      backgroundColor: colour(`series-${each.number}`),
      maxBarThickness: 36,
      categoryPercentage: 0.9,
      barPercentage: 0.8,
    }));

  const options = (data) => ({
    animation: false,
    maintainAspectRatio: false,
    interaction: { mode: "index", intersect: false },
    // Where a bar leads to, if it does.
    onClick: (_event, items) => {
      if (items.length && data.links?.[items[0].index]) location.assign(data.links[items[0].index]);
    },
    scales: {
      x: {
        stacked: true,
        grid: { display: false },
        // A date without its year, an hour without its date.
        ticks: { color: colour("quiet"), maxRotation: 0, callback: (at) => data.labels[at].slice(-5) },
      },
      y: {
        stacked: true,
        border: { display: false },
        grid: { color: colour("line") },
        ticks: { color: colour("quiet"), maxTicksLimit: 6, callback: figure(data) },
      },
    },
    plugins: {
      legend: { display: false },
      tooltip: {
        filter: (item) => item.raw !== 0,
        callbacks: {
          label: (item) => ` ${item.dataset.label}  ${figure(data)(item.raw)}`,
          footer: (items) => (items.length ? `${data.requests[items[0].dataIndex].toLocaleString("en")} requests` : ""),
        },
      },
    },
  });

  const render = (canvas) => {
    const data = JSON.parse(document.getElementById(canvas.dataset.chart).textContent);
    charts.get(canvas)?.destroy();
    const content = { labels: data.labels, datasets: datasets(data.series) };
    charts.set(canvas, new Chart(canvas, { type: "bar", data: content, options: options(data) }));
  };

  const renderAll = (within) => {
    Chart.defaults.font.family = getComputedStyle(document.body).fontFamily;
    for (const canvas of charts.keys()) {
      if (canvas.isConnected) continue;
      charts.get(canvas).destroy();
      charts.delete(canvas);
    }
    for (const canvas of within.querySelectorAll("canvas[data-chart]")) render(canvas);
  };

  renderAll(document);
  document.addEventListener("htmx:load", (event) => renderAll(event.target));
  // The colours are the theme's.
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => renderAll(document));
  new MutationObserver(() => renderAll(document)).observe(document.documentElement, { attributeFilter: ["data-theme", "class"] });
})();
