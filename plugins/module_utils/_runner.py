# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""The real machine as a :class:`System`: commands run with a bound on their time, their output and their memory."""

from __future__ import annotations

import contextlib
import os
import resource
import selectors
import signal
import subprocess
import time
import typing as t

from ansible_collections.redisops.persistence.plugins.module_utils._system import CommandResult, System, to_utf8

if t.TYPE_CHECKING:  # pragma: no cover
    from ansible.module_utils.basic import AnsibleModule

TIMED_OUT = 124
SAID_TOO_MUCH = 125
NOT_INSTALLED = 127
OUTPUT_LIMIT_BYTES = 32 * 1024 * 1024
PIECE_BYTES = 64 * 1024
GRACE_SECONDS = 1.0
"""Between the request to end and the order."""

OWN_MEMORY_BYTES = 1024 * 1024 * 1024
"""What a module may take beyond what it has at its start: more is a mistake of ours, and not the host's to pay for."""

CLIENTS = ("redis-cli", "valkey-cli", "keydb-cli")
CLIENT_MEMORY_BYTES = 256 * 1024 * 1024
"""These keep a whole reply in memory before they print any of it."""


class CommandRunner:
    """Runs commands; safe to use from several threads. ``memory_limit``: (soft, hard) RLIMIT_DATA of its commands."""

    def __init__(self, memory_limit: tuple[int, int] | None = None) -> None:
        self._memory_limit = memory_limit or resource.getrlimit(resource.RLIMIT_DATA)

    def __call__(
        self, argv: list[str], environment: dict[str, str], timeout_seconds: float, stdin: str | None
    ) -> CommandResult:
        deadline = time.monotonic() + max(timeout_seconds, 0.1)
        try:
            process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env={**os.environ, "LC_ALL": "C", **environment},
                start_new_session=True,
            )
        except OSError as error:
            return CommandResult(NOT_INSTALLED, "", f"{argv[0]}: {error.strerror or error}")
        try:
            self._limit_memory(process.pid, argv[0])
            data = b"" if stdin is None else stdin.encode("utf-8", errors="surrogateescape")
            rc, output, errors = _converse(process, data, deadline)
        finally:
            _end(process)
        return CommandResult(rc, to_utf8(output), to_utf8(errors))

    def _limit_memory(self, pid: int, program: str) -> None:
        soft, hard = self._memory_limit
        if os.path.basename(program) in CLIENTS:
            soft = CLIENT_MEMORY_BYTES if hard == resource.RLIM_INFINITY else min(CLIENT_MEMORY_BYTES, hard)
        with contextlib.suppress(OSError, ValueError):
            resource.prlimit(pid, resource.RLIMIT_DATA, (soft, hard))


def _converse(process: subprocess.Popen[bytes], data: bytes, deadline: float) -> tuple[int, bytes, bytes]:
    """(exit code, output, errors), the code being one of ours where it was not let go on."""
    said: dict[t.Any, bytearray] = {process.stdout: bytearray(), process.stderr: bytearray()}

    def result(code: int, more: bytes = b"") -> tuple[int, bytes, bytes]:
        return code, bytes(said[process.stdout]), bytes(said[process.stderr]) + more

    with selectors.DefaultSelector() as selector:
        for stream in said:
            selector.register(stream, selectors.EVENT_READ)
        if process.stdin is not None:
            os.set_blocking(process.stdin.fileno(), False)
            selector.register(process.stdin, selectors.EVENT_WRITE)
        while selector.get_map():
            left = deadline - time.monotonic()
            if left <= 0:
                return result(TIMED_OUT)
            for key, _events in selector.select(left):
                stream: t.Any = key.fileobj
                if stream is process.stdin:
                    data = _feed(stream, data)
                    if not data:
                        selector.unregister(stream)
                        stream.close()
                    continue
                piece = os.read(stream.fileno(), PIECE_BYTES)
                if not piece:
                    selector.unregister(stream)
                said[stream] += piece
                if sum(map(len, said.values())) > OUTPUT_LIMIT_BYTES:
                    return SAID_TOO_MUCH, b"", b"It said more than %d bytes." % OUTPUT_LIMIT_BYTES
    try:
        return result(process.wait(max(0.1, deadline - time.monotonic())))
    except subprocess.TimeoutExpired:
        return result(TIMED_OUT)


def _feed(stream: t.Any, data: bytes) -> bytes:
    """What is left to be written; nothing where nobody reads it."""
    try:
        return data[os.write(stream.fileno(), data[:PIECE_BYTES]) :]
    except BlockingIOError:
        return data
    except OSError:
        return b""


def _end(process: subprocess.Popen[bytes]) -> None:
    """Leave nothing of a command behind: it and what it has started are a process group of their own."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        if process.poll() is not None:
            break
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(GRACE_SECONDS)
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream is not None:
            with contextlib.suppress(OSError):
                stream.close()


def limit_own_memory() -> tuple[int, int]:
    """Keep this process from taking the host's memory. Returns the limits that were in force, for its commands."""
    before = resource.getrlimit(resource.RLIMIT_DATA)
    soft, hard = before
    wanted = _data_bytes() + OWN_MEMORY_BYTES
    if soft == resource.RLIM_INFINITY or soft > wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_DATA, (wanted, hard))
    return before


def _data_bytes() -> int:
    """What of the limit is used already (proc(5), statm: data + stack, in pages)."""
    try:
        with open("/proc/self/statm", encoding="ascii") as content:
            return int(content.read().split()[5]) * resource.getpagesize()
    except (OSError, ValueError, IndexError):
        return 0


def module_system(module: AnsibleModule) -> System:
    """The machine that the module runs on; from here on the module's memory is bounded."""
    return System(runner=CommandRunner(limit_own_memory()))
