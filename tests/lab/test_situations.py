# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is said besides the verdict, on real servers: the forecast against the next save, writes, commands that cure."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
import typing as t

import pytest

from .bench import Bench
from .faults import MIB, fails, fill_up, saves
from .judging import Document, at_least, cause_ids, explain, gather, judge
from .resp import ReplyError
from .servers import Server, until
from .test_faults import require

pytestmark = pytest.mark.lab

# A zone that is a whole number of quarters of an hour from UTC, and not of hours.
FAR_ZONE = "Asia/Kathmandu"


def diagnosis(bench: Bench, server: Server | None = None) -> Document:
    return judge(gather([server or bench.server]))[0]


def risk_ids(document: Document) -> set[str]:
    return {risk["id"] for risk in document["risks"]}


def commands(document: Document, fix_id: str) -> list[str]:
    return [command for fix in document["fixes"] if fix["id"] == fix_id for command in fix["commands"]]


def foretold(bench: Bench, allowed: t.Collection[str]) -> None:
    """The forecast is one of those, and the save that follows doesn't prove it wrong."""
    document = diagnosis(bench)
    said = document["forecast"]["answer"]
    assert said in allowed, explain(document)
    status = bench.server.bgsave_and_wait()
    assert said != {"ok": "will_fail", "err": "will_succeed"}[status], (said, status)


def hot_counter(bench: Bench) -> None:
    """Much in memory, little in the dump, and one key that changes all the time."""
    server = bench.start_on_tmpfs("size=6m", config={"rdbcompression": "yes"}, keys=1)
    server.connection.call_many(("SET", f"text:{number}", b"abcdefgh" * 2000) for number in range(600))
    saves(server)
    server.connection.call_many(("INCR", "counter") for _number in range(2000))


def few_large_values(bench: Bench) -> None:
    """Three changes bring more than all that was there before."""
    server = bench.start_on_tmpfs("size=10m", config={"rdbcompression": "yes"}, keys=2000, value_bytes=500)
    saves(server)
    for number in range(3):
        server.call("SET", f"large:{number}", os.urandom(6 * MIB))


def mostly_deleted(bench: Bench) -> None:
    server = saves(bench.start_on_tmpfs("size=10m", keys=6000, value_bytes=1000))
    server.call("DEL", *[f"key:{number}" for number in range(5900)])


@pytest.mark.parametrize(
    ("arrange", "allowed"),
    [
        (hot_counter, ("will_succeed", "unknown")),
        (few_large_values, ("will_fail", "unknown")),
        (mostly_deleted, ("will_succeed",)),
    ],
)
def test_the_next_dump_is_foretold(arrange: t.Callable[[Bench], None], allowed: tuple[str, ...], bench: Bench) -> None:
    require(("root",))
    arrange(bench)
    foretold(bench, allowed)


def test_a_dump_on_a_tmpfs_is_charged_to_the_group(bench: Bench) -> None:
    require(("root", "cgroup:memory"))
    group = bench.cgroup("memory")
    server = bench.start_on_tmpfs(
        "size=200m", cgroups=[group.path], config={"oom-score-adj": "yes"}, keys=20_000, value_bytes=2000
    )
    saves(server).fill(1, prefix="more")
    group.set_memory_limit(group.memory_usage() + 20 * MIB)
    document = diagnosis(bench)
    assert document["forecast"]["answer"] == "will_fail", explain(document)
    assert document["forecast"]["cause"] == "child_oom_killed_cgroup", document["forecast"]


def test_a_save_by_hand_is_no_failed_fork(bench: Bench) -> None:
    server = bench.start(log="nowhere")
    for number in range(3):
        server.fill(1, prefix=f"more{number}").call("SAVE")
    bench.chmod(server.directory, 0o555)
    fails(server)
    document = diagnosis(bench)
    assert cause_ids(document) == ["dir_permission_denied"], explain(document)
    assert document["cause"]["confidence"] == "probable", explain(document)


