# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""Which fixes help, whether each is applied, asked for or refused, and the exact commands for an operator."""

from __future__ import annotations

import typing as t

from ansible_collections.redisops.persistence.plugins.plugin_utils.expressions import YES, Context
from ansible_collections.redisops.persistence.plugins.plugin_utils.rules import Fix, ManualFix, Rules
from ansible_collections.redisops.persistence.plugins.plugin_utils.text import fill, fill_command

FixEntry = dict[str, t.Any]
MANUAL = "manual"
VERIFY = "verify"


def decide(fix: Fix, context: Context, values: t.Mapping[str, t.Any]) -> FixEntry:
    """What the rules say of one fix: {id, class, decision, reason, commands}."""
    decision, reason = fix.decision, fill(fix.reason, values)
    for condition in fix.conditions:
        if condition.when.answer(context) == YES:
            decision, reason = condition.decision, fill(condition.reason, values)
            break
    # A refused fix shows no command: what must not be done must not be copied either.
    commands = [] if decision == "refuse" else [fill_command(command, values) for command in fix.commands]
    return {"id": fix.id, "class": fix.fix_class, "decision": decision, "reason": reason, "commands": commands}


def _manual(manual: ManualFix, values: t.Mapping[str, t.Any]) -> FixEntry:
    return {
        "id": MANUAL,
        "class": MANUAL,
        "decision": MANUAL,
        "reason": fill(manual.reason, values),
        "commands": [fill_command(command, values) for command in manual.commands],
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
