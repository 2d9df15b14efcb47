# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A run has one name, and the end of its process is told from another process with its pid."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest
from ansible_collections.redisops.persistence.plugins.plugin_utils import run_identity
from ansible_collections.redisops.persistence.plugins.plugin_utils.run_identity import ControlProcess


@pytest.fixture
def process():
    started = subprocess.Popen(["sleep", "60"])
    yield started
    started.kill()
    started.wait()


def test_the_name_sorts_by_time_and_is_a_file_name():
    assert run_identity.run_id(ControlProcess(4711, "1", 1795391941.9)) == "20261122T235901Z-4711"


def test_a_process_of_unknown_start_has_a_name_too():
    assert run_identity.run_id(ControlProcess(4711, None, None)) == "19700101T000000Z-4711"


def test_workers_of_one_process_give_it_one_name_and_another_process_has_another():
    program = (
        "import os, sys\n"
        "from ansible_collections.redisops.persistence.plugins.plugin_utils import run_identity\n"
        "for number in range(2):\n"
        "    if os.fork() == 0:\n"
        "        print(run_identity.run_id(), flush=True)\n"
        "        os._exit(0)\n"
        "    os.wait()\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    names = []
    for _run in range(2):
        done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, check=True)
        first, second = done.stdout.split()
        assert first == second
        names.append(first)
    assert names[0] != names[1]


def test_a_worker_that_imports_it_itself_names_the_same_run():
    assert run_identity.run_process() == run_identity.describe_process(os.getppid())


def test_it_tells_a_running_process_from_a_later_one_with_its_pid(process):
    described = run_identity.describe_process(process.pid)
    assert abs(described.started_unix - time.time()) < 5
    assert run_identity.is_running(process.pid, described.started) is True
    assert run_identity.is_running(process.pid, str(int(described.started) - 1)) is False
    assert run_identity.is_running(process.pid, None) is None


def test_a_killed_process_is_gone_before_and_after_its_parent_fetched_it(process):
    started = run_identity.describe_process(process.pid).started
    process.kill()
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline and run_identity.is_running(process.pid, started):
        time.sleep(0.01)
    assert run_identity.is_running(process.pid, started) is False
    process.wait()
    assert run_identity.is_running(process.pid, started) is False


def test_a_number_that_is_no_pid_is_unknown():
    assert run_identity.is_running(2**70, "1") is None


def test_the_operator_behind_sudo_is_named(monkeypatch):
    monkeypatch.setenv("SUDO_USER", "alice")
    assert run_identity.operator().startswith("alice@")


def test_without_proc_the_system_is_asked(monkeypatch):
    monkeypatch.setattr(run_identity, "_read", lambda path: None)
    monkeypatch.setattr(run_identity, "_command", lambda *argv: "Sun Nov 22  23:59:01 2026" if argv[0] == "ps" else "B")
    assert run_identity.describe_process(7).started_unix == 1795391941.0
    assert run_identity.control_identity() == "B"
