# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lines of every version and wrapping; the files in fixtures/logs were written by real servers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ansible_collections.redisops.persistence.plugins.module_utils import _errno_names, _redis_log_events
from ansible_collections.redisops.persistence.plugins.module_utils._redis_log_lines import RedisLogParser, unwrap
from ansible_collections.redisops.persistence.plugins.module_utils._redis_log_times import (
    LogTimes,
    server_zone,
    zone_from_posix,
)
from ansible_collections.redisops.persistence.plugins.module_utils._system import System

LOGS = Path(__file__).parents[2] / "fixtures" / "logs"
UTC = zone_from_posix("UTC0")
NOW = 1795390000.0  # 22 November 2026


def new_parser(known_pids=()):
    return RedisLogParser(LogTimes(UTC, NOW), known_pids)


def parse(*lines):
    parser = new_parser()
    return [event for line in lines for event in parser.feed(line)]


# (message, event, fields that it must have)
MESSAGES = [
    ("100 changes in 300 seconds. Saving...", "save_points_met", {"changes": 100, "seconds": 300}),
    ("Background saving started by pid 77", "save_started", {"child_pid": 77, "target": "disk"}),
    ("Background RDB transfer started by pid 77", "save_started", {"child_pid": 77, "target": "replicas"}),
    (
        "Background RDB transfer started by pid 77 to direct socket to replica",
        "save_started",
        {"child_pid": 77, "target": "replicas"},
    ),
    ("Can't save in background: fork: Cannot allocate memory", "fork_failed", {"errno": "ENOMEM"}),
    ("Can't save in background: fork: Out of memory", "fork_failed", {"errno": "ENOMEM"}),
    ("Can't save in background: fork: Resource temporarily unavailable", "fork_failed", {"errno": "EAGAIN"}),
    (
        "Failed opening .rdb for saving: No such file or directory",
        "open_failed",
        {"errno": "ENOENT", "file": None, "directory": None},
    ),
    (
        "Failed opening the RDB file root (in server root dir /var/spool/cron) for saving: Permission denied",
        "open_failed",
        {"errno": "EACCES", "file": "root", "directory": "/var/spool/cron"},
    ),
    (
        "Failed opening the temp RDB file temp-7.rdb (in server root dir unknown) for saving: "
        "No such file or directory",
        "open_failed",
        {"errno": "ENOENT", "file": "temp-7.rdb", "directory": "unknown"},
    ),
    (
        "Failed opening the temp RDB file temp-7.rdb (in server root dir /a) for saving: Success) for saving: "
        "Read-only file system",
        "open_failed",
        {"errno": "EROFS", "directory": "/a) for saving: Success"},
    ),
    ("Write error saving DB on disk: No space left on device", "write_failed", {"errno": "ENOSPC", "operation": None}),
    (
        "Write error saving DB on disk(fsync): Disk quota exceeded",
        "write_failed",
        {"errno": "EDQUOT", "operation": "fsync"},
    ),
    (
        "Write error while saving DB to the disk(rdbSaveRio): I/O error",
        "write_failed",
        {"errno": "EIO", "operation": "rdbSaveRio"},
    ),
    (
        "Write error while saving DB to the disk(rdbSaveRio): Success",
        "write_failed",
        {"errno": None, "errno_text": "Success"},
    ),
    ("Write error saving DB on disk(fsyncFileDir): Input/output error", "dir_fsync_failed", {"errno": "EIO"}),
    ("Failed to fsync directory while saving DB: Input/output error", "dir_fsync_failed", {"errno": "EIO"}),
    (
        "Error moving temp DB file temp-7.rdb on the final destination dump.rdb: Is a directory",
        "rename_failed",
        {"errno": "EISDIR", "destination": "dump.rdb", "directory": None},
    ),
    (
        "Error moving temp DB file temp-7.rdb on the final destination dump.rdb (in server root dir /data): "
        "Resource busy",
        "rename_failed",
        {"errno": "EBUSY", "file": "temp-7.rdb", "destination": "dump.rdb", "directory": "/data"},
    ),
    ("DB saved on disk", "child_saved", {}),
    (
        "RDB: 4 MB of memory used by copy-on-write",
        "copy_on_write",
        {"bytes": 4 << 20, "peak_bytes": None, "average_bytes": None},
    ),
    (
        "Fork CoW for RDB: current 1 MB, peak 3 MB, average 2 MB",
        "copy_on_write",
        {"bytes": 1 << 20, "peak_bytes": 3 << 20, "average_bytes": 2 << 20},
    ),
    ("Child failed reporting info to parent, exiting. Broken pipe", "child_report_failed", {"errno": "EPIPE"}),
    ("Background saving terminated with success", "save_succeeded", {}),
    ("Background saving error", "save_failed", {}),
    ("Background saving terminated by signal 25", "save_signalled", {"signal": 25}),
    ("Received SIGUSR1 in child, exiting now.", "save_aborted", {"child_pid": None}),
    ("There is a child saving an .rdb. Killing it!", "save_aborted", {}),
    ("Killing running RDB child: 88", "save_aborted", {"child_pid": 88}),
    ("Background saving will be aborted due to user request", "save_aborted", {}),
    (
        "Replica is about to load the RDB file received from the master, but there is a pending RDB child running. "
        "Killing process 88 and removing its temp file to avoid any race",
        "save_aborted",
        {"child_pid": 88},
    ),
    ("Diskless rdb transfer, last replica dropped, killing fork child.", "save_aborted", {}),
    ("Starting BGSAVE for SYNC with target: disk", "replica_sync_started", {"target": "disk"}),
    (
        "Starting BGSAVE for SYNC with target: replicas sockets (rdb-channel)",
        "replica_sync_started",
        {"target": "replicas"},
    ),
    (
        "Starting BGSAVE for SYNC with target: replicas sockets using: normal sync",
        "replica_sync_started",
        {"target": "replicas"},
    ),
    ("Starting BGSAVE for SYNC with target: slaves sockets", "replica_sync_started", {"target": "replicas"}),
    ("MASTER <-> REPLICA sync: Finished with success", "full_sync_loaded", {}),
    ("MASTER <-> SLAVE sync: Finished with success", "full_sync_loaded", {}),
    ("PRIMARY <-> REPLICA sync: Finished with success", "full_sync_loaded", {}),
    ("MASTER <-> REPLICA sync: Flushing old data", "full_sync_loaded", {}),
    ("MASTER <-> REPLICA sync: Swapping active DB with loaded DB", "full_sync_loaded", {}),
    ("RDB signature and version check passed. Flushing old data", "full_sync_loaded", {}),
    ("BGSAVE for replication failed", "replica_sync_failed", {}),
    ("SYNC failed. BGSAVE child returned an error", "replica_sync_failed", {}),
    (
        "SYNC failed. Can't open/stat DB after BGSAVE: No such file or directory",
        "replica_sync_failed",
        {"errno_text": "No such file or directory"},
    ),
    ("Background RDB transfer terminated with success", "transfer_succeeded", {}),
    ("Background transfer error", "transfer_failed", {}),
    ("Background RDB transfer error", "transfer_failed", {}),
    ("Background transfer terminated by signal 9", "transfer_signalled", {"signal": 9}),
    ("Background append only file rewriting started by pid 9", "aof_rewrite_started", {"child_pid": 9}),
    ("Background AOF rewrite terminated with success", "aof_rewrite_succeeded", {}),
    ("Background AOF rewrite terminated with error", "aof_rewrite_failed", {}),
    ("Background AOF rewrite terminated by signal 9", "aof_rewrite_failed", {"signal": 9}),
    (
        "Can't rewrite append only file in background: fork: Cannot allocate memory",
        "aof_rewrite_failed",
        {"errno": "ENOMEM"},
    ),
    ("Error writing to the AOF file: No space left on device", "aof_write_failed", {"errno": "ENOSPC"}),
    ("Fail to fsync the AOF file: Input/output error.", "aof_write_failed", {"errno": "EIO"}),
    ("Short write while writing to the AOF file: (nwritten=1, expected=2)", "aof_write_failed", {"errno": None}),
    ("Redis 7.0.15 crashed by signal: 11, si_code: 1", "crashed", {"signal": 11}),
    ("Redis 5.0.14 crashed by signal: 7", "crashed", {"signal": 7}),
    ("valkey 9.1.2 crashed by signal: 6, si_code: -6", "crashed", {"signal": 6}),
    ("Out Of Memory allocating 20504 bytes!", "out_of_memory_handler", {"bytes": 20504}),
    ("=== ASSERTION FAILED ===", "assertion", {}),
    ("=== RECURSIVE ASSERTION FAILED ===", "assertion", {}),
    (
        "Guru Meditation: Replica was unable to write command to disk. #server.c:3711",
        "panic",
        {"replica_disk": True},
    ),
    ("Guru Meditation: Unknown object type #rdb.c:12", "panic", {"replica_disk": False}),
    ("oO0OoO0OoO0Oo Redis is starting oO0OoO0OoO0Oo", "server_started", {}),
    ("oO0OoO0OoO0Oo Valkey is starting oO0OoO0OoO0Oo", "server_started", {}),
    ("Server started, Redis version 3.2.13", "server_started", {}),
    ("Server initialized", "server_started", {}),
    ("RDB age 61 seconds", "rdb_age", {"age_seconds": 61}),
    ("RDB age -3 seconds", "rdb_age", {"age_seconds": -3}),
    ("Done loading RDB, keys loaded: 20, keys expired: 1.", "rdb_loaded", {"keys": 20, "expired": 1}),
    (
        "Done loading RDB, keys loaded: 20, keys expired: 0, all fields expired hashes: 0.",
        "rdb_loaded",
        {"keys": 20, "expired": 0},
    ),
    ("DB loaded from disk: 0.000 seconds", "db_loaded", {"source": "rdb"}),
    ("DB loaded from append only file: 0.001 seconds", "db_loaded", {"source": "aof"}),
    ("DB loaded from base file appendonly.aof.1.base.rdb: 0.001 seconds", "db_loaded", {"source": "aof"}),
    ("Ready to accept connections tcp", "server_ready", {}),
    ("The server is now ready to accept connections on port 6379", "server_ready", {}),
    ("User requested shutdown...", "server_stopping", {}),
    ("User requested shutdown... (user request from 'id=3 addr=127.0.0.1:5')", "server_stopping", {}),
    ("Received SIGTERM scheduling shutdown...", "server_stopping", {}),
    ("Redis is now ready to exit, bye bye...", "server_stopped", {}),
    (
        "Errors trying to shut down the server. Check the logs for more information.",
        "shutdown_refused",
        {},
    ),
    ("Error trying to save the DB, can't exit.", "shutdown_save_failed", {}),
    ("Error trying to save the DB. Exit anyway.", "shutdown_save_failed", {}),
    ("Short read or OOM loading DB. Unrecoverable error, aborting now.", "loading_failed", {}),
    ("Wrong RDB checksum expected: (1) but got (2). Aborting now.", "loading_failed", {}),
    ("CONFIG REWRITE failed: Permission denied", "config_rewrite_failed", {"errno": "EACCES"}),
    (
        "WARNING overcommit_memory is set to 0! Background save may fail under low memory condition.",
        "overcommit_warning",
        {},
    ),
    ("Memory overcommit must be enabled! Without it, a background save may fail", "overcommit_warning", {}),
    (
        "WARNING you have Transparent Huge Pages (THP) support enabled in your kernel. This will create latency",
        "thp_warning",
        {},
    ),
    (
        "waitpid() returned an error: No child processes. child_type: RDB, child_pid = 12",
        "wait_failed",
        {"errno": "ECHILD"},
    ),
    (
        "wait3() returned an error: No child processes. rdb_child_pid = 12, aof_child_pid = -1",
        "wait_failed",
        {"errno": "ECHILD"},
    ),
]

