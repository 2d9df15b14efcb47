# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whole hosts in trouble: the distribution's main units broken, root full or read-only, no way to become root."""

from __future__ import annotations

from pathlib import Path

import pytest
from lab.judging import at_least, cause_ids, explain

from .conftest import MachineOf
from .machine import Machine
from .playbooks import run_playbook
from .recording import record
from .services import REDIS, VALKEY, Service

pytestmark = pytest.mark.fleet
# Debian 13 keeps /tmp in memory, apart from the root.
FILL = """
mount -o remount,size=1m /tmp
for directory in / /tmp; do
    dd if=/dev/zero of="$directory/filler" bs=1M 2>/dev/null || true
    dd if=/dev/zero of="$directory/filler2" bs=1k 2>/dev/null || true
done
"""
# Through mount(2): for an overlay the newer system calls take every option for a change.
MAKE_READ_ONLY = """
export LIBMOUNT_FORCE_MOUNT2=always
journalctl --relinquish-var
mount -o remount,ro /tmp
mount -o remount,ro /
"""


def test_the_main_units(machine_of: MachineOf, tmp_path: Path) -> None:
    """Root took Redis' directory; Valkey was started on a volume that is too small."""
    machine = machine_of("db-02")
    redis, valkey = Service(machine, REDIS), Service(machine, VALKEY)
    machine.shell("chown root:root /var/lib/redis")
    redis.fill().fails()
    machine.run("systemctl", "stop", valkey.unit)
    machine.shell("mount -t tmpfs -o size=1m,mode=0750,uid=valkey,gid=valkey tmpfs /var/lib/valkey")
    valkey.start()
    valkey.ask("CONFIG", "SET", "rdbcompression", "no")
    valkey.fill(3000, 1000).fails()
    outcome = run_playbook(tmp_path, [machine])
    assert outcome.rc == 0, outcome.output
    documents = outcome.documents(machine)
    for service, cause in ((redis, "dir_permission_denied"), (valkey, "disk_full")):
        document = documents[service.address]
        assert cause_ids(document) == [cause], explain(document)
        assert document["cause"]["confidence"] == "confirmed"
        assert document["cause"]["still_present"] is True
        assert document["instance"]["unit"] == service.unit
        assert f"[{cause}]" in outcome.output
    assert outcome.instance(machine, redis.address)["connection"]["client"] == "redis-cli"
    # A restart would not bring it back: the server can't even enter the directory.
    assert outcome.instance(machine, redis.address)["data_directory"]["access"]["writable"] is False


def test_a_full_root(machine_of: MachineOf, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """Nothing can be written anywhere but in memory: not the log, no temporary file of Ansible's."""
    machine = machine_of("db-03", size="160m")
    redis, healthy = Service(machine, REDIS), Service(machine, VALKEY)
    redis.ask("CONFIG", "SET", "rdbcompression", "no")
    redis.fill(1000, 1000)
    machine.shell(FILL)
    for path in ("/tmp", "/var/tmp", "/home/deploy"):
        assert "No space left" in machine.shell(f"dd if=/dev/zero of={path}/probe bs=4k count=1", check=False), path
    redis.fails()
    outcome = run_playbook(tmp_path, [machine])
    assert outcome.rc == 0, outcome.output
    document = outcome.documents(machine)[redis.address]
    assert cause_ids(document) == ["disk_full"], explain(document)
    assert at_least(document["cause"]["confidence"], "probable"), explain(document)
    assert document["cause"]["still_present"] is True
    assert document["forecast"]["answer"] == "will_fail"
    other = outcome.documents(machine)[healthy.address]
    assert other["cause"] is None
    assert (other["forecast"]["answer"], other["forecast"]["cause"]) == ("will_fail", "disk_full")
    assert machine.shell("ls -A /tmp /var/tmp /dev/shm /home/deploy").count("ansible") == 0
    if request.config.getoption("--record-fleet"):
        record(REDIS, "root_full", machine, outcome.evidence(machine), document)


def test_a_read_only_root(machine_of: MachineOf, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """As after an error of the disk: every directory read-only, /tmp, /var/tmp and the homes too."""
    machine = machine_of("db-04")
    redis = Service(machine, REDIS)
    redis.fill()
    make_root_read_only(machine)
    redis.fails()
    outcome = run_playbook(tmp_path, [machine])
    assert outcome.rc == 0, outcome.output
    document = outcome.documents(machine)[redis.address]
    assert cause_ids(document) == ["filesystem_read_only"], explain(document)
    assert at_least(document["cause"]["confidence"], "probable"), explain(document)
    assert document["cause"]["still_present"] is True
    if request.config.getoption("--record-fleet"):
        record(REDIS, "root_read_only", machine, outcome.evidence(machine), document)


def make_root_read_only(machine: Machine) -> None:
    machine.shell(MAKE_READ_ONLY)
    for path in ("/tmp", "/var/tmp", "/home/deploy", "/var/lib/redis"):
        assert "Read-only" in machine.run("touch", f"{path}/probe", check=False), path


def test_without_a_way_to_become_root(machine_of: MachineOf, tmp_path: Path) -> None:
    machine = machine_of("db-05")
    outcome = run_playbook(tmp_path, [machine], user="visitor", become=True)
    assert outcome.rc == 0, outcome.output
    host = outcome.report["hosts"][machine.name]
    assert "password" in (host["error"] or ""), host


def test_a_host_that_boots_again(machine_of: MachineOf, tmp_path: Path) -> None:
    """The harness's own: what is on disk stays, the servers come back, and the log of before is history."""
    machine = machine_of("db-06")
    redis = Service(machine, REDIS)
    redis.fill().saves()
    dump = "/var/lib/redis/dump.rdb"
    machine.shell(f"mv {dump} {dump}.kept; mkdir {dump}")
    redis.fails()
    machine.shell(f"rmdir {dump}; mv {dump}.kept {dump}")
    before = run_playbook(tmp_path / "before", [machine]).documents(machine)[redis.address]
    assert cause_ids(before) == ["destination_is_directory"], explain(before)
    assert before["cause"]["still_present"] is False
    machine.reboot()
    assert redis.ask("DBSIZE") == "20"
    outcome = run_playbook(tmp_path / "after", [machine])
    document = outcome.documents(machine)[redis.address]
    assert (document["status"], document["cause"]) == ("ok", None), explain(document)
