# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""What the operator reads of a remediation: the plan before anything is done, the outcome after it, and a rollback.

Texts of hosts, logs and Redis are made harmless, as on the screens of a diagnosis. Nothing here decides anything.
"""

from __future__ import annotations

import json
import re
import shlex
import typing as t

from ansible_collections.redisops.persistence.plugins.module_utils import _changes
from ansible_collections.redisops.persistence.plugins.plugin_utils.fixes import MANUAL, VERIFY, identity_of, split_fixes
from ansible_collections.redisops.persistence.plugins.plugin_utils.outcome import is_failing, will_fail
from ansible_collections.redisops.persistence.plugins.plugin_utils.plan import NOT_SELECTED
from ansible_collections.redisops.persistence.plugins.plugin_utils.policy import (
    FIX_IDS,
    NOT_ALLOWED,
    PREFIX,
    VALUES_TO_GIVE,
    how_to_ask,
)
from ansible_collections.redisops.persistence.plugins.plugin_utils.rollback import Undone
from ansible_collections.redisops.persistence.plugins.plugin_utils.run_again import BARE, Invocation
from ansible_collections.redisops.persistence.plugins.plugin_utils.screen import (
    INDENT,
    MARGIN,
    end_sentence,
    header,
    headline,
    labelled,
    render_host,
    rule,
    shown,
    state_title,
)
from ansible_collections.redisops.persistence.plugins.plugin_utils.values import Mapping, entries, mapping, text
from ansible_collections.redisops.persistence.plugins.plugin_utils.wording import (
    as_number,
    count,
    duration,
    plain,
    shorten_middle,
    size,
    wrap,
    wrap_command,
)

_VALUE_LIMIT = 120
_CHANGES_LIMIT = 12
_COMMANDS_LIMIT = 4
_COMMANDS_AT_THE_END = 2
_MANUAL_LIMIT = 3
_DECISIONS = {
    "apply": "",
    "opt_in": "waits to be asked for",
    "refuse": "REFUSED",
    "manual": "by hand",
}
_ADDRESS = re.compile(r"unix:(?P<socket>/[\w./-]+)|(?P<host>[\w.-]+|\[[\w.:%]+\]):(?P<port>\d+)", re.ASCII)


PUT_BACK = (
    "The memory of the server stays as it is, and its next save replaces the file again: use it before a restart. Both "
    "files keep a name of their own."
)


class Next(t.NamedTuple):
    """What the next command is made of: how this run was started, and the host."""

    again: Invocation
    host: str


class Parts(t.NamedTuple):
    """The fixes of a server as an operator asks for them.

    :ivar urgent: against what keeps it from saving, and what was asked for.
    :ivar later: against risks alone.
    :ivar left_out: what the operator's own variables leave out.
    """

    urgent: list[Mapping]
    later: list[Mapping]
    left_out: list[Mapping]


def parts_of(fixes: t.Sequence[Mapping], diagnosis: Mapping) -> Parts:
    """Part what is not applied; the order stays."""
    _urgent, by_risk = split_fixes(diagnosis)
    against_risks = {identity_of(fix) for of_risk in by_risk.values() for fix in of_risk}
    parts = Parts([], [], [])
    for fix in fixes:
        if fix.get("decision") == "refuse" and str(fix.get("reason")).startswith(PREFIX):
            parts.left_out.append(fix)
        elif identity_of(fix) in against_risks:
            parts.later.append(fix)
        else:
            parts.urgent.append(fix)
    return parts


def render_plan(result: Mapping, host: str, check_mode: bool, again: Invocation = BARE) -> str:
    """The plan of one host: for each server a verdict, the fixes, what would change and what is left to type."""
    if result.get("error") or not entries(result, "diagnoses"):
        return render_host({**result, "instances": result.get("diagnoses")}, host)
    items = {item.get("address"): item for item in entries(result, "instances")}

    def make(diagnosis: Mapping) -> str:
        item = items.get(mapping(diagnosis, "instance").get("address")) or {}
        lines = [header(diagnosis, host), *wrap(headline(diagnosis), MARGIN)]
        return "\n".join(lines + _fixes(entries(item, "plan"), diagnosis, check_mode, Next(again, host)))

    screens = [shown(diagnosis, host, make) for diagnosis in entries(result, "diagnoses")]
    foot = ""
    if result.get("record_path") and entries(result, "actions"):
        foot = "\n".join(["", *labelled("Record", plain(result["record_path"])), ""])
    return "\n" + "\n\n".join(screens) + "\n" + foot


def _fixes(plan: t.Sequence[Mapping], diagnosis: Mapping, check_mode: bool, following: Next) -> list[str]:
    lines: list[str] = []
    for fix in plan:
        if fix.get("decision") == "apply":
            lines.extend(_applied(fix, check_mode))
    parts = parts_of([fix for fix in plan if fix.get("decision") != "apply"], diagnosis)
    for decision in ("opt_in", "refuse", MANUAL):
        for fix in parts.urgent:
            if fix.get("decision") == decision:
                lines.extend(_not_applied(fix, diagnosis, _COMMANDS_LIMIT, following))
    lines.extend(_later(parts.later, diagnosis, following))
    lines.extend(_left_out(parts.left_out))
    return lines or [f"{MARGIN}Nothing to do."]


def _applied(fix: Mapping, check_mode: bool) -> list[str]:
    reason = plain(fix.get("reason"))
    label = "Would do" if check_mode or reason.endswith(NOT_SELECTED) else "Will do"
    if not entries(fix, "changes") and not _is_step(reason):
        label = "In order"
    lines = labelled(label, f"{plain(fix.get('id'))} - {reason}" if reason else plain(fix.get("id")))
    return lines + change_lines(entries(fix, "changes"))


def _is_step(reason: str) -> bool:
    """Whether another fix does it."""
    return reason.startswith("It is a step of ")


def _not_applied(fix: Mapping, diagnosis: Mapping, commands_limit: int, following: Next) -> list[str]:
    """What is not done, why, how to ask for it, and what to type instead."""
    name, decision, reason = str(fix.get("id")), str(fix.get("decision")), plain(fix.get("reason"))
    if name == VERIFY:
        # How to ask for it stands beside what would be replaced; a save that is expected to fail is not offered.
        return labelled("No save", reason) + (_asking(fix, diagnosis, following) if fix.get("objections") else [])
    if name == MANUAL:
        lines = labelled("By hand", reason)
    else:
        words = _DECISIONS.get(decision, plain(decision))
        lines = labelled("Not done", f"{plain(name)} ({words})" + (f" - {reason}" if reason else ""))
    return lines + _asking(fix, diagnosis, following) + _commands(fix, commands_limit)


def _asking(fix: Mapping, diagnosis: Mapping, following: Next) -> list[str]:
    """What to type so that it is done; nothing where no variable decides that."""
    name, reason = str(fix.get("id")), str(fix.get("reason"))
    directory = text(diagnosis, "instance", "dir")
    if fix.get("decision") == "opt_in" and name in VALUES_TO_GIVE:
        return wrap(f"ask for it with {how_to_ask(name)}", INDENT + "      ", first=INDENT + "  ")
    if fix.get("decision") == "opt_in" and name in FIX_IDS:
        return _playbook(following, "remediate", {f"{PREFIX}opt_in_{name}": "true"}, "ask for it with  ")
    if fix.get("decision") == "refuse" and reason.endswith(NOT_ALLOWED) and directory and _can_be_typed(directory):
        allowed = shlex.quote(json.dumps({"remediate_allowed_dirs": [directory]}))
        command = f"{following.again.playbook('remediate', following.host)} -e {allowed}"
        return wrap_command(command, f"{INDENT}  allow it with  ", INDENT + "      ")
    return []


def _playbook(following: Next, name: str, variables: dict[str, str], label: str = "$ ") -> list[str]:
    """A playbook of ours for this host, started as this run was: it works as it is pasted."""
    command = following.again.playbook(name, following.host, variables)
    note = following.again.note
    lines = wrap_command(command, f"{INDENT}  {label}", INDENT + "      ")
    return lines + (wrap(note, INDENT + "      ") if note else [])


def _commands(fix: Mapping, limit: int) -> list[str]:
    lines: list[str] = []
    for command in list(fix.get("commands") or [])[:limit]:
        lines.extend(wrap_command(plain(command), INDENT + "  $ ", INDENT + "      "))
    return lines


def _can_be_typed(directory: str) -> bool:
    """Whether Ansible takes the name as it stands: no template, no control character."""
    return plain(directory) == directory and not re.search("{[{%#]", directory)


def _later(fixes: t.Sequence[Mapping], diagnosis: Mapping, following: Next) -> list[str]:
    """What only lowers a risk, in short: nobody does it in an incident."""
    named = [fix for fix in fixes if fix.get("id") != MANUAL]
    lines: list[str] = []
    if not is_failing(diagnosis) and not will_fail(diagnosis):
        for fix in named:
            lines.extend(_lowers_a_risk(fix, diagnosis, following))
        named = []
    words = [f"{plain(fix.get('id'))} ({_DECISIONS.get(str(fix.get('decision')), '')})" for fix in named]
    by_hand = sum(fix.get("id") == MANUAL for fix in fixes)
    if by_hand:
        words.append(f"{count(by_hand, 'thing')} by hand")
    if words:
        lines.extend(labelled("Risks", f"{', '.join(words)}: see redisops.persistence.diagnose"))
    return lines


def _lowers_a_risk(fix: Mapping, diagnosis: Mapping, following: Next) -> list[str]:
    name = str(fix.get("id"))
    if fix.get("decision") == "opt_in" and name in FIX_IDS:
        return labelled("On request", f"{name}: {how_to_ask(name)}")
    return _not_applied(fix, diagnosis, 0, following)


def _left_out(fixes: t.Sequence[Mapping]) -> list[str]:
    by_reason: dict[str, list[str]] = {}
    for fix in fixes:
        by_reason.setdefault(plain(fix.get("reason")), []).append(plain(fix.get("id")))
    lines: list[str] = []
    for reason, names in by_reason.items():
        lines.extend(labelled("Left out", f"{', '.join(names)} - {reason}"))
    return lines


def change_lines(changes: t.Sequence[Mapping]) -> list[str]:
    """``what: before -> after`` for the first of them, indented."""
    lines: list[str] = []
    for change in changes[:_CHANGES_LIMIT]:
        lines.extend(wrap(_change(change), INDENT + "      ", first=INDENT + "  "))
    rest = len(changes) - _CHANGES_LIMIT
    return lines + ([f"{INDENT}  … and {count(rest, 'more change')}: the record has them"] if rest > 0 else [])


def _change(change: Mapping) -> str:
    what = plain(change.get("what"))
    before, after = change.get("before"), change.get("after")
    if what == _changes.SAVE:
        return f"one BGSAVE: {_value(what, before)} -> {_value(what, after)}"
    if after is None:
        return f"{what}: {_value(what, before)} -> removed"
    return f"{what}: {_value(what, before)} -> {_value(what, after)}"


def _value(what: str, value: object) -> str:
    """A value on one line. A whole file is told by its lines."""
    if value is None:
        return "none"
    number = as_number(value)
    if number is not None and ("memory limit" in what or what.startswith("temporary file")):
        return size(value)
    text = " / ".join(line for line in str(value).splitlines() if line.strip()) if what.startswith("file ") else value
    return shorten_middle(plain(text), _VALUE_LIMIT) or "''"


def render_refused_saves(decided: t.Sequence[Mapping], host: str, again: Invocation = BARE) -> str:
    """Why no save is started, for each server where none is. Empty where each gets one or needs none.

    :param decided: [{address, plan: [fix]}].
    :param again: how this run was started.
    """
    lines: list[str] = []
    for item in decided:
        for fix in entries(item, "plan"):
            if fix.get("decision") != "apply":
                place = f"{plain(host)}  {plain(item.get('address'))}"
                told = f"{place}: {plain(fix.get('id'))} not done - {plain(fix.get('reason'))}"
                lines.extend(wrap(told, INDENT, first=MARGIN))
                lines.extend(_asking(fix, {}, Next(again, host)) if fix.get("objections") else [])
    return "\n".join(lines)


def render_outcome(
    remediations: t.Sequence[Mapping],
    host: str,
    check_mode: bool = False,
    run_id: str | None = None,
    again: Invocation = BARE,
) -> str:
    """The outcome of one host: the result of each server with its reason, the proof, and what is left.

    :param run_id: of the record that holds what was changed; null where there is none.
    :param again: how this run was started.
    """
    following = Next(again, host)
    screens = [shown(document, host, lambda one: _outcome(one, following, check_mode)) for document in remediations]
    foot = ""
    if run_id and not check_mode and any(_can_be_undone(document) for document in remediations):
        label = labelled("To undo it", "type:")
        foot = "\n".join(["", *label, *_playbook(following, "rollback", {"remediate_record": run_id}), ""])
    return "\n" + "\n\n".join(screens) + "\n" + foot


def _can_be_undone(document: Mapping) -> bool:
    return any(change.get("reversible") for change in entries(document, "changes"))


def _outcome(document: Mapping, following: Next, check_mode: bool) -> str:
    host = following.host
    instance = mapping(document, "instance")
    server = " ".join(plain(instance[key]) for key in ("server", "version", "role") if instance.get(key))
    place = plain(instance.get("address") or "unknown address")
    changes = entries(document, "changes")
    proof = mapping(document, "proof")
    after = mapping(proof, "diagnosis_after") or mapping(document, "diagnosis_before")
    is_well = not is_failing(after) and not will_fail(after)
    left = [] if is_well or (check_mode and changes) else _left(document, after, following)
    reason = plain(document.get("reason"))
    if left and document.get("result") == "refused" and not check_mode:
        reason = f"It still can't save: {state_title(after)}."  # why stands below
    lines = [rule(f"{plain(host)}  {place}  {server}".rstrip(), _result(document, check_mode)), *wrap(reason, MARGIN)]
    if changes:
        lines.extend(labelled("Would change" if check_mode else "Changed", count(len(changes), "thing")))
        lines.extend(change_lines(changes))
    if changes or not is_well:
        lines.extend(labelled("Proof" if proof.get("save") else "Now", _proof(proof)))
    return "\n".join(lines + _kept(proof) + left)


def _result(document: Mapping, check_mode: bool) -> str:
    """The word on the right. A check run has changed nothing, and says what a real one would."""
    result = str(document.get("result"))
    if check_mode and result == "unchanged":
        return "would be changed" if entries(document, "changes") else "nothing to change"
    return plain(result.upper() if result == "failed" else result)


def _left(document: Mapping, diagnosis: Mapping, following: Next) -> list[str]:
    """What still helps a server that can't save, with what to type."""
    urgent = [fix for fix in parts_of(entries(document, "left"), diagnosis).urgent if fix.get("id") != VERIFY]
    by_hand = [fix for fix in urgent if fix.get("id") == MANUAL]
    lines: list[str] = []
    for fix in (fix for fix in urgent if fix.get("id") != MANUAL):
        if fix.get("decision") == "apply":
            lines.extend(_safe_but_left(fix, document, diagnosis, following))
        else:
            lines.extend(_not_applied(fix, diagnosis, _COMMANDS_AT_THE_END, following))
    for fix in by_hand[:_MANUAL_LIMIT]:
        lines.extend(_not_applied(fix, diagnosis, _COMMANDS_AT_THE_END, following))
    if len(by_hand) > _MANUAL_LIMIT:
        lines.append(f"{INDENT}… and {len(by_hand) - _MANUAL_LIMIT} more: report.json has them")
    return lines + _writes(diagnosis, following)


