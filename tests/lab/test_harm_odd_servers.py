# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One odd server (rule 8): whatever it answers, the good one beside it is diagnosed and put right, in bounded time."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import socket
import subprocess
import sys
import threading
import time
import typing as t
from pathlib import Path

import pytest

from .bench import Bench, is_root
from .faults import fails
from .judging import instance_of
from .remediation import HOST, remediate, run, variables_for
from .servers import KINDS, Server, ServerKind

pytestmark = pytest.mark.lab

TIMEOUT_SECONDS = 3.0
MIB = 1024 * 1024
MEMORY_LIMIT_BYTES = 300 * MIB
"""What one look may take at most, whatever is sent; a look at a good server takes a tenth of it."""

Behaviour = t.Callable[[socket.socket, bytes], "bytes | None"]


def info(**changes: str) -> bytes:
    fields = {
        "redis_version": "7.0.15",
        "run_id": "0" * 40,
        "loading": "0",
        "rdb_last_bgsave_status": "ok",
        "rdb_changes_since_last_save": "1",
        "rdb_bgsave_in_progress": "0",
        "rdb_last_save_time": "1700000000",
        "role": "master",
        **changes,
    }
    text = "# Server\r\n" + "".join(f"{name}:{value}\r\n" for name, value in fields.items())
    return bulk(text.encode())


def bulk(data: bytes) -> bytes:
    return b"$%d\r\n%s\r\n" % (len(data), data)


def answers(**replies: bytes) -> Behaviour:
    """``info`` and ``config``: what to say to each."""

    def behave(connection: socket.socket, asked: bytes) -> bytes | None:
        if b"INFO" in asked.upper():
            return replies.get("info", info())
        return replies.get("config", b"*0\r\n")

    return behave


def endless(head: bytes, piece: bytes) -> Behaviour:
    def behave(connection: socket.socket, asked: bytes) -> bytes | None:
        connection.sendall(head)
        while True:
            connection.sendall(piece)

    return behave


def drip(connection: socket.socket, asked: bytes) -> bytes | None:
    for byte in info():
        connection.sendall(bytes([byte]))
        time.sleep(0.5)
    return b""


def silence(connection: socket.socket, asked: bytes) -> bytes | None:
    time.sleep(120)
    return None


def half(connection: socket.socket, asked: bytes) -> bytes | None:
    connection.sendall(info()[:100])
    return None


NINES = "9" * 400
ODD: dict[str, Behaviour] = {
    "number of 400 digits": answers(info=info(rdb_last_save_time=NINES, uptime_in_seconds=NINES, process_id=NINES)),
    "all numbers of 400 digits": answers(
        info=info(
            **dict.fromkeys(
                ("used_memory", "used_memory_rss", "rdb_last_cow_size", "latest_fork_usec", "maxmemory", "db0"), NINES
            ),
            rdb_changes_since_last_save="-" + NINES,
        )
    ),
    "no numbers": answers(
        info=info(rdb_last_save_time="nan", used_memory="inf", uptime_in_seconds="1e999", process_id="-0", loading="-0")
    ),
    "numbers of 19 and 20 digits": answers(
        info=info(
            rdb_last_save_time="9" * 19, used_memory="9" * 20, uptime_in_seconds="-" + "9" * 19, db0="keys=" + NINES
        )
    ),
    "version of 5000 digits": answers(info=info(redis_version="9" * 5000)),
    "endless text": endless(b"$8000000000\r\n", b"x" * MIB),
    "endless line": endless(b"+", b"x" * MIB),
    "endless array": endless(b"*2000000000\r\n", b"$1\r\nx\r\n" * 100_000),
    "length of 2^63": answers(info=b"$9223372036854775808\r\nx"),
    "negative length": answers(info=b"$-7\r\nx\r\n"),
    "length of 5000 digits": answers(info=b"$" + b"9" * 5000 + b"\r\n"),
    "nested arrays": answers(info=b"*1\r\n" * 300_000),
    "nested arrays for CONFIG": answers(config=b"*1\r\n" * 100_000),
    "a million lines": answers(info=bulk(b"redis_version:7.0.15\r\n" + b"x:1\r\n" * 1_000_000)),
    "CONFIG of 10000 entries": answers(config=b"*20000\r\n" + b"$3\r\nabc\r\n" * 20_000),
    "control characters": answers(
        info=info(os="\x1b[2J\x1b]0;title\x07", master_host="a\x00b", redis_mode="\u202e", **{"db\x1b[31m": "keys=1"})
    ),
    "pages of text": answers(info=info(os="x" * 1_000_000, maxmemory_policy="y" * 1_000_000)),
    "a drip": drip,
    "silence": silence,
    "loading for ever": answers(info=b"-LOADING Redis is loading the dataset in memory\r\n"),
    "end in mid-reply": half,
    "a push message": answers(info=b">3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\nb\r\n" + info()),
    "a null": answers(info=b"$-1\r\n"),
    "an array": answers(info=b"*1\r\n$1\r\nx\r\n"),
    "an integer": answers(info=b":" + b"9" * 5000 + b"\r\n"),
}


