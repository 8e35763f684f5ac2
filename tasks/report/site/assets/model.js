// A model's tasks, its scores against the specialists, and its levels over the runs.
"use strict";
(() => {
  const { el, figure, interval, percent, rows } = GL;
  const form = document.getElementById("controls");
  const own = GL.get(`model/${document.body.dataset.key}`);
  const tasks = rows(GL.get("catalogue"));
  const all = rows(own, Object.keys(own).filter((name) => name !== "reasons" && name !== "history")).map((row, at) => ({
    ...tasks[at], ...row, why: row.reason === null ? "" : own.reasons[row.reason],
    text: `${tasks[at].task_id} ${tasks[at].title} ${tasks[at].skill ?? ""}`.toLowerCase(),
  }));
  const states = { s: "scored", u: "unsupported", r: "refused" };
  const state = (row) => (row.stale ? "stale" : row.wins ? "won" : states[row.status]);
  const told = { won: "▲ at or above", scored: "below", unsupported: "unsupported", refused: "✕ refused", stale: "! stale" };

  const columns = [
    { title: "Task", value: (row) => row.title, cell: (row) => [GL.link("task", row.slug, row.title), el("span", { class: "sub" }, [row.modality, row.paradigm === row.modality ? null : row.paradigm, row.skill].filter(Boolean).join(" · "))], header: true },
    { title: "Metric", value: (row) => row.metric_title, cell: (row) => `${row.metric_title ?? "–"} ${row.direction === "lower" ? "↓" : "↑"}`, hint: "↑ higher is better, ↓ lower is better" },
    { title: "Result", value: (row) => (row.status === "s" ? row.raw_score : null), cell: (row) => [row.status === "s" ? figure(row.raw_score) : "–", interval(row.raw_low, row.raw_high)], number: true, hint: "In the metric's own unit, with its 95 % interval where there is one" },
    { title: "Specialist", value: (row) => row.specialist_raw, cell: (row) => figure(row.specialist_raw), number: true, hint: "The specialist's result in the same unit" },
    { title: "Score", value: (row) => row.score, cell: (row) => figure(row.score), number: true, hint: "On 0 to 100; unsupported and refused tasks count 0" },
    { title: "0 – 100", value: (row) => row.score - row.specialist_score, cell: (row) => GL.track(row.score, row.specialist_score, row.wins), hint: "Score as a bar, the specialist as a mark; sorts by the difference", class: "drawn", best: "desc" },
    { title: "Status", value: (row) => Object.keys(told).indexOf(state(row)), cell: (row) => [el("span", { class: `state ${state(row)}` }, told[state(row)]), state(row) !== "won" && row.why ? el("span", { class: "sub why" }, row.why) : null, row.stale ? el("span", { class: "sub why" }, `not renewed since ${row.stale}`) : null] },
    { title: "Answered", value: (row) => row.coverage, cell: (row) => [percent(row.coverage), row.n ? el("span", { class: "interval" }, `of ${row.n}`) : null], number: true, hint: "Instances with a readable answer" },
  ];
  if (all.some((row) => row.p_at_or_above_specialist !== undefined && row.p_at_or_above_specialist !== null))
    columns.splice(6, 0, { title: "P(won)", value: (row) => row.p_at_or_above_specialist, cell: (row) => percent(row.p_at_or_above_specialist), number: true, hint: "Share of the resamples at or above the specialist" });

  const table = GL.table(document.getElementById("table"), { caption: "Results by task", named: true, columns, sort: { column: columns.findIndex((c) => c.title === "0 – 100"), order: "desc" } });
  GL.choose(form.elements.modality, [["", "all"], ...[...new Set(tasks.map((task) => task.modality))].map((name) => [name, name])]);

  const kinds = {
    "": () => true, won: (row) => row.wins, below: (row) => row.status === "s" && !row.wins,
    scored: (row) => row.status === "s", unsupported: (row) => row.status === "u", refused: (row) => row.status === "r", stale: (row) => row.stale,
  };
  function filter() {
    const { modality, status, q } = Object.fromEntries(new FormData(form));
    const words = GL.words(q);
    table.show(all.filter((row) => (!modality || row.modality === modality) && kinds[status](row) && GL.contains(row.text, words)), all.length);
    GL.state.set({ modality, status, q });
  }
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", filter);
  function start() {
    for (const name of ["modality", "status", "q"]) form.elements[name].value = GL.state.get()[name] ?? "";
    filter();
  }
  // Links of this page choose tasks through the address.
  addEventListener("hashchange", () => {
    if (!location.hash.includes("=")) return;
    start();
    document.getElementById("tasks").scrollIntoView();
  });
  start();

  const points = all.filter((row) => row.status === "s").map((row) => ({ x: row.specialist_score, y: row.score, title: row.title, modality: row.modality, href: `task/${row.slug}.html` }));
  if (points.length) GL.charts.show(document.getElementById("square"), GL.charts.square(points, "specialist", "score"));

  const past = rows(own.history);
  const place = document.getElementById("history");
  if (place && past.length > 1) {
    const values = past.flatMap((row) => [2, 3, 4, 5].map((level) => ({ run: row.published_at, level: `level ${level}`, score: row[`level_${level}`] ?? null })));
    GL.charts.show(place, () => ({
      height: 200, data: { values: values.filter((value) => value.score !== null) },
      mark: { type: "line", interpolate: "step-after", point: { size: 22 }, strokeWidth: 1.6 },
      encoding: {
        x: { field: "run", type: "temporal", title: null },
        y: { field: "score", type: "quantitative", title: "score" },
        color: { field: "level", type: "nominal", title: null },
        shape: { field: "level", type: "nominal", title: null },
        tooltip: [{ field: "level" }, { field: "score", format: ".2f" }, { field: "run", type: "temporal", format: "%Y-%m-%d %H:%M" }],
      },
    }));
  }
})();
