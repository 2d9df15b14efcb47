# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whose the file in the dump's place is. The headers are the first bytes of files that real servers wrote."""

from __future__ import annotations

import random

import pytest
from ansible_collections.redisops.persistence.plugins.module_utils._dump import (
    DumpFacts,
    facts_of_instance,
    is_place_as_started,
    judge_dump,
    parse_rdb_header,
)

REDIS_6 = (
    b"REDIS0009\xfa\tredis-ver\x066.2.14\xfa\nredis-bits\xc0@\xfa\x05ctime\xc2\x0e\x10\x07k\xfa\x08used-mem\xc2@]\x0e\x00"
    b"\xfa\x0caof-preamble\xc0\x00\xfe\x00\xfb\x14\x00\x00\x06key:13@d00000013G\xbb\xb2"
)
REDIS_7 = (
    b"REDIS0010\xfa\tredis-ver\x067.0.15\xfa\nredis-bits\xc0@\xfa\x05ctime\xc2\x0f\x10\x07k\xfa\x08used-mem\xc28c\x0e\x00"
    b"\xfa\x08aof-base\xc0\x00\xfe\x00\xfb\x14\x00\x00\x05key:0@d00000000eG"
)
VALKEY_9 = (
    b"VALKEY080\xfa\nvalkey-ver\x059.1.2\xfa\nredis-bits\xc0@\xfa\x05ctime\xc2\x0f\x10\x07k\xfa\x08used-mem\xc2`\xec\x0f\x00"
    b"\xfa\x08aof-base\xc0\x00\xfe\x00\xfb\x14\x00\x00\x05key:3@d00000003T"
)
REDIS_7_EMPTY = (
    b"REDIS0010\xfa\tredis-ver\x067.0.15\xfa\nredis-bits\xc0@\xfa\x05ctime\xc2\x0f\x10\x07k\xfa\x08used-mem\xc2H\xb5\x0e\x00"
    b"\xfa\x08aof-base\xc0\x00\xff\xd4\x92\xfb\xc2\xe4\x97\xd8\xfd"
)
HEADERS = [
    (REDIS_6, (9, "6.2.14", 1795624974, 941376, 20, 0)),
    (REDIS_7, (10, "7.0.15", 1795624975, 942904, 20, 0)),
    (REDIS_7.replace(b"\xfe\x00", b"\xfe\x0b"), (10, "7.0.15", 1795624975, 942904, 20, 11)),
    (VALKEY_9, (80, "9.1.2", 1795624975, 1043552, 20, 0)),
    (REDIS_7_EMPTY, (10, "7.0.15", 1795624975, 963912, 0, None)),
]


@pytest.mark.parametrize(("data", "values"), HEADERS, ids=["6.2", "7.0", "database 11", "valkey 9.1", "no keys"])
def test_the_header_of_each_server(data, values):
    header = parse_rdb_header(data)
    names = ("rdb_version", "server_version", "created_unix", "used_memory_bytes", "keys_at_least", "database")
    assert header == dict(zip(names, values))


def test_what_is_no_rdb_has_no_header():
    for data in (b"", b"REDIS", b"REDISabcd\xfa", b"VALKEY08", b"\x00" * 5000, b"* * * * * root sh\n"):
        assert parse_rdb_header(data) is None


def test_every_cut_and_every_changed_byte_is_read_without_an_error():
    for data, _values in HEADERS:
        for end in range(len(data)):
            parse_rdb_header(data[:end])
        for position in range(9, len(data)):
            for byte in (0x00, 0x3F, 0x40, 0x80, 0x81, 0xC0, 0xC3, 0xFA, 0xFB, 0xFF):
                parse_rdb_header(data[:position] + bytes([byte]) + data[position + 1 :])
    noise = random.Random(7)
    for _number in range(2000):
        parse_rdb_header(b"REDIS0010" + noise.randbytes(200))


def test_a_header_makes_no_number_that_is_none():
    hostile = b"REDIS0010\xfa\x05ctime\x40\xff" + b"9" * 255
    assert parse_rdb_header(hostile)["created_unix"] is None
    assert parse_rdb_header(b"REDIS0010\xfa\tredis-ver\x05\x1b[31m")["server_version"] is None
    counted = b"REDIS0010\xfe\x00\xfb\x81" + b"\xff" * 8 + b"\x00"
    assert parse_rdb_header(counted)["keys_at_least"] is None
    endless = b"REDIS0010" + b"\xfa\x01a\x01b" * 1000
    assert parse_rdb_header(endless)["keys_at_least"] is None


