// A task's models: a table, and a picture against the specialist's line.
"use strict";
(() => {
  const { el, figure, interval, percent, rows } = GL;
  const { key, specialist, direction, metric } = document.body.dataset;
  const limit = specialist === "" ? null : Number(specialist);
  const own = GL.get(`task/${key}`);
  const models = rows(GL.get("models"));
  const all = rows(own, Object.keys(own).filter((name) => name !== "reasons")).map((row, at) => ({
    ...row, ...models[at], why: row.reason === null ? "" : own.reasons[row.reason],
  }));
  const states = { s: "below", u: "unsupported", r: "✕ refused" };
  const better = direction === "lower" ? "asc" : "desc";

  const columns = [
    { title: "Model", value: (row) => row.model, cell: (row) => GL.link("model", row.slug, row.model), header: true },
    { title: "Result", value: (row) => (row.status === "s" ? row.raw_score : null), cell: (row) => [row.status === "s" ? figure(row.raw_score) : "–", interval(row.raw_low, row.raw_high)], number: true, best: better, hint: "In the metric's own unit, with its 95 % interval where there is one" },
    { title: "Score", value: (row) => row.score, cell: (row) => figure(row.score), number: true, hint: "On 0 to 100" },
    { title: "0 – 100", value: (row) => row.score, cell: (row) => GL.track(row.score, Number(document.body.dataset.specialistScore), row.wins), class: "drawn", best: "desc", hint: "Score as a bar, the specialist as a mark" },
    { title: "Status", value: (row) => (row.wins ? 0 : 1 + "sur".indexOf(row.status)), cell: (row) => [
      el("span", { class: `state ${row.wins ? "won" : { s: "scored", u: "unsupported", r: "refused" }[row.status]}` }, row.wins ? "▲ at or above" : states[row.status]),
      row.why ? el("span", { class: "sub why" }, row.why) : null, row.stale ? el("span", { class: "sub why" }, `not renewed since ${row.stale}`) : null] },
    { title: "Answered", value: (row) => row.coverage, cell: (row) => percent(row.coverage), number: true, hint: "Instances with a readable answer; – for imported figures" },
    { title: "Source", value: (row) => (row.imported ? "imported" : row.status === "s" ? "scored here" : "–") },
  ];
  if (all.some((row) => row.p_at_or_above_specialist !== undefined && row.p_at_or_above_specialist !== null))
    columns.splice(4, 0, { title: "P(won)", value: (row) => row.p_at_or_above_specialist, cell: (row) => percent(row.p_at_or_above_specialist), number: true, hint: "Share of the resamples at or above the specialist" });
  const table = GL.table(document.getElementById("table"), { caption: "Results by model", named: true, columns, sort: { column: 1, order: better } });

  const form = document.getElementById("controls");
  function filter() {
    const { q, status } = Object.fromEntries(new FormData(form));
    const words = GL.words(q);
    const kinds = { "": () => true, won: (row) => row.wins, scored: (row) => row.status === "s", refused: (row) => row.status === "r" };
    table.show(all.filter((row) => kinds[status](row) && GL.contains(row.model.toLowerCase(), words)), all.length);
  }
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", filter);
  filter();

  const values = all
    .filter((row) => row.status === "s" && Number.isFinite(row.raw_score))
    .sort((a, b) => (better === "asc" ? a.raw_score - b.raw_score : b.raw_score - a.raw_score))
    .map((row, at) => ({
      at: at + 1, model: row.model, raw: row.raw_score, low: row.raw_low ?? null, high: row.raw_high ?? null, href: `model/${row.slug}.html`,
      verdict: row.wins ? "at or above" : "below",
    }));
  const place = document.getElementById("chart");
  if (!values.length) {
    place.replaceChildren(el("p", { class: "none" }, "No model has a score on this task yet."));
    return;
  }
  GL.charts.show(place, (colour) => {
    const x = { field: "at", type: "quantitative", title: "models, best first", scale: { domain: [0.5, values.length + 0.5], nice: false }, axis: { grid: false, tickMinStep: 1 } };
    const scale = { zero: false, reverse: direction === "lower" };
    const measured = values.filter((value) => Number.isFinite(value.low) && Number.isFinite(value.high));
    const layers = [
      ...(!measured.length ? [] : [{ data: { values: measured }, mark: { type: "rule", strokeWidth: 3, opacity: 0.35, color: colour("accent") },
        encoding: { x, y: { field: "low", type: "quantitative", scale }, y2: { field: "high" } } }]),
      { mark: { type: "point", filled: true, size: 50, opacity: 0.9, cursor: "pointer" },
        encoding: { x, y: { field: "raw", type: "quantitative", scale, title: `${metric}${direction === "lower" ? " (lower is better)" : ""}` },
          shape: { field: "verdict", type: "nominal", title: null, scale: { domain: ["at or above", "below"], range: ["triangle-up", "circle"] } },
          color: { field: "verdict", type: "nominal", title: null, scale: { domain: ["at or above", "below"], range: [colour("good"), colour("accent")] } },
          tooltip: [{ field: "model", title: " " }, { field: "raw", title: "result", format: ".4~g" }, ...(measured.length ? [{ field: "low", format: ".4~g" }, { field: "high", format: ".4~g" }] : [])] } },
    ];
    if (limit !== null) {
      layers.unshift({ data: { values: [{ raw: limit }] }, mark: { type: "rule", color: colour("ink"), strokeDash: [4, 3] }, encoding: { y: { field: "raw", type: "quantitative", scale } } });
      layers.push({ data: { values: [{ raw: limit, name: `specialist ${figure(limit)}` }] }, mark: { type: "text", align: "right", dy: -6, color: colour("ink") },
        encoding: { x: { value: "width" }, y: { field: "raw", type: "quantitative", scale }, text: { field: "name" } } });
    }
    return { height: 260, data: { values }, layer: layers };
  });
})();
