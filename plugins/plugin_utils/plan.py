# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""From diagnoses and a policy to a plan: what is done about each server, in which order, what is not, and why.

The rules have decided what helps and what is done unasked (``fixes`` of a diagnosis). Here the operator's policy comes
on top, then the facts: a fix that lacks what it needs is not applied. Nothing turns a refusal, or what only a person
can do, into something that is applied. Pure: nothing is read but the arguments.
"""

from __future__ import annotations

import typing as t
from collections import abc

from ansible_collections.redisops.persistence.plugins.plugin_utils import (
    plan_directory,
    plan_limits,
    plan_settings,
)
from ansible_collections.redisops.persistence.plugins.plugin_utils.diagnosis import check_evidence, diagnose
from ansible_collections.redisops.persistence.plugins.plugin_utils.fixes import MANUAL as MANUAL_FIX
from ansible_collections.redisops.persistence.plugins.plugin_utils.fixes import VERIFY, FixEntry
from ansible_collections.redisops.persistence.plugins.plugin_utils.plan_case import (
    APPLY,
    OPT_IN,
    REFUSE,
    Action,
    CannotFix,
    Situation,
    Work,
    connection_of,
    look_at,
)
from ansible_collections.redisops.persistence.plugins.plugin_utils.plan_effects import evidence_after
from ansible_collections.redisops.persistence.plugins.plugin_utils.plan_end import (
    CONFIG_FIXES,
    REWRITE,
    STOP_WRITES_FIX,
    Done,
    action_of,
    decide_end,
    entry_of,
    parameters_before,
)
from ansible_collections.redisops.persistence.plugins.plugin_utils.policy import Policy
from ansible_collections.redisops.persistence.plugins.plugin_utils.rules import Rules
from ansible_collections.redisops.persistence.plugins.plugin_utils.text import DEFECT_REMEDY, clean
from ansible_collections.redisops.persistence.plugins.plugin_utils.values import Mapping, entries, mapping, text

Plan = dict[str, t.Any]
Builder = t.Callable[[Situation], Work]

# In the order in which they are carried out: writes first, then the copy, the host, limits, the directory from the
# outside in, restarts, and what a restart would forget.
BUILDERS: dict[str, Builder] = {
    "emergency_unblock": plan_settings.emergency_unblock,
    "rescue": plan_settings.rescue,
    "overcommit": plan_settings.overcommit,
    "thp": plan_settings.huge_pages,
    "process_limit": plan_limits.process_limit,
    "file_size_limit": plan_limits.file_size_limit,
    "pids_limit": plan_limits.pids_limit,
    "cgroup_memory": plan_limits.cgroup_memory,
    "immutable": plan_directory.immutable,
    "data_dir": plan_directory.data_dir,
    "destination": plan_directory.destination,
    "orphan_temp_files": plan_directory.orphan_temp_files,
    "restore_dir": plan_directory.restore_dir,
    "recreate_dir": plan_directory.recreate_dir,
    "unit_sandbox": plan_directory.unit_sandbox,
    "oom_score": plan_settings.oom_score,
    "save_points": plan_settings.save_points,
    "maxmemory": plan_settings.maxmemory,
    "stop_writes": plan_settings.stop_writes,
}
HOST_WIDE = ("overcommit", "thp")
# Done where the operator asks for them, although nothing offers them.
ON_REQUEST = (
    "emergency_unblock",
    "rescue",
    "pids_limit",
    "cgroup_memory",
    "oom_score",
    "save_points",
    "maxmemory",
)
# Decided together with the proof, after everything else.
AT_THE_END = (VERIFY, REWRITE)
INCIDENT_ONLY = ("emergency_unblock", "rescue")
# Fixes that restart the server, after a copy of every key.
WITH_COPY = ("recreate_dir", "unit_sandbox")
# What opting in needs beside the name of the fix.
HOW_TO_ASK = {
    "pids_limit": "It is given with remediate_pids_limit.",
    "cgroup_memory": "It is given with remediate_cgroup_memory_bytes.",
    "maxmemory": "It is given with remediate_maxmemory.",
    "save_points": "They are given with remediate_save_points.",
    "rescue": "Its place is given with remediate_rescue_dir.",
    "unit_sandbox": "The place for that is given with remediate_rescue_dir.",
}
_NOTHING = Work({}, [])
NOT_SELECTED = "not selected by the tags of this run"


class _Draft:
    """The plan of one server while it is being made."""

    def __init__(self, situation: Situation) -> None:
        self.situation = situation
        self.fixes: list[FixEntry] = []
        self.work: dict[str, Work] = {}

    def offered(self) -> list[FixEntry]:
        """What the diagnosis offers, then what the operator asks for beside it."""
        offered = [dict(entry) for entry in entries(self.situation.diagnosis, "fixes")]
        names = {entry.get("id") for entry in offered}
        extra = [fix for fix in ON_REQUEST if self.situation.opted_in(fix) and fix not in names]
        return offered + [self.situation.rule(fix) for fix in extra]

    def decide_all(self) -> None:
        for entry in self.offered():
            fix_id = str(entry.get("id"))
            if fix_id == MANUAL_FIX or fix_id not in self.situation.rules.fixes:
                self.fixes.append({**entry, "changes": []})
            elif fix_id in AT_THE_END or (fix_id == STOP_WRITES_FIX and self.situation.status_is_err):
                self.fixes.append({**entry, "changes": []})  # replaced when the end is decided
            else:
                self.decide(entry, fix_id)
        self.drop_included()

    def give_up(self, error: Exception) -> None:
        """Nothing is done to a server whose plan ended in an error that nobody foresaw."""
        reason = f"The plan could not be made ({clean(f'{type(error).__name__}: {error}')}). {DEFECT_REMEDY}"
        offered = entries(self.situation.diagnosis, "fixes")
        self.fixes = [{**entry, "decision": REFUSE, "reason": reason, "changes": []} for entry in offered]
        self.work = {}

    def give_up_end(self, error: Exception) -> None:
        """The same for the proof and what follows it."""
        reason = f"It could not be decided ({clean(f'{type(error).__name__}: {error}')}). {DEFECT_REMEDY}"
        for position, entry in enumerate(self.fixes):
            if entry["id"] in (*AT_THE_END, STOP_WRITES_FIX):
                self.fixes[position] = {**entry, "decision": REFUSE, "reason": reason, "changes": []}

    def decide(self, entry: FixEntry, fix_id: str) -> None:
        situation = self.situation
        is_offered = fix_id in situation.incident_fixes | situation.risk_fixes
        try:
            reason = self.policy_reason(entry, fix_id)
            work = BUILDERS[fix_id](situation)
        except CannotFix as why:
            if is_offered or self.is_worth_saying(fix_id, why):
                self.fixes.append(entry_of(situation, fix_id, why.decision, why.reason))
            return
        if not work.changes:
            if is_offered:
                self.fixes.append(entry_of(situation, fix_id, APPLY, f"{reason} It is so already."))
            return
        if work.note:
            reason = f"{reason} {work.note}"
        if situation.policy.selects(fix_id):
            self.work[fix_id] = work
        else:
            reason = f"{reason.rstrip('.')}; {NOT_SELECTED}"
        self.fixes.append(entry_of(situation, fix_id, APPLY, reason, work))

    def is_worth_saying(self, fix_id: str, why: CannotFix) -> bool:
        """Of what only the operator's list names: a value is missing, or the value would do harm, or it is needed."""
        needed = fix_id in INCIDENT_ONLY and self.situation.status_is_err
        return why.decision == OPT_IN or fix_id == "maxmemory" or needed

    def drop_included(self) -> None:
        """A restart takes the copy itself; a second one would only bring it to the control node."""
        copies = [fix for fix in WITH_COPY if (self.work.get(fix) or _NOTHING).arguments.get("rescue_directory")]
        if not copies or self.situation.policy.rescue_control_dir is not None or "rescue" not in self.work:
            return
        del self.work["rescue"]
        for position, entry in enumerate(self.fixes):
            if entry["id"] == "rescue":
                self.fixes[position] = {**entry, "reason": f"It is a step of {copies[0]}.", "changes": []}

    def policy_reason(self, entry: FixEntry, fix_id: str) -> str:
        """Why it is applied, before the facts are asked. Raises CannotFix where it isn't."""
        situation, policy = self.situation, self.situation.policy
        decision, reason = str(entry["decision"]), str(entry["reason"])
        if fix_id in policy.skip:
            raise CannotFix(REFUSE, "remediate_skip names it.")
        if decision not in (APPLY, OPT_IN):
            raise CannotFix(decision, reason)
        if decision == OPT_IN:
            if fix_id not in policy.opt_in:
                raise CannotFix(OPT_IN, f"{reason} {HOW_TO_ASK.get(fix_id, '')}".strip())
            reason = f"{reason} remediate_opt_in names it."
        is_incident = fix_id in situation.incident_fixes or fix_id in INCIDENT_ONLY
        if policy.scope == "incident" and not is_incident:
            raise CannotFix(REFUSE, "remediate_scope is incident: this is against a risk.")
        if policy.scope == "prevention" and is_incident:
            raise CannotFix(REFUSE, "remediate_scope is prevention: this is for a save that fails.")
        return reason

    def applied(self, actions: t.Iterable[Action]) -> Done:
        """What the actions change of this server."""
        situation = self.situation
        mine = [action for action in actions if action["address"] in (None, situation.address)]
        drift = plan_settings.drift_before(situation)
        return Done(
            was_incident=any(action["fix"] in situation.incident_fixes for action in mine),
            parameters=_own_parameters(mine, situation.address),
            drift=None if drift is None else tuple(drift),
            unblocked=any(action["fix"] == "emergency_unblock" for action in mine),
        )

    def put_end(self, decided: t.Iterable[tuple[FixEntry, Work | None]]) -> None:
        """Replace what the diagnosis said of the end by what comes of it; add what it did not name."""
        by_id = {entry["id"]: entry for entry, _work in decided}
        waiting = {*AT_THE_END, *((STOP_WRITES_FIX,) if self.situation.status_is_err else ())}
        kept = []
        for entry in self.fixes:
            if entry["id"] not in waiting:
                kept.append(entry)
            elif entry["id"] in by_id:
                kept.append(by_id.pop(entry["id"]))
            elif entry["decision"] != APPLY:
                kept.append(entry)
        self.fixes = kept + list(by_id.values())


