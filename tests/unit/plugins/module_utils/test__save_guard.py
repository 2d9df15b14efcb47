# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What stands against a save."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.redisops.persistence.plugins.module_utils._save_guard import (
    ACCEPTABLE,
    NEVER_ACCEPTABLE,
    SaveFacts,
    age_text,
    must_keep,
    objections,
    size_text,
    standing,
)

NOW = 1_800_000_000.0
AMPLE = {"short": False, "room_bytes": 1 << 30, "why": "there is room"}
OWN = {"owner": "own", "bytes": 40_000, "saved_unix": NOW - 60, "keys_at_least": 1000, "much_larger": False, "why": "x"}
NONE = {"owner": "none", "bytes": None, "saved_unix": None, "keys_at_least": None, "much_larger": False, "why": ""}
FOREIGN = {**OWN, "owner": "foreign", "saved_unix": NOW - 2 * 86400, "why": "it is older than the server's start"}
UNKNOWN = {**OWN, "owner": "unknown", "why": "the log says nothing"}


class Judgement(t.NamedTuple):
    owner: str
    bytes: int
    much_larger: bool


def facts(**changes: t.Any) -> SaveFacts:
    healthy = SaveFacts(
        dump=OWN,
        memory=AMPLE,
        resident_bytes=1 << 20,
        directories=("/var/lib/redis",),
        dbfilename="dump.rdb",
        file_settings={"dir": "/var/lib/redis"},
        keys=1000,
        save_wanted=True,
        now_unix=NOW,
    )
    return healthy._replace(**changes)


def ids(**changes: t.Any) -> list[str]:
    return [objection["id"] for objection in objections(facts(**changes))]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"dump": NONE},
        {"dump": NONE, "save_wanted": None},
        {"memory": {"short": None, "room_bytes": 1 << 30}, "resident_bytes": 1 << 30},
        {"dump": Judgement("own", 10, False)},
        {"directories": ("/root",), "file_settings": {"dir": "/root/"}},
        {"directories": ("/root",), "file_settings": None},
        {"dbfilename": "redis", "file_settings": None},
        {"dbfilename": "redis", "file_settings": {"dbfilename": "redis"}},
        {"cannot_keep": "no links are made here"},
    ],
    ids=repr,
)
def test_nothing_stands_against_a_save(changes: dict[str, t.Any]) -> None:
    assert ids(**changes) == []


@pytest.mark.parametrize(
    ("expected", "changes"),
    [
        (["dump_foreign"], {"dump": FOREIGN}),
        (["dump_unknown"], {"dump": UNKNOWN}),
        (["dump_unknown"], {"dump": None}),
        (["dump_unknown"], {"dump": {}}),
        (["dump_much_larger"], {"dump": {**OWN, "much_larger": True}}),
        (["dump_much_larger"], {"dump": {**OWN, "much_larger": None}}),
        (["dump_much_larger"], {"dump": Judgement("own", 10, True)}),
        (["dump_foreign", "dump_much_larger"], {"dump": {**FOREIGN, "much_larger": True}}),
        (["dump_foreign"], {"dump": {**FOREIGN, "much_larger": None}}),
        (["dump_shared"], {"shared_with": ("pid 12",)}),
        (["dump_shared"], {"shared_with": ("pid 12",), "dump": NONE}),
        (["no_dump_wanted"], {"save_wanted": False}),
        (["no_dump_wanted"], {"save_wanted": False, "dump": NONE}),
        (["memory_short"], {"memory": {"short": True, "why": "no room"}}),
        (["memory_unknown"], {"memory": {"short": None, "room_bytes": 1 << 19}}),
        (["memory_unknown"], {"memory": {"short": None, "room_bytes": None}}),
        (["memory_unknown"], {"memory": {"short": None, "room_bytes": 1 << 30}, "resident_bytes": None}),
        (["memory_unknown"], {"memory": None}),
        (["hijacked_place"], {"directories": ("/etc/cron.d",)}),
        (["hijacked_place"], {"directories": ("/data", "/home/bob/.ssh")}),
        (["hijacked_place"], {"directories": ("/root",)}),
        (["hijacked_place"], {"dbfilename": "authorized_keys"}),
        (["hijacked_place"], {"dbfilename": "redis"}),
        (["cannot_keep", "dump_unknown"], {"unseen": "It is elsewhere.", "dump": None, "memory": None}),
        (["cannot_keep", "dump_foreign"], {"dump": FOREIGN, "cannot_keep": "the disk is full"}),
        (["cannot_keep", "dump_shared"], {"shared_with": ("pid 12",), "cannot_keep": "the disk is full"}),
        (["dump_shared"], {"shared_with": ("pid 12",), "cannot_keep": "the disk is full", "dump": NONE}),
        (["memory_short", "dump_foreign"], {"dump": FOREIGN, "memory": {"short": True, "why": "no room"}}),
    ],
    ids=repr,
)
def test_an_objection(expected: list[str], changes: dict[str, t.Any]) -> None:
    assert ids(**changes) == expected


