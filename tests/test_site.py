"""The static site, as a visitor meets it: opened from disk in a real browser."""

from __future__ import annotations

import csv
import functools
import math
import random
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pyarrow as pa
import pytest
from axe_playwright_python.sync_playwright import Axe
from hypothesis import given
from hypothesis import strategies as st
from playwright.sync_api import Browser, Dialog, Page, expect, sync_playwright

from benchmarks.site import publish
from tasks.catalog import load_catalogue
from tasks.errors import UserError
from tasks.report.past_results import import_past_results
from tasks.report.site import build_site
from tasks.report.site.files import MARKER
from tasks.report.site.names import slug
from tasks.report.site.pages import figure, percent
from tasks.storage import Store
from tasks.warehouse import RunInfo, build, connect
from tests.conftest import Bench, s3_server

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
browsing = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(2)>',
    "</script><script>alert(3)</script>",
    "'; alert(4); //",
    "{{ 7 * 7 }}${7*7}",
    "../../../etc/passwd",
    "%2e%2e%2fmodel",
    "a/b\\c:d?e#f",
    "模型 ünï 🙂\u2028line",
    "\u202egnp.exe",
    "javascript:alert(5)",
    "CON",
    "Alpha",
    "x" * 300,
]
TITLE = "Quiz <img src=y onerror=alert(6)> & more"
PAGES = ["index.html", "tasks.html", "compare.html", "about.html", "model", "task"]


@dataclass
class Built:
    """A site, the store it was made of, and what a page is expected to say."""

    folder: Path
    store: Store
    tasks: dict[str, str] = field(default_factory=dict)

    def url(self, page: str, state: str = "") -> str:
        """The address of a page; `model` and `task` are those of alpha and of the first task."""
        names = {
            "model": f"model/{slug('alpha')}.html",
            "task": f"task/{slug(self.tasks['image quiz'])}.html",
        }
        return (self.folder / names.get(page, page)).as_uri() + (f"#{state}" if state else "")

    def query(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        with connect(self.store) as database:
            return database.execute(sql, list(values)).fetchall()


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """Two runs of scored models (one of them with a refused task) beside imported, hostile ones."""
    bench = Bench(tmp_path_factory.mktemp("site"))
    letters = {i: "ABCD"[i % 4] for i in range(40)}
    tasks = {
        name: bench.add_task(title, "accuracy", letters, specialist=specialist, **where)
        for name, title, specialist, where in (
            ("image quiz", "Image quiz", 60.0, {"modality": "image", "paradigm": "comprehension"}),
            ("image make", "Image make", 80.0, {"modality": "image", "paradigm": "generation"}),
            ("video quiz", "Video quiz", 90.0, {"modality": "video", "paradigm": "comprehension"}),
            ("words", "Words", 50.0, {}),
        )
    }
    line = f"language.hostile,language,language,{TITLE},accuracy,50.0\n"
    bench.catalogue.write_text(bench.catalogue.read_text() + line)
    catalogue = load_catalogue([bench.catalogue], base=False)

    def answer(model: str, name: str, right: int) -> None:
        bench.predict(model, tasks[name], {i: v if i < right else "?" for i, v in letters.items()})

    answer("alpha", "image quiz", 30)
    answer("alpha", "image make", 20)
    answer("beta", "image quiz", 20)
    answer("beta", "words", 25)
    bench.write_prediction("beta", tasks["video quiz"], "this is no JSON")
    results = bench.root / "past.csv"
    with results.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["model", "task_id", "raw_score"])
        for row, model in enumerate(HOSTILE):
            writer.writerow([model[:150], tasks["image quiz"], f"{5 * row + 1}"])
            writer.writerow([model[:150], "language.hostile", "40"])
    store = Store(bench.store)
    import_past_results(store, results, catalogue)
    # Longer than the store can name a file: what a file is called does not matter to the reader.
    table = store.read_table("imported", f"{'x' * 150}.parquet")
    names = pa.array(["x" * 300] * table.num_rows)
    store.write_table(table.set_column(0, table.schema.field(0), names), "imported", "long.parquet")
    store.delete("imported", f"{'x' * 150}.parquet")
    for run, right in (("first", 25), ("second", 35)):
        answer("alpha", "image make", right)
        bench.score("alpha")
        bench.score("beta")
        build(store, catalogue, RunInfo.now(run))
    folder = bench.root / "out" / "site"
    build_site(store, folder)
    return Built(folder, store, tasks)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine")
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
        )
        yield opened
        opened.close()


