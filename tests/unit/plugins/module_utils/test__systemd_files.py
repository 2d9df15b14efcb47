# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest
from ansible_collections.redisops.persistence.plugins.module_utils._systemd_files import (
    drop_in_directories,
    merge_settings,
    parse_unit_file,
    read_unit_files,
    unescape_specifiers,
)
from ansible_collections.redisops.persistence.tests.unit.recorded_tree import made_system


def test_parse_unit_file():
    content = "# c\n[Unit]\nDescription=a\n\n[Service]\nReadWritePaths=/a \\\n; between\n  /b\nUser = redis\nodd line\n"
    assert parse_unit_file(content) == [
        ("Unit", "Description", "a"),
        ("Service", "ReadWritePaths", "/a /b"),
        ("Service", "User", "redis"),
    ]


def test_lists_add_up_and_an_empty_line_clears():
    files = [
        [("Service", "ReadWriteDirectories", "-/a"), ("Service", "ReadWritePaths", "/b"), ("Service", "User", "x")],
        [("Service", "User", "y"), ("Service", "ReadOnlyPaths", "/c")],
        [("Service", "ReadOnlyPaths", ""), ("Service", "ReadOnlyPaths", "/d")],
    ]
    assert merge_settings(files, "redis.service") == {"ReadWritePaths": "-/a /b", "User": "y", "ReadOnlyPaths": "/d"}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("/etc/redis/redis-%i.conf", "/etc/redis/redis-a-b.conf"),
        ("%I %p %n %N", "a/b redis redis@a-b.service redis@a-b"),
        ("100%% %t %", "100% %t %"),
    ],
)
def test_specifiers(value, expected):
    assert unescape_specifiers(value, "redis@a-b.service") == expected


def test_drop_in_directories():
    assert drop_in_directories("redis-server@6380.service") == [
        "redis-server@6380.service.d",
        "redis-server@.service.d",
        "redis-.service.d",
        "service.d",
    ]


def test_which_files_count(tmp_path):
    system = made_system(
        tmp_path,
        {
            "/lib/systemd/system/redis-server@.service": "[Service]\nUser=packaged\nType=notify\nUMask=007\n",
            "/etc/systemd/system/redis-server@6380.service.d/20-limits.conf": "[Service]\nLimitNPROC=64\n",
            "/etc/systemd/system/redis-server@6380.service.d/readme.txt": "[Service]\nUser=nobody\n",
            "/run/systemd/system/redis-server@.service.d/20-limits.conf": "[Service]\nLimitNPROC=1\n",
            "/usr/lib/systemd/system/service.d/10-all.conf": "[Service]\nUMask=022\nLimitNPROC=2\n",
        },
    )
    files = read_unit_files(system, "redis-server@6380.service")
    assert files.fragment_path == "/lib/systemd/system/redis-server@.service"
    assert files.drop_in_paths == [
        "/usr/lib/systemd/system/service.d/10-all.conf",
        "/etc/systemd/system/redis-server@6380.service.d/20-limits.conf",
    ]
    assert files.settings == {"User": "packaged", "Type": "notify", "UMask": "022", "LimitNPROC": "64"}


def test_the_administrators_file_replaces_the_packages(tmp_path):
    system = made_system(
        tmp_path,
        {
            "/lib/systemd/system/redis.service": "[Service]\nUser=packaged\n",
            "/etc/systemd/system/redis.service": "[Service]\nGroup=own\n",
        },
    )
    assert read_unit_files(system, "redis.service").settings == {"Group": "own"}


def test_no_files(tmp_path):
    assert read_unit_files(made_system(tmp_path, {"/etc/hostname": "x"}), "redis.service") is None
