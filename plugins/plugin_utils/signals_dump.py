# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""Signals about the file in the dump's place: whose it is, what it has, and whether the server wants a dump at all."""

from __future__ import annotations

import typing as t

from ansible_collections.redisops.persistence.plugins.module_utils._dump import (
    DumpJudgement,
    facts_of_instance,
    judge_dump,
)
from ansible_collections.redisops.persistence.plugins.plugin_utils.case import Case
from ansible_collections.redisops.persistence.plugins.plugin_utils.signals_saves import save_points_of
from ansible_collections.redisops.persistence.plugins.plugin_utils.values import mapping

FOREIGN, NOT_KNOWN = "foreign", "unknown"


def judged_dump(case: Case) -> DumpJudgement | None:
    """The judgement of the dump; None where it was not looked at: no process was seen, or the evidence is older."""
    dump = mapping(case.directory, "dump")
    if (dump and "header" not in dump) or not (case.directory or case.process):
        return None
    judgement: DumpJudgement = judge_dump(facts_of_instance(case.instance, case.attempts, case.now))
    return judgement


def dump_document(judgement: DumpJudgement | None) -> dict[str, t.Any]:
    """``dump`` of the diagnosis document."""
    if judgement is None:
        judgement = DumpJudgement(NOT_KNOWN, None, None, None, None, "The evidence does not tell whose the dump is.")
    return judgement._asdict()


def dump_signals(case: Case, judgement: DumpJudgement | None) -> dict[str, t.Any]:
    """All signals of this subject."""
    points = save_points_of(case)
    return {
        "save_wanted": None if points is None else bool(points),
        "dump_owner": None if judgement is None else judgement.owner,
        "dump_bytes": None if judgement is None else judgement.bytes,
        "dump_saved_unix": None if judgement is None else judgement.saved_unix,
        "dump_keys_at_least": None if judgement is None else judgement.keys_at_least,
        "dump_much_larger": None if judgement is None else judgement.much_larger,
        "dump_why": None if judgement is None else judgement.why,
        "dump_not_ours": None if judgement is None else is_not_ours(judgement),
    }


def is_not_ours(judgement: DumpJudgement) -> bool:
    """May a save replace something that is worth more than what is in memory?"""
    return judgement.owner in (FOREIGN, NOT_KNOWN) or judgement.much_larger is True
