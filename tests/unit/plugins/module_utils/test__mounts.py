# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest
from ansible_collections.redisops.persistence.plugins.module_utils._mounts import (
    MountTable,
    parse_line,
    place_on_device,
    read_mounts,
)
from ansible_collections.redisops.persistence.plugins.module_utils._system import System

TABLE = MountTable(
    b"""27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard,resuid=65534
30 27 253:1 / /var/lib/redis rw,noatime shared:5 master:2 - xfs /dev/mapper/vg-redis rw,attr2
31 30 0:40 / /var/lib/redis rw,relatime - tmpfs none rw,size=1024k
32 27 253:2 / /srv/data/deep rw - ext4 /dev/sdb ro
33 27 253:3 / /srv/data rw - ext4 /dev/sdc rw
34 27 254:0 /exports/redis /mnt/with\\040space\\011tab\\134x ro,relatime - ext4 /dev/vda rw
35 27 0:50 / /var/lib/redis-other rw - tmpfs none rw
"""
)


def test_line_with_optional_fields():
    mount = parse_line(b"30 27 253:1 /a /var/lib/redis rw,noatime shared:5 master:2 - xfs /dev/mapper/vg rw,attr2")
    assert (mount.mount_id, mount.device, mount.file_system_root) == (30, "253:1", "/a")
    assert mount.options == ["rw", "noatime"]
    assert (mount.type, mount.source, mount.super_options) == ("xfs", "/dev/mapper/vg", ["rw", "attr2"])


@pytest.mark.parametrize("line", [b"", b"30 27 253:1 /", b"x 27 253:1 / / rw - ext4 a rw", b"30 27 253:1 / / rw"])
def test_a_line_that_was_cut_is_none(line):
    assert parse_line(line) is None


def test_escaped_and_undecodable_names():
    assert parse_line(b"1 0 0:1 / /a\\040b\\012c\xff rw - tmpfs none rw").mount_point == "/a b\nc\udcff"


@pytest.mark.parametrize(
    ("path", "mount_id"),
    [
        ("/", 27),
        ("/etc/passwd", 27),
        ("/var/lib/redis", 31),
        ("/var/lib/redis/appendonlydir", 31),
        ("/var/lib/redis-other/x", 35),
        ("/var/lib/redis2", 27),
        ("/mnt/with space\ttab\\x/y", 34),
    ],
)
def test_a_look_up_ends_in_the_topmost_mount(path, mount_id):
    assert TABLE.containing(path).mount_id == mount_id


def test_a_mount_below_a_later_mount_can_not_be_reached():
    assert TABLE.containing("/srv/data/deep/x").mount_id == 33


def test_a_process_in_a_chroot_lists_no_root():
    table = MountTable(b"40 27 0:40 / /data rw - tmpfs none rw\n")
    assert table.containing("/data/x").mount_id == 40
    assert table.containing("/srv") is None


def test_by_id():
    assert TABLE.by_id(33).mount_point == "/srv/data"
    assert TABLE.by_id(3) is None


def test_the_same_place_through_a_bind_mount():
    bind = TABLE.containing("/mnt/with space\ttab\\x/y")
    root = TABLE.containing("/exports/redis/y")
    assert place_on_device(bind, "/mnt/with space\ttab\\x/y") == place_on_device(root, "/exports/redis/y")
    assert place_on_device(bind, "/mnt/with space\ttab\\x/y") != place_on_device(root, "/exports/redis/z")
    assert place_on_device(root, "/") == ("254:0", "/")


def test_an_unreadable_table_is_none_and_an_empty_one_is_false(tmp_path):
    assert read_mounts(System(root=str(tmp_path)), 42) is None
    assert not MountTable(b"")
    assert TABLE
