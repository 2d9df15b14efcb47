# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs as they happen: several hosts, no rights, two operators, a run that is interrupted or whose host is cut off."""

from __future__ import annotations

import time
import typing as t
from pathlib import Path

import pytest

from .conftest import MachineOf
from .faults import break_permissions, break_process_limit, break_sandbox
from .figures import FIGURES
from .machine import Machine, wait_until
from .playbooks import Running
from .remedies import (
    KeptService,
    all_documents,
    decisions,
    differences,
    remediate,
    snapshot,
    start_remediation,
    tell,
)
from .services import REDIS, VALKEY

pytestmark = pytest.mark.fleet
REFUSAL = "stop-writes-on-bgsave-error"
EMERGENCY_SECONDS = 25
# How much later than its time a timer of the host may be, on a busy machine.
LATE_SECONDS = 10


def broken(machine: Machine, name: str, break_it: t.Callable[[KeptService], None]) -> KeptService:
    service = KeptService(machine, REDIS, name)
    break_it(service)
    return service


def owner(service: KeptService) -> str:
    return service.machine.run("stat", "--format=%U", service.directory).strip()


def test_several_hosts(machine_of: MachineOf, tmp_path: Path) -> None:
    """One that can't be cured never stops the next, and the run still ends with an error."""
    first, second = machine_of("db-23"), machine_of("db-24")
    incurable = broken(first, "sandbox", break_sandbox)
    curable = broken(second, "permissions", break_permissions)

    begun = time.monotonic()
    limited = remediate(tmp_path / "limit", [first, second], "--limit", second.name, strategy="free")
    FIGURES.seconds_to_proof = time.monotonic() - begun
    assert limited.rc == 0, limited.output[-4000:]
    assert [d["result"] for d in all_documents(limited, [second])].count("cured") == 1
    assert set(limited.report["hosts"]) == {second.name}
    assert curable.saves() and owner(curable) == "redis"

    curable.machine.run("chown", "root:root", curable.directory)
    curable.fails()
    free = remediate(tmp_path / "free", [first, second], strategy="free")
    assert free.rc != 0
    assert curable.saves()
    assert set(free.report["hosts"]) == {first.name, second.name}

    curable.machine.run("chown", "root:root", curable.directory)
    curable.fails()
    serial = remediate(tmp_path / "serial", [first, second], remediate_serial=1)
    assert serial.rc != 0, serial.output[-4000:]
    assert curable.saves(), serial.output[-4000:]
    assert set(serial.report["hosts"]) == {first.name, second.name}
    document = serial.documents(first)[incurable.address]
    assert decisions(document)["unit_sandbox"] == "opt_in", tell(document)


def test_without_rights(machine_of: MachineOf, tmp_path: Path) -> None:
    """An ordinary user on the host: what can't be done is said, and nothing is half done."""
    machine = machine_of("db-25")
    service = broken(machine, "permissions", break_permissions)
    limited = KeptService(machine, VALKEY, "processes").begin()
    limited.drop_in(f"[Service]\nLimitNPROC={limited.threads}:infinity\n", "override.conf")
    limited.start().fill().fails()
    services = [service, t.cast(KeptService, limited)]
    before = snapshot(machine, services)
    outcome = remediate(tmp_path / "visitor", [machine], user="visitor", become=False)
    assert outcome.rc != 0, outcome.output[-4000:]
    # A save that is asked for, and fails, is all that an ordinary user may bring about.
    touched = differences(before, snapshot(machine, services))
    assert [line for line in touched if "calls of bgsave" not in line and "rdb_saves" not in line] == []
    for kept in services:
        document = outcome.documents(machine)[kept.address]
        assert document["result"] != "cured" and document["changes"] == [], tell(document)
        assert "become" in outcome.output or "root" in document["reason"], tell(document)
    # The same as root: sudo, as every other test.
    outcome = remediate(tmp_path / "root", [machine])
    assert outcome.rc == 0, outcome.output[-4000:]


def test_a_limit_that_nobody_may_raise(machine_of: MachineOf, tmp_path: Path) -> None:
    """Without CAP_SYS_RESOURCE not even root goes beyond a hard limit: nothing is half done, and it is said why."""
    machine = machine_of("db-26")
    service = broken(machine, "hard", break_process_limit)
    before = snapshot(machine, [service])
    outcome = remediate(tmp_path, [machine], redis_instances=[service.instance])
    document = outcome.documents(machine)[service.address]
    if document["result"] == "cured":
        service.saves()
        return
    assert outcome.rc != 0 and document["result"] in ("refused", "failed"), tell(document)
    assert "hard limit" in document["reason"], tell(document)
    files = snapshot(machine, [service]).files
    assert files == before.files, "a drop-in alone would only pretend"