class OddServer:
    """A listener of this process that behaves as it is told."""

    def __init__(self, behave: Behaviour) -> None:
        self._behave = behave
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.address = f"127.0.0.1:{self.port}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _address = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            while True:
                asked = connection.recv(65536)
                reply = self._behave(connection, asked) if asked else None
                if reply is None:
                    return
                connection.sendall(reply)

    def close(self) -> None:
        # The thread in accept() wakes with it.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


@pytest.fixture
def odd_servers() -> t.Iterator[dict[str, OddServer]]:
    servers = {name: OddServer(behave) for name, behave in ODD.items()}
    yield servers
    for server in servers.values():
        server.close()


@pytest.fixture
def good(bench_of: t.Callable[[ServerKind], Bench]) -> Server:
    """A real server whose directory is closed to it."""
    if not is_root():
        pytest.skip("needs root")
    bench = bench_of([kind for kind in KINDS if kind.binary][-1])
    server = bench.start()
    server.directory.chmod(0o555)
    fails(server)
    return server


LOOK = """
import json, resource, sys
from ansible_collections.redisops.persistence.plugins.module_utils import _redis_facts
from ansible_collections.redisops.persistence.plugins.module_utils._client import ConnectionOptions
from ansible_collections.redisops.persistence.plugins.module_utils._runner import CommandRunner
from ansible_collections.redisops.persistence.plugins.module_utils._system import Gaps, System

options = ConnectionOptions(login_port=int(sys.argv[1]), timeout_seconds=float(sys.argv[2]))
result = _redis_facts.collect_redis(options, System(runner=CommandRunner()), Gaps(), prefer=sys.argv[3])
peak = [resource.getrusage(who).ru_maxrss * 1024 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
json.dump({"connection": result["connection"], "peak_bytes": peak, "size": len(json.dumps(result))}, sys.stdout)
"""


@pytest.mark.harm
@pytest.mark.parametrize("client", ["redis-py", "redis-cli"])
@pytest.mark.parametrize("name", ODD)
def test_one_look_is_bounded(name: str, client: str) -> None:
    """In seconds and in memory; the rest of the machine is out of its reach (a limit stands in for it)."""
    server = OddServer(ODD[name])
    began = time.monotonic()
    try:
        done = subprocess.run(
            [sys.executable, "-c", LOOK, str(server.port), str(TIMEOUT_SECONDS), client],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env={**os.environ, "PYTHONPATH": os.environ["ANSIBLE_COLLECTIONS_PATH"]},
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (2048 * MIB, 2048 * MIB)),
        )
    finally:
        server.close()
    seconds = time.monotonic() - began
    assert done.returncode == 0, done.stderr[-2000:]
    seen = json.loads(done.stdout)
    assert seconds < 2 * TIMEOUT_SECONDS + 3, (seconds, seen)
    assert max(seen["peak_bytes"]) < MEMORY_LIMIT_BYTES, seen
    assert seen["size"] < MIB, seen["size"]


@pytest.mark.harm
def test_the_good_one_is_diagnosed(good: Server, odd_servers: dict[str, OddServer], tmp_path: Path) -> None:
    instances = [instance_of(server) for server in odd_servers.values()]  # type: ignore[arg-type]
    variables = variables_for(tmp_path, [good], diagnose_timeout_seconds=TIMEOUT_SECONDS)
    variables["redis_instances"] = [*instances[:10], instance_of(good), *instances[10:]]
    variables["diagnose_report_dir"] = str(tmp_path / "report")
    began = time.monotonic()
    done = run(tmp_path, {HOST: variables}, playbook="redisops.persistence.diagnose")
    seconds = time.monotonic() - began
    assert done.code == 0, done.output[-3000:]
    documents = {document["instance"]["address"]: document for document in done.entry["instances"]}
    assert (documents[good.address]["cause"] or {}).get("id") == "dir_permission_denied"
    assert {server.address for server in odd_servers.values()} <= set(documents)
    assert "\x1b[2J" not in done.output
    assert seconds < 60, seconds


@pytest.mark.harm
def test_the_good_one_is_remediated(good: Server, odd_servers: dict[str, OddServer], tmp_path: Path) -> None:
    servers = [*odd_servers.values(), good]
    began = time.monotonic()
    variables = {"redis_instances": [instance_of(server) for server in servers]}  # type: ignore[arg-type]
    done = remediate(tmp_path, [good], remediate_timeout_seconds=TIMEOUT_SECONDS, **variables)
    seconds = time.monotonic() - began
    assert done.results()[good.address] == "cured", done.story(good.address)
    assert {server.address for server in servers} <= set(done.documents)
    assert seconds < 180, seconds