def test_the_log_of_a_server_in_another_time_zone(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", FAR_ZONE)
    server = bench.start()
    monkeypatch.delenv("TZ")
    bench.chmod(server.directory, 0o555)
    fails(server)
    evidence = gather([server])
    assert abs(evidence["instances"][0]["redis_log"]["newest_unix"] - time.time()) < 60
    document = judge(evidence)[0]
    assert at_least(document["cause"]["confidence"], "confirmed"), explain(document)


def test_writes_that_the_aof_blocks(bench: Bench) -> None:
    """No save has failed, and yet nobody can write; stop-writes-on-bgsave-error has nothing to do with it."""
    require(("root",))
    server = saves(bench.start_on_tmpfs("size=2m", config={"appendonly": "yes"}))
    fill_up(server.directory)

    def refused() -> bool:
        with contextlib.suppress(ReplyError):
            server.call("SET", "more", os.urandom(2000))
        return server.refuses_writes()

    until(refused, "the AOF can still be written")
    document = diagnosis(bench)
    assert document["writes_blocked"] is True, explain(document)
    assert "aof_write_error" in risk_ids(document)
    decisions = {fix["id"]: fix["decision"] for fix in document["fixes"]}
    assert decisions["emergency_unblock"] == "refuse", decisions


def test_a_start_hides_what_failed_before_it(bench: Bench) -> None:
    server = bench.start()
    bench.chmod(server.directory, 0o555)
    fails(server)
    server.directory.chmod(0o755)
    server.stop()
    # The two processes must not overlap by the second to which /proc tells a start.
    time.sleep(3)
    server.start()
    server.fill(1, prefix="more")
    document = diagnosis(bench)
    assert document["status"] == "ok", explain(document)
    assert "failed_before_restart" in risk_ids(document)
    assert document["exposure"]["since_start"] is True
    saves(server)
    document = diagnosis(bench)
    assert "failed_before_restart" not in risk_ids(document)
    assert document["exposure"]["since_start"] is False


def test_a_replica_that_cannot_save_does_not_recover(bench: Bench) -> None:
    """From 7.0 on the next write of its master ends it."""
    master = bench.start(config={"repl-diskless-sync-delay": "0"})
    replica = bench.start()
    replica.call("REPLICAOF", "127.0.0.1", master.port)
    until(lambda: replica.info("replication")["master_link_status"] == "up", "the replica does not follow")
    until(lambda: replica.info()["rdb_bgsave_in_progress"] == "0", "the replica still saves")
    bench.chmod(replica.directory, 0o555)
    fails(replica)
    document = diagnosis(bench, replica)
    assert cause_ids(document) == ["dir_permission_denied"], explain(document)
    ends = bench.kind.at_least(7)
    assert document["writes_blocked"] is ends
    assert document["recovery"]["will_retry"] is (None if ends else True), document["recovery"]
    severities = {risk["id"]: risk["severity"] for risk in document["risks"]}
    assert severities.get("replica_write_panic") == ("critical" if ends else None)
    master.fill(1, prefix="more")
    assert replica.process is not None
    if ends:
        replica.process.wait(10)
    else:
        until(lambda: replica.call("GET", "more:0"), "the write does not arrive")


def test_a_slow_transfer_to_a_replica_is_no_stuck_save(bench: Bench) -> None:
    master = saves(bench.start(config={"repl-diskless-sync": "yes", "repl-diskless-sync-delay": "0"}))
    master.fill(200, prefix="more").slow_child()
    replica = bench.start()
    replica.call("REPLICAOF", "127.0.0.1", master.port)
    master.child()
    evidence = gather([master])
    # Nobody waits for a minute and a half here.
    evidence["instances"][0]["redis"]["info"]["rdb_current_bgsave_time_sec"] = 90
    document = judge(evidence)[0]
    assert document["state"] == "healthy", explain(document)


def test_the_commands_for_a_directory_that_only_the_server_sees(bench: Bench) -> None:
    """A container's /data is not the host's /data: the commands as shown cure the one and leave the other."""
    require(("root",))
    server = bench.new()
    place = server.directory
    owner = f"uid={server.uid},gid={server.uid}"
    server.enter = f'mount -t tmpfs -o size=20m,mode=0755,{owner} tmpfs "{place}"\ncd "{place}"'
    server.start()
    server.fill()
    subprocess.run(["nsenter", f"--target={server.pid}", "--mount", "chown", "0:0", str(place)], check=True)
    before = place.stat()
    fails(server)
    for command in commands(diagnosis(bench), "data_dir"):
        subprocess.run(command, shell=True, check=True)
    saves(server)
    assert place.stat() == before


def test_nothing_is_given_away_below_a_mount_that_covers_it(bench: Bench) -> None:
    """What lies hidden there is reached by no path; the mount is the trouble."""
    require(("root",))
    server = bench.start()
    os.chown(server.directory, 0, 0)
    bench.tmpfs(server.directory, "size=10m")
    before = server.directory.stat()
    fails(server)
    document = diagnosis(bench)
    assert cause_ids(document) == ["dir_permission_denied"], explain(document)
    assert "covered_directory" in risk_ids(document)
    (fix,) = [fix for fix in document["fixes"] if fix["id"] == "data_dir"]
    assert (fix["decision"], fix["commands"]) == ("refuse", []), fix
    assert "A mount covers the directory" in fix["reason"]
    assert not [command for fix in document["fixes"] for command in fix["commands"] if "chown" in command]
    assert server.directory.stat() == before


def test_a_full_directory_that_a_mount_covers(bench: Bench) -> None:
    """What df shows of the path has room; the command that is given shows the file system that is full."""
    require(("root",))
    server = bench.start_on_tmpfs("size=1m", keys=3)
    fill_up(server.directory)
    bench.tmpfs(server.directory, "size=50m", server)
    fails(server)
    document = diagnosis(bench)
    assert cause_ids(document) == ["disk_full"], explain(document)
    shown = next(command for command in commands(document, "manual") if command.startswith("stat -f "))
    answer = subprocess.run(shown, shell=True, check=True, capture_output=True, text=True).stdout
    assert "Total: 256" in answer, answer


def test_a_script_that_runs_is_told(bench: Bench) -> None:
    """A server in a script answers, and refuses: what it says is shown."""
    server = bench.start(config={"lua-time-limit": "100"})
    server.connection.send("EVAL", "while true do end", "0")
    server.reconnect()

    def refuses() -> bool:
        try:
            server.info()
        except ReplyError as error:
            return str(error).startswith("BUSY")
        return False

    until(refuses, "the script does not run")
    document = diagnosis(bench)
    assert document["state"] == "unreachable", explain(document)
    evidence = [line for step in document["path"] for line in step["evidence"]]
    assert any("BUSY" in str(line["value"]) for line in evidence), evidence
    with contextlib.suppress(ReplyError):
        server.call("SCRIPT", "KILL")
