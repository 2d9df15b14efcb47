# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Temporary files of real saves: those of dead children go, one that a child still writes survives."""

from __future__ import annotations

import codecs
import contextlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
import typing as t
from pathlib import Path

import pytest
from ansible_collections.redisops.persistence.plugins.module_utils import _temp_files_removal
from ansible_collections.redisops.persistence.plugins.module_utils._privilege import ACCEPTABLE
from ansible_collections.redisops.persistence.plugins.module_utils._temp_files import process_start_and_parent
from ansible_collections.redisops.persistence.plugins.module_utils._temp_files_removal import (
    RemovalFailed,
    remove_temp_files,
)
from live_servers import SERVERS, Lab, Server, system

WAIT_SECONDS = 15.0
NOBODY = 65534

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root sees who has a file open")


@pytest.fixture
def lab() -> t.Iterator[Lab]:
    made = Lab(Path(tempfile.mkdtemp(prefix="temp-live-")))
    yield made
    made.stop()


@pytest.fixture(params=SERVERS)
def kind(request: pytest.FixtureRequest, lab: Lab) -> str:
    if request.param not in lab.binaries:
        pytest.skip(f"no server of the kind {request.param} on this machine")
    return str(request.param)


@pytest.fixture
def server(kind: str, lab: Lab) -> Server:
    started = lab.start(kind, "--save", "")
    assert started is not None
    started.fill(2000)
    return started


def slow_save(server: Server) -> int:
    """A save that takes many seconds: the child's pid, once it writes."""
    server.ask("CONFIG", "SET", "rdb-key-save-delay", "20000")
    assert "started" in server.ask("BGSAVE")
    return wait_for(lambda: next((int(path.name[5:-4]) for path in server.directory.glob("temp-*.rdb")), None))


def wait_for(answer: t.Callable[[], t.Any]) -> t.Any:
    deadline = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < deadline:
        found = answer()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError("it did not happen in time")


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        return False


def orphan(server: Server) -> str:
    """What a save leaves whose child was killed."""
    child = slow_save(server)
    os.kill(child, signal.SIGKILL)
    wait_for(lambda: not is_alive(child) and "rdb_bgsave_in_progress:0" in server.ask("INFO", "persistence"))
    name = f"temp-{child}.rdb"
    # Redis 6.2 and newer remove it themselves where the child was killed; an older one or a killed server leaves it.
    (server.directory / name).write_bytes(b"REDIS0009" + b"x" * 1000)
    return name


def options(server: Server, *names: str, **more: t.Any) -> dict[str, t.Any]:
    status = server.directory.stat()
    return {
        "pid": server.pid,
        "started_unix": process_start_and_parent(system(), server.pid)[0],
        "path": str(server.directory),
        "device": f"{os.major(status.st_dev)}:{os.minor(status.st_dev)}",
        "inode": status.st_ino,
        "names": list(names),
        "allowed_dirs": [str(server.directory)],
        "config_file": None,
        # What stands against a server and a directory is tested apart, below and in the lab.
        "accept": list(ACCEPTABLE),
        **more,
    }


def kept(result: dict[str, t.Any]) -> dict[str, str]:
    return {entry["name"]: entry["reason"] for entry in result["kept"]}


def test_an_orphan_goes_and_a_live_childs_file_beside_it_survives(server: Server) -> None:
    name = orphan(server)
    child = slow_save_beside(server, name)
    asked = options(server, name, f"temp-{child}.rdb")
    foretold = remove_temp_files(asked, system(), True)
    assert (server.directory / name).exists()
    real = remove_temp_files(asked, system(), False)
    assert foretold == real
    assert real["removed"] == [{"name": name, "size_bytes": 1009}] and real["freed_bytes"] == 1009
    assert real["changes"] == [
        {
            "what": f"temporary file {server.directory}/{name}",
            "before": 1009,
            "after": None,
            "reversible": False,
        }
    ]
    assert kept(real) == {f"temp-{child}.rdb": "a child of the server is writing it"}
    assert not (server.directory / name).exists() and is_alive(child)
    again = remove_temp_files(asked, system(), False)
    assert (again["changed"], again["absent"]) == (False, [name])
    # The save that went on all the time comes to a good end.
    server.ask("CONFIG", "SET", "rdb-key-save-delay", "0")
    os.kill(child, signal.SIGKILL)
    wait_for(lambda: "rdb_bgsave_in_progress:0" in server.ask("INFO", "persistence"))


def slow_save_beside(server: Server, name: str) -> int:
    server.ask("CONFIG", "SET", "rdb-key-save-delay", "20000")
    assert "started" in server.ask("BGSAVE")
    return wait_for(
        lambda: next((int(path.name[5:-4]) for path in server.directory.glob("temp-*.rdb") if path.name != name), None)
    )


