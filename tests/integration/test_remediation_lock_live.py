# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lock of a host, in a directory that stands for it: two at once, crashes, full disks, and others who interfere."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import typing as t
from pathlib import Path

import pytest
import yaml
from ansible_collections.redisops.persistence.plugins.module_utils import _remediation_lock
from ansible_collections.redisops.persistence.plugins.module_utils._remediation_lock import (
    FIELDS,
    LockError,
    argument_spec,
    run_lock,
)
from ansible_collections.redisops.persistence.plugins.module_utils._system import System
from ansible_collections.redisops.persistence.plugins.plugin_utils import run_identity

NOBODY = 65534
PLAYBOOK = Path(sys.executable).with_name("ansible-playbook")

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="root's lock takes root")


@pytest.fixture
def root() -> t.Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="lock-live-"))
    (made / "run").mkdir()
    (made / "dev/shm").mkdir(parents=True)
    (made / "dev/shm").chmod(0o1777)
    (made / "proc/sys/kernel/random").mkdir(parents=True)
    (made / "proc/sys/kernel/random/boot_id").write_text("boot-1\n")
    yield made
    for line in reversed(Path("/proc/self/mounts").read_text().splitlines()):
        if line.split()[1].startswith(f"{made}/"):
            subprocess.run(["umount", "-l", line.split()[1]], check=False)
    shutil.rmtree(made, ignore_errors=True)


def ask(root: Path, run_id: str = "run-a", check_mode: bool = False, now: float | None = None, **more: t.Any) -> t.Any:
    options = {name: option.get("default") for name, option in argument_spec().items()}
    options.update(run_id=run_id, operator=f"{run_id}@control", control_identity=f"control-of-{run_id}", **more)
    clock = time.time if now is None else (lambda: now)
    return run_lock(options, System(root=str(root), clock=clock), check_mode)


def refused(root: Path, *words: str, **options: t.Any) -> dict[str, t.Any]:
    with pytest.raises(LockError) as caught:
        ask(root, **options)
    for word in words:
        assert word in str(caught.value)
    return caught.value.result


def main_place(root: Path) -> Path:
    return root / "run/redisops-persistence/lock"


def memory_place(root: Path) -> Path:
    return root / "dev/shm/redisops-persistence-0.lock"


def entries(root: Path) -> list[str]:
    found = [path for path in root.rglob("*") if path.is_file() and "proc" not in path.parts]
    return sorted(str(path.relative_to(root)) for path in found)


# One after the other


def test_it_is_taken_named_prolonged_and_given_back(root: Path) -> None:
    taken = ask(root, now=1000.0, lease_seconds=60, control_pid=4711)
    assert taken["acquired"] is True and (taken["changed"], taken["changes"]) == (False, [])
    assert taken["lock_file"] == str(main_place(root))
    assert list(taken["holder"]) == list(FIELDS)
    assert (taken["holder"]["since_unix"], taken["holder"]["expires_unix"]) == (1000.0, 1060.0)
    assert main_place(root).stat().st_mode & 0o7777 == 0o600
    assert main_place(root).parent.stat().st_mode & 0o7777 == 0o700
    held = refused(root, "run-a@control", "1970-01-01 00:16:40 UTC", "(run run-a)", "wait", run_id="run-b")
    assert held["holder"]["control_pid"] == 4711 and held["acquired"] is False
    again = ask(root, now=1030.0, lease_seconds=60)
    assert (again["holder"]["since_unix"], again["holder"]["expires_unix"]) == (1000.0, 1090.0)
    assert again["taken_over"] is None and again["warnings"] == []
    others = ask(root, "run-b", state="released")
    assert others["holder"]["run_id"] == "run-a" and others["warnings"] == [] and main_place(root).exists()
    ask(root, state="released")
    assert entries(root) == []
    assert ask(root, state="released")["warnings"] == []
    assert ask(root, "run-b")["acquired"] is True


def test_check_mode_only_looks(root: Path) -> None:
    looked = ask(root, check_mode=True)
    assert (looked["acquired"], looked["holder"], entries(root)) == (False, None, [])
    assert not main_place(root).parent.exists()
    ask(root)
    before = main_place(root).read_bytes()
    refused(root, "run-a", run_id="run-b", check_mode=True)
    ask(root, check_mode=True)
    ask(root, check_mode=True, state="released")
    assert main_place(root).read_bytes() == before


def test_a_lease_that_is_over_is_taken_over_with_a_warning(root: Path) -> None:
    ask(root, lease_seconds=1)
    refused(root, "run-a", run_id="run-b")
    time.sleep(1.1)
    taken = ask(root, "run-b")
    assert taken["taken_over"]["run_id"] == "run-a" and "its lease is over" in taken["warnings"][0]
    # The first one can neither have it back nor give it away.
    refused(root, "run-b", run_id="run-a")
    ask(root, "run-b")
    late = ask(root, "run-a", state="released")
    assert "was taken from this run" in late["warnings"][0] and main_place(root).exists()


