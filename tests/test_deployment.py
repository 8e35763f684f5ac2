"""The deployment as the runbook has it: a real Prefect server and worker, started and stopped by the
units' own commands in the environment of the example file; nights that complete, fail, are stopped and
are killed; and the dashboard in a real browser."""

from __future__ import annotations

import configparser
import html
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, TypeVar

import httpx
import psutil
import pytest
from prefect.settings.models.flows import FlowsSettings

from benchmarks.faults import Inputs, figures
from flows.nightly import nightly
from flows.runtime import free_port
from tasks.lock import holder
from tasks.storage import Store
from tasks.warehouse import connect
from tests.conftest import Bench

pytestmark = [pytest.mark.server, pytest.mark.timeout(600)]

T = TypeVar("T")
CHECKOUT = Path(__file__).parent.parent
DEPLOYMENTS = CHECKOUT / "deployments"
DEPLOYMENT = "nightly/general-level-nightly"
SERVER, WORKER = "general-level-server", "general-level-worker"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


def until(found: Callable[[], T | None], what: str, seconds: float = 120) -> T:
    """What `found` returns once it is something; fails after so many seconds."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        value = found()
        if value:
            return value
        time.sleep(0.2)
    pytest.fail(f"{what}: not within {seconds:.0f} s")


class Site:
    """A host as the runbook sets it up, in a folder of its own."""

    def __init__(self, root: Path, webhook: str) -> None:
        self.root = root
        self.bench = Bench(root)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.running: dict[str, psutil.Popen] = {}
        lines = self._here((DEPLOYMENTS / "environment.example").read_text()).splitlines()
        assigned = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
        self.environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("PREFECT_", "AWS_"))},
            **assigned,
            "GENERAL_LEVEL_WEBHOOK": webhook,
            "PREFECT_WORKER_QUERY_SECONDS": "1",  # so that a test need not wait 15 s for a run
            "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",  # Prefect's smallest
        }

    def _here(self, text: str) -> str:
        for there, here in (
            ("/opt/general-level/.venv/bin", str(Path(sys.executable).parent)),
            ("/opt/general-level", str(CHECKOUT)),
            ("/var/lib/general-level", str(self.root)),
            ("4200", str(self.port)),
        ):
            text = text.replace(there, here)
        return text

    def start(self, name: str) -> None:
        """Starts what a systemd unit starts."""
        with open(self.log(name), "ab") as log:
            self.running[name] = psutil.Popen(
                shlex.split(self._unit(name)["ExecStart"]),
                env=self.environment,
                cwd=self.root,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def stop(self, name: str) -> None:
        """Stops a unit as systemd does: its own command, SIGTERM to all, SIGKILL to what is left."""
        main = self.running.pop(name)
        if "ExecStop" in self._unit(name):
            command = shlex.split(self._unit(name)["ExecStop"])
            environment = self.environment | {"MAINPID": str(main.pid)}
            subprocess.run(command, env=environment, check=True, timeout=60)
        processes = [*main.children(recursive=True), main]
        for process in processes:
            if process.is_running():
                process.terminate()
        _, alive = psutil.wait_procs(processes, timeout=60)
        for process in alive:
            process.kill()

    def _unit(self, name: str) -> configparser.SectionProxy:
        unit = configparser.ConfigParser(strict=False, interpolation=None)
        unit.optionxform = str  # type: ignore[assignment]
        unit.read_string(self._here((DEPLOYMENTS / f"{name}.service").read_text()))
        return unit["Service"]

    def log(self, name: str) -> Path:
        return self.root / f"{name}.log"

    def prefect(self, *arguments: str) -> str:
        """Runs a `prefect` command in the site's environment; fails with what it said."""
        done = subprocess.run(
            [str(Path(sys.executable).parent / "prefect"), "--no-prompt", *arguments],
            env=self.environment,
            cwd=CHECKOUT,
            capture_output=True,
            text=True,
            timeout=180,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def api(self, path: str, body: dict[str, Any] | None = None, method: str = "POST") -> Any:
        """What the server answers; it is asked again while its database is busy (503)."""

        def answer() -> httpx.Response | None:
            url = f"{self.url}/api/{path}"
            given = httpx.request(method, url, json=body or {}, timeout=30)
            return None if given.status_code == 503 else given

        given = until(answer, f"an answer of {path}")
        given.raise_for_status()
        return given.json() if given.content else None

    def start_night(self, **parameters: Any) -> str:
        """Triggers the deployment; the flow run's id."""
        # As `prefect deployment run` does, which takes seconds to load: `night` asks that.
        deployment = self.api(f"deployments/name/{DEPLOYMENT}", method="GET")["id"]
        run = {"parameters": self.catalogue() | parameters}
        return self.api(f"deployments/{deployment}/create_flow_run", run)["id"]

    def catalogue(self) -> dict[str, Any]:
        """Parameters that say which tasks there are."""
        return {"catalogue_files": [str(self.bench.catalogue)], "base_catalogue": False}

    def run(self, run_id: str) -> dict[str, Any]:
        (found,) = self.api("flow_runs/filter", {"flow_runs": {"id": {"any_": [run_id]}}})
        return found

    def ended(self, run_id: str) -> dict[str, Any]:
        """The flow run once it has ended, well or not."""

        def over() -> dict[str, Any] | None:
            run = self.run(run_id)
            over = run["state_type"] in {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}
            return run if over else None

        return until(over, f"end of flow run {run_id}")

    def artifacts(self, run_id: str) -> dict[str, dict[str, Any]]:
        wanted = {"artifacts": {"flow_run_id": {"any_": [run_id]}}}
        return {found["key"]: found for found in self.api("artifacts/filter", wanted)}

    def automations(self) -> dict[str, dict[str, Any]]:
        found = self.api("automations/filter")
        assert len({automation["name"] for automation in found}) == len(found)
        return {automation["name"]: automation for automation in found}

    def levels(self) -> dict[str, float]:
        with connect(Store(self.bench.store)) as database:
            return dict(database.execute("SELECT model, level_2 FROM leaderboard").fetchall())


class Webhook:
    """A real receiver of alerts, on the loopback."""

    secret = "/services/T0P-5ECRET"

    def __init__(self) -> None:
        self.alerts: list[dict[str, Any]] = []
        received = self.alerts

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                received.append(json.loads(body))
                self.send_response(204)
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}{self.secret}"


