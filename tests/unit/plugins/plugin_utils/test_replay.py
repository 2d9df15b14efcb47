# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The evidence of real failures, recorded by the lab: each file must lead to its verdict again.

A file is {"evidence": .., "expect": {state, cause, confidence, ..}, ..}; only what ``expect`` names is compared, and a
confidence is the least that is asked for.
"""

from __future__ import annotations

import json
import typing as t
from pathlib import Path

import pytest
from ansible_collections.redisops.persistence.plugins.plugin_utils.diagnosis import diagnose
from ansible_collections.redisops.persistence.plugins.plugin_utils.rules import CONFIDENCES, load_rules

DIRECTORY = Path(__file__).resolve().parents[2] / "fixtures" / "replay"
FILES = sorted(DIRECTORY.glob("*.json")) if DIRECTORY.is_dir() else []
RULES = load_rules()


def test_there_are_recordings() -> None:
    if not DIRECTORY.is_dir():
        pytest.skip("nothing has been recorded yet")
    assert FILES, "the directory of recordings is empty"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_recording_leads_to_its_verdict_again(path: Path) -> None:
    recording: dict[str, t.Any] = json.loads(path.read_text(encoding="utf-8"))
    expect = recording["expect"]
    diagnosis = diagnose(recording["evidence"], RULES)[0]
    cause = diagnosis["cause"]
    if "state" in expect:
        assert diagnosis["state"] == expect["state"]
    if "cause" in expect:
        assert (None if cause is None else cause["id"]) == expect["cause"]
    if "causes" in expect:
        assert [entry["id"] for entry in diagnosis["causes"]] == expect["causes"]
    if expect.get("confidence"):
        assert cause is not None
        assert CONFIDENCES.index(cause["confidence"]) <= CONFIDENCES.index(expect["confidence"])
    if isinstance(expect.get("still_present"), bool):
        assert cause is not None
        assert cause["still_present"] is expect["still_present"]
    if "writes_blocked" in expect:
        assert diagnosis["writes_blocked"] is expect["writes_blocked"]
    if "will_retry" in expect:
        assert diagnosis["recovery"]["will_retry"] is expect["will_retry"]
    if "forecast" in expect:
        assert diagnosis["forecast"]["answer"] == expect["forecast"]
    offered = {fix["id"] for fix in diagnosis["fixes"] if fix["decision"] != "refuse"}
    assert set(expect.get("fixes", [])) <= offered
    risks = {risk["id"] for risk in diagnosis["risks"]}
    assert set(expect.get("risks", [])) <= risks
    assert not set(expect.get("no_risks", [])) & risks
