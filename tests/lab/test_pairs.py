# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two faults at once are both named, the root first."""

from __future__ import annotations

import pytest

from .bench import Bench
from .judging import cause_ids, expectation, explain, gather, judge, record
from .pairs import PAIRS, Pair
from .score import SCORE
from .test_faults import require

pytestmark = pytest.mark.lab


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair.id)
def test_pair(pair: Pair, bench: Bench, request: pytest.FixtureRequest) -> None:
    require(pair.needs)
    pair.break_it(bench)
    assert bench.server.status() == "err"
    evidence = gather([bench.server])
    with SCORE.noting("pairs", f"{pair.id} on {bench.kind.id}"):
        (document,) = judge(evidence)
        assert document["state"] == "failing", explain(document)
        assert cause_ids(document) == list(pair.causes), explain(document)
        assert document["cause"]["id"] == pair.causes[0], explain(document)
    if request.config.getoption("--record"):
        record(f"pair-{pair.id}", bench, evidence, expectation(document), None)