@pytest.fixture(scope="module")
def webhook() -> Iterator[Webhook]:
    receiver = Webhook()
    yield receiver
    receiver.server.shutdown()
    receiver.server.server_close()


@pytest.fixture(scope="module")
def site(
    tmp_path_factory: pytest.TempPathFactory, webhook: Webhook, prefect_database: Path
) -> Iterator[Site]:
    """Server, work pool, deployment and worker, by the steps of docs/operations.md."""
    site = Site(tmp_path_factory.mktemp("site"), webhook.url)
    home = Path(site.environment["PREFECT_HOME"])
    home.mkdir()
    shutil.copy(prefect_database, home)
    for paradigm in ("comprehension", "generation"):
        task_id = site.bench.add_task(
            f"Quiz {paradigm}",
            "accuracy",
            dict.fromkeys(range(4), "A"),
            modality="image",
            paradigm=paradigm,
        )
        site.bench.predict("good", task_id, dict.fromkeys(range(4), "A"))
        site.bench.predict("half", task_id, {0: "A", 1: "A", 2: "B", "nobody": "A"})
    try:
        site.start(SERVER)
        until(lambda: _answers(f"{site.url}/api/health"), "the server's answer")
        site.prefect("work-pool", "create", "general-level", "--type", "process")
        site.prefect("deploy", "--prefect-file", str(DEPLOYMENTS / "prefect.yaml"), "--all")
        site.start(WORKER)
        yield site
    finally:
        for name in reversed(list(site.running)):
            site.stop(name)


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