def _own_parameters(actions: t.Iterable[Action], address: str) -> dict[str, str | None]:
    own: dict[str, str | None] = {}
    for action in actions:
        if action["fix"] in CONFIG_FIXES and action["address"] == address:
            own.update(parameters_before(mapping(action, "arguments"), entries(action, "changes")))
    return own


def build_plan(
    evidence: Mapping, diagnoses: t.Sequence[Mapping], rules: Rules, policy: Policy, check_mode: bool = False
) -> Plan:
    """{instances: [{address, connection, plan: [FIX]}], actions: [ACTION]}.

    FIX is {id, class, decision, reason, commands, changes}, ACTION {fix, address, arguments, changes}: ``address`` null
    is the host. In check mode the actions hold the proof and what follows it as well, as they are predicted; otherwise
    :func:`verification_actions` gives those after the fixes. Where there is nothing but a save to be made the actions
    hold it in either mode.
    """
    evidence = check_evidence(evidence)
    drafts = [_Draft(situation) for situation in look_at(evidence, diagnoses, rules, policy)]
    for draft in drafts:
        try:
            draft.decide_all()
        except Exception as error:  # the rim: one odd server never keeps another from its fixes
            draft.give_up(error)
    actions = _order(drafts)
    later = _decide_ends(evidence, rules, policy, drafts, actions)
    if check_mode or not actions:
        actions = actions + later
    return {
        "instances": [_instance(draft.situation.address, draft.fixes) for draft in drafts],
        "actions": actions,
    }


