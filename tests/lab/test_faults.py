# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every fault of the table on every server: is it real, and is the verdict right?"""

from __future__ import annotations

import re
import typing as t

import pytest

from .bench import Bench, missing_need
from .faults import FAULTS, STATES, Fault
from .judging import Document, at_least, cause_ids, expectation, explain, gather, judge, offered_fixes, record
from .score import SCORE

pytestmark = pytest.mark.lab


def require(needs: t.Iterable[str], reason: str | None = None) -> None:
    """Skip, with the reason, what this machine or this server can't have."""
    reason = reason or next(filter(None, map(missing_need, needs)), None)
    if reason:
        pytest.skip(reason)


def check_real(fault: Fault, bench: Bench) -> None:
    """The server itself says that it is broken, in the way that the table claims."""
    if fault.status is not None and fault.verdict != "auth_required":
        assert bench.server.status() == fault.status
    if fault.proof is not None:
        assert re.search(fault.proof, bench.server.read_log()), bench.server.read_log()[-3000:]


def check_verdict(fault: Fault, document: Document) -> None:
    """The verdict is the table's."""
    story = explain(document)
    assert document["state"] == ("failing" if fault.failing else fault.verdict), story
    if not fault.failing:
        assert document["cause"] is None, story
        return
    assert document["cause"] is not None, story
    assert document["cause"]["id"] == fault.verdict, story
    assert set(cause_ids(document)) <= {fault.verdict, *fault.more_causes}, story
    assert at_least(document["cause"]["confidence"], fault.confidence), story
    if fault.verdict == "no_evidence":
        assert document["cause"]["confidence"] == "possible", story
    else:
        assert document["cause"]["evidence"], story
    if fault.still_present != "ANY":
        assert document["cause"]["still_present"] is fault.still_present, story
    assert set(fault.fixes) <= offered_fixes(document), story
    if fault.verdict == "hijacked_dir":
        assert "data_dir" not in offered_fixes(document), story
    assert document["path"], story


@pytest.mark.parametrize("fault", FAULTS + STATES, ids=lambda fault: fault.id)
def test_fault(fault: Fault, bench: Bench, request: pytest.FixtureRequest) -> None:
    require(fault.needs, fault.servers(bench.kind))
    fault.break_it(bench)
    check_real(fault, bench)
    evidence = gather([bench.server], fault.options(bench) if fault.options else None)
    if fault.amend:
        fault.amend(evidence)
    group = "faults" if fault.failing else "states"
    with SCORE.noting(group, f"{fault.id} on {bench.kind.id}"):
        (document,) = judge(evidence)
        check_verdict(fault, document)
        if fault.failing:
            assert document["writes_blocked"] is bench.server.refuses_writes(), explain(document)
    if request.config.getoption("--record"):
        record(fault.id, bench, evidence, expectation(document, fixes=list(fault.fixes)), fault.amended)