class Watch:
    """Pages that are watched: whatever they complain of, ask for, or pop up is kept."""

    def __init__(self, browser: Browser) -> None:
        self._browser = browser
        self._contexts: list[Any] = []
        self.trouble: list[str] = []
        self.requests: set[str] = set()

    def open(self, url: str, width: int = 1360, scheme: Any = "light") -> Page:
        context = self._browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme=scheme
        )
        self._contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: self._complain(message.type, message.text))
        page.on("pageerror", lambda error: self._complain("error", str(error)))
        page.on("dialog", self._dismiss)
        page.on("request", lambda request: self.requests.add(request.url))
        page.goto(url)
        return page

    def _dismiss(self, dialog: Dialog) -> None:
        self._complain("dialog", dialog.message)
        dialog.dismiss()

    def _complain(self, kind: str, text: str) -> None:
        if kind in ("error", "warning", "dialog"):
            self.trouble.append(f"{kind}: {text}")

    def close(self) -> None:
        for context in self._contexts:
            context.close()


@pytest.fixture
def watch(browser: Browser) -> Iterator[Watch]:
    """Opens pages; at the end nothing may have gone wrong, and nothing have come from elsewhere."""
    watched = Watch(browser)
    yield watched
    watched.close()
    assert watched.trouble == []
    assert {urlsplit(url).scheme for url in watched.requests} <= {"file"}


def column(page: Page, title: str) -> list[str]:
    """The texts of a table's column, small print left out, top to bottom."""
    return page.evaluate(
        """(title) => {
          const table = document.querySelector('#table table');
          const at = [...table.tHead.rows[0].cells].findIndex((c) => c.textContent === title);
          return [...table.tBodies[0].rows].map((row) => {
            const cell = row.cells[at].cloneNode(true);
            cell.querySelectorAll('.interval, .sub').forEach((node) => node.remove());
            return cell.textContent;
          });
        }""",
        title,
    )


def draw_charts(page: Page) -> None:
    """Brings every chart into view and waits for its drawing."""
    for chart in page.locator(".chart").all():
        chart.scroll_into_view_if_needed()
        chart.locator("svg").wait_for()


