"""Hostile input, made by rule: what the fuzz tests and `benchmarks/fuzz.py` throw at the pipeline.

`TRIED` counts every input by kind, so that a run can say how many there were.
"""

from __future__ import annotations

import copy
import errno
import io
import json
import math
import os
import random
import shutil
import tarfile
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import numpy as np
from fsspec import AbstractFileSystem, register_implementation
from fsspec.implementations.local import LocalFileSystem
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from PIL import Image

from tasks.ingest.payload import Unreadable, structure
from tasks.schema import Manifest
from tasks.score import read_task_scores
from tasks.storage import Store
from tasks.warehouse import connect
from tests.conftest import Bench

T = TypeVar("T")

#: Inputs tried in this process, by kind.
TRIED: Counter[str] = Counter()

#: How much longer than in CI each test looks: `HYPOTHESIS_PROFILE=long`.
_LONGER = {"long": 10}.get(os.environ.get("HYPOTHESIS_PROFILE", ""), 1)


def fuzz(examples: int) -> Callable[[T], T]:
    """Decorator: so many examples in CI, many more in the long profile."""
    return settings(
        max_examples=examples * _LONGER,
        deadline=None,
        # Not shrunk, which would take as long as all the rest: an example is told whole.
        phases=[Phase.explicit, Phase.reuse, Phase.generate],
        report_multiple_bugs=False,
        print_blob=True,
        suppress_health_check=[
            HealthCheck.too_slow,
            HealthCheck.data_too_large,
            HealthCheck.filter_too_much,
            HealthCheck.function_scoped_fixture,
        ],
    )


#: Names and texts that some program, somewhere, has taken for something else.
HOSTILE_TEXTS = [
    "'; DROP TABLE levels; --",
    "'; COPY (SELECT 1) TO 'pwned.csv'; --",
    "\"; ATTACH 'pwned.db'; --",
    "$$ || getenv('HOME') || $$",
    "<script>pwned()</script>",
    '"><img src=x onerror=pwned()>',
    "</script><script>pwned()</script>",
    "{{ 7 * 7 }}{% raw %}",
    '=HYPERLINK("http://pwned")',
    "| a | b |\n|---|",
    "\\input{pwned} $x_1$ %&#_{}~^",
    "[red]bold[/red][/]",
    "../../pwned",
    "..\\..\\pwned",
    "/etc/passwd",
    "C:\\pwned",
    "CON",
    "nul.txt",
    ".hidden",
    "-rf",
    "a\x00b",
    "a\nb\r\tc",
    "\x1b[2Jansi",
    "e\u0301 \u00e9",
    "\u202egnp.exe",
    "\ufeffbom",
    "\U0001f4a9\U000e0001",
    "\ud800",
    "%2e%2e%2f",
    "*?[a]{b}",
    "s3://pwned/x",
    "http://127.0.0.1:1/x",
    "file:///etc/passwd",
    " ",
    "",
    "\u3000",
    "NaN",
    "null",
    "1e400",
]

#: Keys that some reader looks for, so that values of a wrong kind land where they hurt.
_KEYS = [
    *("$file", "$files", "path", "url", "member", "row", "key", "id", "prediction", "output"),
    *("mask", "masks", "counts", "size", "bbox", "boxes", "label", "labels", "score", "scores"),
    *("segments_info", "category_id", "keypoints", "trajectory", "frames", "points", "features"),
    *("text", "answer", "0", "", "__proto__", "tube_start_frame", "tube_end_frame", "frame_count"),
]

texts = st.sampled_from(HOSTILE_TEXTS) | st.text(max_size=8)

numbers = st.one_of(
    st.integers(-3, 3),
    st.sampled_from([2**31, 2**53 + 1, 2**63, -(2**63) - 1, 2**64, 10**25, 10**400, -(10**400)]),
    st.floats(),
    st.sampled_from([float("nan"), float("inf"), -0.0, 1e-320, 1e308, 0.5]),
)

scalars = st.one_of(st.none(), st.booleans(), numbers, texts)

values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(_KEYS) | texts, inner, max_size=4)
    ),
    max_leaves=10,
)


@st.composite
def files_named(draw: st.DrawFn) -> Any:
    """What stands for a file once ingest has found it, in a wrong shape."""
    where = draw(
        values
        | st.fixed_dictionaries(
            {},
            optional={
                "path": texts | scalars,
                "url": texts | scalars,
                "member": texts | scalars,
            },
        )
    )
    return draw(st.sampled_from([{"$file": where}, {"$files": where}, {"$files": [where]}]))


