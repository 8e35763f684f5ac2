"""What is told of a night, without Prefect: tables, summary, alerts to a real receiver, the state of
the published results, and its metrics as a Prometheus parser reads them."""

from __future__ import annotations

import csv
import json
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import duckdb
import pytest
from prometheus_client.parser import text_string_to_metric_families

from flows.cli.ops import FRESH, NOTHING_PUBLISHED, STALE, show_status
from flows.options import IngestReport, RunReport, ScoreReport
from tasks.catalog import load_catalogue
from tasks.errors import UserError
from tasks.report import night
from tasks.report.alert import failure_alert, night_alert, post
from tasks.report.past_results import import_past_results
from tasks.report.status import prometheus, read_status, seconds_of
from tasks.storage import Store
from tasks.warehouse import RunInfo, StageRun, build, connect
from tests.conftest import Bench
from tests.test_levels import TWO_MODALITIES, catalogue_of

STAGES = (StageRun("ingest", 1.5, 3, 1, 30, 0), StageRun("score", 0.5, 2, 4, 20, 1))
AWKWARD = 'a "quoted"\\ | name\n<b>'


def report() -> RunReport:
    scored = {"new": 2, "predictions changed": 3}
    return RunReport(
        "run",
        "store",
        ingest=[IngestReport("m", {"new": 2, "changed": 1, "unchanged": 4}, 30, 2, ["m: broken"])],
        scores=[
            ScoreReport("m", scored, 7, 1, {"t": "no references"}, 50, 1.25, ["m: t: crashed"]),
            ScoreReport("idle", unchanged=5),
        ],
        seconds={"ingest": 1.0, "score": 2.0},
    )


def test_rescored_says_why_and_stages_say_what() -> None:
    first, idle = night.rescored_table(report().scores)
    assert first["why"] == "3 predictions changed, 2 new"
    assert (first["tasks scored"], first["unchanged"], first["removed"]) == (5, 7, 1)
    assert (first["without score"], first["instances"], first["failures"]) == (1, 50, 1)
    assert idle["why"] == "nothing changed"
    assert report().stages == [
        StageRun("ingest", 1.0, tasks=3, unchanged=4, instances=30, failures=1),
        StageRun("score", 2.0, tasks=5, unchanged=12, instances=50, failures=1),
    ]
    (source,) = night.ingested_table(report().ingest)
    assert (source["files new"], source["rows in quarantine"], source["failures"]) == (2, 2, 1)


def test_summary_puts_failures_first_and_takes_any_name_for_text() -> None:
    fell = night.Regression(AWKWARD, 2, None, 50.0)
    standing = night.Standing(regressions=[fell], refused=3, causes=["the catalogue changed"])
    text = night.summary("r", "s", ["one | broke"], report().scores, STAGES, standing)
    heads = [line for line in text.splitlines() if line.startswith("#")]
    assert heads == [
        "# Night r",
        "## Failures",
        "## Levels that fell",
        "## Scored again",
        "## Stages",
    ]
    assert "- one \\| broke" in text
    assert '- a "quoted"\\\\ \\| name &lt;b&gt;: level 2 is gone (was 50.00)' in text
    assert "Since the run before, the catalogue changed." in text
    rows = [line for line in text.splitlines() if line.startswith("| m |")]
    assert rows == ["| m | 5 | 3 predictions changed, 2 new | 50 |"]
    quiet = night.summary("r", "s", [], [], STAGES, night.Standing())
    assert "no failure" in quiet
    assert "Failures" not in quiet
    assert "no prediction, reference or metric changed" in quiet


