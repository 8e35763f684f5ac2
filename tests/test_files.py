"""Media are read from any storage: within a time, archives opened once, always what lies there now."""

from __future__ import annotations

import io
import os
import select
import socket
import struct
import tarfile
import threading
import time
import zipfile
from contextlib import closing, suppress
from pathlib import Path
from typing import Literal

import boto3
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tasks import files
from tasks.catalog import load_catalogue
from tasks.errors import UserError
from tasks.files import (
    StorageFailure,
    list_archive,
    list_folder,
    open_member,
    read_ahead,
    read_member,
    reading_together,
)
from tasks.ingest.discover import discover
from tasks.media import Refused, load_array, load_frames, load_image, read_bytes
from tasks.storage import Store
from tasks.timeout import READ_TIMEOUT, read_timeout, within
from tests.conftest import s3_server

NAMES = [f"image/{number:03}.bin" for number in range(40)]
CONTENT = {name: os.urandom(2_000) for name in NAMES}


def value(url, member="", path="x.bin"):
    return {"$file": {"path": path, "url": str(url), "member": member}}


# --- files read ahead


def test_small_files_are_read_ahead_by_one_call_and_all_others_when_they_are_read(
    tmp_path, monkeypatch
):
    contents = {"a.bin": b"a" * 10, "empty.bin": b"", "large.bin": os.urandom(files._SMALL + 1)}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    asked = []
    real = files._ask
    monkeypatch.setattr(files, "_ask", lambda *a: (asked.append(a[2].__name__), real(*a))[1])
    wrong = ["absent", "pipe", "folder", "with\0null"]
    with read_ahead([f"file://{tmp_path}/{name}" for name in [*contents, *wrong]]):
        for name, content in contents.items():
            assert read_member(f"file://{tmp_path}/{name}", "", 2**30) == content
        assert read_member(f"file://{tmp_path}/a.bin", "", 4) == b"aaaaa"
        for name in wrong:
            with pytest.raises(OSError, match=r"."):
                read_member(f"file://{tmp_path}/{name}", "", 2**30)
    assert asked.count("_small_files") == 1
    assert asked.count("_small_file") == 2 + len(wrong)
    # Nothing is kept: what lies there now is read.
    (tmp_path / "a.bin").write_bytes(b"new")
    assert read_member(f"file://{tmp_path}/a.bin", "", 2**30) == b"new"


def test_files_ahead_that_do_not_come_are_asked_for_once_and_fail_where_they_are_read(
    tmp_path, monkeypatch
):
    (tmp_path / "a.bin").write_bytes(b"a")
    never = threading.Event()
    monkeypatch.setattr(files, "_small_files", lambda paths: never.wait())
    monkeypatch.setenv(READ_TIMEOUT, "0.2")
    began = time.monotonic()
    with reading_together(), read_ahead([f"file://{tmp_path}/a.bin"]):
        for _ in range(50):
            with pytest.raises(StorageFailure, match="did not answer"):
                read_member(f"file://{tmp_path}/a.bin", "", 2**30)
    assert time.monotonic() - began < 5
    never.set()


def test_a_slow_storage_is_not_asked_for_many_files_in_the_time_of_one(tmp_path, monkeypatch):
    for number in range(5):
        (tmp_path / f"{number}.bin").write_bytes(b"a")
    monkeypatch.setattr(files, "_AHEAD_SECONDS", 0.1)
    real = files._small_file
    monkeypatch.setattr(files, "_small_file", lambda *a: (time.sleep(0.2), real(*a))[1])
    paths = {str(number): f"{tmp_path}/{number}.bin" for number in range(5)}
    assert files._small_files(paths) == {"0": b"a"}


# --- a storage that does not answer


