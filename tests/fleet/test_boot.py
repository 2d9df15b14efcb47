# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the next boot makes of overcommit and of huge pages, on a host that systemd boots.

What the evidence says is held to what systemd's own programs make of the same files.
"""

from __future__ import annotations

import re
import typing as t
from pathlib import Path

import pytest

from .conftest import MachineOf
from .machine import Machine
from .playbooks import run_playbook
from .services import REDIS, Service

pytestmark = pytest.mark.fleet
POLICY = "/sys/kernel/mm/transparent_hugepage/enabled"
THP_UNIT = f"""[Unit]
Description=Disable transparent huge pages

[Service]
Type=oneshot
ExecStart=/bin/sh -c 'echo never > {POLICY}'

[Install]
WantedBy=multi-user.target
"""
TUNED_PROFILE = """[main]
include=throughput-performance

[vm]
transparent_hugepages=always

[sysctl]
vm.overcommit_memory=2
"""

Document = dict[str, t.Any]


class Host:
    """One machine, asked again after each change."""

    def __init__(self, machine: Machine, directory: Path) -> None:
        self.machine = machine
        self._directory = directory
        self._number = 0

    def boot(self) -> tuple[Document, Document]:
        """BOOT of overcommit and of huge pages."""
        self._number += 1
        outcome = run_playbook(self._directory / str(self._number), [self.machine])
        assert outcome.rc == 0, outcome.output
        host = outcome.evidence(self.machine)["host"]
        return host["overcommit"]["boot"], host["thp"]["boot"]


def set_by_sysctl(machine: Machine) -> str | None:
    """What systemd-sysctl would set at a boot: its own account of it. The machine may not really set it."""
    said = machine.shell("SYSTEMD_LOG_LEVEL=debug /usr/lib/systemd/systemd-sysctl 2>&1", check=False)
    found = re.findall(r"Setting '/proc/sys/vm/overcommit_memory' to '(\d)'", said)
    return found[-1] if found else None


def values(boot: Document) -> list[tuple[str, str | None, bool]]:
    return [(entry["source"], entry["value"], entry["effective"]) for entry in boot["candidates"]]


def test_files_units_and_tuned(machine_of: MachineOf, tmp_path: Path) -> None:
    machine = machine_of("db-10")
    host = Host(machine, tmp_path)

    overcommit, pages = host.boot()
    assert (overcommit["value"], pages["value"]) == (set_by_sysctl(machine), None) == (None, None)

    # A package's value, an administrator's, and a file that Debian 13 reads no more.
    machine.write("/usr/lib/sysctl.d/50-package.conf", "vm.overcommit_memory = 0\n")
    machine.write("/etc/sysctl.d/60-redis.conf", "# asked for by Redis\nvm.overcommit_memory = 1\n")
    machine.write("/etc/sysctl.conf", "vm.overcommit_memory=2\n")
    machine.write("/etc/tmpfiles.d/thp.conf", f"w {POLICY} - - - - madvise\n")
    overcommit, pages = host.boot()
    assert (overcommit["value"], overcommit["source"]) == ("1", "/etc/sysctl.d/60-redis.conf:2")
    assert set_by_sysctl(machine) == "1"
    assert ("/usr/lib/sysctl.d/50-package.conf:1", "0", False) in values(overcommit)
    assert ("/etc/sysctl.conf:1", "2", False) in values(overcommit)
    assert (pages["value"], pages["source"]) == ("madvise", "/etc/tmpfiles.d/thp.conf:1")

    # A later file has the last word, wherever it lies; one of the same name in /etc hides the package's.
    machine.write("/usr/lib/sysctl.d/99-vendor.conf", "vm/overcommit_memory=2\n")
    machine.write("/etc/sysctl.d/50-package.conf", "# nothing\n")
    overcommit, _pages = host.boot()
    assert (overcommit["value"], overcommit["source"]) == ("2", "/usr/lib/sysctl.d/99-vendor.conf:1")
    assert overcommit["overridden_by"] == ["/usr/lib/sysctl.d/99-vendor.conf:1"]
    assert set_by_sysctl(machine) == "2"

    # A unit counts when something starts it.
    machine.write("/etc/systemd/system/disable-thp.service", THP_UNIT)
    _overcommit, pages = host.boot()
    assert pages["source"] == "/etc/tmpfiles.d/thp.conf:1"
    machine.run("systemctl", "enable", "disable-thp.service")
    _overcommit, pages = host.boot()
    assert (pages["value"], pages["source"]) == ("never", "disable-thp.service")

    # TuneD comes last of all.
    machine.write("/etc/tuned/profiles/database/tuned.conf", TUNED_PROFILE)
    machine.run("systemctl", "enable", "--now", "tuned.service")
    machine.run("tuned-adm", "profile", "database", check=False)
    assert machine.read("/etc/tuned/active_profile").strip() == "database"
    overcommit, pages = host.boot()
    assert pages["managed_by"] == overcommit["managed_by"] == "tuned:database"
    assert (pages["value"], pages["source"]) == ("always", "/etc/tuned/profiles/database/tuned.conf:5")
    # ... but for the administrator's files, which it applies again after its own values: sysctl.conf too, and last.
    assert (overcommit["value"], overcommit["source"]) == ("2", "/etc/sysctl.conf:1")
    machine.path("/etc/sysctl.conf").unlink()
    overcommit, _pages = host.boot()
    assert (overcommit["value"], overcommit["source"]) == ("1", "/etc/sysctl.d/60-redis.conf:2")
    machine.run("systemctl", "disable", "--now", "tuned.service")
    overcommit, pages = host.boot()
    assert (pages["value"], pages["managed_by"]) == ("never", None)


def test_the_operator_reads_what_the_next_boot_undoes(machine_of: MachineOf, tmp_path: Path) -> None:
    """The setting that runs is right and the boot's is not: only the boot's file tells."""
    machine = machine_of("db-11")
    Service(machine, REDIS).fill().saves()
    machine.write("/etc/sysctl.d/99-zz.conf", "vm.overcommit_memory = 2\n")
    outcome = run_playbook(tmp_path, [machine])
    boot = outcome.evidence(machine)["host"]["overcommit"]["boot"]
    assert boot["source"] == "/etc/sysctl.d/99-zz.conf:1"
    gaps = {gap["what"] for gap in outcome.evidence(machine)["gaps"]}
    assert "what the machine's next boot makes of vm.overcommit_memory" in gaps  # a container does not boot a machine
