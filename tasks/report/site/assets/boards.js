// Boards: one table, chosen by scope, board, profile and aggregation, filtered by model and level reached.
"use strict";
(async () => {
  const { el, figure, interval, percent, rows } = GL;
  const form = document.getElementById("controls");
  const [board, profile, aggregation, text, reached] = ["board", "profile", "aggregation", "q", "reached"].map((name) => form.elements[name]);
  const models = rows(GL.get("models"));
  const boards = rows(GL.get("boards"));
  const levels = [2, 3, 4, 5];
  const names = { modality_mean: "mean of modalities", task_mean: "mean of tasks" };
  let wanted = GL.state.get();
  let table = null;
  let all = [];
  let current = null;

  const scopes = [...new Set(boards.map((one) => one.scope))];
  for (const radio of form.querySelectorAll("input[name=scope]")) {
    if (!scopes.includes(radio.value)) radio.closest("label").remove();
  }

  function columns(highest, intervals, answers, ties) {
    const place = (row) => [
      el("span", { class: "rank", title: ties.get(row.rank) > 1 ? `${ties.get(row.rank)} models tie for this rank` : null },
        `${ties.get(row.rank) > 1 ? "=" : ""}${row.rank}`),
      row.rank_high > row.rank_low ? el("span", { class: "interval" }, `${row.rank_low} to ${row.rank_high}`) : null,
    ];
    return [
      { title: "Rank", value: (row) => row.rank, cell: place, number: true, best: "asc", hint: "Place on the board; = marks a tie; below it, the ranks of 95 % of the resamples" },
      { title: "Model", value: (row) => row.name, cell: (row) => GL.link("model", row.slug, row.name), header: true },
      { title: "Reached", value: (row) => row.level_reached, cell: (row) => el("span", { class: `badge level-${row.level_reached}` }, `L${row.level_reached}`), number: true, hint: "The highest level whose score is above 0" },
      ...levels.filter((level) => level <= highest).map((level) => ({
        title: `Level ${level}`, value: (row) => row[`level_${level}`], number: true,
        hint: `Score of level ${level}, 0 to 100${intervals ? ", with its 95 % interval" : ""}`,
        cell: (row) => [el("span", { class: row[`level_${level}`] ? null : "zero" }, figure(row[`level_${level}`])), interval(row[`low_${level}`], row[`high_${level}`])],
      })),
      { title: "Won", value: (row) => row.tasks_won, number: true, hint: "Tasks at or above the specialist" },
      { title: "Scored", value: (row) => row.tasks_supported, cell: (row) => [`${row.tasks_supported}`, el("span", { class: "of" }, ` / ${row.tasks_total}`)], number: true, hint: "Tasks with a score, of the board's tasks" },
      ...(answers ? [{ title: "Answered", value: (row) => row.answered, cell: (row) => percent(row.answered), number: true, hint: "Instances with a readable answer, over all tasks that arrived" }] : []),
    ];
  }

  function filter() {
    const words = GL.words(text.value);
    const least = Number(reached.value);
    const shown = all.filter((row) => row.level_reached >= least && GL.contains(row.name.toLowerCase(), words));
    draw(table.show(shown, all.length, caption()));
    GL.state.set({ board: board.value === "A" ? "" : board.value, profile: profile.value === "corrected" ? "" : profile.value,
      aggregation: aggregation.value === "modality_mean" ? "" : aggregation.value, q: text.value, reached: least > 1 ? least : "",
      sort: wanted.sort });
  }

  const caption = () => `${current.title}, ${current.tasks} tasks, levels 2 to ${current.max_level}: ${profile.value} profile, ${names[aggregation.value] ?? aggregation.value}`;

  function draw(ordered) {
    const by = (wanted.sort ?? "").match(/Level (\d)/)?.[1];
    const level = Number(by ?? Math.min(3, current.max_level));
    const taken = new Map();
    const label = (name) => {
      const short = name.length > 26 ? `${name.slice(0, 25)}…` : name;
      taken.set(short, (taken.get(short) ?? 0) + 1);
      return taken.get(short) > 1 ? `${short} (${taken.get(short)})` : short;
    };
    const values = ordered.slice(0, 25).map((row) => ({
      label: label(row.name), name: row.name, href: `model/${row.slug}.html`,
      score: row[`level_${level}`], low: row[`low_${level}`] ?? null, high: row[`high_${level}`] ?? null,
    }));
    document.querySelector("aside").hidden = values.length === 0;
    if (values.length === 0) return;
    const measured = values.some((value) => value.low !== null);
    document.getElementById("chart-title").textContent = `Level ${level}${measured ? ", with 95 % intervals" : ""}`;
    document.getElementById("chart-note").textContent = ordered.length > values.length ? `The first ${values.length} of the rows shown. Sort by another level to see it here.` : "Sort by another level to see it here.";
    GL.charts.show(document.getElementById("chart"), (colour) => {
      const y = { field: "label", type: "nominal", sort: null, title: null, axis: { ticks: false, domain: false } };
      const tooltip = [{ field: "name", title: " " }, { field: "score", title: "score", format: ".2f" }];
      if (measured) tooltip.push({ field: "low", format: ".2f" }, { field: "high", format: ".2f" });
      return {
        height: values.length * 18, data: { values },
        layer: [
          ...(!measured ? [] : [{ data: { values: values.filter((value) => value.low !== null) }, mark: { type: "rule", strokeWidth: 5, opacity: 0.3, color: colour("accent") },
            encoding: { y, x: { field: "low", type: "quantitative" }, x2: { field: "high" } } }]),
          { mark: { type: "point", filled: true, size: 45, opacity: 1, color: colour("accent"), cursor: "pointer" },
            encoding: { y, x: { field: "score", type: "quantitative", title: null, axis: { tickCount: 4 } }, tooltip } },
        ],
      };
    });
  }

  async function show() {
    current = boards.find((one) => one.board_id === board.value);
    const found = await GL.load(`board/${current.slug}`);
    if (current.board_id !== board.value) return; // another one was chosen meanwhile
    GL.choose(profile, Object.keys(found).map((name) => [name, name]), profile.value || wanted.profile || "corrected");
    GL.choose(aggregation, Object.keys(found[profile.value]).map((name) => [name, names[name] ?? name]), aggregation.value || wanted.aggregation || "modality_mean");
    all = rows(found[profile.value][aggregation.value]).map((row) => {
      const model = models[row.model];
      return { ...row, name: model.model, slug: model.slug, answered: model.instances ? model.instances_scored / model.instances : null };
    });
    const ties = new Map();
    for (const row of all) ties.set(row.rank, (ties.get(row.rank) ?? 0) + 1);
    const intervals = all.some((row) => row.low_2 !== undefined && row.low_2 !== null);
    const shape = columns(current.max_level, intervals, all.some((row) => row.answered !== null), ties);
    const [title, order] = (wanted.sort ?? "").split("!");
    const at = shape.findIndex((column) => column.title === title);
    table = GL.table(document.getElementById("table"), {
      caption: caption(), columns: shape, sort: { column: Math.max(at, 0), order: at < 0 ? "asc" : order },
      onSort: ({ column, order: direction }) => {
        wanted.sort = column === 0 && direction === "asc" ? "" : `${shape[column].title}!${direction}`;
        filter();
      },
    });
    filter();
  }

  function list(scope, id) {
    GL.choose(board, boards.filter((one) => one.scope === scope).map((one) => [one.board_id, one.title === one.board_id ? one.title : `${one.title}`]), id);
  }

  function start() {
    wanted = GL.state.get();
    const first = boards.find((one) => one.board_id === wanted.board) ?? boards[0];
    form.querySelector(`input[name=scope][value="${first.scope}"]`).checked = true;
    list(first.scope, first.board_id);
    profile.replaceChildren();
    aggregation.replaceChildren();
    text.value = wanted.q ?? "";
    reached.value = wanted.reached ?? "1";
    return show();
  }

  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("change", (event) => {
    if (event.target.name === "scope") list(event.target.value);
    if (event.target === reached) filter();
    else if (event.target !== text) show();
  });
  text.addEventListener("input", filter);
  addEventListener("hashchange", start);
  if (boards.length) await start();
})();
