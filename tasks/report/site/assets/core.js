// What every page shares: the data scripts' hand-over, elements, figures, state, theme.
"use strict";
globalThis.GL = (() => {
  const root = document.body.dataset.root;
  const held = new Map();
  const loading = new Map();

  /** Adds a deferred script of this site; resolves once it has run. */
  function script(path) {
    if (!loading.has(path)) {
      loading.set(path, new Promise((done, failed) => {
        const node = document.createElement("script");
        node.src = root + path;
        node.onload = done;
        node.onerror = () => failed(new Error(`${path} cannot be read`));
        document.head.append(node);
      }));
    }
    return loading.get(path);
  }

  /** The data under a key, from its script if it is not here yet. */
  async function load(key) {
    if (!held.has(key)) await script(`data/${key}.js`);
    return held.get(key);
  }

  /** An element; text is only ever text. Properties: class, attributes, and `on` for listeners. */
  function el(tag, properties = {}, ...children) {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(properties)) {
      if (name === "on") for (const [event, act] of Object.entries(value)) node.addEventListener(event, act);
      else if (value !== null && value !== undefined && value !== false) node.setAttribute(name, value === true ? "" : value);
    }
    node.append(...children.filter((child) => child !== null && child !== undefined));
    return node;
  }

  // Ties go to the even digit, as they do where the pages and the command line are made.
  const hundredths = new Intl.NumberFormat("en", { minimumFractionDigits: 2, maximumFractionDigits: 2, useGrouping: false, roundingMode: "halfEven" });
  const digits = new Intl.NumberFormat("en", { maximumSignificantDigits: 3, useGrouping: false, roundingMode: "halfEven" });

  /** As `figure` of the pages' templates. */
  function figure(value) {
    if (value === null || value === undefined) return "–";
    if (!Number.isFinite(value)) return value > 0 ? "∞" : "−∞";
    const size = Math.abs(value);
    if (size > 0 && size < 0.0001) return value > 0 ? "< 0.0001" : "> −0.0001";
    const text = (size === 0 || size >= 0.01 ? hundredths : digits).format(size);
    return value < 0 ? `−${text}` : text;
  }

  const signed = (value) => (value >= 0.0001 ? `+${figure(value)}` : figure(value));

  function percent(share) {
    if (share === null || share === undefined) return "–";
    const rounded = Math.round(100 * share);
    if (rounded === 100 && share < 1) return "> 99 %";
    return rounded === 0 && share > 0 ? "< 1 %" : `${rounded} %`;
  }

  /** "low to high", small; nothing where there is none, or none to be seen. */
  function interval(low, high, show = figure) {
    if (low === null || low === undefined || high === null || high === undefined) return null;
    const [from, to] = [show(low), show(high)];
    return from === to ? null : el("span", { class: "interval" }, `${from} to ${to}`);
  }

  /** Columns as rows: one object an index. */
  function rows(columns, of = Object.keys(columns)) {
    const names = of.filter((name) => Array.isArray(columns[name]));
    return (columns[names[0]] ?? []).map((_, i) => Object.fromEntries(names.map((name) => [name, columns[name][i]])));
  }

  const link = (kind, slug, text) =>
    el("a", { href: `${root}${kind}/${slug}.html` }, el("bdi", {}, text));

  const svg = (tag, attributes) => {
    const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    return node;
  };

  /** A score on 0..100 as a bar, with the specialist as a mark. The figure stands beside it. */
  function track(score, specialist, wins) {
    const node = svg("svg", { class: `track${wins ? " wins" : ""}`, viewBox: "0 0 100 10", preserveAspectRatio: "none", "aria-hidden": "true" });
    node.append(svg("rect", { class: "rail", x: 0, y: 4, width: 100, height: 2 }));
    node.append(svg("rect", { class: "bar", x: 0, y: 2, width: Math.max(0, Math.min(100, score)), height: 6 }));
    if (specialist !== null && specialist !== undefined)
      node.append(svg("rect", { class: "mark", x: Math.max(0, Math.min(99, specialist - 0.5)), y: 0, width: 1, height: 10 }));
    return node;
  }

  /** What the address says after #, as a form's values; and back, without a new entry in the history. */
  const state = {
    get: () => Object.fromEntries(new URLSearchParams(location.hash.slice(1))),
    set(values) {
      const kept = Object.entries(values).filter(([, value]) => value !== "" && value !== null && value !== undefined);
      history.replaceState(null, "", `#${new URLSearchParams(kept)}`);
    },
  };

  /** Fills a <select> with [value, text] pairs and keeps the wanted one if it is there. */
  function choose(select, pairs, wanted) {
    select.replaceChildren(...pairs.map(([value, text]) => el("option", { value }, text)));
    if (pairs.some(([value]) => value === wanted)) select.value = wanted;
    return select.value;
  }

  const contains = (text, words) => words.every((word) => text.includes(word));
  const words = (text) => text.toLowerCase().split(/\s+/).filter(Boolean);

  const dark = matchMedia("(prefers-color-scheme: dark)");
  const themed = () => document.documentElement.dataset.theme ?? (dark.matches ? "dark" : "light");
  const announce = () => document.dispatchEvent(new Event("themechange"));

  function startTheme() {
    const button = document.getElementById("theme");
    const label = () => {
      button.setAttribute("aria-pressed", String(themed() === "dark"));
    };
    button.hidden = false;
    button.addEventListener("click", () => {
      const next = themed() === "dark" ? "light" : "dark";
      document.documentElement.dataset.theme = next;
      try {
        localStorage.setItem("general-level-theme", next);
      } catch {
        // It holds for this page alone.
      }
      label();
      announce();
    });
    dark.addEventListener("change", () => { label(); announce(); });
    label();
  }
  startTheme();

  return {
    root, put: (key, value) => held.set(key, value), get: (key) => held.get(key), load, script, el, figure, signed,
    percent, interval, rows, link, track, state, choose, contains, words,
  };
})();