NO_EVENTS = [
    "BGSAVE done, 5 keys saved, 0 keys skipped, 100 bytes written.",
    "Unable to reclaim cache after saving RDB: Invalid argument",
    'key "Background saving error"',
    "xBackground saving error",
    "Background saving error ",
    "Background saving error, really",
    "Background saving terminated by signal 99999999999999999999",
    "Module 'x' loaded from /a; Background saving terminated with success",
    "AOF rewrite: 4 MB of memory used by copy-on-write",
    "Fork CoW for AOF rewrite: current 1 MB, peak 3 MB, average 2 MB",
    "100 changes in 300 seconds. Saving... not",
    "Redis crashed by signal: 11",
    "",
]


@pytest.mark.parametrize(("message", "event", "fields"), MESSAGES, ids=[entry[0][:60] for entry in MESSAGES])
def test_every_text_is_its_event(message, event, fields):
    found = _redis_log_events.classify(message)
    assert found is not None
    assert found[0] == event
    assert {name: found[1].get(name, "missing") for name in fields} == fields


@pytest.mark.parametrize("message", NO_EVENTS)
def test_other_texts_are_no_events(message):
    assert _redis_log_events.classify(message) is None


@pytest.mark.parametrize("message", [entry[0] for entry in MESSAGES])
def test_every_event_has_a_needle_by_which_its_line_is_found(message):
    assert any(needle in message.encode() for needle in _redis_log_events.NEEDLES)


