# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import io
import json
import shutil
import threading
import time
import typing as t

import pytest
from ansible.module_utils import basic
from ansible_collections.redisops.persistence.plugins.module_utils._runner import ModuleRunner, module_system
from ansible_collections.redisops.persistence.plugins.module_utils._system import System


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> t.Any:
    """A module as ansible-core makes it."""
    arguments = json.dumps({"ANSIBLE_MODULE_ARGS": {}}).encode()
    monkeypatch.setattr(basic, "_ANSIBLE_ARGS", arguments)
    monkeypatch.setattr(basic, "_ANSIBLE_PROFILE", "legacy", raising=False)
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    return basic.AnsibleModule(argument_spec={})


@pytest.fixture
def machine(module: t.Any) -> System:
    if shutil.which("timeout") is None:
        pytest.skip("coreutils are not installed")
    return module_system(module)


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


def test_missing_timeout_is_said_and_nothing_is_run(module: t.Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "get_bin_path", lambda _name: None)
    result = ModuleRunner(module)(["true"], {}, 1, None)
    assert result.rc == 127
    assert "coreutils" in result.stderr


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
