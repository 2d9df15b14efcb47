# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs in trouble: secrets on the way, a server that dies, a host without room, a run that is ended, two at once."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import typing as t
from pathlib import Path

import pytest

from .bench import Bench
from .faults import break_directory_mode, break_directory_owner, break_file_size_limit, fails, fill_up
from .judging import instance_of
from .remediation import (
    HOST,
    INVENTORY,
    LOCK_PATHS,
    Run,
    Started,
    is_locked,
    is_writable,
    remediate,
    run,
    start_run,
    variables_for,
    wait_for_lock,
)
from .remedies import break_directory_with_orphans, break_disk_full_of_orphans, leave_orphans
from .score import SCORE
from .servers import KINDS, ServerKind, child_pids, process_state, until
from .snapshot import digest_of, server_state, untouched
from .test_faults import require

pytestmark = pytest.mark.lab

PASSWORD = "Zq9 pass\"wo'rd $HOME %41"
SYSTEM_PYTHON = "/usr/bin/python3"
STOP_WRITES = "stop-writes-on-bgsave-error"


@pytest.fixture(params=[kind for kind in KINDS if kind.binary][-1:] or KINDS[-1:], ids=lambda kind: kind.id)
def one_kind(request: pytest.FixtureRequest) -> ServerKind:
    """What is disturbed is the run: one version of the server is enough."""
    return t.cast(ServerKind, request.param)


def broken(
    bench_of: t.Callable[[ServerKind], Bench], kind: ServerKind, *ways: t.Callable[[Bench], t.Any]
) -> list[Bench]:
    benches = []
    for way in ways:
        bench = bench_of(kind)
        way(bench)
        benches.append(bench)
    return benches


def cured(done: Run, benches: list[Bench]) -> None:
    for bench in benches:
        assert done.results()[bench.server.address] == "cured", done.story(bench.server.address)
        assert bench.server.status() == "ok"


def until_it_saves(bench: Bench, started: Started) -> None:
    """Wait for the proof of a run: a child that saves (the fault's own save has ended)."""

    def saving() -> bool:
        assert started.process.poll() is None, f"the run ended first: {started.read()[-3000:]}"
        return bool(child_pids(bench.server.pid))

    until(saving, "no save is started", 120)


# 6. Secrets


class ProcessWatch:
    """Every command line of the machine during a run."""

    def __init__(self) -> None:
        self.seen: set[bytes] = set()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> ProcessWatch:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(0.005):
            for name in os.listdir("/proc"):
                if name.isdigit():
                    with contextlib.suppress(OSError):
                        self.seen.add(Path(f"/proc/{name}/cmdline").read_bytes())


def forms_of(secret: str) -> list[str]:
    """The secret as it is, as JSON and a shell would write it, and a part of it that no quoting touches."""
    return [secret, json.dumps(secret)[1:-1], secret.replace("'", "'\"'\"'"), secret.split('"')[0]]


@pytest.mark.attempt
@pytest.mark.parametrize("python", [sys.executable, SYSTEM_PYTHON])
def test_the_password_is_nowhere(
    python: str, bench_of: t.Callable[[ServerKind], Bench], one_kind: ServerKind, tmp_path: Path
) -> None:
    """At the highest verbosity; with redis-py and with the servers' own client."""
    require(("root",))
    if not os.access(python, os.X_OK):
        pytest.skip(f"no {python}")
    bench = bench_of(one_kind)
    bench.config["requirepass"] = json.dumps(PASSWORD)
    bench.new().prepare()
    server = bench.server
    server.start()
    server.call("AUTH", PASSWORD)
    server.fill()
    bench.chmod(server.directory, 0o555)
    leave_orphans(server, 1, 1000)
    server.call("CONFIG", "SET", STOP_WRITES, "no")
    fails(server)
    variables = variables_for(
        tmp_path,
        [server],
        redis_instances=[instance_of(server, login_password=PASSWORD)],
        ansible_python_interpreter=python,
        remediate_opt_in=["rescue", "oom_score", "emergency_unblock"],
        remediate_rescue_dir=str(tmp_path / "rescue"),
    )
    (tmp_path / "rescue").mkdir()
    before = set(Path("/dev/shm").iterdir())
    with ProcessWatch() as watch:
        done = run(tmp_path, {HOST: variables}, "-vvvv", "--diff")
    (tmp_path / INVENTORY).unlink()
    cured(done, [bench])
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    written += [path for path in set(Path("/dev/shm").iterdir()) - before if path.is_file()]
    for form in forms_of(PASSWORD):
        assert form not in done.output
        assert not [path for path in written if form.encode() in path.read_bytes()]
        assert not [line for line in watch.seen if form.encode() in line]
        assert form not in server.read_log()
    assert len(watch.seen) > 10


# A server that dies


