"""Writes docs/published.md: the published leaderboard, recomputed and audited.

    python -m examples.published.page

Everything on the page comes from the CSV files beside this script and the catalogue.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl
from scipy.stats import kendalltau

from tasks.catalog import load_catalogue
from tasks.report.audit import audit
from tasks.report.past_results import import_past_results
from tasks.storage import Store
from tasks.warehouse import RunInfo, build, connect

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "published.md"
#: Figures that the page shows of the two boards' heads.
HEAD = 15
NEUTRAL = ("agrees", "follows from the printed modalities", "no task results printed")


def store_of(folder: Path, catalogue_files: Sequence[Path]) -> Store:
    """A store with the published results, its levels built."""
    store = Store(folder)
    catalogue = load_catalogue([str(path) for path in catalogue_files])
    import_past_results(store, HERE / "results.csv", catalogue)
    build(store, catalogue, RunInfo.now("published"))
    return store


def query(store: Store, text: str) -> pl.DataFrame:
    with connect(store) as database:
        return database.sql(text).pl()


def table(frame: pl.DataFrame) -> str:
    """A Markdown table; two decimals, a dash for nothing."""

    def shown(value: Any) -> str:
        if value is None:
            return "-"
        return f"{value:.2f}" if isinstance(value, float) else str(value)

    lines = [frame.columns, ["---"] * frame.width, *frame.rows()]
    return "\n".join("| " + " | ".join(shown(cell) for cell in line) + " |" for line in lines)


def head_of(store: Store) -> pl.DataFrame:
    """The first of the recomputed board, with what is printed of them."""
    printed = (
        pl.read_csv(HERE / "published_levels.csv")
        .filter((pl.col("modality") == "all") & (pl.col("level") == 3))
        .group_by("model")
        .agg(pl.col("score").max().alias("printed level 3"))
        .with_columns(pl.col("printed level 3").rank("min", descending=True).alias("printed rank"))
    )
    board = query(
        store,
        "SELECT rank, model, level_2, level_3, level_4, level_5 FROM leaderboard "
        "ORDER BY rank, model",
    ).head(HEAD)
    return board.join(printed, on="model", how="left", maintain_order="left").with_columns(
        pl.col("printed rank").cast(pl.Int64)
    )


def dependence(stores: dict[str, Store]) -> pl.DataFrame:
    """How far the order of all systems depends on a choice: Kendall's tau-b and shared top ten."""
    choices = {
        "task_mean instead of modality_mean": ("workbook", "corrected", "task_mean"),
        "published profile instead of corrected": ("workbook", "published", "modality_mean"),
        "language specialists of the paper instead of the workbook": (
            "paper",
            "corrected",
            "modality_mean",
        ),
    }

    def scores(which: str, profile: str, aggregation: str) -> pl.DataFrame:
        return query(
            stores[which],
            "SELECT model, level_2, level_3, level_4, level_5 FROM levels WHERE board_id = 'A' "
            f"AND profile = '{profile}' AND aggregation = '{aggregation}' ORDER BY model",
        )

    base = scores("workbook", "corrected", "modality_mean")
    rows = []
    for name, choice in choices.items():
        other = scores(*choice)
        for level in (2, 3):
            column = f"level_{level}"
            tau = kendalltau(base[column], other[column]).statistic
            tops = [set(f.top_k(10, by=column)["model"]) for f in (base, other)]
            moved = (
                base[column].rank("min", descending=True)
                != other[column].rank("min", descending=True)
            ).sum()
            rows.append((name, level, round(float(tau), 3), len(tops[0] & tops[1]), int(moved)))
    columns = ["choice", "level", "Kendall's tau-b", "of the top ten stay", "systems that move"]
    return pl.DataFrame(rows, schema=columns, orient="row")


def language(stores: dict[str, Store]) -> pl.DataFrame:
    """Language tasks won under either set of specialists, for those that win most or reach level 4."""
    text = (
        "SELECT levels.model, count_if(wins) AS won, round(first(levels.level_5), 4) AS level_5, "
        "first(levels.level_4) AS level_4 FROM levels JOIN task_results USING (model, profile) "
        "WHERE profile = 'corrected' AND board_id = 'A' AND aggregation = 'modality_mean' "
        "AND modality = 'language' GROUP BY ALL"
    )
    both = query(stores["workbook"], text).join(
        query(stores["paper"], text), on="model", suffix=" (paper)"
    )
    # Names part systems that win as many: neither the choice nor the order hangs on the join's.
    both = both.sort("won", "won (paper)", "model", descending=[True, True, False])
    return both.filter((pl.col("level_4") > 0) | (pl.int_range(pl.len()) < 5)).select(
        "model",
        pl.col("won").alias("language tasks won, workbook"),
        pl.col("won (paper)").alias("paper"),
        pl.col("level_5").alias("level 5, workbook"),
        pl.col("level_5 (paper)").alias("level 5, paper"),
    )


def page() -> str:
    """The whole page as Markdown."""
    with tempfile.TemporaryDirectory() as folder:
        stores = {
            "workbook": store_of(Path(folder, "workbook"), []),
            "paper": store_of(Path(folder, "paper"), [HERE / "specialists_printed.csv"]),
        }
        levels = audit(stores["workbook"], "published_levels", HERE / "published_levels.csv")
        counts = audit(stores["workbook"], "published_counts", HERE / "published_counts.csv")
        head, depends, wins = head_of(stores["workbook"]), dependence(stores), language(stores)
    level_2 = levels.filter((pl.col("level") == 2) & (pl.col("modality") != "all"))
    with_score = level_2.filter(pl.col("printed") > 0)
    explained = with_score.filter(pl.col("verdict") != "not explained").height
    results = pl.read_csv(HERE / "results.csv", infer_schema=False)
    printed = pl.read_csv(HERE / "specialists_printed.csv")
    in_language = printed.filter(pl.col("task_id").str.starts_with("language."))
    text = TEMPLATE.read_text(encoding="utf-8")
    return text.format(
        systems=results["model"].n_unique(),
        figures=results.height,
        head=table(head),
        figures_2=level_2.height,
        agree_2=level_2.filter(pl.col("verdict") == "agrees").height,
        score_2=with_score.height,
        score_agree=with_score.filter(pl.col("verdict") == "agrees").height,
        score_explained=explained,
        verdicts=table(
            levels.group_by("verdict")
            .agg(pl.len().alias("level scores"))
            .sort("level scores", "verdict", descending=[True, False])
        ),
        odd=table(levels.filter(~pl.col("verdict").is_in(NEUTRAL))),
        supported=counts.filter(pl.col("printed_supported") == pl.col("supported")).height,
        counted=counts.height,
        language_differ=in_language.height,
        wins=table(wins),
        depends=table(depends),
    )


TEMPLATE = HERE / "page.md.in"

if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
