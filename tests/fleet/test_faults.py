# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every fault of the table at once on one host, one run of the playbook as an operator, the verdicts in report.json."""

from __future__ import annotations

import typing as t

import pytest
from lab.judging import at_least, cause_ids, explain, offered_fixes

from .conftest import MachineOf
from .faults import FAULTS, Fault
from .machine import Machine
from .playbooks import Outcome, run_playbook
from .recording import record
from .services import KINDS, Kind, Service

pytestmark = pytest.mark.fleet
CASES = [pytest.param(kind, fault, id=f"{kind.id}-{fault.id}") for kind in KINDS for fault in FAULTS]


class Site(t.NamedTuple):
    machine: Machine
    services: dict[tuple[str, str], Service]
    as_root: Outcome
    as_visitor: Outcome

    def service(self, kind: Kind, fault: Fault) -> Service:
        if (kind.id, fault.id) not in self.services:
            pytest.skip(f"systemd can't limit {fault.controller} here")
        return self.services[kind.id, fault.id]


@pytest.fixture(scope="module")
def site(machines_of_module: MachineOf, tmp_path_factory: pytest.TempPathFactory) -> Site:
    machine = machines_of_module("db-01")
    services = {}
    for kind in KINDS:
        for fault in FAULTS:
            if fault.controller is None or machine.has_controller(fault.controller):
                service = Service(machine, kind, fault.id)
                fault.break_it(service)
                services[kind.id, fault.id] = service
        Service(machine, kind).fill().saves()
    directory = tmp_path_factory.mktemp("faults")
    as_root = run_playbook(directory / "root", [machine])
    as_visitor = run_playbook(directory / "visitor", [machine], user="visitor", become=False)
    return Site(machine, services, as_root, as_visitor)


def test_the_run_succeeds_and_finds_every_server(site: Site) -> None:
    assert site.as_root.rc == 0, site.as_root.output[-4000:]
    found = sorted(site.as_root.documents(site.machine))
    assert found == sorted(
        [*(service.address for service in site.services.values()), "127.0.0.1:6379", "127.0.0.1:6380"]
    )


@pytest.mark.parametrize(("kind", "fault"), CASES)
def test_the_verdict(site: Site, kind: Kind, fault: Fault, request: pytest.FixtureRequest) -> None:
    service = site.service(kind, fault)
    document = site.as_root.documents(site.machine)[service.address]
    assert document["instance"]["version"].startswith(kind.version)
    assert document["instance"]["unit"] == service.unit
    if not fault.failing:
        assert document["state"] == fault.verdict, explain(document)
        assert document["cause"] is None, explain(document)
        assert document["status"] == "ok"
    else:
        cause = document["cause"]
        assert cause is not None and cause["id"] == fault.verdict, explain(document)
        assert cause_ids(document) == [fault.verdict], explain(document)
        assert at_least(cause["confidence"], fault.confidence), explain(document)
        assert cause["still_present"] is fault.still_present, explain(document)
        assert document["writes_blocked"] is True
        assert set(fault.fixes) <= offered_fixes(document), explain(document)
        for words in fault.quotes:
            assert any(words in str(evidence["value"]) for evidence in cause["evidence"]), cause["evidence"]
    log = site.as_root.instance(site.machine, service.address)["redis_log"]
    assert (log["available"], log["source"]) == (True, fault.log_source), log["reason"]
    if request.config.getoption("--record-fleet"):
        record(kind, fault.id, site.machine, site.as_root.evidence(site.machine), document)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.id)
def test_the_healthy_server_of_the_main_unit(site: Site, kind: Kind) -> None:
    service = Service(site.machine, kind)
    document = site.as_root.documents(site.machine)[service.address]
    assert document["state"] == "idle", explain(document)
    assert document["instance"]["unit"] == service.unit
    assert document["forecast"]["answer"] == "will_succeed", document["forecast"]
    assert "runtime_config_drift" not in {risk["id"] for risk in document["risks"]}
    # A container can't know its machine's next boot, nor its kernel's log; everything else can be read.
    unseen = {gap["what"] for gap in document["unknowns"]}
    assert unseen <= {"the kernel log", *(name for name in unseen if name.startswith("what the machine's next boot"))}


@pytest.mark.parametrize(("kind", "fault"), CASES)
def test_systemd_in_the_evidence_is_what_systemd_says(site: Site, kind: Kind, fault: Fault) -> None:
    service = site.service(kind, fault)
    systemd = site.as_root.instance(site.machine, service.address)["systemd"]
    shown = service.show(
        "FragmentPath", "DropInPaths", "User", "Type", "NRestarts", "TasksMax", "LimitNPROC", "LimitFSIZE",
        "LimitNOFILE", "MemoryMax", "ReadWritePaths", "ReadOnlyPaths", "ProtectSystem", "NeedDaemonReload", "UMask",
        "MainPID",
    )  # fmt: skip
    limits = systemd["limits"]
    assert systemd["source"] == "systemctl"
    assert systemd["unit"] == service.unit
    assert systemd["fragment_path"] == shown["FragmentPath"]
    assert systemd["drop_in_paths"] == shown["DropInPaths"].split()
    assert (systemd["user"], systemd["type"]) == (kind.name, "notify")
    assert systemd["restart_count"] == int(shown["NRestarts"]) == (1 if fault.id == "restarted" else 0)
    for name in ("TasksMax", "LimitNPROC", "LimitFSIZE", "LimitNOFILE", "MemoryMax"):
        said = {"infinity": "unlimited", str(2**64 - 1): "unlimited"}.get(shown[name], shown[name])
        assert str(limits[name]) == said, name
    sandbox = systemd["sandbox"]
    assert sandbox["ProtectSystem"] == shown["ProtectSystem"] == "strict"
    assert sandbox["ReadWritePaths"] == shown["ReadWritePaths"].split()
    assert sandbox["ReadOnlyPaths"] == shown["ReadOnlyPaths"].split()
    assert sandbox["UMask"] == shown["UMask"]
    assert systemd["need_daemon_reload"] is (shown["NeedDaemonReload"] == "yes")
    process = site.as_root.instance(site.machine, service.address)["process"]
    assert process["pid"] == int(shown["MainPID"])
    assert process["user"] == kind.name


@pytest.mark.parametrize(("kind", "fault"), CASES)
def test_an_ordinary_user_is_told_less_and_nothing_wrong(site: Site, kind: Kind, fault: Fault) -> None:
    service = site.service(kind, fault)
    documents = site.as_visitor.documents(site.machine)
    document = documents[service.address]
    if service.socket:
        assert document["state"] == "unreachable", explain(document)
        error = site.as_visitor.instance(site.machine, service.address)["connection"]["error"]
        assert error["kind"] == "permission_denied"
    elif fault.failing:
        assert document["status"] == "err", explain(document)
        said = {(cause["id"], cause["confidence"]) for cause in document["causes"]}
        right = {
            (fault.verdict, "probable"),
            (fault.verdict, "possible"),
            ("no_evidence", None),
            ("no_evidence", "possible"),
        }
        assert said <= right, explain(document)
    else:
        assert document["cause"] is None, explain(document)
    assert document["unknowns"], "something can't be read without root, and that must be said"