@pytest.mark.parametrize(
    ("message", "event"),
    [
        entry[:2]
        for entry in MESSAGES
        if entry[1] in ("save_failed", "save_succeeded", "open_failed", "write_failed", "fork_failed")
    ],
)
def test_save_needles_find_the_ends_of_saves(message, event):
    assert any(needle in message.encode() for needle in _redis_log_events.SAVE_NEEDLES)


WRITTEN = 1795381262.286
PREFIXES = [
    ("12:M 22 Nov 2026 21:01:02.286 # ", "", 12, "M"),
    ("12:S 22 Nov 2026 21:01:02.286 # ", "", 12, "S"),
    ("12:C 22 Nov 21:01:02.286 # ", "", 12, "C"),
    ("[12] 22 Nov 21:01:02.286 # ", "", 12, None),
    ("12:M 2026-11-22T16:01:02.286-05:00 # ", "", 12, "M"),
    ("12:M 1795381262286 # ", "", 12, "M"),
    ('pid=12 role=primary timestamp="22 Nov 2026 21:01:02.286" level=warning message="', '"', 12, "M"),
    ('pid=12 role=RDB/AOF timestamp="2026-11-22T21:01:02.286+00:00" level=warning message="', '"', 12, "C"),
    ('pid=12 role=replica timestamp="1795381262286" level=warning message="', '"', 12, "S"),
    (
        '{"pid":12,"role":"primary","timestamp":"2026-11-22T22:01:02.286+01:00","level":"warning","message":"',
        '"}',
        12,
        "M",
    ),
    ("2026-11-22T21:05:00.1Z stdout F 12:M 22 Nov 2026 21:01:02.286 # ", "", 12, "M"),
    ('{"log":"12:M 22 Nov 2026 21:01:02.286 # ', '\\n","stream":"stdout","time":"2026-11-22T21:05:00.1Z"}', 12, "M"),
    ("2026-11-22T21:01:02.286000+00:00 cache-1 redis[12]: ", "", 12, None),
    ("Nov 22 21:05:00 cache-1 redis-server[999]: 12:M 22 Nov 2026 21:01:02.286 # ", "", 12, "M"),
]