def test_a_save_that_runs_while_orphans_go_succeeds(server: Server) -> None:
    name = orphan(server)
    server.ask("CONFIG", "SET", "rdb-key-save-delay", "300")
    assert "started" in server.ask("BGSAVE")
    wait_for(lambda: len(list(server.directory.glob("temp-*.rdb"))) == 2)
    every = [path.name for path in server.directory.glob("temp-*.rdb")]
    result = remove_temp_files(options(server, *every), system(), False)
    assert [entry["name"] for entry in result["removed"]] == [name]
    wait_for(lambda: "rdb_bgsave_in_progress:0" in server.ask("INFO", "persistence"))
    assert "rdb_last_bgsave_status:ok" in server.ask("INFO", "persistence")
    assert (server.directory / "dump.rdb").exists()


def test_the_child_of_a_killed_server_keeps_its_file(lab: Lab, kind: str, server: Server) -> None:
    """Another server was started in the same directory, and the old one's child still writes: nobody's child by now."""
    child = slow_save(server)
    # It would notice within a second that nobody reads its reports.
    os.kill(child, signal.SIGSTOP)
    server.process.kill()
    server.process.wait()
    later = lab.start(kind, "--save", "", directory=server.directory)
    assert later is not None
    try:
        name = f"temp-{child}.rdb"
        assert is_alive(child) and (server.directory / name).exists()
        result = remove_temp_files(options(later, name), system(), False)
        assert kept(result) == {name: "another process has it or may need it"}
        assert (server.directory / name).exists()
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
    wait_for(lambda: not is_alive(child))
    # Its parent did not live to remove it: this is how orphans come about.
    result = remove_temp_files(options(later, name), system(), False)
    assert [entry["name"] for entry in result["removed"]] == [name]


def test_a_pid_that_came_again_tells_by_its_start(server: Server) -> None:
    """A file of a process that has that pid now stays, unless the process came to be after the last write."""
    with process(["sleep", "600"]) as pid:
        name = f"temp-{pid}.rdb"
        path = server.directory / name
        path.write_bytes(b"REDIS")
        assert kept(remove_temp_files(options(server, name), system(), False)) == {
            name: "another process has it or may need it"
        }
        old = time.time() - 3600
        os.utime(path, (old, old))
        with open(path, "ab"):
            # Old, and yet somebody has it open.
            assert kept(remove_temp_files(options(server, name), system(), False))[name].startswith("another process")
        assert remove_temp_files(options(server, name), system(), False)["freed_bytes"] == 5
    assert not path.exists()


@contextlib.contextmanager
def process(argv: list[str], **more: t.Any) -> t.Iterator[int]:
    started = subprocess.Popen(argv, **more)
    try:
        yield started.pid
    finally:
        started.kill()
        started.wait()


def gone_pid() -> int:
    ended = subprocess.Popen(["true"])
    ended.wait()
    return ended.pid


def test_what_is_no_temporary_file_stays(server: Server) -> None:
    directory = server.directory
    pid = gone_pid()
    victim = directory / "victim"
    victim.write_text("precious")
    (directory / f"temp-{pid}1.rdb").symlink_to(victim)
    os.link(victim, directory / f"temp-{pid}2.rdb")
    (directory / f"temp-{pid}3.rdb").mkdir()
    os.mkfifo(directory / f"temp-{pid}4.rdb")
    server.ask("SAVE")
    (directory / "temp-1x.rdb").write_text("x")
    odd = ["dump.rdb", "victim", "temp-1x.rdb", "../victim", "./dump.rdb", "/etc/passwd", "temp-{{ 7 * 7 }}.rdb", ""]
    odd += [f"temp-{pid}{number}.rdb" for number in (1, 2, 3, 4)] + [f"sub/../temp-{pid}2.rdb", "temp-1.rdb\n"]
    before = sorted(os.listdir(directory))
    result = remove_temp_files(options(server, *odd), system(), False)
    assert result["removed"] == [] and result["changed"] is False
    assert set(kept(result)) | set(result["absent"]) == set(odd)
    assert sorted(os.listdir(directory)) == before and victim.read_text() == "precious"


def test_a_file_without_a_pid_goes_only_where_it_is_older_than_the_server(server: Server) -> None:
    folder = server.directory / "appendonlydir"
    folder.mkdir(exist_ok=True)
    name = "appendonlydir/temp-appendonly.aof.incr"
    path = server.directory / name
    path.write_text("x")
    result = remove_temp_files(options(server, name), system(), False)
    assert "not older than the server" in kept(result)[name] and path.exists()
    os.utime(path, (time.time() - 3600,) * 2)
    assert remove_temp_files(options(server, name), system(), False)["freed_bytes"] == 1
    assert not path.exists()


