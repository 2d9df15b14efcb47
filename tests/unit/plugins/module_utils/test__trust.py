# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who has decided what a server is: root alone, or whoever may start one."""

from __future__ import annotations

import os
import stat
import typing as t
from pathlib import Path

import pytest
from ansible_collections.redisops.persistence.plugins.module_utils._only_root import (
    Entry,
    visit,
    why_others_can_change,
)
from ansible_collections.redisops.persistence.plugins.module_utils._trust import (
    Facts,
    Problem,
    collect_trust,
    judge_trust,
)
from ansible_collections.redisops.persistence.tests.unit.recorded_tree import made_system

DIRECTORY, FILE, LINK = stat.S_IFDIR, stat.S_IFREG, stat.S_IFLNK
BY_HAND = Facts(uid=110, parent=("init-script", (0, 0, 0)), has_config=True)
IN_UNIT = Facts(uid=110, unit="redis.service", is_main=True)
IN_CONTAINER = Facts(uid=999, container="docker", parent=("containerd-shim", (0, 0, 0)), has_config=False)
HERS = Problem("/home/her/redis.conf belongs to uid 1000")
UNREADABLE = Problem("its program can't be read", known=False)


@pytest.mark.parametrize(
    ("facts", "by"),
    [(IN_UNIT, "unit"), (IN_CONTAINER, "container"), (BY_HAND, "files"), (Facts(uid=0, has_config=False), "files")],
)
def test_what_root_alone_has_decided_is_trusted(facts: Facts, by: str) -> None:
    assert judge_trust(facts)["trusted"] is True
    assert judge_trust(facts)["by"] == by


@pytest.mark.parametrize(
    ("facts", "trusted", "says"),
    [
        (IN_UNIT._replace(unit_problem=HERS), False, "belongs to uid 1000"),
        (IN_UNIT._replace(unit_problem=UNREADABLE), None, "can't be read"),
        # A job of cron's is in its group.
        (BY_HAND._replace(unit="cron.service", is_main=False), None, "cron.service"),
        (BY_HAND._replace(unit="cron.service", is_main=None), None, "cron.service"),
        (BY_HAND._replace(config=HERS), False, "belongs to uid 1000"),
        (BY_HAND._replace(program=HERS), False, "belongs to uid 1000"),
        (BY_HAND._replace(program=UNREADABLE), None, "can't be read"),
        (BY_HAND._replace(program=UNREADABLE, config=HERS), False, "belongs to uid 1000"),
        (BY_HAND._replace(has_config=False), False, "without a configuration file"),
        (BY_HAND._replace(has_config=None), None, "is not known"),
        (BY_HAND._replace(parent=None), None, "its parent has ended"),
        (BY_HAND._replace(parent=("bash", (1000, 1000, 1000))), False, "bash of uid 1000"),
        # su and sudo run as root on behalf of whoever called them.
        (BY_HAND._replace(parent=("su", (1000, 0, 0))), False, "su of uid 1000"),
        (BY_HAND._replace(parent=("cron", (0, 0, 0))), None, "cron"),
        (BY_HAND._replace(parent=("systemd", ())), None, "can't be read"),
        (BY_HAND._replace(session_uid=110), False, "session of uid 110"),
        (BY_HAND._replace(login_uid=110), False, "login of uid 110"),
        (BY_HAND._replace(uid=None), None, "its user can't be read"),
        (BY_HAND._replace(foreign_root=1000), False, "uid 1000 of the host"),
        (IN_CONTAINER._replace(foreign_root=100000), False, "uid 100000 of the host"),
        (IN_CONTAINER._replace(program=HERS), False, "belongs to uid 1000"),
    ],
)
def test_anything_else_is_not(facts: Facts, trusted: bool | None, says: str) -> None:
    judged = judge_trust(facts)
    assert judged["trusted"] is trusted
    assert says in judged["why"]


def test_an_administrators_session_starts_servers_of_other_users() -> None:
    assert judge_trust(BY_HAND._replace(session_uid=1000, login_uid=1000))["trusted"] is True