def _instance(address: str, fixes: list[FixEntry]) -> dict[str, t.Any]:
    return {"address": address, "connection": connection_of(address), "plan": fixes}


def _order(drafts: t.Sequence[_Draft]) -> list[Action]:
    """The actions of a host in order; what several servers share is changed once."""
    actions: list[Action] = []
    taken: set[tuple[str | None, str]] = set()
    for fix_id in BUILDERS:
        for draft in drafts:
            work = draft.work.get(fix_id)
            if work is None:
                continue
            action = action_of(draft.situation, fix_id, work)
            if fix_id in HOST_WIDE:
                action["address"] = None
            # A second copy is one.
            fresh = [
                change for change in work.changes if change.get("part") == "rescue" or _key(action, change) not in taken
            ]
            if not fresh:
                continue
            taken.update(_key(action, change) for change in fresh)
            actions.append({**action, "changes": fresh})
    return actions


_SHARED = ("sysctl ", "sysfs ", "file ", "directory ", "owner of ", "mode of ", "attributes of ", "temporary file ")


def _key(action: Action, change: Mapping) -> tuple[str | None, str]:
    """What is changed: of the host (files, groups, settings of the kernel), or of one server."""
    what = str(change["what"])
    is_shared = what.startswith(_SHARED) or " limit of the control group " in what
    return (None if is_shared else action["address"]), what


def _decide_ends(
    evidence: Mapping, rules: Rules, policy: Policy, drafts: t.Sequence[_Draft], actions: list[Action]
) -> list[Action]:
    """Judge the proof on the evidence as the actions leave it. Gives its actions; completes the drafts."""
    after = [draft.situation for draft in drafts]
    if actions:
        predicted = evidence_after(evidence, actions)
        after = look_at(predicted, diagnose(predicted, rules), rules, policy)
    later: list[Action] = []
    for draft, situation in zip(drafts, after):
        try:
            decided = decide_end(situation, draft.applied(actions))
            draft.put_end(_without_unselected(decided, policy))
            later += _end_actions(situation, decided)
        except Exception as error:  # what was decided before stands; the end of it is not begun
            draft.give_up_end(error)
    return _order_ends(later, after)