# --- the judgement

START, SAVED, NOW = 1_000_000, 1_003_600, 1_010_000
NEVER_A_REPLICA, PROMOTED = "0" * 40, {"master_replid2": "8a" * 20}


def dump_of(created, **changes):
    """A file whose save began at ``created`` and took half a second."""
    dump = {
        "exists": True,
        "type": "file",
        "size_bytes": 39_000,
        "modified_unix": None if created is None else created + 0.5,
        "changed_unix": None if created is None else created + 0.6,
        "header": {"created_unix": created, "server_version": "7.0.15", "keys_at_least": 400, "database": 0},
    }
    return {**dump, **changes}


def info_of(last_save, **changes):
    info = {
        "rdb_last_save_time": last_save,
        "rdb_last_bgsave_status": "ok",
        "rdb_last_bgsave_time_sec": 0,
        "rdb_bgsave_in_progress": 0,
        "rdb_last_load_keys_loaded": 0,
        "rdb_last_load_keys_expired": 0,
        "rdb_changes_since_last_save": 0,
        "used_memory": 2_000_000,
        "used_memory_dataset": 1_000_000,
        "key_count": 400,
        "keys_by_database": {"0": 400},
        "master_replid2": NEVER_A_REPLICA,
    }
    return {**info, **changes}


NEVER_SAVED = {"rdb_last_bgsave_time_sec": -1}
LOADED = {**NEVER_SAVED, "rdb_last_load_keys_loaded": 400}


def event(name, time, **fields):
    return {"event": name, "time_unix": time, "pid": 7, "role": "M", **fields}


def started(*between):
    return [event("server_started", START), *between, event("server_ready", START + 0.5)]


def age(seconds):
    return [event("rdb_age", START + 0.2, age_seconds=seconds), event("db_loaded", START + 0.3, source="rdb")]


def attempt(began, ended, **changes):
    return {"outcome": "succeeded", "target": "disk", "started_unix": began, "ended_unix": ended, **changes}


def save_events(ended=SAVED + 0.4, child=8):
    """What a parent logs of a save in the background."""
    return [
        event("save_started", ended - 0.6, child_pid=child, target="disk"),
        event("save_succeeded", ended),
    ]


SYNCED_LATER = event("full_sync_loaded", SAVED + 60)


def judge(dump, info, **facts):
    given = {
        "started_unix": START,
        "now_unix": NOW,
        "version": "7.0.15",
        "role": "master",
        "process_id": 7,
        "log_level": "notice",
        **facts,
    }
    return judge_dump(DumpFacts(dump, info, **given))


OLD = dump_of(START - 5000)
FAILED = {"rdb_last_bgsave_status": "err"}
IN_PLACE = {"place_as_started": True}
SLOW = {"rdb_last_bgsave_time_sec": 300}

RECEIVED = [
    event("full_sync_loaded", START + 200.9),
    event("rdb_age", START + 201, age_seconds=1),
    event("full_sync_loaded", START + 201.1),
]