def _safe_but_left(fix: Mapping, document: Mapping, diagnosis: Mapping, following: Next) -> list[str]:
    """A fix that may be applied, and that the server still seems to need.

    Another run helps only where this one has not tried it: what was done and was not enough would be advised for ever.
    """
    name = plain(fix.get("id"))
    tried = {other.get("id") for other in entries(document, "plan") if other.get("decision") == "apply"}
    changed = {change.get("fix") for change in entries(document, "changes")}
    if name in changed:
        proven = "the save after it failed as well" if _was_tried(document) else "no save has shown yet that it helps"
        now = f"Another run would change nothing. What is known now: {end_sentence(state_title(diagnosis))}"
        lines = labelled("Done", f"{name} - {proven}. {now}")
        return lines + _playbook(following, "diagnose", {}, "look closer with  ")
    if str(fix.get("reason")).endswith(NOT_SELECTED):
        return labelled("Left", f"{name} - the tags of this run left it out:") + _playbook(following, "remediate", {})
    if name in tried and not document.get("proof"):
        return labelled("Left", f"{name} - it was not carried out:") + _playbook(following, "remediate", {})
    if name in tried:
        return labelled("Tried", f"{name} - it has changed nothing; why stands above. Another run would do the same.")
    return labelled("Left", f"{name} - seen only now:") + _playbook(following, "remediate", {})


