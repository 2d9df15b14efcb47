# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""JMESPath with a third answer.

An expression of the failure tree is answered ``yes``, ``no`` or ``unknown``. Plain JMESPath can't say the last: there
``null == 'err'`` is false and ``!null`` is true, so what nobody could read would count as "no". Here ``&&``, ``||``
and ``!`` follow Kleene's logic, a comparison with something unknown is unknown, and a function that is handed
something unknown is unknown. To ask whether a thing is known, compare it with the literal null: ``x != `null```.
"""

from __future__ import annotations

import typing as t

try:
    import jmespath
    import jmespath.exceptions
    import jmespath.visitor
except ImportError:  # pragma: no cover - tested by hiding the package
    HAS_JMESPATH = False
else:
    HAS_JMESPATH = True

YES = "yes"
NO = "no"
UNKNOWN = "unknown"

MISSING_JMESPATH = (
    "the Python package 'jmespath' is not installed on the control node (install it for the Python that runs ansible: "
    "python3 -m pip install jmespath, or the distribution's package python3-jmespath)"
)

Answer = str
Context = t.Mapping[str, t.Any]

_NEGATED = {YES: NO, NO: YES, UNKNOWN: UNKNOWN}
_PASS_THROUGH = (
    "index_expression", "projection", "filter_projection", "value_projection", "flatten", "pipe", "subexpression",
)  # fmt: skip


class ExpressionError(ValueError):
    """An expression that can't be compiled, or a control node that can't compile any."""


def _is_null_literal(node: t.Mapping[str, t.Any]) -> bool:
    return bool(node["type"] == "literal" and node["value"] is None)


def _leading_fields(node: t.Mapping[str, t.Any]) -> tuple[str, ...]:
    """The plain names that a path starts with: ``a.b[0].c`` -> (a, b); empty for anything that isn't a path."""
    if node["type"] == "field":
        return (str(node["value"]),)
    if node["type"] in _PASS_THROUGH and node["children"]:
        first, rest = node["children"][0], node["children"][1:]
        names = _leading_fields(first)
        if node["type"] == "subexpression" and first["type"] == "field":
            for child in rest:
                if child["type"] != "field":
                    break
                names += (str(child["value"]),)
        return names
    return ()


def _collect_paths(node: t.Mapping[str, t.Any], found: list[tuple[tuple[str, ...], t.Mapping[str, t.Any]]]) -> None:
    names = _leading_fields(node)
    if names:
        found.append((names, node))
        return
    for child in node.get("children", []):
        if isinstance(child, dict):
            _collect_paths(child, found)


class Expression:
    """One compiled expression. Raises :class:`ExpressionError` with the reason when it can't be compiled."""

    def __init__(self, source: str) -> None:
        if not HAS_JMESPATH:
            raise ExpressionError(MISSING_JMESPATH)
        if not isinstance(source, str) or not source.strip():
            raise ExpressionError(f"an expression must be a JMESPath string, not {source!r}")
        self.source = source
        try:
            self._tree: t.Any = jmespath.compile(source).parsed
        except jmespath.exceptions.JMESPathError as error:
            reason = " ".join(str(error).split())
            raise ExpressionError(f"not a JMESPath expression: {source!r}: {reason}") from error
        self._interpreter = jmespath.visitor.TreeInterpreter()
        found: list[tuple[tuple[str, ...], t.Mapping[str, t.Any]]] = []
        _collect_paths(self._tree, found)
        self._path_nodes = found

    @property
    def paths(self) -> list[tuple[str, ...]]:
        """The leading names of each path that the expression reads."""
        return [names for names, _node in self._path_nodes]

    def value(self, context: Context) -> t.Any:
        """What the expression yields; null also where its functions were handed something of the wrong type."""
        return self._value(self._tree, context)

    def answer(self, context: Context) -> Answer:
        """Is it so? ``yes``, ``no`` or ``unknown``."""
        return self._answer(self._tree, context)

    def unknown_paths(self, context: Context) -> list[str]:
        """The paths of the expression that are null in this context, in order, each once."""
        names: list[str] = []
        for path, node in self._path_nodes:
            name = ".".join(path)
            if name not in names and self._value(node, context) is None:
                names.append(name)
        return names

    def _value(self, node: t.Any, context: Context) -> t.Any:
        try:
            return self._interpreter.visit(node, context)
        except (jmespath.exceptions.JMESPathError, TypeError):
            # A function given null or another type than it takes: nothing can be said.
            return None

    def _answer(self, node: t.Mapping[str, t.Any], context: Context) -> Answer:
        kind = node["type"]
        if kind == "and_expression":
            answers = [self._answer(child, context) for child in node["children"]]
            return NO if NO in answers else UNKNOWN if UNKNOWN in answers else YES
        if kind == "or_expression":
            answers = [self._answer(child, context) for child in node["children"]]
            return YES if YES in answers else UNKNOWN if UNKNOWN in answers else NO
        if kind == "not_expression":
            return _NEGATED[self._answer(node["children"][0], context)]
        if kind == "comparator":
            return self._compare(node, context)
        return truth(self._value(node, context))

    def _compare(self, node: t.Mapping[str, t.Any], context: Context) -> Answer:
        children = node["children"]
        asks_whether_known = any(_is_null_literal(child) for child in children)
        if not asks_whether_known and any(self._value(child, context) is None for child in children):
            return UNKNOWN
        return truth(self._value(node, context))


def truth(value: t.Any) -> Answer:
    """The answer that a value stands for: null is unknown; false and everything empty is no; zero is no."""
    if value is None:
        return UNKNOWN
    return YES if value else NO