# what it is, owner, file, INFO, more facts
CASES = [
    ("its save", "own", dump_of(SAVED), info_of(SAVED), {}),
    ("its save of five minutes", "own", dump_of(SAVED - 300, modified_unix=SAVED - 0.2), info_of(SAVED, **SLOW), {}),
    ("its save, a later one failed", "own", dump_of(SAVED), info_of(SAVED, **FAILED), {}),
    (
        "its save, and it was a replica before",
        "own",
        dump_of(SAVED),
        info_of(SAVED, **PROMOTED),
        {"events": [event("full_sync_loaded", SAVED - 5), *save_events()]},
    ),
    ("a replica's save", "own", dump_of(SAVED), info_of(SAVED), {"role": "replica", "events": save_events()}),
    ("its save beside an AOF", "own", dump_of(SAVED), info_of(SAVED, aof_enabled=1), {}),
    ("its save, no rights to its header", "own", dump_of(SAVED, header=None), info_of(SAVED), {}),
    ("its save right after the start", "own", dump_of(START), info_of(START), {}),
    (
        "its SAVE in the foreground",
        "own",
        dump_of(SAVED - 40, modified_unix=SAVED),
        info_of(SAVED, rdb_last_bgsave_time_sec=1),
        {"attempts": [attempt(None, SAVED + 0.4, foreground=True)]},
    ),
    (
        "its slow save, by the log, a later one failed",
        "own",
        dump_of(SAVED - 300, modified_unix=SAVED - 30),
        info_of(SAVED, **FAILED),
        {"attempts": [attempt(SAVED - 300, SAVED + 0.4)]},
    ),
    ("loaded, by keys", "own", OLD, info_of(START, **LOADED), IN_PLACE),
    (
        "loaded, some keys had expired",
        "own",
        OLD,
        info_of(START, **{**LOADED, "rdb_last_load_keys_loaded": 390, "rdb_last_load_keys_expired": 10}),
        IN_PLACE,
    ),
    ("loaded, by the log", "own", OLD, info_of(START, **NEVER_SAVED), {"events": started(*age(5000))}),
    (
        "a replica's, received and loaded",
        "own",
        dump_of(START + 200),
        info_of(START, **LOADED),
        {"role": "replica", "events": RECEIVED},
    ),
    # not ours
    ("started elsewhere, by keys", "foreign", OLD, info_of(START, **NEVER_SAVED), {}),
    ("started elsewhere, by the log", "foreign", OLD, {**info_of(START), **NEVER_SAVED}, {"events": started()}),
    ("another one was loaded", "foreign", OLD, info_of(START, **LOADED), {"events": started(*age(61))}),
    ("a backup older than the save", "foreign", OLD, info_of(SAVED), {}),
    (
        "a backup of this process's earlier save (cp -p, mv)",
        "foreign",
        dump_of(SAVED - 2000, changed_unix=SAVED + 100),
        info_of(SAVED),
        {},
    ),
    (
        "the same by cp",
        "foreign",
        dump_of(SAVED - 2000, modified_unix=SAVED + 100, changed_unix=SAVED + 100),
        info_of(SAVED),
        {},
    ),
    (
        "what was loaded once, put back after a save",
        "foreign",
        OLD,
        info_of(SAVED, **{"rdb_last_load_keys_loaded": 400}),
        {"events": started(*age(5000))},
    ),
    ("another server's later save", "foreign", dump_of(SAVED + 500), info_of(SAVED), {}),
    ("another server's save, nothing saved here", "foreign", dump_of(START + 500), info_of(START, **LOADED), {}),
    (
        "another version's of the same second",
        "foreign",
        dump_of(SAVED, header={"created_unix": SAVED, "server_version": "9.1.2"}),
        info_of(SAVED),
        {},
    ),
    # nobody can tell
    (
        "its save by the log, chmod since",
        "own",
        dump_of(SAVED, changed_unix=SAVED + 50),
        info_of(SAVED),
        {"events": save_events(), "attempts": [attempt(SAVED - 0.2, SAVED + 0.4)]},
    ),
    (
        "its save, of which only the directory was not synced",
        "own",
        dump_of(SAVED),
        info_of(SAVED - 500, **FAILED),
        {"attempts": [attempt(SAVED - 0.2, SAVED + 1, outcome="failed", stage="dir_fsync")]},
    ),
    ("its save, chmod or link since", "unknown", dump_of(SAVED, changed_unix=SAVED + 50), info_of(SAVED), {}),
    (
        "a later file without a header",
        "unknown",
        dump_of(SAVED, header=None, changed_unix=SAVED + 9),
        info_of(SAVED),
        {},
    ),
    ("neither header nor change", "unknown", dump_of(SAVED, header=None, changed_unix=None), info_of(SAVED), {}),
    ("a replica's save without a log", "unknown", dump_of(SAVED), info_of(SAVED), {"role": "replica"}),
    ("of a role that is not known", "unknown", dump_of(SAVED), info_of(SAVED), {"role": None}),
    ("a save, promoted, no log", "unknown", dump_of(SAVED), info_of(SAVED, **PROMOTED), {}),
    (
        "a save, promoted, a log of warnings",
        "unknown",
        dump_of(SAVED),
        info_of(SAVED, **PROMOTED),
        {"events": save_events(), "log_level": "warning"},
    ),
    (
        "a save, promoted, a log that begins later",
        "unknown",
        dump_of(SAVED),
        info_of(SAVED, **PROMOTED),
        {"events": [event("server_ready", SAVED + 100)]},
    ),
    (
        "a save, then a full sync",
        "unknown",
        dump_of(SAVED),
        info_of(SAVED, **PROMOTED),
        {"events": [*save_events(), SYNCED_LATER]},
    ),
    (
        "a sync that ends while the save runs",
        "unknown",
        dump_of(SAVED - 300, modified_unix=SAVED - 0.2, changed_unix=SAVED),
        info_of(SAVED, **SLOW),
        {
            "role": "replica",
            "events": [
                event("save_started", SAVED - 300, target="disk", child_pid=8),
                event("full_sync_loaded", SAVED - 100),
                event("save_succeeded", SAVED + 0.4),
            ],
        },
    ),
    (
        "a save, then at once a sync of nearly the same second",
        "unknown",
        dump_of(SAVED),
        info_of(SAVED, **PROMOTED),
        {
            "events": [
                *save_events(),
                event("rdb_age", SAVED + 2.2, age_seconds=1),
                event("full_sync_loaded", SAVED + 2.3),
            ]
        },
    ),
    ("a sync that replid2 has forgotten", "unknown", dump_of(SAVED), info_of(SAVED), {"events": [SYNCED_LATER]}),
    (
        "loaded at the start, then a full sync",
        "unknown",
        OLD,
        info_of(START, **LOADED, **PROMOTED),
        {"events": [*started(*age(5000)), SYNCED_LATER], **IN_PLACE},
    ),
    (
        "loaded at the start, then a sync without a file",
        "unknown",
        OLD,
        info_of(START, **LOADED),
        {
            "role": "replica",
            "events": [*started(*age(5000)), event("rdb_age", SAVED, age_seconds=1), SYNCED_LATER],
        },
    ),
    (
        "received and loaded, then another one",
        "unknown",
        dump_of(START + 200),
        info_of(START, **LOADED),
        {"role": "replica", "events": [*RECEIVED, SYNCED_LATER]},
    ),
    ("loaded by keys, promoted", "unknown", OLD, info_of(START, **LOADED, **PROMOTED), IN_PLACE),
    (
        "loaded, moved or chmod since",
        "own",
        dump_of(START - 5000, changed_unix=START + 100),
        info_of(START, **LOADED),
        {"events": started(*age(5000)), **IN_PLACE},
    ),
    ("as many keys, and who knows where it loaded", "unknown", OLD, info_of(START, **LOADED), {}),
    ("as many keys, loaded elsewhere", "unknown", OLD, info_of(START, **LOADED), {"place_as_started": False}),
    (
        "other keys than those of the file in place",
        "unknown",
        OLD,
        info_of(START, **{**LOADED, "rdb_last_load_keys_loaded": 500}),
        IN_PLACE,
    ),
    (
        "loaded by 6.2 without a log",
        "unknown",
        OLD,
        {
            "rdb_last_save_time": START,
            "rdb_last_bgsave_time_sec": -1,
            "key_count": 400,
            "rdb_changes_since_last_save": 3,
            "master_replid2": NEVER_A_REPLICA,
        },
        IN_PLACE,
    ),
    (
        "the earlier process's beside an AOF",
        "unknown",
        OLD,
        info_of(START, **NEVER_SAVED, aof_enabled=1),
        {"attempts": [attempt(START - 5000, START - 4999.3, before_restart=True)]},
    ),
    (
        "the age of an AOF's base of the same second",
        "unknown",
        OLD,
        info_of(START, **LOADED, aof_enabled=1),
        {
            "events": started(
                event("rdb_age", START + 0.2, age_seconds=5000), event("db_loaded", START + 0.3, source="aof")
            )
        },
    ),
    ("mv without a log", "unknown", dump_of(START - 5000, changed_unix=START + 60), info_of(START, **LOADED), {}),
    ("of a replica without a log", "unknown", OLD, info_of(START, **LOADED), {"role": "replica"}),
    ("beside an AOF", "unknown", OLD, info_of(START, **LOADED, aof_enabled=1), {}),
    ("a save of somebody ends now", "unknown", dump_of(NOW - 3), info_of(SAVED), {}),
    ("a save of ours ends now", "unknown", dump_of(NOW - 30), info_of(SAVED, rdb_bgsave_in_progress=1), {}),
    ("the clock was set back", "unknown", dump_of(SAVED), info_of(SAVED), {"now_unix": START - 90_000}),
    ("the clock was set forward", "unknown", dump_of(SAVED), info_of(START - 90_000), {}),
    ("no INFO", "unknown", dump_of(SAVED), {}, {}),
    ("no start", "unknown", dump_of(SAVED), info_of(SAVED), {"started_unix": None}),
    ("a link", "unknown", dump_of(SAVED, type="symlink"), info_of(SAVED), {}),
    ("not looked at", "unknown", {"exists": None}, info_of(SAVED), {}),
    (
        "a log of another time zone",
        "unknown",
        dump_of(START - 5000, changed_unix=START + 60),
        info_of(START, **LOADED),
        {"events": started(*age(5000 + 7200))},
    ),
    # nothing to lose
    ("no file", "none", {"exists": False}, info_of(SAVED), {}),
    ("a directory", "none", dump_of(SAVED, type="directory"), info_of(SAVED), {}),
    ("an empty file", "none", dump_of(SAVED, size_bytes=0, header=None), info_of(SAVED), {}),
]