def _was_tried(document: Mapping) -> bool:
    """Whether a save was started in this run, by the plan."""
    return any(fix.get("id") == VERIFY and fix.get("decision") == "apply" for fix in entries(document, "plan"))


def _writes(diagnosis: Mapping, following: Next) -> list[str]:
    """Writes that the server refuses, and the one way to let them through that ends by itself."""
    if diagnosis.get("writes_blocked") is not True or not is_failing(diagnosis):
        return []
    address = text(diagnosis, "instance", "address")
    lines = labelled(
        "Writes",
        "are refused until a save succeeds. Let through, they are lost if the server dies before one does. For 15 "
        "minutes at most:",
    )
    if address is None or not _ADDRESS.fullmatch(address):
        return labelled("Writes", "are refused until a save succeeds.")
    return lines + _playbook(following, "unblock", {"remediate_address": address})


def _proof(proof: Mapping) -> str:
    if not proof:
        return ""
    parts = []
    save = mapping(proof, "save")
    if save:
        seconds = as_number(save.get("seconds"))
        parts.append("BGSAVE" + (f" took {_seconds(seconds)}" if seconds is not None else " succeeded"))
    parts.append(f"status {plain(proof.get('status') or 'unknown')}")
    if proof.get("keys_after") is not None:
        before = proof.get("keys_before")
        parts.append(f"{plain(before)} keys before, {plain(proof['keys_after'])} after" if before is not None else "")
    parts.append(_replaced(proof))
    return ", ".join(part for part in parts if part)