def test_a_clock_that_is_set_ends_no_lease(root: Path) -> None:
    ask(root, now=1000.0)
    refused(root, run_id="run-b", now=10.0**9)
    refused(root, run_id="run-b", now=1.0)
    # After a boot there is only the clock.
    (root / "proc/sys/kernel/random/boot_id").write_text("boot-2\n")
    refused(root, run_id="run-b", now=1001.0)
    assert ask(root, "run-b", now=10.0**9)["acquired"] is True


def test_a_run_that_is_known_to_be_gone_is_taken_over_and_no_other(root: Path) -> None:
    ask(root)
    refused(root, "run-a", run_id="run-b", take_over_from="run-x")
    taken = ask(root, "run-b", take_over_from="run-a")
    assert "no more" in taken["warnings"][0] and taken["taken_over"]["operator"] == "run-a@control"
    refused(root, "run-b", run_id="run-c", take_over_from="run-a")


def test_two_control_nodes_that_count_alike_are_two(root: Path) -> None:
    ask(root)
    options = {name: option.get("default") for name, option in argument_spec().items()}
    options.update(run_id="run-a", control_identity="another")
    with pytest.raises(LockError):
        run_lock(options, System(root=str(root)), False)


@pytest.mark.parametrize("bad", ["", "a b", "../x", "a\nb", "{{ x }}", "-x", "x" * 200, "ä"])
def test_a_name_that_is_not_safe_is_refused(root: Path, bad: str) -> None:
    refused(root, run_id=bad)
    assert entries(root) == []


@pytest.mark.parametrize("lease", [0, -1, 10**9])
def test_a_lease_without_measure_is_refused(root: Path, lease: int) -> None:
    refused(root, lease_seconds=lease)


def test_what_moves_a_terminals_cursor_is_not_shown(root: Path) -> None:
    ask(root)
    document = json.loads(main_place(root).read_text())
    main_place(root).write_text(json.dumps({**document, "operator": "eve\x1b[2J\n\u202e@x", "control_pid": "1"}))
    result = refused(root, "eve?[2J??@x", run_id="run-b")
    assert result["holder"]["control_pid"] is None


# Two at once


def _contend(root: str, number: int, barrier: t.Any, answers: t.Any, lease_seconds: int, told: str | None) -> None:
    barrier.wait()
    try:
        ask(Path(root), f"run-{number}", lease_seconds=lease_seconds, take_over_from=told)
        answers.put((number, True))
    except LockError as error:
        answers.put((number, False if "is being remediated by" in str(error) else str(error)))


def contend(root: Path, count: int, told: str | None = None) -> list[t.Any]:
    context = multiprocessing.get_context("fork")
    barrier, answers = context.Barrier(count), context.Queue()
    workers = [
        context.Process(target=_contend, args=(str(root), number, barrier, answers, 3600, told))
        for number in range(count)
    ]
    for worker in workers:
        worker.start()
    got = [answers.get(timeout=30) for _worker in workers]
    for worker in workers:
        worker.join()
    return sorted(got)


@pytest.mark.parametrize("round_number", range(8))
def test_of_many_processes_at_once_exactly_one_gets_it(root: Path, round_number: int) -> None:
    answers = contend(root, 6)
    winners = [number for number, got in answers if got is True]
    assert len(winners) == 1 and {got for _number, got in answers} == {True, False}
    assert json.loads(main_place(root).read_text())["run_id"] == f"run-{winners[0]}"


@pytest.mark.parametrize("round_number", range(8))
def test_of_many_who_take_over_exactly_one_gets_it(root: Path, round_number: int) -> None:
    ask(root, "crashed", lease_seconds=1 if round_number % 2 else 3600)
    if round_number % 2:
        time.sleep(1.05)
    answers = contend(root, 6, told="crashed")
    assert [got for _number, got in answers].count(True) == 1
    assert {got for _number, got in answers} == {True, False}


def test_while_it_is_given_back_nobody_is_in_it_twice(root: Path) -> None:
    """Takes and gives back from many threads: never two at once."""
    inside: list[str] = []
    overlaps: list[t.Any] = []
    turns = [0]

    def work(number: int) -> None:
        until = time.monotonic() + 2
        while time.monotonic() < until:
            try:
                ask(root, f"run-{number}")
            except LockError as error:
                if "is being remediated" not in str(error):
                    overlaps.append(str(error))
                continue
            inside.append(f"run-{number}")
            if len(inside) != 1:
                overlaps.append(list(inside))
            turns[0] += 1
            inside.remove(f"run-{number}")
            ask(root, f"run-{number}", state="released")

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert overlaps == [] and turns[0] > 10


