# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""What the operator reads: one screen of plain words for each server, whatever the terminal.

Nothing here decides anything. A screen is a diagnosis document told in the order in which somebody woken at
night asks: what is wrong, how sure is that, does it still hurt, what can be lost, what do I type.
"""

from __future__ import annotations

import time
import typing as t

from ansible_collections.redisops.persistence.plugins.plugin_utils.fixes import split_fixes
from ansible_collections.redisops.persistence.plugins.plugin_utils.fleet import fleet_line
from ansible_collections.redisops.persistence.plugins.plugin_utils.wording import (
    WIDTH,
    as_number,
    count,
    duration,
    plain,
    shorten,
    shorten_middle,
    size,
    wrap,
    wrap_command,
)

__all__ = (
    "INDENT",
    "MARGIN",
    "end_sentence",
    "fleet_line",
    "header",
    "headline",
    "labelled",
    "render",
    "render_host",
    "rule",
    "state_title",
)

Document = t.Mapping[str, t.Any]
LINE_LIMIT = 40
_PROBE_LINES = 20
_LABEL_WIDTH = 13
MARGIN = "  "
INDENT = MARGIN + " " * _LABEL_WIDTH
_THREE_LINES = 3 * (WIDTH - len(INDENT)) - 30

_FOUR_LINES = 4 * (WIDTH - len(INDENT)) - 40


class Caps(t.NamedTuple):
    """How many entries of each list a screen shows."""

    causes: int
    evidence: int
    fixes: int
    commands: int
    risks: int
    risk_commands: int
    unknowns: int


# From generous to tight: the first that fits into LINE_LIMIT is taken.
_CAPS = (
    Caps(causes=3, evidence=8, fixes=6, commands=6, risks=6, risk_commands=3, unknowns=4),
    Caps(causes=3, evidence=6, fixes=5, commands=4, risks=6, risk_commands=1, unknowns=4),
    Caps(causes=2, evidence=6, fixes=4, commands=4, risks=5, risk_commands=0, unknowns=3),
    Caps(causes=2, evidence=4, fixes=3, commands=3, risks=3, risk_commands=0, unknowns=2),
    Caps(causes=1, evidence=3, fixes=2, commands=2, risks=2, risk_commands=0, unknowns=1),
    Caps(causes=1, evidence=2, fixes=1, commands=2, risks=1, risk_commands=0, unknowns=1),
)

# Said where a document carries no title of its own for its state.
_STATES = {
    "healthy": "Saves work",
    "idle": "No save is due: too few changes for a save point",
    "saves_disabled": "Snapshots are switched off",
    "save_in_progress": "A save is running: the status is that of the one before",
    "save_delayed_by_aof_rewrite": "A save waits for the rewrite of the append-only file",
    "save_stuck": "A save is running that does not get on",
    "restarted_by_oom": "The server was killed for memory while it saved, and restarted",
    "hidden_directory": "It saves into a directory that a mount has covered",
    "unreachable": "The server does not answer",
    "auth_required": "The server wants a password",
    "loading": "The server is loading its data",
    "not_permitted": "This user may not look",
    "unsupported": "This kind of server is not supported",
    "failing": "The last save failed",
}
_CONFIDENCE = {
    "confirmed": "confirmed - a log line, a kernel record or an observed failure says so",
    "probable": "probable - what is seen fits, nothing contradicts it, no record proves it",
    "possible": "possible - it would explain this, but so would something else",
}
_SEVERITY_ORDER = {"critical": 0, "high": 1, "medium": 2, "low": 3, "info": 4}
_DECISIONS = {
    "apply": "safe to apply",
    "opt_in": "on request only",
    "refuse": "REFUSED",
    "manual": "by hand",
}


def render(diagnosis: Document, host: str) -> str:
    """The screen of one server: at most about 40 lines of 100 columns, without a trailing line end."""
    if _is_quiet(diagnosis):
        return "\n".join([header(diagnosis, host), *_brief(diagnosis)])
    lines: list[str] = []
    for caps in _CAPS:
        lines = [header(diagnosis, host), *_full(diagnosis, caps)]
        if len(lines) <= LINE_LIMIT:
            break
    return "\n".join(lines)


def _is_quiet(diagnosis: Document) -> bool:
    """A server that needs nobody tonight."""
    return (
        diagnosis.get("state") in ("healthy", "idle")
        and not diagnosis.get("cause")
        and not diagnosis.get("writes_blocked")
        and (diagnosis.get("forecast") or {}).get("answer") != "will_fail"
    )


def render_host(entry: Document, host: str) -> str:
    """All screens of one host, and what to say where there is none."""
    instances = list(entry.get("instances") or [])
    if entry.get("error"):
        screens = [_render_trouble(entry, host, instances)]
    elif instances:
        screens = [render(diagnosis, host) for diagnosis in instances]
    else:
        lines = [rule(plain(host), ""), f"{MARGIN}No Redis or Valkey server was found here."]
        screens = ["\n".join(lines + _unknowns({"unknowns": entry.get("gaps")}, _CAPS[0]))]
    return "\n" + "\n\n".join(screens) + "\n"


def _render_trouble(entry: Document, host: str, instances: t.Sequence[Document]) -> str:
    """A host that could not be examined, and what a bare shell could still say about it."""
    verdict = "could not be examined" if entry.get("reachable") else "not reachable"
    lines = [rule(plain(host), verdict), *wrap(plain(entry["error"]), MARGIN)]
    addresses = [plain((diagnosis.get("instance") or {}).get("address")) for diagnosis in instances]
    if addresses:
        lines.extend(labelled("Not seen", _cut_list(addresses, 8)))
    for line in str(entry.get("probe") or "").splitlines()[:_PROBE_LINES]:
        lines.append(shorten(f"{MARGIN}  {plain(line)}", WIDTH))
    return "\n".join(lines)


# The parts of a screen


def header(diagnosis: Document, host: str) -> str:
    instance = diagnosis.get("instance") or {}
    server = [plain(instance.get(key)) for key in ("server", "version", "role") if instance.get(key)]
    place = plain(instance.get("address") or "unknown address")
    return rule(f"{plain(host)}  {place}  {' '.join(server)}".rstrip(), plain(diagnosis.get("state") or "unknown"))


def rule(left: str, right: str) -> str:
    """``=== left ===...=== right ===`` over the whole width."""
    end = f" {right} ===" if right else ""
    begin = f"=== {shorten(left, WIDTH - len(end) - 8)} "
    return begin + "=" * (WIDTH - len(begin) - len(end)) + end


def _brief(diagnosis: Document) -> list[str]:
    """All about a quiet server that anybody asks for."""
    exposure = diagnosis.get("exposure") or {}
    sentences = [end_sentence(state_title(diagnosis))]
    if exposure.get("seconds_since_last_save") is not None:
        since = duration(exposure["seconds_since_last_save"])
        is_start = exposure.get("since_start")
        sentences.append(f"Started {since} ago, no save since." if is_start else f"Last save {since} ago.")
    if exposure.get("changes_at_risk") is not None:
        sentences.append(f"{count(exposure['changes_at_risk'], 'change')} since.")
    sentences.append(f"Next save: {_forecast(diagnosis)}.")
    lines = wrap(" ".join(sentences), MARGIN)
    risks = _sorted_risks(diagnosis)
    if risks:
        named = [f"{plain(risk.get('id'))} ({plain(risk.get('severity'))})" for risk in risks]
        lines.extend(labelled("Risks", _cut_list(named, 4)))
    if (diagnosis.get("dump") or {}).get("owner") == "foreign" or (diagnosis.get("dump") or {}).get("much_larger"):
        lines.extend(labelled("Dump", _dump(diagnosis)))
    if diagnosis.get("unknowns"):
        lines.extend(labelled("Not seen", _cut_list([plain(gap.get("what")) for gap in diagnosis["unknowns"]], 3)))
    return lines


def _full(diagnosis: Document, caps: Caps) -> list[str]:
    cause = diagnosis.get("cause") or {}
    lines = ["", *wrap(headline(diagnosis), MARGIN)]
    if cause.get("summary"):
        lines.extend(wrap(plain(cause["summary"]), MARGIN))
    lines.append("")
    if cause:
        lines.extend(
            labelled("How sure", _CONFIDENCE.get(str(cause.get("confidence")), plain(cause.get("confidence"))))
        )
        lines.extend(labelled("Still there", _still_present(cause)))
    lines.extend(labelled("Writes", _writes(diagnosis)))
    lines.extend(labelled("At risk", _exposure(diagnosis)))
    lines.extend(labelled("Tries again", _recovery(diagnosis)))
    lines.extend(labelled("Next save", _forecast(diagnosis)))
    lines.extend(labelled("Place", _place(diagnosis)))
    lines.extend(labelled("Dump", _dump(diagnosis)))
    lines.extend(_other_causes(diagnosis, caps))
    for group in (
        labelled("How found", _path(diagnosis)) + _evidence(_found_evidence(diagnosis), caps),
        _fixes(diagnosis, caps),
        _risks(diagnosis, caps) + _unknowns(diagnosis, caps),
    ):
        if group:
            lines.extend(["", *group])
    return lines


def labelled(label: str, text: str) -> list[str]:
    """``label   text`` with the text in its own column; nothing for no text."""
    return wrap(text, INDENT, first=MARGIN + label.ljust(_LABEL_WIDTH)) if text else []


def _cut_list(items: t.Sequence[str], limit: int) -> str:
    rest = len(items) - limit
    return ", ".join(items[:limit]) + (f" … and {rest} more: report.json has them" if rest > 0 else "")


def _cut_note(total: int, shown: int) -> list[str]:
    return [f"{INDENT}… and {total - shown} more: report.json has them"] if total > shown else []


def end_sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else text + "."


def state_title(diagnosis: Document) -> str:
    cause = diagnosis.get("cause") or {}
    state = str(diagnosis.get("state"))
    if state == "healthy" and (diagnosis.get("exposure") or {}).get("since_start"):
        return "Nothing has failed since the start"
    return plain(cause.get("title") or diagnosis.get("title") or _STATES.get(state, state))


def headline(diagnosis: Document) -> str:
    title = state_title(diagnosis)
    if diagnosis.get("state") != "failing":
        rest = "" if diagnosis.get("state") == "healthy" else f" {end_sentence(title)}"
        if diagnosis.get("writes_blocked"):
            return f"WRITES ARE REFUSED, though the last save did not fail.{rest}"
        if (diagnosis.get("forecast") or {}).get("answer") == "will_fail":
            return f"THE NEXT SAVE WILL FAIL, though the last one did not.{rest}"
        return end_sentence(title)
    cause = diagnosis.get("cause") or {}
    name = f"  [{plain(cause['id'])}]" if cause.get("id") else ""
    if cause.get("still_present") is False:
        return f"THE LAST SAVE FAILED: {end_sentence(title)}{name}"
    return f"CAN'T SAVE: {end_sentence(title)}{name}"


def _still_present(cause: Document) -> str:
    answers: dict[bool | None, str] = {
        True: "yes - the next save would meet it again",
        False: "no - it is gone; what is left is the status of the last save",
    }
    return answers.get(cause.get("still_present"), "unknown - it could not be checked now")


def _writes(diagnosis: Document) -> str:
    answers: dict[bool | None, str] = {
        True: "BLOCKED - clients get MISCONF for every write",
        False: "accepted",
    }
    return answers.get(diagnosis.get("writes_blocked"), "unknown")


def _exposure(diagnosis: Document) -> str:
    exposure = diagnosis.get("exposure") or {}
    changes, seconds = exposure.get("changes_at_risk"), exposure.get("seconds_since_last_save")
    if changes is None and seconds is None:
        return ""
    is_start = exposure.get("since_start")
    last = "start" if is_start else "last good save"
    since = f"the time of the {last} is unknown" if seconds is None else f"{last} {duration(seconds)} ago"
    if is_start:
        since += ", and no save since"
    if changes == 0:
        return f"nothing - no change since the {last}" + (f", {duration(seconds)} ago" if seconds else "")
    return f"{count(changes, 'change')} not on disk in a snapshot; {since}"


def _recovery(diagnosis: Document) -> str:
    recovery = diagnosis.get("recovery") or {}
    will_retry = recovery.get("will_retry")
    if will_retry is None and diagnosis.get("state") != "failing":
        return ""  # nothing has failed that could be tried again
    # No save is called for where the rules have taken its command away.
    proofs = [fix for fix in diagnosis.get("fixes") or [] if fix.get("id") == "verify"]
    is_called_for = all("BGSAVE" in " ".join(map(str, fix.get("commands") or [])) for fix in proofs)
    answers: dict[bool | None, str] = {
        True: "yes, by itself",
        False: "NO, it needs a BGSAVE" if is_called_for else "NO",
    }
    answer = answers.get(will_retry, "unknown")
    reason = plain(recovery.get("reason"))
    return f"{answer} - {reason}" if reason else answer


def _forecast(diagnosis: Document) -> str:
    forecast = diagnosis.get("forecast") or {}
    answer = forecast.get("answer")
    if answer == "will_succeed":
        return "should succeed"
    if answer == "will_fail":
        cause = forecast.get("cause")
        name = cause.get("id") if isinstance(cause, dict) else cause
        return f"WILL FAIL ({plain(name)})" if name else "WILL FAIL"
    missing = [plain(item.get("what") if isinstance(item, dict) else item) for item in forecast.get("missing") or []]
    return "unknown, for lack of " + _cut_list(missing, 3) if missing else "unknown"


def _place(diagnosis: Document) -> str:
    instance = diagnosis.get("instance") or {}
    parts = []
    if instance.get("dir"):
        parts.append(f"{plain(instance['dir']).rstrip('/')}/{plain(instance.get('dbfilename') or '')}")
    for key, words in (("pid", "pid {}"), ("uid", "uid {}"), ("unit", "{}"), ("config_file", "{}")):
        if instance.get(key) not in (None, ""):
            parts.append(words.format(plain(instance[key])))
    return ", ".join(parts)


_OWNERS = {
    "own": "this server's own",
    "foreign": "NOT THIS SERVER'S OWN",
    "unknown": "nobody can tell whose",
}


def _dump(diagnosis: Document) -> str:
    """The file that a save would replace: size, time, whose, and why."""
    dump = diagnosis.get("dump") or {}
    if dump.get("owner") not in _OWNERS or dump.get("bytes") is None:
        return ""
    parts = [size(dump["bytes"])]
    if dump.get("keys_at_least") is not None:
        parts.append(f"at least {count(dump['keys_at_least'], 'key')}")
    if isinstance(dump.get("saved_unix"), (int, float)):
        parts.append(f"of {_moment(dump['saved_unix'])}")
    whose = _OWNERS[str(dump["owner"])]
    if dump.get("much_larger"):
        whose += ", MUCH MORE THAN WHAT IS IN MEMORY"
    return f"{', '.join(parts)}; {whose} - {plain(dump.get('why'))}"


def _moment(seconds_unix: float) -> str:
    try:
        return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(seconds_unix))
    except (OverflowError, ValueError, OSError):
        return "an unknown time"


def _other_causes(diagnosis: Document, caps: Caps) -> list[str]:
    first = (diagnosis.get("cause") or {}).get("id")
    others = [cause for cause in diagnosis.get("causes") or [] if cause.get("id") != first]
    lines: list[str] = []
    for cause in others[: caps.causes]:
        text = (
            f"{end_sentence(plain(cause.get('title')))}  [{plain(cause.get('id'))}, {plain(cause.get('confidence'))}]"
        )
        lines.extend(labelled("" if lines else "Also", text))
    return lines + _cut_note(len(others), min(len(others), caps.causes))


def _path(diagnosis: Document) -> str:
    """The way through the tree: what was answered with yes or unknown, and the last node; a run of no is one word."""
    path = [(plain(step.get("node")), str(step.get("answer"))) for step in diagnosis.get("path") or []]
    steps: list[str] = []
    refusals: list[str] = []
    for position, (node, answer) in enumerate(path, start=1):
        if answer == "no" and position < len(path):
            refusals.append(node)
            continue
        steps.extend(f"{name} no" for name in refusals) if len(refusals) <= 2 else steps.append(f"{len(refusals)} x no")
        refusals = []
        steps.append(f"{node} {answer}")
    return " > ".join(steps)


def _found_evidence(diagnosis: Document) -> list[Document]:
    """The evidence of the cause; without one, what the tree asked for and found otherwise than it should be."""
    if diagnosis.get("cause"):
        return list(diagnosis["cause"].get("evidence") or [])
    found: list[Document] = []
    for step in diagnosis.get("path") or []:
        for entry in step.get("evidence") or []:
            unexpected = entry.get("value") is not None and entry.get("value") != entry.get("expected")
            if unexpected and entry not in found and step.get("node") != "kind_supported":
                found.append(entry)
    return found


def _evidence(entries: list[Document], caps: Caps) -> list[str]:
    lines: list[str] = []
    for entry in entries[: caps.evidence]:
        lines.extend(labelled("" if lines else "Evidence", shorten_middle(_evidence_text(entry), _THREE_LINES)))
    return lines + _cut_note(len(entries), min(len(entries), caps.evidence))


def _evidence_text(entry: object) -> str:
    if not isinstance(entry, t.Mapping):
        return plain(entry)
    name = plain(entry.get("name")) if entry.get("name") != "line" else ""
    text = f"{name} = {_value(name, entry.get('value'))}" if name else _value(name, entry.get("value"))
    if entry.get("expected") is not None:
        text += f", should be {_value(name, entry['expected'])}"
    return f"{plain(entry.get('source'))}: {text}" if entry.get("source") else text


def _value(name: str, value: object) -> str:
    """Numbers in the unit that their name says, as people read them."""
    if as_number(value) is not None:
        if name.endswith("_bytes"):
            return size(value)
        if name.endswith("_seconds"):
            return duration(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return "unknown"
    if isinstance(value, (list, tuple)):
        return ", ".join(_value(name, item) for item in value)
    if isinstance(value, t.Mapping):
        return ", ".join(f"{plain(key)} {_value(str(key), item)}" for key, item in value.items())
    return plain(value)


def _fixes(diagnosis: Document, caps: Caps) -> list[str]:
    """What helps against the verdict. What only lowers a risk is told with the risk."""
    fixes, _by_risk = split_fixes(diagnosis)
    lines: list[str] = []
    for fix in fixes[: caps.fixes]:
        lines.extend(labelled("" if lines else "What to do", _fix_text(fix)))
        lines.extend(_commands(fix, caps.commands))
    return lines + _cut_note(len(fixes), min(len(fixes), caps.fixes))


def _fix_text(fix: Document) -> str:
    decision = _DECISIONS.get(str(fix.get("decision")), plain(fix.get("decision")))
    name = decision if fix.get("id") == "manual" else f"{plain(fix.get('id'))} ({decision})"
    return f"{name} - {plain(fix['reason'])}" if fix.get("reason") else name


def _commands(fix: Document, limit: int) -> list[str]:
    commands = list(fix.get("commands") or [])
    lines: list[str] = []
    for command in commands[:limit]:
        lines.extend(wrap_command(plain(command), INDENT + "  $ ", INDENT + "      "))
    return lines + (_cut_note(len(commands), min(len(commands), limit)) if limit else [])


def _sorted_risks(diagnosis: Document) -> list[Document]:
    risks: list[Document] = list(diagnosis.get("risks") or [])
    return sorted(risks, key=lambda risk: _SEVERITY_ORDER.get(str(risk.get("severity")), 9))


def _risks(diagnosis: Document, caps: Caps) -> list[str]:
    _urgent, by_risk = split_fixes(diagnosis)
    risks = _sorted_risks(diagnosis)
    lines: list[str] = []
    for risk in risks[: caps.risks]:
        text = f"{plain(risk.get('severity')):<7} {end_sentence(plain(risk.get('title')))}  [{plain(risk.get('id'))}]"
        lines.extend(labelled("" if lines else "Risks", text))
        for fix in by_risk.get(str(risk.get("id")), []):
            lines.extend(_commands(fix, caps.risk_commands))
    return lines + _cut_note(len(risks), min(len(risks), caps.risks))


def _unknowns(diagnosis: Document, caps: Caps) -> list[str]:
    unknowns = list(diagnosis.get("unknowns") or [])
    lines: list[str] = []
    for gap in unknowns[: caps.unknowns]:
        text = f"{plain(gap.get('what'))}: {plain(gap.get('why'))}"
        if gap.get("remedy"):
            text += f" -> {plain(gap['remedy'])}"
        lines.extend(labelled("" if lines else "Not seen", shorten(text, _FOUR_LINES)))
    return lines + _cut_note(len(unknowns), min(len(unknowns), caps.unknowns))