class Emergency:
    """A server whose writes are let through for a while, beside one whose proof takes the run that long."""

    def __init__(self, machine: Machine, directory: Path) -> None:
        self.machine = machine
        self.directory = directory
        self.broken = broken(machine, "broken", break_permissions)
        self.slow = broken(machine, "slow", break_permissions)
        self.slow.ask("CONFIG", "SET", "stop-writes-on-bgsave-error", "no")
        self.slow.fill(1000, 10)
        self.slow.ask("CONFIG", "SET", "stop-writes-on-bgsave-error", "yes")
        # Out of reach of the run: no owner is changed outside of the allow list.
        self.broken_only_for_the_run = ["/var/lib/redis/slow"]

    def start(self, name: str, seconds: int = EMERGENCY_SECONDS) -> Running:
        """Until writes are let through and the run waits for the slow save."""
        self.break_slow_again()
        running = start_remediation(
            self.directory / name,
            [self.machine],
            redis_instances=[self.broken.instance, self.slow.instance],
            remediate_opt_in=["emergency_unblock"],
            remediate_emergency_seconds=seconds,
            remediate_allowed_dirs=self.broken_only_for_the_run,
        )
        running.wait_for(lambda: self.broken.setting(REFUSAL) == "no", "writes are let through")
        running.wait_for(lambda: self.slow.info()["rdb_bgsave_in_progress"] == "1", "the slow save begins")
        return running

    def break_slow_again(self) -> None:
        self.slow.ask("CONFIG", "SET", "rdb-key-save-delay", "0")
        self.machine.run("chown", "root:root", self.slow.directory)
        if self.slow.info()["rdb_bgsave_in_progress"] == "1":
            self.machine.run("kill", "-KILL", str(self.slow.child()))
            self.slow.wait_for_save()
        self.slow.fails()
        self.slow.ask("CONFIG", "SET", "rdb-key-save-delay", 100_000)

    def is_refused(self) -> bool:
        return self.broken.setting(REFUSAL) == "yes"

    def wait_for_refusal(self, seconds: float) -> None:
        wait_until(self.is_refused, "the timer does not put the value back", seconds)


@pytest.fixture
def emergency(machine_of: MachineOf, tmp_path: Path) -> Emergency:
    return Emergency(machine_of("db-27"), tmp_path)


def test_runs_that_are_cut_short(emergency: Emergency, tmp_path: Path) -> None:
    """What was lent is given back by the host itself, and no lock outlives its run for long."""
    machine = emergency.machine

    # Ctrl-C.
    begun = time.monotonic()
    interrupted = emergency.start("interrupted").interrupt()
    assert interrupted.rc != 0
    emergency.wait_for_refusal(EMERGENCY_SECONDS + LATE_SECONDS)
    assert time.monotonic() - begun < EMERGENCY_SECONDS + LATE_SECONDS + 60
    assert emergency.broken.digest()[0].split()[0] != "0"

    # A second operator, while the first run goes on; then the control node dies, with the host cut off.
    running = emergency.start("first")
    second = remediate(
        tmp_path / "second",
        [machine],
        redis_instances=[emergency.broken.instance],
        remediate_opt_in=["emergency_unblock"],
    )
    assert second.rc != 0, second.output[-4000:]
    assert "since" in second.output and "@" in second.output, second.output[-4000:]
    assert not emergency.is_refused(), "the second run must not undo what the first has lent"
    machine.run("ip", "link", "set", "host0", "down")
    running.kill()
    emergency.wait_for_refusal(EMERGENCY_SECONDS + LATE_SECONDS)
    machine.run("ip", "link", "set", "host0", "up")

    # The lock of the dead run is taken over, and said to be; the run does what there is to do.
    emergency.break_slow_again()
    emergency.slow.ask("CONFIG", "SET", "rdb-key-save-delay", "0")
    after = remediate(tmp_path / "after", [machine])
    assert after.rc == 0, after.output[-4000:]
    assert "taken over" in after.output or "took over" in after.output, after.output[-4000:]
    assert emergency.broken.saves() and emergency.slow.saves()
    again = remediate(tmp_path / "again", [machine])
    assert again.rc == 0 and again.count(machine, "changed") == 0, again.output[-4000:]


def test_a_save_that_succeeds_ends_the_emergency(emergency: Emergency) -> None:
    emergency.start("killed", seconds=600).kill()
    assert not emergency.is_refused()
    emergency.broken.fill(5)
    emergency.machine.run("chown", "redis:redis", emergency.broken.directory)
    emergency.broken.saves()
    emergency.wait_for_refusal(LATE_SECONDS)


def test_prevention_on_a_host_in_order(machine_of: MachineOf, tmp_path: Path) -> None:
    """Risks go, without an incident; a server that is broken is left for a run that asks for it."""
    machine = machine_of("db-28")
    risky, healthy = KeptService(machine, REDIS), KeptService(machine, VALKEY)
    ill = broken(machine, "ill", break_permissions)
    for service in (risky, healthy):
        service.fill().saves()
    risky.ask("CONFIG", "SET", REFUSAL, "no")
    services = [risky, healthy, ill]
    digests = [service.digest() for service in services]
    before = snapshot(machine, services)
    wanted = {"remediate_scope": "prevention"}

    check = remediate(tmp_path / "check", [machine], "--check", "--diff", **wanted)
    assert differences(before, snapshot(machine, services)) == []
    remediate(tmp_path / "real", [machine], **wanted)
    assert risky.setting(REFUSAL) == "yes"
    assert owner(ill) == "root" and ill.info()["rdb_last_bgsave_status"] == "err"
    assert snapshot(machine, services).servers[healthy.address] == before.servers[healthy.address]
    second = remediate(tmp_path / "second", [machine], **wanted)
    assert second.count(machine, "changed") == 0, second.output[-4000:]
    announced = [change["what"] for change in check.documents(machine)[risky.address]["changes"]]
    assert f"config {REFUSAL}" in announced
    assert [service.digest() for service in services] == digests
