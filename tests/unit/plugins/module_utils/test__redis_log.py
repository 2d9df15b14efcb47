# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Finding a log wherever it goes, and reading no more of it than is of use."""

from __future__ import annotations

import gzip
import json
import os
import struct
import time

import pytest
from ansible_collections.redisops.persistence.plugins.module_utils._redis_log import collect_redis_log
from ansible_collections.redisops.persistence.plugins.module_utils._redis_log_lines import RedisLogParser
from ansible_collections.redisops.persistence.plugins.module_utils._redis_log_read import (
    lines_of_interest,
    read_tail,
)
from ansible_collections.redisops.persistence.plugins.module_utils._redis_log_times import LogTimes
from ansible_collections.redisops.persistence.plugins.module_utils._system import CommandResult, Gaps, System
from ansible_collections.redisops.persistence.tests.unit.recorded_tree import NOW_UNIX, made_system

# A file of tzfile(5) that knows nothing but UTC.
UTC_ZONE_FILE = (b"TZif" + b"\0" * 32 + struct.pack(">2L", 1, 4) + b"\0" * 6 + b"UTC\0").decode("latin-1")
LINE = "12:M 22 Nov 2026 21:01:02.286 # Background saving error\n"
SUCCESS = "12:M 22 Nov 2026 20:01:02.286 * Background saving terminated with success\n"
NOISE = "12:M 22 Nov 2026 21:01:02.286 - DB 0: 5 keys (0 volatile) in 8 slots HT.\n"
PROCESS = {"pid": 5, "pid_in_namespace": 12, "timezone": "UTC0", "command": "redis-server"}


def collect(system, hints, pid=5, **options):
    gaps = Gaps()
    return collect_redis_log(system, pid, PROCESS, hints, gaps, **options), gaps.entries()


def names(log):
    return [event["event"] for event in log["events"]]


def with_runner(system, answer):
    calls = []

    def runner(argv, environment, timeout_seconds, stdin):
        calls.append(argv)
        return answer(argv)

    return System(system.root, system.clock, runner), calls


def entry(message, pid="900", **more):
    return json.dumps({"MESSAGE": message, "_PID": pid, "__REALTIME_TIMESTAMP": "1795381262286000", **more}) + "\n"


def test_a_file_in_the_processs_own_root(tmp_path):
    system = made_system(
        tmp_path, {"/proc/5/root/var/log/redis.log": SUCCESS + LINE, "/var/log/redis.log": "another server's\n"}
    )
    log, gaps = collect(system, {"logfile": "/var/log/redis.log"})
    assert names(log) == ["save_succeeded", "save_failed"]
    assert (log["available"], log["source"], log["path"]) == (True, "file", "/var/log/redis.log")
    assert (log["format"], log["kept"], log["truncated"]) == ("legacy", True, False)
    assert (log["oldest_unix"], log["newest_unix"]) == (1795377662.286, 1795381262.286)
    assert log["size_bytes"] == log["read_bytes"] == len(SUCCESS + LINE)
    assert gaps == []


def test_absolute_links_are_followed_below_the_processs_root(tmp_path):
    system = made_system(
        tmp_path,
        {
            "/proc/5/root/var/log/redis.log": {"link": "/data/logs/redis.log"},
            "/proc/5/root/data/logs/redis.log": LINE,
            "/data/logs/redis.log": "12:M 22 Nov 2026 21:01:02.286 * DB saved on disk\n",
        },
    )
    assert names(collect(system, {"logfile": "/var/log/redis.log"})[0]) == ["save_failed"]


@pytest.mark.parametrize(
    ("late_seconds", "timezone", "read_as"),
    [
        (0.1, None, 1795381262.286),  # the zone that was assumed is right
        (3600 * 9, None, 1795381262.286 + 3600 * 9),  # nine hours west of it
        (-3600 * 9 + 0.5, None, 1795381262.286 - 3600 * 9),
        (12600 + 4, None, 1795381262.286 + 12600),
        (12600 + 4, "UTC0", 1795381262.286),  # said to be UTC: the file was touched
        (1234, None, 1795381262.286),  # no zone is 20 minutes and 34 seconds away
        (3600 * 40, None, 1795381262.286),
    ],
)
def test_the_last_write_tells_the_zone_of_a_server_that_hides_its_own(tmp_path, late_seconds, timezone, read_as):
    system = made_system(tmp_path, {"/log/redis.log": SUCCESS + LINE, "/etc/localtime": UTC_ZONE_FILE})
    os.utime(tmp_path / "log/redis.log", (1795381262.286 + late_seconds,) * 2)
    process = {**PROCESS, "timezone": timezone}
    log = collect_redis_log(system, None, process, {"logfile": "/log/redis.log"}, Gaps())
    assert [event["time_unix"] for event in log["events"]] == pytest.approx([read_as - 3600, read_as])
    assert log["newest_unix"] == pytest.approx(read_as)


