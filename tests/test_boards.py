"""Boards: those of the list, and one for each skill of the catalogue, whatever it is called."""

from __future__ import annotations

import csv

from hypothesis import given
from hypothesis import strategies as st

from tasks.catalog import load_catalogue
from tasks.warehouse import RunInfo, build, connect
from tests.test_levels import publish, slow


def store_with(folder, skills):
    """A store in which one model has a score on each of the tasks (one a skill)."""
    path = folder / "catalogue.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(
            ["task_id", "modality", "paradigm", "title", "metric_id", "specialist_raw", "skill"]
        )
        for n, skill in enumerate(skills):
            task_id = f"image.comprehension.t{n}"
            writer.writerow(
                [task_id, "image", "comprehension", f"T{n}", "accuracy", "50", skill or ""]
            )
    catalogue = load_catalogue([path], base=False)
    raws = {f"image.comprehension.t{n}": float(60 + n % 40) for n in range(len(skills))}
    return publish(folder, catalogue, {"m": raws}), catalogue


def skill_boards(store) -> dict[str, tuple[str, int, int]]:
    with connect(store) as database:
        rows = database.execute(
            "SELECT board_id, skill, tasks, max_level FROM boards WHERE scope = 'D'"
        ).fetchall()
    assert len({board_id for board_id, *_ in rows}) == len(rows)
    return {board_id: (skill, tasks, level) for board_id, skill, tasks, level in rows}


def test_skills_that_are_written_alike_get_boards_of_their_own(tmp_path):
    skills = ["I-C-1", "i c 1", "I-C-1", "Plain skill!", "技能", "", None, "  "]
    store, _ = store_with(tmp_path, skills)
    boards = skill_boards(store)
    assert {skill: tasks for skill, tasks, _ in boards.values()} == {
        "I-C-1": 2,
        "i c 1": 1,
        "Plain skill!": 1,
        "技能": 1,
    }
    assert {level for _, _, level in boards.values()} == {3}
    assert boards["D-image-comprehension-plain-skill"] == ("Plain skill!", 1, 3)
    assert all(board.isascii() and "/" not in board for board in boards)
    with connect(store) as database:
        (level_2,) = database.execute(
            "SELECT DISTINCT level_2 FROM levels JOIN boards USING (board_id) "
            "WHERE skill = 'I-C-1' AND profile = 'corrected'"
        ).fetchall()
    assert level_2 == (61.0,)  # the first and third task: 60 and 62


@slow
@given(
    skills=st.lists(
        st.one_of(st.none(), st.text(st.characters(codec="utf-8", exclude_characters="\0"))),
        min_size=1,
        max_size=20,
    )
)
def test_any_skills_make_boards(skills, tmp_path_factory):
    store, catalogue = store_with(tmp_path_factory.mktemp("boards"), skills)
    boards = skill_boards(store)
    known = [s for s in catalogue.tasks["skill"].to_list() if s is not None and s.strip(" ")]
    assert sum(tasks for _, tasks, _ in boards.values()) == len(known)
    assert all(len(board) <= len("D-image-comprehension-") + 60 + 13 for board in boards)
    assert all(set(board) <= set("D-_abcdefghijklmnopqrstuvwxyz0123456789") for board in boards)


def test_the_bundled_catalogue_has_a_board_for_each_skill(tmp_path):
    catalogue = load_catalogue()
    store = publish(tmp_path, catalogue, {"m": {catalogue.tasks["task_id"][0]: 1.0}})
    boards = skill_boards(store)
    groups = catalogue.tasks.filter(modality="image", paradigm="comprehension")
    assert len([b for b in boards if b.startswith("D-image-comprehension-")]) == (
        groups["skill"].n_unique()
    )
    with connect(store) as database:
        (counts,) = database.execute(
            "SELECT sum(tasks) FILTER (scope = 'A'), sum(tasks) FILTER (scope = 'C'), "
            "sum(tasks) FILTER (scope = 'D') FROM boards"
        ).fetchall()
    assert counts == (584, 584, 584)


def test_history_does_not_grow_by_the_boards_of_skills(tmp_path):
    store, catalogue = store_with(tmp_path, ["a", "b", "c"])
    build(store, catalogue, RunInfo.now("next"))
    with connect(store) as database:
        scopes = database.execute(
            "SELECT DISTINCT scope FROM level_history JOIN boards USING (board_id) ORDER BY ALL"
        ).fetchall()
    assert scopes == [("A",), ("B",), ("C",)]


def test_a_model_of_imported_figures_is_not_on_the_quick_board(tmp_path):
    store, _ = store_with(tmp_path, ["a"])
    with connect(store) as database:
        profiles = database.execute("SELECT DISTINCT profile FROM levels ORDER BY ALL").fetchall()
    assert profiles == [("corrected",), ("published",)]
