# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import socket
import threading
import time

import pytest
from ansible_collections.redisops.persistence.plugins.module_utils import _bounded_socket
from ansible_collections.redisops.persistence.plugins.module_utils._bounded_socket import (
    Allowance,
    BoundedSocket,
    ReplyTooLong,
)


def test_bytes_of_one_reply_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_bounded_socket, "REPLY_LIMIT_BYTES", 10)
    ours, theirs = socket.socketpair()
    allowance = Allowance(5)
    bounded = BoundedSocket(ours, allowance)
    with ours, theirs:
        theirs.sendall(b"x" * 21)
        assert bounded.recv(10) == b"x" * 10
        allowance.renew(5)
        assert bounded.recv_into(bytearray(10)) == 10
        with pytest.raises(ReplyTooLong):
            bounded.recv(10)
        assert allowance.exceeded


def test_a_drip_does_not_begin_the_time_anew() -> None:
    ours, theirs = socket.socketpair()
    ended = threading.Event()

    def drip() -> None:
        while not ended.wait(0.1):
            theirs.send(b"x")

    thread = threading.Thread(target=drip)
    thread.start()
    began = time.monotonic()
    try:
        bounded = BoundedSocket(ours, Allowance(0.5))
        bounded.settimeout(30)
        with pytest.raises(TimeoutError if issubclass(socket.timeout, TimeoutError) else socket.timeout):
            while True:
                bounded.recv(10)
    finally:
        ended.set()
        thread.join(5)
        ours.close()
        theirs.close()
    assert 0.3 < time.monotonic() - began < 2


def test_the_rest_is_the_sockets_own() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        bounded = BoundedSocket(ours, Allowance(5))
        bounded.sendall(b"ab")
        assert theirs.recv(2) == b"ab"
        assert bounded.fileno() == ours.fileno()
        bounded.setblocking(False)
        assert bounded.gettimeout() == 0.0
