# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""Read the rules (YAML), merge a user's over the shipped ones, check them, compile them once.

Everything that can be wrong with a rule is found here, before a single host is asked: :class:`RuleError` names the
rule, what is wrong with it and where.
"""

from __future__ import annotations

import functools
import os
import typing as t
from dataclasses import dataclass

import yaml
from ansible_collections.redisops.persistence.plugins.plugin_utils import expressions
from ansible_collections.redisops.persistence.plugins.plugin_utils.expressions import (
    NO,
    UNKNOWN,
    YES,
    Context,
    Expression,
    ExpressionError,
)
from ansible_collections.redisops.persistence.plugins.plugin_utils.signal_names import CONTEXT_NAMES, SIGNALS
from ansible_collections.redisops.persistence.plugins.plugin_utils.text import unknown_placeholders
from ansible_collections.redisops.persistence.plugins.plugin_utils.tree import START, Lead, Node, Quote

# libyaml's is ten times as fast where PyYAML has it; both read plain data only.
_YAML_LOADER: t.Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

# YAML 1.1 reads the bare keys yes and no as booleans, and JSON makes texts of those.
_ANSWER_KEYS: dict[t.Any, str] = {True: YES, "true": YES, "True": YES, False: NO, "false": NO, "False": NO}

RuleData = t.Mapping[str, t.Any]
RuleList = t.Sequence[RuleData]

CLASSES = ("none", "host-wide", "guarded", "restart", "load", "manual")
DECISIONS = ("apply", "opt_in", "refuse", "manual")
SEVERITIES = ("low", "medium", "high", "critical")
CONFIDENCES = ("confirmed", "probable", "possible")
KINDS = ("cause", "state")


class RuleError(ValueError):
    """A rule that can't be used."""

    def __init__(self, rule: str, problem: str) -> None:
        super().__init__(f"{rule}: {problem}")
        self.rule = rule
        self.problem = problem


@dataclass(frozen=True)
class ManualFix:
    """What only an operator can do: why, and the commands (templates whose values are quoted when filled in)."""

    reason: str
    commands: tuple[str, ...]


@dataclass(frozen=True)
class Outcome:
    """A verdict: a cause of a failed save, or a state of a server."""

    id: str
    kind: str
    stage: str
    title: str
    summary: str
    documentation: str
    present: Expression | None
    confirmed_when: Expression | None
    probable_when: Expression | None
    quotes: tuple[Quote, ...]
    fixes: tuple[str, ...]
    manual: ManualFix | None
    leads_to: tuple[str, ...]
    root_when: Expression | None
    seen_when: Expression | None
    continue_at: str | None
    absorbs: bool
    storage_untrusted: Expression | None
    takes_server_down: bool
    forecast: str
    missing_remedy: str | None


@dataclass(frozen=True)
class Level:
    """When a risk has a severity."""

    severity: str
    when: Expression


@dataclass(frozen=True)
class Risk:
    """Something that has not broken a save yet."""

    id: str
    title: str
    summary: str
    documentation: str
    levels: tuple[Level, ...]
    threshold: str
    quotes: tuple[Quote, ...]
    fixes: tuple[str, ...]
    manual: ManualFix | None


@dataclass(frozen=True)
class Condition:
    """When a fix is decided differently from its default, and why."""

    when: Expression
    decision: str
    reason: str
    commands: tuple[str, ...] | None = None
    """In place of the fix's own; None: those."""


@dataclass(frozen=True)
class Fix:
    """What can be done about a cause or a risk, and whether it is done without being asked for."""

    id: str
    title: str
    fix_class: str
    decision: str
    reason: str
    conditions: tuple[Condition, ...]
    commands: tuple[str, ...]


