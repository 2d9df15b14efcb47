# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kills for memory of a unit with MemoryMax, on a host that sees the kernel's log."""

from __future__ import annotations

from pathlib import Path

import pytest
from lab.judging import at_least, cause_ids, explain

from .conftest import MachineOf
from .faults import break_memory_max, kill_server_in_save
from .playbooks import run_playbook
from .services import KINDS, Kind, Service

pytestmark = pytest.mark.fleet


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.id)
def test_the_kernel_names_the_unit(machine_of: MachineOf, tmp_path: Path, kind: Kind) -> None:
    machine = machine_of("db-09", kernel_log=True)
    if not machine.has_controller("memory"):
        pytest.skip("systemd can't limit memory here")
    child, parent = Service(machine, kind, "child"), Service(machine, kind, "parent")
    break_memory_max(child)
    kill_server_in_save(parent)
    outcome = run_playbook(tmp_path, [machine])
    assert outcome.evidence(machine)["host"]["kernel_log"]["source"] == "kmsg"
    document = outcome.documents(machine)[child.address]
    assert cause_ids(document) == ["child_oom_killed_cgroup"], explain(document)
    assert at_least(document["cause"]["confidence"], "probable"), explain(document)
    restarted = outcome.documents(machine)[parent.address]
    assert restarted["state"] == "restarted_by_oom", explain(restarted)
    other = outcome.documents(machine)[Service(machine, kind).address]
    assert (other["state"], other["cause"]) == ("idle", None), explain(other)
