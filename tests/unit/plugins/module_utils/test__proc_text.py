# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest
from ansible_collections.redisops.persistence.plugins.module_utils import _proc_text

SMAPS = """55d0c2a00000-55d0c2a41000 r--p 00000000 fe:00 1234                       /usr/bin/redis-check-rdb
Size:                260 kB
AnonHugePages:         0 kB
VmFlags: rd mr mw me sd
7f2a00000000-7f2a00800000 rw-p 00000000 00:00 0
Size:               8192 kB
AnonHugePages:      4096 kB
VmFlags: rd wr mr mw me ac sd
7f2a10000000-7f2a10400000 rw-p 00000000 00:00 0
Size:               4096 kB
AnonHugePages:         0 kB
VmFlags: rd wr mr mw me nr sd
7f2a20000000-7f2a20100000 r--p 00000000 00:00 0
AnonHugePages:         0 kB
VmFlags: rd mr mw me ac sd
7f2a30000000-7f2a30200000 rw-s 00000000 00:01 99                         /dev/zero (deleted)
AnonHugePages:         0 kB
VmFlags: rd wr sh mr mw me ms ac sd
"""


def test_smaps_counts_what_is_accounted_apart_from_what_is_writable():
    mappings = _proc_text.parse_smaps(SMAPS)
    assert mappings.private_writable_bytes == 12 * 1024**2
    assert mappings.largest_private_mapping_bytes == 8 * 1024**2
    # The mapping without reserve (nr) is not charged; one made read-only afterwards, and a shared one, still are.
    assert mappings.accounted_bytes == (8 + 1 + 2) * 1024**2
    assert mappings.anonymous_huge_pages_bytes == 4 * 1024**2


def test_maps_agrees_with_smaps_and_knows_nothing_of_accounting():
    maps = "\n".join(line for line in SMAPS.splitlines() if "-p " in line or "-s " in line)
    assert _proc_text.parse_maps(maps) == _proc_text.parse_smaps(SMAPS)._replace(
        accounted_bytes=None, anonymous_huge_pages_bytes=None
    )


def test_stat_of_a_command_with_spaces_and_parentheses():
    text = "4242 (redis) server (x)) D 1 4242 4242 0 -1 4194624 300 0 0 0 150 50 0 0 20 0 6 0 98765 50782208 1645 0\n"
    assert _proc_text.parse_stat(text) == _proc_text.Stat("redis) server (x)", "D", 1, 150, 50, 6, 98765)


@pytest.mark.parametrize("text", ["", "4242 (redis", "4242 (redis) S 1"])
def test_stat_that_is_cut(text):
    assert _proc_text.parse_stat(text) is None


def test_limits():
    text = (
        "Limit                     Soft Limit           Hard Limit           Units     \n"
        "Max cpu time              60                   unlimited            seconds   \n"
        "Max file size             5000000              10000000             bytes     \n"
        "Max processes             300                  400                  processes \n"
        "Max nice priority         0                    0                    \n"
    )
    assert _proc_text.parse_limits(text) == {
        "cpu": {"soft": 60, "hard": "unlimited"},
        "fsize": {"soft": 5000000, "hard": 10000000},
        "nproc": {"soft": 300, "hard": 400},
    }


@pytest.mark.parametrize(
    ("mask", "names"),
    [
        ("0000000000000000", []),
        ("0000000000000003", ["CAP_CHOWN", "CAP_DAC_OVERRIDE"]),
        ("0000000001000000", ["CAP_SYS_RESOURCE"]),
        ("0000020000000000", ["CAP_41"]),  # newer than the list
        ("", None),
    ],
)
def test_capabilities(mask, names):
    assert _proc_text.parse_capabilities(mask) == names


def test_fields():
    fields = _proc_text.parse_fields("VmRSS:\t    4016 kB\nThreads:\t4\nNSpid:\t30587\t5\nGroups:\t \nUmask:\t0022\n")
    assert _proc_text.field_bytes(fields, "VmRSS") == 4016 * 1024
    assert _proc_text.field_bytes(fields, "VmSwap") is None
    assert _proc_text.field_integer(fields, "Threads") == 4
    assert _proc_text.field_integers(fields, "NSpid") == [30587, 5]
    assert _proc_text.field_integers(fields, "Groups") == []


@pytest.mark.parametrize(
    ("line", "policy"),
    [
        ("7f00 default file=/bin/x mapped=3", "default"),
        ("7f00 bind:0 heap anon=1", "bind"),
        ("7f00 interleave:0-1 heap", "interleave"),
        ("7f00 prefer (many):0,1 anon=1", "prefer"),
        ("7f00 prefer=relative:0", "prefer"),
        ("", None),
    ],
)
def test_memory_policy(line, policy):
    assert _proc_text.parse_memory_policy(line) == policy


def test_namespace_links():
    assert _proc_text.parse_namespace("mnt:[4026531841]") == 4026531841
    assert _proc_text.parse_namespace("/somewhere/else") is None


def test_environment_variable_is_one_entry_not_a_part_of_another():
    environment = b"XTZ=no\0TZ=Europe/Berlin\0PATH=/bin\0"
    assert _proc_text.parse_environment_variable(environment, "TZ") == "Europe/Berlin"
    assert _proc_text.parse_environment_variable(b"XTZ=no\0", "TZ") is None


def test_ids_of_a_user_namespace():
    id_map = "         0     100000      65536\n     70000       1000          1\n"
    assert _proc_text.map_id_into_namespace(id_map, 100999) == 999
    assert _proc_text.map_id_into_namespace(id_map, 1000) == 70000
    assert _proc_text.map_id_into_namespace(id_map, 99999) is None


def test_user_name():
    passwd = "root:x:0:0::/:/bin/sh\nredis:x:106:110::/var/lib/redis:/bin/false\n"
    assert _proc_text.find_user_name(passwd, 106) == "redis"
    assert _proc_text.find_user_name(passwd, 10) is None
