# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nothing innocent is blamed."""

from __future__ import annotations

import pytest

from .bench import Bench
from .controls import CONTROLS, Control
from .judging import Document, at_least, cause_ids, expectation, explain, gather, gather_as, judge, record, system_of
from .score import SCORE
from .test_faults import require

pytestmark = pytest.mark.lab


def check_control(control: Control, document: Document) -> None:
    story = explain(document)
    assert document["state"] in control.states, story
    assert set(cause_ids(document)) <= set(control.causes), story
    if "failing" in control.states:
        assert document["cause"]["id"] == control.causes[0], story
        assert at_least(document["cause"]["confidence"], control.confidence), story
        if control.still_present != "ANY":
            assert document["cause"]["still_present"] is control.still_present, story
    else:
        assert document["cause"] is None, story
    if control.will_retry != "ANY":
        assert document["recovery"]["will_retry"] is control.will_retry, document["recovery"]
    risks = {risk["id"] for risk in document["risks"]}
    assert set(control.risks) <= risks, sorted(risks)
    assert not set(control.no_risks) & risks, sorted(risks)


@pytest.mark.parametrize("control", CONTROLS, ids=lambda control: control.id)
def test_control(control: Control, bench: Bench, request: pytest.FixtureRequest) -> None:
    require(control.needs, control.servers(bench.kind))
    control.arrange(bench)
    options = control.options(bench) if control.options else None
    if control.collector_uid:
        evidence = gather_as(control.collector_uid(bench), bench.servers, options)
    else:
        evidence = gather(bench.servers, options, system_of(bench))
    if control.amend:
        control.amend(evidence)
    with SCORE.noting("controls", f"{control.id} on {bench.kind.id}"):
        document = judge(evidence)[0]
        check_control(control, document)
        if control.gap_expected:
            assert document["unknowns"], "what could not be read is not listed"
    if request.config.getoption("--record"):
        amended = "An old record is added to the kernel log." if control.amend else None
        expect = expectation(document, risks=list(control.risks), no_risks=list(control.no_risks))
        record(f"control-{control.id}", bench, evidence, expect, amended)
