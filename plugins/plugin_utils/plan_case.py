# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""One server as the plan sees it: its evidence, what the rules make of it, its diagnosis, and the operator's policy."""

from __future__ import annotations

import ipaddress
import typing as t
from dataclasses import dataclass, field

from ansible_collections.redisops.persistence.plugins.module_utils._changes import Change
from ansible_collections.redisops.persistence.plugins.plugin_utils.case import Case
from ansible_collections.redisops.persistence.plugins.plugin_utils.diagnosis import (
    FAILING,
    bare_instance,
    build_case,
    build_context,
    placeholder_values,
)
from ansible_collections.redisops.persistence.plugins.plugin_utils.expressions import UNKNOWN, YES
from ansible_collections.redisops.persistence.plugins.plugin_utils.fixes import FixEntry, decide
from ansible_collections.redisops.persistence.plugins.plugin_utils.forecast import WILL_FAIL
from ansible_collections.redisops.persistence.plugins.plugin_utils.policy import Policy
from ansible_collections.redisops.persistence.plugins.plugin_utils.rules import Rules
from ansible_collections.redisops.persistence.plugins.plugin_utils.text import fill_command
from ansible_collections.redisops.persistence.plugins.plugin_utils.values import (
    Mapping,
    entries,
    integer,
    mapping,
    number,
    text,
)

Action = dict[str, t.Any]

APPLY = "apply"
OPT_IN = "opt_in"
REFUSE = "refuse"
MANUAL = "manual"


class CannotFix(Exception):
    """A fix that is not applied after all: the decision (``refuse``, ``manual`` or ``opt_in``) and why."""

    def __init__(self, decision: str, reason: str) -> None:
        super().__init__(reason)
        self.decision = decision
        self.reason = reason


@dataclass
class Work:
    """What a fix would do: the arguments of its task file, and what differs afterwards.

    ``commands`` are those with exact values; ``None``: the rules' own. ``note`` is added to the reason.
    """

    arguments: dict[str, t.Any]
    changes: list[Change]
    commands: list[str] | None = None
    note: str | None = None


@dataclass(frozen=True)
class Situation:
    """The parts that the fixes are made of. ``signals`` and ``values`` are those of the diagnosis."""

    instance: Mapping
    peers: list[Mapping]
    host: Mapping
    case: Case
    context: dict[str, t.Any]
    values: dict[str, t.Any]
    diagnosis: Mapping
    rules: Rules
    policy: Policy
    incident_fixes: frozenset[str] = field(default_factory=frozenset)
    risk_fixes: frozenset[str] = field(default_factory=frozenset)

    @property
    def address(self) -> str:
        return str(self.instance.get("address"))

    @property
    def signals(self) -> Mapping:
        return mapping(self.context, "signals")

    @property
    def status_is_err(self) -> bool:
        return self.diagnosis.get("status") == "err"

    @property
    def is_known(self) -> bool:
        """Whether the server answered at all."""
        return text(self.instance, "connection", "state") == "ok" and bool(self.case.info)

    def rule(self, fix_id: str) -> FixEntry:
        """What the rules say of a fix, whether or not anything asks for it."""
        return decide(self.rules.fixes[fix_id], self.context, self.values)

    def stands(self, outcome_id: str) -> bool:
        return outcome_id in self.rules.outcomes and self.rules.stands(outcome_id, self.context) == YES

    @property
    def storage_untrusted(self) -> bool:
        """Whether a cause, or a record of the kernel, says that the storage can't be trusted."""
        causes = [text(cause, "id") for cause in entries(self.diagnosis, "causes")]
        return self.signals.get("storage_error_seen") is True or any(
            self.rules.distrusts_storage(cause, self.context) for cause in causes
        )

    @property
    def save_is_deadly(self) -> bool:
        """Whether a save, or another fork that copies, can take the server down."""
        deadly = self.rules.deadly
        return text(self.diagnosis, "forecast", "cause") in deadly or any(map(self.stands, deadly))

    def command(self, template: str) -> str:
        """A command with this server's values, quoted for the shell."""
        return fill_command(template, self.values)

    def opted_in(self, fix_id: str) -> bool:
        return fix_id in self.policy.opt_in


