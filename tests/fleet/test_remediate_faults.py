# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every fault with a fix at once on two hosts: announced, cured, proven, and cured still after a restart."""

from __future__ import annotations

import dataclasses
import subprocess
import typing as t

import pytest

from .conftest import MachineOf
from .faults import (
    MIB,
    break_destination,
    break_destination_of_socket_only,
    break_memory_max,
    break_missing,
    break_permissions,
    break_pids_limit,
    break_sandbox,
)
from .figures import FIGURES
from .machine import Machine
from .playbooks import Document, Outcome
from .remedies import (
    RESCUES,
    KeptService,
    Snapshot,
    all_documents,
    changes,
    decisions,
    differences,
    make_rescue_directory,
    remediate,
    snapshot,
    tell,
)
from .services import KINDS, Kind

pytestmark = pytest.mark.fleet
TASKS = 4096
MEMORY_BYTES = 512 * MIB
PROCESSES = 65536
OPT_IN = ["unit_sandbox", "recreate_dir", "destination", "immutable", "pids_limit", "cgroup_memory", "verify"]
RESTART_CLASS = ("unit_sandbox", "recreate_dir")


def nothing(service: KeptService) -> None:
    """The save itself is all that must go on working."""


@dataclasses.dataclass(frozen=True)
class Remedy:
    """One line of the table.

    ``fix``: what must have cured it. ``lasts``: what must hold right after the run, and still after a restart of the
    server. ``controller``: what systemd must be able to limit. ``result``: what the run must say of it.
    """

    id: str
    fix: str
    break_it: t.Callable[[KeptService], t.Any]
    lasts: t.Callable[[KeptService], t.Any] = nothing
    controller: str | None = None
    result: str = "cured"


# Faults of remediation alone


def break_soft_process_limit(service: KeptService) -> None:
    """A soft limit as low as the server's own threads. What is hard, nobody can raise for a living process here."""
    # jemalloc's own threads would be refused too, and say so without end.
    service.begin(jemalloc_bg_thread="no")
    service.drop_in(f"[Service]\nLimitNPROC={service.threads}:infinity\n", "override.conf")
    service.start().fill().fails()


def break_soft_file_size(service: KeptService) -> None:
    service.drop_in("[Service]\nLimitFSIZE=256K:infinity\n", "override.conf")
    service.begin(rdbcompression="no").fill(2000, 1000).fails()


def break_immutable(service: KeptService) -> None:
    service.begin()
    subprocess.run(["chattr", "+i", str(service.machine.path(service.directory))], check=True)
    service.fails()


def break_with_orphans(service: KeptService) -> None:
    """The volume is full of what children left that died with their server."""
    user = service.kind.name
    service.configure(rdbcompression="no")
    service.machine.shell(f"mount -t tmpfs -o size=4m,mode=0750,uid={user},gid={user} tmpfs {service.directory}")
    service.start().fill(1000, 1000)
    service.machine.shell(
        f"cd {service.directory}; for pid in 4190001 4190002; do"
        " dd if=/dev/zero of=temp-$pid.rdb bs=64k count=28 status=none;"
        f" chown {user}:{user} temp-$pid.rdb; touch --date='2 days ago' temp-$pid.rdb; done"
    )
    service.fails()


def break_memory(service: KeptService) -> None:
    """As the fault is; the save that proves the cure is a short one."""
    break_memory_max(service)
    service.ask("CONFIG", "SET", "rdb-key-save-delay", 0)


def allow_silent_failures(service: KeptService) -> None:
    """Not broken: the file says that nobody is to be told of a failed save."""
    service.begin(stop_writes_on_bgsave_error="no").saves()


# What must last


def has_process_limit(service: KeptService) -> None:
    assert service.limit("Max processes") == str(PROCESSES)
    assert service.show("LimitNPROC")["LimitNPROC"] == str(PROCESSES)


def has_no_file_size_limit(service: KeptService) -> None:
    assert service.limit("Max file size") == "unlimited"
    assert service.show("LimitFSIZE")["LimitFSIZE"] == "infinity"


def has_pids_limit(service: KeptService) -> None:
    assert service.group_limit("pids", "pids.max", "pids.max") == str(TASKS)
    assert service.show("TasksMax")["TasksMax"] == str(TASKS)


def has_memory_limit(service: KeptService) -> None:
    assert service.group_limit("memory", "memory.limit_in_bytes", "memory.max") == str(MEMORY_BYTES)
    assert service.show("MemoryMax")["MemoryMax"] == str(MEMORY_BYTES)


def has_open_sandbox(service: KeptService) -> None:
    shown = service.show("ReadWritePaths", "NeedDaemonReload")
    assert service.directory in shown["ReadWritePaths"].split()
    assert shown["NeedDaemonReload"] == "no"


