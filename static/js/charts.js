// Bars or lines by group, drawn from the JSON that components/chart.html leaves beside each place.
// Shapes take their colors from css/charts.css, so they follow the theme.
"use strict";

(() => {
  const language = document.documentElement.lang || "en";
  // $0.0285 keeps its digits, $1,200 its cents.
  const dollars = (nanos) => {
    const amount = nanos / 1e9;
    const size = Math.abs(amount);
    const digits = size === 0 || size >= 0.1 ? 2 : Math.min(9, 2 - Math.floor(Math.log10(size)));
    return amount.toLocaleString(language, {
      style: "currency",
      currency: "USD",
      currencyDisplay: "narrowSymbol",
      minimumFractionDigits: 2,
      maximumFractionDigits: digits,
    });
  };
  const numbers = (digits) => (value) => value.toLocaleString(language, { maximumFractionDigits: digits });
  // Parts of a sum are stacked; means and shares are lines.
  const METRICS = {
    cost: { text: dollars, least: 1e9, smallestStep: 1 },
    tokens: { text: numbers(0), least: 1, smallestStep: 1 },
    requests: { text: numbers(0), least: 1, smallestStep: 1 },
    latency: { text: (ms, texts) => texts.seconds.replace("{number}", numbers(2)(ms / 1000)), isMean: true, least: 1, smallestStep: 0 },
    cache: { text: (percent, texts) => texts.percent.replace("{number}", numbers(1)(percent)), isMean: true, least: 1, smallestStep: 0 },
  };
  const [TOP, BOTTOM, WIDEST_BAR, GRID_LINES, NEAR] = [8, 24, 36, 5, 12];

  const make = (parent, name, attributes = {}, text) => {
    const element = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    if (text !== undefined) element.textContent = text;
    return parent.appendChild(element);
  };
  const add = (parent, name, className, text = "") => {
    const element = document.createElement(name);
    element.className = className;
    element.textContent = text;
    return parent.appendChild(element);
  };

  // The values of a scale: multiples of 1, 2 or 5 times a power of ten.
  const scaleOf = (lowest, highest, smallestStep) => {
    const rough = (highest - lowest) / GRID_LINES;
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = Math.max(smallestStep, power * [1, 2, 5, 10].find((factor) => factor * power >= rough * 0.999));
    const first = Math.floor(lowest / step);
    const last = Math.max(first + 1, Math.ceil(highest / step - 1e-9));
    return Array.from({ length: last - first + 1 }, (_, at) => (first + at) * step);
  };

  const hiddenOf = (place) =>
    new Set([...document.querySelectorAll(`[data-of="${place.dataset.chart}"][aria-pressed="false"]`)].map((button) => Number(button.dataset.series)));

  // What is drawn: each shown series' spans from one value to another, by day or hour.
  const read = (place) => {
    const data = JSON.parse(document.getElementById(place.dataset.chart).textContent);
    const hidden = hiddenOf(place);
    const metric = METRICS[data.metric];
    const ends = data.labels.map(() => [0, 0]); // of the stacks: below zero, and above
    const series = data.series
      .map((each, index) => ({ ...each, index }))
      .filter(({ index }) => !hidden.has(index))
      .map((each) => ({
        ...each,
        spans: each.values.map((value, at) => {
          if (metric.isMean) return [0, value];
          const end = value < 0 ? 0 : 1;
          const start = ends[at][end];
          ends[at][end] += value;
          return [start, ends[at][end]];
        }),
      }));
    const all = series.flatMap((each) => each.spans.map(([, value]) => value ?? 0));
    const [lowest, highest] = [Math.min(0, ...all), Math.max(0, ...all)];
    return { ...data, metric, series, scale: scaleOf(lowest, lowest || highest ? highest : metric.least, metric.smallestStep) };
  };

  // The grid with the values' labels; returns where values and days are.
  const drawAxes = (svg, chart, width, height) => {
    const { scale, labels, ticks, metric, texts } = chart;
    const [lowest, highest] = [scale[0], scale.at(-1)];
    const y = (value) => TOP + ((highest - value) / (highest - lowest)) * (height - TOP - BOTTOM);
    const names = scale.map((value) => make(svg, "text", { class: "chart-label", y: y(value), dy: "0.35em", "text-anchor": "end" }, metric.text(value, texts)));
    const left = Math.max(...names.map((name) => name.getComputedTextLength())) + 8;
    for (const name of names) name.setAttribute("x", left - 8);
    for (const value of scale) make(svg, "line", { class: "chart-grid", x1: left, x2: width, y1: y(value), y2: y(value) });
    const slot = (width - left) / labels.length;
    const x = (at) => left + (at + 0.5) * slot;
    // A date without its year, an hour without its date; as many as have room.
    const marks = ticks.map((tick, at) => make(svg, "text", { class: "chart-label", x: x(at), y: height - 6, "text-anchor": "middle" }, tick));
    const longest = Math.max(...marks.map((mark) => mark.getComputedTextLength()));
    const every = Math.ceil((longest + 12) / slot);
    marks.forEach((mark, at) => {
      if (at % every || x(at) + longest / 2 > width) mark.remove();
    });
    return { x, y, left, slot };
  };

  const drawBars = (svg, { series }, { x, y, slot }) => {
    const width = Math.min(WIDEST_BAR, Math.max(1, slot * 0.72));
    for (const { index, number, spans } of series) {
      spans.forEach(([from, to], at) => {
        if (from === to) return;
        const [above, below] = [y(Math.max(from, to)), y(Math.min(from, to))];
        make(svg, "rect", { class: `series-${number}`, "data-series": index, x: x(at) - width / 2, y: above, width, height: below - above });
      });
    }
  };

  const drawLines = (svg, { series }, { x, y }) => {
    for (const { index, number, spans } of series) {
      const points = spans.flatMap(([, value], at) => (value === null ? [] : [[x(at), y(value)]]));
      make(svg, "polyline", { class: `chart-line series-${number}`, "data-series": index, points: points.map((point) => point.join()).join(" ") });
      for (const [cx, cy] of points) make(svg, "circle", { class: `series-${number}`, cx, cy, r: 2.5 });
    }
  };

  // The day or hour under the pointer: its figures, and their sum.
  const showTip = (place, chart, { x, left, slot }, at) => {
    const { metric, series, texts, labels } = chart;
    const tip = place.querySelector(".chart-tip");
    tip.replaceChildren();
    add(tip, "strong", "", labels[at]);
    const parts = series.filter((each) => each.values[at]);
    for (const { name, number, values } of parts) {
      const line = add(tip, "span", "chart-tip-line");
      add(line, "span", `legend-dot series-${number}`);
      add(line, "span", "chart-tip-name", name).dir = "auto";
      add(line, "span", "chart-tip-figure", metric.text(values[at], texts));
    }
    if (!metric.isMean && parts.length > 1) {
      const sum = parts.reduce((total, each) => total + each.values[at], 0);
      add(tip, "span", "", `${texts.total}  ${metric.text(sum, texts)}`);
    }
    add(tip, "span", "", texts.requests[at]);
    tip.hidden = false;
    const gap = slot / 2 + 6;
    const beyond = x(at) + gap + tip.offsetWidth > place.clientWidth;
    tip.style.left = `${Math.max(0, beyond ? x(at) - gap - tip.offsetWidth : x(at) + gap)}px`;
    const band = place.querySelector(".chart-band");
    band.setAttribute("x", left + at * slot);
    band.setAttribute("width", slot);
  };
  const hideTip = (place) => {
    place.querySelector(".chart-tip").hidden = true;
    place.querySelector(".chart-band").setAttribute("width", 0);
  };

  // A click on a part narrows the page to it.
  const follow = (event, chart, { y }, at) => {
    const top = event.currentTarget.getBoundingClientRect().top;
    const distance = (each) => Math.abs(y(each.values[at]) - (event.clientY - top));
    const near = chart.series.filter((each) => each.values[at] !== null).sort((one, other) => distance(one) - distance(other))[0];
    const hit = chart.metric.isMean
      ? near && distance(near) < NEAR && near
      : chart.series.find((each) => String(each.index) === event.target.dataset.series);
    const url = hit && (hit.url || chart.links?.[at]);
    if (url) location.assign(url);
  };

  const draw = (place) => {
    const [width, height] = [place.clientWidth, place.clientHeight];
    if (!width || !height) return;
    place.replaceChildren();
    const chart = read(place);
    const svg = make(place, "svg", { width, height });
    add(place, "div", "chart-tip").hidden = true;
    const band = make(svg, "rect", { class: "chart-band", y: TOP, width: 0, height: height - TOP - BOTTOM });
    const axes = drawAxes(svg, chart, width, height);
    svg.append(band);
    (chart.metric.isMean ? drawLines : drawBars)(svg, chart, axes);
    const under = (event) => {
      const at = Math.floor((event.clientX - svg.getBoundingClientRect().left - axes.left) / axes.slot);
      return at >= 0 && at < chart.labels.length ? at : null;
    };
    for (const kind of ["pointermove", "pointerdown"]) {
      svg.addEventListener(kind, (event) => {
        const at = under(event);
        if (at === null) hideTip(place);
        else showTip(place, chart, axes, at);
      });
    }
    svg.addEventListener("pointerleave", (event) => event.pointerType === "touch" || hideTip(place));
    svg.addEventListener("click", (event) => {
      const at = under(event);
      if (at !== null) follow(event, chart, axes, at);
    });
  };

  // A legend's button shows or hides its series.
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-of]");
    if (!button) return;
    button.setAttribute("aria-pressed", String(button.getAttribute("aria-pressed") !== "true"));
    draw(document.querySelector(`[data-chart="${button.dataset.of}"]`));
  });

  // Labels were measured in another font if one that they use is loaded after them.
  document.fonts.addEventListener("loadingdone", () => document.querySelectorAll("[data-chart]").forEach(draw));

  // Draws each place once it has a size, and again when that changes.
  const sizes = new ResizeObserver((entries) => {
    for (const { target } of entries) {
      if (target.isConnected) draw(target);
      else sizes.unobserve(target);
    }
  });
  const watch = (within) => within.querySelectorAll("[data-chart]").forEach((place) => sizes.observe(place));
  watch(document);
  document.addEventListener("htmx:load", (event) => watch(event.target));
})();
