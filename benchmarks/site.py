"""The static site of 200 models on the published catalogue: build time, page weights, first paint.

    python -m benchmarks.site [--models 200] [--turns 3] [--out benchmarks/results/site.md]

The results are drawn around the published specialists and come in as past results do: a CSV, imported
and published. Pages are opened from disk in a headless Chromium, each time in a fresh profile; a page's
weight is all that it reads, charts included.
"""

from __future__ import annotations

import csv
import os
import random
import shutil
import tempfile
import time
from pathlib import Path
from statistics import median
from urllib.parse import unquote, urlsplit

from playwright.sync_api import Browser, sync_playwright

from benchmarks.command import parser, tell
from tasks.catalog import Catalogue, load_catalogue
from tasks.report.past_results import import_past_results
from tasks.report.site import Site, build_site
from tasks.storage import Store
from tasks.warehouse import RunInfo, build

#: Share of the tasks that a model supports, and how its figures spread around the specialist's.
SUPPORTED, SPREAD = 0.6, 0.35
PAINTS = "performance.getEntriesByType('paint').map((entry) => [entry.name, entry.startTime])"
#: When the deferred scripts have run, and with them the tables are there.
TABLES = "performance.getEntriesByType('navigation')[0].domContentLoadedEventEnd"


def make_results(path: Path, catalogue: Catalogue, models: int, seed: int = 7) -> None:
    """Writes a CSV of past results: every model on some of the tasks."""
    draw = random.Random(seed)
    tasks = list(catalogue.tasks.iter_rows(named=True))
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["model", "task_id", "raw_score"])
        for model in range(models):
            strength = draw.uniform(0.4, 1.05)
            for task in tasks:
                if draw.random() < SUPPORTED:
                    raw = task["specialist_raw"] * strength * draw.lognormvariate(0, SPREAD)
                    raw = min(max(raw, task["minimum"]), task["maximum"])
                    writer.writerow([f"Model {model:03d}", task["task_id"], f"{raw:.4f}"])


def publish(root: Path, models: int) -> Store:
    """A store with the results, imported and published."""
    catalogue = load_catalogue()
    make_results(root / "results.csv", catalogue, models)
    store = Store(root / "store")
    import_past_results(store, root / "results.csv", catalogue)
    build(store, catalogue, RunInfo.now("benchmark"))
    return store


def visit(browser: Browser, url: str) -> tuple[float, float, int]:
    """Milliseconds to the first contentful paint and to the tables, and bytes of all that it reads."""
    context = browser.new_context(viewport={"width": 1360, "height": 900})
    page = context.new_page()
    read: set[str] = set()
    page.on("request", lambda request: read.add(request.url))
    page.goto(url)
    page.wait_for_selector("table tbody tr")
    page.wait_for_function(f"({PAINTS}).length > 1")
    paint = dict(page.evaluate(PAINTS))["first-contentful-paint"]
    tables = page.evaluate(TABLES)
    for chart in page.locator(".chart").all():  # charts load the library as they come into view
        chart.scroll_into_view_if_needed()
        chart.locator("svg").wait_for()
    context.close()
    return paint, tables, sum(Path(unquote(urlsplit(one).path)).stat().st_size for one in read)


def measure(models: int, turns: int) -> list[str]:
    """The page of results, line by line."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        store = publish(root, models)
        seconds, site = [], None
        for _ in range(turns):
            began = time.perf_counter()
            site = build_site(store, root / "site")
            seconds.append(time.perf_counter() - began)
        assert isinstance(site, Site)
        pages = {
            "boards": "index.html",
            "tasks": "tasks.html",
            "compare": "compare.html",
            "a model": f"model/{min((root / 'site' / 'model').iterdir()).name}",
            "a task": f"task/{min((root / 'site' / 'task').iterdir()).name}",
        }
        lines = [
            f"# The static site of {site.models} models on {site.tasks} tasks",
            "",
            f"`python -m benchmarks.site --models {models} --turns {turns}` on "
            f"{os.cpu_count()} shared cores (load average {os.getloadavg()[0]:.1f}).",
            "",
            f"Built in {min(seconds):.1f} s (best of {turns}; worst {max(seconds):.1f} s): "
            f"{site.files:,} files, {site.size / 1e6:.1f} MB, {site.boards} boards.",
            "",
            f"| page | first contentful paint, median of {2 * turns + 1} | slowest "
            "| tables there, median | all it reads |",
            "|---|---|---|---|---|",
        ]
        executable = shutil.which("chromium") or shutil.which("chromium-browser")
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=executable, args=["--no-sandbox", "--disable-gpu"]
            )
            for name, path in pages.items():
                visits = [
                    visit(browser, (root / "site" / path).as_uri()) for _ in range(2 * turns + 1)
                ]
                paints, tables, sizes = zip(*visits, strict=True)
                lines.append(
                    f"| {name} | {median(paints):.0f} ms | {max(paints):.0f} ms "
                    f"| {median(tables):.0f} ms | {sizes[0] / 1e6:.2f} MB |"
                )
            browser.close()
        return lines


def main() -> None:
    """Measures, prints, and writes the page where --out says."""
    options = parser(__doc__)
    options.add_argument("--models", type=int, default=200)
    options.add_argument("--turns", type=int, default=3)
    arguments = options.parse_args()
    tell("\n".join(measure(arguments.models, arguments.turns)), arguments.out)


if __name__ == "__main__":
    main()