def _dump_words(dump: Mapping) -> str:
    """``38.9 KiB, at least 312 keys``."""
    known = as_number(dump.get("bytes"))
    words = [size(known)] if known is not None else ["a file of unknown size"]
    if dump.get("keys_at_least") is not None:
        words.append(f"at least {count(int(dump['keys_at_least']), 'key')}")
    return ", ".join(words)


def _replaced(proof: Mapping) -> str:
    """What the save replaced by what; empty where there was nothing."""
    before, after = mapping(proof, "dump_before"), mapping(proof, "dump_after")
    if not proof.get("save") or before.get("owner") in (None, "none") or not after:
        return ""
    return f"the dump was {_dump_words(before)} and is {_dump_words(after)}"


def _kept(proof: Mapping) -> list[str]:
    """Where the file lies that was kept beside, and when it may go."""
    kept = mapping(proof, "kept_dump")
    path = text(kept, "path")
    if not path:
        return []
    old, new = as_number(kept.get("bytes")), as_number(mapping(proof, "dump_after").get("bytes"))
    more = "It is larger than the new dump. " if old is not None and new is not None and old > new else ""
    sure = "When you are sure that the server's data is what you want:"
    words = f"what the save replaced. {more}Nothing removes it. {sure}"
    lines = labelled("Kept", f"{plain(path)} ({_dump_words(kept)}): {words}")
    return lines + wrap_command(f"rm {shlex.quote(plain(path))}", INDENT + "  $ ", INDENT + "      ")


