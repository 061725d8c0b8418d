// Bars stacked by model, from the JSON that components/chart.html leaves beside each chart.
"use strict";

(() => {
  const SVG = "http://www.w3.org/2000/svg";
  const HEIGHT = 240;
  const EDGE = { top: 10, right: 2, bottom: 24, left: 56 };

  const draw = (name, attributes, parent) => {
    const shape = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) shape.setAttribute(key, value);
    parent.append(shape);
    return shape;
  };

  // The least of 1, 2, 5, 10, 20, ... that four steps of reach the top with.
  const stepOf = (top) => {
    const rough = top / 4;
    const power = 10 ** Math.floor(Math.log10(rough));
    return [1, 2, 5, 10].map((digit) => digit * power).find((step) => step >= rough * 0.999);
  };

  const dollars = (nanos) => {
    const amount = nanos / 1e9;
    const digits = amount === 0 || amount >= 0.1 ? 2 : Math.min(9, 2 - Math.floor(Math.log10(amount)));
    const most = { minimumFractionDigits: 2, maximumFractionDigits: digits };
    return "$" + amount.toLocaleString("en", amount >= 100 ? { maximumFractionDigits: 0 } : most);
  };

  const tell = (tip, data, index) => {
    const lines = data.series
      .map((series) => ({ ...series, amount: series.nanos[index] }))
      .filter((series) => series.amount > 0);
    const sum = lines.reduce((total, line) => total + line.amount, 0);
    const head = document.createElement("strong");
    head.textContent = data.labels[index];
    const about = document.createElement("div");
    about.textContent = `${dollars(sum)} · ${data.requests[index].toLocaleString("en")} requests`;
    const list = document.createElement("ul");
    for (const line of lines) {
      const item = document.createElement("li");
      const dot = document.createElement("span");
      dot.className = `legend-dot series-${line.number}`;
      const name = document.createElement("span");
      name.dir = "auto";
      name.className = "legend-name";
      name.textContent = line.name;
      const amount = document.createElement("span");
      amount.textContent = dollars(line.amount);
      item.append(dot, name, amount);
      list.append(item);
    }
    tip.replaceChildren(head, about, list);
  };

  const render = (frame) => {
    const data = JSON.parse(document.getElementById(frame.dataset.chart).textContent);
    const width = Math.max(frame.clientWidth, 240);
    const sums = data.labels.map((_, at) => data.series.reduce((sum, each) => sum + each.nanos[at], 0));
    const step = stepOf(Math.max(...sums, 1e6));
    const top = step * Math.max(1, Math.ceil(Math.max(...sums) / step - 1e-9));
    const inner = { width: width - EDGE.left - EDGE.right, height: HEIGHT - EDGE.top - EDGE.bottom };
    const y = (nanos) => EDGE.top + inner.height * (1 - nanos / top);
    const slot = inner.width / data.labels.length;
    const thick = Math.max(1, Math.min(slot * 0.72, 36));
    const picture = document.createElementNS(SVG, "svg");
    picture.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
    picture.setAttribute("aria-hidden", "true");

    for (let mark = 0; mark <= top + step / 2; mark += step) {
      draw("line", { class: "grid", x1: EDGE.left, x2: width - EDGE.right, y1: y(mark), y2: y(mark) }, picture);
      draw("text", { x: EDGE.left - 8, y: y(mark) + 4, "text-anchor": "end" }, picture).textContent = dollars(mark);
    }
    const every = Math.ceil(data.labels.length / Math.max(2, Math.floor(inner.width / 72)));
    const tip = document.createElement("div");
    tip.className = "chart-tip";
    tip.hidden = true;
    data.labels.forEach((label, at) => {
      const left = EDGE.left + slot * at;
      let base = 0;
      for (const series of data.series) {
        if (!series.nanos[at]) continue;
        const height = Math.max(0.5, y(base) - y(base + series.nanos[at]));
        const place = { x: left + (slot - thick) / 2, y: y(base) - height, width: thick, height };
        draw("rect", { ...place, class: `series-${series.number}` }, picture);
        base += series.nanos[at];
      }
      // Counted from the last, so that the newest has its label.
      if ((data.labels.length - 1 - at) % every === 0) {
        const short = label.length === 10 ? label.slice(5) : label.slice(-5);
        draw("text", { x: left + slot / 2, y: HEIGHT - 6, "text-anchor": "middle" }, picture).textContent = short;
      }
      const hit = draw("rect", { class: "hit", x: left, y: EDGE.top, width: slot, height: inner.height }, picture);
      hit.addEventListener("pointerenter", () => {
        tell(tip, data, at);
        tip.hidden = false;
        const right = left + slot + 8;
        tip.style.left = `${right + tip.offsetWidth > width ? Math.max(0, left - tip.offsetWidth - 8) : right}px`;
      });
    });
    picture.addEventListener("pointerleave", () => (tip.hidden = true));
    frame.replaceChildren(picture, tip);
  };

  const watcher = new ResizeObserver((entries) => {
    for (const { target } of entries) {
      // Only the width is ours to follow: the height is our own doing.
      if (target.dataset.width === String(target.clientWidth)) continue;
      target.dataset.width = String(target.clientWidth);
      render(target);
    }
  });
  const watch = (within) => {
    for (const frame of within.querySelectorAll("[data-chart]")) watcher.observe(frame);
  };
  watch(document);
  document.addEventListener("htmx:load", (event) => watch(event.target));
})();
