# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""The rim between the collectors and the machine: files under a root, a clock, and a command runner.

Collectors get a :class:`System` and nothing else, so that a test can hand them a recorded tree, a fixed
time and recorded commands.
"""

from __future__ import annotations

import os
import stat
import threading
import time
import typing as t

READ_LIMIT_BYTES = 1024 * 1024
COMMAND_TIMEOUT_SECONDS = 5.0


class CommandResult(t.NamedTuple):
    """What a command said. ``rc`` 124 means that it ran out of time, 127 that it is not installed."""

    rc: int
    stdout: str
    stderr: str


class Runner(t.Protocol):
    """Runs ``argv`` (never through a shell), with extra environment variables, for a bounded time."""

    def __call__(
        self, argv: list[str], environment: dict[str, str], timeout_seconds: float, stdin: str | None
    ) -> CommandResult: ...


def no_commands(
    argv: list[str], environment: dict[str, str], timeout_seconds: float, stdin: str | None
) -> CommandResult:
    """The runner of a recorded machine: nothing is installed on it."""
    return CommandResult(127, "", f"{argv[0]}: not available")


def to_utf8(data: bytes) -> str:
    """Text that JSON can carry, whatever the bytes were (ansible-core >= 2.19 refuses anything else)."""
    return data.decode("utf-8", errors="backslashreplace")


def clean_text(text: str) -> str:
    """The same for text that the operating system decoded with surrogate escapes (names of files)."""
    return to_utf8(os.fsencode(text))


class System:
    """A machine as the collectors see it.

    :param root: prefix of every path; ``/`` on the real machine, a recorded tree in tests.
    :param clock: seconds since the epoch.
    :param runner: runs commands.
    """

    def __init__(self, root: str = "/", clock: t.Callable[[], float] = time.time, runner: Runner = no_commands) -> None:
        self.root = root
        self.clock = clock
        self._runner = runner

    def path(self, path: str) -> str:
        """Where ``path`` of that machine lies on this one."""
        if self.root == "/":
            return path
        return os.path.join(self.root, path.lstrip("/"))

    def read_bytes(self, path: str, limit_bytes: int = READ_LIMIT_BYTES) -> bytes:
        """At most ``limit_bytes`` from the start of a file. Raises OSError."""
        with open(self.path(path), "rb") as handle:
            return handle.read(limit_bytes)

    def read_text(self, path: str, limit_bytes: int = READ_LIMIT_BYTES) -> str:
        """The same as text. Raises OSError."""
        return to_utf8(self.read_bytes(path, limit_bytes))

    def try_read_text(self, path: str, limit_bytes: int = READ_LIMIT_BYTES) -> str | None:
        """The same, or None where the file can't be read."""
        try:
            return self.read_text(path, limit_bytes)
        except OSError:
            return None

    def list_directory(self, path: str) -> list[str]:
        """Names in a directory, sorted; empty where it can't be read."""
        try:
            return sorted(os.listdir(self.path(path)))
        except OSError:
            return []

    def read_link(self, path: str) -> str:
        """The target of a link, not cleaned (it may be opened again). Raises OSError."""
        return os.readlink(self.path(path))

    def exists(self, path: str) -> bool:
        """Whether something is there (links are followed)."""
        return os.path.exists(self.path(path))

    def is_executable(self, path: str) -> bool:
        """Whether its owner may run a file."""
        try:
            return bool(os.stat(self.path(path)).st_mode & stat.S_IXUSR)
        except OSError:
            return False

    def run(
        self,
        argv: list[str],
        environment: dict[str, str] | None = None,
        timeout_seconds: float = COMMAND_TIMEOUT_SECONDS,
        stdin: str | None = None,
    ) -> CommandResult:
        """Run a command. Never raises: see :class:`CommandResult` for what went wrong."""
        return self._runner(argv, environment or {}, timeout_seconds, stdin)


class Gaps:
    """What could not be read, why, and what would make it readable. Safe to share between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: list[dict[str, str]] = []

    def add(self, what: str, why: str, remedy: str) -> None:
        """Note one gap; the same gap is noted once."""
        entry = {"what": what, "why": clean_text(why), "remedy": remedy}
        with self._lock:
            if entry not in self._entries:
                self._entries.append(entry)

    def add_error(self, what: str, error: OSError, remedy: str) -> None:
        """Note the gap that an OSError made."""
        self.add(what, error.strerror or str(error), remedy)

    def entries(self) -> list[dict[str, str]]:
        """The gaps, in the order in which they were met."""
        with self._lock:
            return list(self._entries)