def test_a_link_for_the_aof_directory_is_not_followed(server: Server, tmp_path: Path) -> None:
    (tmp_path / "temp-a.aof.incr").write_text("x")
    os.utime(tmp_path / "temp-a.aof.incr", (1, 1))
    (server.directory / "linked").symlink_to(tmp_path)
    result = remove_temp_files(options(server, "linked/temp-a.aof.incr"), system(), False)
    assert "linked/temp-a.aof.incr" in kept(result) and (tmp_path / "temp-a.aof.incr").exists()


def test_where_not_everybody_can_be_seen_nothing_goes(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"temp-{gone_pid()}.rdb"
    (server.directory / name).write_text("x")
    os.utime(server.directory / name, (1, 1))
    monkeypatch.setattr(_temp_files_removal.HolderFinder, "complete", property(lambda self: False))
    result = remove_temp_files(options(server, name), system(), False)
    assert "could be seen" in kept(result)[name] and (server.directory / name).exists()


def test_an_ordinary_user_who_can_not_see_everybody_removes_nothing() -> None:
    place = Path(tempfile.mkdtemp(prefix="temp-user-", dir="/tmp"))
    name = f"temp-{gone_pid()}.rdb"
    (place / name).write_text("x")
    for path in (place, place / name):
        os.chown(path, NOBODY, NOBODY)
    try:
        with process(["sleep", "600"], cwd=place, user=NOBODY, group=NOBODY, extra_groups=[]) as pid:
            asked = {"pid": pid, "started_unix": None, "path": str(place), "device": None, "inode": None}
            asked |= {"allowed_dirs": [str(place)], "config_file": None, "accept": list(ACCEPTABLE)}
            result = as_nobody(lambda: remove_temp_files({**asked, "names": [name]}, system(), False))
            assert "could be seen" in kept(result)[name] and (place / name).exists()
            # Root sees everybody.
            assert remove_temp_files({**asked, "names": [name]}, system(), False)["freed_bytes"] == 1
    finally:
        shutil.rmtree(place)


def as_nobody(function: t.Callable[[], dict[str, t.Any]]) -> dict[str, t.Any]:
    """What a function returns in a process of the user nobody."""
    # Python's own files may be out of that user's reach.
    codecs.lookup("ascii")
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        answer: dict[str, t.Any] = {}
        try:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            answer = function()
        except BaseException as error:
            answer = {"error": repr(error)}
        finally:
            os.write(writing, json.dumps(answer).encode())
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as content:
        answered = json.loads(content.read())
    os.waitpid(child, 0)
    assert "error" not in answered, answered
    return dict(answered)


def test_a_file_that_changes_while_it_is_judged_stays(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where a new child gets the old one's pid right then: it opens the very file, and empties it."""
    name = f"temp-{gone_pid()}.rdb"
    path = server.directory / name
    path.write_text("old")
    judge = _temp_files_removal.why_kept

    def late(file: t.Any, *more: t.Any) -> t.Any:
        answer = judge(file, *more)
        path.write_text("new and longer")
        return answer

    monkeypatch.setattr(_temp_files_removal, "why_kept", late)
    result = remove_temp_files(options(server, name), system(), False)
    assert "while it was looked at" in kept(result)[name] and path.read_text() == "new and longer"


def test_another_directory_than_the_diagnosed_one_is_refused(server: Server) -> None:
    name = f"temp-{gone_pid()}.rdb"
    (server.directory / name).write_text("x")
    for wrong in ({"inode": 1}, {"path": "/etc"}, {"started_unix": 5.0}, {"device": "0:0"}):
        with pytest.raises(RemovalFailed):
            remove_temp_files(options(server, name, **wrong), system(), False)
    assert (server.directory / name).exists()


def test_a_server_in_an_intruders_place_has_nothing_removed(tmp_path: Path) -> None:
    place = tmp_path / ".ssh"
    place.mkdir()
    name = f"temp-{gone_pid()}.rdb"
    (place / name).write_text("x")
    with process(["sleep", "600"], cwd=place) as pid:
        asked = {"pid": pid, "started_unix": None, "path": str(place), "device": None, "inode": None, "names": [name]}
        asked |= {"allowed_dirs": [str(place)], "config_file": None, "accept": list(ACCEPTABLE)}
        with pytest.raises(RemovalFailed, match="SSH keys"):
            remove_temp_files(asked, system(), False)
    assert (place / name).exists()