@pytest.mark.attempt
def test_a_server_that_dies_in_the_middle_stops_no_other(
    bench_of: t.Callable[[ServerKind], Bench], one_kind: ServerKind, tmp_path: Path
) -> None:
    require(("root",))
    dying, other = broken(bench_of, one_kind, break_directory_mode, break_directory_owner)
    dying.server.slow_child(500_000)
    started = start_run(tmp_path, {HOST: variables_for(tmp_path, [dying.server, other.server])})
    until_it_saves(dying, started)
    os.kill(dying.server.pid, signal.SIGKILL)
    done = started.finish()
    assert "Traceback (most recent call last)" not in done.output
    assert done.results()[dying.server.address] == "failed", done.story(dying.server.address)
    cured(done, [other])
    assert done.code != 0
    assert not is_locked()


# 9. A host without room


@contextlib.contextmanager
def full_host(directory: Path) -> t.Iterator[Path]:
    """A Python for which every place of the host is read-only, but for /dev/shm and what is mounted for the servers."""
    script = (
        "mount -o remount,bind,ro /\n"
        "for place in /run /tmp /var/tmp /var /home /root; do\n"
        '  if mountpoint -q "$place"; then mount -o remount,bind,ro "$place"; fi\n'
        "done\n"
        "for place in /tmp /run /var/tmp; do if touch $place/x 2>/dev/null; then exit 3; fi; done\n"
        "echo ready\nexec sleep 600"
    )
    holder = subprocess.Popen(
        ["unshare", "--mount", "--propagation", "private", "sh", "-ec", script],
        stdout=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
    )
    assert holder.stdout is not None
    try:
        assert holder.stdout.readline() == b"ready\n", "the host takes files"
        python = directory / "python"
        enter = f"nsenter --target={holder.pid} --mount --wd=/dev/shm"
        python.write_text(f'#!/bin/sh\nexec {enter} -- {sys.executable} "$@"\n')
        python.chmod(0o755)
        yield python
    finally:
        holder.kill()
        holder.wait(10)
        holder.stdout.close()


def closed_directory_on_tmpfs(bench: Bench) -> None:
    server = bench.start_on_tmpfs("size=10m")
    bench.chmod(server.directory, 0o555)
    fails(server)


@pytest.mark.attempt
def test_a_host_whose_only_place_is_in_memory(
    bench_of: t.Callable[[ServerKind], Bench], one_kind: ServerKind, tmp_path: Path
) -> None:
    require(("root",))
    benches = broken(bench_of, one_kind, break_disk_full_of_orphans, closed_directory_on_tmpfs)
    before = {path.name for path in Path("/dev/shm").iterdir()}
    with full_host(tmp_path) as python:
        done = remediate(tmp_path, [bench.server for bench in benches], ansible_python_interpreter=str(python))
    cured(done, benches)
    assert done.code == 0, done.output[-3000:]

    def left() -> list[str]:
        names = {path.name for path in Path("/dev/shm").iterdir()} - before
        return [name for name in names if "redisops" in name or "ansible" in name]

    # What another run on this machine keeps there goes with it.
    until(lambda: not left(), f"files stay in memory: {left()}", 30)


# 5. Runs that are ended


def changed_once(started: Started) -> bool:
    """Whether the first fix has been carried out, and the second has not (the record tells)."""
    if started.process.poll() is not None:
        raise AssertionError(f"the run ended first: {started.read()[-3000:]}")
    return "Note what has changed" in started.read()


@pytest.mark.attempt
def test_a_run_that_is_killed_between_two_fixes_is_taken_up_again(
    bench_of: t.Callable[[ServerKind], Bench], one_kind: ServerKind, tmp_path: Path
) -> None:
    """No lock is left for ever, and the next run ends what the first began."""
    require(("root",))
    benches = broken(
        bench_of,
        one_kind,
        break_directory_mode,
        break_directory_with_orphans,
        break_directory_owner,
        break_file_size_limit,
    )
    servers = [bench.server for bench in benches]
    digests = [digest_of(server) for server in servers]
    wait_for_lock()
    first = start_run(tmp_path / "first", {HOST: variables_for(tmp_path / "first", servers)})
    until(lambda: changed_once(first), "nothing is changed", 90)
    first.signal(signal.SIGKILL)
    first.process.wait(10)
    assert is_locked(), "the killed run left no lock to be judged"
    assert [server.status() for server in servers] == ["err"] * len(servers)
    records = list((tmp_path / "first" / "record").rglob("*.json"))
    assert records and json.loads(records[0].read_text())
    again = start_run(tmp_path / "again", {HOST: variables_for(tmp_path / "again", servers)}).finish()
    assert again.code == 0, again.output[-4000:]
    cured(again, benches)
    assert [digest_of(server) for server in servers] == digests
    assert not is_locked()


