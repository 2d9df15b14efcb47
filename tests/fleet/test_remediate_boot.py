# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the next boot reads after kernel_setting wrote its file, judged by systemd's own programs and the evidence.

The machine's /proc/sys and /sys are read-only, so that only the boot's half can be set here. And in a container the
module rightly writes no such file: these tests send a copy of the collection that knows the machine's processes for
those of a whole machine.
"""

from __future__ import annotations

import os
import shutil
import typing as t
from pathlib import Path

import pytest

from .conftest import MachineOf
from .machine import Machine
from .playbooks import Document, run_module
from .remedies import differences, snapshot
from .services import KINDS, Service
from .test_boot import POLICY, TUNED_PROFILE, Host, set_by_sysctl
from .tree import REPOSITORY

pytestmark = pytest.mark.fleet
FIRST_NAMESPACE = '"pid": 0xEFFFFFFC'
SYSCTL_FILE = "/etc/sysctl.d/99-zz-redisops-persistence.conf"
TMPFILES_FILE = "/etc/tmpfiles.d/redisops-persistence.conf"
OVERCOMMIT = {"name": "vm.overcommit_memory", "value": "1", "running": False}
HUGE_PAGES = {"name": "transparent_hugepage", "value": "never", "running": False}


class Setter:
    """kernel_setting on one machine: each call in a directory of its own."""

    def __init__(self, machine: Machine, directory: Path) -> None:
        self.machine = machine
        self._directory = directory
        self._number = 0

    def __call__(self, arguments: Document, *options: str) -> Document:
        self._number += 1
        directory = self._directory / f"set{self._number}"
        copy = copy_collection(self._directory / f"collections{self._number}", self.machine)
        return run_module(directory, self.machine, "kernel_setting", arguments, *options, collections=copy)


def copy_collection(directory: Path, machine: Machine) -> Path:
    """A copy that takes the machine's namespace of processes, another one after each boot, for the first of all."""
    target = directory / "ansible_collections" / "redisops" / "persistence"
    for name in ("plugins", "meta"):
        shutil.copytree(REPOSITORY / name, target / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(REPOSITORY / "galaxy.yml", target)
    inode = os.stat(f"/proc/{machine.leader}/ns/pid").st_ino
    namespaces = target / "plugins" / "module_utils" / "_namespaces.py"
    text = namespaces.read_text()
    assert FIRST_NAMESPACE in text
    namespaces.write_text(text.replace(FIRST_NAMESPACE, f'"pid": {inode}'))
    return directory


def set_by_tmpfiles(machine: Machine) -> str | None:
    """What systemd-tmpfiles would write into the policy of huge pages at a boot: of two lines the first counts."""
    said = machine.run("systemd-tmpfiles", "--cat-config", check=False)
    lines = [line.split() for line in said.splitlines() if POLICY in line and line[:1] in "wW"]
    return lines[0][-1] if lines else None


def test_the_boot_reads_what_was_written(machine_of: MachineOf, tmp_path: Path) -> None:
    machine = machine_of("db-28")
    host, set_kernel = Host(machine, tmp_path), Setter(machine, tmp_path)
    for path, text in {
        "/usr/lib/sysctl.d/50-package.conf": "vm.overcommit_memory = 0\n",
        "/etc/sysctl.d/60-other.conf": "vm.overcommit_memory = 2\n",
        "/etc/tmpfiles.d/zz-other.conf": f"w {POLICY} - - - - always\n",
    }.items():
        machine.write(path, text)

    before = snapshot(machine, [])
    for wanted in (OVERCOMMIT, HUGE_PAGES):
        announced = set_kernel(wanted, "--check", "--diff")
        assert announced["changed"] is True and announced["diff"], announced
        assert differences(before, snapshot(machine, [])) == []
        made = set_kernel(wanted)
        assert made["changes"] == announced["changes"]
        assert made["boot"]["effective"] is True, made["boot"]
        before = snapshot(machine, [])
        assert set_kernel(wanted)["changed"] is False
        assert differences(before, snapshot(machine, [])) == []

    assert set_by_sysctl(machine) == "1"
    assert set_by_tmpfiles(machine) == "never"
    overcommit, pages = host.boot()
    assert (overcommit["value"], overcommit["source"].partition(":")[0]) == ("1", SYSCTL_FILE)
    assert (pages["value"], pages["source"].partition(":")[0]) == ("never", TMPFILES_FILE)

    machine.reboot()
    for kind in KINDS:
        assert in_force_before(machine, "systemd-tmpfiles-setup.service", Service(machine, kind).unit)
        assert in_force_before(machine, "systemd-sysctl.service", Service(machine, kind).unit)

    for wanted in (OVERCOMMIT, HUGE_PAGES):
        assert set_kernel({**wanted, "boot": "absent"})["changed"] is True
    assert not machine.path(SYSCTL_FILE).exists() and not machine.path(TMPFILES_FILE).exists()
    assert set_by_sysctl(machine) == "2"


def in_force_before(machine: Machine, setting_unit: str, server_unit: str) -> bool:
    """Whether that boot had done with the one before it began with the other."""

    def moment(unit: str, name: str) -> int:
        said = machine.run("systemctl", "show", "--property", name, "--value", unit).strip()
        return int(said or 0)

    done = moment(setting_unit, "ExecMainExitTimestampMonotonic")
    return 0 < done < moment(server_unit, "ExecMainStartTimestampMonotonic")


def test_somebody_else_has_the_last_word(machine_of: MachineOf, tmp_path: Path) -> None:
    """Then no file is written that would only pretend."""
    machine = machine_of("db-29")
    set_kernel = Setter(machine, tmp_path)

    later = "/etc/sysctl.d/99-zzz-vendor.conf"
    machine.write(later, "vm.overcommit_memory = 2\n")
    machine.write("/etc/tmpfiles.d/a-vendor.conf", f"w {POLICY} - - - - always\n")
    refused = [set_kernel(OVERCOMMIT), set_kernel(HUGE_PAGES)]
    for result, winner in zip(refused, (later, "/etc/tmpfiles.d/a-vendor.conf")):
        boot = result["boot"]
        assert boot["effective"] is False, boot
        assert any(winner in str(named) for named in [*boot["overridden_by"], boot["reason"]]), boot
        assert result["changed"] is False and "[WARNING]" in result["output"], result
    assert not machine.path(SYSCTL_FILE).exists() and not machine.path(TMPFILES_FILE).exists()
    machine.shell("rm /etc/sysctl.d/99-zzz-vendor.conf /etc/tmpfiles.d/a-vendor.conf")

    machine.write("/etc/tuned/profiles/database/tuned.conf", TUNED_PROFILE)
    machine.run("systemctl", "enable", "--now", "tuned.service")
    machine.run("tuned-adm", "profile", "database", check=False)
    pages = set_kernel(HUGE_PAGES)
    assert pages["boot"]["effective"] is False, pages["boot"]
    assert "database" in pages["boot"]["reason"], pages["boot"]
    assert not machine.path(TMPFILES_FILE).exists()
    # TuneD applies the administrator's files again after its own values: a file in /etc/sysctl.d has the last word.
    overcommit = set_kernel(OVERCOMMIT)
    assert overcommit["boot"]["effective"] is True, overcommit["boot"]
    assert machine.path(SYSCTL_FILE).exists()


@pytest.mark.parametrize("wanted", [OVERCOMMIT, HUGE_PAGES], ids=lambda wanted: t.cast(str, wanted["name"]))
def test_a_value_that_this_machine_may_not_set(machine_of: MachineOf, tmp_path: Path, wanted: Document) -> None:
    """/proc/sys and /sys are read-only in a container: that fails with a reason, and half of it is not done."""
    machine = machine_of("db-30")
    source = {"vm.overcommit_memory": "/proc/sys/vm/overcommit_memory", "transparent_hugepage": POLICY}[wanted["name"]]
    current = machine.run("cat", source)
    other = {"vm.overcommit_memory": "1" if current.strip() != "1" else "0"}.get(
        wanted["name"], "never" if "[never]" not in current else "always"
    )
    before = snapshot(machine, [])
    result = run_module(tmp_path, machine, "kernel_setting", {**wanted, "value": other, "running": True})
    assert result.get("failed") is True, result
    assert "read-only" in result["msg"].lower() or "container" in result["msg"], result["msg"]
    assert machine.run("cat", source) == current
    assert differences(before, snapshot(machine, [])) == []
