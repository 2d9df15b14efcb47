# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Expressions with a third answer: what nobody could read is never "no"."""

from __future__ import annotations

import pytest
from ansible_collections.redisops.persistence.plugins.plugin_utils import expressions
from ansible_collections.redisops.persistence.plugins.plugin_utils.expressions import Expression, ExpressionError

CONTEXT = {
    "info": {"status": "err", "zero": 0, "many": 7, "nothing": None, "empty": [], "a-b": "dash"},
    "attempt": None,
}


@pytest.mark.parametrize(
    ("source", "answer"),
    [
        ("info.status == 'err'", "yes"),
        ("info.status == 'ok'", "no"),
        ("info.status != 'ok'", "yes"),
        ("info.missing == 'err'", "unknown"),
        ("info.missing != 'err'", "unknown"),
        ("info.nothing > `3`", "unknown"),
        ("info.status > `3`", "unknown"),
        ("info.many > `3`", "yes"),
        ("!(info.missing == 'x')", "unknown"),
        ("!info.missing", "unknown"),
        ("info.many", "yes"),
        ("info.zero", "no"),
        ("info.empty", "no"),
        ("info.missing", "unknown"),
        # Kleene: one side may decide alone.
        ("info.missing == 'x' || info.many > `3`", "yes"),
        ("info.missing == 'x' || info.many > `9`", "unknown"),
        ("info.missing == 'x' && info.many > `9`", "no"),
        ("info.many > `9` && info.missing == 'x'", "no"),
        ("info.missing == 'x' && info.many > `3`", "unknown"),
        # Whether a thing is known has a definite answer.
        ("attempt == `null`", "yes"),
        ("info.status != `null`", "yes"),
        ("info.missing != `null`", "no"),
        # Functions of something unknown.
        ("starts_with(info.missing, 'e')", "unknown"),
        ("starts_with(info.status, 'e')", "yes"),
        ("length(info.empty) > `0`", "no"),
        ("attempt.errno == 'EIO'", "unknown"),
        ("info.\"a-b\" == 'dash'", "yes"),
    ],
)
def test_answers(source: str, answer: str) -> None:
    assert Expression(source).answer(CONTEXT) == answer


def test_what_is_unknown_is_named_once_and_in_order() -> None:
    expression = Expression("info.missing == 'x' && (attempt.errno == 'EIO' || info.missing == 'y') && info.many > `1`")
    assert expression.unknown_paths(CONTEXT) == ["info.missing", "attempt.errno"]


def test_paths_stop_where_plain_names_do() -> None:
    assert Expression("process.children[?kind == 'rdb_save'].state").paths == [("process", "children")]
    assert Expression('length(config."a-b") > `1`').paths == [("config", "a-b")]


@pytest.mark.parametrize("source", ["info.status ==", "", "   ", "a[", "nosuch(", 3])
def test_a_broken_expression_is_an_error_that_quotes_it(source: object) -> None:
    with pytest.raises(ExpressionError) as caught:
        Expression(source)  # type: ignore[arg-type]
    assert repr(source) in str(caught.value) or "JMESPath string" in str(caught.value)


def test_without_jmespath_the_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expressions, "HAS_JMESPATH", False)
    with pytest.raises(ExpressionError, match="'jmespath' is not installed on the control node"):
        Expression("a == `1`")
