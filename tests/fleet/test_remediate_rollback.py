# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rollback: drop-ins, limits, owners and parameters as they were before the run."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest

from .conftest import MachineOf
from .faults import break_permissions, break_pids_limit
from .machine import Machine
from .playbooks import Outcome
from .remedies import KeptService, differences, remediate, roll_back, snapshot
from .services import REDIS, VALKEY, Kind
from .test_remediate_faults import TASKS, allow_silent_failures, break_soft_process_limit

pytestmark = pytest.mark.fleet
# What is put back is the host's or its unit's, whatever server runs there.
BREAKS: dict[str, tuple[Kind, t.Callable[[KeptService], None]]] = {
    "permissions": (REDIS, break_permissions),
    "processes": (VALKEY, break_soft_process_limit),
    "pids": (REDIS, break_pids_limit),
    "silent": (VALKEY, allow_silent_failures),
}


def reversible_state(service: KeptService) -> dict[str, t.Any]:
    """What the fixes of these faults change and a rollback can put back."""
    machine = service.machine
    shown = service.show("DropInPaths", "LimitNPROC", "LimitNPROCSoft", "TasksMax", "NeedDaemonReload")
    return {
        **shown,
        "pid": service.pid,
        "processes": service.limit("Max processes"),
        "tasks": service.group_limit("pids", "pids.max", "pids.max") if machine.has_controller("pids") else None,
        "directory": machine.run("stat", "--format=%U:%G %a", service.directory).strip(),
        "parameter": service.setting("stop-writes-on-bgsave-error"),
        "drop-in directory": machine.run("ls", "-A", f"/etc/systemd/system/{service.unit}.d", check=False),
    }


class Site(t.NamedTuple):
    machine: Machine
    services: dict[str, KeptService]
    before: dict[str, dict[str, t.Any]]
    changed: dict[str, dict[str, t.Any]]
    after: dict[str, dict[str, t.Any]]
    real: Outcome
    check: Outcome
    check_touched: list[str]
    back: Outcome
    again: Outcome

    def service(self, name: str) -> KeptService:
        if name not in self.services:
            pytest.skip("systemd can't limit pids here")
        return self.services[name]


@pytest.fixture(scope="module")
def site(machines_of_module: MachineOf, tmp_path_factory: pytest.TempPathFactory) -> Site:
    machine = machines_of_module("db-22")
    directory = tmp_path_factory.mktemp("rollback")
    services = {}
    for name, (kind, break_it) in BREAKS.items():
        if name != "pids" or machine.has_controller("pids"):
            services[name] = service = KeptService(machine, kind, name)
            break_it(service)
    before = {service.address: reversible_state(service) for service in services.values()}
    real = remediate(directory / "real", [machine], remediate_opt_in=["pids_limit"], remediate_pids_limit=TASKS)
    changed = {service.address: reversible_state(service) for service in services.values()}
    records = directory / "real" / "records"
    untouched = snapshot(machine, services.values())
    check = roll_back(directory / "check", [machine], records, "--check", "--diff")
    check_touched = differences(untouched, snapshot(machine, services.values()))
    back = roll_back(directory / "back", [machine], records)
    after = {service.address: reversible_state(service) for service in services.values()}
    again = roll_back(directory / "again", [machine], records)
    return Site(machine, services, before, changed, after, real, check, check_touched, back, again)


def test_the_runs(site: Site) -> None:
    assert site.real.rc == 0, site.real.output[-4000:]
    assert site.back.rc == 0, site.back.output[-4000:]
    assert site.back.count(site.machine, "changed") > 0
    # What no rollback undoes is said: a save was made.
    assert "save" in site.back.output


def test_a_check_run_of_the_rollback_touches_nothing(site: Site) -> None:
    assert site.check.rc == 0, site.check.output[-4000:]
    assert site.check_touched == []
    assert site.check.count(site.machine, "changed") == site.back.count(site.machine, "changed")


@pytest.mark.parametrize("name", BREAKS)
def test_all_is_as_it_was(site: Site, name: str) -> None:
    address = site.service(name).address
    assert site.changed[address] != site.before[address], "the run changed nothing"
    assert site.after[address] == site.before[address]


def test_a_second_rollback_changes_nothing(site: Site) -> None:
    assert site.again.count(site.machine, "changed") == 0, site.again.output[-4000:]
    for service in site.services.values():
        assert reversible_state(service) == site.after[service.address]


def test_the_record_stays_with_whoever_ran_it(site: Site) -> None:
    records = [path for path in Path(site.real.directory / "records").rglob("*") if path.is_file()]
    assert records, "no record"
    assert all(path.stat().st_mode & 0o077 == 0 for path in records)