@pytest.mark.parametrize(("owner", "dump", "info", "facts"), [case[1:] for case in CASES], ids=[c[0] for c in CASES])
def test_whose_it_is(owner, dump, info, facts):
    judgement = judge(dump, info, **facts)
    assert judgement.owner == owner, judgement.why
    assert judgement.why.endswith(".")


KIB, MIB = 1024, 1024 * 1024
UNDERFLOWN = 18446744073709550568


@pytest.mark.parametrize(
    ("size_bytes", "in_memory", "answer"),
    [
        (39_000, {}, False),
        (39_000, {"keys_by_database": {"0": 267}}, False),
        (39_000, {"keys_by_database": {"0": 266}}, True),
        (39_000, {"keys_by_database": {}}, True),
        (39_000, {"key_count": 400, "keys_by_database": {"1": 400}}, True),
        (39_000, {"keys_by_database": None}, None),
        (39_000, {"keys_by_database": None, "key_count": 266}, True),
        (39_000, {"used_memory_dataset": UNDERFLOWN}, False),
        # Other databases' keys are in no header: what the bytes say.
        (900 * KIB, {"used_memory_dataset": 50 * KIB}, None),
        (MIB, {"used_memory_dataset": 50 * KIB}, True),
        (3 * MIB, {}, True),
        (3 * MIB, {"used_memory_dataset": 2 * MIB, "used_memory": 3 * MIB}, False),
        (3 * MIB, {"used_memory_dataset": None, "used_memory": None}, None),
        (None, {}, None),
    ],
)
def test_how_much_it_has(size_bytes, in_memory, answer):
    assert judge(dump_of(SAVED, size_bytes=size_bytes), info_of(SAVED, **in_memory)).much_larger is answer