@dataclass(frozen=True)
class Rules:
    """Everything that a diagnosis needs, compiled. Order of ``outcomes`` is the order of the save pipeline."""

    nodes: t.Mapping[str, Node]
    outcomes: t.Mapping[str, Outcome]
    risks: t.Mapping[str, Risk]
    fixes: t.Mapping[str, Fix]

    def stands(self, outcome_id: str, context: Context) -> str:
        """Is this outcome the case now, from state alone?"""
        present = self.outcomes[outcome_id].present
        return UNKNOWN if present is None else present.answer(context)

    def distrusts_storage(self, outcome_id: str | None, context: Context) -> bool:
        """Does this verdict say that what is written to the storage may not be there later?"""
        outcome = self.outcomes.get(outcome_id or "")
        return (
            outcome is not None
            and outcome.storage_untrusted is not None
            and outcome.storage_untrusted.answer(context) == YES
        )

    @property
    def deadly(self) -> tuple[str, ...]:
        """The outcomes in which a save can take the server down with it."""
        return tuple(outcome.id for outcome in self.outcomes.values() if outcome.takes_server_down)


def rules_directory() -> str:
    """Where the shipped rules are: ``roles/diagnose/files`` of the collection that this file belongs to."""
    here = os.path.dirname(os.path.realpath(__file__))
    return os.path.join(os.path.dirname(os.path.dirname(here)), "roles", "diagnose", "files")


def read_rule_file(name: str) -> list[dict[str, t.Any]]:
    """One shipped file: a list of mappings. Raises :class:`RuleError` when it isn't."""
    return _parse_rule_file(os.path.join(rules_directory(), name), name)


@functools.cache
def _parse_rule_file(path: str, name: str) -> list[dict[str, t.Any]]:
    """Parsed once in a process and in its forks: a fleet of thousands must not pay for it host by host."""
    try:
        with open(path, encoding="utf-8") as handle:
            content = yaml.load(handle, Loader=_YAML_LOADER)
    except (OSError, yaml.YAMLError) as error:
        raise RuleError(name, f"can't be read: {error}") from error
    if not isinstance(content, list):
        raise RuleError(name, "must be a list of rules")
    return content


def merge(shipped: RuleList, extra: RuleList | None, kind: str) -> list[dict[str, t.Any]]:
    """Lay a user's rules over the shipped ones: a rule of the same id has its keys replaced, a new one is appended."""
    merged: dict[str, dict[str, t.Any]] = {}
    if extra is not None and not isinstance(extra, (list, tuple)):
        raise RuleError(f"extra {kind}s", f"must be a list of rules, not {type(extra).__name__}")
    for origin, rules in (("shipped", shipped), ("extra", extra or ())):
        seen: set[str] = set()
        for position, rule in enumerate(rules):
            if not isinstance(rule, t.Mapping):
                raise RuleError(f"{origin} {kind} number {position + 1}", "must be a mapping with an id")
            rule_id = rule.get("id")
            if not isinstance(rule_id, str) or not rule_id:
                raise RuleError(f"{origin} {kind} number {position + 1}", "has no id")
            if rule_id in seen:
                raise RuleError(f"{kind} '{rule_id}'", f"is defined twice in the {origin} rules")
            seen.add(rule_id)
            merged.setdefault(rule_id, {}).update(
                {t.cast(str, _ANSWER_KEYS.get(key, key)): value for key, value in rule.items()}
            )
    return list(merged.values())