# A host in trouble


def test_without_a_writable_run_directory_it_lies_in_memory(root: Path) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", str(root / "run")], check=True)
    assert ask(root)["lock_file"] == str(memory_place(root))
    refused(root, "run-a", run_id="run-b")
    # Also where the other place can be written by now.
    subprocess.run(["mount", "-o", "remount,rw", str(root / "run")], check=True)
    refused(root, "run-a", run_id="run-b")
    ask(root)
    assert not main_place(root).exists()
    ask(root, state="released")
    assert entries(root) == []


def test_a_full_file_system_leaves_no_half_lock(root: Path) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4k,nr_inodes=10", "tmpfs", str(root / "run")], check=True)
    (root / "run/fill").write_bytes(b"x" * 4096)
    assert ask(root)["lock_file"] == str(memory_place(root))
    assert not main_place(root).exists()
    refused(root, run_id="run-b")


def test_where_there_is_no_place_at_all_it_is_told(root: Path) -> None:
    for place in ("run", "dev/shm"):
        subprocess.run(["mount", "-t", "tmpfs", "-o", "ro,mode=1777", "tmpfs", str(root / place)], check=True)
    refused(root, "Read-only file system")


def test_two_who_take_different_places_at_once_are_not_both_in(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other one finds no room in /run just when this one does, and both have looked before either wrote."""
    write = _remediation_lock.Lock._write

    def write_late(self: t.Any, path: str) -> None:
        if self.options["run_id"] == "run-a" and not memory_place(root).exists():
            monkeypatch.setattr(_remediation_lock.Lock, "_write", only_memory)
            ask(root, "run-b")
            monkeypatch.setattr(_remediation_lock.Lock, "_write", write_late)
        write(self, path)

    def only_memory(self: t.Any, path: str) -> None:
        if path == str(main_place(root)):
            raise OSError(errno.ENOSPC, "full")
        write(self, path)

    monkeypatch.setattr(_remediation_lock.Lock, "_write", write_late)
    refused(root, "run-b@control")
    assert entries(root) == ["dev/shm/redisops-persistence-0.lock"]


def test_half_a_content_is_somebodys_until_its_time_is_over(root: Path) -> None:
    ask(root)
    main_place(root).write_text('{"run_id": "run-')
    refused(root, "somebody", run_id="run-b")
    os.utime(main_place(root), (1, 1))
    assert ask(root, "run-b")["acquired"] is True


def test_an_empty_file_is_nobodys(root: Path) -> None:
    main_place(root).parent.mkdir(mode=0o700)
    main_place(root).touch()
    assert ask(root)["acquired"] is True


# Others who interfere


def fake(path: Path) -> None:
    path.write_text(json.dumps({"run_id": "fake", "operator": "eve", "since_unix": 1, "expires_unix": 10**12}))


def test_somebody_elses_file_holds_nobody_up(root: Path) -> None:
    fake(memory_place(root))
    os.chown(memory_place(root), NOBODY, NOBODY)
    assert ask(root)["lock_file"] == str(main_place(root))
    ask(root, state="released")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", str(root / "run")], check=True)
    assert ask(root)["lock_file"] == str(memory_place(root))
    assert memory_place(root).stat().st_uid == 0
    refused(root, "run-a", run_id="run-b")


@pytest.mark.parametrize("kind", ["link", "dangling", "directory", "fifo", "hard link"])
def test_what_else_has_the_name_is_neither_followed_nor_written(root: Path, kind: str) -> None:
    victim = root / "victim"
    victim.write_text("precious")
    place = memory_place(root)
    if kind == "link":
        place.symlink_to(victim)
    elif kind == "dangling":
        place.symlink_to(root / "made")
    elif kind == "directory":
        place.mkdir()
    elif kind == "fifo":
        os.mkfifo(place)
    else:
        os.link(victim, place)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", str(root / "run")], check=True)
    assert ask(root)["lock_file"] == str(place)
    assert victim.read_text() == "precious" and not (root / "made").exists()
    assert place.is_file() and not place.is_symlink() and place.stat().st_nlink == 1
    refused(root, "run-a", run_id="run-b")


@pytest.mark.parametrize("kind", ["foreign", "open", "link"])
def test_a_directory_that_others_may_write_to_is_not_used(root: Path, kind: str) -> None:
    directory = main_place(root).parent
    real = root / "elsewhere"
    real.mkdir()
    fake(real / "lock")
    if kind == "link":
        directory.symlink_to(real)
    else:
        shutil.copytree(real, directory)
        if kind == "foreign":
            os.chown(directory, NOBODY, NOBODY)
        else:
            directory.chmod(0o777)
    before = (directory / "lock").read_bytes()
    assert ask(root)["lock_file"] == str(memory_place(root))
    assert (directory / "lock").read_bytes() == before


def test_an_ordinary_user_has_a_lock_of_their_own(root: Path) -> None:
    lock = _remediation_lock.Lock(System(root=str(root)), {}, uid=1000)
    assert lock.places() == [str(root / "dev/shm/redisops-persistence-1000.lock")]


def test_a_lock_that_somebody_holds_up_is_told_in_time(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_remediation_lock, "WAIT_SECONDS", 0.3)
    main_place(root).parent.mkdir(mode=0o700)
    main_place(root).touch()
    memory_place(root).touch()
    with open(main_place(root)) as one, open(memory_place(root)) as other:
        fcntl.flock(one, fcntl.LOCK_EX)
        fcntl.flock(other, fcntl.LOCK_EX)
        began = time.monotonic()
        refused(root, "busy")
        assert time.monotonic() - began < 5


# With Ansible, on the machine's own lock


@pytest.fixture
def machine_lock() -> t.Iterator[None]:
    places = [Path("/run/redisops-persistence/lock"), Path("/dev/shm/redisops-persistence-0.lock")]
    # Other tests of this machine remediate it too.
    deadline = time.monotonic() + 120
    while any(place.exists() for place in places) and time.monotonic() < deadline:
        time.sleep(0.2)
    if any(place.exists() for place in places):
        pytest.skip("this machine is being remediated")
    yield
    for place in places:
        if place.exists() and b"lock-live-test" in place.read_bytes():
            place.unlink()


def playbook(directory: Path, *tasks: dict[str, t.Any]) -> list[str]:
    path = directory / f"play-{len(list(directory.glob('play-*')))}.yml"
    path.write_text(yaml.safe_dump([{"hosts": "web-07", "gather_facts": False, "tasks": list(tasks)}]))
    interpreter = json.dumps({"ansible_python_interpreter": sys.executable})
    return [str(PLAYBOOK), "-i", "web-07,", "-c", "local", "-e", interpreter, str(path)]


def task(run_id: str, **more: t.Any) -> dict[str, t.Any]:
    return {"redisops.persistence.remediation_lock": {"run_id": f"lock-live-test-{run_id}", **more}}


def descendants(pid: int) -> list[int]:
    """The children of a process, and theirs."""
    children: list[int] = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, path.read_text().split()):
            children += [child, *descendants(child)]
    return children


def test_with_ansible_the_second_operator_is_told_and_a_killed_run_is_taken_over(
    tmp_path: Path, machine_lock: None
) -> None:
    first = subprocess.Popen(
        playbook(tmp_path, task("first"), {"ansible.builtin.wait_for": {"timeout": 120}}),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    place = Path("/run/redisops-persistence/lock")
    try:
        deadline = time.monotonic() + 60
        while not (place.exists() and b"first" in place.read_bytes()) and time.monotonic() < deadline:
            time.sleep(0.1)
        holder = json.loads(place.read_text())
        assert holder["control_pid"] == first.pid
        assert holder["control_started"] == run_identity.describe_process(first.pid).started
        second = playbook(tmp_path, task("second"))
        told = subprocess.run(second, capture_output=True, text=True, check=False)
        assert told.returncode == 2
        said = told.stdout + told.stderr
        assert "web-07 is being remediated by" in said and "(run lock-live-test-first)" in said
        assert "This host is" not in said
        looked = subprocess.run([*second, "--check"], capture_output=True, text=True, check=False)
        assert looked.returncode == 2
    finally:
        # The run is gone, with its workers, and has given nothing back.
        for pid in [first.pid, *descendants(first.pid)]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        first.wait()
    assert place.exists()
    done = subprocess.run(
        playbook(tmp_path, task("second"), task("second", state="released")),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "was taken over: its run is no more" in " ".join((done.stdout + done.stderr).split())
    assert "changed=0" in done.stdout and not place.exists()


def test_with_ansible_of_two_at_once_one_gets_it(tmp_path: Path, machine_lock: None) -> None:
    hold = {"ansible.builtin.wait_for": {"timeout": 15}}
    runs = [
        subprocess.Popen(
            playbook(tmp_path, task(name), hold, task(name, state="released")),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for name in ("one", "two")
    ]
    said = [run.communicate()[0] for run in runs]
    assert sorted(run.returncode for run in runs) == [0, 2], said
    loser = said[0] if runs[0].returncode else said[1]
    assert "web-07 is being remediated by" in loser
    assert not Path("/run/redisops-persistence/lock").exists()