def test_keys_of_a_database_of_an_unknown_number_are_compared_with_nothing():
    header = {"created_unix": SAVED, "keys_at_least": 400}
    assert judge(dump_of(SAVED, header=header), info_of(SAVED)).much_larger is None


def test_without_its_header_a_small_file_is_not_called_small():
    assert judge(dump_of(SAVED, header=None), info_of(SAVED)).much_larger is None


@pytest.mark.parametrize("value", ["9" * 400, 10**400, float("inf"), float("nan"), True, [], {}, "x", b"1", None])
def test_hostile_values_make_nothing_fail(value):
    for name in info_of(SAVED):
        judge(dump_of(SAVED), info_of(SAVED, **{name: value}))
    for name in ("size_bytes", "modified_unix", "changed_unix", "header", "type"):
        judge(dump_of(SAVED, **{name: value}), info_of(SAVED))
    for name in ("created_unix", "keys_at_least", "server_version", "database"):
        judge(dump_of(SAVED, header={name: value}), info_of(SAVED))
    judge(dump_of(SAVED), info_of(SAVED, keys_by_database={"0": value}), log_level=value)
    judge(dump_of(SAVED), info_of(SAVED), started_unix=value)
    judge(dump_of(SAVED), info_of(SAVED), attempts=[attempt(value, value)], events=[event("rdb_age", value)])
    facts_of_instance({"redis": value, "data_directory": value, "redis_log": {"events": value}}, [], NOW)


def test_the_place_is_the_configuration_files():
    written = {"dir": '"/data/"', "dbfilename": "dump.rdb"}
    assert is_place_as_started({"dir": "/data", "dbfilename": "dump.rdb"}, written) is True
    assert is_place_as_started({"dir": "/data", "dbfilename": "dump.rdb"}, {"dir": "/data"}) is True
    assert is_place_as_started({"dir": "/other", "dbfilename": "dump.rdb"}, written) is False
    assert is_place_as_started({"dir": "/data", "dbfilename": "x.rdb"}, written) is False
    assert is_place_as_started({"dir": "/data", "dbfilename": "x.rdb"}, None) is None
