# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The fleet's fixtures. A test takes ``machine_of`` (machines that end with the test) or ``machines_of_module``."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import typing as t
from pathlib import Path

import pytest

from .figures import FIGURES
from .machine import Machine, Network, missing_need
from .tree import MissingTool, base_tree

MachineOf = t.Callable[..., Machine]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--record-fleet", action="store_true", help="write each server's evidence as a replay file")


def pytest_terminal_summary(terminalreporter: t.Any) -> None:
    lines = FIGURES.lines()
    if lines:
        terminalreporter.section("fleet")
        for line in lines:
            terminalreporter.line(line)


class Fleet:
    """What all machines share: a bridge, a key, a directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.key = directory / "key"
        self.network = Network()

    def start(self) -> None:
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.key)], check=True)
        self.network.start()

    def stop(self) -> None:
        self.network.stop()
        shutil.rmtree(self.directory)

    def new(self, name: str, **options: t.Any) -> Machine:
        return Machine(name, self.network, Path(tempfile.mkdtemp(prefix=name, dir=self.directory)), self.key, **options)


@pytest.fixture(scope="session")
def fleet() -> t.Iterator[Fleet]:
    need = missing_need()
    if need is not None:
        pytest.skip(need)
    try:
        base_tree()
    except MissingTool as error:
        pytest.skip(f"no tree to boot: {error}")
    shared = Fleet(Path(tempfile.mkdtemp(prefix="rofleet-")))
    try:
        shared.start()
        yield shared
    finally:
        shared.stop()


def booted(fleet: Fleet, machines: list[Machine]) -> MachineOf:
    def boot(name: str, wait: bool = True, **options: t.Any) -> Machine:
        machine = fleet.new(name, **options)
        machines.append(machine)
        machine.start()
        return machine.wait_for_boot() if wait else machine

    return boot


def stop_all(machines: list[Machine]) -> None:
    errors = []
    for machine in machines:
        try:
            machine.stop()
        except Exception as error:  # the others must be ended too
            errors.append(error)
    if errors:
        raise errors[0]


@pytest.fixture
def machine_of(fleet: Fleet) -> t.Iterator[MachineOf]:
    """Boots machines that end with the test: ``machine_of("name", size="400m")``."""
    machines: list[Machine] = []
    try:
        yield booted(fleet, machines)
    finally:
        stop_all(machines)


@pytest.fixture(scope="module")
def machines_of_module(fleet: Fleet) -> t.Iterator[MachineOf]:
    """The same for machines that end with the module."""
    machines: list[Machine] = []
    try:
        yield booted(fleet, machines)
    finally:
        stop_all(machines)
