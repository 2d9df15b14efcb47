# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import errno
import os
import threading
import time

import pytest
from ansible_collections.redisops.persistence.plugins.module_utils._bounded import BoundedCalls


def test_results_and_errors_come_through():
    calls = BoundedCalls(5)
    assert calls.call(lambda: 42) == 42
    with pytest.raises(FileNotFoundError):
        calls.call(lambda: os.stat("/nonexistent/file"))
    assert calls.call(lambda: "again") == "again"
    calls.close()
    assert not calls.expired


def test_a_call_that_hangs_costs_the_budget_once():
    release = threading.Event()
    calls = BoundedCalls(0.2)
    began = time.monotonic()
    with pytest.raises(OSError) as error:
        calls.call(release.wait)
    assert error.value.errno == errno.ETIMEDOUT
    assert "within 0.2 seconds" in error.value.strerror
    with pytest.raises(OSError):
        calls.call(lambda: 1)
    assert time.monotonic() - began < 2
    assert calls.expired
    release.set()
