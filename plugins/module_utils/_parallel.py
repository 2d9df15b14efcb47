# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""Ask many servers at once, and never wait longer than agreed for any of them."""

from __future__ import annotations

import _thread
import queue
import time
import typing as t

WORKER_COUNT = 16

Argument = t.TypeVar("Argument")
Result = t.TypeVar("Result")


class NotFinished(Exception):
    """The work was still going on at its deadline."""


def run_in_parallel(
    work: t.Callable[[Argument], Result],
    arguments: t.Sequence[Argument],
    on_error: t.Callable[[Argument, Exception], Result],
    deadline_seconds: float,
    worker_count: int = WORKER_COUNT,
) -> list[Result]:
    """Results in the order of the arguments. Never raises for the work's own errors.

    :param on_error: makes the result of work that raised, or of work that was not finished in time
        (:class:`NotFinished`). The rim: whatever goes wrong with one server leaves the others alone.
    :param deadline_seconds: how long one piece of work may take, counted from its own start.

    A thread that hangs in a name look-up can't keep the interpreter from ending. Where there is no thread to be had (a
    host that forks no more), the work is done one after the other.
    """
    results: list[t.Any] = [None] * len(arguments)
    finished: queue.Queue[tuple[int, t.Any, Exception | None]] = queue.Queue()
    started: dict[int, float] = {}

    def run(index: int) -> None:
        try:
            outcome: tuple[int, t.Any, Exception | None] = (index, work(arguments[index]), None)
        except Exception as error:
            outcome = (index, None, error)
        finished.put(outcome)

    waiting = list(range(len(arguments)))
    open_work: set[int] = set()
    while waiting or open_work:
        while waiting and len(open_work) < max(1, worker_count):
            index = waiting.pop(0)
            started[index] = time.monotonic()
            open_work.add(index)
            # Thread.start() waits without end for a sign of life, and a thread that finds no memory gives none.
            try:
                _thread.start_new_thread(run, (index,))
            except (RuntimeError, MemoryError):
                run(index)
        next_deadline = min(started[index] for index in open_work) + deadline_seconds
        try:
            index, result, error = finished.get(timeout=max(0.0, next_deadline - time.monotonic()))
        except queue.Empty:
            now = time.monotonic()
            for late in [index for index in open_work if now - started[index] >= deadline_seconds]:
                # Its thread is left behind; its slot goes to the next server.
                open_work.discard(late)
                results[late] = on_error(arguments[late], NotFinished(f"not finished in {deadline_seconds:g} seconds"))
            continue
        if index not in open_work:
            continue
        open_work.discard(index)
        results[index] = on_error(arguments[index], error) if error is not None else result
    return results
