# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""Signals as exceptions, so that what was changed for a while is put back when a module is told to end."""

from __future__ import annotations

import contextlib
import signal
import threading
import typing as t

SIGNALS = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)


def ignore_from_now() -> None:
    """Let nothing interrupt what puts things back; until the end of :func:`signals_raise`."""
    if threading.current_thread() is threading.main_thread():
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)


class Interrupted(Exception):
    """The module was told to end."""


@contextlib.contextmanager
def signals_raise() -> t.Iterator[None]:
    """Raise :class:`Interrupted` where one of the usual signals comes; only the first one does.

    What runs in ``finally`` then is not interrupted again. In another thread than the first nothing is set up.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in SIGNALS}

    def interrupt(number: int, _frame: t.Any) -> t.NoReturn:
        ignore_from_now()
        raise Interrupted(f"It was interrupted ({signal.Signals(number).name}).")

    for number in SIGNALS:
        if before[number] is not signal.SIG_IGN:
            signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