class Results:
    """A store whose results are imported figures, published run by run."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.store = folder, Store(str(folder / "store"))
        self.catalogue = catalogue_of(folder, TWO_MODALITIES)

    def publish(self, run: str, scores: dict[str, tuple[float, float]], **more: Any) -> None:
        """Publishes an image comprehension and an image generation figure of each model."""
        path = self.folder / "figures.csv"
        with open(path, "w", newline="") as file:
            lines = csv.writer(file)
            lines.writerow(["task_id", "model", "raw_score"])
            for model, figures in scores.items():
                tasks = ("image.comprehension.ic1", "image.generation.ig1", "language.none")
                lines.writerows([t, model, f] for t, f in zip(tasks, (*figures, 1), strict=True))
        import_past_results(self.store, path, self.catalogue)
        build(self.store, self.catalogue, RunInfo.now(run, **more))


@pytest.fixture
def results(tmp_path: Path) -> Results:
    return Results(tmp_path)


def test_a_level_that_fell_since_the_run_before_is_found_once(results: Results) -> None:
    """Level 2 of m: image ((90 + 0) / 2 + 80) / 2 = 62.5, halved as there is no audio."""
    results.publish("one", {"m": (90, 80), "gone": (90, 80), "same": (90, 80)})
    assert night.read_standing(results.store).regressions == []
    results.publish("two", {"m": (90, 40), "same": (90, 80), AWKWARD: (90, 80)})
    standing = night.read_standing(results.store)
    fell = {(f.model, f.level): (f.score_before, f.score) for f in standing.regressions}
    assert fell["m", 2] == (31.25, 21.25)
    assert fell["gone", 2] == (31.25, None)
    assert {model for model, _ in fell} == {"m", "gone"}
    assert standing.causes == []
    results.publish("three", {"m": (90, 40), "same": (90, 80), AWKWARD: (90, 80)})
    assert night.read_standing(results.store).regressions == []
    with connect(results.store) as database:
        rows = database.execute(
            "SELECT model, change FROM level_changes WHERE board_id = 'A' AND level = 2 "
            "AND profile = 'corrected' AND aggregation = 'task_mean' AND change <> 0"
        ).fetchall()
    assert rows == []


def test_a_changed_catalogue_is_named_as_a_cause(results: Results) -> None:
    results.publish("one", {"m": (90, 80)})
    harder = [(*task[:4], 95.0) for task in TWO_MODALITIES]
    results.catalogue = catalogue_of(results.folder, harder)
    results.publish("two", {"m": (90, 80)})
    standing = night.read_standing(results.store)
    # Both wins are lost, and with them levels 3 and 4; level 2 asks for no specialist.
    assert {fall.level for fall in standing.regressions} == {3, 4}
    assert standing.causes == ["the catalogue (tasks or specialists) changed"]


def test_quarantine_is_counted_by_reason(results: Results) -> None:
    results.publish("one", {"m": (90, 80), "n": (1, 2)})
    standing = night.read_standing(results.store)
    assert standing.refused == sum(row["rows"] for row in standing.quarantine)
    assert {row["stage"] for row in standing.quarantine} == {"import"}
    assert len(standing.quarantine_rows) == standing.refused > 0
    assert all(row["source"] and row["reason"] for row in standing.quarantine_rows)
    assert [row["model"] for row in standing.coverage] == ["m", "n"]


def test_results_of_an_earlier_version_without_stages_are_taken_on(results: Results) -> None:
    results.publish("one", {"m": (90, 80)})
    with duckdb.connect(results.store.path("results.duckdb")) as database:
        database.execute("DROP TABLE run_stages")
    status = read_status(results.store)
    assert status is not None and status.stages == []
    results.publish("two", {"m": (90, 80)})
    with connect(results.store) as database:
        assert database.execute("SELECT count(*) FROM runs").fetchall() == [(2,)]
        kept = database.execute("SELECT run_id, stage FROM run_stages").fetchall()
    assert kept == [("two", "publish")]


def test_status_is_fresh_stale_or_nothing(
    results: Results, capsys: pytest.CaptureFixture[str]
) -> None:
    def code(max_age: str, as_metrics: bool = False) -> int:
        return show_status(results.store.url, max_age, as_json=True, as_metrics=as_metrics)

    assert code("26h") == NOTHING_PUBLISHED
    assert json.loads(capsys.readouterr().out)["state"] == "nothing published"
    results.publish("one", {"m": (90, 80)}, stages=STAGES)
    results.publish("two", {"m": (90, 80)})
    assert code("26h") == FRESH
    told = json.loads(capsys.readouterr().out)
    assert (told["state"], told["run_id"], told["tasks"]["scored"]) == ("fresh", "two", 2)
    # The run "two" had no stages but its publishing: the last of the others are those of "one".
    assert [(s["stage"], s["run_id"]) for s in told["stages"]] == [
        ("ingest", "one"),
        ("score", "one"),
        ("publish", "two"),
    ]
    assert told["failures"] == told["stale"] == 0
    assert told["regressions"] == []
    assert code("0s") == STALE
    assert code("0s", as_metrics=True) == FRESH
    later = read_status(results.store, datetime.now(UTC) + timedelta(hours=30))
    assert later is not None and 30 * 3600 <= later.age_seconds < 31 * 3600


def test_status_tells_what_fell_and_what_is_kept_though_it_is_old(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    def publish(run_id: str) -> None:
        bench.score("m")
        build(
            Store(bench.store), load_catalogue([bench.catalogue], base=False), RunInfo.now(run_id)
        )

    quiz, other = (
        bench.add_task(
            title, "accuracy", {0: "A", 1: "A"}, modality="image", paradigm="comprehension"
        )
        for title in ("Quiz", "Other")
    )
    for task_id in (quiz, other):
        bench.predict("m", task_id, {0: "A", 1: "A"})
    publish("one")
    bench.predict("m", quiz, {0: "A"})
    bench.write_prediction("m", other, '[{"id": 0, "pred')
    publish("two")
    assert show_status(bench.store, "26h", as_json=False, as_metrics=False) == FRESH
    shown = " ".join(capsys.readouterr().out.split())
    assert "m: level 2 fell to 37.50 (was 50.00)" in shown
    assert "1 kept of an earlier run" in shown
    status = read_status(Store(bench.store))
    assert status is not None
    assert "general_level_stale_tasks 1\n" in prometheus(status)
    assert f"general_level_levels_fallen {len(status.regressions)}\n" in prometheus(status)


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("45s", 45), ("30m", 1800), ("26h", 93600), ("1.5d", 129600)]
)
def test_spans_of_time(text: str, seconds: float) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "h", "-1h", "1 week", "26h30m", "nan"])
def test_what_is_no_span_of_time_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="no span of time"):
        seconds_of(text)


def test_metrics_are_what_prometheus_reads(results: Results) -> None:
    results.publish("one", {"m": (90, 80), AWKWARD: (45, 80)}, stages=STAGES)
    status = read_status(results.store)
    assert status is not None
    found = {
        (sample.name.removeprefix("general_level_"), *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(prometheus(status))
        for sample in family.samples
    }
    assert found["published",] == 1
    assert found["last_run_timestamp_seconds",] == pytest.approx(status.published_at.timestamp())
    assert found["stage_duration_seconds", "ingest"] == 1.5
    assert found["stage_failures", "score"] == 1
    assert found["tasks", "scored"] == 4
    assert found["quarantine_rows", "import"] > 0
    assert found["level_score", "2", "m"] == 31.25
    assert found["level_score", "2", AWKWARD] == 25.625
    assert found["stale_tasks",] == found["levels_fallen",] == 0
    (nothing,) = text_string_to_metric_families(prometheus(None))
    assert [sample.value for sample in nothing.samples] == [0]


@dataclass
class Receiver:
    """A real webhook on the loopback that answers as it is told."""

    answer: int = 204
    hang: threading.Event | None = None
    bodies: list[Any] = field(default_factory=list)
    url: str = ""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    told = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            told.bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            if told.hang is not None:
                told.hang.wait(60)
            self.send_response(told.answer)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    told.url = f"http://127.0.0.1:{server.server_address[1]}/services/5ECRET"
    yield told
    server.shutdown()
    server.server_close()


def test_alerts_are_posted_as_json_that_chats_read(receiver: Receiver) -> None:
    fell = night.Regression("m", 2, 21.25, 31.25)
    alert = night_alert("sftp://user:pw@host/store", "run", ["m: t: crashed"], [fell])
    assert alert is not None
    assert post(receiver.url, alert) is None
    (body,) = receiver.bodies
    assert body["event"] == "incomplete"
    assert body["store"] == "sftp://host/store"
    assert "1 failed, first: m: t: crashed" in body["text"]
    assert "m: level 2 fell to 21.25 (was 31.25)" in body["text"]
    assert body["regressions"] == [
        {"model": "m", "level": 2, "score": 21.25, "score_before": 31.25}
    ]
    assert "pw" not in json.dumps(body)
    assert night_alert("s", "run", [], []) is None
    only = night_alert("s", "run", [], [fell])
    assert only is not None and only["event"] == "regressed"
    died = failure_alert("s", "nightly s", "Crashed", "no s3://key:pw@bucket")
    assert (died["event"], "pw" in json.dumps(died)) == ("crashed", False)


def test_an_alert_that_is_not_taken_says_so_without_the_secret(receiver: Receiver) -> None:
    receiver.answer = 500
    assert post(receiver.url, {}) == "the webhook answered 500"
    receiver.hang = threading.Event()
    problem = post(receiver.url, {}, timeout=0.5)
    receiver.hang.set()
    assert problem == "the webhook cannot be reached (TimeoutError)"
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        gone = f"http://127.0.0.1:{closed.getsockname()[1]}/5ECRET"
    problem = post(gone, {})
    assert problem == "the webhook cannot be reached (ConnectionRefusedError)"
    assert post("file:///etc/passwd", {}) == "the webhook is no http(s) URL"
