# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A cure must not take the server down: a save while clients write, with less memory left than its copies take."""

from __future__ import annotations

import subprocess
import sys
import typing as t
from pathlib import Path

import pytest

from .attempts import sent_no
from .bench import Bench, missing_need
from .faults import MIB, fails
from .remediation import remediate
from .remedies import OPT_IN, VALUES
from .servers import KINDS, Server, ServerKind, process_state, until
from .snapshot import RECORDING, forget_commands

pytestmark = pytest.mark.lab

VALUE_BYTES = 150_000
VALUES_COUNT = 2000
LEFT_BYTES = 45 * MIB
LOAD_SECONDS = 300
SLOW_MICROSECONDS = 3000
REWRITE = """
import socket, sys, time
port, value_bytes, count, seconds = map(int, sys.argv[1:])
connection = socket.create_connection(("127.0.0.1", port))
value, end, number = b"x" * value_bytes, time.monotonic() + seconds, 0
while time.monotonic() < end:
    commands = b""
    for _ in range(8):
        key = b"key:%d" % (number % count)
        commands += b"*4\\r\\n$8\\r\\nSETRANGE\\r\\n$%d\\r\\n%s\\r\\n$1\\r\\n0\\r\\n" % (len(key), key)
        commands += b"$%d\\r\\n%s\\r\\n" % (value_bytes, value)
        number += 1
    connection.sendall(commands)
    answers = b""
    while answers.count(b"\\n") < 8:
        answer = connection.recv(4096)
        if not answer:
            sys.exit("the server closed the connection")
        answers += answer
    time.sleep(0.005)
"""
"""Rewrites every value in place, again and again, for a bounded time: it costs the server no memory."""


@pytest.fixture(params=["default policy", "everything opted in"])
def asked(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, t.Any]:
    """The variables of an operator; with more memory for the group no save would be deadly."""
    if request.param == "default policy":
        return {}
    opted_in = [fix for fix in (*OPT_IN, "verify", "oom_score") if fix != "cgroup_memory"]
    return {"remediate_opt_in": opted_in, "remediate_rescue_dir": str(tmp_path), **VALUES}


def start_tight(bench: Bench) -> Server:
    """A server of 300 MB whose saves fail, whose writes go on, and whose control group has 45 MiB left."""
    bench.config.update(RECORDING)
    group = bench.cgroup("memory")
    config = {"stop-writes-on-bgsave-error": "no", "oom-score-adj": "no", "save": "3600 1"}
    server = bench.start(cgroups=[group.path], config=config, keys=VALUES_COUNT, value_bytes=VALUE_BYTES)
    bench.chmod(server.directory, 0o555)
    fails(server)
    group.set_memory_limit(group.memory_usage() + LEFT_BYTES)
    return server


def rewrite_values(bench: Bench, server: Server) -> subprocess.Popen[bytes]:
    """Clients that write 1 GB/s at most; ended with the bench."""
    words = [str(number) for number in (server.port, VALUE_BYTES, VALUES_COUNT, LOAD_SECONDS)]
    load = subprocess.Popen([sys.executable, "-c", REWRITE, *words], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)

    def end() -> None:
        load.kill()
        load.communicate()

    bench.exit.callback(end)
    until(lambda: float(server.info("stats")["instantaneous_input_kbps"]) > 50_000, "nobody writes")
    return load


@pytest.mark.harm
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.id)
def test_no_save_kills_a_server_that_is_written_to(
    kind: ServerKind, bench_of: t.Callable[[ServerKind], Bench], tmp_path: Path, asked: dict[str, t.Any]
) -> None:
    bench = bench_of(kind)
    reason = missing_need("root") or missing_need("cgroup:memory")
    if reason:
        pytest.skip(reason)
    server = start_tight(bench)
    # A disk that takes its time.
    server.slow_child(SLOW_MICROSECONDS)
    load = rewrite_values(bench, server)
    pid = server.pid
    forget_commands(server)
    done = remediate(tmp_path, [server], **asked)
    story = done.story(server.address)
    assert process_state(pid) not in (None, "Z"), f"the server was killed: {story}"
    assert load.poll() is None, story
    sent_no(server, "bgsave")(done)
    plan = {fix["id"]: fix for fix in done.documents[server.address]["plan"]}
    assert plan["verify"]["decision"] == "refuse", story
    assert "MiB are left" in plan["verify"]["reason"], story


@pytest.mark.harm
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.id)
def test_little_room_is_enough_where_nobody_writes(
    kind: ServerKind, bench_of: t.Callable[[ServerKind], Bench], tmp_path: Path
) -> None:
    bench = bench_of(kind)
    reason = missing_need("root") or missing_need("cgroup:memory")
    if reason:
        pytest.skip(reason)
    server = start_tight(bench)
    # The filling is over, and is part of no save: what was written before the fork costs nothing.
    server.directory.chmod(0o755)
    assert server.bgsave_and_wait() == "ok"
    server.directory.chmod(0o555)
    fails(server)
    until(lambda: float(server.info("stats")["instantaneous_input_kbps"]) < 100, "the filling does not end")
    done = remediate(tmp_path, [server])
    assert done.results() == {server.address: "cured"}, done.story(server.address)