def _seconds(seconds: float) -> str:
    return duration(seconds) if seconds >= 60 else f"{seconds:.1f} s"


def render_rollback(result: Mapping, host: str, check_mode: bool) -> str:
    """What a rollback puts back, the last change first, and what it can't."""
    lines = [rule(f"{plain(host)}  rollback", f"{len(entries(result, 'actions'))} to undo")]
    if not result.get("record"):
        return "\n".join(["", *lines, f"{MARGIN}There is no record of a change on this host.", ""])
    lines.extend(labelled("Record", plain(result["record"])))
    if result.get("undone_at"):
        lines.extend(labelled("Note", f"It was put back already, {plain(result['undone_at'])}; this looks again."))
    label = "Would undo" if check_mode else "Will undo"
    for action in entries(result, "actions"):
        where = f" of {plain(action['address'])}" if action.get("address") else ""
        lines.extend(labelled(label, f"{plain(action.get('fix'))}{where}"))
        lines.extend(change_lines(entries(action, "changes")))
        if action.get("fix") == VERIFY:
            lines.extend(wrap(PUT_BACK, INDENT + "  "))
    for item in entries(result, "not_reversible"):
        text = f"{plain(item.get('fix'))}: {plain(item.get('what'))} - {plain(item.get('why'))}"
        lines.extend(labelled("Stays", text))
    return "\n".join(["", *lines, ""])


_UNDONE = {"done": "Put back", "kept": "Left alone", "same": "As before", "failed": "FAILED"}
_WOULD_BE_UNDONE = {**_UNDONE, "done": "Would undo"}


def render_undone(items: t.Sequence[Undone], host: str, check_mode: bool, error: str | None) -> str:
    """What a rollback has put back, what it left as somebody else has set it since, and what failed."""
    tally = {state: sum(item.state == state for item in items) for state in _UNDONE}
    words = ["would be put back" if check_mode else "put back", "left alone", "as before", "FAILED"]
    told = [f"{number} {word}" for number, word in zip(tally.values(), words) if number]
    lines = [rule(f"{plain(host)}  rollback", ", ".join(told) or "nothing put back")]
    if error:
        lines.extend(wrap(plain(error), MARGIN))
    for item in items:
        label = (_WOULD_BE_UNDONE if check_mode else _UNDONE)[item.state]
        where = f" of {plain(item.address)}" if item.address else ""
        remarks = "; ".join(plain(remark) for remark in item.remarks)
        lines.extend(labelled(label, f"{plain(item.fix)}{where}" + (f" - {remarks}" if remarks else "")))
        lines.extend(change_lines(item.changes))
    return "\n".join(["", *lines, ""])
