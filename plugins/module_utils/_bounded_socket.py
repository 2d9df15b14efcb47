# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""A connected socket that gives a server so many bytes and so many seconds, and no more, for one reply.

A library's own time-out begins anew with every byte that comes, and its buffer takes whatever comes.
"""

from __future__ import annotations

import socket
import time
import typing as t

REPLY_LIMIT_BYTES = 4 * 1024 * 1024
"""INFO and CONFIG GET of real servers are a thousandth of it to a hundredth."""


class ReplyTooLong(OSError):
    """More came than any real server says."""


class Allowance:
    """What one reply may still cost: set anew before each command."""

    def __init__(self, seconds: float) -> None:
        self.exceeded = False
        self.renew(seconds)

    def renew(self, seconds: float) -> None:
        """Let the next reply take ``seconds`` and :data:`REPLY_LIMIT_BYTES`."""
        self._deadline = time.monotonic() + seconds
        self._bytes_left = REPLY_LIMIT_BYTES

    def seconds_left(self) -> float:
        """Raises TimeoutError where there are none."""
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise socket.timeout("timed out")
        return left

    def take(self, count: int) -> None:
        """Raises :class:`ReplyTooLong`."""
        self._bytes_left -= count
        if self._bytes_left < 0:
            self.exceeded = True
            raise ReplyTooLong(f"the reply is longer than {REPLY_LIMIT_BYTES} bytes")


class BoundedSocket:
    """A socket, plain or of TLS, under an allowance. What it does not know itself the socket does."""

    def __init__(self, raw: t.Any, allowance: Allowance) -> None:
        self._raw = raw
        self._allowance = allowance
        self._timeout_seconds: float | None = raw.gettimeout()

    def __getattr__(self, name: str) -> t.Any:
        return getattr(self._raw, name)

    def settimeout(self, seconds: float | None) -> None:
        self._timeout_seconds = seconds
        self._raw.settimeout(seconds)

    def setblocking(self, blocking: bool) -> None:
        self.settimeout(None if blocking else 0.0)

    def _bound(self) -> None:
        left = self._allowance.seconds_left()
        own = self._timeout_seconds
        self._raw.settimeout(left if own is None else min(own, left))

    def recv(self, count: int, *flags: int) -> bytes:
        self._bound()
        data = self._raw.recv(count, *flags)
        self._allowance.take(len(data))
        return bytes(data)

    def recv_into(self, buffer: t.Any, *arguments: int) -> int:
        self._bound()
        count = int(self._raw.recv_into(buffer, *arguments))
        self._allowance.take(count)
        return count

    def sendall(self, data: t.Any, *flags: int) -> None:
        self._bound()
        self._raw.sendall(data, *flags)


def bounded_class(connection_class: t.Any, allowance: Allowance) -> t.Any:
    """A class of redis-py's connections whose socket is under an allowance (``_connect`` makes it, 3.4 to 8)."""

    class BoundedConnection(connection_class):  # type: ignore[misc]
        def _connect(self) -> BoundedSocket:
            left = allowance.seconds_left()
            self.socket_connect_timeout = min(left, getattr(self, "socket_connect_timeout", None) or left)
            return BoundedSocket(super()._connect(), allowance)

    return BoundedConnection
