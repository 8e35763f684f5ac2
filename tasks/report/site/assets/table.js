// A table that sorts by its headings. Cells are elements or text, never markup.
"use strict";
/**
 * Columns: title, value(row) to sort by, cell(row) to show (by default the value), number, header (the
 * row's own heading), hint (a longer name), class, best ("desc" by default for numbers: the first click's order).
 * `named` hides the caption from sight where a heading above says the same.
 * Empty values come last in both orders; rows that are equal keep the order in which they were given.
 */
GL.table = (place, { caption, named = false, columns, sort, onSort }) => {
  const { el } = GL;
  let sorted = { column: sort?.column ?? 0, order: sort?.order ?? "asc" };
  let shown = [];
  let total = 0;
  const drawn = new Map();

  const buttons = columns.map((column, at) =>
    el("button", { type: "button", title: column.hint, on: { click: () => by(at) } }, column.title));
  const headings = columns.map((column, at) =>
    el("th", { scope: "col", class: [column.number && "number", column.header && "head"].filter(Boolean).join(" ") || null }, buttons[at]));
  const title = el("caption", { class: named ? "unseen" : null }, caption);
  const body = el("tbody");
  const node = el("table", {}, title, el("thead", {}, el("tr", {}, ...headings)), body);
  const status = el("p", { class: "status", role: "status" });
  place.replaceChildren(status, el("div", { class: "scroll", tabindex: 0, role: "group", "aria-label": caption }, node));

  function by(at) {
    const first = columns[at].best ?? (columns[at].number ? "desc" : "asc");
    const other = first === "asc" ? "desc" : "asc";
    sorted = { column: at, order: sorted.column === at && sorted.order === first ? other : first };
    draw();
    onSort?.({ ...sorted });
  }

  function compare(a, b) {
    const { value } = columns[sorted.column];
    const [left, right] = [value(a), value(b)];
    const [noLeft, noRight] = [left === null || left === undefined, right === null || right === undefined];
    if (noLeft || noRight) return noLeft - noRight;
    const order = typeof left === "string" ? left.localeCompare(right, "en", { numeric: true }) : left - right;
    return sorted.order === "asc" ? order : -order;
  }

  function line(row) {
    if (!drawn.has(row)) {
      const cells = columns.map((column) => {
        const content = (column.cell ?? column.value)(row);
        const parts = Array.isArray(content) ? content : [content];
        const kind = [column.number && "number", column.class].filter(Boolean).join(" ");
        return el(column.header ? "th" : "td", { scope: column.header ? "row" : null, class: kind || null },
          ...parts.filter((part) => part !== null && part !== undefined));
      });
      drawn.set(row, el("tr", {}, ...cells));
    }
    return drawn.get(row);
  }

  function draw() {
    headings.forEach((heading, at) => {
      if (at === sorted.column) heading.setAttribute("aria-sort", sorted.order === "asc" ? "ascending" : "descending");
      else heading.removeAttribute("aria-sort");
    });
    const ordered = [...shown].sort(compare);
    body.replaceChildren(...(ordered.length
      ? ordered.map(line)
      : [el("tr", {}, el("td", { colspan: columns.length, class: "none" }, "Nothing matches these filters."))]));
    const of = shown.length === total ? `${total}` : `${shown.length} of ${total}`;
    const order = sorted.order === "asc" ? "ascending" : "descending";
    status.textContent = `${of} rows, by ${columns[sorted.column].title}, ${order}`;
    return ordered;
  }

  return {
    /** Shows these rows, of so many; returns them in their order. */
    show(rows, all = rows.length, newCaption) {
      shown = rows;
      total = all;
      if (newCaption) title.textContent = newCaption;
      return draw();
    },
    order: () => [...shown].sort(compare),
  };
};
