# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import os

import pytest
from ansible_collections.redisops.persistence.plugins.module_utils._host_facts import (
    collect_host,
    operating_system,
    parse_kernel_version,
    parse_os_release,
    security_modules,
)
from ansible_collections.redisops.persistence.plugins.module_utils._namespaces import collector_in_container
from ansible_collections.redisops.persistence.plugins.module_utils._system import Gaps, System
from ansible_collections.redisops.persistence.tests.unit.recorded_tree import made_system

MACHINE = {"/proc/self/ns/pid": {"link": "pid:[4026531836]"}, "/proc/self/ns/mnt": {"link": "mnt:[4026531841]"}}
HOST_BLOCK = {
    "hostname", "kernel_release", "kernel_version", "architecture", "os", "boot_unix", "collector",
    "page_size_bytes", "memory", "overcommit", "thp", "limits", "numa", "lsm",
}  # fmt: skip


def test_host_block(tmp_path):
    system = made_system(
        tmp_path,
        {
            **MACHINE,
            "/proc/sys/kernel/osrelease": "5.10.0-30-amd64\n",
            "/proc/sys/kernel/hostname": "cache-7\n",
            "/proc/sys/kernel/arch": "aarch64\n",
            "/etc/os-release": 'PRETTY_NAME="Debian GNU/Linux 11 (bullseye)"\nID=debian\nVERSION_ID="11"\n',
            "/proc/stat": "cpu 1 2 3\nbtime 1795380257\n",
            "/proc/self/status": "Uid:\t1000\t1000\t1000\t1000\nCapEff:\t0000000000000000\n",
        },
    )
    host = collect_host(system, Gaps())
    assert set(host) == HOST_BLOCK
    assert host["hostname"] == "cache-7"
    assert (host["kernel_release"], host["kernel_version"]) == ("5.10.0-30-amd64", [5, 10])
    assert host["architecture"] == "aarch64"
    assert host["os"] == {"id": "debian", "version_id": "11", "name": "Debian GNU/Linux 11 (bullseye)"}
    assert host["boot_unix"] == 1795380257
    assert host["collector"] == {"uid": 1000, "root": False, "capabilities_effective": [], "in_container": False}


def test_this_machine():
    gaps = Gaps()
    host = collect_host(System(), gaps)
    assert host["kernel_release"] == os.uname().release
    assert host["architecture"] == os.uname().machine
    assert host["memory"]["total_bytes"] > 0
    assert host["overcommit"]["mode"] in (0, 1, 2)
    assert host["collector"]["uid"] == os.geteuid()
    assert host["limits"]["threads"] > 0


def test_machine_without_proc_is_unknown_not_an_error(tmp_path):
    host = collect_host(made_system(tmp_path, {}), Gaps())
    assert host["kernel_version"] is None
    assert host["os"] == {"id": None, "version_id": None, "name": None}


@pytest.mark.parametrize(
    ("release", "version"), [("6.18.44-fc", [6, 18]), ("4.19.0", [4, 19]), ("6.1-rc3", [6, 1]), ("", None)]
)
def test_kernel_version(release, version):
    assert parse_kernel_version(release) == version


def test_os_release_quoting():
    text = '# comment\nID=\'ol\'\nPRETTY_NAME="Oracle \\"Linux\\" 9"\nBROKEN="x\nVERSION_ID=9.4\n'
    assert parse_os_release(text) == {"ID": "ol", "PRETTY_NAME": 'Oracle "Linux" 9', "VERSION_ID": "9.4"}


def test_os_release_of_the_vendor_where_etc_has_none(tmp_path):
    system = made_system(tmp_path, {"/usr/lib/os-release": "ID=arch\n"})
    assert operating_system(system)["id"] == "arch"


@pytest.mark.parametrize(
    ("files", "selinux", "apparmor"),
    [
        ({"/sys/fs/selinux/enforce": "1"}, "enforcing", False),
        ({"/sys/fs/selinux/enforce": "0"}, "permissive", False),
        ({"/etc/selinux/config": "SELINUX=disabled\n"}, "disabled", False),
        ({"/proc/cmdline": "ro selinux=0\n"}, "disabled", False),
        ({"/sys/module/apparmor/parameters/enabled": "Y\n"}, "absent", True),
        ({"/sys/module/apparmor/parameters/enabled": "N\n"}, "absent", False),
        ({}, "absent", False),
    ],
)
def test_security_modules(tmp_path, files, selinux, apparmor):
    assert security_modules(made_system(tmp_path, files)) == {"selinux": selinux, "apparmor": apparmor}


@pytest.mark.parametrize(
    ("files", "inside"),
    [
        (MACHINE, False),
        ({"/proc/self/ns/pid": {"link": "pid:[4026532596]"}}, True),
        # A left-over in the image that a machine was made from.
        ({**MACHINE, "/.dockerenv": "", "/proc/1/ns/mnt": {"link": "mnt:[4026531841]"}}, False),
        ({**MACHINE, "/.dockerenv": ""}, False),
        # --pid=host
        ({**MACHINE, "/.dockerenv": "", "/proc/1/ns/mnt": {"link": "mnt:[4026531840]"}}, True),
        ({**MACHINE, "/run/.containerenv": ""}, True),
    ],
)
def test_collector_in_container(tmp_path, files, inside):
    assert collector_in_container(made_system(tmp_path, files)) is inside