@st.composite
def nested(draw: st.DrawFn) -> Any:
    """A value inside many lists or objects, up to as deep as a reader lets it through."""
    value = draw(scalars)
    key = draw(st.sampled_from(_KEYS))
    for _ in range(draw(st.sampled_from([3, 30, 200, 250, 254, 255, 260, 400]))):
        value = [value] if key == "" else {key: value}
    return value


def _places(value: Any) -> list[tuple[Any, Any]]:
    """(container, key or index) of every node below a value."""
    found: list[tuple[Any, Any]] = []
    waiting = [value]
    while waiting:
        node = waiting.pop()
        items = (
            node.items()
            if isinstance(node, dict)
            else enumerate(node)
            if isinstance(node, list)
            else ()
        )
        for key, inner in items:
            found.append((node, key))
            waiting.append(inner)
    return found


@st.composite
def mutated(draw: st.DrawFn, good: Any) -> Any:
    """A good value with one to three of its nodes gone, doubled, swapped, or turned into others."""
    value = copy.deepcopy(good)
    for _ in range(draw(st.integers(1, 3))):
        places = _places(value)
        if not places:
            return draw(values)
        node, key = places[draw(st.integers(0, len(places) - 1))]
        how = draw(
            st.sampled_from(["value", "value", "file", "gone", "double", "scalar", "number"])
        )
        if how == "gone":
            del node[key]
        elif how == "double" and isinstance(node, list):
            node.insert(key, copy.deepcopy(node[key]))
        elif how == "file":
            node[key] = draw(files_named())
        elif how == "number":
            node[key] = draw(numbers)
        else:
            node[key] = draw(values if how == "value" else scalars)
    return value


def hostile(good: Any) -> st.SearchStrategy[Any]:
    """Values in place of a good one: any, deep ones, files that are none, and the good one mutated."""
    return st.one_of(mutated(good), mutated(good), values, files_named(), nested())


def stored(value: Any) -> str | None:
    """The document that ingest would store of a value; None when it refuses the row."""
    try:
        return structure(value).json
    except Unreadable:
        return None


# --- a dataset and a submission

GOOD = ("0", "1", "2", "3")


@dataclass(frozen=True, eq=False)
class Kind:
    """A task that is attacked: its metric, where it lies, and answers that are right."""

    title: str
    metric_id: str
    modality: str
    paradigm: str
    answer: Any

    @property
    def folder(self) -> str:
        place = "nlp" if self.modality == "language" else f"{self.modality}/{self.paradigm}"
        return f"{place}/{self.title.lower()}"

    @property
    def task_id(self) -> str:
        place = "language" if self.modality == "language" else f"{self.modality}.{self.paradigm}"
        return f"{place}.{self.title.lower()}"


_BOXES = [{"bbox": [0, 0, 4, 4], "label": "a", "score": 0.5}]
KINDS = (
    Kind("Words", "accuracy", "language", "language", "A"),
    Kind("Labels", "micro_f1", "language", "language", "a, b"),
    Kind("Numbers", "mae", "language", "language", 1.5),
    Kind("Masks", "dice", "image", "comprehension", [[1, 0], [0, 1]]),
    Kind("Boxes", "ap", "image", "comprehension", _BOXES),
    Kind("Pictures", "psnr", "image", "generation", "0.png"),
    Kind("Frames", "psnr", "video", "generation", "frames"),
    Kind("Features", "clip_score", "video", "comprehension", {"path": "0.npy", "row": 0}),
)
#: The task that stands beside them, and what is to come of it whatever they hold.
SAFE = Kind("Safe", "accuracy", "language", "language", "A")
SAFE_SCORE = 75.0


