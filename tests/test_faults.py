"""What must not hurt: killed runs, two runs at once, full disks, cut connections, broken tasks.

Processes are killed with SIGKILL, the disk is a real one that is full, connections are cut by a
proxy on real sockets, and a broken task is broken input.
"""

from __future__ import annotations

import json
import os
import random
import resource
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pyarrow as pa
import pytest

from benchmarks.faults import Inputs, figures, run_and_kill, start, wait_for_work
from flows.nightly import nightly
from flows.runtime import LEFTOVER_SECONDS, WorkerPool, sole_writer
from tasks.catalog import load_catalogue
from tasks.errors import UserError
from tasks.lock import LOCK, Holder, hold, holder
from tasks.schema import QUARANTINE_SCHEMA
from tasks.score import finish_scores, read_task_scores
from tasks.storage import Store
from tasks.warehouse import RunInfo, build, connect, leaderboard
from tests.conftest import Bench, s3_server

#: Seconds after which a wait is a failure; the machine may be busy with other things.
DEADLINE = 240
CLI = [sys.executable, "-c", "from flows.cli import main; main()"]


def wait_until(condition) -> None:
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


@pytest.fixture
def s3(monkeypatch):
    """A real S3 server with a bucket; its address."""
    with s3_server(monkeypatch, "bench") as address:
        yield address


@pytest.fixture(params=["disk", "s3", "memory"])
def any_store(request, tmp_path):
    """A store where locks are swapped by `flock`, by conditional PUTs, and by reading back."""
    if request.param == "disk":
        return Store(str(tmp_path / "store"))
    if request.param == "memory":
        return Store(f"memory://{tmp_path.name}/store")
    request.getfixturevalue("s3")
    return Store("s3://bench/store")


# --- two runs at once


def test_a_second_run_is_told_who_holds_the_store(any_store):
    with hold(any_store, "first-run"):
        with (
            pytest.raises(UserError, match=f"first-run.*process {os.getpid()}") as told,
            hold(any_store, "second-run"),
        ):
            pass
        assert "wait for it" in told.value.remedy
        held = holder(any_store)
        assert held is not None and held.run_id == "first-run"
    assert holder(any_store) is None
    with hold(any_store, "second-run"):
        pass


def test_heartbeats_go_on_while_the_store_is_held(any_store):
    with hold(any_store, "run", interval=0.05) as lock:
        first = holder(any_store)
        assert first is not None
        wait_until(lambda: (now := holder(any_store)) and now.heartbeat > first.heartbeat)
        lock.check()


@pytest.mark.parametrize("any_store", ["disk", "s3"], indirect=True)
@pytest.mark.parametrize("left", ["nothing", "a dead run's lock", "half a lock"])
def test_of_many_that_start_at_once_one_gets_the_store(any_store, left):
    if left == "a dead run's lock":
        any_store.write_bytes(lock_of_another_host(age=3600), LOCK)
    elif left == "half a lock":
        any_store.write_bytes(lock_of_another_host(age=0)[:40], LOCK)
    everybody = threading.Barrier(6)
    inside: list[int] = []
    most: list[int] = []

    def contend(number: int) -> bool:
        everybody.wait()
        try:
            with hold(any_store, f"run {number}", interval=0.2, stale=30):
                inside.append(number)
                most.append(len(inside))
                everybody.wait()  # until the others were refused
                inside.remove(number)
                return True
        except UserError:
            everybody.wait()
            return False

    with ThreadPoolExecutor(6) as pool:
        won = list(pool.map(contend, range(6)))
    assert won.count(True) == 1
    assert most == [1]


def lock_of_another_host(age: float) -> bytes:
    then = datetime.now(UTC) - timedelta(seconds=age)
    held = Holder(
        run_id="far-run",
        host="far",
        machine="another",
        pid=1,
        born="1",
        started=then,
        heartbeat=then,
    )
    return msgspec.json.encode(held)


