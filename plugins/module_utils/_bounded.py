# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""Calls that may never return (a dead file server), with a bound on the time that is spent on them."""

from __future__ import annotations

import errno
import os
import queue
import threading
import time
import typing as t

Result = t.TypeVar("Result")


class BoundedCalls:
    """A budget of seconds for a series of calls.

    A system call on a dead NFS mount can't be interrupted, so the calls run in a daemon thread; one that hangs is left
    behind with its thread, and every later call of the same series is refused at once. Calls must not be nested.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.expired = False
        self._deadline = time.monotonic() + seconds
        self._tasks: queue.SimpleQueue[t.Callable[[], t.Any] | None] = queue.SimpleQueue()
        self._outcomes: queue.SimpleQueue[tuple[t.Any, Exception | None]] = queue.SimpleQueue()
        self._started = False

    def call(self, function: t.Callable[[], Result]) -> Result:
        """What the function returns or raises. Raises OSError (ETIMEDOUT) when the budget is spent."""
        remaining = self._deadline - time.monotonic()
        if self.expired or remaining <= 0:
            self.expired = True
            raise self._timeout()
        if not self._started:
            self._started = True
            threading.Thread(target=self._work, daemon=True).start()
        self._tasks.put(function)
        try:
            result, error = self._outcomes.get(timeout=remaining)
        except queue.Empty:
            self.expired = True
            raise self._timeout() from None
        if error is not None:
            raise error
        return t.cast(Result, result)

    def close(self) -> None:
        """Let the thread end (one that hangs ends with the process)."""
        self._tasks.put(None)

    def _timeout(self) -> OSError:
        return OSError(errno.ETIMEDOUT, f"{os.strerror(errno.ETIMEDOUT)} (no answer within {self.seconds:g} seconds)")

    def _work(self) -> None:
        while True:
            function = self._tasks.get()
            if function is None:
                return
            try:
                self._outcomes.put((function(), None))
            except Exception as error:  # handed over to the caller's thread, not swallowed
                self._outcomes.put((None, error))
