// All tasks: filtered by modality, paradigm and text.
"use strict";
(() => {
  const { el, figure, rows } = GL;
  const form = document.getElementById("controls");
  const models = GL.get("models").model.length;
  const all = rows(GL.get("catalogue")).map((row) => ({ ...row, text: `${row.task_id} ${row.title} ${row.skill ?? ""} ${row.metric_title ?? ""}`.toLowerCase() }));
  const wanted = GL.state.get();
  const pairs = (name, label) => [["", label], ...[...new Set(all.map((row) => row[name]))].map((value) => [value, value])];
  GL.choose(form.elements.modality, pairs("modality", "all"), wanted.modality ?? "");
  GL.choose(form.elements.paradigm, pairs("paradigm", "all"), wanted.paradigm ?? "");
  form.elements.q.value = wanted.q ?? "";

  const columns = [
    { title: "Task", value: (row) => row.title, cell: (row) => GL.link("task", row.slug, row.title), header: true },
    { title: "Modality", value: (row) => row.modality },
    { title: "Paradigm", value: (row) => row.paradigm },
    { title: "Skill", value: (row) => row.skill },
    { title: "Metric", value: (row) => row.metric_title, cell: (row) => `${row.metric_title ?? "–"} ${row.direction === "lower" ? "↓" : "↑"}`, hint: "↑ higher is better, ↓ lower is better" },
    { title: "Specialist", value: (row) => row.specialist_score, cell: (row) => figure(row.specialist_score), number: true, hint: "The specialist's score, 0 to 100" },
    { title: "Best", value: (row) => row.best_score, cell: (row) => figure(row.best_score), number: true, hint: "The best model's score, 0 to 100" },
    { title: "Won by", value: (row) => row.won, number: true, hint: "Models at or above the specialist" },
    { title: "Scored", value: (row) => row.supported, cell: (row) => [`${row.supported}`, el("span", { class: "of" }, ` / ${models}`)], number: true, hint: "Models with a score" },
  ];
  // In the catalogue's order, until a heading is chosen.
  const table = GL.table(document.getElementById("table"), { caption: "Tasks with their specialist and the models' scores", named: true, columns });

  function filter() {
    const { modality, paradigm, q } = Object.fromEntries(new FormData(form));
    const words = GL.words(q);
    table.show(all.filter((row) => (!modality || row.modality === modality) && (!paradigm || row.paradigm === paradigm) && GL.contains(row.text, words)), all.length);
    GL.state.set({ modality, paradigm, q });
  }
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", filter);
  filter();
})();
