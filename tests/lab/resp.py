# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A small client of the lab's own, so that the lab never depends on what it tests."""

from __future__ import annotations

import select
import socket
import typing as t


class ReplyError(Exception):
    """An error reply of the server, its text as sent."""


class Connection:
    """One connection; ``call`` sends a command and returns its reply (str, int, list or None)."""

    def __init__(self, port: int, timeout_seconds: float = 10.0) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=timeout_seconds)
        self._file = self._socket.makefile("rb")

    def close(self) -> None:
        self._file.close()
        self._socket.close()

    def call(self, *arguments: str | bytes | int) -> t.Any:
        """Send one command, wait for its reply. Raises ReplyError, OSError."""
        self.send(*arguments)
        return self.reply()

    def call_many(self, commands: t.Iterable[tuple[str | bytes | int, ...]]) -> None:
        """Send commands in batches, and check every reply."""
        waiting = 0
        buffer = bytearray()
        for arguments in commands:
            buffer += encode(arguments)
            waiting += 1
            if len(buffer) > 512 * 1024:
                self._socket.sendall(buffer)
                buffer.clear()
                while waiting:
                    self.reply()
                    waiting -= 1
        self._socket.sendall(buffer)
        while waiting:
            self.reply()
            waiting -= 1

    def send(self, *arguments: str | bytes | int) -> None:
        self._socket.sendall(encode(arguments))

    def send_raw(self, data: bytes) -> None:
        self._socket.sendall(data)

    def answers_within(self, seconds: float) -> bool:
        """Whether something can be read within that time."""
        return bool(select.select([self._socket], [], [], seconds)[0])

    def reply(self) -> t.Any:
        line = self._file.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionError("the server closed the connection")
        kind, rest = line[:1], line[1:-2].decode("utf-8", "backslashreplace")
        if kind == b"+":
            return rest
        if kind == b"-":
            raise ReplyError(rest)
        if kind == b":":
            return int(rest)
        if kind == b"$":
            if rest == "-1":
                return None
            return self._file.read(int(rest) + 2)[:-2].decode("utf-8", "backslashreplace")
        if kind == b"*":
            return [self.reply() for _number in range(int(rest))]
        raise ConnectionError(f"not a reply: {line!r}")


def encode(arguments: t.Iterable[str | bytes | int]) -> bytes:
    """A command as the protocol wants it."""
    parts = [argument if isinstance(argument, bytes) else str(argument).encode() for argument in arguments]
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)