def look_at(evidence: Mapping, diagnoses: t.Iterable[Mapping], rules: Rules, policy: Policy) -> list[Situation]:
    """Each server of the evidence that has a diagnosis, in the order of the evidence."""
    by_address = {text(diagnosis, "instance", "address"): diagnosis for diagnosis in diagnoses}
    host, now = mapping(evidence, "host"), float(number(evidence, "gathered_at_unix") or 0)
    instances = entries(evidence, "instances")
    found = []
    for instance in instances:
        diagnosis = by_address.get(text(instance, "address"))
        if diagnosis is None:
            continue
        peers = [peer for peer in instances if peer is not instance]
        try:
            case = build_case(instance, peers, host, now)
            context = build_context(case)
        except Exception as error:  # the rim: as in its diagnosis
            instance = bare_instance(instance, error)
            case = build_case(instance, [], {}, now)
            context = build_context(case)
        answer = text(diagnosis, "forecast", "answer")
        context["signals"]["save_would_fail"] = {WILL_FAIL: True, UNKNOWN: None}.get(answer or UNKNOWN, False)
        incident, risks = _origins(diagnosis, rules)
        values = placeholder_values(case, context)
        found.append(Situation(instance, peers, host, case, context, values, diagnosis, rules, policy, incident, risks))
    return found


def _origins(diagnosis: Mapping, rules: Rules) -> tuple[frozenset[str], frozenset[str]]:
    """The fixes that causes, the state or the forecast ask for, and those that only risks do."""
    ids = [text(cause, "id") for cause in entries(diagnosis, "causes")]
    state = text(diagnosis, "state")
    if state != FAILING:
        ids.append(state)
    ids.append(text(diagnosis, "forecast", "cause"))
    incident = {
        fix for name in ids if name is not None and name in rules.outcomes for fix in rules.outcomes[name].fixes
    }
    risks = {fix for risk in entries(diagnosis, "risks") for fix in risk.get("fixes") or ()}
    return frozenset(incident), frozenset(risks - incident)


def connection_of(address: str) -> dict[str, t.Any]:
    """``127.0.0.1:6379`` -> {login_host, login_port}; ``unix:/path`` -> {unix_socket}."""
    if address.startswith("unix:"):
        return {"unix_socket": address[len("unix:") :]}
    host, _colon, port = address.rpartition(":")
    return {
        "login_host": host.strip("[]") or "127.0.0.1",
        "login_port": int(port) if port.isascii() and port.isdigit() else None,
    }


def is_local_client(address: str) -> bool:
    """Whether a client at this address counts as local for ``enable-protected-configs local``."""
    host = connection_of(address).get("login_host")
    if host is None or host == "localhost":
        return True
    try:
        return ipaddress.ip_address(str(host)).is_loopback
    except ValueError:
        return False


# What fixes need -----------------------------------------------------------------------------------------------------


def need_server(situation: Situation) -> None:
    """Raises CannotFix where nobody can talk to the server."""
    if not situation.is_known:
        state = text(situation.instance, "connection", "state")
        raise CannotFix(MANUAL, f"The server does not answer ({state or 'not asked'}).")


def need_process(situation: Situation) -> dict[str, t.Any]:
    """{pid, started_unix} of the server on its host; the start guards against a pid that is used again."""
    pid = integer(situation.case.process, "pid")
    if pid is None:
        raise CannotFix(MANUAL, "The server's process is not known; run as root on its host (become).")
    return {"pid": pid, "started_unix": number(situation.case.process, "started_unix")}


def need_ids(situation: Situation) -> tuple[int, int]:
    """The server's own user and group."""
    uid = integer(situation.case.process, "uid", "effective")
    gid = integer(situation.case.process, "gid", "effective")
    if uid is None or gid is None:
        raise CannotFix(MANUAL, "The user or the group that the server runs as is not known.")
    return uid, gid


def collector_has(situation: Situation, capability: str) -> bool | None:
    """Whether what runs on the host may do this; null where that is not known."""
    held = mapping(situation.host, "collector").get("capabilities_effective")
    return capability in held if isinstance(held, (list, tuple)) else None


def need_root(situation: Situation, what: str) -> None:
    """Raises CannotFix where the run is known not to be root on the host."""
    if mapping(situation.host, "collector").get("root") is False:
        raise CannotFix(MANUAL, f"{what} takes root on the host (become).")


def need_parameter(situation: Situation, name: str) -> str:
    """The running value of a parameter. Raises CannotFix where CONFIG doesn't show it."""
    need_server(situation)
    value = text(situation.case.config, name)
    if value is None:
        raise CannotFix(MANUAL, f"The running value of {name} is not known: CONFIG is refused, or has no such name.")
    return value