def test_links_that_go_round_end(tmp_path):
    system = made_system(tmp_path, {"/proc/5/root/log": {"link": "/log"}})
    log, gaps = collect(system, {"logfile": "/log"})
    assert log["available"] is False
    assert len(gaps) == 1


def test_a_relative_name_is_relative_to_the_current_directory(tmp_path):
    system = made_system(tmp_path, {"/proc/5/cwd": {"link": str(tmp_path / "data")}, "/data/redis.log": LINE})
    log, _gaps = collect(system, {"logfile": "redis.log", "directory": "/elsewhere"})
    assert names(log) == ["save_failed"]
    assert log["path"] == f"{tmp_path}/data/redis.log"


def test_a_relative_name_without_a_readable_process(tmp_path):
    system = made_system(tmp_path, {"/data/redis.log": LINE})
    assert names(collect(system, {"logfile": "redis.log", "directory": "/data"})[0]) == ["save_failed"]
    log, gaps = collect(system, {"logfile": "redis.log"})
    assert "directory" in log["reason"]
    assert gaps[0]["what"] == "the server's log"


def test_a_link_to_standard_output_is_standard_output(tmp_path):
    system = made_system(
        tmp_path,
        {
            "/proc/5/root/var/log/redis.log": {"link": "/dev/stdout"},
            "/proc/5/fd/1": {"link": "/dev/null"},
        },
    )
    log, _gaps = collect(system, {"logfile": "/var/log/redis.log"})
    assert (log["available"], log["kept"]) == (False, False)


@pytest.mark.parametrize(("target", "kept"), [("/dev/null", False), ("/dev/pts/3", False), ("/dev/console", False)])
def test_standard_output_that_nothing_keeps(tmp_path, target, kept):
    system = made_system(tmp_path, {"/proc/5/fd/1": {"link": target}})
    log, gaps = collect(system, {"logfile": ""})
    assert (log["available"], log["source"], log["kept"]) == (False, "none", kept)
    assert "logfile" in gaps[0]["remedy"]


def test_an_unknown_logfile_may_keep_what_standard_output_does_not(tmp_path):
    system = made_system(tmp_path, {"/proc/5/fd/1": {"link": "/dev/null"}})
    log, gaps = collect(system, {})
    assert log["kept"] is True
    assert any("logfile is not known" in gap["why"] for gap in gaps)


def test_standard_output_to_a_file(tmp_path):
    system = made_system(tmp_path, {"/proc/5/fd/1": {"link": "/out.log"}, "/out.log": LINE})
    log, _gaps = collect(system, {"logfile": ""})
    assert (log["source"], log["path"], names(log)) == ("file", "/out.log", ["save_failed"])


def test_standard_output_to_the_journal_by_unit(tmp_path):
    system = made_system(
        tmp_path,
        {"/proc/5/fd/1": {"link": "socket:[7]"}, "/proc/5/cgroup": "0::/system.slice/redis-server.service\n"},
    )
    output = entry("garbage") + "not json\n" + entry(LINE.strip()) + '{"MESSAGE": tru'
    system, calls = with_runner(system, lambda argv: CommandResult(0, output, ""))
    log, _gaps = collect(system, {"logfile": ""})
    assert (log["source"], log["path"], names(log)) == ("journal", "--unit=redis-server.service", ["save_failed"])
    assert log["events"][0]["pid"] == 12
    assert log["newest_unix"] == 1795381262.286
    assert any(argument.startswith("--lines=") for argument in calls[0])
    assert f"--root={tmp_path}" in calls[0]


@pytest.mark.parametrize(
    ("result", "why"),
    [
        (CommandResult(127, "", ""), "not installed"),
        (CommandResult(124, "", ""), "no answer in"),
        (
            CommandResult(1, "", "No journal files were opened due to insufficient permissions.\n"),
            "insufficient permissions",
        ),
        (CommandResult(0, "", ""), "no such entries"),
    ],
)
def test_a_journal_that_says_nothing_is_a_gap_with_its_reason(tmp_path, result, why):
    system = made_system(tmp_path, {"/proc/5/fd/1": {"link": "pipe:[7]"}})
    system, calls = with_runner(system, lambda argv: result)
    log, gaps = collect(system, {"logfile": ""})
    assert log["available"] is False
    assert why in log["reason"]
    assert why in gaps[0]["why"]
    assert "_PID=5" in calls[0]