def test_a_call_is_given_up_after_its_time_and_the_next_one_is_made():
    never = threading.Event()
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        within(0.05, never.wait)
    assert time.monotonic() - began < 5
    assert within(5, lambda: "answer") == "answer"
    with pytest.raises(ZeroDivisionError):
        within(5, lambda: 1 / 0)
    never.set()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_process_makes_its_own_calls():
    assert within(5, os.getpid) == os.getpid()
    child = os.fork()
    if child == 0:
        os._exit(0 if within(5, os.getpid) == os.getpid() else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.parametrize("given", ["soon", "0", "-1", "nan", "inf", "1e9"])
def test_a_wrong_time_limit_is_told(monkeypatch, given, tmp_path):
    monkeypatch.setenv(READ_TIMEOUT, given)
    with pytest.raises(UserError, match=READ_TIMEOUT):
        read_timeout()
    with pytest.raises(UserError, match=READ_TIMEOUT):  # no fault of the instance
        read_bytes(value(tmp_path / "x"))


class StallingProxy(threading.Thread):
    """Passes connections on to a server, and answers only up to so many bytes of each when told."""

    def __init__(self, target: tuple[str, int]) -> None:
        super().__init__(daemon=True)
        self.passes: float = float("inf")
        self.stalls_on = ""
        self._target = target
        self._ended = threading.Event()
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
        self._ended.set()
        self._listener.close()

    def _serve(self, client: socket.socket) -> None:
        with closing(client), suppress(OSError):
            server = socket.create_connection(self._target)
            with closing(server):
                ends = {client: server, server: client}
                while True:
                    for end in select.select(list(ends), [], [])[0]:
                        data = end.recv(4096)
                        if not data:
                            return
                        if end is client and data.startswith(self.stalls_on.encode() or b"-"):
                            self.passes = 0
                        if end is server and self.passes < float("inf"):
                            ends[end].sendall(data[: int(self.passes)])
                            self._ended.wait()  # and nothing more comes
                            return
                        ends[end].sendall(data)


@pytest.fixture
def stalling(monkeypatch):
    with s3_server(monkeypatch, "bench") as (host, port):
        proxy = StallingProxy((host, port))
        proxy.start()
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.address)
        yield proxy
        proxy.stop()


@pytest.mark.parametrize("passes", [0, 40, 1000], ids=["silent", "in the head", "in the body"])
@pytest.mark.parametrize("member", ["", NAMES[3]])
def test_a_stalled_connection_is_a_failure_of_the_storage_in_time(
    stalling, monkeypatch, passes, member
):
    client = boto3.client("s3")
    key = "x.zip" if member else "x.bin"
    client.put_object(Bucket="bench", Key=key, Body=zipped(CONTENT) if member else b"1" * 9000)
    where = value(f"s3://bench/{key}", member)
    stalling.passes = passes
    began = time.monotonic()
    with monkeypatch.context() as patch:
        patch.setenv(READ_TIMEOUT, "1")
        with pytest.raises(StorageFailure, match="no answer within"):
            read_bytes(where)
    assert time.monotonic() - began < 20
    stalling.passes = float("inf")
    assert read_bytes(where) == (CONTENT[member] if member else b"1" * 9000)


def test_a_server_that_is_gone_is_a_failure_of_the_storage(monkeypatch):
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with s3_server(monkeypatch, "bench"):
        boto3.client("s3").put_object(Bucket="bench", Key="x.bin", Body=b"1")
        assert read_bytes(value("s3://bench/x.bin")) == b"1"
    monkeypatch.setenv(READ_TIMEOUT, "5")
    with pytest.raises(StorageFailure, match=r"bench/x\.bin"):
        read_bytes(value("s3://bench/x.bin"))


def test_what_is_wrong_with_a_file_is_no_failure_of_the_storage(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "absent", tmp_path / "pipe", tmp_path / ("x" * 300)):
        with pytest.raises(Refused):
            read_bytes(value(path))
    with pytest.raises(Refused):
        read_bytes(value(f"{tmp_path}/nul\0"))


@pytest.mark.parametrize(
    "place",
    [
        None,
        "x.png",
        [],
        {"path": "x.png"},
        {"path": "x.png", "url": None, "member": ""},
        {"path": ["x.png"], "url": "x.png", "member": ""},
    ],
)
def test_what_only_looks_like_a_file_is_refused(place):
    for looks_like in ({"$file": place}, {"$files": [place]}, {"$files": place}):
        for read in (read_bytes, load_image, load_array, lambda value: list(load_frames(value))):
            if looks_like == {"$files": []}:
                continue  # an empty folder
            with pytest.raises(Refused):
                read(looks_like)
    with pytest.raises(Refused):
        read_bytes(value("x.bin") | {"$files": []})