class _Reader:
    """Takes the keys of one rule, each checked; what is left over at the end is an unknown key."""

    def __init__(self, kind: str, data: RuleData) -> None:
        self.name = f"{kind} '{data.get('id')}'"
        self._data = dict(data)

    def fail(self, problem: str) -> t.NoReturn:
        raise RuleError(self.name, problem)

    def take(self, key: str) -> t.Any:
        return self._data.pop(key, None)

    def text(self, key: str, required: bool = True) -> str:
        value = self.take(key)
        if value is None and not required:
            return ""
        if not isinstance(value, str) or not value.strip():
            self.fail(f"'{key}' must be a text, and is missing or empty")
        return " ".join(value.split())

    def choice(self, key: str, choices: t.Sequence[str], default: str | None = None) -> str:
        value = self._data.pop(key, default)
        if value not in choices:
            self.fail(f"'{key}' must be one of {', '.join(choices)}, not {value!r}")
        return str(value)

    def flag(self, key: str, default: bool) -> bool:
        value = self._data.pop(key, default)
        if not isinstance(value, bool):
            self.fail(f"'{key}' must be true or false, not {value!r}")
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        value = self._data.pop(key, None) or []
        if not isinstance(value, (list, tuple)) or not all(isinstance(item, str) for item in value):
            self.fail(f"'{key}' must be a list of texts")
        return tuple(value)

    def compile(self, source: t.Any, key: str) -> Expression:
        if isinstance(source, bool):
            # In YAML a rule author writes true, in JMESPath that is the literal `true`.
            source = f"`{str(source).lower()}`"
        if isinstance(source, str):
            source = " ".join(source.split())
        try:
            expression = Expression(source)
        except ExpressionError as error:
            raise RuleError(self.name, f"'{key}': {error}") from error
        for path in expression.paths:
            if path[0] not in CONTEXT_NAMES:
                self.fail(f"'{key}' asks for '{path[0]}', which is none of {', '.join(sorted(CONTEXT_NAMES))}")
            if path[0] == "signals" and len(path) > 1 and path[1] not in SIGNALS:
                self.fail(f"'{key}' asks for the signal '{path[1]}', which doesn't exist")
        return expression

    def expression(self, key: str, required: bool = False) -> Expression | None:
        value = self.take(key)
        if value is None:
            if required:
                self.fail(f"'{key}' is missing")
            return None
        return self.compile(value, key)

    def required_expression(self, key: str) -> Expression:
        expression = self.expression(key, required=True)
        if expression is None:
            self.fail(f"'{key}' is missing")
        return expression

    def expressions(self, key: str) -> tuple[Expression, ...]:
        return tuple(self.compile(source, key) for source in self.texts(key))

    def quotes(self) -> tuple[Quote, ...]:
        quotes = []
        value = self.take("quotes") or []
        if not isinstance(value, (list, tuple)):
            self.fail("'quotes' must be a list")
        for entry in value:
            if not isinstance(entry, t.Mapping):
                self.fail("'quotes' must be a list of mappings")
            data = dict(entry)
            parts = [data.pop(key, None) for key in ("source", "name", "path")]
            if not all(isinstance(part, str) and part for part in parts):
                self.fail(f"a quote needs source, name and path: {dict(entry)!r}")
            expected, when = data.pop("expected", None), data.pop("when", None)
            if data:
                self.fail(f"unknown key '{sorted(data)[0]}' in a quote")
            quotes.append(
                Quote(
                    source=parts[0],
                    name=parts[1],
                    path=self.compile(parts[2], "quotes"),
                    expected=expected,
                    when=None if when is None else self.compile(when, "quotes"),
                )
            )
        return tuple(quotes)

    def commands(self, value: t.Any, key: str) -> tuple[str, ...]:
        if value is None:
            return ()
        if not isinstance(value, (list, tuple)) or not all(isinstance(item, str) and item for item in value):
            self.fail(f"'{key}' must be a list of texts")
        self._check_placeholders(value, key)
        return tuple(value)

    def template(self, key: str) -> str:
        text = self.text(key)
        self._check_placeholders([text], key)
        return text

    def manual(self) -> ManualFix | None:
        value = self.take("manual")
        if value is None:
            return None
        if not isinstance(value, t.Mapping):
            self.fail("'manual' must be a mapping with reason and commands")
        data = dict(value)
        reason, commands = data.pop("reason", None), data.pop("commands", None)
        if data:
            self.fail(f"unknown key '{sorted(data)[0]}' in 'manual'")
        if not isinstance(reason, str) or not reason.strip():
            self.fail("'manual' needs a reason")
        return ManualFix(reason=" ".join(reason.split()), commands=self.commands(commands, "manual.commands"))

    def finish(self) -> None:
        self.take("id")
        if self._data:
            self.fail(f"unknown key '{sorted(self._data)[0]}'")

    def _check_placeholders(self, texts: t.Iterable[str], key: str) -> None:
        for text in texts:
            wrong = unknown_placeholders(text)
            if wrong:
                self.fail(f"'{key}' names the placeholder '{{{wrong[0]}}}', which doesn't exist")


