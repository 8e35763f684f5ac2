"""The catalogue: the published tasks as printed, names, users' files, and what its check refuses.

The expected figures are those of references/sota_result.xlsx of path2generalist/General-Level
(arXiv:2505.04620), read apart from the catalogue.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from tasks.catalog import Catalogue, check_catalogue, load_catalogue, normalise
from tasks.catalog.model import fold
from tasks.errors import UserError

# Group -> (tasks, sum of the specialists' figures as printed, first 16 digits of the SHA-256 over
# one line `<folded title>=<figure>` a row of the workbook's sheet, in its order).
PUBLISHED = {
    ("language", "language"): (115, 7199.04, "4260a1b157eaa343"),
    ("image", "comprehension"): (271, 13767.54, "29c715d961dd70b5"),
    ("image", "generation"): (45, 1629.812, "83c1da44b19e1cca"),
    ("video", "comprehension"): (126, 5731.058, "a77ebd35e0a98ad8"),
    ("video", "generation"): (46, 2799.51, "56ae908bf6418e23"),
    ("audio", "comprehension"): (24, 1821.75, "d71244430165776f"),
    ("audio", "generation"): (20, 361.93, "36a9e30fd9e8a7cd"),
    ("3d", "comprehension"): (30, 2139.4, "137e73d9a42c5fe4"),
    ("3d", "generation"): (22, 13927.70963342796, "73f705f4bae61a28"),
}

# Rows chosen for their oddities: task id -> metric, unit, printed figure, figure on 0..100.
GOLDEN = {
    "language.commonsense-reasoning": ("accuracy", "percent", 83.33, 83.33),
    "language.counterfactual-reasoning": ("token_f1", "percent", 8.42, 8.42),
    "language.mathematical-word-problem-solving": ("accuracy", "percent", 1.0, 1.0),
    "language.time-series": ("rmse", "raw", 2.31, 79.403),
    "language.part-of-speech": ("micro_f1", "percent", 92.43, 92.43),
    "image.comprehension.bird-detection": ("ap75", "percent", 97.1, 97.1),
    "image.comprehension.crowd-counting": ("mae", "raw", 5.95, 99.955),
    "image.comprehension.indoor-depth-estimation": ("depth_rms", "raw", 36.4, 59.593),
    "image.comprehension.person-hair-matting": ("matting_mse", "raw", 28.9, 8.629),
    "image.comprehension.person-keypoint-detection": ("keypoint_ap50", "percent", 95.7, 95.7),
    "image.generation.document-image-unwarping": ("ms_ssim", "raw", 0.542, 77.1),
    "image.generation.infection-map-generation": ("roc_auc", "percent", 99.29, 99.29),
    "image.generation.image-deraining": ("psnr", "decibel", 34.56, 93.882),
    "video.comprehension.ball-tracking": ("success_auc", "percent", 66.6, 66.6),
    "video.comprehension.food-video-captioning": ("bleu_1_corpus", "percent", 24.7, 24.7),
    "video.generation.static-video-generation": (
        "vbench_temporal_flickering", "percent", 99.72, 99.72,
    ),
    "video.generation.human-video-generation": ("fvd", "raw", 72.74, 59.630),
    "audio.comprehension.long-audio-captioning": ("bleu_1", "percent", 70.5, 70.5),
    "audio.generation.texttospeech": ("wer", "percent", 5.6, 94.4),
    "audio.generation.dailytalkgeneration": ("mos", "opinion", 3.82, 70.5),
    "3d.comprehension.3d-odometry": ("rte", "raw", 0.55, 42.563),
    "3d.generation.rgb-d-to-mesh-reconstruction": (
        "chamfer_distance", "raw", 6540.01724546398, 0.007645,
    ),
    "3d.generation.text-to-3d-motion-generation": ("fid", "raw", 0.228, 100.0),
    "3d.generation.living-and-arts-image-to-3d-mesh-generation": (
        "clip_image_score", "percent", 83.3, 83.3,
    ),
}  # fmt: skip

HEADER = "task_id,modality,paradigm,title,metric_id,specialist_raw"
ROW = "audio.comprehension.door-slam,Audio,Comprehension,Door Slam,accuracy,61.5"


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return load_catalogue()


@pytest.fixture
def file(tmp_path: Path) -> Callable[..., Path]:
    """Writes a catalogue file of the given lines; returns its path."""

    def write(*lines: str, name: str = "mine.csv") -> Path:
        path = tmp_path / name
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return path

    return write


def test_the_published_catalogue_is_sound(catalogue: Catalogue) -> None:
    assert len(catalogue) == 699
    assert check_catalogue(catalogue) == []


@pytest.mark.parametrize("group", PUBLISHED)
def test_every_title_and_figure_is_as_published(
    catalogue: Catalogue, group: tuple[str, str]
) -> None:
    count, total, digest = PUBLISHED[group]
    rows = catalogue.tasks.filter(modality=group[0], paradigm=group[1])
    figures = rows["specialist_raw"].to_list()
    lines = [f"{fold(t)}={x!r}" for t, x in zip(rows["title"], figures, strict=True)]
    assert len(lines) == count
    assert math.fsum(figures) == pytest.approx(total, abs=1e-9)
    assert hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16] == digest


@pytest.mark.parametrize("task_id", GOLDEN)
def test_golden_rows(catalogue: Catalogue, task_id: str) -> None:
    metric_id, unit, raw, mapped = GOLDEN[task_id]
    task = catalogue.task(task_id)
    assert (task.metric_id, task.unit, task.specialist_raw) == (metric_id, unit, raw)
    assert task.specialist_normalised == pytest.approx(mapped, abs=1e-3)
    assert task.normalise(raw) == task.specialist_normalised


def test_every_printed_metric_leads_back_to_the_tasks_own(catalogue: Catalogue) -> None:
    for task_id, printed, metric_id in catalogue.tasks.select(
        "task_id", "printed_metric", "metric_id"
    ).iter_rows():
        assert catalogue.resolve_metric(printed, task_id) == metric_id


def test_every_task_has_a_skill_cluster_of_its_group(catalogue: Catalogue) -> None:
    letters = {"image": "I", "video": "V", "audio": "A", "3d": "D", "language": "L"}
    sides = {"comprehension": "-C", "generation": "-G", "language": ""}
    for modality, paradigm, skill in catalogue.tasks.select(
        "modality", "paradigm", "skill"
    ).iter_rows():
        assert re.fullmatch(rf"{letters[modality]}{sides[paradigm]}-[1-9]\d?", skill)
    # Appendix A.6 counts: 40 + 15 image, 20 + 6 video, 9 + 11 audio, 13 + 9 3D, 22 language.
    assert catalogue.tasks["skill"].n_unique() == 145


def test_lower_is_better_only_for_errors_and_distances(catalogue: Catalogue) -> None:
    lower = catalogue.tasks.filter(direction="lower")
    assert set(lower["map"]) == {"tanh_ratio", "one_minus"}
    assert set(catalogue.tasks.filter(direction="higher")["map"]) == {
        "identity",
        "tanh_scale",
        "affine",
    }


@pytest.mark.parametrize(
    ("modality", "paradigm", "names", "task_id"),
    [
        ("Image", "comprehension", ["Bird-Detection"], "image.comprehension.bird-detection"),
        ("image", "COMPREHENSION", ["bird_detection"], "image.comprehension.bird-detection"),
        ("Audio", None, ["AccentClassification"], "audio.comprehension.accent-classification"),
        ("3d", None, ["3d_tracking"], "3d.comprehension.3d-tracking"),
        ("NLP", "comprehension", ["NLI"], "language.natural-language-inference"),
        ("nlp", None, ["Text to SQL"], "language.text-to-sql-generation"),
        (None, None, ["Raccoon Detection"], "image.comprehension.raccoon-detection"),
        (None, None, ["language.time-series"], "language.time-series"),
        # Corrected spellings of published titles, and the published ones with their remarks.
        ("Image", None, ["Sound-to-Image Generation"], "image.generation.sound-to-image-gernation"),
        (
            "Image",
            None,
            ["Image Scene Graph Parsing"],
            "image.comprehension.lmage-scene-graph-parsing",
        ),
        (
            "Image",
            None,
            ["Tire Crack Detection (category level not dense preds)"],
            "image.comprehension.tire-crack-detection",
        ),
        # The first name that means one task decides.
        ("Audio", None, ["AudioCaps", "wild_audio_captioning"],
         "audio.comprehension.wild-audio-captioning"),
        # A title wins over another task's short title.
        ("Video", None, ["Video Salient Object Detection"],
         "video.comprehension.video-salient-object-detection"),
        ("Audio", None, ["AudioCaps"], None),
        ("Image", "generation", ["Bird Detection"], None),
        ("Smell", None, ["Bird Detection"], None),
        ("Image", None, [], None),
    ],
)  # fmt: skip
def test_names(
    catalogue: Catalogue, modality: str, paradigm: str, names: list[str], task_id: str | None
) -> None:
    assert catalogue.resolve(modality, paradigm, *names) == task_id


@pytest.mark.parametrize(
    ("name", "metric_id"),
    [
        ("ACC", "accuracy"),
        ("BLUE_1", "bleu_1"),
        ("Rouge-L f", "rouge_l"),
        ("CD (Chamfer Distance)", "chamfer_distance"),
        ("RTE ( Relative Translation Error)", "rte"),
        ("AMOTA (Average Multi-Object Tracking Accuracy)", "amota"),
        ("MUSIQ score", "vbench_imaging_quality"),
        ("L1 distance", "vbench_temporal_flickering"),
    ],
)
def test_published_metric_spellings(catalogue: Catalogue, name: str, metric_id: str) -> None:
    assert catalogue.resolve_metric(name) == metric_id


def test_metric_names_that_decide_nothing(catalogue: Catalogue) -> None:
    with pytest.raises(UserError, match="unknown metric 'METEOR'"):
        catalogue.resolve_metric("METEOR")
    with pytest.raises(UserError, match="may be any of roc_auc, success_auc"):
        catalogue.resolve_metric("AUC")
    with pytest.raises(UserError, match="measured by fid, not by 'PSNR'"):
        catalogue.resolve_metric("PSNR", "image.generation.edge-to-image-generation")
    with pytest.raises(UserError, match=r"no task 'image\.smell'"):
        catalogue.task("image.smell")


def test_a_file_adds_a_task(file: Callable[..., Path]) -> None:
    catalogue = load_catalogue([file(HEADER, ROW)])
    task = catalogue.task("audio.comprehension.door-slam")
    assert len(catalogue) == 700
    assert (task.unit, task.direction, task.payload) == ("percent", "higher", "text")
    assert task.specialist_normalised == 61.5
    assert check_catalogue(catalogue) == []


def test_a_file_alone_is_the_whole_catalogue(file: Callable[..., Path]) -> None:
    catalogue = load_catalogue([file(HEADER, ROW)], base=False)
    assert catalogue.tasks["task_id"].to_list() == ["audio.comprehension.door-slam"]
    assert catalogue.resolve_metric("WER") == "wer"
    assert len(load_catalogue(base=False)) == 0


def test_an_override_changes_only_its_columns(file: Callable[..., Path]) -> None:
    base = load_catalogue()
    task_id = "audio.generation.texttospeech"
    mine = file("task_id,specialist_raw,specialist_model,note", f"{task_id},4.5,NewTTS,")
    after = load_catalogue([mine])
    assert after.task(task_id).specialist_normalised == 95.5
    assert after.task(task_id).specialist_model == "NewTTS"
    changed = ["specialist_raw", "specialist_normalised", "specialist_model"]
    assert after.tasks.drop(changed).equals(base.tasks.drop(changed))
    others = pl.col("task_id") != task_id
    assert after.tasks.filter(others).equals(base.tasks.filter(others))
    assert after.fingerprint != base.fingerprint
    assert base.fingerprint == load_catalogue().fingerprint


def test_a_fraction_may_stand_for_a_percentage(file: Callable[..., Path]) -> None:
    """An accuracy of 0.9 with the unit fraction; the range 0..100 becomes 0..1."""
    task_id = "language.commonsense-reasoning"
    mine = file("task_id,unit,specialist_raw", f"{task_id},fraction,0.9")
    task = load_catalogue([mine]).task(task_id)
    assert (task.maximum, task.specialist_normalised) == (1.0, 90.0)
    with pytest.raises(ValueError, match="outside"):
        task.normalise(90.0)


def test_another_metric_brings_its_unit_direction_and_map(file: Callable[..., Path]) -> None:
    task_id = "language.time-series"
    mine = file("task_id,metric_id,specialist_raw", f"{task_id},mae,2.31")
    task = load_catalogue([mine]).task(task_id)
    assert (task.metric_id, task.threshold, task.printed_metric) == ("mae", 50.0, None)
    assert task.specialist_normalised == normalise("tanh_ratio", 50, "raw", 2.31)


def test_later_files_win_and_toml_reads_like_csv(file: Callable[..., Path]) -> None:
    first = file(HEADER, ROW)
    second = file(
        "[[task]]",
        'task_id = "audio.comprehension.door-slam"',
        "specialist_raw = 70",
        'aliases = ["Slamming Door", "Door Bang"]',
        name="later.toml",
    )
    catalogue = load_catalogue([first, second])
    task = catalogue.task("audio.comprehension.door-slam")
    assert (task.specialist_raw, task.aliases) == (70.0, ("Slamming Door", "Door Bang"))
    assert catalogue.resolve("audio", None, "door-bang") == task.task_id


def test_a_spreadsheets_csv_is_read(tmp_path: Path) -> None:
    """Byte order mark, CRLF, blank rows, quoted commas, as a spreadsheet saves them."""
    path = tmp_path / "sheet.csv"
    row = ROW.replace("Door Slam", '"Door Slam, Loud"')
    path.write_bytes(f"\ufeff{HEADER}\r\n{row}\r\n,,,,,\r\n".encode())
    catalogue = load_catalogue([path], base=False)
    assert catalogue.tasks["title"].to_list() == ["Door Slam, Loud"]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([HEADER, ROW.replace("accuracy", "acuracy")], r"row 2: unknown metric 'acuracy'"),
        ([HEADER, ROW.replace("61.5", "161.5")], r"row 2: specialist_raw is 161.5, outside 0..100"),
        ([HEADER, ROW.replace("61.5", "nan")], r"row 2: specialist_raw is nan, outside"),
        ([HEADER, ROW.replace("61.5", "61,5")], r"row 2: 7 cells under 6 column names"),
        ([HEADER, ROW.replace("61.5", "61.5%")], r"row 2: specialist_raw is '61.5%', not a number"),
        ([HEADER, ROW, "", ROW], r"row 4: task .*door-slam is already in .*row 2"),
        ([HEADER, ROW.replace("Audio,", "Smell,")], r"row 2: unknown modality 'Smell'"),
        ([HEADER, ROW.replace(",Comprehension", ",")], r"row 2: task .* lacks paradigm"),
        ([HEADER, ROW.replace("door-slam", "Door_Slam")], r"row 2: task_id .* is not audio.compr"),
        ([HEADER, ROW.replace("audio.", "video.")], r"row 2: task_id .* is not audio.compr"),
        ([HEADER, ROW.replace("Audio", "NLP")], r"row 2: modality language with paradigm compr"),
        ([HEADER, ROW.replace("Door Slam", "Speaker ID"), ROW.replace("door-slam", "b")
          .replace("Door Slam", "speaker_id")], r"the name 'Speaker ID' means"),
        ([HEADER, ROW.replace("Door Slam", "Speech Command")], r"means audio.*door-slam and"),
        ([HEADER, "language.mine,,,,,50"], r"row 2: .* lacks modality, paradigm, title, metric_id"),
        ([HEADER + ",unit", ROW + ",decibel"], r"row 2: unit decibel does not fit accuracy"),
        ([HEADER + ",unit", ROW + ",points"], r"row 2: unknown unit 'points'"),
        ([HEADER + ",direction", ROW + ",lower"], r"row 2: direction 'lower', but accuracy"),
        ([HEADER + ",specialist_normalised", ROW + ",62"], r"row 2: specialist_normalised is 62"),
        ([HEADER + ",n_instances", ROW + ",0"], r"row 2: n_instances is 0"),
        ([HEADER + ",n_instances", ROW + ",many"], r"row 2: n_instances is 'many', not a whole"),
        ([HEADER + ",specialst_model", ROW + ",X"], r"row 2: unknown column 'specialst_model'"),
        ([HEADER + ",title", ROW + ",X"], r"row 1 names column title twice"),
        (["title,metric_id", "X,accuracy"], r"row 1 has no column task_id"),
        ([HEADER, ',Audio,Comprehension,"Door Slam'], r"is not valid CSV"),
        ([HEADER, ROW.replace("audio.comprehension.door-slam", "")], r"row 2: no task_id"),
        ([], r"row 1 has no column task_id"),
    ],
)  # fmt: skip
def test_broken_files_name_row_and_fault(
    file: Callable[..., Path], lines: list[str], message: str
) -> None:
    path = file(*lines)
    with pytest.raises(UserError, match=message) as refused:
        load_catalogue([path])
    assert path.name in refused.value.message
    assert refused.value.remedy


def test_a_unit_alone_does_not_rescale_the_specialist(file: Callable[..., Path]) -> None:
    mine = file("task_id,unit", "language.commonsense-reasoning,fraction")
    with pytest.raises(UserError, match=r"row 2: specialist_raw is 83.33, outside 0..1"):
        load_catalogue([mine])


def test_absent_unreadable_and_malformed_files(file: Callable[..., Path], tmp_path: Path) -> None:
    latin = tmp_path / "latin.csv"
    latin.write_bytes(f"{HEADER}\nx,y,z,caf\xe9,a,1\n".encode("latin-1"))
    for path, message in (
        (tmp_path / "absent.csv", "cannot be read"),
        (latin, "cannot be read"),
        (file("task = 1", name="flat.toml"), "no .*task.* tables"),
        (file("[[task]", name="open.toml"), "not valid TOML"),
        (file("[[task]]", "specialist_raw = 1", name="idless.toml"), r"\]\] 1: no task_id"),
    ):
        with pytest.raises(UserError, match=message) as refused:
            load_catalogue([path])
        assert path.name in refused.value.message


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"metric_id": "acuracy"}, "unknown metric 'acuracy'"),
        ({"specialist_raw": 101.0}, "outside 0..100"),
        ({"specialist_raw": math.nan}, "specialist_raw is nan"),
        ({"specialist_normalised": 60.0}, "but 83.33 maps to 83.33"),
        ({"specialist_normalised": None}, "no specialist_normalised"),
        ({"task_id": "language.causal-reasoning"}, "language.causal-reasoning occurs twice"),
        ({"aliases": "Causal-Reasoning"}, "the name 'Causal-Reasoning' means"),
        ({"direction": "lower"}, "accuracy is higher-is-better"),
        ({"modality": "nlp"}, "unknown modality 'nlp'"),
        ({"paradigm": "both"}, "unknown paradigm 'both'"),
        ({"unit": "points"}, "unknown unit 'points'"),
        ({"title": "?"}, "no title"),
    ],
)
def test_the_check_finds_what_is_wrong(
    catalogue: Catalogue, change: dict[str, object], message: str
) -> None:
    """Each defect, planted in the first task (Commonsense Reasoning, 83.33)."""
    first = pl.int_range(pl.len()) == 0
    broken = catalogue.tasks.with_columns(
        pl.when(first).then(pl.lit(value, dtype=catalogue.tasks.schema[column]))
        .otherwise(pl.col(column)).alias(column)
        for column, value in change.items()
    )  # fmt: skip
    problems = check_catalogue(Catalogue(tasks=broken, metrics=catalogue.metrics))
    assert any(message in problem for problem in problems), problems


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("unit", "points", "metric accuracy: unit 'points'"),
        ("direction", "up", "metric accuracy: direction 'up'"),
        ("map", "sigmoid", "metric accuracy: map 'sigmoid'"),
        ("payload", "words", "metric accuracy: payload 'words'"),
        ("threshold", 5.0, "metric accuracy: map identity with threshold 5.0"),
        ("minimum", 100.0, "metric accuracy: range 100.0..100.0"),
        ("aliases", "WER", "metric name 'wer' means several"),
        ("metric_id", "wer", "metric id wer occurs twice"),
    ],
)
def test_the_check_reads_the_metrics_too(
    catalogue: Catalogue, column: str, value: object, message: str
) -> None:
    own = pl.col("metric_id") == "accuracy"
    metrics = catalogue.metrics.with_columns(
        pl.when(own)
        .then(pl.lit(value, dtype=catalogue.metrics.schema[column]))
        .otherwise(pl.col(column))
        .alias(column)
    )
    tasks = catalogue.tasks.clear()
    problems = check_catalogue(Catalogue(tasks=tasks, metrics=metrics))
    assert any(message in problem for problem in problems), problems
