"""The flows against a real Prefect server: they run there, their runs are recorded, and the
second run does nothing."""

from __future__ import annotations

import json
import shutil
import socket
import ssl
import time

import httpx
import pytest
from prefect.settings import PREFECT_API_SSL_CERT_FILE

from flows import runtime
from flows.nightly import nightly
from tasks.storage import Store
from tasks.warehouse import connect

pytestmark = pytest.mark.server


def levels(store: str) -> dict[str, tuple]:
    with connect(Store(store)) as database:
        rows = database.execute(
            "SELECT model, level_2, level_3, level_4, level_5 FROM leaderboards "
            "WHERE board_id = 'A' AND profile = 'corrected' AND aggregation = 'modality_mean'"
        ).fetchall()
    return {row[0]: row[1:] for row in rows}


@pytest.fixture
def filled(bench):
    for modality, paradigm in (("image", "comprehension"), ("image", "generation")):
        task_id = bench.add_task(
            f"Quiz {paradigm}",
            "accuracy",
            dict.fromkeys(range(4), "A"),
            modality=modality,
            paradigm=paradigm,
            specialist=60.0,
        )
        bench.predict("good", task_id, dict.fromkeys(range(4), "A"))
        bench.predict("bad", task_id, {0: "A"})
    task_id = bench.add_task("Words", "accuracy", dict.fromkeys(range(4), "A"), specialist=75.0)
    bench.predict("good", task_id, {0: "A", 1: "A", 2: "A", 3: "B"})
    return bench


def stages_on_record(server: str) -> set[str]:
    """First words of the completed task runs of the nightly flow run, as a dashboard shows them."""
    runs = httpx.post(f"{server}/flow_runs/filter", json={}).json()
    nights = [run["id"] for run in runs if run["name"].startswith("nightly")]
    assert nights
    wanted = {"flow_runs": {"id": {"any_": nights}}}
    stages: set[str] = set()
    deadline = time.monotonic() + 20  # task runs are recorded a moment after they end
    while time.monotonic() < deadline and not stages >= {"ingest", "score", "build"}:
        found = httpx.post(f"{server}/task_runs/filter", json=wanted).json()
        stages = {run["name"].split()[0] for run in found if run["state_type"] == "COMPLETED"}
        time.sleep(0.2)
    return stages


def test_nightly_runs_on_a_real_server_and_again_without_work(filled, server):
    report = nightly(filled.store, **filled.arguments())
    assert report.failures == []
    assert report.scored_tasks == 5
    # good: both image tasks 100, language 75 at its specialist's 75. bad: 25 and 25, no win.
    assert levels(filled.store) == {
        "good": pytest.approx((100.0, 100.0, 100.0, 75.0)),
        "bad": pytest.approx((25.0, 0.0, 0.0, 0.0)),
    }
    assert stages_on_record(server) == {"ingest", "score", "build"}
    artifacts = httpx.post(f"{server}/artifacts/filter", json={}).json()
    assert "leaderboard" in {artifact["key"] for artifact in artifacts}

    again = nightly(filled.store, **filled.arguments())
    assert again.scored_tasks == 0
    assert levels(filled.store)["good"] == pytest.approx((100.0, 100.0, 100.0, 75.0))


def test_models_whose_names_do_not_fit_are_refused_and_the_others_scored(filled, server):
    good = filled.submissions / "good"
    for folder, name in (("long", "n" * 300), ("wide", "\u6a21" * 40), ("fits", "\u6a21" * 22)):
        shutil.copytree(good, filled.submissions / folder)
        (filled.submissions / folder / "model.json").write_text(json.dumps({"name": name}))
    shutil.copytree(good, filled.submissions / "bytes\udcff")
    (filled.submissions / "odd").mkdir()
    (filled.submissions / "odd/model.json").mkdir()
    past = filled.root / (60 * "\u7d50" + ".csv")
    names = ("Past", "p" * 300)
    past.write_text(
        "task_id,model,raw_score\n" + "".join(f"language.words,{n},50\n" for n in names)
    )
    report = nightly(filled.store, **filled.arguments(), workers=2, results=[str(past)])
    assert len(report.failures) == 3
    assert sum("the name is too long" in failure for failure in report.failures) == 2
    assert sum("not valid Unicode" in failure for failure in report.failures) == 1
    assert levels(filled.store).keys() == {"good", "bad", "\u6a21" * 22, "Past"}
    (told,) = report.imports
    assert (told["models"], told["refused"]) == (1, 1)
    with connect(Store(filled.store)) as database:
        reasons = database.execute("SELECT reason FROM quarantine WHERE stage = 'import'")
        assert "too long" in reasons.fetchall()[0][0]


def test_one_changed_prediction_file_scores_one_task(filled, server):
    nightly(filled.store, **filled.arguments())
    filled.predict("bad", "image.generation.quiz-generation", dict.fromkeys(range(4), "A"))
    report = nightly(filled.store, **filled.arguments())
    assert {r.model: dict(r.scored) for r in report.scores if r.scored} == {
        "bad": {"predictions changed": 1}
    }
    assert levels(filled.store)["bad"] == pytest.approx((62.5, 50.0, 0.0, 0.0))


def test_bad_input_is_told_and_the_rest_is_scored(filled, server):
    """Truncated JSON, an unknown task and an empty folder beside good files."""
    filled.write_prediction(
        "good",
        "image.comprehension.quiz-comprehension",
        '[{"id": 0, "prediction": "A"}, {"id": 1, "pre',
    )
    filled.write_prediction("good", "image.comprehension.no-such-task", "[]")
    (filled.submissions / "empty").mkdir()
    report = nightly(filled.store, **filled.arguments())
    assert set(levels(filled.store)) >= {"good", "bad"}
    assert levels(filled.store)["good"][0] == pytest.approx((25.0 + 100.0) / 2)
    store = Store(filled.store)
    reasons = store.read_table("quarantine", "ingest", "good.parquet").to_pylist()
    told = " ".join(f"{row['source']}: {row['reason']}" for row in reasons)
    assert "quiz-comprehension" in told
    assert "no-such-task" in told
    assert report.scored_tasks == 5


def test_a_port_that_another_process_takes_first_is_left_to_it(prefect_home, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as other:
        ports = [runtime.free_port(), other.getsockname()[1]]
        monkeypatch.setattr(runtime, "free_port", ports.pop)
        with runtime._own_server() as url:
            assert httpx.get(f"{url}/health", timeout=30).status_code == 200
    assert ports == []


def test_clients_of_a_server_without_tls_load_one_certificate(server):
    assert server.startswith("http://")
    context = ssl.create_default_context(cafile=PREFECT_API_SSL_CERT_FILE.value())
    assert len(context.get_ca_certs()) == 1
