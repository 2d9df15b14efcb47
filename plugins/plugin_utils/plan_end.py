# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""The end of a plan: the save that proves a cure, and what follows it.

A save is started only where something is to be proven, and never where it may take the server down. The same code
judges the evidence after the fixes and, in a plan, the evidence as the fixes will leave it.
"""

from __future__ import annotations

import posixpath
import typing as t
from dataclasses import dataclass, field

from ansible_collections.redisops.persistence.plugins.module_utils import _changes, _save_guard
from ansible_collections.redisops.persistence.plugins.module_utils._dump import facts_of_instance, judge_dump
from ansible_collections.redisops.persistence.plugins.plugin_utils.fixes import VERIFY, FixEntry
from ansible_collections.redisops.persistence.plugins.plugin_utils.forecast import WILL_SUCCEED
from ansible_collections.redisops.persistence.plugins.plugin_utils.plan_case import (
    APPLY,
    MANUAL,
    OPT_IN,
    REFUSE,
    Action,
    CannotFix,
    Situation,
    Work,
    is_local_client,
    need_server,
)
from ansible_collections.redisops.persistence.plugins.plugin_utils.plan_settings import (
    rewrite_config,
    stop_writes,
)
from ansible_collections.redisops.persistence.plugins.plugin_utils.values import (
    Mapping,
    integer,
    mapping,
    number,
    text,
)

STOP_WRITES_FIX, REWRITE = "stop_writes", "rewrite_config"
# States of a server that can't be asked for a save, or that has one that hangs.
NO_SAVE_IN = ("unreachable", "auth_required", "not_permitted", "loading", "unsupported", "save_stuck")
# Fixes that change run-time parameters in a way that the configuration file doesn't have yet.
CONFIG_FIXES = frozenset(("stop_writes", "save_points", "maxmemory", "oom_score"))

NO_DUMP_WANTED = "no_dump_wanted"
CANNOT_SAVE = "The user may not BGSAVE, so no save can prove anything (ACL SETUSER {user} +bgsave)."
NOT_SEEN_YET = (
    "What lies in the dump's place there can't be seen before the server works there: a second look then decides "
    "whether a save is started."
)
# What a dump that can't be seen yet leaves open.
_ABOUT_THE_DUMP = frozenset(("dump_unknown", "dump_foreign", "dump_much_larger"))

Decided = tuple[FixEntry, t.Optional[Work]]


@dataclass(frozen=True)
class Done:
    """What a run has changed, or will have, of one server.

    :param was_incident: something was changed to cure it, so that a save has to show the cure.
    :param parameters: run-time parameters that were changed and that its configuration file doesn't have, each with
        its running value before (null: not known).
    :param drift: parameters that differed from the file before; null: not known.
    :param unblocked: writes are let through for a while; the timer of that puts the parameter back. Null: not known.
    """

    was_incident: bool = False
    parameters: t.Mapping[str, str | None] = field(default_factory=dict)
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
    own = dict(done.parameters)
    if writes is not None and writes[1] is not None and situation.policy.selects(STOP_WRITES_FIX):
        own.update(parameters_before(writes[1].arguments, writes[1].changes))
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
    found = save_objections(situation)
    try:
        _forbid_save(situation)
        if situation.policy.scope == "prevention":
            raise CannotFix(REFUSE, "remediate_scope is prevention: nothing is proven.")
        reason = _why_save(situation, is_due, found)
    except CannotFix as why:
        entry = entry_of(situation, VERIFY, why.decision, why.reason)
        return {**entry, "objections": [objection["id"] for objection in found]}, None
    work = Work(_save_arguments(situation, found), _save_changes(situation, found))
    return entry_of(situation, VERIFY, APPLY, reason, work), work


def _save_arguments(situation: Situation, found: t.Sequence[Mapping]) -> dict[str, t.Any]:
    """Accepted is exactly what was seen and opted in: where anything else stands against it, the module refuses."""
    arguments: dict[str, t.Any] = {
        "wait_timeout_seconds": situation.policy.verify_timeout_seconds,
        "accept": [str(objection["id"]) for objection in found],
    }
    pid = integer(situation.case.process, "pid")
    if pid is not None:
        arguments.update(pid=pid, started_unix=number(situation.case.process, "started_unix"))
    return arguments


def _save_changes(situation: Situation, found: t.Sequence[Mapping]) -> list[_changes.Change]:
    """The file that is kept beside, then the save; what becomes of that is only told where it is foreseen."""
    changes = []
    dump = judged_dump(situation)
    if _save_guard.must_keep(found, dump):
        place = posixpath.join(_directories(situation)[0], _dump_name(situation) or "")
        text_before = _changes.dump_text(dump["bytes"], dump["keys_at_least"], dump["saved_unix"])
        changes.append(_changes.change(_changes.kept_dump(place), text_before, _changes.KEPT_BESIDE))
    before = "err" if situation.status_is_err else text(situation.diagnosis, "status") or "unknown"
    is_foreseen = text(situation.diagnosis, "forecast", "answer") == WILL_SUCCEED and not is_dump_unseen(situation)
    after = "ok" if is_foreseen else _changes.OUTCOME_UNKNOWN
    return [*changes, _changes.change(_changes.SAVE, before, after, reversible=False)]


# What stands against a save


def judged_dump(situation: Situation) -> dict[str, t.Any]:
    """Whose the file in the dump's place is: {owner, bytes, saved_unix, keys_at_least, much_larger, why}."""
    case = situation.case
    judgement = judge_dump(facts_of_instance(situation.instance, case.attempts, case.now))
    return dict(judgement._asdict())


