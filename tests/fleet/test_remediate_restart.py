# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Restarts that must not happen, and one that goes wrong: the data is safe, and what is said leads back to it."""

from __future__ import annotations

import dataclasses
import json
import shutil
import typing as t
from pathlib import Path

import pytest

from .conftest import MachineOf
from .faults import break_sandbox
from .machine import Machine, wait_until
from .playbooks import Document, Outcome
from .remedies import RESCUES, KeptService, decisions, make_rescue_directory, remediate, tell
from .services import KINDS, Kind

pytestmark = pytest.mark.fleet
SMALL = "/srv/small"
WRONG_LINE = "no-such-directive yes\n"


def break_with_aof(service: KeptService) -> None:
    """The directory is gone, and the log of every write goes on into a file that has no name any more."""
    service.begin(appendonly="yes")
    service.machine.run("rm", "-r", service.directory)
    service.fails()


def break_configuration(service: KeptService) -> None:
    """A line that the next start will not take."""
    break_sandbox(service)
    with service.machine.path(service.configuration).open("a") as file:
        file.write(WRONG_LINE)


def break_fork(service: KeptService) -> None:
    break_sandbox(service)
    service.machine.run("systemctl", "set-property", "--runtime", service.unit, f"TasksMax={service.threads}")


@dataclasses.dataclass(frozen=True)
class Refusal:
    """A server that must not be restarted. ``words``: what the operator must be told, one of them."""

    id: str
    break_it: t.Callable[[KeptService], None]
    words: tuple[str, ...]
    controller: str | None = None
    rescue_dir: str = RESCUES


REFUSALS = (
    Refusal("aof", break_with_aof, ("AOF", "appendonly", "append-only")),
    Refusal("fork", break_fork, ("fork",), controller="pids"),
    Refusal("space", break_sandbox, ("space", "free", "room"), rescue_dir=SMALL),
)
CASES = [pytest.param(kind, refusal, id=f"{kind.id}-{refusal.id}") for kind in KINDS for refusal in REFUSALS]


class Site(t.NamedTuple):
    machine: Machine
    services: dict[tuple[str, str], KeptService]
    digests: dict[str, tuple[str, str]]
    pids: dict[str, int]
    outcomes: dict[str, Outcome]

    def document(self, service: KeptService, rescue_dir: str = RESCUES) -> Document:
        return self.outcomes[rescue_dir].documents(self.machine)[service.address]

    def said_of(self, service: KeptService, rescue_dir: str = RESCUES) -> str:
        """All that the run tells of a server: its document, and the reasons that the last task gives."""
        return json.dumps(self.document(service, rescue_dir)) + self.outcomes[rescue_dir].output


@pytest.fixture(scope="module")
def site(machines_of_module: MachineOf, tmp_path_factory: pytest.TempPathFactory) -> Site:
    machine = machines_of_module("db-21")
    directory = tmp_path_factory.mktemp("restart")
    services = {}
    for kind in KINDS:
        for refusal in REFUSALS:
            if refusal.controller is None or machine.has_controller(refusal.controller):
                services[kind.id, refusal.id] = service = KeptService(machine, kind, refusal.id)
                refusal.break_it(service)
        services[kind.id, "wrong"] = service = KeptService(machine, kind, "wrong")
        break_configuration(service)
    make_rescue_directory(machine)
    machine.shell(f"mkdir {SMALL}; mount -t tmpfs -o size=16k,mode=0700 tmpfs {SMALL}")
    digests = {service.address: service.digest() for service in services.values()}
    pids = {service.address: service.pid for service in services.values()}
    outcomes = {}
    for rescue_dir in (RESCUES, SMALL):
        small = {refusal.id for refusal in REFUSALS if refusal.rescue_dir == SMALL}
        wanted = [service for (_kind, name), service in services.items() if (name in small) == (rescue_dir == SMALL)]
        outcomes[rescue_dir] = remediate(
            directory / Path(rescue_dir).name,
            [machine],
            redis_instances=[service.instance for service in wanted],
            remediate_opt_in=["unit_sandbox", "recreate_dir"],
            remediate_rescue_dir=rescue_dir,
        )
    return Site(machine, services, digests, pids, outcomes)


@pytest.mark.parametrize(("kind", "refusal"), CASES)
def test_without_a_rescue_there_is_no_restart(site: Site, kind: Kind, refusal: Refusal) -> None:
    if (kind.id, refusal.id) not in site.services:
        pytest.skip(f"systemd can't limit {refusal.controller} here")
    service = site.services[kind.id, refusal.id]
    document = site.document(service, refusal.rescue_dir)
    assert site.outcomes[refusal.rescue_dir].rc != 0
    assert document["result"] in ("refused", "failed", "unchanged"), tell(document)
    assert service.pid == site.pids[service.address], "the server was restarted"
    assert service.digest() == site.digests[service.address]
    told = json.dumps([document["reason"], document["plan"]])
    assert any(words in told for words in refusal.words), tell(document)
    left = [path.name for path in site.machine.path(refusal.rescue_dir).iterdir() if str(service.port) in path.name]
    assert left == [], "what is no complete copy must not look like one, nor take room"
    assert "redisops" not in service.show("DropInPaths")["DropInPaths"]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.id)
def test_aof_is_refused_beforehand(site: Site, kind: Kind) -> None:
    document = site.document(site.services[kind.id, "aof"])
    assert decisions(document)["recreate_dir"] == "refuse", tell(document)
    assert document["changes"] == [], tell(document)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.id)
def test_a_server_that_does_not_start_again(site: Site, kind: Kind, tmp_path: Path) -> None:
    service = site.services[kind.id, "wrong"]
    document = site.document(service)
    assert document["result"] == "failed", tell(document)
    files = [path for path in site.machine.path(RESCUES).iterdir() if str(service.port) in path.name]
    assert [path.suffix for path in files] == [".rdb"], files
    rescue = f"{RESCUES}/{files[0].name}"
    assert rescue in document["reason"], tell(document)
    assert f"systemctl restart {service.unit}" in site.said_of(service) or "systemctl start" in site.said_of(service)
    assert "RDB looks OK" in site.machine.run(f"{kind.name}-check-rdb", rescue)
    # What an operator does then.
    configuration = site.machine.path(service.configuration)
    configuration.write_text(configuration.read_text().replace(WRONG_LINE, ""))
    service.restart()
    wait_until(lambda: service.has_restarted(site.pids[service.address]), f"{service.unit} does not come back")
    assert service.digest() == site.digests[service.address], "every key must be there again"
    service.saves()


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.id)
def test_a_rescue_for_the_control_node(site: Site, kind: Kind, tmp_path: Path) -> None:
    """The copy leaves the host; what it holds is what a server loads from it."""
    service = site.services[kind.id, "space"]
    outcome = remediate(
        tmp_path,
        [site.machine],
        redis_instances=[service.instance],
        remediate_opt_in=["rescue"],
        remediate_rescue_control_dir=str(tmp_path / "rescues"),
    )
    document = outcome.documents(site.machine)[service.address]
    assert outcome.rc != 0, "the server is still broken"
    assert decisions(document)["rescue"] == "apply", tell(document)
    assert service.pid == site.pids[service.address]
    (fetched,) = (tmp_path / "rescues").rglob("*.rdb")
    loaded = KeptService(site.machine, kind, "loaded").configure()
    dump = site.machine.path(f"{loaded.directory}/dump.rdb")
    shutil.copy(fetched, dump)
    site.machine.run("chown", f"{kind.name}:", f"{loaded.directory}/dump.rdb")
    assert t.cast(KeptService, loaded.start()).digest() == site.digests[service.address]
