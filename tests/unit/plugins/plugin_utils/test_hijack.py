# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Places and names of intruders, and those that only look strange."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.redisops.persistence.plugins.plugin_utils.hijack import assess, grade_name, grade_place

FILE = {"dir": "/var/lib/redis", "dbfilename": "dump.rdb"}


@pytest.mark.parametrize(
    ("directory", "dbfilename", "written", "hijacked"),
    [
        ("/var/spool/cron", "root", FILE, True),
        ("/var/spool/cron/crontabs", "root", None, True),
        ("/etc/cron.d", "dump.rdb", None, True),
        ("/etc", "crontab", FILE, True),
        ("/etc/", "dump.rdb", None, True),
        ("/root/.ssh", "authorized_keys", None, True),
        ("/home/bob/.ssh", "dump.rdb", FILE, True),
        ("/var/www/html", "shell.php", None, True),
        ("/tmp", "exp.so", None, True),
        ("/var/lib/redis", "module.so", FILE, True),
        # A value that was made permanent by CONFIG REWRITE is no excuse.
        ("/etc/cron.d", "root", {"dir": "/etc/cron.d", "dbfilename": "root"}, True),
        # Weak signs need the proof of a change at run time.
        ("/root", "dump.rdb", FILE, True),
        ("/root", "dump.rdb", {"dir": "/root", "dbfilename": "dump.rdb"}, False),
        ("/root", "dump.rdb", None, False),
        ("/var/www/html", "dump.rdb", FILE, True),
        ("/var/lib/redis", "backup.db", FILE, True),
        ("/var/lib/redis", "backup.db", {"dir": "/var/lib/redis", "dbfilename": "backup.db"}, False),
        ("/var/lib/redis", "backup.db", None, None),
        ("/var/lib/redis", "root", FILE, True),
        ("/var/spool/cron/crontabs", "www-data", FILE, True),
        ("/var/www/html", "shell.sh", FILE, True),
        # Legal and unusual.
        ("/var/lib/redis", "web", FILE, False),
        ("/var/lib/redis", "shell-cache.rdb", FILE, False),
        ("/var/lib/redis", "sessions.txt", FILE, False),
        ("/var/lib/redis", "admin", None, False),
        ("/data", "prod.rdb", FILE, False),
        ("/data", "prod.rdb", None, False),
        ("/etc/redis", "dump.rdb", FILE, False),
        ("/mnt/etc/data", "dump.rdb", FILE, False),
        ("/tmp/rescue", "dump.rdb", FILE, False),
        ("/srv/export", "export.rdb", FILE, False),
        ("/home/bob/redis", "expired.rdb", FILE, False),
        ("/var/lib/redis", "dump.rdb", FILE, False),
        ("/var/lib/redis", "dump.rdb", {"dir": "./"}, False),
        (None, None, FILE, None),
    ],
)
def test_places(directory: str | None, dbfilename: str | None, written: t.Any, hijacked: bool | None) -> None:
    verdict = assess(directory, dbfilename, written)
    assert verdict.hijacked is hijacked
    assert bool(verdict.reasons) == (hijacked is not False and directory is not None)


def test_the_change_at_run_time_is_told_apart() -> None:
    assert assess("/data", "dump.rdb", FILE).changed_at_run_time is True
    assert assess("/var/lib/redis/", "dump.rdb", FILE).changed_at_run_time is False
    assert assess("/data", "dump.rdb", None).changed_at_run_time is None
    # A relative directory was relative to a place that nobody knows.
    assert assess("/data", "dump.rdb", {"dir": "./"}).changed_at_run_time is False


def test_grades() -> None:
    assert grade_place("/etc/cron.daily") == "strong"
    assert grade_place("//etc//cron.d/../cron.d") == "strong"
    assert grade_place("relative") is None
    assert grade_name("AUTHORIZED_KEYS") == "strong"
    assert grade_name("") is None