def is_dump_unseen(situation: Situation) -> bool:
    """Whether a fix takes the server to a place that this evidence does not show."""
    return mapping(situation.case.directory, "dump").get("to_be_seen") is True


def _directories(situation: Situation) -> list[str]:
    directory = text(situation.case.directory, "path") or text(situation.case.config, "dir") or ""
    return [directory]


def _dump_name(situation: Situation) -> str | None:
    return text(situation.case.config, "dbfilename") or text(situation.case.directory, "dump", "name")


def save_objections(situation: Situation) -> list[dict[str, t.Any]]:
    """What the module that saves would object to, by the evidence: [{id, reason, acceptable, opt_in}]."""
    signals, case = situation.signals, situation.case
    points = signals.get("save_points_count")
    facts = _save_guard.SaveFacts(
        dump=judged_dump(situation),
        memory={
            "short": signals.get("save_memory_short"),
            "expected_bytes": signals.get("copy_on_write_expected_bytes"),
            "worst_bytes": signals.get("copy_on_write_worst_bytes"),
            "room_bytes": _room_bytes(signals),
            "why": signals.get("save_memory_why"),
        },
        resident_bytes=signals.get("resident_bytes"),
        directories=_directories(situation),
        dbfilename=_dump_name(situation),
        file_settings=mapping(case.redis, "config_file_settings") or None,
        keys=integer(case.info, "key_count"),
        save_wanted=None if points is None else points > 0,
        shared_with=signals.get("shared_dump_with") or (),
        unseen=_why_unseen(situation),
        now_unix=case.now,
    )
    found = _save_guard.objections(facts)
    if is_dump_unseen(situation):
        found = [objection for objection in found if objection["id"] not in _ABOUT_THE_DUMP]
    return found


def _room_bytes(signals: Mapping) -> float | None:
    headroom, dump = signals.get("memory_headroom_bytes"), signals.get("dump_in_memory_bytes")
    return None if headroom is None else max(headroom - (dump or 0), 0)


def _why_unseen(situation: Situation) -> str | None:
    if integer(situation.case.process, "pid") is not None:
        return None
    is_here = is_local_client(situation.address)
    return _save_guard.PROCESS_NOT_FOUND if is_here else _save_guard.NOT_ON_THIS_HOST


def _forbid_save(situation: Situation) -> None:
    """Raises CannotFix where no opting in may start a save."""
    need_server(situation)
    state = text(situation.diagnosis, "state")
    if state in NO_SAVE_IN:
        raise CannotFix(MANUAL, f"The server is in a state in which no save can be asked for ({state}).")
    if situation.case.redis.get("can_bgsave") is False:
        raise CannotFix(MANUAL, str(situation.case.redis.get("why_no_bgsave") or CANNOT_SAVE))
    if situation.signals.get("hijacked") is True:
        raise CannotFix(REFUSE, "The dump would be written to a place that intruders use.")
    if situation.signals.get("hijacked") is None and situation.signals.get("hijack_reasons"):
        raise CannotFix(REFUSE, "Whether intruders have aimed the dump there can't be told.")
    if situation.signals.get("save_memory_short") is True:
        return  # said with its figures, as an objection
    if situation.save_is_deadly:
        raise CannotFix(REFUSE, "There is too little memory for a save: it may take the server down.")


def _forbid_objections(found: t.Sequence[Mapping]) -> None:
    """Raises CannotFix for what nobody can accept. A server that is told to keep no dump gets none."""
    if any(objection["id"] == NO_DUMP_WANTED for objection in found):
        raise CannotFix(
            REFUSE,
            "The server is told to keep no dump (its save points are empty): its last save's status is without "
            "meaning. Set save points if it is to save.",
        )
    final = [str(objection["reason"]) for objection in found if not objection["opt_in"]]
    if final:
        raise CannotFix(REFUSE, " ".join(final))


def _why_save(situation: Situation, is_due: bool, found: t.Sequence[Mapping]) -> str:
    """The reason for a save. Raises CannotFix where it is refused or takes opting in."""
    _forbid_objections(found)
    rule = situation.rule(VERIFY)
    decision, reason = str(rule["decision"]), str(rule["reason"])
    if decision == APPLY and not is_due:
        decision, reason = (
            OPT_IN,
            "The last save did not fail, and nothing was changed that a save would have to prove.",
        )
    if decision == APPLY and situation.storage_untrusted:
        decision, reason = OPT_IN, "The storage reports errors: a save is not tried again before that is put right."
    if decision in (APPLY, OPT_IN) and found:
        # What the rules say of the dump, the objections say with its figures.
        is_said = decision == APPLY or situation.signals.get("dump_not_ours") is True
        reasons = [*([] if is_said else [reason]), *(str(objection["reason"]) for objection in found)]
        decision, reason = OPT_IN, " ".join(reasons)
    if decision == APPLY:
        return f"{reason} {NOT_SEEN_YET}" if is_dump_unseen(situation) else reason
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


def parameters_before(arguments: Mapping, changes: t.Iterable[Mapping]) -> dict[str, str | None]:
    """{parameter that a fix sets: its running value before, or null}."""
    before = {change.get("what"): change.get("before") for change in changes}
    values = {name: before.get(_changes.parameter(name)) for name in mapping(arguments, "parameters")}
    return {name: value if isinstance(value, str) else None for name, value in values.items()}


def _rewrite(situation: Situation, done: Done, own: dict[str, str | None]) -> Decided | None:
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
