# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who else uses a data directory, among all processes of a recorded machine."""

from __future__ import annotations

import os
import typing as t
from pathlib import Path

import pytest
from ansible_collections.redisops.persistence.plugins.module_utils import _directory_users
from ansible_collections.redisops.persistence.plugins.module_utils._directory_users import describe_users
from ansible_collections.redisops.persistence.plugins.module_utils._path_walk import open_directory
from ansible_collections.redisops.persistence.plugins.module_utils._privilege import (
    FOREIGN_FILES,
    SHARED_DIRECTORY,
    TAKEN_DIRECTORY,
    Objection,
    left_standing,
    object_to_directory,
    refusal,
    runs_as_server,
)
from ansible_collections.redisops.persistence.plugins.module_utils._system import System
from ansible_collections.redisops.persistence.tests.unit.recorded_tree import made_system

DATA = "/var/lib/redis"
NAMESPACES = {"pid": "pid:[4026531836]", "mnt": "mnt:[4026531832]"}


def process(
    pid: int, uid: int, cwd: str, command: str = "sleep", parent: int = 1, title: str = "", **files: str
) -> dict[str, t.Any]:
    """Its files in /proc; files: descriptor and target of what it has open."""
    return {
        f"/proc/{pid}/status": f"Name:\t{command}\nPPid:\t{parent}\nUid:\t{uid}\t{uid}\t{uid}\t{uid}\nThreads:\t1\n",
        f"/proc/{pid}/comm": f"{command}\n",
        f"/proc/{pid}/cmdline": title or f"{command}\0",
        f"/proc/{pid}/cwd": {"link": cwd},
        f"/proc/{pid}/ns/mnt": {"link": NAMESPACES["mnt"]},
        **{f"/proc/{pid}/fd/{number[1:]}": {"link": target} for number, target in files.items()},
    }


def machine(root: Path, *others: dict[str, t.Any]) -> System:
    files: dict[str, t.Any] = {
        "/proc/self/ns/pid": {"link": NAMESPACES["pid"]},
        f"{DATA}/dump.rdb": "",
        f"{DATA}/6380/dump.rdb": "",
        "/srv/elsewhere/dump.rdb": "",
        **process(1000, 110, DATA, "redis-server"),
        **process(1001, 110, DATA, "redis-server", parent=1000),
    }
    for other in others:
        files.update(other)
    return made_system(root, files)


def users_of(system: System) -> dict[str, t.Any]:
    handle = open_directory(system.path(DATA))
    try:
        return describe_users(system, 1000, 110, handle, DATA)[0]
    finally:
        os.close(handle)


def test_a_server_and_its_children_are_alone(tmp_path: Path) -> None:
    assert users_of(machine(tmp_path)) == {"complete": True, "processes": []}


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        (process(7, 4242, DATA), (4242, False, "cwd", False)),
        (process(7, 4242, DATA, "redis-server"), (4242, True, "cwd", False)),
        (process(7, 4242, f"{DATA}/6380", "valkey-server"), (4242, True, "cwd", True)),
        (process(7, 4242, DATA, "redis-server", title="redis-server *:26379 [sentinel]"), (4242, False, "cwd", False)),
        (process(7, 4242, "/", f3=f"{DATA}/dump.rdb"), (4242, False, "open_file", True)),
        (process(7, 0, "/", "redis-server", f3=f"{DATA}/dump.rdb"), (0, True, "open_file", True)),
    ],
)
def test_others_are_seen(tmp_path: Path, other: dict[str, t.Any], expected: tuple[t.Any, ...]) -> None:
    found = users_of(machine(tmp_path, other))["processes"]
    assert [(user["uid"], user["is_server"], user["how"], user["below"]) for user in found] == [expected]


@pytest.mark.parametrize(
    "other",
    [
        process(7, 4242, "/srv/elsewhere"),
        process(7, 4242, "/", f3="/srv/elsewhere/dump.rdb", f4="socket:[5]", f5="/dev/null"),
        process(7, 4242, f"{DATA}-other"),
    ],
)
def test_what_only_looks_alike_is_no_user(tmp_path: Path, other: dict[str, t.Any]) -> None:
    (tmp_path / f"{DATA.lstrip('/')}-other").mkdir(parents=True)
    assert users_of(machine(tmp_path, other))["processes"] == []