@pytest.mark.parametrize(
    ("last", "says"),
    [
        (Entry("/opt/redis.conf", 0, FILE | 0o644), None),
        (Entry("/opt/redis.conf", 0, LINK | 0o777), None),
        (Entry("/opt/tmp", 0, DIRECTORY | 0o1777), None),
        (Entry("/opt/redis.conf", 110, FILE | 0o640), "uid 110"),
        (Entry("/opt/redis.conf", 0, FILE | 0o664), "0664"),
        (Entry("/opt/redis.conf", 0, FILE | 0o1666), "1666"),
        (Entry("/opt/staff", 0, DIRECTORY | 0o2775), "2775"),
        (Entry("/opt/link", 1000, LINK | 0o777), "uid 1000"),
    ],
)
def test_root_alone_writes_what_nobody_else_owns_or_may_write(last: Entry, says: str | None) -> None:
    why = why_others_can_change([Entry("/", 0, DIRECTORY | 0o755), Entry("/opt", 0, DIRECTORY | 0o755), last])
    assert (why is None) if says is None else (why is not None and says in why)


def test_each_directory_and_link_on_the_way_is_visited(tmp_path: Path) -> None:
    for name in ("real", "hers", "hers/inner"):
        (tmp_path / name).mkdir()
    (tmp_path / "real" / "redis.conf").write_text("")
    (tmp_path / "hers" / "link").symlink_to("/real/redis.conf")
    found = visit(str(tmp_path), "/hers/inner/../link")
    passed = ["/", "/hers", "/hers/inner", "/hers/link", "/real", "/real/redis.conf"]
    assert [entry.path for entry in found.entries] == passed
    assert found.inode == (tmp_path / "real" / "redis.conf").stat().st_ino


def test_a_link_that_leads_to_itself_ends(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(OSError):
        visit(str(tmp_path), "/a")


def server(cgroup: str, parent: int = 900, **more: t.Any) -> dict[str, t.Any]:
    """A machine with one server, pid 1000, and the process that started it."""
    return {
        "/proc/1000/status": "Name:\tredis-server\nUid:\t110\t110\t110\t110\nNSpid:\t1000\n",
        "/proc/1000/stat": f"1000 (redis-server) S {parent} " + "0 " * 48,
        "/proc/1000/cgroup": f"0::{cgroup}\n",
        "/proc/1000/exe": {"link": "/usr/bin/redis-server"},
        "/proc/1000/root": {"link": "/"},
        "/proc/900/status": "Name:\tstart\nUid:\t0\t0\t0\t0\n",
        "/usr/bin/redis-server": "",
        "/etc/redis/redis.conf": "",
        **more,
    }


UNIT = "/etc/systemd/system/redis.service"
CRON = "/etc/systemd/system/cron.service"


@pytest.mark.skipif(os.geteuid() != 0, reason="the recorded files must be root's")
@pytest.mark.parametrize(
    ("files", "trusted"),
    [
        (server("/system.slice/redis.service", 1, **{UNIT: "[Service]\nExecStart=/usr/bin/redis-server /x\n"}), True),
        (server("/"), True),
        (server("/user.slice/user-110.slice/session-4.scope"), False),
        (server("/system.slice/cron.service", 1, **{CRON: "[Service]\nExecStart=/usr/sbin/cron -f\n"}), None),
        (server("/", **{"/proc/900/status": "Name:\tbash\nUid:\t1000\t1000\t1000\t1000\n"}), False),
        (server("/", **{"/proc/1000/loginuid": "110"}), False),
    ],
)
def test_a_recorded_server(tmp_path: Path, files: dict[str, t.Any], trusted: bool | None) -> None:
    # Below a directory of the test's user the parents are not the machine's; only what is in the tree counts.
    judged = collect_trust(made_system(tmp_path, files), 1000, "/etc/redis/redis.conf")
    assert judged["trusted"] is trusted, judged
