# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Values compared and spelled as the server does."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.redisops.persistence.plugins.module_utils._config_values import (
    in_force,
    is_secret,
    kind_name,
    parse_memory,
    save_points,
    spelled,
    value_text,
)

BUFFER_LIMITS = "normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60"


@pytest.mark.parametrize(
    ("name", "wanted", "running"),
    [
        ("maxmemory", "1gb", "1073741824"),
        ("maxmemory", "1G", "1000000000"),
        ("maxmemory", "1k", "1000"),
        ("maxmemory", "1KB", "1024"),
        ("maxmemory-clients", "5%", "5%"),
        ("hash-max-listpack-value", "1kb", "1024"),
        ("save", "900 1 300 10", "300 10 900 1"),
        ("save", " 900  1\n300 10 ", "900 1 300 10"),
        ("save", "", ""),
        ("stop-writes-on-bgsave-error", "YES", "yes"),
        ("oom-score-adj", "relative", "yes"),
        ("oom-score-adj", "yes", "yes"),
        ("oom-score-adj-values", "0  200 800", "0 200 800"),
        ("latency-tracking-info-percentiles", "50 99.0 99.90", "50 99 99.9"),
        ("maxmemory-policy", "AllKeys-LRU", "allkeys-lru"),
        ("unixsocketperm", "0700", "700"),
        ("dir", "/var/lib/redis/", "/var/lib/redis"),
        ("dir", "//var/lib/./redis", "/var/lib/redis"),
        ("notify-keyspace-events", "EKA", "AKE"),
        ("notify-keyspace-events", "Kg$lshzxetd", "AK"),
        ("client-output-buffer-limit", "replica 256mb 64mb 60", BUFFER_LIMITS),
        ("shutdown-on-sigterm", "force now", "now force"),
        ("bind", "127.0.0.1   ::1", "127.0.0.1 ::1"),
        ("loglevel", "Notice", "notice"),
        ("timeout", "0", "0"),
    ],
)
def test_the_same_setting_in_another_spelling(name: str, wanted: str, running: str) -> None:
    assert in_force(name, wanted, running)


@pytest.mark.parametrize(
    ("name", "wanted", "running"),
    [
        ("maxmemory", "1gb", "1000000000"),
        ("maxmemory", "1zb", "1"),
        ("save", "900 1", "900 1 300 10"),
        ("save", "", "900 1"),
        ("save", "900 1", ""),
        ("oom-score-adj", "absolute", "yes"),
        ("oom-score-adj-values", "0 200", "0 200 800"),
        ("dbfilename", "YES", "yes"),
        ("dbfilename", "1kb", "1024"),
        ("dir", "/var/lib/redis", ""),
        ("client-output-buffer-limit", "replica 1mb 64mb 60", BUFFER_LIMITS),
        ("unixsocketperm", "770", "700"),
        ("timeout", "1k", "1000"),
        ("bind", "::1 127.0.0.1", "127.0.0.1 ::1"),
    ],
)
def test_another_setting(name: str, wanted: str, running: str) -> None:
    assert not in_force(name, wanted, running)


def test_limits_that_are_not_named_stay() -> None:
    assert (
        spelled("client-output-buffer-limit", "pubsub 1mb 1mb 1 REPLICA 2mb 1mb 5", BUFFER_LIMITS)
        == "normal 0 0 0 slave 2097152 1048576 5 pubsub 1048576 1048576 1"
    )


@pytest.mark.parametrize("wanted", ["900", "x y", "900 1 5"])
def test_a_list_of_save_points_that_is_none_is_left_to_the_server(wanted: str) -> None:
    assert save_points(wanted) is None
    assert spelled("save", wanted, "") == wanted
    assert not in_force("save", wanted, "900 1")


@pytest.mark.parametrize(("value", "text"), [(True, "yes"), (False, "no"), (0, "0"), ("1gb", "1gb"), ("", "")])
def test_yaml_makes_other_types_of_values(value: t.Any, text: str) -> None:
    assert value_text(value) == text


@pytest.mark.parametrize("value", [None, 1.5, ["900 1"], {"a": 1}])
def test_what_is_no_value_is_refused(value: t.Any) -> None:
    with pytest.raises(ValueError, match="wanted"):
        value_text(value)


def test_names_of_old_and_new_servers_are_one() -> None:
    assert kind_name("SLAVEOF") == kind_name("replicaof")
    assert kind_name("slave-read-only") == kind_name("replica-read-only")
    assert kind_name("hash-max-ziplist-value") == kind_name("hash-max-listpack-value")
    assert kind_name("primaryauth") == kind_name("masterauth")


@pytest.mark.parametrize("name", ["requirepass", "MASTERAUTH", "primaryauth", "tls-key-file-pass", "x.password"])
def test_secrets(name: str) -> None:
    assert is_secret(name)


def test_what_is_no_secret() -> None:
    assert not is_secret("maxmemory") and not is_secret("tls-key-file")


def test_memory_of_nonsense_is_none() -> None:
    assert [parse_memory(text) for text in ("", "gb", "-1", "1 gb", "5%")] == [None] * 5
