# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is refused before anything is sent."""

from __future__ import annotations

import pytest
from ansible_collections.redisops.persistence.plugins.module_utils._config_change import (
    Wish,
    guard_name,
    guard_place,
    predicted_refusal,
    read_names,
    read_wishes,
)
from ansible_collections.redisops.persistence.plugins.module_utils._config_session import (
    ConfigFailure,
    refused_parameter,
)


@pytest.mark.parametrize(
    "place",
    [
        "/etc",
        "/etc/cron.d",
        "/root/.ssh",
        "/var/spool/cron",
        "/home/al/.ssh",
        "/var/lib/../../etc/cron.d",
        "//etc//cron.d/",
    ],
)
def test_nobody_keeps_a_dump_there_whatever_the_file_says(place: str) -> None:
    assert guard_place(place, None, None)
    assert guard_place(place, place, None)


@pytest.mark.parametrize("place", ["/", "/root", "/var/www/html", "/usr/share/x", "/proc/1", "/home/al"])
def test_a_doubtful_place_must_be_that_of_the_file(place: str) -> None:
    assert guard_place(place, None, None)
    assert guard_place(place, "/elsewhere", None)


def test_the_operators_own_place_is_allowed() -> None:
    assert guard_place("/root", "/root", "/root") is None
    assert guard_place("/var/lib/redis", None, None) is None
    assert guard_place("/data", None, "/srv/data/redis") is None


def test_a_link_is_judged_by_where_it_leads() -> None:
    assert guard_place("/data", "/data", "/etc/cron.d")
    assert guard_place("/data", None, "/root")


@pytest.mark.parametrize("place", ["data", "./", "", "../etc"])
def test_a_relative_place_is_refused(place: str) -> None:
    assert guard_place(place, place, None) == "an absolute path is wanted"


def test_names_of_dumps() -> None:
    assert guard_name("authorized_keys", "authorized_keys")
    assert guard_name("EVIL.SO", None)
    assert guard_name("a/b.rdb", None)
    assert guard_name("root", None) and guard_name("root", "dump.rdb")
    assert guard_name("root", "root") is None and guard_name("dump-6380.rdb", None) is None


@pytest.mark.parametrize(
    ("mode", "is_local", "refused"),
    [("no", True, True), ("local", True, False), ("local", False, True), ("yes", False, False)],
)
def test_protected_parameters(mode: str, is_local: bool, refused: bool) -> None:
    wish = Wish("dir", "/data", "/old", "/data")
    settings = {"enable-protected-configs": mode}
    assert bool(predicted_refusal(wish, settings, is_local, True, None, None)) == refused
    assert predicted_refusal(wish, {}, is_local, False, None, None) is None


def test_immutable_parameters_by_version() -> None:
    assert predicted_refusal(Wish("databases", "3", "16", "3"), {}, True, False, None, None)
    assert predicted_refusal(Wish("slaveof", "a 1", "", "a 1"), {}, True, False, None, None)
    assert predicted_refusal(Wish("cluster-port", "3", "0", "3"), {}, True, True, None, None)
    assert predicted_refusal(Wish("maxmemory", "3", "0", "3"), {}, True, True, None, None) is None


@pytest.mark.parametrize("name", ["*", "max*", "save\n", "a b", "", "?x", "[a]"])
def test_a_pattern_is_no_name(name: str) -> None:
    with pytest.raises(ConfigFailure, match="no parameter has such a name"):
        read_names([name])


def test_secrets_are_refused_and_not_repeated() -> None:
    with pytest.raises(ConfigFailure) as caught:
        read_wishes({"RequirePass": "hunter2", "maxmemory": "1gb"})
    assert set(caught.value.refused) == {"requirepass"}
    assert "hunter2" not in str(caught.value)


def test_wishes_are_read_as_text() -> None:
    assert read_wishes({"Maxmemory": 5, "activedefrag": True}) == {"maxmemory": "5", "activedefrag": "yes"}
    for bad in ({"save": ["900 1"]}, {"timeout": "1\0"}, {"timeout": 1, "TIMEOUT": 2}, {"logfile": "x" * 5000}):
        with pytest.raises(ConfigFailure):
            read_wishes(bad)


def test_the_parameter_that_the_server_names() -> None:
    message = (
        "CONFIG SET failed: ERR CONFIG SET failed (possibly related to argument 'dir') - can't set protected config"
    )
    assert refused_parameter(message) == ("dir", "can't set protected config")
    assert refused_parameter("ERR something else") is None
