"""A call that cannot succeed is told so before Prefect is asked or started: nobody connects to the
configured server, and none is started."""

from __future__ import annotations

import os
import select
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tasks.lock import hold
from tasks.storage import Store
from tests.conftest import s3_server


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, with a dataset folder, a file, a broken catalogue, and an S3 bucket."""
    (tmp_path / "dataset").mkdir()
    (tmp_path / "file").write_text("no store")
    (tmp_path / "broken.csv").write_text("task_id,metric_id\nimage.new,no_such_metric\n")
    return tmp_path


def call(here: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT_", "GENERAL_LEVEL_"))}
    return subprocess.run(
        [sys.executable, "-c", "from flows.cli import main; main()", *arguments],
        env=kept | environment | {"PREFECT_HOME": str(here / "prefect")},
        cwd=here,
        text=True,
        capture_output=True,
        timeout=120,
    )


WRONG = [
    (["run", "--dataset", "absent"], "absent does not exist"),
    (["run", "--submissions", "absent"], "absent does not exist"),
    (["run", "--results", "absent.csv"], "absent.csv does not exist"),
    (["run", "--dataset", "dataset", "--catalogue", "absent.csv"], "absent.csv cannot be read"),
    (["run", "--dataset", "dataset", "--catalogue", "broken.csv"], "broken.csv"),
    (["run", "--dataset", "dataset", "--store", "file"], "file"),
    (["run", "--dataset", "dataset", "--store", "held"], "is in use by run another"),
    (["run", "--dataset", "s3://bench/absent"], "s3://bench/absent does not exist"),
    (["run", "--dataset", "dataset", "--store", "s3://no-bucket/x"], "bucket of s3://no-bucket/x"),
    (["ingest", "--results", "absent.csv", "--dataset", "dataset"], "absent.csv does not exist"),
    (["score", "--catalogue", "absent.csv"], "absent.csv cannot be read"),
    (["publish", "--catalogue", "absent.csv"], "absent.csv cannot be read"),
]


# With a server configured and without one, by turns: what is looked at before is the same.
@pytest.mark.parametrize(
    ("arguments", "told", "configured"),
    [(*call, n % 2 == 0) for n, call in enumerate(WRONG)],
    ids=[" ".join(arguments) for arguments, _ in WRONG],
)
def test_a_wrong_call_is_told_before_there_is_a_server(
    here: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], told: str, configured: bool
) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        s3_server(monkeypatch, "bench"),
        hold(Store(str(here / "held")), "another"),
    ):
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/api"
        done = call(here, *arguments, **({"PREFECT_API_URL": url} if configured else {}))
        assert done.returncode == 1, done.stdout + done.stderr
        assert told in " ".join(done.stderr.split())
        assert "Traceback" not in done.stderr
        assert select.select([listener], [], [], 0)[0] == []
        assert not (here / "prefect" / "prefect.db").exists()


def test_a_right_call_asks_the_configured_server(here: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/api"
        done = call(here, "run", "--dataset", "dataset", PREFECT_API_URL=url)
        assert "does not answer" in done.stderr
        assert select.select([listener], [], [], 0)[0] == [listener]
        assert not (here / "store" / "lock.json").exists()