def has_directory_of_its_own(service: KeptService) -> None:
    owner, mode = service.machine.run("stat", "--format=%U %a", service.directory).split()
    assert owner == service.kind.name
    assert int(mode, 8) & 0o702 == 0o700, mode


def refuses_writes_after_a_failure(service: KeptService) -> None:
    assert service.setting("stop-writes-on-bgsave-error") == "yes"


def has_no_orphans(service: KeptService) -> None:
    assert service.machine.shell(f"ls {service.directory}").split() == ["dump.rdb"]


REMEDIES: tuple[Remedy, ...] = (
    Remedy("sandbox", "unit_sandbox", break_sandbox, has_open_sandbox),
    Remedy("missing", "recreate_dir", break_missing, has_directory_of_its_own),
    Remedy("permissions", "data_dir", break_permissions, has_directory_of_its_own),
    Remedy("destination", "destination", break_destination),
    Remedy("socket", "destination", break_destination_of_socket_only),
    Remedy("immutable", "immutable", break_immutable),
    Remedy("orphans", "orphan_temp_files", break_with_orphans, has_no_orphans),
    Remedy("processes", "process_limit", break_soft_process_limit, has_process_limit),
    Remedy("filesize", "file_size_limit", break_soft_file_size, has_no_file_size_limit),
    Remedy("pids", "pids_limit", break_pids_limit, has_pids_limit, controller="pids"),
    Remedy("memory", "cgroup_memory", break_memory, has_memory_limit, controller="memory"),
    Remedy("silent", "stop_writes", allow_silent_failures, refuses_writes_after_a_failure, result="improved"),
)
CASES = [pytest.param(kind, remedy, id=f"{kind.id}-{remedy.id}") for kind in KINDS for remedy in REMEDIES]
RESTARTED = [
    pytest.param(kind, remedy, id=f"{kind.id}-{remedy.id}")
    for kind in KINDS
    for remedy in REMEDIES
    if remedy.fix in RESTART_CLASS
]


class Site(t.NamedTuple):
    """Two hosts, and what their runs left. ``*_touched``: what a run changed that was to change nothing."""

    machines: dict[str, Machine]
    services: dict[tuple[str, str], KeptService]
    digests: dict[str, tuple[str, str]]
    pids: dict[str, int]
    refused: Outcome
    refused_touched: list[str]
    check: Outcome
    check_touched: list[str]
    real: Outcome
    second: Outcome
    second_touched: list[str]

    def service(self, kind: Kind, remedy: Remedy) -> KeptService:
        if (kind.id, remedy.id) not in self.services:
            pytest.skip(f"systemd can't limit {remedy.controller} here")
        return self.services[kind.id, remedy.id]

    def document(self, outcome: Outcome, service: KeptService) -> Document:
        return outcome.documents(service.machine)[service.address]


def break_all(machine: Machine, kind: Kind) -> dict[tuple[str, str], KeptService]:
    services = {}
    for remedy in REMEDIES:
        if remedy.controller is None or machine.has_controller(remedy.controller):
            services[kind.id, remedy.id] = service = KeptService(machine, kind, remedy.id)
            remedy.break_it(service)
    services[kind.id, "healthy"] = healthy = KeptService(machine, kind)
    healthy.fill().saves()
    make_rescue_directory(machine)
    return services


def look(services: t.Collection[KeptService]) -> dict[str, Snapshot]:
    machines = {service.machine.name: service.machine for service in services}
    return {
        name: snapshot(machine, [service for service in services if service.machine is machine])
        for name, machine in machines.items()
    }


def touched(before: dict[str, Snapshot], after: dict[str, Snapshot]) -> list[str]:
    return [line for name in before for line in differences(before[name], after[name])]


@pytest.fixture(scope="module")
def site(machines_of_module: MachineOf, tmp_path_factory: pytest.TempPathFactory) -> Site:
    machines = {kind.id: machines_of_module(f"db-2{number}") for number, kind in enumerate(KINDS)}
    services = {}
    for kind in KINDS:
        services.update(break_all(machines[kind.id], kind))
    every = list(services.values())
    digests = {service.unit: service.digest() for service in every}
    pids = {service.unit: service.pid for service in every}
    directory, hosts = tmp_path_factory.mktemp("remediate"), list(machines.values())
    values = {
        # The hosts don't wait for each other.
        "strategy": "free",
        "remediate_opt_in": OPT_IN,
        "remediate_pids_limit": TASKS,
        "remediate_cgroup_memory_bytes": MEMORY_BYTES,
    }
    restart_class = {
        machine.name: {
            "redis_instances": [
                services[kind_id, remedy.id].instance for remedy in REMEDIES if remedy.fix in RESTART_CLASS
            ]
        }
        for kind_id, machine in machines.items()
    }

    before = look(every)
    refused = remediate(directory / "refused", hosts, host_variables=restart_class)
    after_refused = look(every)
    check = remediate(directory / "check", hosts, "--check", "--diff", **values)
    after_check = look(every)
    real = remediate(directory / "real", hosts, **values)
    after_real = look(every)
    second = remediate(directory / "second", hosts, **values)
    after_second = look(every)
    return Site(
        machines, services, digests, pids,
        refused, touched(before, after_refused),
        check, touched(after_refused, after_check),
        real, second, touched(after_real, after_second),
    )  # fmt: skip