def test_a_process_in_another_mount_namespace_means_another_place_by_the_same_path(tmp_path: Path) -> None:
    other = process(7, 4242, "/", f3=f"{DATA}/gone")
    other["/proc/7/ns/mnt"] = {"link": "mnt:[4026539999]"}
    assert users_of(machine(tmp_path, other))["processes"] == []


def test_what_was_cut_is_not_complete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_directory_users, "DESCRIPTORS_LIMIT", 0)
    assert users_of(machine(tmp_path, process(7, 4242, "/", f3="/x")))["complete"] is False


def test_a_process_that_can_t_be_looked_into_leaves_it_unknown(tmp_path: Path) -> None:
    other = process(7, 4242, "/")
    # EINVAL stands for every error that is not the end of the process.
    other["/proc/7/cwd"] = "not a link"
    assert users_of(machine(tmp_path, other))["complete"] is None


def test_what_is_roots_own_need_not_be_looked_into(tmp_path: Path) -> None:
    other = process(7, 0, "/", "init")
    other["/proc/7/cwd"] = "not a link"
    assert users_of(machine(tmp_path, other))["complete"] is True
    server_of_root = process(7, 0, "/", "redis-server")
    server_of_root["/proc/7/cwd"] = "not a link"
    (tmp_path / "other").mkdir()
    assert users_of(machine(tmp_path / "other", server_of_root))["complete"] is None


def test_files_of_other_users(tmp_path: Path) -> None:
    system = machine(tmp_path)
    if os.geteuid() != 0:
        pytest.skip("needs root: it gives files away")
    for name, uid in (("ibdata1", 4242), ("appendonly.aof", 110), ("lost+found", 0)):
        path = tmp_path / DATA.lstrip("/") / name
        path.write_text("")
        os.chown(path, uid, uid)
    handle = open_directory(system.path(DATA))
    _users, files = describe_users(system, 1000, 110, handle, DATA)
    os.close(handle)
    assert files == {"complete": True, "count": 1, "examples": [{"name": "ibdata1", "uid": 4242}]}


def test_one_pass_serves_all_servers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    passes = []
    look = _directory_users._look
    monkeypatch.setattr(_directory_users, "_look", lambda system: passes.append(1) or look(system))
    system = machine(tmp_path)
    users_of(system)
    users_of(system)
    assert len(passes) == 1


# What comes of it


def ids(found: list[Objection]) -> list[str]:
    return [objection.id for objection in found]


def test_unknown_stands_against_a_directory() -> None:
    assert ids(object_to_directory(110, {}, {})) == [SHARED_DIRECTORY, FOREIGN_FILES]
    assert ids(object_to_directory(110, {"complete": True, "processes": "?"}, {"complete": True, "count": 0})) == []


def test_nobody_can_accept_that_a_directory_is_taken_from_a_running_server() -> None:
    users = {"complete": True, "processes": [{"pid": 7, "uid": 4242, "is_server": True, "command": "redis-server"}]}
    found = object_to_directory(110, users, {"complete": True, "count": 0})
    assert ids(left_standing(found, [TAKEN_DIRECTORY, SHARED_DIRECTORY])) == [TAKEN_DIRECTORY]
    assert "directory of its own" in refusal(found)


def test_a_refusal_says_how_to_accept() -> None:
    found = object_to_directory(110, {"complete": None}, {"complete": True, "count": 0})
    assert "accept: [shared_directory]" in refusal(found)
    assert left_standing(found, [SHARED_DIRECTORY]) == []


@pytest.mark.parametrize(
    ("runner", "server", "answer"), [(110, 110, True), (0, 0, False), (0, 110, False), (None, None, False)]
)
def test_only_the_servers_own_user_has_no_more_rights_than_it(
    runner: int | None, server: int | None, answer: bool
) -> None:
    assert runs_as_server(runner, server) is answer