def _read_node(data: RuleData) -> Node:
    reader = _Reader("node", data)
    leads: dict[str, Lead] = {}
    for answer in (YES, NO, UNKNOWN):
        lead: t.Any = reader.take(answer)
        if isinstance(lead, (list, tuple)) and lead and all(isinstance(item, str) for item in lead):
            leads[answer] = tuple(lead)
        elif isinstance(lead, str) and lead:
            leads[answer] = lead
        else:
            reader.fail(f"'{answer}' must be the id of a node or an outcome, or a list of outcomes")
    node = Node(
        id=str(data["id"]),
        question=reader.text("question"),
        when=reader.required_expression("when"),
        leads=leads,
        needs=reader.expressions("needs"),
        quotes=reader.quotes(),
    )
    reader.finish()
    return node


def _read_outcome(data: RuleData) -> Outcome:
    reader = _Reader("outcome", data)
    outcome = Outcome(
        id=str(data["id"]),
        kind=reader.choice("kind", KINDS),
        stage=reader.text("stage"),
        title=reader.text("title"),
        summary=reader.template("summary"),
        documentation=reader.text("documentation"),
        present=reader.expression("present"),
        confirmed_when=reader.expression("confirmed_when"),
        probable_when=reader.expression("probable_when"),
        quotes=reader.quotes(),
        fixes=reader.texts("fixes"),
        manual=reader.manual(),
        leads_to=reader.texts("leads_to"),
        root_when=reader.expression("root_when"),
        seen_when=reader.expression("seen_when"),
        continue_at=reader.text("continue_at", required=False) or None,
        absorbs=reader.flag("absorbs", False),
        storage_untrusted=reader.expression("storage_untrusted"),
        takes_server_down=reader.flag("takes_server_down", False),
        forecast=reader.choice("forecast", ("required", "if_known", "never"), "never"),
        missing_remedy=reader.text("missing_remedy", required=False) or None,
    )
    reader.finish()
    return outcome


def _read_risk(data: RuleData) -> Risk:
    reader = _Reader("risk", data)
    levels: list[Level] = []
    value = reader.take("levels")
    if not isinstance(value, (list, tuple)) or not value:
        reader.fail("'levels' must be a list of {severity, when}, the gravest first")
    for entry in value:
        if not isinstance(entry, t.Mapping) or set(entry) != {"severity", "when"}:
            reader.fail("each of 'levels' must have exactly severity and when")
        if entry["severity"] not in SEVERITIES:
            reader.fail(f"'severity' must be one of {', '.join(SEVERITIES)}, not {entry['severity']!r}")
        levels.append(Level(severity=entry["severity"], when=reader.compile(entry["when"], "levels.when")))
    risk = Risk(
        id=str(data["id"]),
        title=reader.text("title"),
        summary=reader.template("summary"),
        documentation=reader.text("documentation"),
        levels=tuple(levels),
        threshold=reader.text("threshold"),
        quotes=reader.quotes(),
        fixes=reader.texts("fixes"),
        manual=reader.manual(),
    )
    reader.finish()
    return risk


def _read_fix(data: RuleData) -> Fix:
    reader = _Reader("fix", data)
    conditions: list[Condition] = []
    for entry in reader.take("conditions") or []:
        if not isinstance(entry, t.Mapping) or set(entry) - {"commands"} != {"when", "decision", "reason"}:
            reader.fail("each of 'conditions' must have when, decision and reason, and may have commands")
        if entry["decision"] not in DECISIONS:
            reader.fail(f"'decision' must be one of {', '.join(DECISIONS)}, not {entry['decision']!r}")
        conditions.append(
            Condition(
                reader.compile(entry["when"], "conditions.when"),
                entry["decision"],
                str(entry["reason"]),
                reader.commands(entry["commands"], "conditions.commands") if "commands" in entry else None,
            )
        )
    fix = Fix(
        id=str(data["id"]),
        title=reader.text("title"),
        fix_class=reader.choice("class", CLASSES),
        decision=reader.choice("decision", DECISIONS),
        reason=reader.template("reason"),
        conditions=tuple(conditions),
        commands=reader.commands(reader.take("commands"), "commands"),
    )
    reader.finish()
    return fix


