# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""A full copy of the dataset over the replication link, as a replica would take it (replication.c).

The client says ``REPLCONF capa eof``, so that a diskless master can stream without knowing the length beforehand, and
where the server knows it ``REPLCONF rdb-only 1`` (6.2.0): such a replica gets no stream of writes afterwards. Other
servers are hung up on right behind the payload: without an acknowledgement they never count the client as online.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import time
import typing as t

from ansible_collections.redisops.persistence.plugins.module_utils._client import (
    NO_PASSWORD_WANTED,
    ConnectionOptions,
    RedisFailure,
    check_listener,
    connection_failure,
    mask_secret,
    refusal_kind,
    tls_message,
)
from ansible_collections.redisops.persistence.plugins.module_utils._system import to_utf8

CHUNK_BYTES = 256 * 1024
LINE_LIMIT_BYTES = 64 * 1024
MARKER_BYTES = 40
"""Length of the random mark behind a payload of unknown length (CONFIG_RUN_ID_SIZE)."""

POLL_SECONDS = 1.0
"""How often the caller is given a moment while nothing comes."""

HANG_UP_SECONDS = 1.0
"""How long a server that knows ``rdb-only`` is given to end the connection by itself."""

ACL_RIGHTS = "+psync +sync +replconf"


class TransferFailed(Exception):
    """The copy did not come whole. ``kind``: refused, lost, idle, late, protocol, or what the sink said."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message


class Bounds(t.NamedTuple):
    """How long to wait without a byte, and in all."""

    idle_seconds: float = 60.0
    overall_seconds: float = 3600.0


class Transfer(t.NamedTuple):
    """What came: bytes, how they were framed (``eof``: diskless; ``length``: from a file), and the stream's place.

    ``replication_id`` and ``offset`` are None where the server answered SYNC alone.
    """

    size_bytes: int
    framing: str
    replication_id: str | None
    offset: int | None
    rdb_only: bool


Sink = t.Callable[[bytes], None]


def request(*arguments: str) -> bytes:
    """A command as RESP."""
    parts = [argument.encode("utf-8", errors="surrogateescape") for argument in arguments]
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)


class ReplicationLink:
    """One connection that speaks as a replica.

    :param idle: called about once a second while the link waits, and between chunks; it may raise to end the transfer.
    """

    def __init__(
        self,
        options: ConnectionOptions,
        bounds: Bounds,
        idle: t.Callable[[], None] = lambda: None,
        clock: t.Callable[[], float] = time.monotonic,
    ) -> None:
        self._options = options
        self._bounds = bounds
        self._idle = idle
        self._clock = clock
        self._deadline = clock() + bounds.overall_seconds
        self._socket: t.Any = None
        self._buffer = bytearray()
        self.rdb_only = False

    # -- connection

    def open(self) -> None:
        """Connect and authenticate. Raises :class:`RedisFailure`."""
        options = self._options
        try:
            self._socket = connect_socket(options)
        except (OSError, ValueError) as error:
            raise self._connect_failure(error) from None
        if options.login_password is None and options.login_user is None:
            return
        check_listener(options, self._socket)
        credentials = [options.login_password or ""]
        if options.login_user:
            credentials.insert(0, options.login_user)
        reply = self._ask("AUTH", *credentials)
        if reply.startswith("-") and not any(text in reply for text in NO_PASSWORD_WANTED):
            raise connection_failure(self._refusal(reply))

    def close(self) -> None:
        """Hang up."""
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.close()
            self._socket = None

    def __enter__(self) -> ReplicationLink:
        try:
            self.open()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def _connect_failure(self, error: Exception) -> RedisFailure:
        text = mask_secret(str(error), self._options)
        # ssl.SSLError without importing ssl.
        if any(base.__name__ == "SSLError" for base in type(error).__mro__):
            return RedisFailure("tls_error", "tls_failed", tls_message(t.cast(OSError, error), self._options))
        state = "timeout" if isinstance(error, TimeoutError) else "unreachable"
        return RedisFailure(state, "connect", f"No replication link to {self._options.address}: {text}")

    def _refusal(self, reply: str) -> RedisFailure:
        text = mask_secret(reply.lstrip("-"), self._options)
        return RedisFailure("refused", refusal_kind(text), text)

    # -- bytes

    def _wait_readable(self) -> None:
        """Wait for bytes, giving the caller a moment each second. Raises :class:`TransferFailed`."""
        idle_since = self._clock()
        while True:
            now = self._clock()
            if now >= self._deadline:
                raise TransferFailed("late", f"The transfer was not over in {self._bounds.overall_seconds:g} seconds.")
            if now - idle_since >= self._bounds.idle_seconds:
                raise TransferFailed("idle", f"Nothing came for {self._bounds.idle_seconds:g} seconds.")
            pending = getattr(self._socket, "pending", None)  # bytes that TLS has decrypted already
            if pending is not None and pending():
                return
            if select.select([self._socket], [], [], POLL_SECONDS)[0]:
                return
            self._idle()

    def _receive(self, limit_bytes: int = CHUNK_BYTES) -> bytes:
        """Some bytes; never none. Raises :class:`TransferFailed`."""
        self._wait_readable()
        try:
            data = self._socket.recv(limit_bytes)
        except OSError as error:
            text = mask_secret(str(error), self._options)
            raise TransferFailed("lost", f"The replication link broke: {text}") from None
        if not data:
            raise TransferFailed("lost", "The server closed the replication link.")
        return bytes(data)

    def _read_line(self) -> str:
        """A line, without its end. Lone newlines are the server's sign of life while it prepares the copy."""
        while True:
            end = self._buffer.find(b"\n")
            if end >= 0:
                line = bytes(self._buffer[:end]).rstrip(b"\r")
                del self._buffer[: end + 1]
                if line:
                    return to_utf8(line)
                continue
            if len(self._buffer) > LINE_LIMIT_BYTES:
                raise TransferFailed("protocol", "The answer is none of a Redis server (a line without end).")
            self._buffer += self._receive(4096)

    def _ask(self, *arguments: str) -> str:
        """A command's one-line reply, with its type byte. Raises :class:`TransferFailed`."""
        try:
            self._socket.sendall(request(*arguments))
        except OSError as error:
            raise TransferFailed("lost", f"The replication link broke: {error.strerror or error}") from None
        return self._read_line()

    # -- the copy

    def fetch(self, sink: Sink) -> Transfer:
        """Ask for a full copy and hand it to ``sink``, which may raise to end it.

        :raises TransferFailed: where it does not come whole. :raises RedisFailure: where the user may not ask for it.
        """
        self._introduce()
        replication_id, offset = self._request_full_copy()
        header = self._read_line()
        if header.startswith("-"):
            raise self._explain(header)
        if header.startswith("$EOF:") and len(header) == 5 + MARKER_BYTES:
            size, framing = self._until_marker(header[5:].encode(), sink), "eof"
        elif header.startswith("$") and header[1:].isdigit():
            size, framing = self._exactly(int(header[1:]), sink), "length"
        else:
            raise TransferFailed("protocol", f"The server announced no payload but {header[:100]!r}.")
        if self.rdb_only:
            self._await_end()
        return Transfer(size, framing, replication_id, offset, self.rdb_only)

    def _await_end(self) -> None:
        """Let the server hang up: one that is hung up on kills its child and logs that, though nothing is amiss."""
        give_up_at = self._clock() + HANG_UP_SECONDS
        with contextlib.suppress(OSError):
            while self._clock() < give_up_at and not self._buffer:
                if select.select([self._socket], [], [], 0.1)[0] and not self._socket.recv(4096):
                    return

    def _introduce(self) -> None:
        reply = self._ask("REPLCONF", "capa", "eof")
        if reply.startswith("-"):
            failure = self._refusal(reply)
            # Up to 2.8.21 REPLCONF knows no capa; the copy comes all the same, by way of the server's disk.
            if failure.kind in ("NOPERM", "NOAUTH", "DENIED", "UNKNOWN_COMMAND"):
                raise self._explain(reply)
        self.rdb_only = not self._ask("REPLCONF", "rdb-only", "1").startswith("-")

    def _request_full_copy(self) -> tuple[str | None, int | None]:
        reply = self._ask("PSYNC", "?", "-1")
        words = reply.split()
        if words and words[0] == "+FULLRESYNC":
            offset = int(words[2]) if len(words) > 2 and words[2].isdigit() else None
            return (words[1] if len(words) > 1 else None), offset
        if reply.startswith("-"):
            raise self._explain(reply)
        raise TransferFailed("protocol", f"The server did not begin a full copy: {reply[:100]!r}.")

    def _explain(self, reply: str) -> Exception:
        """What an error reply means here."""
        failure = self._refusal(reply)
        if failure.kind == "NOPERM":
            user = self._options.login_user or "default"
            message = f"{failure.message} (ACL SETUSER {user} {ACL_RIGHTS})"
            return RedisFailure("refused", "NOPERM", message)
        return TransferFailed("refused", explain_refusal(failure.kind, failure.message))

    def _exactly(self, length: int, sink: Sink) -> int:
        left = length
        while left:
            chunk = self._next_chunk(left)
            left -= len(chunk)
            self._deliver(sink, chunk)
        return length

    def _until_marker(self, marker: bytes, sink: Sink) -> int:
        """Nothing follows the mark: the server waits for an acknowledgement before it sends more."""
        size = 0
        tail = b""
        while tail != marker:
            window = tail + self._next_chunk(CHUNK_BYTES)
            cut = max(len(window) - MARKER_BYTES, 0)
            tail = window[cut:]
            size += cut
            if cut:
                self._deliver(sink, window[:cut])
        return size

    def _next_chunk(self, limit_bytes: int) -> bytes:
        if self._clock() >= self._deadline:
            raise TransferFailed("late", f"The transfer was not over in {self._bounds.overall_seconds:g} seconds.")
        if self._buffer:
            chunk = bytes(self._buffer[:limit_bytes])
            del self._buffer[: len(chunk)]
            return chunk
        return self._receive(min(limit_bytes, CHUNK_BYTES))

    def _deliver(self, sink: Sink, chunk: bytes) -> None:
        sink(chunk)
        self._idle()