def test_a_users_unit_and_a_container_have_their_own_names(tmp_path):
    identity = "a" * 64
    files = {"/proc/5/fd/1": {"link": "pipe:[7]"}, "/proc/5/cgroup": f"0::/system.slice/docker-{identity}.scope\n"}
    system, calls = with_runner(made_system(tmp_path / "a", files), lambda argv: CommandResult(0, entry(LINE), ""))
    assert names(collect(system, {"logfile": ""})[0]) == ["save_failed"]
    assert f"CONTAINER_ID_FULL={identity}" in calls[0]
    files["/proc/5/cgroup"] = "0::/user.slice/user-1000.slice/user@1000.service/app.slice/redis.service\n"
    system, calls = with_runner(made_system(tmp_path / "b", files), lambda argv: CommandResult(0, entry(LINE), ""))
    collect(system, {"logfile": ""})
    assert "_SYSTEMD_USER_UNIT=redis.service" in calls[0]


def test_a_containers_log(tmp_path):
    docker = json.dumps({"log": LINE, "stream": "stdout", "time": "2026-11-22T21:01:02.3Z"}) + "\n"
    system = made_system(tmp_path, {"/proc/5/fd/1": {"link": "pipe:[7]"}, "/var/lib/docker/x-json.log": docker})
    log, _gaps = collect(system, {"logfile": "", "container_log_path": "/var/lib/docker/x-json.log"})
    assert (log["source"], names(log), log["events"][0]["pid"]) == ("container", ["save_failed"], 12)


def test_syslog_when_nothing_else_keeps_the_log(tmp_path):
    other = "2026-11-22T21:01:02.286+00:00 host valkey[13]: Background saving error\n"
    ours = "2026-11-22T21:01:02.286+00:00 host redis[12]: Can't save in background: fork: Cannot allocate memory\n"
    system = made_system(tmp_path, {"/proc/5/fd/1": {"link": "/dev/null"}, "/var/log/syslog": other + ours})
    log, _gaps = collect(system, {"logfile": "", "syslog_enabled": "yes", "syslog_ident": "redis"})
    assert (log["source"], log["path"], names(log)) == ("syslog", "/var/log/syslog", ["fork_failed"])
    assert log["events"][0]["pid"] == 12
    assert log["kept"] is True


def test_a_file_that_may_not_be_read_is_a_gap(tmp_path):
    system = made_system(tmp_path, {"/var/log/redis.log": LINE})

    if os.geteuid() == 0:
        (tmp_path / "var/log/redis.log").unlink()
        (tmp_path / "var/log/redis.log").mkdir()
    else:
        (tmp_path / "var/log/redis.log").chmod(0)
    log, gaps = collect(system, {"logfile": "/var/log/redis.log"}, pid=None)
    assert log["available"] is False
    assert log["path"] == "/var/log/redis.log"
    assert len(gaps) == 1


def test_a_pipe_named_as_the_log_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    began = time.monotonic()
    log, _gaps = collect(made_system(tmp_path, {}), {"logfile": "/fifo"}, pid=None)
    assert time.monotonic() - began < 2
    assert "regular file" in log["reason"]


@pytest.mark.parametrize("name", ["redis.log.1", "redis.log-20261121", "redis-20261121.log", "redis.log.1.gz"])
def test_the_rotated_neighbour_is_read_where_the_log_has_no_success(tmp_path, name):
    system = made_system(tmp_path, {"/log/redis.log": LINE, "/log/other.log.1": SUCCESS * 5})
    path = tmp_path / "log" / name
    path.write_bytes(gzip.compress(SUCCESS.encode()) if name.endswith(".gz") else SUCCESS.encode())
    log, _gaps = collect(system, {"logfile": "/log/redis.log"}, pid=None)
    assert names(log) == ["save_succeeded", "save_failed"]
    assert log["oldest_unix"] == 1795377662.286


def test_the_rotated_neighbour_stands_in_for_a_log_that_is_gone_or_empty(tmp_path):
    system = made_system(tmp_path, {"/log/redis.log.1": LINE})
    assert names(collect(system, {"logfile": "/log/redis.log"}, pid=None)[0]) == ["save_failed"]
    (tmp_path / "log/redis.log").write_text("")
    assert names(collect(system, {"logfile": "/log/redis.log"}, pid=None)[0]) == ["save_failed"]