class World:
    """A dataset, a submission of the model `model`, and what lies around them, in an empty folder."""

    def __init__(self, root: Path) -> None:
        self.bench = Bench(root)
        self.root = root
        for kind in (*KINDS, SAFE):
            self.bench.add_task(
                kind.title,
                kind.metric_id,
                dict.fromkeys(GOOD, kind.answer),
                modality=kind.modality,
                paradigm=kind.paradigm,
            )
            self.media(self.bench.dataset / kind.folder)
            self.predict(kind, [{"id": i, "prediction": kind.answer} for i in GOOD])
            self.media(self.bench.submissions / "model" / kind.folder)
        self.predict(SAFE, [{"id": i, "prediction": "ABAA"[int(i)]} for i in GOOD])
        (root / "beside").mkdir()
        self.media(root / "beside")
        self._before = self._listing()

    @classmethod
    def standing(cls, root: Path) -> World:
        """The one that another process made there."""
        world = cls.__new__(cls)
        world.bench, world.root = Bench(root), root
        return world

    def media(self, folder: Path) -> None:
        """Good files, and those that are none: what hostile rows name."""
        (folder / "frames").mkdir(parents=True, exist_ok=True)
        for path in (folder / "0.png", folder / "frames/0.png"):
            Image.new("RGB", (12, 8), "red").save(path)
        np.save(folder / "0.npy", np.eye(4))
        (folder / "cut.png").write_bytes((folder / "0.png").read_bytes()[:60])
        (folder / "empty.npy").write_bytes(b"")
        np.save(folder / "objects.npy", np.array([{}], dtype=object), allow_pickle=True)
        (folder / "outside").symlink_to(self.root / "beside")
        (folder / "outside.png").symlink_to(self.root / "beside/0.png")
        (folder / "ring").symlink_to("ring")

    def pack(self, how: str, more: list[tuple[str, bytes, str, str]]) -> None:
        """The submission as one archive, with more members behind its own."""
        folder = self.bench.submissions / "model"
        own = [
            (path.relative_to(folder).as_posix(), path.read_bytes(), "file", "")
            for path in sorted(folder.rglob("*"))
            if path.is_file() and not path.is_symlink()
        ]
        packed = zipped(own + more) if how == "zip" else tarred(own + more, how)
        archive = self.bench.submissions / ("model.zip" if how == "zip" else "model.tar.gz")
        archive.write_bytes(packed)
        shutil.rmtree(folder)
        self.bench.sources = lambda model: (self.bench.dataset, archive)

    def predict(self, kind: Kind, rows: list[Any]) -> None:
        self.bench.write_prediction("model", kind.task_id, json.dumps(rows))

    def path(self, side: str, kind: Kind) -> Path:
        """The file that holds the task's rows on the side of the references or predictions."""
        if side == "references":
            return self.bench.dataset / kind.folder / "annotation.json"
        return self.bench.submissions / "model" / kind.folder / "prediction.json"

    def _listing(self) -> dict[str, tuple[int, int]]:
        return {
            str(path): (path.lstat().st_size, path.lstat().st_mtime_ns)
            for path in self.root.rglob("*")
            if path.is_file() and not path.is_relative_to(self.bench.store)
        }

    def arrived(self) -> None:
        """To call when all that arrives lies there."""
        self._before = self._listing()

    def check_score(self) -> dict[str, dict[str, Any]]:
        """Ingests and scores; the scores by task, which hold together and leave the safe task alone."""
        rows = {task: r for (task, p), r in self.bench.score().items() if p == "corrected"}
        assert rows[SAFE.task_id]["raw_score"] == SAFE_SCORE
        for row in rows.values():
            if row["status"] == "scored":
                counts = [row[f"n_{s}"] for s in ("scored", "missing", "unreadable", "duplicate")]
                assert sum(counts) == row["n_instances"], row
                assert math.isfinite(row["raw_score"]) or row["raw_score"] == math.inf, row
        assert self._listing() == self._before, "something outside the store was touched"
        return rows

    def check_published(self) -> None:
        """Publishes; the database opens, and its own checks held."""
        store = self.bench.publish()
        with connect(store) as database:
            found = database.execute(
                "SELECT raw_score FROM task_results WHERE task_id = ? AND profile = 'corrected' "
                "AND model = 'model'",
                [SAFE.task_id],
            ).fetchall()
            database.execute("SELECT count(*) FROM quarantine").fetchall()
        assert found == [(SAFE_SCORE,)]
        assert self._listing() == self._before, "something outside the store was touched"

    def statuses(self, kind: Kind) -> dict[str, str]:
        """Status of each instance of a task."""
        store = Store(self.bench.store)
        found: dict[str, str] = {}
        for row in (
            read_task_scores(store, "model").filter(task_id=kind.task_id).iter_rows(named=True)
        ):
            if row["profile"] == "corrected" and row["part"] is not None:
                part = store.read_table("scores", "model", "instances", row["part"])
                found |= {
                    r["instance_id"]: r["status"]
                    for r in part.to_pylist()
                    if r["task_id"] == kind.task_id and r["metric_id"] == kind.metric_id
                }
        return found

    def told(self, side: str, kind: Kind) -> list[dict[str, Any]]:
        """Rows of one file that were refused when it was read."""
        where = ("ingest-references", "references") if side == "references" else ("ingest", "model")
        try:
            table = Store(self.bench.store).read_table(
                "quarantine", where[0], f"{where[1]}.parquet"
            )
        except FileNotFoundError:
            return []
        return [row for row in table.to_pylist() if row["task_id"] == kind.task_id]

    def stored(self, side: str, kind: Kind) -> int:
        """Rows of one file that are stored."""
        where = ("references",) if side == "references" else ("predictions", "model")
        manifest = Store(self.bench.store).read_struct(Manifest, *where, "manifest.json")
        entry = None if manifest is None else manifest.tasks.get(kind.task_id)
        return 0 if entry is None else entry.rows