def test_without_opt_in_no_server_is_restarted(site: Site) -> None:
    assert site.refused.rc != 0, site.refused.output[-4000:]
    documents = all_documents(site.refused, site.machines.values())
    assert len(documents) == len(RESTARTED)
    for document in documents:
        wanted = set(RESTART_CLASS) & set(decisions(document))
        assert wanted and {decisions(document)[fix] for fix in wanted} == {"opt_in"}, tell(document)
        assert document["result"] in ("refused", "unchanged"), tell(document)
        assert document["changes"] == [] and document["proof"] is None, tell(document)
    assert site.refused_touched == []


def test_a_check_run_touches_nothing(site: Site) -> None:
    assert site.check_touched == []
    for document in all_documents(site.check, site.machines.values()):
        assert document["proof"] is None, tell(document)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.id)
def test_what_check_mode_announces_is_what_is_done(site: Site, kind: Kind) -> None:
    announced, made = (changes(outcome, site.machines[kind.id]) for outcome in (site.check, site.real))
    FIGURES.count("announced", len(announced))
    FIGURES.count("made", len(made))
    assert made, "nothing was changed"
    assert announced == made


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.id)
def test_a_second_run_changes_nothing(site: Site, kind: Kind) -> None:
    machine = site.machines[kind.id]
    FIGURES.count("second", len(changes(site.second, machine)))
    assert changes(site.second, machine) == set()
    assert site.second.count(machine, "changed") == 0, site.second.output[-4000:]
    assert site.second.rc == 0, site.second.output[-4000:]
    assert site.second_touched == []


def test_the_run_succeeds(site: Site) -> None:
    assert site.real.rc == 0, site.real.output[-6000:]
    for machine in site.machines.values():
        assert site.real.count(machine, "failed") == 0
        # Nothing that a module needed on its way is left on the host.
        assert machine.shell("ls -A /tmp /var/tmp /dev/shm /home/deploy").count("ansible") == 0


@pytest.mark.parametrize(("kind", "remedy"), CASES)
def test_the_cure(site: Site, kind: Kind, remedy: Remedy) -> None:
    service = site.service(kind, remedy)
    document = site.document(site.real, service)
    cured = document["result"] == remedy.result
    same = service.digest() == site.digests[service.unit]
    FIGURES.count("faults", 1)
    FIGURES.count("cured", int(cured))
    FIGURES.count("digests", 1)
    FIGURES.count("lost", int(not same))
    assert cured, tell(document)
    assert same, f"{service.unit}: not every key is there"
    assert decisions(document)[remedy.fix] == "apply", tell(document)
    assert remedy.fix in {change["fix"] for change in document["changes"]}, tell(document)
    assert document["proof"]["status"] == "ok", tell(document)
    assert remedy.fix not in {fix["id"] for fix in document["left"]}, tell(document)
    assert service.saves().info()["rdb_last_bgsave_status"] == "ok"
    remedy.lasts(service)


@pytest.mark.parametrize(("kind", "remedy"), RESTARTED)
def test_the_rescue_that_came_before_the_restart(site: Site, kind: Kind, remedy: Remedy) -> None:
    service = site.service(kind, remedy)
    assert service.pid != site.pids[service.unit]
    files = [path for path in service.machine.path(RESCUES).iterdir() if str(service.port) in path.name]
    assert [path.suffix for path in files] == [".rdb"], files
    assert files[0].stat().st_mode & 0o077 == 0
    checked = service.machine.run(f"{kind.name}-check-rdb", f"{RESCUES}/{files[0].name}")
    assert "RDB looks OK" in checked, checked


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.id)
def test_the_healthy_server_goes_on(site: Site, kind: Kind) -> None:
    service = site.services[kind.id, "healthy"]
    assert service.pid == site.pids[service.unit]
    assert service.digest() == site.digests[service.unit]


@pytest.mark.parametrize(("kind", "remedy"), CASES)
def test_it_lasts_through_a_restart(site: Site, kind: Kind, remedy: Remedy) -> None:
    """Last of all: every server starts again from what its unit, its file and its directory say."""
    service = site.service(kind, remedy)
    service.restart()
    assert service.digest() == site.digests[service.unit]
    service.saves()
    remedy.lasts(service)
