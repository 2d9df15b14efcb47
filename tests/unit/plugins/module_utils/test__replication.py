# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The wire, against a server that says exactly what is wanted, in exactly those pieces."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
import typing as t

import pytest
from ansible_collections.redisops.persistence.plugins.module_utils._client import ConnectionOptions, RedisFailure
from ansible_collections.redisops.persistence.plugins.module_utils._replication import (
    Bounds,
    ReplicationLink,
    Transfer,
    TransferFailed,
    explain_refusal,
    request,
)

MARKER = b"m" * 40
FULL = b"+FULLRESYNC " + b"a" * 40 + b" 17\r\n"


class Talker:
    """Answers the commands in their order, each with the pieces given; then hangs up, or holds the line."""

    def __init__(self, answers: t.Sequence[t.Sequence[bytes]], hold: bool = False) -> None:
        self._answers = answers
        self._hold = hold
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.heard = b""
        self.release = threading.Event()
        self._thread = threading.Thread(target=self._talk, daemon=True)
        self._thread.start()

    def _talk(self) -> None:
        connection, _address = self._listener.accept()
        # The link may have hung up.
        with connection, contextlib.suppress(OSError):
            for pieces in self._answers:
                self.heard += connection.recv(65536)
                for piece in pieces:
                    connection.sendall(piece)
                    time.sleep(0.005)
            if self._hold:
                self.release.wait(10)

    def close(self) -> None:
        self.release.set()
        self._thread.join(10)
        self._listener.close()


def fetch(
    answers: t.Sequence[t.Sequence[bytes]], hold: bool = False, bounds: Bounds | None = None
) -> tuple[bytes, Transfer]:
    talker = Talker(answers, hold)
    received: list[bytes] = []
    try:
        options = ConnectionOptions(login_port=talker.port, timeout_seconds=2)
        with ReplicationLink(options, bounds or Bounds(5, 10)) as link:
            transfer = link.fetch(received.append)
    finally:
        talker.close()
    return b"".join(received), transfer


OK = [b"+OK\r\n"]
UNKNOWN = [b"-ERR Unrecognized REPLCONF option: rdb-only\r\n"]


def test_a_request_is_an_array_of_counted_strings() -> None:
    assert request("REPLCONF", "é") == b"*2\r\n$8\r\nREPLCONF\r\n$2\r\n\xc3\xa9\r\n"


@pytest.mark.parametrize("cut", [1, 2, 39, 40, 41, 90])
def test_a_mark_is_found_wherever_it_is_cut(cut: int) -> None:
    # Bytes of the mark stand in the payload, too.
    payload = b"REDIS0011" + b"m" * 39 + b"x" + b"m" * 30 + b"\xff12345678"
    stream = b"\n\n$EOF:" + MARKER + b"\r\n" + payload + MARKER
    pieces = [stream[start : start + cut] for start in range(0, len(stream), cut)]
    data, transfer = fetch([OK, OK, [FULL, *pieces]])
    assert data == payload and transfer.size_bytes == len(payload)
    assert transfer.framing == "eof" and transfer.offset == 17 and transfer.rdb_only is True


def test_a_counted_payload_ends_where_its_length_says() -> None:
    data, transfer = fetch([OK, UNKNOWN, [b"\n", FULL, b"\n\n", b"$5\r\nRED", b"IS*1\r\n$4\r\nPING\r\n"]], hold=True)
    assert data == b"REDIS" and transfer == Transfer(5, "length", "a" * 40, 17, False)


@pytest.mark.parametrize(
    ("pieces", "kind"),
    [
        ([b"-NOMASTERLINK Can't SYNC while not connected with my master\r\n"], "refused"),
        ([b"-LOADING Redis is loading the dataset in memory\r\n"], "refused"),
        ([FULL, b"-ERR BGSAVE failed, replication can't continue\r\n"], "refused"),
        ([b"+CONTINUE\r\n"], "protocol"),
        ([FULL, b"$-1\r\n"], "protocol"),
        ([FULL, b"$EOF:short\r\n"], "protocol"),
        ([FULL, b"HTTP/1.1 400 Bad Request\r\n"], "protocol"),
        ([b"x" * 70_000], "protocol"),
        ([FULL], "lost"),
        ([FULL, b"$10\r\nREDIS"], "lost"),
        ([FULL, b"$EOF:" + MARKER + b"\r\nREDIS"], "lost"),
    ],
)
def test_what_is_no_whole_copy_fails(pieces: list[bytes], kind: str) -> None:
    with pytest.raises(TransferFailed) as caught:
        fetch([OK, OK, pieces])
    assert caught.value.kind == kind


def test_silence_and_a_trickle_have_an_end() -> None:
    began = time.monotonic()
    with pytest.raises(TransferFailed) as silent:
        fetch([OK, OK, [FULL]], hold=True, bounds=Bounds(0.5, 10))
    assert silent.value.kind == "idle"
    with pytest.raises(TransferFailed) as trickle:
        fetch([OK, OK, [FULL, *([b"\n"] * 400)]], hold=True, bounds=Bounds(5, 1))
    assert trickle.value.kind == "late"
    assert time.monotonic() - began < 8


def test_missing_rights_name_the_rights() -> None:
    with pytest.raises(RedisFailure) as caught:
        fetch([[b"-NOPERM this user has no permissions to run the 'replconf' command\r\n"]])
    assert "ACL SETUSER default +psync +sync +replconf" in caught.value.message


def test_a_wrong_password_is_not_repeated() -> None:
    talker = Talker([[b"-WRONGPASS invalid pair: s3cret\r\n"]])
    try:
        options = ConnectionOptions(login_port=talker.port, login_password="s3cret")
        with pytest.raises(RedisFailure) as caught, ReplicationLink(options, Bounds()):
            pass
    finally:
        talker.close()
    assert caught.value.state == "auth_required" and "s3cret" not in caught.value.message


def test_a_password_that_is_not_wanted_is_no_failure() -> None:
    talker = Talker(
        [[b"-ERR AUTH <password> called without any password configured for the default user\r\n"], OK, OK,
         [FULL, b"$1\r\nx"]]
    )  # fmt: skip
    received: list[bytes] = []
    try:
        with ReplicationLink(ConnectionOptions(login_port=talker.port, login_password="x"), Bounds(5, 5)) as link:
            link.fetch(received.append)
    finally:
        talker.close()
    assert received == [b"x"]


def test_what_the_sink_raises_comes_out() -> None:
    talker = Talker([OK, OK, [FULL, b"$10\r\n0123456789"]])

    def full(_data: bytes) -> None:
        raise TransferFailed("no_space", "full")

    try:
        with (
            pytest.raises(TransferFailed, match="full"),
            ReplicationLink(ConnectionOptions(login_port=talker.port), Bounds(5, 5)) as link,
        ):
            link.fetch(full)
    finally:
        talker.close()


def test_a_failed_save_is_explained() -> None:
    assert "fork failed" in explain_refusal("ERR", "ERR BGSAVE failed, replication can't continue")
