# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""The engine: walk from the first question to the outcomes, and remember the way.

A lead of a node is the id of a node or of an outcome, or a list of outcomes. A list means "whichever of these stands
now": those whose ``present`` is answered yes, in the order of the list, or the last of the list when none does.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field

from ansible_collections.redisops.persistence.plugins.plugin_utils.expressions import (
    UNKNOWN,
    YES,
    Answer,
    Context,
    Expression,
)

Evidence = dict[str, t.Any]
Lead = t.Union[str, tuple[str, ...]]
START = "start"


@dataclass(frozen=True)
class Quote:
    """A piece of evidence to show: where it comes from, what it is called, where it lies, what it should have been."""

    source: str
    name: str
    path: Expression
    expected: t.Any = None
    when: Expression | None = None


@dataclass(frozen=True)
class Node:
    """A question of the tree. ``needs`` names what must be known before it can be asked at all."""

    id: str
    question: str
    when: Expression
    leads: t.Mapping[Answer, Lead]
    needs: tuple[Expression, ...] = ()
    quotes: tuple[Quote, ...] = ()


@dataclass
class Walk:
    """Where a walk went and where it ended. ``by_state`` is true when a list of outcomes was settled by what stands."""

    path: list[dict[str, t.Any]] = field(default_factory=list)
    outcomes: list[str] = field(default_factory=list)
    by_state: bool = False


def quote(quotes: t.Iterable[Quote], context: Context) -> list[Evidence]:
    """The evidence lines that can be shown: those whose value is known."""
    lines: list[Evidence] = []
    for entry in quotes:
        if entry.when is not None and entry.when.answer(context) != YES:
            continue
        value = entry.path.value(context)
        if value is None or value == []:
            continue
        lines.append({"source": entry.source, "name": entry.name, "value": value, "expected": entry.expected})
    return lines


def ask(node: Node, context: Context) -> Answer:
    """The answer of one node; unknown when something that it needs is null."""
    if any(need.value(context) is None for need in node.needs):
        return UNKNOWN
    return node.when.answer(context)


def walk(
    nodes: t.Mapping[str, Node],
    start: str,
    stands: t.Callable[[str], Answer],
    context: Context,
) -> Walk:
    """Follow the answers from ``start``. The rules were checked for cycles when they were loaded, so this ends.

    :param stands: whether an outcome stands now (its ``present``).
    """
    result = Walk()
    lead: Lead = start
    while isinstance(lead, str) and lead in nodes:
        node = nodes[lead]
        answer = ask(node, context)
        result.path.append(
            {"node": node.id, "question": node.question, "answer": answer, "evidence": quote(node.quotes, context)}
        )
        lead = node.leads[answer]
    if isinstance(lead, str):
        result.outcomes = [lead]
        return result
    standing = [outcome for outcome in lead[:-1] if stands(outcome) == YES]
    result.outcomes = standing or [lead[-1]]
    result.by_state = True
    return result