def test_a_silent_holder_elsewhere_loses_the_store_and_one_with_a_wrong_clock_does_not(any_store):
    any_store.write_bytes(lock_of_another_host(age=3600), LOCK)
    with hold(any_store, "new-run", interval=0.05, stale=5):
        pass
    ended = threading.Event()

    def beat() -> None:  # an hour behind, but alive
        while not ended.wait(0.02):
            any_store.write_bytes(lock_of_another_host(age=3600), LOCK)

    any_store.write_bytes(lock_of_another_host(age=3600), LOCK)
    living = threading.Thread(target=beat)
    living.start()
    try:
        with (
            pytest.raises(UserError, match="far-run"),
            hold(any_store, "new-run", interval=0.5, stale=5),
        ):
            pass
    finally:
        ended.set()
        living.join()


HOLDING = """
import sys, time
from tasks.errors import UserError
from tasks.lock import hold
from tasks.storage import Store
with hold(Store(sys.argv[1]), "child-run", interval=0.3, stale=float(sys.argv[2])) as lock:
    print("holding", flush=True)
    try:
        while True:
            time.sleep(0.05)
            lock.check()
    except UserError as error:
        print(error.message, flush=True)
"""


def holding_process(store: Store, stale: float) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", HOLDING, store.url, str(stale)]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "holding\n"
    return child


def test_a_killed_run_leaves_the_store_to_the_next_at_once(tmp_path):
    store = Store(str(tmp_path))
    child = holding_process(store, stale=3600)
    with pytest.raises(UserError, match="child-run"), hold(store, "mine", stale=3600):
        pass
    child.kill()  # not waited for: a dead process that nobody has buried is dead too
    wait_until(lambda: (held := holder(store)) and held.is_gone())
    with hold(store, "mine", stale=3600):
        assert (held := holder(store)) and held.run_id == "mine"
    child.communicate()


@pytest.mark.parametrize("any_store", ["disk", "s3"], indirect=True)
def test_a_run_that_slept_too_long_stops_before_it_writes(any_store):
    child = holding_process(any_store, stale=1)
    try:
        child.send_signal(signal.SIGSTOP)
        wait_until(lambda: (held := holder(any_store)) and held.age() > 1)
        with hold(any_store, "mine", interval=0.1, stale=1):
            child.send_signal(signal.SIGCONT)
            out, _ = child.communicate(timeout=DEADLINE)
            assert "child-run lost the store" in out and "mine" in out
            assert (held := holder(any_store)) and held.run_id == "mine"
    finally:
        child.kill()


# --- killed runs


@pytest.mark.server
@pytest.mark.timeout(1200)
def test_kills_lose_nothing_tear_nothing_and_change_nothing(tmp_path, server):
    outcome = run_and_kill(tmp_path, server, kills=3, instances=400)
    assert outcome.kills.total() == 3
    assert outcome.lost == []
    assert outcome.torn == []
    assert outcome.wrong == []
    assert outcome.reads > 0


def test_a_worker_that_was_just_starting_ends_with_its_broken_pool(monkeypatch):
    pool = WorkerPool(2)
    pool.submit(abs, 1).result()
    executor, begun = pool._executor, ForkServerProcess.start
    assert executor is not None
    works = list(executor._processes)
    dies = pool.submit(time.sleep, DEADLINE)

    def start_late(process: ForkServerProcess) -> None:
        begun(process)
        for worker in works:
            os.kill(worker, signal.SIGKILL)
        assert isinstance(dies.exception(DEADLINE), BrokenProcessPool)
        time.sleep(0.5)  # its workers are being ended meanwhile: all but this one

    with monkeypatch.context() as patch:
        patch.setattr(ForkServerProcess, "start", start_late)
        call = pool.submit(abs, 1)
    pool.replace_if_broken(BrokenProcessPool())
    manager: Any = executor._executor_manager_thread
    manager.join(DEADLINE)
    assert not manager.is_alive()
    assert call.done()  # made by the new worker before it was ended, or failed
    assert pool.submit(abs, -2).result(DEADLINE) == 2
    pool.replace_if_broken(BrokenProcessPool())  # told late, of the failure that is mended
    assert pool.submit(abs, -3).result(DEADLINE) == 3
    pool.close()