#: Paths of a row that name nothing that it may have.
_PATHS = [
    *("cut.png", "empty.npy", "objects.npy", "outside", "outside.png", "outside/0.png", "ring"),
    *("../words/0.png", "frames/../0.png", "absent.png", "frames", ".", "0.png/x", "0.png\x00.npy"),
    *("x" * 300, "/" * 5000, "prediction.json", "annotation.json", "\udcff.png", "~root/0.png"),
]


def rows_for(kind: Kind, side: str) -> st.SearchStrategy[str]:
    """One hostile row of a task's file, as JSON."""
    paths = st.sampled_from(_PATHS) | texts
    named = st.fixed_dictionaries({"path": paths}, optional={"row": scalars, "mask": values})
    answers = st.one_of(hostile(kind.answer), hostile({"path": kind.answer}), paths, named)
    ids = st.sampled_from(["0", 1, 7, 7.0, "x", None, True, [], 10**400]) | scalars
    field = "output" if side == "references" else "prediction"
    rows = st.one_of(
        st.fixed_dictionaries({"id": ids, field: answers}),
        st.fixed_dictionaries({"id": ids, field: answers}).map(lambda row: row | {"extra": row}),
        st.fixed_dictionaries(
            {}, optional={"id": ids, field: answers, "prediction_final": answers}
        ),
        values,
    )
    broken = [
        '{"id": 8, "id": 9, "FIELD": 1, "FIELD": 2}',
        '{"id": 8, "FIELD": ' + "[" * 2000 + "]" * 2000 + "}",
        '{"id": 8, "FIELD": ' + "9" * 5000 + "}",
        '{"id": 8, "FIELD": -1e999}',
        '{"id": "\\ud800", "FIELD": "\\udfff"}',
    ]
    return rows.map(json.dumps) | st.sampled_from([row.replace("FIELD", field) for row in broken])


# --- files, trees and archives


@st.composite
def damaged(draw: st.DrawFn, good: bytes) -> bytes:
    """A file that was a good one: cut, overwritten, in another encoding, or of something else."""
    how = draw(st.sampled_from(["cut", "overwritten", "encoded", "wrapped", "else", "repeated"]))
    text = good.decode()
    if how == "cut":
        return good[: draw(st.integers(0, len(good)))]
    if how == "overwritten":
        changed = bytearray(good)
        for _ in range(draw(st.integers(1, 4))):
            changed[draw(st.integers(0, len(good) - 1))] = draw(st.integers(0, 255))
        return bytes(changed)
    if how == "encoded":
        return text.encode(draw(st.sampled_from(["utf-16", "utf-16-be", "utf-32", "utf-8-sig"])))
    if how == "wrapped":
        around = [
            '{"data": %s}',
            '{"task": 1, "data": [%s]}',
            '{"a": %s}',
            "%s %s",
            "\x00%s",
            "//c\n%s",
        ]
        return draw(st.sampled_from(around)).replace("%s", text).encode()
    if how == "repeated":
        return b"[" + b",".join([good[1:-1]] * draw(st.integers(2, 4))) + b"]"
    return draw(st.binary(max_size=60) | values.map(lambda v: json.dumps(v).encode()))


#: Places in an archive or a folder that are not a task's.
_MEMBERS = [
    "{}/prediction.json",
    "../{}/prediction.json",
    "/{}/prediction.json",
    "../../../../../../../../tmp/pwned/{}/prediction.json",
    "{}\\..\\..\\prediction.json",
    "C:/{}/prediction.json",
    "./{}/./prediction.json",
    "{}/PREDICTION.JSON",
    "{}/prediction.json/",
    "{}//prediction.json",
    "nlp/words/prediction.json\x00.txt",
    "nlp/WORDS/prediction.json",
    "nlp/w\u00f6rds/prediction.json",
    "nlp/wo\u0308rds/prediction.json",
    "nlp/con/prediction.json",
    "nlp/aux.zip/prediction.json",
    "nlp/safe/prediction.json",
    "nlp/safe/x/prediction.json",
    "nlp/words/0.png",
    "nlp/words/inner.zip",
    "model.json",
    "\udcff/prediction.json",
    "x" * 300 + "/prediction.json",
    "/".join(["d"] * 200) + "/prediction.json",
]

