# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every fault of the table on every server: is it real, and is the verdict right?"""

from __future__ import annotations

import re

import pytest

from .bench import Bench, missing_need
from .faults import FAULTS, STATES, Fault

pytestmark = pytest.mark.lab


def require(fault: Fault, bench: Bench) -> None:
    reason = fault.servers(bench.kind) or next(filter(None, map(missing_need, fault.needs)), None)
    if reason:
        pytest.skip(reason)


def check_real(fault: Fault, bench: Bench) -> None:
    """The server itself says that it is broken, in the way that the table claims."""
    if fault.status is not None and fault.verdict != "auth_required":
        assert bench.server.status() == fault.status
    if fault.proof is not None:
        assert re.search(fault.proof, bench.server.read_log()), bench.server.read_log()[-3000:]


@pytest.mark.parametrize("fault", FAULTS + STATES, ids=lambda fault: fault.id)
def test_fault(fault: Fault, bench: Bench) -> None:
    require(fault, bench)
    fault.break_it(bench)
    check_real(fault, bench)
