// Two models beside each other: levels of a board, and every task that either has a score on.
"use strict";
(() => {
  const { el, figure, signed, interval, rows } = GL;
  const form = document.getElementById("controls");
  const models = rows(GL.get("models"));
  const boards = rows(GL.get("boards"));
  const tasks = rows(GL.get("catalogue"));
  const output = document.getElementById("result");
  const wanted = GL.state.get();
  const pairs = models.map((model) => [model.slug, model.model]);
  const leaders = form.dataset.leaders.split(" ");
  const a = GL.choose(form.elements.a, pairs, wanted.a ?? leaders[0]);
  GL.choose(form.elements.b, pairs, wanted.b ?? leaders.find((slug) => slug !== a));
  GL.choose(form.elements.board, boards.map((one) => [one.board_id, one.title === one.board_id ? one.title : `${one.scope}: ${one.title}`]), wanted.board);
  let all = [];
  let table = null;

  const sign = (difference) => (difference > 0 ? "up" : difference < 0 ? "down" : "same");
  const change = (difference) => el("span", { class: `change ${sign(difference)}` }, difference === null ? "–" : signed(difference));

  function showLevels(board, places, names) {
    const default_ = places.corrected?.modality_mean;
    const found = default_ ? rows(default_) : [];
    const [a, b] = names.map((name) => found.find((row) => models[row.model].slug === name));
    const body = document.getElementById("levels");
    body.replaceChildren(...[2, 3, 4, 5].filter((level) => level <= board.max_level).map((level) => {
      const [left, right] = [a, b].map((row) => row?.[`level_${level}`] ?? null);
      const cell = (row, value) => el("td", { class: "number" }, figure(value), interval(row?.[`low_${level}`], row?.[`high_${level}`]));
      return el("tr", {}, el("th", { scope: "row" }, `Level ${level}`), cell(a, left), cell(b, right),
        el("td", { class: "number" }, change(left === null || right === null ? null : left - right)));
    }));
    for (const [name, text] of [["Rank", "rank"], ["Tasks won", "tasks_won"], ["Tasks scored", "tasks_supported"]]) {
      body.append(el("tr", {}, el("th", { scope: "row" }, name), ...[a, b].map((row) => el("td", { class: "number" }, `${row?.[text] ?? "–"}`)),
        el("td", { class: "number" }, a && b && text !== "rank" ? change_count(a[text] - b[text]) : "")));
    }
  }
  const change_count = (difference) => el("span", { class: `change ${sign(difference)}` }, difference > 0 ? `+${difference}` : `${difference}`.replace("-", "−"));

  function columns(names) {
    const result = (side) => (row) => [row[side].status === "s" ? figure(row[side].raw) : { u: "unsupported", r: "refused" }[row[side].status], interval(row[side].low, row[side].high)];
    return [
      { title: "Task", value: (row) => row.title, cell: (row) => [GL.link("task", row.slug, row.title), el("span", { class: "sub" }, [row.modality, row.paradigm === row.modality ? null : row.paradigm, row.skill].filter(Boolean).join(" · "))], header: true },
      { title: "Metric", value: (row) => row.metric_title, cell: (row) => `${row.metric_title ?? "–"} ${row.direction === "lower" ? "↓" : "↑"}` },
      { title: "A", hint: names[0], value: (row) => (row.a.status === "s" ? row.a.raw : null), cell: result("a"), number: true },
      { title: "B", hint: names[1], value: (row) => (row.b.status === "s" ? row.b.raw : null), cell: result("b"), number: true },
      { title: "A − B", hint: "Difference of the scores on 0 to 100", value: (row) => row.difference, cell: (row) => change(row.difference), number: true },
      { title: "Size", hint: "Size of the difference", value: (row) => Math.abs(row.difference), cell: (row) => figure(Math.abs(row.difference)), number: true },
      { title: "Specialist", value: (row) => row.specialist_score, cell: (row) => figure(row.specialist_score), number: true, hint: "On 0 to 100" },
      { title: "Won by", value: (row) => row.won, cell: (row) => row.won },
    ];
  }

  function filter() {
    const { q, only } = Object.fromEntries(new FormData(form));
    const words = GL.words(q);
    const kinds = { "": () => true, both: (row) => row.a.status === "s" && row.b.status === "s", a: (row) => row.difference > 0, b: (row) => row.difference < 0, apart: (row) => row.apart };
    table?.show(all.filter((row) => kinds[only](row) && GL.contains(row.text, words)), all.length);
  }

  async function show() {
    const [a, b] = [form.elements.a.value, form.elements.b.value];
    const board = boards.find((one) => one.board_id === form.elements.board.value);
    const names = [a, b].map((slug) => models.find((model) => model.slug === slug).model);
    const [left, right, places] = await Promise.all([GL.load(`model/${a}`), GL.load(`model/${b}`), GL.load(`board/${board.slug}`)]);
    if (a !== form.elements.a.value || b !== form.elements.b.value || board.board_id !== form.elements.board.value) return;
    for (const [id, name] of [["name-a", names[0]], ["name-b", names[1]]]) document.getElementById(id).textContent = name;
    showLevels(board, places, [a, b]);
    const side = (columns_, at) => ({ status: columns_.status[at], raw: columns_.raw_score[at], score: columns_.score[at], wins: columns_.wins[at], low: columns_.raw_low?.[at] ?? null, high: columns_.raw_high?.[at] ?? null });
    all = tasks.map((task, at) => {
      const row = { ...task, a: side(left, at), b: side(right, at), text: `${task.task_id} ${task.title} ${task.skill ?? ""}`.toLowerCase() };
      row.difference = row.a.score - row.b.score;
      row.won = row.a.wins && row.b.wins ? "both" : row.a.wins ? "A" : row.b.wins ? "B" : "–";
      row.apart = row.a.low !== null && row.b.low !== null && (row.a.low > row.b.high || row.b.low > row.a.high);
      return row;
    }).filter((row) => row.a.status !== "u" || row.b.status !== "u");
    const shape = columns(names);
    table = GL.table(document.getElementById("table"), { caption: `Results by task: A is ${names[0]}, B is ${names[1]}`, columns: shape, sort: { column: 5, order: "desc" } });
    filter();
    const count = (test) => all.filter(test).length;
    const apart = count((row) => row.apart);
    document.getElementById("summary").textContent =
      `Of ${all.length} tasks that either supports: A ahead on ${count((row) => row.difference > 0)}, B ahead on ${count((row) => row.difference < 0)}, ` +
      `equal on ${count((row) => row.difference === 0)}` + (apart ? `; on ${apart} the 95 % intervals do not touch.` : ".");
    const points = all.filter((row) => row.a.status === "s" && row.b.status === "s").map((row) => ({ x: row.b.score, y: row.a.score, title: row.title, modality: row.modality, href: `task/${row.slug}.html` }));
    GL.charts.show(document.getElementById("square"), GL.charts.square(points, "B", "A"));
    output.hidden = false;
    GL.state.set({ a, b, board: board.board_id === boards[0].board_id ? "" : board.board_id });
  }

  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("change", (event) => {
    if (["a", "b", "board"].includes(event.target.name)) show();
  });
  form.addEventListener("input", (event) => {
    if (["q", "only"].includes(event.target.name)) filter();
  });
  document.getElementById("swap").addEventListener("click", () => {
    [form.elements.a.value, form.elements.b.value] = [form.elements.b.value, form.elements.a.value];
    show();
  });
  if (models.length) show();
})();
