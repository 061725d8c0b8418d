// Bars or lines by group, from the JSON that components/chart.html leaves beside each canvas.
"use strict";

(() => {
  const charts = new Map();

  const language = document.documentElement.lang || "en";
  // $0.0285 keeps its digits, $1,200 its cents.
  const dollars = (nanos) => {
    const amount = nanos / 1e9;
    const digits = amount === 0 || amount >= 0.1 ? 2 : Math.min(9, 2 - Math.floor(Math.log10(amount)));
    return amount.toLocaleString(language, {
      style: "currency",
      currency: "USD",
      currencyDisplay: "narrowSymbol",
      minimumFractionDigits: 2,
      maximumFractionDigits: digits,
    });
  };

  // A color as a canvas takes it: the browser resolves the token, for light or for dark.
  const probe = document.body.appendChild(document.createElement("span"));
  probe.hidden = true;
  const color = (name) => {
    probe.style.color = `var(--${name})`;
    return getComputedStyle(probe).color;
  };

  const numbers = (digits) => (value) => value.toLocaleString(language, { maximumFractionDigits: digits });
  const METRICS = {
    cost: { text: dollars },
    tokens: { text: numbers(0) },
    requests: { text: numbers(0) },
    latency: { text: (ms, texts) => texts.seconds.replace("{number}", numbers(2)(ms / 1000)), isMean: true },
    cache: { text: (percent, texts) => texts.percent.replace("{number}", numbers(1)(percent)), isMean: true },
  };

  // Parts of a sum are stacked; means and shares are lines.
  const datasets = (data) =>
    data.series.map((each) => ({
      label: each.name,
      data: each.values,
      url: each.url,
      backgroundColor: color(`series-${each.number}`),
      borderColor: color(`series-${each.number}`),
      ...(METRICS[data.metric].isMean
        ? { borderWidth: 2, pointRadius: 2, spanGaps: true }
        : { maxBarThickness: 36, categoryPercentage: 0.9, barPercentage: 0.8 }),
    }));

  const footer = (data) => (items) => {
    if (!items.length) return "";
    const { text, isMean } = METRICS[data.metric];
    const lines = [data.texts.requests[items[0].dataIndex]];
    if (!isMean && items.length > 1) lines.unshift(`${data.texts.total}  ${text(items.reduce((sum, item) => sum + item.raw, 0))}`);
    return lines;
  };

  const options = (data) => {
    const { text, isMean } = METRICS[data.metric];
    return {
      animation: false,
      maintainAspectRatio: false,
      interaction: { mode: "index", intersect: false },
      // A click on a part narrows the page to it.
      onClick: (event, _items, chart) => {
        const [hit] = chart.getElementsAtEventForMode(event, "nearest", { intersect: true }, true);
        const url = hit && (chart.data.datasets[hit.datasetIndex].url || data.links?.[hit.index]);
        if (url) location.assign(url);
      },
      scales: {
        x: {
          stacked: !isMean,
          grid: { display: false },
          // A date without its year, an hour without its date.
          ticks: { color: color("quiet"), maxRotation: 0, callback: (at) => data.ticks[at] },
        },
        y: {
          stacked: !isMean,
          beginAtZero: true,
          suggestedMax: data.series.some((each) => each.values.some(Boolean)) ? undefined : data.metric === "cost" ? 1e9 : 1,
          border: { display: false },
          grid: { color: color("line") },
          ticks: { color: color("quiet"), maxTicksLimit: 6, callback: (value) => text(value, data.texts) },
        },
      },
      plugins: {
        legend: { display: false },
        tooltip: {
          filter: (item) => item.raw !== 0,
          callbacks: { label: (item) => ` ${item.dataset.label}  ${text(item.raw, data.texts)}`, footer: footer(data) },
        },
      },
    };
  };

  // A legend's button shows or hides its series.
  const toggle = (button) => {
    const canvas = document.querySelector(`canvas[data-chart="${button.dataset.of}"]`);
    const isShown = button.getAttribute("aria-pressed") === "true";
    charts.get(canvas)?.setDatasetVisibility(Number(button.dataset.series), isShown);
    charts.get(canvas)?.update();
  };
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-of]");
    if (!button) return;
    button.setAttribute("aria-pressed", String(button.getAttribute("aria-pressed") !== "true"));
    toggle(button);
  });

  const render = (canvas) => {
    const data = JSON.parse(document.getElementById(canvas.dataset.chart).textContent);
    charts.get(canvas)?.destroy();
    const content = { labels: data.labels, datasets: datasets(data) };
    const type = METRICS[data.metric].isMean ? "line" : "bar";
    charts.set(canvas, new Chart(canvas, { type, data: content, options: options(data) }));
    for (const button of document.querySelectorAll(`[data-of="${canvas.dataset.chart}"]`)) toggle(button);
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
  // The colors are the theme's.
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => renderAll(document));
  new MutationObserver(() => renderAll(document)).observe(document.documentElement, { attributeFilter: ["data-theme", "class"] });
})();