@pytest.fixture(scope="module")
def night(site: Site) -> dict[str, Any]:
    """The flow run of a first night that completed."""
    parameters = json.dumps(site.catalogue())
    told = site.prefect("deployment", "run", DEPLOYMENT, "--params", parameters)
    (run_id,) = set(re.findall(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", told))
    run = site.ended(run_id)
    assert run["state_type"] == "COMPLETED", site.log(WORKER).read_text()[-5000:]
    return run


def test_a_night_runs_on_the_worker_and_publishes(site: Site, night: dict[str, Any]) -> None:
    assert site.levels() == {"good": 100.0, "half": 50.0}
    assert set(night["tags"]) == {"general-level", "nightly", "store:store"}
    artifacts = site.artifacts(night["id"])
    assert {"leaderboard", "night", "rescored", "coverage", "quarantine", "stages"} <= set(
        artifacts
    )
    rescored = {row["model"]: row for row in json.loads(artifacts["rescored"]["data"])}
    assert (rescored["half"]["tasks scored"], rescored["half"]["why"]) == (2, "2 new")
    (counted,) = json.loads(artifacts["quarantine"]["data"])
    assert (counted["stage"], counted["rows"]) == ("score", 2)
    stages = [row["stage"] for row in json.loads(artifacts["stages"]["data"])]
    assert stages == ["ingest", "score", "publish"]
    assert "no failure" in artifacts["night"]["data"]


def test_the_scheduler_plans_the_nights_to_come(site: Site) -> None:
    def planned() -> list[dict[str, Any]]:
        wanted = {"flow_runs": {"state": {"type": {"any_": ["SCHEDULED"]}}}}
        return [run for run in site.api("flow_runs/filter", wanted) if run["auto_scheduled"]]

    runs = until(planned, "scheduled runs")
    assert {run["expected_start_time"][11:19] for run in runs} == {"02:00:00"}
    assert runs[0]["parameters"]["store_url"] == site.bench.store


def test_a_level_that_fell_is_told(site: Site, night: dict[str, Any], webhook: Webhook) -> None:
    site.bench.predict("good", "image.generation.quiz-generation", {0: "A"})
    del webhook.alerts[:]
    run = site.ended(site.start_night())
    assert run["state_type"] == "COMPLETED"
    (alert,) = webhook.alerts
    assert alert["event"] == "regressed"
    fallen = {(f["level"]): (f["score_before"], f["score"]) for f in alert["regressions"]}
    assert fallen[2] == (100.0, 62.5)
    assert "good: level 2 fell to 62.50 (was 100.00)" in alert["text"]
    # The night after, nothing fell any more.
    site.ended(site.start_night())
    assert len(webhook.alerts) == 1


def test_a_failed_night_is_told_and_leaves_the_results(
    site: Site, night: dict[str, Any], webhook: Webhook
) -> None:
    before = site.levels()
    del webhook.alerts[:]
    run = site.ended(site.start_night(dataset=str(site.root / "absent")))
    assert run["state_type"] == "FAILED"
    (alert,) = until(lambda: webhook.alerts, "the alert")
    assert alert["event"] == "failed"
    assert "absent does not exist" in alert["text"]
    assert alert["store"] == site.bench.store
    assert site.levels() == before


def test_a_killed_night_is_told_and_the_next_one_completes(
    site: Site, night: dict[str, Any], webhook: Webhook
) -> None:
    pipe = site.root / "endless.csv"  # nobody writes to it: reading it lasts until the kill
    os.mkfifo(pipe)
    del webhook.alerts[:]
    run_id = site.start_night(results=[str(pipe)])
    until(lambda: site.run(run_id)["state_type"] == "RUNNING", "the run's start")
    (process,) = until(lambda: _processes_of(run_id), "the run's process")
    process.send_signal(signal.SIGKILL)
    assert site.ended(run_id)["state_type"] == "CRASHED"
    (alert,) = until(lambda: webhook.alerts, "the alert")
    assert alert["event"] == "crashed"
    assert site.ended(site.start_night())["state_type"] == "COMPLETED"


def _processes_of(run_id: str) -> list[psutil.Process]:
    """The process that the worker started for a flow run: Prefect names the run to it so."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("PREFECT__FLOW_RUN_ID", "").replace("-", "") == run_id.replace(
                "-", ""
            ):
                found.append(process)
        except psutil.Error:
            continue
    return [process for process in found if process.parent() not in found]


# --- nights that are cut short: on more work than the nights above, to be caught in the middle of it


@dataclass
class Long:
    """A night that takes a while, and what it arrives at when nobody disturbs it."""

    inputs: Inputs
    expected: dict[str, list[tuple]]

    def parameters(self, store: str) -> dict[str, Any]:
        return {**self.inputs.arguments(), "store_url": store, "workers": 2}


@pytest.fixture(scope="module")
def long(site: Site, server: str) -> Long:
    root = site.root / "long"
    night = Long(Inputs(root, instances=3000), {})
    night.inputs.submit("a")
    store = str(root / "undisturbed")
    assert nightly(**night.parameters(store)).failures == []
    night.expected = figures(Store(store))
    return night


def _start_long(site: Site, long: Long, store: Store) -> tuple[str, psutil.Process]:
    """Starts the long night; its flow run and process once scores are being made."""
    run_id = site.start_night(**long.parameters(store.url))
    until(lambda: store.names("scores") and site.run(run_id)["state_type"] == "RUNNING", "scoring")
    (process,) = _processes_of(run_id)
    return run_id, process


def test_stopping_the_worker_ends_the_night_in_order(
    site: Site, night: dict[str, Any], long: Long, webhook: Webhook
) -> None:
    store = Store(str(site.root / "stopped"))
    del webhook.alerts[:]
    run_id, process = _start_long(site, long, store)
    started = [process, *process.children(recursive=True)]
    site.stop(WORKER)
    assert holder(store) is None
    run = site.run(run_id)  # now, and not when a heartbeat is missed
    assert (run["state_type"], run["state"]["message"]) == (
        "CRASHED",
        "Execution was aborted by a termination signal.",
    )
    assert [alert["event"] for alert in webhook.alerts] == ["crashed"]
    _, alive = psutil.wait_procs(started, timeout=20)
    assert alive == []
    site.start(WORKER)
    assert site.ended(site.start_night(**long.parameters(store.url)))["state_type"] == "COMPLETED"
    assert figures(store) == long.expected


def test_a_night_that_went_silent_is_found_and_told_and_does_not_hold_up_the_next(
    site: Site, night: dict[str, Any], long: Long, webhook: Webhook
) -> None:
    """SIGTERM to the worker alone: it takes its run's process along with SIGKILL, and tells nobody."""
    automation = site.automations()["general-level run went silent"]
    # It must hold for runs that send heartbeats as seldom as Prefect does by itself, with one missing.
    seldom = FlowsSettings.model_fields["heartbeat_frequency"].default
    assert automation["trigger"]["within"] > 2 * seldom
    sooner = automation | {"trigger": automation["trigger"] | {"within": 40}}
    own = ("name", "description", "enabled", "trigger", "actions")
    site.api(f"automations/{automation['id']}", {key: sooner[key] for key in own}, "PUT")
    del webhook.alerts[:]
    store = Store(str(site.root / "silent"))
    run_id, process = _start_long(site, long, store)
    started = [process, *process.children(recursive=True)]
    worker = site.running.pop(WORKER)
    worker.terminate()
    _, alive = psutil.wait_procs([worker, *started], timeout=60)
    assert alive == []
    assert site.run(run_id)["state_type"] == "RUNNING"
    run = site.ended(run_id)
    assert run["state_type"] == "CRASHED"
    assert "No sign of life" in run["state"]["message"]
    told = until(lambda: [a for a in webhook.alerts if a["flow_run"] == run["name"]], "the alert")
    assert (told[0]["event"], told[0]["store"]) == ("crashed", store.url)
    assert store.url in told[0]["text"]
    site.start(WORKER)
    assert site.ended(site.start_night(**long.parameters(store.url)))["state_type"] == "COMPLETED"
    assert figures(store) == long.expected
    # Runs that ended are left alone, though their heartbeats ended too.
    assert site.run(night["id"])["state_type"] == "COMPLETED"
    # Another deploy brings the automation back to its file, and makes no second one.
    site.prefect("deploy", "--prefect-file", str(DEPLOYMENTS / "prefect.yaml"), "--all")
    again = site.automations()["general-level run went silent"]
    assert (again["id"], again["trigger"]["within"]) == (
        automation["id"],
        automation["trigger"]["within"],
    )


def test_the_webhook_is_a_secret(site: Site, night: dict[str, Any], webhook: Webhook) -> None:
    logs = json.dumps(site.api("logs/filter"))
    assert "published" in logs
    for text in (logs, site.log(SERVER).read_text(), site.log(WORKER).read_text()):
        assert webhook.secret not in text


def test_prefect_takes_the_automation(site: Site) -> None:
    site.prefect("automation", "create", "--from-file", str(DEPLOYMENTS / "automation.yaml"))
    automation = site.automations()["general-level night failed"]
    assert "prefect.flow-run.Crashed" in automation["trigger"]["expect"]


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")
def test_the_dashboard_shows_the_night(site: Site, night: dict[str, Any], tmp_path: Path) -> None:
    tasks = ["ingest good (2 files)", "score half (2 tasks)", "build results"]
    page = f"{site.url}/runs/flow-run/{night['id']}"
    assert _missing([night["name"], *tasks, "Artifacts"], page, tmp_path) == []
    artifact = site.artifacts(night["id"])["night"]
    words = ["Scored again", "Quarantine, by reason", "no reference has this id: ignored"]
    page = f"{site.url}/artifacts/artifact/{artifact['id']}"
    assert _missing([night["name"], *words], page, tmp_path) == []


def _missing(words: list[str], url: str, profile: Path) -> list[str]:
    """Those of the words that a page does not show, looked at a few times: its scripts load what
    it shows piece by piece, and a loaded machine may let the browser's time run out first."""
    missing = words
    for _ in range(5):
        page = _browse(url, profile)
        missing = [word for word in words if word not in page]
        if not missing:
            break
    return missing


def _browse(url: str, profile: Path) -> str:
    """The text of a page once its scripts have run."""
    flags = "headless no-sandbox disable-gpu disable-quic no-first-run disable-sync"
    flags += " disable-background-networking disable-component-update dump-dom"
    command = [str(CHROMIUM), *(f"--{flag}" for flag in flags.split())]
    # A tall window: lines below its edge are not drawn, and so not in the page.
    command += ["--window-size=1400,1600", "--virtual-time-budget=20000"]
    command += [f"--user-data-dir={profile / 'chromium'}", url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", done.stdout)))


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd on this machine")
@pytest.mark.parametrize("name", [SERVER, WORKER])
def test_the_units_are_ones_that_systemd_takes(name: str, tmp_path: Path) -> None:
    # systemd looks whether the command is there: on this machine it is elsewhere.
    here = str(Path(sys.executable).parent)
    text = (DEPLOYMENTS / f"{name}.service").read_text()
    unit = tmp_path / f"{name}.service"
    unit.write_text(text.replace("/opt/general-level/.venv/bin", here))
    done = subprocess.run(
        ["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert name not in done.stderr, done.stderr
