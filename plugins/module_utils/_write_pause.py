# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""Writes held back for a while (``CLIENT PAUSE ms WRITE``, 6.2.0): reads go on, nothing expires, no key is evicted.

The server lifts the pause by itself when its time is up, so a run that dies leaves nothing behind. As long as it is
needed, it is asked for again and again over a connection of its own.
"""

from __future__ import annotations

import contextlib
import threading
import typing as t

from ansible_collections.redisops.persistence.plugins.module_utils._client import Client, RedisFailure

RENEWALS = 4
"""How often the pause is renewed while one length of it passes."""

ACL_RIGHTS = "+client|pause +client|unpause"


class PauseRefused(Exception):
    """The server does not hold writes back; ``str`` says why."""


class WritePause:
    """Holds writes back from :meth:`begin` to :meth:`end`.

    :param connect: makes a client. :param seconds: how long the server waits by itself.
    """

    def __init__(self, connect: t.Callable[[], Client], seconds: float, clock: t.Callable[[], float]) -> None:
        self._connect = connect
        self._seconds = seconds
        self._clock = clock
        self._client: Client | None = None
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()
        self.until_unix: float | None = None

    def begin(self) -> None:
        """Hold writes back. Raises :class:`PauseRefused`."""
        try:
            self._client = self._connect()
            self._send(self._client)
        except RedisFailure as failure:
            self._close()
            raise PauseRefused(explain_refusal(failure)) from None
        self._thread = threading.Thread(target=self._renew, args=(self._client,), daemon=True)
        self._thread.start()

    def end(self, keep: bool) -> None:
        """Stop renewing. ``keep``: one more whole length from now on; else let writes through at once."""
        if self._client is None:
            return
        self._stop.set()
        if self._thread is not None:
            self._thread.join(self._seconds)
        for _attempt in (1, 2):
            try:
                if keep:
                    self._send(self._client)
                else:
                    self._client.command("CLIENT", "UNPAUSE")
                    self.until_unix = None
                break
            except RedisFailure:
                # The connection may be dead: once more over a new one.
                self._client.close()
                with contextlib.suppress(RedisFailure):
                    self._client = self._connect()
        self._close()

    def abandon(self) -> None:
        """Stop renewing and send nothing: the server is gone, and whoever answers at its address is another one."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(self._seconds)
        self._close()

    def _close(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None

    def _send(self, client: Client) -> None:
        client.command("CLIENT", "PAUSE", str(max(1, int(self._seconds * 1000))), "WRITE")
        self.until_unix = self._clock() + self._seconds

    def _renew(self, client: Client) -> None:
        while not self._stop.wait(self._seconds / RENEWALS):
            # A server that forks answers late: it is asked again before the pause is over.
            with contextlib.suppress(RedisFailure):
                self._send(client)


def explain_refusal(failure: RedisFailure) -> str:
    """Why writes can't be held back, and what would let them be."""
    if failure.kind == "NOPERM":
        return f"{failure.message} (the user needs {ACL_RIGHTS}; up to 6.2 +client)"
    if failure.state == "refused":
        return f"The server can't hold back writes alone, which takes Redis 6.2 or newer ({failure.message})"
    return failure.message
