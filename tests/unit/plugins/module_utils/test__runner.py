# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import resource
import threading
import time
import typing as t

import pytest
from ansible_collections.redisops.persistence.plugins.module_utils import _runner
from ansible_collections.redisops.persistence.plugins.module_utils._runner import CommandRunner
from ansible_collections.redisops.persistence.plugins.module_utils._system import System


@pytest.fixture
def machine() -> System:
    return System(runner=CommandRunner())


def test_output_code_environment_and_input(machine: System) -> None:
    result = machine.run(
        ["sh", "-c", 'read x; echo "$x $SECRET $LC_ALL"; echo no >&2; exit 3'], {"SECRET": "s"}, 5, "in\n"
    )
    assert result == (3, "in s C\n", "no\n")


def test_nothing_is_expanded(machine: System) -> None:
    assert machine.run(["printf", "%s", "~ $HOME *"]).stdout == "~ $HOME *"


def test_bytes_become_text_for_json(machine: System) -> None:
    assert machine.run(["printf", r"a\377"]).stdout == "a\\xff"


def test_command_is_stopped_when_its_time_is_over(machine: System) -> None:
    began = time.monotonic()
    assert machine.run(["sleep", "20"], timeout_seconds=0.3).rc == 124
    assert machine.run(["sh", "-c", "trap '' TERM; sleep 20 & wait; sleep 20"], timeout_seconds=0.3).rc == 124
    assert time.monotonic() - began < 6


def test_missing_command(machine: System) -> None:
    assert machine.run(["no-such-command-here"]).rc == 127


def test_output_without_end_is_cut_off(machine: System) -> None:
    began = time.monotonic()
    result = machine.run(["yes"], timeout_seconds=20)
    assert (result.rc, result.stdout) == (125, "")
    assert "bytes" in result.stderr
    assert time.monotonic() - began < 10


def test_what_a_command_started_ends_with_it(machine: System, tmp_path: t.Any) -> None:
    alive = tmp_path / "alive"
    machine.run(["sh", "-c", f"(sleep 1.5; touch {alive}) & sleep 20"], timeout_seconds=0.3)
    time.sleep(1.6)
    assert not alive.exists()


def test_input_that_nobody_reads_holds_nobody_up(machine: System) -> None:
    began = time.monotonic()
    assert machine.run(["true"], timeout_seconds=5, stdin="x" * 1_000_000).rc == 0
    assert machine.run(["sleep", "20"], timeout_seconds=0.3, stdin="x" * 1_000_000).rc == 124
    assert time.monotonic() - began < 4


def test_clients_have_less_memory_than_other_commands(machine: System, tmp_path: t.Any) -> None:
    client = tmp_path / "redis-cli"
    client.write_text("#!/bin/sh\nsleep 0.1\nulimit -S -d\n")
    client.chmod(0o755)
    assert machine.run([str(client)]).stdout.strip() == str(_runner.CLIENT_MEMORY_BYTES // 1024)
    soft = resource.getrlimit(resource.RLIMIT_DATA)[0]
    shown = "unlimited" if soft == resource.RLIM_INFINITY else str(soft // 1024)
    assert machine.run(["sh", "-c", "sleep 0.1; ulimit -S -d"]).stdout.strip() == shown


def test_own_memory_is_bounded_and_that_of_commands_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    before = resource.getrlimit(resource.RLIMIT_DATA)
    monkeypatch.setattr(_runner, "OWN_MEMORY_BYTES", 64 * 1024 * 1024)
    try:
        assert _runner.limit_own_memory() == before
        with pytest.raises(MemoryError):
            bytearray(512 * 1024 * 1024)
        shown = "unlimited" if before[0] == resource.RLIM_INFINITY else str(before[0] // 1024)
        assert System(runner=CommandRunner(before)).run(["sh", "-c", "sleep 0.1; ulimit -S -d"]).stdout.strip() == shown
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, before)


def test_many_threads_get_their_own_answers_side_by_side(machine: System) -> None:
    answers: dict[int, str] = {}

    def work(number: int) -> None:
        for _time in range(3):
            result = machine.run(["sh", "-c", f"sleep 0.2; echo {number} $NUMBER"], {"NUMBER": str(number)}, 20)
            answers[number] = result.stdout

    threads = [threading.Thread(target=work, args=(number,)) for number in range(10)]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert answers == {number: f"{number} {number}\n" for number in range(10)}
    # One after the other it would take 6 s of sleep alone.
    assert time.monotonic() - began < 5