def test_what_may_be_accepted() -> None:
    found = objections(
        facts(dump={**FOREIGN, "much_larger": True}, memory={"short": True}, cannot_keep="no", shared_with=("b",))
    )
    assert [one["id"] for one in found] == [
        "memory_short",
        "cannot_keep",
        "dump_foreign",
        "dump_much_larger",
        "dump_shared",
    ]
    assert {one["id"]: one["acceptable"] for one in found} == {one["id"]: one["id"] in ACCEPTABLE for one in found}
    everything = (*ACCEPTABLE, *NEVER_ACCEPTABLE)
    assert [one["id"] for one in standing(found, everything)] == ["memory_short", "cannot_keep"]
    assert [one["id"] for one in standing(found, ["dump_shared"])] == [
        "memory_short",
        "cannot_keep",
        "dump_foreign",
        "dump_much_larger",
    ]


@pytest.mark.parametrize(("dump", "opt_in"), [(NONE, False), (OWN, True)])
def test_the_plan_saves_no_server_that_has_and_wants_no_dump(dump: dict[str, t.Any], opt_in: bool) -> None:
    (found,) = objections(facts(dump=dump, save_wanted=False))
    assert found["acceptable"] is True
    assert found["opt_in"] is opt_in


@pytest.mark.parametrize(
    ("kept", "changes"),
    [
        (True, {"dump": FOREIGN}),
        (True, {"save_wanted": False}),
        (False, {"save_wanted": False, "dump": NONE}),
        (False, {"memory": None}),
        (False, {}),
    ],
    ids=repr,
)
def test_when_the_file_is_kept(kept: bool, changes: dict[str, t.Any]) -> None:
    looked_at = facts(**changes)
    assert must_keep(objections(looked_at), looked_at.dump) is kept


def test_a_reason_says_what_is_replaced_by_what() -> None:
    (found,) = objections(facts(dump=FOREIGN, keys=0))
    assert found["reason"] == (
        "The file dump.rdb in /var/lib/redis (39.1 KiB, at least 1,000 keys, saved 2 days ago) is not what this server "
        "saved or loaded: it is older than the server's start. A save would replace it by the 0 keys in memory. "
        "See whose it is; it may be the last good copy of something."
    )


@pytest.mark.parametrize("identifier", [*ACCEPTABLE, *NEVER_ACCEPTABLE])
def test_each_reason_is_whole_sentences(identifier: str) -> None:
    worst = facts(
        dump={**FOREIGN, "much_larger": True},
        memory={"short": True, "why": "no room."},
        shared_with=("pid 4",),
        save_wanted=False,
        cannot_keep="The disk is full.",
        directories=("/etc/cron.d",),
    )
    unsure = facts(dump=None, memory=None, keys=None, directories=(), dbfilename=None, now_unix=None)
    reasons = {one["id"]: one["reason"] for looked_at in (unsure, worst) for one in objections(looked_at)}
    assert reasons[identifier].endswith(".")
    assert ".." not in reasons[identifier]
    assert "None" not in reasons[identifier]


def test_numbers_for_people() -> None:
    assert [size_text(count) for count in (None, 0, 1023, 39_000, 5 << 20, 3 << 30, 1 << 41)] == [
        "unknown",
        "0 B",
        "1023 B",
        "38.1 KiB",
        "5.0 MiB",
        "3.0 GiB",
        "2.0 TiB",
    ]
    assert [age_text(seconds) for seconds in (-5, 1, 61, 7200, 86400 * 3)] == [
        "0 seconds",
        "1 second",
        "1 minute",
        "2 hours",
        "3 days",
    ]