@pytest.mark.parametrize("how", [["main.py"], ["-m", "main"]])
def test_workers_do_not_run_the_main_script_again(tmp_path, how):
    # Of a scheduled night that script is Prefect.
    tmp_path.joinpath("main.py").write_text(
        "from concurrent.futures import ProcessPoolExecutor\n"
        "from tasks.worker import WorkerContext, end_with_parent\n"
        "assert __name__ == '__main__', 'a worker ran the main script'\n"
        "with ProcessPoolExecutor(1, WorkerContext(), end_with_parent) as pool:\n"
        "    print(pool.submit(abs, -3).result())\n"
    )
    ran = subprocess.run([sys.executable, *how], cwd=tmp_path, capture_output=True, text=True)
    assert (ran.returncode, ran.stdout) == (0, "3\n"), ran.stderr


@pytest.mark.server
def test_nothing_outlives_a_killed_run_that_had_its_own_server(bench, tmp_path, prefect_home):
    for number in range(3):
        task_id = bench.add_task(f"Task {number}", "accuracy", dict.fromkeys(range(20), "A"))
        bench.predict("m", task_id, dict.fromkeys(range(20), "A"))
    environment = {k: v for k, v in os.environ.items() if k != "PREFECT_API_URL"}
    run = subprocess.Popen(
        [*CLI, *words(bench)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_for_work(run, Store(bench.store))
    run.send_signal(signal.SIGSTOP)  # the run is short, and looking at processes may take longer
    started = psutil.Process(run.pid).children(recursive=True)
    assert any("server" in process.cmdline() for process in started)
    run.kill()
    run.communicate()
    _, alive = psutil.wait_procs(started, timeout=DEADLINE)
    assert alive == []


@pytest.mark.server
@pytest.mark.parametrize("told", [signal.SIGTERM, signal.SIGINT])
def test_a_run_that_is_told_to_end_gives_the_store_back_and_the_next_completes(
    tmp_path, server, told
):
    inputs = Inputs(tmp_path, instances=1500)
    inputs.submit("a")
    store = Store(inputs.store)
    run = start(inputs, store.url, server)
    wait_until(lambda: store.names("scores") or run.poll() is not None)
    assert run.poll() is None, run.communicate()
    started = psutil.Process(run.pid).children(recursive=True)
    assert len(started) > 2  # workers among them
    run.send_signal(told)
    run.communicate(timeout=DEADLINE)
    assert run.returncode != 0
    assert holder(store) is None
    _, alive = psutil.wait_procs(started, timeout=DEADLINE)
    assert alive == []
    assert nightly(store.url, **inputs.arguments(), workers=2).failures == []
    assert figures(store) == undisturbed(inputs)


SLOW_WRITE = """
import sys, time
from tasks.storage import Store
def write(file):
    file.write(b"half")
    file.flush()
    print("writing", flush=True)
    time.sleep(3600)
Store(sys.argv[1]).write(write, *sys.argv[2:])
"""


def test_what_a_killed_writer_leaves_is_seen_by_nobody_and_cleared_away(bench, tmp_path):
    task_id = bench.add_task(
        "Quiz", "accuracy", {0: "A"}, modality="image", paradigm="comprehension"
    )
    bench.predict("m", task_id, [(0, "A"), (1, "A")])
    bench.score("m")
    store, catalogue = Store(bench.store), load_catalogue([bench.catalogue], base=False)
    for place in (("imported", "m.parquet"), ("quarantine", "score", "m.parquet")):
        command = [sys.executable, "-c", SLOW_WRITE, store.url, *place]
        child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None and child.stdout.readline() == "writing\n"
        child.kill()
        child.communicate()
    left = sorted(Path(store.root).rglob("*.tmp"))
    assert len(left) == 2
    build(store, catalogue, RunInfo.now("after"))
    assert leaderboard(store)["model"].to_list() == ["m"]
    with connect(store) as database:
        assert database.execute("SELECT count(*) FROM quarantine").fetchall() == [(1,)]
    with sole_writer(store.url):
        assert sorted(Path(store.root).rglob("*.tmp")) == left  # it could be a live writer's
    long_ago = time.time() - LEFTOVER_SECONDS - 1
    for path in left:
        os.utime(path, (long_ago, long_ago))
    with sole_writer(store.url):
        assert list(Path(store.root).rglob("*.tmp")) == []


# --- a full disk


def words(bench: Bench, store: str | None = None) -> list[str]:
    """The command that runs the night on a bench."""
    where = ["--dataset", str(bench.dataset), "--submissions", str(bench.submissions)]
    catalogue = ["--catalogue", str(bench.catalogue), "--only-catalogue"]
    return ["run", "--store", store or bench.store, *where, *catalogue, "--workers", "2", "--json"]


def fill(bench, seed: int) -> None:
    """Two models on four tasks, with answers that take room."""
    rng = random.Random(seed)
    for number in range(4):
        paradigm = ("comprehension", "generation")[number % 2]
        answers = {i: f"{random.Random(i).random()}" for i in range(1500)}
        task_id = bench.add_task(
            f"Task {number}", "accuracy", answers, modality="image", paradigm=paradigm
        )
        for model in ("first", "second"):
            share = rng.random()
            given = {
                i: a if rng.random() < share else f"{rng.random()}" for i, a in answers.items()
            }
            bench.predict(model, task_id, given)


@pytest.mark.server
@pytest.mark.timeout(1200)
def test_a_file_that_cannot_be_written_is_told_and_the_next_run_completes(bench, server):
    """Each file of the second run may have 16 KB: the first part that is larger fails."""

    store, limit = Store(bench.store), 16_384
    fill(bench, 1)
    assert nightly(bench.store, **bench.arguments(), workers=2).failures == []
    good = figures(store)
    fill(bench, 2)
    failed = subprocess.run(
        [*CLI, *words(bench)],
        env=os.environ | {"PREFECT_API_URL": server},
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )
    assert failed.returncode in (1, 3)
    assert "File too large" in failed.stdout + failed.stderr
    assert "Traceback" not in failed.stderr
    assert figures(store) == good
    assert nightly(bench.store, **bench.arguments(), workers=2).failures == []
    assert figures(store)["levels"] != good["levels"]
    assert figures(store) == undisturbed(bench)


def undisturbed(bench: Bench) -> dict[str, Any]:
    """The figures of the same inputs in a new store."""
    store = f"{bench.store}-undisturbed"
    assert nightly(store, **bench.arguments(), workers=2).failures == []
    return figures(Store(store))


FULL_DISK = """
set -e
mount -t tmpfs -o size=16m tmpfs "$STORE"
"$@" > "$OUT/first" 2>&1
cp -r "$STORE/results.duckdb" "$OUT/published.duckdb"
mv "$SUBMISSIONS.new" "$SUBMISSIONS"
dd if=/dev/zero of="$STORE/filler" bs=4096 2>/dev/null || true   # until nothing fits
set +e
"$@" > "$OUT/second" 2>&1
echo $? > "$OUT/second-code"
set -e
cmp "$STORE/results.duckdb" "$OUT/published.duckdb"
rm "$STORE/filler"
"$@" > "$OUT/third" 2>&1
cp -r "$STORE/." "$OUT/store"
"""


@pytest.mark.server
@pytest.mark.timeout(1200)
def test_a_full_disk_is_told_keeps_what_was_published_and_holds_nothing_up(bench, server, tmp_path):
    """The store is a file system of its own, 16 MB large, in a mount namespace of its own."""
    allowed = subprocess.run(
        ["unshare", "-rm", "sh", "-c", 'mount -t tmpfs tmpfs "$0"', str(tmp_path)],
        capture_output=True,
    )
    if allowed.returncode != 0:
        pytest.skip(f"no mount namespaces here: {allowed.stderr.decode().strip()}")
    fill(bench, 1)
    first = bench.submissions
    bench.submissions = Path(f"{first}.new")
    fill(bench, 2)
    link = tmp_path / "current"
    link.symlink_to(first)
    Path(f"{link}.new").symlink_to(bench.submissions)
    bench.submissions = link
    out = tmp_path / "out"
    (out / "store").mkdir(parents=True)
    Path(bench.store).mkdir()
    environment = os.environ | {"PREFECT_API_URL": server, "OUT": str(out)}
    environment |= {"STORE": bench.store, "SUBMISSIONS": str(link)}
    done = subprocess.run(
        [
            "unshare",
            "-rm",
            "sh",
            "-c",
            FULL_DISK.replace("mv ", "mv -T "),
            "sh",
            *CLI,
            *words(bench),
        ],
        env=environment,
        capture_output=True,
        text=True,
        timeout=3 * DEADLINE,
    )
    said = "\n".join(path.read_text() for path in sorted(out.glob("[fst]*")) if path.is_file())
    assert done.returncode == 0, done.stderr + said
    assert (out / "second-code").read_text().strip() in ("1", "3")
    second = (out / "second").read_text()
    assert "No space left on device" in second
    assert "Traceback" not in second
    assert figures(Store(str(out / "store"))) == undisturbed(bench)


# --- connections that drop


class CuttingProxy(threading.Thread):
    """Passes connections on to a server, and cuts them at random until it has cut enough."""

    def __init__(self, target: tuple[str, int], cuts: int, share: float, seed: int) -> None:
        super().__init__(daemon=True)
        self.cut, self.passed = 0, 0
        self._target, self._cuts, self._share = target, cuts, share
        self._rng = random.Random(seed)
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.address = f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def run(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def stop(self) -> None:
        self._listener.close()

    def _cuts_now(self) -> bool:
        with self._lock:
            cuts = self.cut < self._cuts and self._rng.random() < self._share
            self.cut += cuts
            return cuts

    def _serve(self, client: socket.socket) -> None:
        with closing(client), suppress(OSError):
            server = socket.create_connection(self._target)
            with closing(server):
                ends = {client: server, server: client}
                while True:
                    for end in select.select(list(ends), [], [])[0]:
                        data = end.recv(65536)
                        # In the middle of a request, or of its answer.
                        if not data or self._cuts_now():
                            return
                        ends[end].sendall(data)
                        self.passed += len(data)


@pytest.mark.server
@pytest.mark.timeout(1200)
def test_a_night_on_s3_gets_over_connections_that_drop(bench, server, s3, monkeypatch):
    fill(bench, 3)
    proxy = CuttingProxy(s3, cuts=60, share=0.15, seed=5)
    proxy.start()
    environment = os.environ | {"PREFECT_API_URL": server, "AWS_ENDPOINT_URL": proxy.address}
    done = subprocess.run(
        [*CLI, *words(bench, "s3://bench/store")],
        env=environment,
        capture_output=True,
        text=True,
        timeout=3 * DEADLINE,
    )
    proxy.stop()
    assert done.returncode == 0, done.stderr + done.stdout
    assert json.loads(done.stdout)["failures"] == []
    assert proxy.cut > 20
    wanted = undisturbed(bench)
    found = figures(Store("s3://bench/store"))
    assert found == wanted
    assert Store("s3://bench/store").names("predictions") == ["first", "second"]


# --- a task that cannot be scored


def results(bench) -> dict[tuple[str, str], dict]:
    """Scores the bench, publishes, and returns task_results by (model, task), corrected profile."""
    bench.score("m")
    store = Store(bench.store)
    build(store, load_catalogue([bench.catalogue], base=False), RunInfo.now(str(time.time_ns())))
    with connect(store) as database:
        found = database.sql("FROM task_results WHERE profile = 'corrected'").pl()
    return {row["task_id"]: row for row in found.iter_rows(named=True)}


@pytest.fixture
def two_tasks(bench):
    quiz = bench.add_task("Quiz", "accuracy", {0: "A", 1: "A"})
    forecast = bench.add_task("Forecast", "mae", {0: 1.0, 1: 2.0}, task_type="Time Series")
    bench.predict("m", quiz, {0: "A"})
    bench.predict("m", forecast, {0: 1.5, 1: 2.0, 7: 3.0})
    return quiz, forecast


def test_a_task_that_breaks_keeps_its_last_good_score_and_says_so(bench, two_tasks):
    quiz, forecast = two_tasks
    good = results(bench)
    assert good[forecast]["raw_score"] == pytest.approx(0.25)
    assert good[forecast]["stale_since"] is None

    # References that no mae can be reckoned from; the other task changes and is scored.
    bench.add_task("Forecast", "mae", {0: "soon", 1: "later"}, task_type="Time Series")
    bench.predict("m", quiz, {0: "A", 1: "A"})
    broken = results(bench)
    assert broken[quiz]["raw_score"] == pytest.approx(100.0)
    assert broken[quiz]["stale_since"] is None
    kept = broken[forecast]
    assert kept["status"] == "scored"
    assert "no reference" in kept["reason"]
    assert kept["stale_since"] is not None
    same = ("raw_score", "score", "wins", "n_instances", "n_extra", "coverage", "scorer_version")
    assert {name: kept[name] for name in same} == {name: good[forecast][name] for name in same}
    with connect(Store(bench.store)) as database:
        counts = "SELECT tasks_scored, tasks_refused, tasks_stale FROM coverage"
        assert database.execute(counts).fetchall() == [(2, 0, 1)]
        # The statistics and the refused rows of the score that is shown are still there.
        rows = f"SELECT score FROM instance_scores WHERE task_id = '{forecast}' ORDER BY ALL"
        assert database.execute(rows).fetchall() == [(0.0,), (0.5,)]
        extra = (
            f"SELECT instance_id FROM quarantine WHERE task_id = '{forecast}' AND stage = 'score'"
        )
        assert database.execute(extra).fetchall() == [("7",)]

    again = results(bench)  # tried again, and stale since the first time
    assert [job.reason for job in bench.plan.jobs] == ["failed before"]
    assert again[forecast]["stale_since"] == kept["stale_since"]

    bench.add_task("Forecast", "mae", {0: 2.0, 1: 2.0}, task_type="Time Series")
    mended = results(bench)
    assert mended[forecast]["raw_score"] == pytest.approx(0.25)
    assert mended[forecast]["stale_since"] is None and mended[forecast]["reason"] is None


def test_a_submission_that_cannot_be_read_keeps_the_last_good_score(bench, two_tasks):
    _, forecast = two_tasks
    results(bench)
    path = bench.write_prediction("m", forecast, '{"id": 0, "predic')
    kept = results(bench)[forecast]
    assert kept["raw_score"] == pytest.approx(0.25)
    assert kept["stale_since"] is not None
    path.unlink()
    path.parent.rmdir()
    assert results(bench)[forecast]["status"] == "unsupported"  # gone is gone


def test_a_task_that_never_had_a_score_is_refused_with_the_reason(bench, two_tasks):
    _, forecast = two_tasks
    bench.add_task("Forecast", "mae", {0: "soon"}, task_type="Time Series")
    row = results(bench)[forecast]
    assert (row["status"], row["raw_score"], row["stale_since"]) == ("refused", None, None)
    assert "no reference" in row["reason"]


def test_scores_that_an_earlier_version_stored_are_read(bench, two_tasks):
    results(bench)
    store = Store(bench.store)
    where = ("scores", "m", "task_scores.parquet")
    table = store.read_table(*where)
    store.write_table(table.drop_columns(["stale_since"]), *where)
    before = read_task_scores(store, "m")
    assert before["stale_since"].null_count() == before.height == table.num_rows
    nothing = pa.Table.from_pylist([], QUARANTINE_SCHEMA)
    finish_scores(store, "m", [], nothing, removed=[two_tasks[0]])
    assert set(read_task_scores(store, "m")["task_id"]) == {two_tasks[1]}
    assert results(bench)[two_tasks[1]]["raw_score"] == pytest.approx(0.25)


def test_superseded_rows_in_a_part_that_tasks_share_are_not_scored(bench):
    """Small tasks share a part. One batch then needs the first task's rows from the new part and
    the second's from the old one, which still holds the first's old rows."""
    first = bench.add_task("First", "accuracy", {0: "A", 1: "A"})
    second = bench.add_task("Second", "accuracy", {0: "A", 1: "A"})
    for task_id in (first, second):
        bench.predict("m", task_id, {0: "A"})
    bench.score("m")
    bench.predict("m", first, {0: "A", 1: "A"})
    bench.add_task("Second", "accuracy", {0: "B", 1: "A", 2: "A", 3: "A"})
    rows = bench.score("m")
    assert {job.task_id for job in bench.plan.jobs} == {first, second}
    assert rows[first, "corrected"]["raw_score"] == pytest.approx(100.0)
    assert rows[first, "corrected"]["n_duplicate"] == 0
    assert rows[second, "corrected"]["raw_score"] == pytest.approx(0.0)
    assert rows[second, "corrected"]["n_instances"] == 4
