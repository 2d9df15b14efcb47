# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Signals end a module where it works, and never where it puts back what it had changed."""

from __future__ import annotations

import os
import signal

import pytest
from ansible_collections.redisops.persistence.plugins.module_utils._interruption import (
    SIGNALS,
    Interrupted,
    ignore_from_now,
    signals_raise,
)


@pytest.mark.parametrize("number", SIGNALS)
def test_the_first_signal_interrupts_and_the_next_ones_do_not(number):
    handlers = [signal.getsignal(one) for one in SIGNALS]
    steps = []
    with pytest.raises(Interrupted, match=number.name), signals_raise():
        try:
            os.kill(os.getpid(), number)
            steps.append("not reached")
        finally:
            os.kill(os.getpid(), number)
            steps.append("put back")
    assert steps == ["put back"]
    assert [signal.getsignal(one) for one in SIGNALS] == handlers


@pytest.mark.parametrize("number", SIGNALS)
def test_what_is_put_back_for_another_reason_is_put_back_whole(number):
    handlers = [signal.getsignal(one) for one in SIGNALS]
    steps = []
    with pytest.raises(ValueError, match="refused"), signals_raise():
        try:
            raise ValueError("refused")
        finally:
            ignore_from_now()
            os.kill(os.getpid(), number)
            steps.append("put back")
    assert steps == ["put back"]
    assert [signal.getsignal(one) for one in SIGNALS] == handlers