#: What a member of a tar is, beside a plain file.
_TYPES = {
    "file": tarfile.REGTYPE,
    "link": tarfile.SYMTYPE,
    "hard link": tarfile.LNKTYPE,
    "device": tarfile.CHRTYPE,
    "block": tarfile.BLKTYPE,
    "pipe": tarfile.FIFOTYPE,
    "folder": tarfile.DIRTYPE,
    "sparse": tarfile.GNUTYPE_SPARSE,
    "unknown": b"Z",
}
_TARGETS = ["/etc/passwd", "../../../beside/0.png", "0.png", "loop", "nlp/words/loop", "", "\x00"]


@st.composite
def members(draw: st.DrawFn) -> list[tuple[str, bytes, str, str]]:
    """Members of an archive: name, content, type and what it links to."""
    named = st.builds(
        str.format, st.sampled_from(_MEMBERS), st.sampled_from([k.folder for k in KINDS])
    )
    content = st.sampled_from([b"", b"[]", b'[{"id": "0", "prediction": "A"}]', b"\x00" * 100])
    one = st.tuples(
        named | texts, content, st.sampled_from(list(_TYPES)), st.sampled_from(_TARGETS)
    )
    return draw(st.lists(one, max_size=8))


def zipped(found: list[tuple[str, bytes, str, str]]) -> bytes:
    """A zip of them; links as Unix writes them."""
    buffer = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        warnings.simplefilter("ignore")  # names that occur twice are meant
        for name, content, kind, target in found:
            info = zipfile.ZipInfo("x")
            info.filename = name.encode("utf-8", "replace").decode()
            if kind == "link":
                info.create_system, info.external_attr, content = 3, 0o120777 << 16, target.encode()
            archive.writestr(info, content)
    return buffer.getvalue()


def tarred(found: list[tuple[str, bytes, str, str]], packed: str) -> bytes:
    """A tar of them."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=f"w:{packed}") as archive:  # type: ignore[call-overload]
        for name, content, kind, target in found:
            info = tarfile.TarInfo(name.replace("\ud800", "\udc80") or "x")
            info.type, info.linkname = _TYPES[kind], target
            info.size = len(content) if kind in ("file", "unknown") else 0
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


# --- a storage that fails and lies


class LyingFileSystem(AbstractFileSystem):
    """Real files behind `lying://`, of which some calls fail, and some answers are wrong."""

    protocol = "lying"
    cachable = False
    #: Share of the calls that go wrong, the ways in which they may, and how many did.
    share: ClassVar[float] = 0.0
    ways: ClassVar[tuple[str, ...]] = ()
    went_wrong: ClassVar[int] = 0
    rng: ClassVar[random.Random] = random.Random(0)

    _files: ClassVar[LocalFileSystem] = LocalFileSystem()

    @classmethod
    def goes_wrong(cls, *ways: str) -> str:
        """The way in which this call goes wrong, or none. Raises what a storage may."""
        possible = [way for way in cls.ways if way in ways or way in _ERRORS]
        if not possible or cls.rng.random() >= cls.share:
            return ""
        cls.went_wrong += 1
        way = cls.rng.choice(possible)
        if way in _ERRORS:
            raise _ERRORS[way]
        return way

    def ls(self, path: str, detail: bool = True, **kwargs: Any) -> list[Any]:
        found = self._files.ls(self._strip_protocol(path), detail=True)
        # Not of media: a frame that is not there when its row is read is told so, and left out.
        if self.goes_wrong("stale") == "stale" and found and not path.endswith("frames"):
            found.pop(self.rng.randrange(len(found)))
        return found if detail else [entry["name"] for entry in found]

    def info(self, path: str, **kwargs: Any) -> dict[str, Any]:
        self.goes_wrong()
        return self._files.info(self._strip_protocol(path))

    def _open(self, path: str, mode: str = "rb", **kwargs: Any) -> _LyingFile:
        self.goes_wrong()
        return _LyingFile(Path(str(self._strip_protocol(path))).read_bytes())


class _LyingFile(io.BytesIO):
    """A file whose storage says how long it is, and then may give less of it."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.size = len(data)

    def read(self, size: int | None = -1) -> bytes:
        data = super().read(size)
        if LyingFileSystem.goes_wrong("short", "ends") and data:
            kept = len(data) // 2 if "short" in LyingFileSystem.ways else 0
            self.seek(kept - len(data), io.SEEK_CUR)
            return data[:kept]
        return data


_ERRORS = {
    "error": OSError(errno.EIO, "input/output error"),
    "timeout": TimeoutError("timed out"),
    "cut": ConnectionResetError("connection reset by peer"),
}
WAYS = (*_ERRORS, "stale", "short", "ends")
register_implementation("lying", LyingFileSystem, clobber=True)
