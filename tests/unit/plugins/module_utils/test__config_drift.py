# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What differs between the running parameters and the file."""

from __future__ import annotations

import hashlib

import pytest
from ansible_collections.redisops.persistence.plugins.module_utils._config_drift import (
    DEFAULTS,
    clean_sentence,
    compare,
    differing_users,
)
from ansible_collections.redisops.persistence.plugins.module_utils._config_file import parse_lines

FILE = "dir /data\nsave 900 1\nmaxmemory 1gb\n"
RUNNING = {**DEFAULTS, "dir": "/data", "save": "900 1", "maxmemory": "1073741824"}


def drift(
    file: str = FILE, own: tuple[str, ...] = (), **changed: str
) -> tuple[dict[str, object], list[str], list[str]]:
    running = {**RUNNING, **{name.replace("_", "-"): value for name, value in changed.items()}}
    found = compare(running, parse_lines(file), own)
    return dict(found.own), found.foreign, found.unknown


def test_a_file_in_step_shows_nothing() -> None:
    assert drift() == ({}, [], [])


def test_ours_and_others_are_told_apart() -> None:
    own, foreign, unknown = drift(own=("maxmemory",), maxmemory="5", timeout="7")
    assert own == {"maxmemory": ("1gb", "5")} or own == {"maxmemory": ("1073741824", "5")}
    assert (foreign, unknown) == (["timeout"], [])


def test_ours_that_the_file_does_not_name() -> None:
    assert drift(own=("timeout", "lazyfree-lazy-eviction"), timeout="7", lazyfree_lazy_eviction="yes") == (
        {"timeout": (None, "7"), "lazyfree-lazy-eviction": (None, "yes")},
        [],
        [],
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("dbfilename", "authorized_keys"),
        ("replicaof", "10.0.0.1 6379"),
        ("aclfile", "/tmp/x"),
        ("unixsocket", "/tmp/x"),
        ("protected-mode", "no"),
        ("appendonly", "yes"),
    ],
)
def test_dangerous_values_that_the_file_does_not_name(name: str, value: str) -> None:
    assert drift(**{name.replace("-", "_"): value}) == ({}, [name], [])


@pytest.mark.parametrize("name", ["masterauth", "requirepass"])
def test_secrets_are_compared_and_not_kept(name: str) -> None:
    own, foreign, unknown = drift(own=(name,), **{name: "s3cret"})
    assert (own, foreign, unknown) == ({}, [name], [])
    assert drift(FILE + f"{name} s3cret\n", **{name: "s3cret"}) == ({}, [], [])
    assert drift(FILE + f"{name} S3CRET\n", **{name: "s3cret"}) == ({}, [name], [])


def test_a_directory_that_nobody_can_know_is_unknown() -> None:
    assert drift("dir ./\nsave 900 1\nmaxmemory 1gb\n")[2]
    assert drift("save 900 1\nmaxmemory 1gb\n")[2]
    assert not drift("save 900 1\nmaxmemory 1gb\n", own=("dir",))[2]


def test_what_the_service_manager_says_is_no_drift() -> None:
    assert drift(FILE + "daemonize yes\nsupervised no\n", daemonize="no", supervised="systemd") == ({}, [], [])


def test_old_names_and_several_lines() -> None:
    limits = "normal 0 0 0 slave 1048576 0 60 pubsub 33554432 8388608 60"
    file = FILE + "slave-read-only no\nclient-output-buffer-limit slave 1mb 0 60\n"
    file += "client-output-buffer-limit pubsub 32mb 8mb 60\n"
    changed = {"replica_read_only": "no", "slave_read_only": "no", "client_output_buffer_limit": limits}
    assert drift(file, **changed) == ({}, [], [])


def test_either_default_of_the_save_points() -> None:
    file = "dir /data\nmaxmemory 1gb\n"
    assert drift(file, save="3600 1 300 100 60 10000") == ({}, [], [])
    assert drift(file, save="900 1 300 10 60 10000") == ({}, [], [])
    assert drift(file, save="") == ({}, ["save"], [])


def hashed(password: str) -> str:
    return "#" + hashlib.sha256(password.encode()).hexdigest()


@pytest.mark.parametrize(
    ("now", "file", "password", "found"),
    [
        ({"default": {"on", "nopass", "~*", "+@all"}}, "", "", []),
        ({"default": {"on", hashed("x"), "~*", "+@all"}}, "requirepass x", "x", []),
        ({"default": {"on", hashed("y"), "~*", "+@all"}}, "requirepass x", "x", ["default"]),
        ({"default": {"on", "nopass", "~*", "+@all"}, "eve": {"on"}}, "", "", ["eve"]),
        (
            {"default": {"on", "nopass", "~*", "+@all"}, "al": {"on", hashed("p w"), "~a*", "+get"}},
            'user al on ">p w" ~a* +get resetchannels',
            "",
            [],
        ),
        ({"default": {"on", "nopass", "~*", "+@all"}}, "user al on nopass", "", ["al"]),
    ],
)
def test_users_of_the_file_and_others(now: dict[str, set[str]], file: str, password: str, found: list[str]) -> None:
    frozen = {name: frozenset(rules) for name, rules in now.items()}
    assert differing_users(frozen, parse_lines(file), password) == found


def test_a_long_list_is_cut() -> None:
    sentence = clean_sentence([f"name\n{number:02d}" for number in range(20)])
    assert sentence.startswith("name 00, name 01") and sentence.endswith("and 8 more")