def _check_leads(nodes: t.Mapping[str, Node], outcomes: t.Mapping[str, Outcome]) -> None:
    for node in nodes.values():
        if node.id in outcomes:
            raise RuleError(f"node '{node.id}'", "has the id of an outcome")
        for answer, lead in node.leads.items():
            if isinstance(lead, str):
                if lead not in nodes and lead not in outcomes:
                    raise RuleError(
                        f"node '{node.id}'", f"'{answer}' leads to '{lead}', which is neither a node nor an outcome"
                    )
                continue
            for listed in lead:
                if listed not in outcomes:
                    raise RuleError(f"node '{node.id}'", f"'{answer}' lists '{listed}', which is not an outcome")
    for outcome in outcomes.values():
        if outcome.continue_at is not None and outcome.continue_at not in nodes:
            raise RuleError(f"outcome '{outcome.id}'", f"'continue_at' is '{outcome.continue_at}', which is not a node")
        for other in outcome.leads_to:
            if other not in outcomes:
                raise RuleError(f"outcome '{outcome.id}'", f"'leads_to' names '{other}', which is not an outcome")


def _next_nodes(node: Node, nodes: t.Mapping[str, Node], outcomes: t.Mapping[str, Outcome]) -> list[str]:
    following: list[str] = []
    for lead in node.leads.values():
        for target in (lead,) if isinstance(lead, str) else lead:
            if target in outcomes:
                target = outcomes[target].continue_at or ""
            if target in nodes and target not in following:
                following.append(target)
    return following


def _check_shape(nodes: t.Mapping[str, Node], outcomes: t.Mapping[str, Outcome]) -> None:
    """Every node can be reached from the start, and none leads back to itself."""
    if START not in nodes:
        raise RuleError(f"node '{START}'", "is missing: the tree has no first question")
    finished: set[str] = set()
    way: list[str] = []

    def visit(node_id: str) -> None:
        if node_id in way:
            circle = way[way.index(node_id) :] + [node_id]
            raise RuleError(f"node '{node_id}'", f"leads back to itself: {' -> '.join(circle)}")
        if node_id in finished:
            return
        way.append(node_id)
        for following in _next_nodes(nodes[node_id], nodes, outcomes):
            visit(following)
        way.pop()
        finished.add(node_id)

    visit(START)
    for node_id in nodes:
        if node_id not in finished:
            raise RuleError(f"node '{node_id}'", "can't be reached: no other node leads to it")


def _check_fixes(owners: t.Iterable[tuple[str, tuple[str, ...]]], fixes: t.Mapping[str, Fix]) -> None:
    for owner, names in owners:
        for name in names:
            if name not in fixes:
                raise RuleError(owner, f"'fixes' names '{name}', which is not a fix")


def load_rules(
    extra_nodes: RuleList | None = None,
    extra_outcomes: RuleList | None = None,
    extra_risks: RuleList | None = None,
) -> Rules:
    """The shipped rules with a user's laid over them by id, checked and compiled. Raises :class:`RuleError`."""
    if not expressions.HAS_JMESPATH:
        raise RuleError("the failure tree", expressions.MISSING_JMESPATH)
    nodes = [_read_node(data) for data in merge(read_rule_file("failure_tree.yml"), extra_nodes, "node")]
    outcomes = [_read_outcome(data) for data in merge(read_rule_file("outcomes.yml"), extra_outcomes, "outcome")]
    risks = [_read_risk(data) for data in merge(read_rule_file("risks.yml"), extra_risks, "risk")]
    fixes = {fix.id: fix for fix in (_read_fix(data) for data in merge(read_rule_file("fixes.yml"), None, "fix"))}
    rules = Rules(
        nodes={node.id: node for node in nodes},
        outcomes={outcome.id: outcome for outcome in outcomes},
        risks={risk.id: risk for risk in risks},
        fixes=fixes,
    )
    _check_leads(rules.nodes, rules.outcomes)
    _check_shape(rules.nodes, rules.outcomes)
    _check_fixes([(f"outcome '{outcome.id}'", outcome.fixes) for outcome in outcomes], fixes)
    _check_fixes([(f"risk '{risk.id}'", risk.fixes) for risk in risks], fixes)
    return rules