def shown(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


# --- boards ---------------------------------------------------------------------------------------


@browsing
@pytest.mark.parametrize(
    ("board", "profile", "aggregation"),
    [
        ("A", "corrected", "modality_mean"),
        ("A", "published", "task_mean"),
        ("B-image", "corrected", "modality_mean"),
        ("C-image-comprehension", "corrected", "task_mean"),
    ],
)
def test_a_board_shows_what_was_published(built, watch, board, profile, aggregation):
    state = f"board={board}&profile={profile}&aggregation={aggregation}"
    page = watch.open(built.url("index.html", state))
    page.wait_for_selector("#table tbody tr")
    rows = built.query(
        "SELECT model, rank, level_2, level_3, level_4, tasks_won, count(*) OVER (PARTITION BY rank) "
        "FROM leaderboards WHERE board_id = ? AND profile = ? AND aggregation = ? ORDER BY rank, model",
        *(board, profile, aggregation),
    )
    assert len(rows) == len(HOSTILE) + 2
    assert column(page, "Model") == [row[0] for row in rows]
    assert column(page, "Rank") == [f"{'=' if row[6] > 1 else ''}{row[1]}" for row in rows]
    assert column(page, "Level 2") == [shown(row[2]) for row in rows]
    assert column(page, "Level 3") == [shown(row[3]) for row in rows]
    assert column(page, "Won") == [str(row[5]) for row in rows]
    highest = {"A": 5, "B": 4, "C": 3}[board[0]]
    titles = page.locator("#table thead th").all_text_contents()
    assert [t for t in titles if t.startswith("Level")] == [
        f"Level {n}" for n in range(2, highest + 1)
    ]


@browsing
def test_a_board_has_the_intervals_of_what_was_scored(built, watch):
    page = watch.open(built.url("index.html"))
    page.wait_for_selector("#table tbody tr")
    ((low, high),) = built.query(
        "SELECT low, high FROM level_intervals WHERE board_id = 'A' AND model = 'alpha' AND level = 2"
    )
    assert low < high
    row = page.locator("#table tbody tr", has=page.get_by_role("link", name="alpha", exact=True))
    assert f"{low:.2f} to {high:.2f}" in (row.text_content() or "")


@browsing
def test_headings_sort_both_ways_and_say_so(built, watch):
    page = watch.open(built.url("index.html"))
    page.wait_for_selector("#table tbody tr")
    heading = page.locator("#table thead th", has_text="Level 2")
    heading.get_by_role("button").click()
    assert heading.get_attribute("aria-sort") == "descending"
    assert page.locator("#table th[aria-sort]").count() == 1
    descending = [float(text) for text in column(page, "Level 2")]
    assert descending == sorted(descending, reverse=True) and len(set(descending)) > 2
    heading.get_by_role("button").click()
    assert heading.get_attribute("aria-sort") == "ascending"
    assert [float(text) for text in column(page, "Level 2")] == sorted(descending)
    assert "by Level 2, ascending" in (page.get_by_role("status").first.text_content() or "")
    # The address keeps it: a link shows the same table.
    again = watch.open(page.url)
    again.wait_for_selector("#table tbody tr")
    assert column(again, "Model") == column(page, "Model")


@browsing
def test_filters_narrow_the_board(built, watch):
    page = watch.open(built.url("index.html"))
    page.wait_for_selector("#table tbody tr")
    page.get_by_role("searchbox", name="Model").fill("ALPH")
    assert sorted(column(page, "Model")) == ["Alpha", "alpha"]
    assert f"2 of {len(HOSTILE) + 2} rows" in (
        page.get_by_role("status").first.text_content() or ""
    )
    page.get_by_role("searchbox", name="Model").fill("no such model")
    assert "Nothing matches" in (page.locator("#table tbody").text_content() or "")
    page.get_by_role("searchbox", name="Model").fill("")
    page.get_by_label("Reached at least").select_option("4")
    assert column(page, "Model") == [
        row[0] for row in built.query("SELECT model FROM leaderboard WHERE level_reached >= 4")
    ]
    page.get_by_label("Reached at least").select_option("1")
    page.get_by_text("C", exact=True).click()
    expect(page.locator("#table thead")).not_to_contain_text("Level 4")
    boards = page.get_by_role("combobox", name="Board").locator("option").all_text_contents()
    found = built.query(
        "SELECT title FROM boards WHERE scope = 'C' "
        "AND board_id IN (SELECT board_id FROM leaderboards) ORDER BY lower(title)"
    )
    assert boards == [row[0] for row in found]


# --- models, tasks, comparison --------------------------------------------------------------------


@browsing
def test_a_models_page_accounts_for_every_task(built, watch):
    page = watch.open(built.url("model").replace("alpha", "beta"))
    rows = {
        row[0]: row[1:]
        for row in built.query(
            "SELECT title, status, raw_score, reason, wins, raw_low, raw_high "
            "FROM task_results JOIN stg_tasks USING (task_id) "
            "LEFT JOIN task_intervals USING (model, task_id) "
            "WHERE profile = 'corrected' AND model = 'beta'"
        )
    }
    assert len(rows) == 5
    assert {row[0] for row in rows.values()} == {"scored", "unsupported", "refused"}
    seen = dict(zip(column(page, "Task"), column(page, "Status"), strict=True))
    results = dict(zip(column(page, "Task"), column(page, "Result"), strict=True))
    words = {"scored": "below", "unsupported": "unsupported", "refused": "✕ refused"}
    for title, (status, raw, reason, wins, low, high) in rows.items():
        assert seen[title] == ("▲ at or above" if wins else words[status])
        assert results[title] == shown(raw)
        text = page.locator("#table tbody tr", has_text=title).text_content() or ""
        if status == "refused":
            assert reason and reason in text
        if status == "scored":
            assert f"{low:.2f} to {high:.2f}" in text
    page.get_by_label("Status").select_option("refused")
    assert column(page, "Task") == [title for title, row in rows.items() if row[0] == "refused"]


@browsing
def test_a_models_page_tells_levels_what_to_improve_and_what_has_been(built, watch):
    page = watch.open(built.url("model"))
    text = page.locator("main").inner_text()
    for level, score, low, high in built.query(
        "SELECT level, score, low, high FROM level_intervals "
        "WHERE board_id = 'A' AND model = 'alpha' ORDER BY level"
    ):
        row = page.locator("section[aria-labelledby=card] tbody tr").nth(level - 2).inner_text()
        assert f"{score:.2f}" in row and f"{low:.2f} to {high:.2f}" in row
    steps = built.query(
        "SELECT title, gap FROM path_to_next_level JOIN stg_tasks USING (task_id) "
        "WHERE model = 'alpha' ORDER BY step"
    )
    assert steps
    for title, gap in steps:
        assert f"{title}: {gap:.2f} points short" in text
    # The generation task went from 25 to 35 of 40 right, between the runs.
    changed = page.locator("table", has_text="Change of the score").inner_text()
    assert "62.50" in changed and "87.50" in changed and "+25.00" in changed
    draw_charts(page)
    assert page.locator("#history svg path").count() > 4
    skills = built.query("SELECT count(*), sum(tasks_won) FROM synergy_map WHERE model = 'alpha'")
    assert page.locator(".map a.skill").count() == skills[0][0]


@browsing
def test_links_of_the_synergy_map_choose_tasks(built, watch):
    page = watch.open(built.url("model"))
    page.wait_for_selector("#table tbody tr")
    page.locator(".map a.skill[href*='modality=video']").click()
    expect(page.locator("#table tbody tr")).to_have_count(1)
    assert column(page, "Task") == ["Video quiz"]


@browsing
def test_a_tasks_page_ranks_the_models_against_the_specialist(built, watch):
    page = watch.open(built.url("task"))
    scored = built.query(
        "SELECT model, raw_score FROM task_results WHERE task_id = ? AND profile = 'corrected' "
        "AND status = 'scored' ORDER BY raw_score DESC",
        built.tasks["image quiz"],
    )
    assert column(page, "Result")[: len(scored)] == [shown(row[1]) for row in scored]
    assert column(page, "Model")[0] == scored[0][0]
    draw_charts(page)
    assert "specialist 60.00" in (page.locator("#chart").text_content() or "")
    assert page.locator("#chart .mark-symbol path").count() >= len(scored)


@browsing
def test_two_models_are_compared(built, watch):
    page = watch.open(built.url("compare.html", f"a={slug('alpha')}&b={slug('beta')}"))
    page.wait_for_selector("#table tbody tr")
    rows = built.query(
        "SELECT title, a.score - b.score FROM stg_tasks "
        "JOIN task_results a USING (task_id) JOIN task_results b USING (task_id) "
        "WHERE a.model = 'alpha' AND b.model = 'beta' AND a.profile = 'corrected' "
        "AND b.profile = 'corrected' AND (a.status <> 'unsupported' OR b.status <> 'unsupported')"
    )
    seen = dict(zip(column(page, "Task"), column(page, "A − B"), strict=True))
    sign = {True: "+", False: "−"}
    assert seen == {
        title: (sign[gap > 0] if gap else "") + f"{abs(gap):.2f}" for title, gap in rows
    }
    left, right = (
        built.query("SELECT level_2 FROM leaderboard WHERE model = ?", m)[0][0]
        for m in ("alpha", "beta")
    )
    first = page.locator("#levels tr").first.inner_text()
    assert (
        f"{left:.2f}" in first and f"{right:.2f}" in first and f"{abs(left - right):.2f}" in first
    )
    page.get_by_role("button", name="Swap").click()
    expect(page.locator("#name-a")).to_have_text("beta")
    swapped = dict(zip(column(page, "Task"), column(page, "A − B"), strict=True))
    turned = str.maketrans("+−", "−+")
    assert swapped == {title: text.translate(turned) for title, text in seen.items()}


@browsing
def test_figures_are_written_alike_in_pages_and_scripts(built, watch):
    draw = random.Random(5)
    values = [
        0.0,
        40.625,
        0.125,
        -28.125,
        1 / 3,
        100.0,
        0.01,
        0.0099999,
        5e-5,
        -5e-5,
        1e-4,
        0.00012345,
    ]
    values += [draw.uniform(-1, 1) * 10 ** draw.randint(-6, 5) for _ in range(500)]
    page = watch.open(built.url("index.html"))
    assert page.evaluate("(values) => values.map(GL.figure)", values) == [figure(v) for v in values]
    shares = [0.0, 1.0, 0.004, 0.996, 0.9999, *(draw.random() for _ in range(200))]
    assert page.evaluate("(s) => s.map(GL.percent)", shares) == [percent(s) for s in shares]
    assert page.evaluate("[null, Infinity, -Infinity].map(GL.figure)") == [
        figure(None),
        figure(math.inf),
        figure(-math.inf),
    ]


@browsing
def test_a_web_server_serves_it_as_it_is(built, browser):
    """The policy holds there too: everything comes from the server, and nothing is refused."""
    handler = functools.partial(SimpleHTTPRequestHandler, directory=str(built.folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        home = f"http://127.0.0.1:{server.server_port}"
        watched = Watch(browser)
        for path in ("index.html", f"model/{slug(HOSTILE[0])}.html", "compare.html"):
            page = watched.open(f"{home}/{path}")
            page.wait_for_selector("#table tbody tr")
            draw_charts(page)
        watched.close()
        server.shutdown()
    assert watched.trouble == []
    assert all(url.startswith(home) for url in watched.requests)


@browsing
def test_tasks_are_found(built, watch):
    page = watch.open(built.url("tasks.html"))
    assert len(column(page, "Task")) == 5
    assert TITLE in column(page, "Task")
    page.get_by_label("Modality").select_option("image")
    assert column(page, "Task") == ["Image make", "Image quiz"]
    page.get_by_label("Task, skill or metric").fill("make")
    page.get_by_role("link", name="Image make").click()
    assert page.locator("h1").text_content() == "Image make"


# --- names ----------------------------------------------------------------------------------------


@browsing
@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_is_a_name_like_any_other(built, watch, name):
    page = watch.open(built.url("index.html"))
    page.wait_for_selector("#table tbody tr")
    assert name in column(page, "Model")
    draw_charts(page)
    page.evaluate(
        "(name) => [...document.querySelectorAll('#table a')].find((a) => a.textContent === name).click()",
        name,
    )
    page.wait_for_selector("#table tbody tr .state")
    assert page.locator("h1").text_content() == name
    draw_charts(page)
    assert page.evaluate("document.querySelectorAll('main img, main script').length") == 0
    compare = watch.open(built.url("compare.html", f"a={slug(name)}&b={slug('alpha')}"))
    expect(compare.locator("#name-a")).not_to_be_empty()
    assert compare.locator("#name-a").text_content() == name


@browsing
def test_a_hostile_title_is_a_title(built, watch):
    page = watch.open(built.url(f"task/{slug('language.hostile')}.html"))
    assert page.locator("h1").text_content() == TITLE
    assert page.title() == f"{TITLE} · General-Level"
    page.locator("#table tbody tr").first.wait_for()
    draw_charts(page)


@given(st.lists(st.text(min_size=1), unique=True, max_size=20))
def test_slugs_are_safe_and_differ(names):
    slugs = [slug(name) for name in names]
    assert len({one.casefold() for one in slugs}) == len(names)
    assert all(re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,99}", one) for one in slugs)


@given(st.text())
def test_a_slug_is_not_the_slug_of_another_slug(name):
    assert slug(slug(name)) == slug(name) or "--" in slug(name)
    if slug(name) != name:
        assert slug(slug(name)) != slug(name)  # else a model of that name would take its page


# --- for everyone ---------------------------------------------------------------------------------


@browsing
@pytest.mark.parametrize("page_name", PAGES)
@pytest.mark.parametrize(("width", "scheme"), [(1360, "light"), (390, "dark")])
def test_pages_keep_the_rules_of_accessibility(built, watch, page_name, width, scheme):
    """axe-core's rules: WCAG A and AA (contrast included) and good practice."""
    page = watch.open(built.url(page_name), width, scheme)
    draw_charts(page)
    found = Axe().run(page, options={"preload": False})  # it would fetch the style sheet
    assert found.violations_count == 0, found.generate_report()


@browsing
@pytest.mark.parametrize("page_name", PAGES)
def test_a_phone_never_scrolls_sideways(built, watch, page_name):
    page = watch.open(built.url(page_name), width=360)
    draw_charts(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


@browsing
def test_the_keyboard_reaches_everything(built, watch):
    page = watch.open(built.url("index.html"))
    page.wait_for_selector("#table tbody tr")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    assert page.evaluate("document.activeElement.getBoundingClientRect().left") >= 0
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "content"
    for _ in range(40):
        page.keyboard.press("Tab")
        text, outline = page.evaluate(
            "[document.activeElement.textContent, getComputedStyle(document.activeElement).outlineStyle]"
        )
        if text == "Level 3":
            break
    assert (text, outline) == ("Level 3", "solid")
    page.keyboard.press("Enter")
    heading = page.locator("#table thead th", has_text="Level 3")
    assert heading.get_attribute("aria-sort") == "descending"
    page.keyboard.press("Space")
    assert heading.get_attribute("aria-sort") == "ascending"
    assert page.evaluate("document.activeElement.textContent") == "Level 3"


@browsing
def test_dark_follows_the_system_until_it_is_chosen(built, watch):
    ground = "getComputedStyle(document.body).backgroundColor"
    light = watch.open(built.url("index.html")).evaluate(ground)
    page = watch.open(built.url("index.html"), scheme="dark")
    dark = page.evaluate(ground)
    assert dark != light
    draw_charts(page)
    page.get_by_role("button", name="Dark").click()
    assert page.evaluate(ground) == light
    assert page.get_by_role("button", name="Dark").get_attribute("aria-pressed") == "false"
    page.goto(built.url("model"))
    assert page.evaluate(ground) == light


@browsing
def test_pages_are_light(tmp_path, watch):
    """All that a page of the published catalogue reads stays below 2 MB."""
    site = tmp_path / "site"
    build_site(publish(tmp_path, models=30), site)
    for name in ("index.html", "tasks.html", "compare.html", "model/model-000", "task/image"):
        (path, *_) = [*site.glob(name), *site.glob(f"{name}*")]
        watch.requests.clear()
        page = watch.open(path.as_uri())
        page.wait_for_selector("#table tbody tr")
        draw_charts(page)
        read = [Path(unquote(urlsplit(url).path)).stat().st_size for url in watch.requests]
        assert len(read) > 4
        assert sum(read) < 2_000_000


def test_no_page_runs_a_script_of_its_own(built):
    for path in built.folder.rglob("*.html"):
        text = path.read_text(encoding="utf-8")
        policy = re.search(r'Content-Security-Policy" content="([^"]+)"', text)
        assert policy and "unsafe" not in policy[1] and "default-src 'none'" in policy[1]
        assert not re.search(r"<script(?![^>]* src=)[^>]*>", text)
        assert not re.search(r"""<[^>"]*(?:"[^"]*"[^>"]*)*\s(?:on\w+|style)=""", text)


# --- the folder -----------------------------------------------------------------------------------


def test_a_site_is_replaced_as_a_whole(built, tmp_path):
    out = tmp_path / "site"
    first = build_site(built.store, out)
    (out / "model" / "of-yesterday.html").write_text("gone tomorrow")
    second = build_site(built.store, out)
    assert not (out / "model" / "of-yesterday.html").exists()
    assert (first.files, first.run_id) == (second.files, second.run_id) == (first.files, "second")
    assert [path.name for path in tmp_path.iterdir()] == ["site"]


def test_what_is_no_site_is_left_alone(built, tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(UserError, match="holds no site"):
        build_site(built.store, tmp_path)
    with pytest.raises(UserError, match="is a file"):
        build_site(built.store, tmp_path / "thesis.txt")
    with pytest.raises(UserError, match="no local folder"):
        build_site(built.store, "s3://bucket/site")
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_failed_build_keeps_the_site_that_is_there(built, tmp_path):
    out = tmp_path / "site"
    build_site(built.store, out)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    with pytest.raises(UserError, match="no published results"):
        build_site(Store(tmp_path / "empty"), out)
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before
    assert [path.name for path in tmp_path.iterdir()] == ["site"]


def test_a_store_of_an_earlier_version_leaves_parts_out(built, tmp_path):
    """Without intervals, boards' titles and the views of what to improve there is still a site."""
    shutil.copytree(built.store.root, tmp_path / "store")
    import duckdb

    with duckdb.connect(str(tmp_path / "store" / "results.duckdb")) as database:
        for view in (
            "path_to_next_level",
            "level_gains",
            "level_contributions",
            "score_changes",
            "synergy_map",
            "boards",
        ):
            database.execute(f"DROP VIEW {view}")
        for table in ("task_intervals", "level_intervals", "rank_intervals"):
            database.execute(f"DROP TABLE {table}")
    build_site(Store(tmp_path / "store"), tmp_path / "site")
    page = (tmp_path / "site" / "model" / "alpha.html").read_text(encoding="utf-8")
    assert "What to improve" not in page
    assert "Synergy by skill" not in page
    assert "95 % interval" not in page
    assert "Rank on board A" in page


def test_the_extra_is_asked_for_where_it_is_missing(built, tmp_path):
    code = "import sys; sys.modules['vl_convert'] = None; from flows.cli import main; main()"
    arguments = ["site", "--store", built.store.url, "--out", str(tmp_path / "site")]
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 1
    assert "pip install 'general-level-pipeline[site]'" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "site").exists()


def test_a_remote_store_is_read(built, tmp_path, monkeypatch):
    with s3_server(monkeypatch, "sites"):
        remote = Store("s3://sites/store")
        remote.write_bytes(built.store.read_bytes("results.duckdb"), "results.duckdb")
        site = build_site(remote, tmp_path / "site")
    assert site.models == len(HOSTILE) + 2
    here = {p.relative_to(built.folder) for p in built.folder.rglob("*")}
    assert {p.relative_to(tmp_path / "site") for p in (tmp_path / "site").rglob("*")} == here
    assert (tmp_path / "site" / MARKER).is_file()