# --- archives


def zipped(content, how=zipfile.ZIP_DEFLATED):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", how) as archive:
        for name, data in content.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def tarred(content, packed: Literal["w:", "w:gz", "w:xz"] = "w:"):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=packed) as archive:
        for name, data in content.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


PACKED = {
    "a.zip": zipped,
    "a.tar": tarred,
    "a.tar.gz": lambda content: tarred(content, "w:gz"),
    "a.tgz": lambda content: tarred(content, "w:xz"),  # what it is called does not matter
}


@pytest.mark.parametrize("name", PACKED)
@pytest.mark.parametrize("unpacked_limit", [files._UNPACKED_LIMIT, 10_000])
def test_an_archive_is_opened_once_for_all_members_in_any_order(
    tmp_path, monkeypatch, name, unpacked_limit
):
    monkeypatch.setattr(files, "_UNPACKED_LIMIT", unpacked_limit)
    path = str(tmp_path / name)
    (tmp_path / name).write_bytes(PACKED[name](CONTENT))
    opened = []
    real = files._open
    monkeypatch.setattr(files, "_open", lambda *a: (opened.append(a[0]), real(*a))[1])
    with reading_together():
        for member in [*reversed(NAMES), *NAMES[::7]]:
            assert read_bytes(value(path, member)) == CONTENT[member]
        assert list_folder(path, "image") == [(path, member) for member in NAMES]
        with pytest.raises(Refused, match="no longer there"):
            read_bytes(value(path, "image/absent"))
    assert opened == [path]
    (tmp_path / name).write_bytes(PACKED[name]({"image/000.bin": b"new"}))
    with reading_together():
        assert read_bytes(value(path, NAMES[0])) == b"new"
    assert read_bytes(value(path, NAMES[0])) == b"new"


def test_few_archives_are_open_at_once_and_none_at_the_end(tmp_path):
    def descriptors():
        return len(list(Path("/proc/self/fd").iterdir()))

    for number in range(30):
        (tmp_path / f"{number}.zip").write_bytes(zipped({"x": b"%d" % number}))
    before = descriptors()
    with reading_together():
        for number in [*range(30), *range(30)]:
            assert read_bytes(value(tmp_path / f"{number}.zip", "x")) == b"%d" % number
            assert descriptors() <= before + files._KEPT + 1
    assert descriptors() == before


