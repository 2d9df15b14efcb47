# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""What has not broken a save yet: each risk rule against the evidence, the gravest level that holds."""

from __future__ import annotations

import typing as t

from ansible_collections.redisops.persistence.plugins.plugin_utils.expressions import YES, Context
from ansible_collections.redisops.persistence.plugins.plugin_utils.rules import SEVERITIES, Risk, Rules
from ansible_collections.redisops.persistence.plugins.plugin_utils.tree import quote


def severity_of(risk: Risk, context: Context) -> str | None:
    """The severity of the first level that is answered yes; null when none is: unknown is no risk, it is a gap."""
    for level in risk.levels:
        if level.when.answer(context) == YES:
            return level.severity
    return None


def find_risks(rules: Rules, context: Context) -> list[dict[str, t.Any]]:
    """[{id, severity, title, evidence, fixes}], the gravest first, else in the order of the rules."""
    found = []
    for risk in rules.risks.values():
        severity = severity_of(risk, context)
        if severity is None:
            continue
        evidence = quote(risk.quotes, context)
        for line in evidence:
            if line["expected"] is None:
                line["expected"] = risk.threshold
        fixes = list(risk.fixes) + (["manual"] if risk.manual is not None else [])
        found.append({"id": risk.id, "severity": severity, "title": risk.title, "evidence": evidence, "fixes": fixes})
    return sorted(found, key=lambda entry: -SEVERITIES.index(entry["severity"]))
