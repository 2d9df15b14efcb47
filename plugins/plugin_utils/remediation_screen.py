# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""What the operator reads of a remediation: the plan before anything is done, the outcome after it, and a rollback.

Texts of hosts, logs and Redis are made harmless, as on the screens of a diagnosis. Nothing here decides anything.
"""

from __future__ import annotations

import typing as t

from ansible_collections.redisops.persistence.plugins.plugin_utils.screen import (
    INDENT,
    MARGIN,
    header,
    headline,
    labelled,
    render_host,
    rule,
)
from ansible_collections.redisops.persistence.plugins.plugin_utils.values import Mapping, entries, mapping
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
_MANUAL_LIMIT = 3
_DECISIONS = {
    "apply": "",
    "opt_in": "waits to be asked for",
    "refuse": "REFUSED",
    "manual": "by hand",
}


def render_plan(result: Mapping, host: str, check_mode: bool) -> str:
    """The plan of one host: for each server a verdict, the fixes, what would change and what is left to type."""
    if result.get("error") or not entries(result, "diagnoses"):
        return render_host({**result, "instances": result.get("diagnoses")}, host)
    items = {item.get("address"): item for item in entries(result, "instances")}
    screens = []
    for diagnosis in entries(result, "diagnoses"):
        item = items.get(mapping(diagnosis, "instance").get("address")) or {}
        lines = [header(diagnosis, host), *wrap(headline(diagnosis), MARGIN)]
        screens.append("\n".join(lines + _fixes(entries(item, "plan"), check_mode)))
    foot = ""
    if result.get("record_path") and entries(result, "actions"):
        foot = "\n".join(["", *labelled("Record", plain(result["record_path"])), ""])
    return "\n" + "\n\n".join(screens) + "\n" + foot


def _fixes(plan: t.Sequence[Mapping], check_mode: bool) -> list[str]:
    if not plan:
        return [f"{MARGIN}Nothing to do."]
    lines: list[str] = []
    does = "Would do" if check_mode else "Will do"
    for decision in ("apply", "opt_in", "refuse", "manual"):
        for fix in plan:
            if fix.get("decision") == decision:
                lines.extend(_fix(fix, does if decision == "apply" else "Not done"))
    return lines


def _fix(fix: Mapping, label: str) -> list[str]:
    words = _DECISIONS.get(str(fix.get("decision")), plain(fix.get("decision")))
    name = words if fix.get("id") == "manual" else plain(fix.get("id")) + (f" ({words})" if words else "")
    lines = labelled(label, f"{name} - {plain(fix['reason'])}" if fix.get("reason") else name)
    if fix.get("decision") == "apply":
        return lines + change_lines(entries(fix, "changes"))
    commands = list(fix.get("commands") or [])
    for command in commands[:_COMMANDS_LIMIT]:
        lines.extend(wrap_command(plain(command), INDENT + "  $ ", INDENT + "      "))
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


def render_refused_saves(decided: t.Sequence[Mapping], host: str) -> str:
    """Why no save is started, for each server where none is. Empty where each gets one or needs none.

    :param decided: [{address, plan: [fix]}].
    """
    lines: list[str] = []
    for item in decided:
        for fix in entries(item, "plan"):
            if fix.get("decision") != "apply":
                place = f"{plain(host)}  {plain(item.get('address'))}"
                text = f"{place}: {plain(fix.get('id'))} not done - {plain(fix.get('reason'))}"
                lines.extend(wrap(text, INDENT, first=MARGIN))
                for command in list(fix.get("commands") or [])[:_COMMANDS_LIMIT]:
                    lines.extend(wrap_command(plain(command), INDENT + "  $ ", INDENT + "      "))
    return "\n".join(lines)


def render_outcome(remediations: t.Sequence[Mapping], host: str) -> str:
    """The outcome of one host: the result of each server with its reason, the proof, and what is left."""
    return "\n" + "\n\n".join(_outcome(document, host) for document in remediations) + "\n"


def _outcome(document: Mapping, host: str) -> str:
    instance = mapping(document, "instance")
    server = " ".join(plain(instance[key]) for key in ("server", "version", "role") if instance.get(key))
    place = plain(instance.get("address") or "unknown address")
    result = str(document.get("result"))
    shown = plain(result.upper() if result == "failed" else result)
    lines = [rule(f"{plain(host)}  {place}  {server}".rstrip(), shown), *wrap(plain(document.get("reason")), MARGIN)]
    changes = entries(document, "changes")
    if changes:
        lines.extend(labelled("Changes", count(len(changes), "change")))
        lines.extend(change_lines(changes))
    lines.extend(labelled("Proof", _proof(mapping(document, "proof"))))
    left = entries(document, "left")
    names = [_left(fix) for fix in left if fix.get("id") != "manual"]
    lines.extend(labelled("Left", ", ".join(names)))
    reasons = [plain(fix.get("reason")) for fix in left if fix.get("id") == "manual"]
    for reason in reasons[:_MANUAL_LIMIT]:
        lines.extend(labelled("By hand", reason))
    if len(reasons) > _MANUAL_LIMIT:
        lines.append(f"{INDENT}… and {len(reasons) - _MANUAL_LIMIT} more: report.json has them")
    return "\n".join(lines)


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
    return ", ".join(part for part in parts if part)


def _seconds(seconds: float) -> str:
    return duration(seconds) if seconds >= 60 else f"{seconds:.1f} s"


def _left(fix: Mapping) -> str:
    words = _DECISIONS.get(str(fix.get("decision")), "")
    return f"{plain(fix.get('id'))} ({words})" if words else plain(fix.get("id"))


def render_rollback(result: Mapping, host: str, check_mode: bool) -> str:
    """What a rollback puts back, the last change first, and what it can't."""
    lines = [rule(f"{plain(host)}  rollback", f"{len(entries(result, 'actions'))} to undo")]
    if not result.get("record"):
        return "\n".join(["", *lines, f"{MARGIN}There is no record of a change on this host.", ""])
    lines.extend(labelled("Record", plain(result["record"])))
    label = "Would undo" if check_mode else "Will undo"
    for action in entries(result, "actions"):
        where = f" of {plain(action['address'])}" if action.get("address") else ""
        lines.extend(labelled(label, f"{plain(action.get('fix'))}{where}"))
        lines.extend(change_lines(entries(action, "changes")))
    for item in entries(result, "not_reversible"):
        text = f"{plain(item.get('fix'))}: {plain(item.get('what'))} - {plain(item.get('why'))}"
        lines.extend(labelled("Stays", text))
    return "\n".join(["", *lines, ""])
