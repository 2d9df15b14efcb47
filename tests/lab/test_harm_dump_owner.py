# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An ordinary dump is its server's own, without a false alarm; what may be another's or another content is not."""

from __future__ import annotations

import os
import time
import typing as t

import pytest

from .bench import Bench, is_root
from .faults import fails, saves
from .judging import gather, judge
from .servers import KINDS, Server, ServerKind, until

pytestmark = pytest.mark.lab


def saved(bench: Bench) -> Server:
    return saves(bench.start())


def saved_in_foreground(bench: Bench) -> Server:
    server = bench.start()
    server.call("SAVE")
    return server


def saved_then_failed(bench: Bench) -> Server:
    server = saves(bench.start())
    os.chown(server.directory, 0, 0)
    server.directory.chmod(0o555)
    return fails(server)


def saved_slowly(bench: Bench) -> Server:
    server = bench.start(keys=30)
    server.slow_child(100_000)
    saves(server)
    server.fast_child()
    return server


def touched(bench: Bench) -> Server:
    server = saves(bench.start())
    time.sleep(1.2)
    server.dump.chmod(0o600)
    os.link(server.dump, server.directory / "kept.rdb")
    return server


def restarted(bench: Bench, **options: t.Any) -> Server:
    server = saves(bench.start(**options))
    time.sleep(1.2)
    server.stop()
    return server.start()


def restarted_without_log(bench: Bench) -> Server:
    return restarted(bench, log="nowhere")


def restarted_then_failed_and_touched(bench: Bench) -> Server:
    server = restarted(bench)
    time.sleep(2)
    os.chown(server.dump, 0, 0)
    os.chown(server.directory, 0, 0)
    return fails(server)


def from_backup(bench: Bench) -> Server:
    """A backup that was put there before the start, and was loaded."""
    server = saves(bench.start())
    server.stop()
    content = server.dump.read_bytes()
    server.dump.unlink()
    server.dump.write_bytes(content)
    bench.own(server.dump, server)
    return server.start()


def synced_without_a_save(bench: Bench) -> Server:
    """Its own save, then a master's data in memory, and nothing of that in the file. It is a master again."""
    server = saves(bench.start(keys=50))
    kept = server.dump.read_bytes()
    times = server.dump.stat()
    master = bench.start(keys=50)
    time.sleep(1.2)
    server.call("CONFIG", "SET", "repl-diskless-load", "swapdb")
    master.call("CONFIG", "SET", "repl-diskless-sync", "yes")
    master.call("CONFIG", "SET", "repl-diskless-sync-delay", "0")
    server.call("REPLICAOF", "127.0.0.1", master.port)
    until(lambda: server.info("replication")["master_link_status"] == "up", "the replica does not sync")
    server.call("REPLICAOF", "NO", "ONE")
    assert (server.dump.read_bytes(), server.dump.stat().st_ctime) == (kept, times.st_ctime)
    return server


def beside_an_aof(bench: Bench) -> Server:
    """The earlier process's save; this one has loaded its AOF."""
    server = saves(bench.start(config={"appendonly": "yes"}))
    time.sleep(1.2)
    server.stop()
    return server.start()


def flushed(bench: Bench) -> Server:
    """It writes the empty dump itself."""
    server = saves(bench.start())
    server.call("FLUSHALL")
    return server


def received(bench: Bench) -> Server:
    server = bench.start(keys=0)
    master = bench.start(keys=50)
    server.call("REPLICAOF", "127.0.0.1", master.port)
    until(lambda: server.info("replication")["master_link_status"] == "up", "the replica does not sync")
    return server


OWN: tuple[t.Callable[[Bench], Server], ...] = (
    saved,
    saved_in_foreground,
    saved_then_failed,
    saved_slowly,
    restarted,
    restarted_without_log,
    from_backup,
    flushed,
    received,
    touched,
    restarted_then_failed_and_touched,
)


@pytest.mark.parametrize("arrange", OWN, ids=lambda arrange: arrange.__name__)
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.id)
def test_an_ordinary_dump_is_its_servers_own(
    kind: ServerKind, arrange: t.Callable[[Bench], Server], bench_of: t.Callable[[ServerKind], Bench]
) -> None:
    if not is_root():
        pytest.skip("needs root")
    bench = bench_of(kind)
    server = arrange(bench)
    document = judge(gather([server]))[0]
    # Redis 6.2 does not count what it loads: without a log nothing shows that it has loaded this file.
    uncounted = arrange is restarted_without_log and kind.version < (7, 0)
    owner = "unknown" if uncounted else "own"
    assert (document["dump"]["owner"], document["dump"]["much_larger"]) == (owner, False), document["dump"]
    assert ("dump_not_ours" in [risk["id"] for risk in document["risks"]]) is uncounted


NOT_SHOWN: tuple[t.Callable[[Bench], Server], ...] = (
    synced_without_a_save,
    beside_an_aof,
)


@pytest.mark.parametrize("arrange", NOT_SHOWN, ids=lambda arrange: arrange.__name__)
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.id)
def test_what_may_have_another_content_is_not_called_its_own(
    kind: ServerKind, arrange: t.Callable[[Bench], Server], bench_of: t.Callable[[ServerKind], Bench]
) -> None:
    if not is_root():
        pytest.skip("needs root")
    server = arrange(bench_of(kind))
    document = judge(gather([server]))[0]
    assert (document["dump"]["owner"], document["dump"]["much_larger"]) == ("unknown", False), document["dump"]
    assert "dump_not_ours" in [risk["id"] for risk in document["risks"]]
