# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Logs that are only in the journal, and very many of them."""

from __future__ import annotations

from pathlib import Path

import pytest
from lab.judging import cause_ids, explain

from .conftest import MachineOf
from .machine import Machine, wait_until
from .playbooks import run_playbook
from .services import REDIS, Service

pytestmark = pytest.mark.fleet
LINES = 60_000
# The module's own time for one server with such a journal.
LIMIT_SECONDS = 6.0


def flood(service: Service, name: str) -> None:
    """Lines of the unit before its server starts."""
    command = f"/bin/sh -c 'seq -f \"noise %%.0f\" {LINES}'"
    service.drop_in(f"[Service]\nExecStartPre=+{command}\n", name)
    # As it comes, the journal drops what a unit writes beyond some ten thousand lines.
    service.machine.write("/etc/systemd/journald.conf.d/all.conf", "[Journal]\nRateLimitIntervalSec=0\n")
    service.machine.run("systemctl", "restart", "systemd-journald.service")


def wait_for_flood(service: Service) -> None:
    """So many lines take the journal some seconds, and what is written meanwhile comes among them."""

    def is_over() -> bool:
        said = service.machine.run("journalctl", f"--unit={service.unit}", "--lines=100", "--output=cat")
        return f"noise {LINES}\n" in said

    wait_until(is_over, "the journal does not take the lines", 60)


def noisy_service(machine: Machine, name: str) -> Service:
    service = Service(machine, REDIS, name)
    service.configure(logfile='""')
    flood(service, "flood.conf")
    return service


def test_a_failure_at_the_end_of_a_large_journal(machine_of: MachineOf, tmp_path: Path) -> None:
    machine = machine_of("db-07")
    service = noisy_service(machine, "noisy").start().fill()
    wait_for_flood(service)
    machine.run("mkdir", f"{service.directory}/dump.rdb")
    service.fails()
    machine.run("journalctl", "--sync")
    quiet = Service(machine, REDIS)
    outcome = run_playbook(tmp_path, [machine])
    document = outcome.documents(machine)[service.address]
    assert cause_ids(document) == ["destination_is_directory"], explain(document)
    assert document["cause"]["confidence"] == "confirmed"
    log = outcome.instance(machine, service.address)["redis_log"]
    assert (log["source"], log["available"], log["truncated"]) == ("journal", True, True)
    assert outcome.evidence(machine)["duration_seconds"] < LIMIT_SECONDS
    # Neither may hear of the other: one unit's lines are not another's.
    other = outcome.documents(machine)[quiet.address]
    assert other["cause"] is None, explain(other)


def test_one_instance_s_journal_is_not_another_s(machine_of: MachineOf, tmp_path: Path) -> None:
    """Two instances of one template unit, both with the journal alone; one fails."""
    machine = machine_of("db-08")
    broken, second = Service(machine, REDIS, "first"), Service(machine, REDIS, "second")
    for service in (broken, second):
        service.begin(logfile='""').saves()
    machine.shell(f"rm {broken.directory}/dump.rdb; mkdir {broken.directory}/dump.rdb")
    broken.fails()
    outcome = run_playbook(tmp_path, [machine])
    documents = outcome.documents(machine)
    assert cause_ids(documents[broken.address]) == ["destination_is_directory"]
    assert documents[second.address]["cause"] is None
    events = outcome.instance(machine, second.address)["redis_log"]["events"]
    assert {event["event"] for event in events} & {"save_succeeded"}
    assert not {event["event"] for event in events} & {"save_failed", "rename_failed"}
