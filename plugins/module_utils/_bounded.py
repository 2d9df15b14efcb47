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

    A system call on a dead NFS mount can't be interrupted, so each call has a daemon thread of its own; one that
    hangs is left behind, and every later call of the same series is refused at once.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.expired = False
        self._deadline = time.monotonic() + seconds

    def call(self, function: t.Callable[[], Result]) -> Result:
        """What the function returns or raises. Raises OSError (ETIMEDOUT) when the budget is spent."""
        if not self.expired:
            outcome: queue.Queue[tuple[t.Any, Exception | None]] = queue.Queue()

            def run() -> None:
                try:
                    outcome.put((function(), None))
                except Exception as error:  # handed over to the caller's thread, not swallowed
                    outcome.put((None, error))

            threading.Thread(target=run, daemon=True).start()
            try:
                result, error = outcome.get(timeout=max(0.0, self._deadline - time.monotonic()))
            except queue.Empty:
                self.expired = True
            else:
                if error is not None:
                    raise error
                return result
        raise OSError(errno.ETIMEDOUT, f"{os.strerror(errno.ETIMEDOUT)} (no answer within {self.seconds:g} seconds)")