def explain_refusal(kind: str, text: str) -> str:
    """The refusal of a full copy in words that say what to do."""
    if kind == "NOMASTERLINK":
        return f"A replica passes no copy on while the link to its own master is down: {text}"
    if kind == "LOADING":
        return f"The server is still loading its dataset: {text}"
    if "BGSAVE failed" in text:
        return (
            "The server could not start the copy: fork failed, or it has to go through the server's disk and that "
            f"fails. Its log says which. ({text})"
        )
    return f"The server refuses a full copy: {text}"


def connect_socket(options: ConnectionOptions) -> t.Any:
    """A connected socket, with TLS where asked for. Raises OSError (ssl.SSLError is one) and ValueError."""
    if options.unix_socket:
        raw = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            raw.settimeout(options.timeout_seconds)
            raw.connect(os.fsencode(options.unix_socket))
        except BaseException:
            raw.close()
            raise
        return raw
    raw = socket.create_connection((options.login_host, options.login_port), options.timeout_seconds)
    if not options.tls:
        return raw
    import ssl

    try:
        context = ssl.create_default_context(cafile=options.ca_certs)
        if not options.validate_certs:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if options.client_cert_file:
            context.load_cert_chain(options.client_cert_file, options.client_key_file)
        return context.wrap_socket(raw, server_hostname=options.login_host)
    except BaseException:
        raw.close()
        raise
