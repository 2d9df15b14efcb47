# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the control node adds to the lock of a host, and whose lock it asks to be taken over."""

from __future__ import annotations

import os
import subprocess
from types import SimpleNamespace

import pytest
from ansible_collections.redisops.persistence.plugins.action import remediation_lock as action
from ansible_collections.redisops.persistence.plugins.plugin_utils import run_identity

HERE = "boot-1 pid:[1]"
HOLDER = {
    "run_id": "theirs",
    "operator": "bob@bastion",
    "control_host": "bastion",
    "control_identity": HERE,
    "control_pid": 1,
    "control_started": "1",
    "since_unix": 1000.0,
    "expires_unix": 4600.0,
}
HELD = {"failed": True, "msg": "This host is ..", "holder": HOLDER, "lock_file": "/run/x/lock", "exception": "trace"}
TAKEN = {"acquired": True, "changed": False, "holder": {**HOLDER, "run_id": "ours"}}


def run(monkeypatch, results, **arguments):
    """(result, arguments of each execution) of the action with these results of the module."""
    monkeypatch.setattr(run_identity, "control_identity", lambda: HERE)
    executed = []
    task = SimpleNamespace(args=arguments, check_mode=False, async_val=0, action=action.MODULE)
    plugin = action.ActionModule(task, SimpleNamespace(_shell=SimpleNamespace(tmpdir=None)), None, None, None, None)

    def execute(module_name, module_args, task_vars):
        executed.append(module_args)
        return dict(results[len(executed) - 1])

    plugin._execute_module = execute
    return plugin.run(task_vars={"inventory_hostname": "web-07"}), executed


@pytest.fixture
def gone():
    ended = subprocess.Popen(["true"])
    ended.wait()
    return ended.pid


def test_it_says_who_runs_it_and_where(monkeypatch):
    result, executed = run(monkeypatch, [TAKEN], run_id="ours", lease_seconds=60)
    assert result == TAKEN
    assert executed == [
        {
            "run_id": "ours",
            "lease_seconds": 60,
            "operator": run_identity.operator(),
            "control_host": run_identity.control_host(),
            "control_identity": HERE,
            "control_pid": os.getppid(),
            "control_started": run_identity.describe_process(os.getppid()).started,
        }
    ]


def test_the_lock_of_a_run_of_here_that_is_gone_is_taken_over(monkeypatch, gone):
    held = {**HELD, "holder": {**HOLDER, "control_pid": gone}}
    result, executed = run(monkeypatch, [held, TAKEN], run_id="ours")
    assert result == TAKEN
    assert [arguments.get("take_over_from") for arguments in executed] == [None, "theirs"]


def test_a_later_process_with_its_pid_is_not_that_run(monkeypatch):
    held = {**HELD, "holder": {**HOLDER, "control_pid": os.getpid(), "control_started": "1"}}
    result, executed = run(monkeypatch, [held, TAKEN], run_id="ours")
    assert result == TAKEN and len(executed) == 2


@pytest.mark.parametrize(
    "change",
    [
        {"control_identity": "boot-2 pid:[1]"},
        {"control_identity": None},
        {"control_pid": None},
        {"run_id": None},
        {"control_pid": os.getpid(), "control_started": run_identity.describe_process(os.getpid()).started},
        {"control_pid": os.getpid(), "control_started": None},
    ],
)
def test_any_other_lock_is_left_and_its_holder_is_named(monkeypatch, gone, change):
    held = {**HELD, "holder": {**HOLDER, "control_pid": gone, **change}}
    result, executed = run(monkeypatch, [held], run_id="ours")
    assert len(executed) == 1 and result["failed"] is True and "exception" not in result
    assert result["msg"].startswith("web-07 is being remediated by bob@bastion since 1970-01-01 00:16:40 UTC (run ")
    assert "/run/x/lock" in result["msg"]


def test_somebody_who_was_faster_is_named(monkeypatch, gone):
    held = {**HELD, "holder": {**HOLDER, "control_pid": gone}}
    faster = {**HELD, "holder": {**HOLDER, "operator": "carol@laptop"}}
    result, executed = run(monkeypatch, [held, faster], run_id="ours")
    assert len(executed) == 2 and "by carol@laptop" in result["msg"]


def test_another_failure_keeps_its_own_text(monkeypatch):
    result, _executed = run(monkeypatch, [{"failed": True, "msg": "no room", "holder": None}], run_id="ours")
    assert result["msg"] == "no room"