_END_ORDER = (VERIFY, STOP_WRITES_FIX, REWRITE)


def _order_ends(actions: t.Iterable[Action], situations: t.Iterable[Situation]) -> list[Action]:
    """The saves, then what waits for them. What an emergency unblock has left is put back first."""
    left = {one.address for one in situations if one.signals.get("emergency_unblock_over") is True}

    def rank(action: Action) -> int:
        is_left = action["fix"] == STOP_WRITES_FIX and action["address"] in left
        return -1 if is_left else _END_ORDER.index(action["fix"])

    return sorted(actions, key=rank)


def _without_unselected(
    decided: t.Iterable[tuple[FixEntry, Work | None]], policy: Policy
) -> list[tuple[FixEntry, Work | None]]:
    """The entries, those that the tags leave out named so."""
    return [
        (entry, work)
        if work is None or policy.selects(entry["id"])
        else ({**entry, "reason": f"{entry['reason'].rstrip('.')}; {NOT_SELECTED}"}, None)
        for entry, work in decided
    ]


def _end_actions(situation: Situation, decided: t.Iterable[tuple[FixEntry, Work | None]]) -> list[Action]:
    return [
        action_of(situation, entry["id"], work)
        for entry, work in decided
        if work is not None and work.changes and situation.policy.selects(entry["id"])
    ]


def verification_actions(
    evidence: Mapping,
    diagnoses: t.Sequence[Mapping],
    rules: Rules,
    policy: Policy,
    changed_addresses: t.Iterable[str | None],
    plan: Mapping | None = None,
) -> tuple[list[dict[str, t.Any]], list[Action]]:
    """The saves that prove the fixes, and what follows them, judged on the evidence after the fixes.

    :param changed_addresses: servers of which something was changed (null: the host).
    :param plan: what :func:`build_plan` gave before. It tells which changes were to cure a failure, and what differed
        from the configuration file before. Without it every change counts as one to be proven, and no file is written.
    :return: ([{address, connection, plan: [FIX]}] of the servers where anything was decided, [ACTION]).
    """
    changed = set(changed_addresses)
    fixes: list[dict[str, t.Any]] = []
    actions: list[Action] = []
    situations = look_at(check_evidence(evidence), diagnoses, rules, policy)
    for situation in situations:
        planned = _planned_of(plan, situation.address)
        if plan is not None and _was_verified(plan, situation.address):
            continue
        decided = decide_end(situation, _done_by(situation, changed, plan, planned))
        if planned is not None:
            decided = [pair for pair in decided if pair[0]["id"] != REWRITE or _may_rewrite(planned)]
        shown = [entry for entry, _work in _without_unselected(decided, policy)]
        if shown:
            fixes.append(_instance(situation.address, shown))
        actions += _end_actions(situation, decided)
    return fixes, _order_ends(actions, situations)


def _planned_of(plan: Mapping | None, address: str) -> dict[str, Mapping] | None:
    """{fix id: FIX} of a server in the plan; null without a plan."""
    if plan is None:
        return None
    for instance in entries(plan, "instances"):
        if text(instance, "address") == address:
            return {str(entry.get("id")): entry for entry in entries(instance, "plan")}
    return {}


def _was_verified(plan: Mapping, address: str) -> bool:
    """Whether the plan's own actions held the save already."""
    return any(action.get("fix") == VERIFY and action.get("address") == address for action in entries(plan, "actions"))


def _may_rewrite(planned: Mapping) -> bool:
    """The plan knew what differed from the file before; afterwards nobody can tell that from what we changed."""
    return text(planned.get(REWRITE), "decision") == APPLY


def _done_by(situation: Situation, changed: abc.Set[str | None], plan: Mapping | None, planned: Mapping | None) -> Done:
    address = situation.address
    is_changed = address in changed or None in changed
    if plan is None or planned is None:
        return Done(was_incident=address in changed, unblocked=None)
    mine = [dict(action) for action in entries(plan, "actions") if action.get("address") == address]
    own = _own_parameters(mine, address) if address in changed else {}
    drift: list[str] | None = []
    if situation.opted_in(REWRITE):
        drift = plan_settings.drift_before(situation)
    return Done(
        was_incident=is_changed and text(planned.get(VERIFY), "decision") == APPLY,
        parameters=own,
        drift=None if drift is None else tuple(drift),
        unblocked=any(action["fix"] == "emergency_unblock" for action in mine),
    )