def test_members_that_are_links_to_nothing_or_grow_without_measure_are_refused(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for name, kind, target in (
            ("nothing", tarfile.SYMTYPE, "../../absent"),
            ("ring", tarfile.SYMTYPE, "ring"),
            ("hard", tarfile.LNKTYPE, "hard"),
            ("device", tarfile.CHRTYPE, ""),
        ):
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = kind, target
            archive.addfile(entry)
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb", bytes(80 * 2**20))
        unnamed = zipfile.ZipInfo("x")
        unnamed.filename = ""
        archive.writestr(unnamed, b"1")
    with reading_together():
        for name in ("nothing", "ring", "hard", "device"):
            with pytest.raises(Refused):
                read_bytes(value(tmp_path / "a.tar", name))
        with pytest.raises(Refused, match="beyond the limit"):
            read_bytes(value(tmp_path / "a.zip", "bomb"))
        assert {entry.name for entry in list_archive(str(tmp_path / "a.zip"))} == {"bomb", ""}


def test_a_packed_tar_that_grows_without_measure_is_refused(tmp_path):
    (tmp_path / "a.tgz").write_bytes(tarred({"zeros": bytes(100 * 2**20)}, "w:gz"))
    with pytest.raises(tarfile.ReadError, match="beyond the limit"):
        list_archive(str(tmp_path / "a.tgz"))


def test_damaged_members_are_refused_and_others_read(tmp_path):
    content = {name: b"%d" % number * 900 for number, name in enumerate(NAMES)}
    packed = zipped(content)
    start = packed.index(NAMES[1].encode()) + len(NAMES[1])
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("x", b"1")
    (tmp_path / "a.zip").write_bytes(
        packed[:start] + b"\xff" * 8 + packed[start + 8 :]  # the packed stream of one member
    )
    encrypted = bytearray(zipped({"x": b"secret"}))
    for signature, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        struct.pack_into("<H", encrypted, encrypted.index(signature) + flags, 1)
    (tmp_path / "encrypted.zip").write_bytes(encrypted)
    (tmp_path / "no.zip").write_bytes(b"no zip")
    (tmp_path / "no.tar.gz").write_bytes(tarred(content, "w:gz")[:400])
    with reading_together():
        for name, member in (
            ("a.zip", NAMES[1]),
            ("encrypted.zip", "x"),
            ("no.zip", "x"),
            ("no.tar.gz", NAMES[-1]),
        ):
            with pytest.raises(Refused):
                read_bytes(value(tmp_path / name, member))
        assert read_bytes(value(tmp_path / "a.zip", NAMES[2])) == content[NAMES[2]]


@pytest.mark.parametrize("name", PACKED)
@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
def test_any_damage_costs_members_and_never_more(tmp_path, name, data):
    packed = bytearray(PACKED[name]({n: CONTENT[n] for n in NAMES[:3]}))
    for at in data.draw(st.lists(st.integers(0, len(packed) - 1), max_size=5)):
        packed[at] = data.draw(st.integers(0, 255))
    path = tmp_path / name
    path.write_bytes(packed[: data.draw(st.integers(0, len(packed)))])
    with reading_together():
        for member in NAMES[:3]:
            with suppress(Refused):
                assert len(read_bytes(value(path, member))) <= len(packed) * 1100
        with suppress(*files.DAMAGED):
            list_archive(str(path))


def test_an_archive_that_does_not_come_is_not_taken_for_a_damaged_one(stalling, monkeypatch):
    """Its tasks would count as removed, and so would their scores."""
    client = boto3.client("s3")
    body = zipped({"nlp/quiz/prediction.json": b"[]"})
    client.put_object(Bucket="bench", Key="m.zip", Body=body)
    catalogue = load_catalogue()
    assert len(discover("s3://bench/m.zip", "predictions", catalogue, "m").refused) == 1
    stalling.stalls_on = "GET /bench/m.zip"
    monkeypatch.setenv(READ_TIMEOUT, "4")
    with pytest.raises(StorageFailure):
        discover("s3://bench/m.zip", "predictions", catalogue, "m")


# --- what lies there now


def test_objects_that_another_process_adds_and_replaces_are_seen(monkeypatch):
    with s3_server(monkeypatch, "bench"):
        client = boto3.client("s3")
        client.put_object(Bucket="bench", Key="m/frames/0.png", Body=b"old")
        url = "s3://bench/m/frames"
        assert list_folder(url) == [("s3://bench/m/frames/0.png", "")]
        assert read_bytes(value(f"{url}/0.png")) == b"old"
        client.put_object(Bucket="bench", Key="m/frames/0.png", Body=b"renewed")
        client.put_object(Bucket="bench", Key="m/frames/1.png", Body=b"added")
        assert [url for url, _ in list_folder(url)] == [f"{url}/0.png", f"{url}/1.png"]
        assert read_bytes(value(f"{url}/0.png")) == b"renewed"
        assert read_bytes(value(f"{url}/1.png")) == b"added"
        assert Store("s3://bench/m").names("frames") == ["0.png", "1.png"]


@pytest.mark.parametrize("size", [0, 1, 2**20 - 1, 2**20, 2**20 + 1, 20 * 2**20 + 3])
@pytest.mark.parametrize("place", ["disk", "file", "memory"])
def test_files_of_any_size_are_read_whole_and_from_any_position(tmp_path, place, size):
    data = os.urandom(size)
    url = f"{tmp_path}/x" if place == "disk" else f"{place}://{tmp_path}/x"
    if place == "memory":
        Store(f"memory://{tmp_path}").write_bytes(data, "x")
    else:
        (tmp_path / "x").write_bytes(data)
    assert read_bytes(value(url)) == data
    with open_member(url) as handle:
        assert handle.seek(-min(size, 5), os.SEEK_END) == max(size - 5, 0)
        assert handle.read() == data[-5:]
        assert handle.seek(0) == 0
        assert handle.read(3) + handle.read() == data
        assert handle.read(1) == b""
