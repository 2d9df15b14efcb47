# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where nothing is changed, and how an allow list is read."""

from __future__ import annotations

import pytest
from ansible_collections.redisops.persistence.plugins.module_utils._forbidden_places import (
    check_pattern,
    is_allowed,
    why_forbidden,
)
from ansible_collections.redisops.persistence.plugins.module_utils._hijack_places import grade_place
from ansible_collections.redisops.persistence.plugins.plugin_utils.signals_storage import is_forbidden

FORBIDDEN = [
    "/",
    "/etc",
    "/etc/cron.d",
    "/etc/redis",
    "/root",
    "/root/.ssh",
    "/root/data",
    "/usr",
    "/usr/local/redis",
    "/var/spool",
    "/var/spool/cron/crontabs",
    "/var/spool/redis",
    "/proc",
    "/proc/1/cwd",
    "/sys",
    "/sys/fs/cgroup/x",
    "/dev",
    "/dev/shm/redis",
    "/boot",
    "/bin",
    "/sbin",
    "/lib",
    "/lib64",
    "/libx32/x",
    "/home/alice/.ssh",
    "/home/alice/.ssh/deep",
    "/data/.ssh",
    "/.ssh",
    "/home/alice",
    "/home/alice/.config/systemd/user",
    "/var/www",
    "/var/www/html",
    "/srv/www/htdocs",
    "/srv/http",
    "/www",
    "/wwwroot/x",
    "/opt/nginx/html",
    "/home/alice/public_html",
    "/data/htdocs",
    "/data/cron.d",
    "/data/crontabs/x",
    "/var",
    "/var/lib",
    "/tmp",
    "/run",
    "/home",
    "/srv",
    "/opt",
    "/mnt",
]
FREE = [
    "/var/lib/redis",
    "/var/lib/redis/6379",
    "/data",
    "/data/redis",
    "/srv/redis",
    "/opt/redis/data",
    "/home/alice/redis",
    "/tmp/x",
    "/var/tmp/x",
    "/mnt/ssd",
    "/etcetera",
    "/roots",
    "/usrdata",
    "/var/spoolers",
    "/devices",
    "/data/ssh",
    "/data/my.ssh",
    "/data/cronos",
    "/wwwdata",
]


@pytest.mark.parametrize("path", FORBIDDEN)
def test_forbidden(path):
    assert why_forbidden(path)


@pytest.mark.parametrize("path", FREE)
def test_free(path):
    assert why_forbidden(path) is None


@pytest.mark.parametrize("path", FORBIDDEN)
def test_a_newline_in_a_name_hides_nothing(path):
    if path != "/" and why_forbidden(f"{path}/x"):
        assert why_forbidden(f"{path}/a\nb")


def test_everything_that_the_diagnosis_refuses_is_refused_here():
    places = [*FORBIDDEN, *FREE, "/usr/share/nginx/html", "/etc/init.d", "/etc/profile.d/x", "/usr/lib/systemd/system"]
    refused = [path for path in places if is_forbidden(path) or grade_place(path)]
    assert len(refused) > 20
    assert [path for path in refused if why_forbidden(path) is None] == []


@pytest.mark.parametrize(
    ("path", "pattern", "allowed"),
    [
        ("/var/lib/redis", "/var/lib/redis", True),
        ("/var/lib/redis/6379", "/var/lib/redis", True),
        ("/var/lib/redis", "/var/lib/redis/", True),
        ("/var/lib/redis2", "/var/lib/redis", False),
        ("/var/lib/redis-6379", "/var/lib/redis*", True),
        ("/var/lib/redis-6379/deep", "/var/lib/redis*", True),
        ("/var/lib/valkey", "/var/lib/redis*", False),
        ("/var/lib", "/var/lib/redis*", False),
        ("/var/lib", "/var/lib/*", False),
        ("/data/a/b", "/data/*", True),
        ("/data", "/data/*", False),
        ("/data/a.b", "/data/a?b", False),
        ("/data/[x]", "/data/[x]", True),
        ("/data/x", "/data/[x]", False),
        ("/x/data", "/data", False),
        ("/data\n/x", "/data", False),
        ("/data/a\nb", "/data/*b", True),
        ("/anything", "/", True),
    ],
)
def test_allow_list(path, pattern, allowed):
    assert is_allowed(path, [pattern]) is allowed


def test_nothing_is_allowed_by_an_empty_list():
    assert is_allowed("/var/lib/redis", []) is False


@pytest.mark.parametrize("pattern", ["data", "", "/a/../b", "/a/./b", "/a//b", "//a", "/*/redis", "/srv/*/data/*"])
def test_entries_that_can_not_be_meant(pattern):
    assert check_pattern(pattern)
    assert is_allowed("/srv/x/data/y", [pattern]) is False