@pytest.mark.parametrize(("before", "after", "pid", "role"), PREFIXES)
def test_every_wrapping_gives_pid_role_and_time(before, after, pid, role):
    (event,) = parse(before + "Background saving terminated by signal 9" + after)
    assert (event["event"], event["signal"], event["pid"], event["role"]) == ("save_signalled", 9, pid, role)
    assert event["time_unix"] == pytest.approx(WRITTEN, abs=0.01)


@pytest.mark.parametrize(
    "wrapping",
    [
        '{"log":"12:M 23 Nov 2026 06:01:02.286 # %s\\n","stream":"stdout","time":"2026-11-22T21:01:02.287Z"}',
        "2026-11-22T22:01:03.1+01:00 stdout F 12:M 22 Nov 2026 17:31:02.286 # %s",
    ],
)
def test_the_zone_of_a_container_shows_in_the_time_at_which_a_line_was_taken_in(wrapping):
    (event,) = parse(wrapping % "Background saving error")
    assert event["time_unix"] == pytest.approx(WRITTEN, abs=0.01)


def test_a_signal_handlers_line_has_seconds_and_no_role():
    (event,) = parse("12:signal-handler (1795381262) Received SIGUSR1 in child, exiting now.")
    assert (event["event"], event["pid"], event["role"], event["time_unix"]) == ("save_aborted", 12, None, 1795381262.0)


