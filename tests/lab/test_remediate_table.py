# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The table of remedies is whole, and the eyes that judge remediation see."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from .attempts import ATTEMPTS, Attempt
from .bench import Bench
from .faults import FAULTS, STATES, Fault, saves
from .judging import gather, judge
from .remediation import Run
from .remedies import APART, BY_FAULT, MORE_FAULTS, REMEDIES
from .snapshot import (
    RECORDING,
    commands_sent,
    digest_of,
    forbidden_commands,
    forget_commands,
    host_changes,
    host_state,
    scan_digest,
    server_changes,
    server_state,
    tree,
    untouched,
)
from .test_faults import check_real, check_verdict, require

pytestmark = pytest.mark.lab


def test_every_fault_has_its_remedy_or_the_reason_why_not() -> None:
    named = [remedy.fault for remedy in REMEDIES]
    assert len(named) == len(set(named))
    assert set(named) | set(APART) == {fault.id for fault in FAULTS + STATES + MORE_FAULTS}
    assert not set(named) & set(APART)
    assert all(remedy.why for remedy in REMEDIES if remedy.result not in ("cured", "improved"))


def test_every_offered_fix_is_tried() -> None:
    """The sandbox of a unit needs systemd (tests/fleet); oom_score is a setting (test_remediate_settings.py)."""
    offered = {fix for fault in BY_FAULT.values() for fix in fault.fixes}
    tried = {fix for remedy in REMEDIES for fix in remedy.fixes}
    assert offered - tried == {"oom_score", "unit_sandbox"}


@pytest.mark.parametrize("fault", MORE_FAULTS, ids=lambda fault: fault.id)
def test_the_added_faults_are_real(fault: Fault, bench: Bench) -> None:
    require(fault.needs, fault.servers(bench.kind))
    fault.break_it(bench)
    check_real(fault, bench)
    check_verdict(fault, judge(gather([bench.server]))[0])


def test_a_snapshot_sees_each_kind_of_change(bench: Bench) -> None:
    require(("root", "chattr", "cgroup:pids"))
    bench.config.update(RECORDING)
    group = bench.cgroup("pids")
    server = bench.start(cgroups=[group.path])
    (server.directory / "temp-1.rdb").write_text("orphan")
    (server.directory / "file").write_text("one")
    before = server_state(server)
    assert not untouched(server, before, server_state(server))
    (server.directory / "temp-1.rdb").unlink()
    (server.directory / "file").write_text("two")
    (server.directory / "made").mkdir()
    os.chown(server.log_directory, 0, 0)
    server.log_directory.chmod(0o700)
    subprocess.run(["chattr", "+a", str(server.directory / "made")], check=True)
    server.call("CONFIG", "SET", "maxmemory", "100mb")
    bench.prlimit(server, "nproc", 500)
    (group.path / "pids.max").write_text("300")
    saves(server)
    after = server_state(server)
    subprocess.run(["chattr", "-a", str(server.directory / "made")], check=True)
    group_name = (
        "/" + group.path.relative_to("/sys/fs/cgroup/pids" if group.version == 1 else "/sys/fs/cgroup").as_posix()
    )
    assert {change[1:] for change in server_changes(server, before, after)} == {
        (f"temporary file {server.directory}/temp-1.rdb", 6, None),
        (f"file {server.directory}/file", "one", "two"),
        (f"directory {server.directory}/made", None, "present"),
        (f"owner of {server.log_directory}", f"{server.uid}:{server.uid}", "0:0"),
        (f"mode of {server.log_directory}", "0755", "0700"),
        ("config maxmemory", "0", "104857600"),
        ("limit nproc of the process", before.limits["nproc"], 500),
        (f"pids limit of the control group {group_name}", "unlimited", 300),
        ("save", "ok", "ok"),
    }
    assert tree(str(server.directory))[str(server.directory)].attributes == ""


def test_a_snapshot_sees_an_attribute(bench: Bench) -> None:
    require(("root", "chattr"))
    server = bench.start()
    before = server_state(server)
    bench.chattr(server.directory, "i")
    assert {change[1:] for change in server_changes(server, before, server_state(server))} == {
        (f"attributes of {server.directory}", "", "i")
    }


def test_every_command_is_seen(bench: Bench) -> None:
    """Also those of an administrator, which MONITOR does not show."""
    bench.config.update(RECORDING)
    server = bench.start()
    forget_commands(server)
    server.bgsave_and_wait()
    for command in ("CONFIG GET dir", "CONFIG SET maxmemory 1gb", "SAVE"):
        server.call(*command.split())
    assert {"info", "config|get", "bgsave", "config|set", "save"} == set(commands_sent(server))
    assert forbidden_commands(server) == ["save"]


def test_the_digest_sees_a_changed_value(bench: Bench) -> None:
    server = bench.start()
    before = (digest_of(server), scan_digest(server))
    assert (digest_of(server), scan_digest(server)) == before
    server.call("SET", "key:1", "other")
    assert digest_of(server) != before[0]
    assert scan_digest(server) != before[1]


def test_the_machine_stays_the_same_by_itself() -> None:
    require(("root",))
    assert not host_changes(host_state(), host_state())


@pytest.mark.parametrize("attempt", ATTEMPTS, ids=lambda attempt: attempt.id)
def test_the_attempts_can_be_made(attempt: Attempt, bench: Bench, tmp_path: Path) -> None:
    """Where nothing was done no rule is broken."""
    require(attempt.needs)
    bench.config.update(RECORDING)
    check = attempt.arrange(bench)
    forget_commands(bench.server)
    check(Run(0, "", tmp_path, 0, {}))