def test_the_rotated_neighbour_is_left_alone_where_the_log_reaches_a_success(tmp_path):
    system = made_system(tmp_path, {"/log/redis.log": SUCCESS + LINE, "/log/redis.log.1": LINE * 9})
    assert names(collect(system, {"logfile": "/log/redis.log"}, pid=None)[0]) == ["save_succeeded", "save_failed"]


def test_a_damaged_compressed_neighbour_is_passed_over(tmp_path):
    system = made_system(tmp_path, {"/log/redis.log": LINE})
    (tmp_path / "log/redis.log.1.gz").write_bytes(gzip.compress(SUCCESS.encode())[:-12] + b"xx")
    assert names(collect(system, {"logfile": "/log/redis.log"}, pid=None)[0]) == ["save_failed"]


def test_levels_that_hide_lines_are_gaps(tmp_path):
    system = made_system(tmp_path, {"/redis.log": LINE})
    log, gaps = collect(system, {"logfile": "/redis.log", "loglevel": "warning"}, pid=None)
    assert (log["kept"], gaps[0]["why"]) == (True, "loglevel is warning")
    log, gaps = collect(system, {"logfile": "/redis.log", "loglevel": "nothing"}, pid=None)
    assert log["kept"] is False


# --- bounds


def new_parser():
    return RedisLogParser(LogTimes(None, NOW_UNIX))


def test_ten_gigabytes_cost_little(tmp_path):
    path = tmp_path / "log"
    with path.open("wb") as handle:
        handle.truncate(10 * 1024**3)
        handle.seek(0, os.SEEK_END)
        handle.write((NOISE * 100 + LINE).encode() * 30)
    reading = read_tail(str(path), new_parser, 2 * 1024 * 1024)
    assert reading.size_bytes > 10 * 1024**3
    assert reading.read_bytes <= 2 * 1024 * 1024 + 128 * 1024
    assert len(reading.events) == 30
    assert reading.complete is False


def test_without_a_save_four_times_the_limit_is_read_and_no_more(tmp_path):
    limit = 128 * 1024
    path = tmp_path / "log"
    path.write_text(LINE * 3 + NOISE * 50000)
    reading = read_tail(str(path), new_parser, limit)
    assert reading.read_bytes == 4 * limit
    assert reading.events == []
    path.write_text(LINE * 3 + NOISE * 4000)
    reading = read_tail(str(path), new_parser, limit)
    assert len(reading.events) == 3
    assert reading.complete is True


def test_pieces_join_without_losing_or_doubling_a_line(tmp_path):
    path = tmp_path / "log"
    lines = [
        f"12:M 22 Nov 2026 21:00:{number // 10:02d}.{number % 10}00 # Background saving terminated by signal {number}\n"
        for number in range(450)
    ]
    for padding in (1000, 1013, 1999):
        path.write_text("".join(line + NOISE * (padding // 75) for line in lines))
        reading = read_tail(str(path), new_parser, 64 * 1024 * 1024)
        assert [event["text"] + "\n" for event in reading.events] == lines


def test_at_most_500_of_the_newest_events_are_kept(tmp_path):
    system = made_system(tmp_path, {"/redis.log": LINE * 700 + SUCCESS})
    log, _gaps = collect(system, {"logfile": "/redis.log"}, pid=None)
    assert len(log["events"]) == 500
    assert log["truncated"] is True
    assert names(log)[-1] == "save_succeeded"


def test_lines_without_end_and_bytes_that_are_no_text(tmp_path):
    path = tmp_path / "log"
    path.write_bytes(b"x" * (3 * 1024 * 1024) + b"\n\xff\xfe\0\0" + LINE.encode())
    reading = read_tail(str(path), new_parser, 2 * 1024 * 1024)
    assert reading.events == []
    path.write_bytes(b"\0" * 70000 + LINE.encode() + b"\xff\n" + LINE.encode())
    assert len(read_tail(str(path), new_parser, 2 * 1024 * 1024).events) == 2


def test_lines_that_belong_to_an_event_come_with_it():
    stack = b"------ STACK TRACE ------\n" + b"frame\n" * 300
    assert lines_of_interest(b"noise\n" + stack).count(b"frame") == 200
    assert lines_of_interest(b"noise\nmore noise\n") == b""