@pytest.mark.parametrize(
    "cut",
    [
        "77:signal-handler (",
        "77:signal-handler (1795381262",
        "77:signal-handler (1795381262) ",
        "77:signal-handler (1795381262) Received SIGUSR1 in child, exiting now.",
    ],
)
def test_a_line_that_came_into_the_middle_of_a_signal_handlers_is_read(cut):
    (event,) = parse(cut + "12:M 22 Nov 2026 21:01:02.286 # Background saving terminated by signal 10")
    assert (event["event"], event["pid"]) == ("save_signalled", 12)


def test_journal_entries_with_and_without_the_servers_own_prefix():
    parser = new_parser()
    bare = {
        "MESSAGE": "Background saving error",
        "_PID": "900",
        "SYSLOG_PID": "12",
        "__REALTIME_TIMESTAMP": "1795381262286000",
    }
    assert [(e["event"], e["pid"], e["time_unix"]) for e in parser.feed_journal(bare)] == [("save_failed", 12, WRITTEN)]
    own = {**bare, "MESSAGE": "55:M 22 Nov 2026 21:01:02.286 # Background saving error"}
    assert [(e["event"], e["pid"], e["role"]) for e in parser.feed_journal(own)] == [("save_failed", 55, "M")]
    data = {**bare, "MESSAGE": list(b"Background saving error")}
    assert [e["event"] for e in parser.feed_journal(data)] == ["save_failed"]
    for broken in (
        {},
        {"MESSAGE": None},
        {"MESSAGE": [999, "x"]},
        {"MESSAGE": {"a": 1}},
        {"MESSAGE": "x", "_PID": [1]},
    ):
        assert parser.feed_journal(broken) == []


HOSTILE = [
    "Background saving error",
    "# Background saving error",
    " 12:M 22 Nov 2026 21:01:02.286 # Background saving error",
    "12:M 22 Nov 2026 21:01:02.286 * rdbLoadObject skipping empty key: 12:M 22 Nov 2026 21:01:02.286 # "
    "Background saving error",
    '12:M 22 Nov 2026 21:01:02.286 * user_script: "13:M 22 Nov 2026 21:01:02.286 # Background saving error',
    "12:M 22 Nov 2026 21:01:02.286 # x13:M 22 Nov 2026 21:01:02.286 # Background saving error",
    "12:M 22 Nov 2026 21:01:02.286 ! Background saving error",
    "12:Q 22 Nov 2026 21:01:02.286 # Background saving error",
    "99999999999999999999:M 22 Nov 2026 21:01:02.286 # Background saving error",
    '{"pid":true,"role":"primary","timestamp":"x","message":"Background saving error"}',
    '{"pid":12,"role":["x"],"timestamp":{},"message":7}',
    '{"log":7}',
    '{"log":"Background saving error\\n","stream":"stdout","time":"2026-11-22T21:05:00Z"}',
    "[" * 5000,
    '{"a":' * 3000,
    "\0" * 100,
    "12:signal-handler (",
    'pid=12 role= timestamp="" level= message="Background saving error"',
]


