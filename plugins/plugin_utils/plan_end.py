# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""The end of a plan: the save that proves a cure, and what follows it.

A save is started only where something is to be proven, and never where it may take the server down. The same code
judges the evidence after the fixes and, in a plan, the evidence as the fixes will leave it.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from ansible_collections.redisops.persistence.plugins.module_utils import _changes
from ansible_collections.redisops.persistence.plugins.plugin_utils.fixes import VERIFY, FixEntry
from ansible_collections.redisops.persistence.plugins.plugin_utils.plan_case import (
    APPLY,
    MANUAL,
    OPT_IN,
    REFUSE,
    Action,
    CannotFix,
    Situation,
    Work,
    need_server,
)
from ansible_collections.redisops.persistence.plugins.plugin_utils.plan_settings import (
    STOP_WRITES,
    rewrite_config,
    stop_writes,
)
from ansible_collections.redisops.persistence.plugins.plugin_utils.values import text

STOP_WRITES_FIX, REWRITE = "stop_writes", "rewrite_config"
# States of a server that can't be asked for a save, or that has one that hangs.
NO_SAVE_IN = ("unreachable", "auth_required", "not_permitted", "loading", "unsupported", "save_stuck")
# Fixes that change run-time parameters in a way that the configuration file doesn't have yet.
CONFIG_FIXES = frozenset(("stop_writes", "save_points", "maxmemory", "oom_score"))

Decided = tuple[FixEntry, t.Optional[Work]]


@dataclass(frozen=True)
class Done:
    """What a run has changed, or will have, of one server.

    :param was_incident: something was changed to cure it, so that a save has to show the cure.
    :param parameters: run-time parameters that were changed and that its configuration file doesn't have.
    :param drift: parameters that differed from the file before; null: not known.
    :param unblocked: writes are let through for a while; the timer of that puts the parameter back. Null: not known.
    """

    was_incident: bool = False
    parameters: frozenset[str] = frozenset()
    drift: tuple[str, ...] | None = None
    unblocked: bool | None = False


def entry_of(situation: Situation, fix_id: str, decision: str, reason: str, work: Work | None = None) -> FixEntry:
    """PLAN FIX with a decision of the plan."""
    rule = situation.rule(fix_id)
    commands = rule["commands"] if work is None or work.commands is None else work.commands
    return {
        "id": fix_id,
        "class": rule["class"],
        "decision": decision,
        "reason": reason,
        "commands": [] if decision == REFUSE else commands,
        "changes": [] if work is None else work.changes,
    }


def decide_end(situation: Situation, done: Done) -> list[Decided]:
    """verify, stop_writes and rewrite_config of one server, in the order in which they are carried out.

    What an emergency unblock has left is put back before the save: also where that fails.
    """
    decided: list[Decided] = []
    is_left = situation.signals.get("emergency_unblock_over") is True
    proof = _verify(situation, done)
    if proof is not None:
        decided.append(proof)
    will_save = proof is not None and proof[1] is not None and situation.policy.selects(VERIFY)
    writes = _stop_writes(situation, done, will_save)
    if writes is not None:
        decided.insert(0 if is_left else len(decided), writes)
    own = set(done.parameters)
    if writes is not None and writes[1] is not None and situation.policy.selects(STOP_WRITES_FIX):
        own.add(STOP_WRITES)
    kept = _rewrite(situation, done, own)
    if kept is not None:
        decided.append(kept)
    return decided


def _skipped(situation: Situation, fix_id: str) -> FixEntry | None:
    if fix_id in situation.policy.skip:
        return entry_of(situation, fix_id, REFUSE, "remediate_skip names it.")
    return None


def _verify(situation: Situation, done: Done) -> Decided | None:
    """The save. Null where nothing has to be proven and nothing offers it."""
    is_due = situation.status_is_err or done.was_incident
    if not is_due and VERIFY not in situation.risk_fixes:
        return None
    skipped = _skipped(situation, VERIFY)
    if skipped is not None:
        return skipped, None
    try:
        _forbid_save(situation)
        if situation.policy.scope == "prevention":
            raise CannotFix(REFUSE, "remediate_scope is prevention: nothing is proven.")
        reason = _why_save(situation, is_due)
    except CannotFix as why:
        return entry_of(situation, VERIFY, why.decision, why.reason), None
    before = "err" if situation.status_is_err else text(situation.diagnosis, "status") or "unknown"
    arguments = {"wait_timeout_seconds": situation.policy.verify_timeout_seconds}
    work = Work(arguments, [_changes.change(_changes.SAVE, before, "ok", reversible=False)])
    return entry_of(situation, VERIFY, APPLY, reason, work), work


