# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""Will the next save succeed? From what stands now, not from what happened last time."""

from __future__ import annotations

import typing as t

from ansible_collections.redisops.persistence.plugins.plugin_utils.expressions import NO, UNKNOWN, YES, Context
from ansible_collections.redisops.persistence.plugins.plugin_utils.rules import Rules

WILL_SUCCEED = "will_succeed"
WILL_FAIL = "will_fail"

# The figures that the answer rests on.
FORECAST_SIGNALS = (
    "usable_bytes",
    "last_rdb_bytes",
    "next_rdb_estimate_bytes",
    "next_rdb_most_bytes",
    "inodes_usable",
    "resident_bytes",
    "copy_on_write_expected_bytes",
    "copy_on_write_cautious_bytes",
    "bytes_written_per_second",
    "save_expected_seconds",
    "dump_in_memory_bytes",
    "host_memory_headroom_bytes",
    "cgroup_memory_headroom_bytes",
    "overcommit_mode",
    "commit_needed_bytes",
    "commit_headroom_bytes",
    "nproc_headroom",
    "pids_headroom",
    "file_size_limit_bytes",
    "directory_blocked",
    "read_only_for_server",
)
Missing = dict[str, str]


def _root_of(outcome_id: str, rules: Rules, context: Context) -> str:
    """What absorbs what it leads to (a hijacked directory) is why whatever stands there stands."""
    for outcome in rules.outcomes.values():
        if outcome.absorbs and outcome_id in outcome.leads_to and rules.stands(outcome.id, context) == YES:
            return outcome.id
    return outcome_id


def _missing(outcome_id: str, rules: Rules, context: Context) -> Missing:
    outcome = rules.outcomes[outcome_id]
    unknown = outcome.present.unknown_paths(context) if outcome.present is not None else []
    return {
        "what": f"whether this stands: {outcome.title[0].lower()}{outcome.title[1:]}",
        "why": f"not known: {', '.join(unknown)}" if unknown else "the state of the host does not show it",
        "remedy": outcome.missing_remedy or "",
    }


def forecast(
    rules: Rules,
    context: Context,
    asked: bool,
    verdict: str | None = None,
    verdict_stands: bool | None = None,
) -> dict[str, t.Any]:
    """{answer, cause, missing, signals}.

    :param asked: false for a server that did not answer: nothing can be said of it.
    :param verdict: the cause of the last failure; while nobody knows whether it still stands, nobody knows whether
        the next save succeeds.
    """
    signals = {name: context["signals"].get(name) for name in FORECAST_SIGNALS}
    if not asked:
        missing = {"what": "the state of the server", "why": "it did not answer", "remedy": "Make it answer first."}
        return {"answer": UNKNOWN, "cause": None, "missing": [missing], "signals": signals}
    missing_list: list[Missing] = []
    for outcome in rules.outcomes.values():
        if outcome.kind != "cause" or outcome.forecast == "never" or outcome.absorbs:
            continue
        stands = rules.stands(outcome.id, context)
        if stands == YES:
            cause = _root_of(outcome.id, rules, context)
            return {"answer": WILL_FAIL, "cause": cause, "missing": [], "signals": signals}
        if stands == UNKNOWN and outcome.forecast == "required":
            missing_list.append(_missing(outcome.id, rules, context))
    if verdict is not None and verdict_stands is True and not rules.outcomes[verdict].absorbs:
        return {"answer": WILL_FAIL, "cause": verdict, "missing": [], "signals": signals}
    if verdict is not None and verdict_stands is None and rules.stands(verdict, context) != NO:
        names = {entry["what"] for entry in missing_list}
        entry = _missing(verdict, rules, context)
        if entry["what"] not in names:
            entry["remedy"] = entry["remedy"] or "Put the cause right, then prove it with one save."
            missing_list.append(entry)
    answer = UNKNOWN if missing_list else WILL_SUCCEED
    return {"answer": answer, "cause": None, "missing": missing_list, "signals": signals}