@pytest.mark.parametrize("line", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_lines_neither_fail_nor_forge(line):
    assert parse(line) == []


def test_a_newline_in_a_directorys_name_is_pieced_together():
    events = parse(
        "1:M 22 Nov 2026 21:01:02.280 * Background saving started by pid 7",
        "7:C 22 Nov 2026 21:01:02.286 # Failed opening the temp RDB file temp-7.rdb (in server root dir /a",
        "Background saving error",
        "b) for saving: Permission denied",
        "1:M 22 Nov 2026 21:01:02.290 # Background saving error",
    )
    assert [event["event"] for event in events] == ["save_started", "open_failed", "save_failed"]
    assert events[1]["directory"] == "/a\nBackground saving error\nb"
    assert events[1]["errno"] == "EACCES"
    assert "\n" not in events[1]["text"]


def test_lines_that_a_full_disk_glued_together_are_taken_apart():
    events = parse(
        "6844:M 22 Nov 2026 21:01:02.286 * Background saving started by pid 6850",
        "6850:C 22 Nov 2026 21:01:02.286 # Write error saving DB on disk: No sp6844:M 22 Nov 2026 21:01:02.300 # "
        "Background saving error",
        "6844:M 22 Nov 2026 21:01:03.26844:M 22 Nov 2026 21:01:09.300 # Background saving error",
    )
    assert [event["event"] for event in events] == ["save_started", "write_failed", "save_failed"]
    assert events[1]["errno_text"] == "No sp"
    assert (events[2]["pid"], events[2]["time_unix"]) == (6844, pytest.approx(1795381262.3))


def test_text_is_bounded_and_one_line():
    (event,) = parse("1:M 22 Nov 2026 21:01:02.286 # CONFIG REWRITE failed: " + "x" * 9000)
    assert len(event["text"]) == 400
    assert len(event["errno_text"]) == 200


def test_the_module_on_a_crashs_stack_and_not_a_library():
    events = parse(
        "7:C 22 Nov 2026 21:01:02.286 # Redis 7.0.15 crashed by signal: 11, si_code: 1",
        "7:C 22 Nov 2026 21:01:02.286 # Crashed running the instruction at: 0x7f",
        "",
        "------ STACK TRACE ------",
        "/lib/x86_64-linux-gnu/libc.so.6(+0x3c050)[0x7f9ef9861050]",
        "/opt/redis-stack/lib/redisearch.so(+0x1134)[0x7f9ef97cd134]",
        "/opt/other.so(+0x1)[0x7f]",
        "1:M 22 Nov 2026 21:01:02.290 # Background saving terminated by signal 11",
        "/opt/third.so(+0x1)[0x7f]",
    )
    assert [event["event"] for event in events] == ["crashed", "crash_stack", "save_signalled"]
    assert events[1]["module"] == "redisearch.so"
    assert events[1]["pid"] == 7


def test_a_stack_ends_at_the_next_line_with_a_prefix():
    events = parse(
        "7:C 22 Nov 2026 21:01:02.286 # Redis 7.0.15 crashed by signal: 11, si_code: 1",
        "------ STACK TRACE ------",
        "/lib/x86_64-linux-gnu/libc.so.6(+0x3c050)[0x7f9ef9861050]",
        "1:M 22 Nov 2026 21:01:02.290 # Background saving terminated by signal 11",
        "/opt/third.so(+0x1)[0x7f]",
    )
    assert [event.get("module", "") for event in events] == ["", None, ""]


def test_a_stack_without_a_crash_before_it_names_no_module():
    assert parse("------ STACK TRACE ------", "/opt/redisearch.so(+0x1134)[0x7f9ef97cd134]") == []


# --- times


def test_the_year_that_old_versions_leave_out_is_the_newest_that_is_past():
    times = LogTimes(UTC, 1767225600.0)  # 1 January 2026, midnight
    assert times.to_unix("31 Dec 23:59:59.000") == 1767225599.0
    assert times.to_unix("01 Jan 00:00:01.000") == 1767225601.0  # a clock that is a second off


def test_the_hour_that_comes_twice_does_not_go_back():
    times = LogTimes(zone_from_posix("EST5EDT,M3.2.0,M11.1.0"), NOW)
    first = times.to_unix("01 Nov 2026 01:59:59.000")
    second = times.to_unix("01 Nov 2026 01:00:01.000")
    assert second - first == 2.0


@pytest.mark.parametrize(
    "text", ["31 Feb 2026 10:00:00.000", "01 Foo 2026 10:00:00.000", "", "2026-13-01T00:00:00.000Z", "x" * 50]
)
def test_impossible_times_are_unknown(text):
    assert LogTimes(UTC, NOW).to_unix(text) is None


def test_the_zone_is_the_processs_own(tmp_path):
    system = System(str(tmp_path), lambda: NOW)
    zones = tmp_path / "proc/5/root/usr/share/zoneinfo/Test"
    zones.mkdir(parents=True)
    assert (
        LogTimes(server_zone(system, 5, "EST5EDT,M3.2.0,M11.1.0"), NOW).to_unix("22 Nov 2026 16:01:02.286") == WRITTEN
    )
    assert LogTimes(server_zone(system, 5, "No/Such"), NOW).to_unix("22 Nov 2026 21:01:02.286") == WRITTEN
    assert server_zone(system, 5, None) is None
    real = Path("/usr/share/zoneinfo/Asia/Kolkata")
    if real.exists():
        (tmp_path / "proc/5/root/etc").mkdir()
        (tmp_path / "proc/5/root/etc/localtime").write_bytes(real.read_bytes())
        assert LogTimes(server_zone(system, 5, None), NOW).to_unix("23 Nov 2026 02:31:02.286") == WRITTEN


# --- errors


@pytest.mark.parametrize(
    ("text", "name"),
    [("Out of memory", "ENOMEM"), ("I/O error", "EIO"), ("Quota exceeded", "EDQUOT"), ("Success", None),
     ("No error information", None), ("Unknown error 524", None), (None, None), ("Is a directory\n", "EISDIR")],
)  # fmt: skip
def test_names_of_errors(text, name):
    assert _errno_names.errno_name(text) == name


def test_this_machines_own_texts_are_known():
    import errno
    import os

    for name in ("ENOSPC", "EROFS", "EACCES", "EPERM", "EDQUOT", "EFBIG", "EIO", "ENOENT", "EISDIR", "EBUSY", "ENOMEM"):
        assert _errno_names.errno_name(os.strerror(getattr(errno, name))) == name


# --- what real servers wrote


def events_of(name):
    parser = new_parser()
    lines = (LOGS / name).read_text().split("\n")
    return [event for line in lines for event in parser.feed(line)], parser


@pytest.mark.parametrize("name", ["redis-6.2.log", "redis-7.0.log", "valkey-9.1.log"])
def test_a_real_log_of_many_failures(name):
    events, parser = events_of(name)
    assert parser.form == "legacy"
    interesting = [event["event"] for event in events if event["event"] not in ("copy_on_write", "overcommit_warning")]
    assert [name for name in interesting if name.startswith(("save", "open", "rename", "crashed"))][:13] == [
        "save_started", "open_failed", "save_failed", "save_started", "save_succeeded", "save_started", "rename_failed",
        "save_failed", "rename_failed", "save_started", "save_signalled", "save_started", "save_aborted",
    ]  # fmt: skip
    assert [event["signal"] for event in events if event["event"] == "save_signalled"] == [9, 10, 11]
    assert {event["errno"] for event in events if event["event"] == "open_failed"} == {"EACCES"}
    assert all(event["time_unix"] and abs(event["time_unix"] - 1795382790) < 120 for event in events)


@pytest.mark.parametrize("name", sorted(path.name for path in LOGS.glob("valkey-9.1-*.log")))
def test_real_logs_in_valkeys_other_formats(name):
    events, parser = events_of(name)
    assert parser.form == ("legacy" if name.count("-") == 2 else name.split("-")[2])
    failed = next(event for event in events if event["event"] == "open_failed")
    assert (failed["errno"], failed["role"], failed["directory"]) == ("EACCES", "C", "/data")
    assert all(event["time_unix"] and abs(event["time_unix"] - 1795382815) < 60 for event in events)
    assert [event["signal"] for event in events if event["event"] == "crashed"][:1] == [11]


def test_a_real_crash_in_a_module():
    events, _parser = events_of("redis-6.2-module.log")
    assert [event["module"] for event in events if event["event"] == "crash_stack"] == ["timeseries.so"]


def test_json_and_docker_are_told_apart():
    line = json.dumps({"log": json.dumps({"pid": 3, "role": "primary", "message": "DB saved on disk"}) + "\n"})
    assert unwrap(line).form == "json"
    assert unwrap(line).pid == 3
