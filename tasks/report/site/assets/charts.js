// Charts by Vega-Lite. The library is fetched when the first chart comes into view, after the first paint.
"use strict";
GL.charts = (() => {
  const { el } = GL;
  const drawn = new Map();
  const tip = el("div", { class: "tip", hidden: true });
  document.body.append(tip);

  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

  function config() {
    const [ink, quiet, rule] = ["ink", "quiet", "rule"].map(colour);
    return {
      background: "transparent",
      font: getComputedStyle(document.body).fontFamily,
      view: { stroke: null },
      axis: {
        labelColor: quiet, titleColor: quiet, gridColor: rule, domainColor: rule, tickColor: rule,
        labelFontSize: 11, titleFontSize: 11, titleFontWeight: "normal", labelLimit: 170,
      },
      legend: { labelColor: ink, titleColor: quiet, labelFontSize: 11, titleFontSize: 11, titleFontWeight: "normal", orient: "top" },
      range: { category: ["c1", "c2", "c3", "c4", "c5"].map(colour) },
      text: { color: quiet, fontSize: 11 },
    };
  }

  /** What is under the pointer, line by line; names are text. */
  function tooltip(_, event, item, value) {
    if (value === null || value === undefined || value === "") {
      tip.hidden = true;
      return;
    }
    const lines = typeof value === "object" ? Object.entries(value) : [["", String(value)]];
    tip.replaceChildren(...lines.map(([name, text]) => el("div", {}, name ? el("b", {}, `${name} `) : null, text)));
    tip.hidden = false;
    const [wide, high] = [tip.offsetWidth, tip.offsetHeight];
    tip.style.left = `${Math.min(event.clientX + 12, innerWidth - wide - 8)}px`;
    tip.style.top = `${event.clientY + 16 + high > innerHeight ? event.clientY - high - 8 : event.clientY + 16}px`;
  }

  async function draw(place) {
    const chart = drawn.get(place);
    const turn = ++chart.turn;
    await GL.script("assets/vega.js");
    if (turn !== chart.turn) return;
    chart.view?.finalize();
    const spec = { $schema: "https://vega.github.io/schema/vega-lite/v6.json", width: "container", ...chart.make(colour) };
    const result = await vegaEmbed(place, spec, {
      mode: "vega-lite", renderer: "svg", actions: false, defaultStyle: false, config: config(),
      ast: true, // expressions are interpreted: the pages' policy forbids eval
      tooltip,
    });
    chart.view = result;
    // The place is an image with a name; what it shows stands, mark by mark, in a table.
    place.querySelector("svg").setAttribute("aria-hidden", "true");
    result.view.addEventListener("click", (_, item) => {
      if (item?.datum?.href) location.href = GL.root + item.datum.href;
    });
  }

  const seen = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) {
      if (!isIntersecting) continue;
      seen.unobserve(target);
      drawn.get(target).visible = true;
      draw(target);
    }
  }, { rootMargin: "200px" });

  document.addEventListener("themechange", () => {
    for (const [place, chart] of drawn) if (chart.visible) draw(place);
  });

  /** Shows a chart once it is looked at; `make(colour)` returns its Vega-Lite specification. */
  function show(place, make) {
    const chart = drawn.get(place);
    if (chart) {
      chart.make = make;
      if (chart.visible) draw(place);
      return;
    }
    drawn.set(place, { make, visible: false, turn: 0 });
    // After the first paint: the page's own text never waits for a picture.
    requestAnimationFrame(() => setTimeout(() => seen.observe(place)));
  }

  const modalities = ["image", "video", "audio", "3d", "language"];

  /** Tasks as points, x and y on 0..100, with the diagonal on which both are equal. */
  const square = (values, x, y) => (colour) => ({
    height: 320,
    layer: [
      {
        data: { values: [{ x: 0, y: 0 }, { x: 100, y: 100 }] },
        mark: { type: "line", color: colour("quiet"), strokeDash: [3, 3], strokeWidth: 1 },
        encoding: { x: { field: "x", type: "quantitative" }, y: { field: "y", type: "quantitative" } },
      },
      {
        data: { values },
        mark: { type: "point", filled: true, size: 34, opacity: 0.75, cursor: "pointer" },
        encoding: {
          x: { field: "x", type: "quantitative", title: x, scale: { domain: [0, 100] }, axis: { tickCount: 5 } },
          y: { field: "y", type: "quantitative", title: y, scale: { domain: [0, 100] }, axis: { tickCount: 5 } },
          color: { field: "modality", type: "nominal", title: null, scale: { domain: modalities } },
          shape: { field: "modality", type: "nominal", title: null, scale: { domain: modalities } },
          tooltip: [
            { field: "title", title: " " }, { field: "y", title: y, format: ".2f" }, { field: "x", title: x, format: ".2f" },
          ],
        },
      },
    ],
  });

  return { show, square };
})();
