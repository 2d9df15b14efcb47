# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The table is complete: no cause and no state without a fault. Needs no server."""

from __future__ import annotations

from .controls import CONTROLS
from .faults import FAULTS, STATES
from .judging import REPLAY_DIRECTORY, rules
from .pairs import PAIRS


def test_every_cause_has_a_fault() -> None:
    causes = {name for name, outcome in rules().outcomes.items() if outcome.kind == "cause"}
    assert causes == {fault.verdict for fault in FAULTS}


def test_every_state_is_reached() -> None:
    states = {name for name, outcome in rules().outcomes.items() if outcome.kind == "state"}
    assert states == {fault.verdict for fault in STATES}


def test_what_is_added_to_the_evidence_has_its_reason() -> None:
    for fault in FAULTS + STATES:
        assert (fault.amend is None) == (fault.amended is None), fault.id


def test_names_are_unique() -> None:
    for table in (FAULTS + STATES, CONTROLS, PAIRS):
        names = [line.id for line in table]
        assert len(names) == len(set(names))


def test_every_fault_is_recorded() -> None:
    recorded = {path.stem for path in REPLAY_DIRECTORY.glob("*.json")}
    for fault in FAULTS + STATES:
        assert any(name.endswith(f"-{fault.id}") for name in recorded), f"{fault.id} has no recorded evidence"