def _forbid_save(situation: Situation) -> None:
    """Raises CannotFix where no opting in may start a save."""
    need_server(situation)
    state = text(situation.diagnosis, "state")
    if state in NO_SAVE_IN:
        raise CannotFix(MANUAL, f"The server is in a state in which no save can be asked for ({state}).")
    if situation.signals.get("hijacked") is True:
        raise CannotFix(REFUSE, "The dump would be written to a place that intruders use.")
    if situation.signals.get("hijacked") is None and situation.signals.get("hijack_reasons"):
        raise CannotFix(REFUSE, "Whether intruders have aimed the dump there can't be told.")
    if situation.save_is_deadly:
        raise CannotFix(REFUSE, "There is too little memory for a save: it may take the server down.")


def _why_save(situation: Situation, is_due: bool) -> str:
    """The reason for a save. Raises CannotFix where it takes opting in."""
    rule = situation.rule(VERIFY)
    decision, reason = str(rule["decision"]), str(rule["reason"])
    if decision == APPLY and not is_due:
        decision, reason = (
            OPT_IN,
            "The last save did not fail, and nothing was changed that a save would have to prove.",
        )
    if decision == APPLY and situation.storage_untrusted:
        decision, reason = OPT_IN, "The storage reports errors: a save is not tried again before that is put right."
    if decision == APPLY and situation.signals.get("shared_dump_with"):
        decision, reason = OPT_IN, "Another server writes the same dump, and this save would replace what it wrote."
    if decision == APPLY:
        return reason
    if decision == OPT_IN and situation.opted_in(VERIFY):
        return f"{reason} remediate_opt_in names it."
    raise CannotFix(decision, reason)


def _stop_writes(situation: Situation, done: Done, will_save: bool) -> Decided | None:
    """Where the last save failed it waits for one that succeeds: otherwise writes would stop at once."""
    if STOP_WRITES_FIX not in situation.incident_fixes | situation.risk_fixes:
        return None
    if not situation.status_is_err and not done.was_incident:
        return None
    skipped = _skipped(situation, STOP_WRITES_FIX)
    if skipped is not None:
        return skipped, None
    try:
        if done.unblocked or (done.unblocked is None and situation.opted_in("emergency_unblock")):
            raise CannotFix(REFUSE, "Writes are let through for a while; the timer of that puts it back.")
        rule = situation.rule(STOP_WRITES_FIX)
        is_left = situation.signals.get("emergency_unblock_over") is True
        if situation.policy.scope == "incident" and not is_left:
            raise CannotFix(REFUSE, "remediate_scope is incident: this is against a risk.")
        if is_left and rule["decision"] == APPLY:
            reason = str(rule["reason"])
        elif will_save:
            reason = "Once the save has succeeded: a failed save then shows at once, instead of as lost data later."
        elif situation.opted_in(STOP_WRITES_FIX):
            reason = "remediate_opt_in names it. Writes stop at once, as the last save has failed."
        else:
            raise CannotFix(OPT_IN, str(rule["reason"]))
        work = stop_writes(situation)
    except CannotFix as why:
        return entry_of(situation, STOP_WRITES_FIX, why.decision, why.reason), None
    return (entry_of(situation, STOP_WRITES_FIX, APPLY, reason, work), work) if work.changes else None


def _rewrite(situation: Situation, done: Done, own: set[str]) -> Decided | None:
    """By default only for our own changes, where they are all that differs from the file."""
    is_offered = REWRITE in situation.incident_fixes | situation.risk_fixes
    is_asked_for = situation.opted_in(REWRITE) and (is_offered or done.drift)
    if not own and not is_offered and not is_asked_for:
        return None
    skipped = _skipped(situation, REWRITE)
    if skipped is not None:
        return skipped, None
    rule = situation.rule(REWRITE)
    try:
        if rule["decision"] == REFUSE:
            raise CannotFix(REFUSE, str(rule["reason"]))
        if not own and not is_asked_for:
            raise CannotFix(OPT_IN, str(rule["reason"]))
        if done.unblocked:
            raise CannotFix(REFUSE, "Writes are let through for a while: a rewrite would make that permanent.")
        work = rewrite_config(situation, own, None if done.drift is None else list(done.drift))
    except CannotFix as why:
        return entry_of(situation, REWRITE, why.decision, why.reason), None
    reason = (
        f"It keeps what this run changes ({', '.join(sorted(own))}) over a restart."
        if own
        else f"{rule['reason']} remediate_opt_in names it."
    )
    return entry_of(situation, REWRITE, APPLY, reason, work), work


def action_of(situation: Situation, fix_id: str, work: Work) -> Action:
    """ACTION for this server."""
    return {"fix": fix_id, "address": situation.address, "arguments": work.arguments, "changes": work.changes}
