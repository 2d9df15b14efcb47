# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""Which fixes help, whether each is applied, asked for or refused, and the exact commands for an operator.

And read again out of a diagnosis: which are against the verdict, and which against a risk.
"""

from __future__ import annotations

import typing as t

from ansible_collections.redisops.persistence.plugins.plugin_utils.expressions import YES, Context
from ansible_collections.redisops.persistence.plugins.plugin_utils.rules import Fix, ManualFix, Rules
from ansible_collections.redisops.persistence.plugins.plugin_utils.text import complete_commands, fill
from ansible_collections.redisops.persistence.plugins.plugin_utils.values import Mapping

FixEntry = dict[str, t.Any]
MANUAL = "manual"
VERIFY = "verify"


def decide(fix: Fix, context: Context, values: t.Mapping[str, t.Any]) -> FixEntry:
    """What the rules say of one fix: {id, class, decision, reason, commands}."""
    decision, reason, templates = fix.decision, fill(fix.reason, values), fix.commands
    for condition in fix.conditions:
        if condition.when.answer(context) == YES:
            decision, reason = condition.decision, fill(condition.reason, values)
            # What a condition leaves to a person shows the condition's own commands: those of the fix would not help.
            templates = fix.commands if decision != MANUAL or fix.decision == MANUAL else ()
            templates = templates if condition.commands is None else condition.commands
            break
    # A refused fix shows no command: what must not be done must not be copied either.
    commands = [] if decision == "refuse" else complete_commands(templates, values)
    return {"id": fix.id, "class": fix.fix_class, "decision": decision, "reason": reason, "commands": commands}


def _manual(manual: ManualFix, values: t.Mapping[str, t.Any]) -> FixEntry:
    return {
        "id": MANUAL,
        "class": MANUAL,
        "decision": MANUAL,
        "reason": fill(manual.reason, values),
        "commands": complete_commands(manual.commands, values),
    }


def choose_fixes(
    rules: Rules,
    outcome_ids: t.Sequence[str],
    risk_ids: t.Sequence[str],
    failing: bool,
    context: Context,
    values: t.Mapping[str, t.Any],
) -> list[FixEntry]:
    """The fixes of the causes in order, then those of the risks, each once; the proof last where the status is err."""
    entries: list[FixEntry] = []
    seen: set[str] = set()

    def add(names: t.Iterable[str], manual: ManualFix | None) -> None:
        for name in names:
            if name not in seen and name in rules.fixes:
                seen.add(name)
                entries.append(decide(rules.fixes[name], context, values))
        if manual is not None:
            entries.append(_manual(manual, values))

    for outcome_id in outcome_ids:
        outcome = rules.outcomes[outcome_id]
        add(outcome.fixes, outcome.manual)
    if failing:
        add([VERIFY], None)
    for risk_id in risk_ids:
        risk = rules.risks[risk_id]
        add(risk.fixes, risk.manual)
    return entries


def identity_of(fix: Mapping) -> tuple[object, object]:
    """A fix by its name; what is for a person has no name but its text."""
    return fix.get("id"), fix.get("reason") if fix.get("id") == MANUAL else None


def split_fixes(
    diagnosis: Mapping,
) -> tuple[list[Mapping], dict[str, list[Mapping]]]:
    """The fixes that help against the verdict, and for each risk those that only lower it.

    A document lists the fixes of its causes, then the proof (``verify``) of a failing server, then those of its risks
    in their order.
    """
    fixes = list(diagnosis.get("fixes") or [])
    risks = list(diagnosis.get("risks") or [])
    names = [name for risk in risks for name in risk.get("fixes") or []]
    ids = [fix.get("id") for fix in fixes]
    urgent: list[Mapping] = []
    rest: list[Mapping] = []
    if diagnosis.get("state") == "failing" and VERIFY in ids:
        position = ids.index(VERIFY) + 1
        urgent, rest = fixes[:position], fixes[position:]
    else:
        own_manuals = ids.count(MANUAL) - names.count(MANUAL)
        for fix in fixes:
            is_manual = fix.get("id") == MANUAL
            is_own = own_manuals > 0 if is_manual else fix.get("id") not in names
            own_manuals -= is_manual
            (urgent if is_own else rest).append(fix)
    by_risk: dict[str, list[Mapping]] = {}
    for risk in risks:
        for name in risk.get("fixes") or []:
            found = next((fix for fix in rest if fix.get("id") == name), None)
            if found is not None:
                rest.remove(found)
                by_risk.setdefault(str(risk.get("id")), []).append(found)
    return urgent, by_risk
