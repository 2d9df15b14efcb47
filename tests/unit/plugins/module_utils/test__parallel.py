# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import _thread
import threading
import time
import typing as t

import pytest
from ansible_collections.redisops.persistence.plugins.module_utils._parallel import NotFinished, run_in_parallel


def test_results_are_in_order_and_work_runs_side_by_side() -> None:
    meeting = threading.Barrier(3, timeout=5)

    def work(number: int) -> int:
        meeting.wait()
        time.sleep(0.02 * (3 - number))
        return number * 10

    assert run_in_parallel(work, [1, 2, 3], lambda _argument, _error: -1, deadline_seconds=10) == [10, 20, 30]


def test_one_error_leaves_the_others_alone() -> None:
    results = run_in_parallel(lambda number: 6 // number, [1, 0, 3], lambda _n, error: type(error).__name__, 5)
    assert results == [6, "ZeroDivisionError", 2]


def test_work_that_hangs_is_given_up_and_its_place_goes_on() -> None:
    release = threading.Event()

    def work(number: int) -> str:
        if number == 0:
            release.wait(10)
        return f"done {number}"

    began = time.monotonic()
    results = run_in_parallel(
        work, [0, 1, 2], lambda _n, error: "late" if isinstance(error, NotFinished) else "error", 0.3, worker_count=1
    )
    release.set()
    assert results == ["late", "done 1", "done 2"]
    assert time.monotonic() - began < 3


def test_no_more_than_the_workers_run_at_once() -> None:
    running = 0
    most = 0
    lock = threading.Lock()

    def work(_number: int) -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.01)
        with lock:
            running -= 1

    run_in_parallel(work, range(20), lambda _n, _error: None, 5, worker_count=4)
    assert 1 < most <= 4


def test_nothing_to_do() -> None:
    assert run_in_parallel(lambda number: number, [], lambda _n, _error: 0, 1) == []


def test_without_threads_the_work_is_done_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: t.Any) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(_thread, "start_new_thread", refuse)
    assert run_in_parallel(lambda number: number * 2, [1, 2, 3], lambda _n, _error: -1, 5) == [2, 4, 6]


def test_a_thread_that_dies_at_its_start_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where the host has no memory left for it: nothing ever runs, and nothing says so."""
    monkeypatch.setattr(_thread, "start_new_thread", lambda *_arguments: 0)
    began = time.monotonic()
    results = run_in_parallel(lambda number: number, [1, 2], lambda _n, error: type(error).__name__, 0.1)
    assert results == ["NotFinished", "NotFinished"]
    assert time.monotonic() - began < 3