@pytest.mark.attempt
def test_a_second_operator_is_refused(
    bench_of: t.Callable[[ServerKind], Bench], one_kind: ServerKind, tmp_path: Path
) -> None:
    require(("root",))
    busy, other = broken(bench_of, one_kind, break_directory_mode, break_directory_mode)
    busy.server.slow_child(10_000_000)
    wait_for_lock()
    first = start_run(tmp_path / "first", {HOST: variables_for(tmp_path / "first", [busy.server])})
    until_it_saves(busy, first)
    second = start_run(tmp_path / "second", {HOST: variables_for(tmp_path / "second", [other.server])}).finish()
    assert first.process.poll() is None, "the first run ended too early to be in the way"
    assert second.code != 0
    assert "since" in second.output, second.output[-3000:]
    assert other.server.status() == "err"
    assert other.server.directory.stat().st_mode & 0o777 == 0o555
    assert not second.changes()
    assert is_locked(), "the second run took the first one's lock away"
    os.kill(busy.server.child(), signal.SIGUSR1)
    busy.server.fast_child()
    first.finish()
    assert not is_locked()


# Writes in an emergency


def blocked_by_a_full_disk(bench: Bench) -> None:
    server = bench.start_on_tmpfs("size=1m", keys=3)
    fill_up(server.directory)
    server.fill(1, prefix="more")
    fails(server)


def asks_for_writes(directory: Path, *benches: Bench, **more: t.Any) -> dict[str, t.Any]:
    return variables_for(directory, [bench.server for bench in benches], remediate_opt_in=["emergency_unblock"], **more)


def refusal(bench: Bench) -> str:
    return str(bench.server.call("CONFIG", "GET", STOP_WRITES)[1])


def test_writes_are_let_through_and_refused_again(
    bench_of: t.Callable[[ServerKind], Bench], one_kind: ServerKind, tmp_path: Path
) -> None:
    """With the end of the run, for the disk stays full."""
    require(("root",))
    (bench,) = broken(bench_of, one_kind, blocked_by_a_full_disk)
    assert not is_writable(bench.server)
    done = run(tmp_path, {HOST: asks_for_writes(tmp_path, bench)})
    assert refusal(bench) == "yes"
    assert not is_writable(bench.server)
    assert done.code != 0
    assert [path.name for path in bench.server.directory.iterdir()] == ["filler"]


@pytest.mark.attempt
@pytest.mark.parametrize(("number", "seconds"), [(signal.SIGINT, 900), (signal.SIGKILL, 900), (signal.SIGKILL, 3)])
def test_writes_are_refused_again_whatever_becomes_of_the_run(
    number: int,
    seconds: int,
    bench_of: t.Callable[[ServerKind], Bench],
    one_kind: ServerKind,
    tmp_path: Path,
) -> None:
    """By the host: when a save has succeeded, or when the time is up."""
    require(("root",))
    bench, slow = broken(bench_of, one_kind, blocked_by_a_full_disk, break_directory_mode)
    slow.server.slow_child(500_000)
    variables = asks_for_writes(tmp_path, bench, slow, remediate_emergency_seconds=seconds)
    wait_for_lock()
    started = start_run(tmp_path, {HOST: variables})
    until(lambda: refusal(bench) == "no", f"writes are not let through: {started.read()[-3000:]}", 90)
    started.signal(number)
    if number == signal.SIGKILL:
        started.process.wait(10)
    else:
        started.finish(60)
    if seconds > 100:
        (bench.server.directory / "filler").unlink()
        bench.server.bgsave_and_wait()
        assert bench.server.status() == "ok"
    until(lambda: refusal(bench) == "yes", "writes stay let through", 20)
    slow.server.fast_child()
    release_lock()


def release_lock() -> None:
    """Let a healthy run end the lease of one that was killed: the lock is taken over, and let go."""
    for path in LOCK_PATHS:
        with contextlib.suppress(OSError, ValueError, KeyError):
            if process_state(int(json.loads(path.read_text())["control_pid"])) in (None, "Z"):
                path.unlink()


# Figures


def test_how_long_one_broken_host_takes(
    bench_of: t.Callable[[ServerKind], Bench], one_kind: ServerKind, tmp_path: Path
) -> None:
    require(("root",))
    (bench,) = broken(bench_of, one_kind, break_directory_mode)
    done = remediate(tmp_path, [bench.server])
    cured(done, [bench])
    SCORE.seconds.append(done.seconds)
    assert done.seconds < 60


def test_the_plan_alone_changes_nothing(
    bench_of: t.Callable[[ServerKind], Bench], one_kind: ServerKind, tmp_path: Path
) -> None:
    require(("root",))
    (bench,) = broken(bench_of, one_kind, break_directory_mode)
    before = server_state(bench.server)
    done = remediate(tmp_path, [bench.server], "--tags", "plan")
    assert not untouched(bench.server, before, server_state(bench.server))
    assert not done.changes()
    assert not (tmp_path / "record").exists()
