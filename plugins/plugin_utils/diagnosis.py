# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""Evidence in, diagnosis documents out: one a server, whatever could or could not be read of it."""

from __future__ import annotations

import posixpath
import shlex
import typing as t

from ansible_collections.redisops.persistence.plugins.module_utils._attempts import join_attempts, new_attempt, streak
from ansible_collections.redisops.persistence.plugins.plugin_utils.case import Attempt, Case
from ansible_collections.redisops.persistence.plugins.plugin_utils.expressions import NO, UNKNOWN, YES
from ansible_collections.redisops.persistence.plugins.plugin_utils.fixes import choose_fixes
from ansible_collections.redisops.persistence.plugins.plugin_utils.forecast import WILL_FAIL, forecast
from ansible_collections.redisops.persistence.plugins.plugin_utils.recovery import exposure, recovery
from ansible_collections.redisops.persistence.plugins.plugin_utils.risks import find_risks
from ansible_collections.redisops.persistence.plugins.plugin_utils.rules import Outcome, Rules
from ansible_collections.redisops.persistence.plugins.plugin_utils.signal_names import SHORT_NAMES, SIGNALS
from ansible_collections.redisops.persistence.plugins.plugin_utils.signals import compute_signals
from ansible_collections.redisops.persistence.plugins.plugin_utils.signals_dump import dump_document, judged_dump
from ansible_collections.redisops.persistence.plugins.plugin_utils.signals_storage import running_place
from ansible_collections.redisops.persistence.plugins.plugin_utils.text import DEFECT_REMEDY, clean, fill
from ansible_collections.redisops.persistence.plugins.plugin_utils.tree import START, Walk, quote, walk
from ansible_collections.redisops.persistence.plugins.plugin_utils.values import (
    Mapping,
    entries,
    integer,
    mapping,
    number,
    text,
)

SCHEMA_VERSION = 1
EVIDENCE_SCHEMA_VERSION = 1
FAILING = "failing"
NO_EVIDENCE = "no_evidence"
# An attempt that was watched and the same attempt in the log start this near to each other.
SAME_ATTEMPT_SECONDS = 10
QUOTED_LINES = 4
# "DB saved on disk" and "terminated with success" are notices (rdb.c, all versions).
SUCCESS_NOT_LOGGED = ("warning", "nothing")
# States in which nobody could ask the server.
NOT_ASKED = ("unreachable", "auth_required", "not_permitted", "loading", "unsupported")

Diagnosis = dict[str, t.Any]


class EvidenceError(ValueError):
    """What was handed over is not an evidence document; the message names the field."""


def check_evidence(evidence: t.Any) -> Mapping:
    """The document itself, if it is one. Raises :class:`EvidenceError`."""
    if not isinstance(evidence, t.Mapping):
        raise EvidenceError(f"evidence: must be a mapping, not {type(evidence).__name__}")
    version = evidence.get("schema_version")
    if version != EVIDENCE_SCHEMA_VERSION or isinstance(version, bool):
        raise EvidenceError(f"evidence.schema_version: must be {EVIDENCE_SCHEMA_VERSION}, not {version!r}")
    if number(evidence, "gathered_at_unix") is None:
        raise EvidenceError("evidence.gathered_at_unix: must be a number of seconds since the epoch")
    instances = evidence.get("instances")
    if not isinstance(instances, (list, tuple)):
        raise EvidenceError(f"evidence.instances: must be a list, not {type(instances).__name__}")
    for position, instance in enumerate(instances):
        if not isinstance(instance, t.Mapping):
            raise EvidenceError(f"evidence.instances[{position}]: must be a mapping, not {type(instance).__name__}")
        if not isinstance(instance.get("address"), str):
            raise EvidenceError(f"evidence.instances[{position}].address: must be a text")
        for key in ("connection", "redis", "process", "cgroups", "data_directory", "systemd", "container", "redis_log"):
            if instance.get(key) is not None and not isinstance(instance[key], t.Mapping):
                raise EvidenceError(f"evidence.instances[{position}].{key}: must be a mapping or null")
    host = evidence.get("host")
    if host is not None and not isinstance(host, t.Mapping):
        raise EvidenceError(f"evidence.host: must be a mapping or null, not {type(host).__name__}")
    return evidence


def diagnose(evidence: t.Mapping[str, t.Any], rules: Rules) -> list[Diagnosis]:
    """One diagnosis document (docs/diagnosis.md) for each server of the evidence, in its order.

    Pure: nothing is read but the arguments, and the same evidence gives the same documents on any day. Raises
    :class:`EvidenceError` for what isn't an evidence document.
    """
    evidence = check_evidence(evidence)
    host = mapping(evidence, "host")
    now = float(number(evidence, "gathered_at_unix") or 0)
    instances = entries(evidence, "instances")
    found = []
    for instance in instances:
        peers = [peer for peer in instances if peer is not instance]
        try:
            found.append(diagnose_instance(instance, peers, host, now, evidence, rules))
        except Exception as error:  # the rim: one odd server never hides another
            found.append(diagnose_instance(bare_instance(instance, error), [], {}, now, {}, rules))
    return found


def bare_instance(instance: Mapping, error: Exception) -> dict[str, t.Any]:
    """A server whose evidence nobody could judge, as one of which nothing is known but that."""
    said = clean(f"{type(error).__name__}: {error}")
    failure = {"kind": type(error).__name__, "message": f"The evidence could not be judged ({said})."}
    gap = {"what": "the diagnosis", "why": failure["message"], "remedy": DEFECT_REMEDY}
    return {
        "address": instance.get("address"),
        "connection": {"state": "error", "client": None, "error": failure, "seconds": None},
        "redis": None,
        "gaps": [gap],
    }


def _merge_observed(attempts: list[Attempt], observed: Attempt | None) -> list[Attempt]:
    """Add the attempt that was watched; where the log shows the same one, the log's details win."""
    if not observed:
        return attempts
    started = number(observed, "started_unix")
    for position in range(len(attempts) - 1, -1, -1):
        attempt = attempts[position]
        same_child = observed.get("child_pid") is not None and observed.get("child_pid") == attempt.get("child_pid")
        other = number(attempt, "started_unix") or number(attempt, "ended_unix")
        near = started is not None and other is not None and abs(started - other) <= SAME_ATTEMPT_SECONDS
        if same_child or (near and observed.get("outcome") == attempt.get("outcome")):
            merged = {key: value for key, value in observed.items() if value is not None}
            merged.update({key: value for key, value in attempt.items() if value is not None})
            return attempts[:position] + [merged] + attempts[position + 1 :]
    return [*attempts, new_attempt(**observed)]


def _attempts(instance: Mapping, host: Mapping, now: float) -> list[Attempt]:
    address = instance.get("address")
    try:
        joined: list[Attempt] = join_attempts(
            instance.get("redis_log"), host.get("kernel_log"), instance.get("process"), instance.get("cgroups"), now
        )
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        # A file that somebody edited: say where, instead of a traceback.
        raise EvidenceError(f"evidence of {address}: redis_log or host.kernel_log is malformed: {error!r}") from error
    observed = instance.get("observed_attempt")
    return _merge_observed(joined, dict(observed) if isinstance(observed, t.Mapping) else None)


def build_case(instance: Mapping, peers: list[Mapping], host: Mapping, now: float) -> Case:
    """The evidence of one server with its attempts; the deciding one only where the status says that a save failed."""
    attempts = _attempts(instance, host, now)
    failed: list[Attempt] = streak(attempts)
    if text(instance, "redis", "config", "loglevel") in SUCCESS_NOT_LOGGED:
        failed = _since_last_save(failed, number(instance, "redis", "info", "rdb_last_save_time"))
    # A restart sets the status to ok. What failed before it is history of another process.
    status = text(instance, "redis", "info", "rdb_last_bgsave_status")
    deciding = failed[-1] if failed and status != "ok" else None
    return Case(instance, host, now, attempts, failed if status != "ok" else [], deciding, peers)


def _since_last_save(failed: list[Attempt], last_save_unix: float | None) -> list[Attempt]:
    """Failures that the last success did not end, by their time: a log without successes does not tell by order."""
    if last_save_unix is None:
        return failed
    return [attempt for attempt in failed if (number(attempt, "ended_unix") or last_save_unix) >= last_save_unix]


def build_context(case: Case) -> dict[str, t.Any]:
    """What the expressions of the rules are evaluated over."""
    instance = case.instance
    context: dict[str, t.Any] = {
        "redis": dict(case.redis),
        "info": dict(case.info),
        "config": dict(case.config),
        "process": dict(case.process),
        "host": dict(case.host),
        "cgroups": dict(case.cgroups),
        "dir": dict(case.directory),
        "systemd": dict(mapping(instance, "systemd")),
        "container": dict(mapping(instance, "container")),
        "log": dict(case.log),
        "kernel": dict(case.kernel),
        "attempt": case.attempt,
        "streak": case.streak,
        "signals": {**dict.fromkeys(SIGNALS), **compute_signals(case)},
        "connection": dict(mapping(instance, "connection")),
        "now": case.now,
    }
    context.update({long: context[short] for short, long in SHORT_NAMES.items()})
    return context


def _command_line_client(case: Case) -> str:
    """``redis-cli -h 127.0.0.1 -p 6379``, quoted; a password is never part of it."""
    address = str(case.instance.get("address"))
    program = "valkey-cli" if case.redis.get("server") == "valkey" else "redis-cli"
    if address.startswith("unix:"):
        return shlex.join([program, "-s", address[len("unix:") :]])
    host, _colon, port = address.rpartition(":")
    return shlex.join([program, "-h", host.strip("[]") or "127.0.0.1", "-p", port])


def _enter_command(case: Case, signals: t.Mapping[str, t.Any]) -> str | None:
    """What leads a command to the server's files where the same path on the host is another file or none.

    Without it an operator would change the host's own /data for the container's.
    """
    pid = integer(case.process, "pid")
    root = text(case.directory, "root")
    if signals["directory_hidden"]:
        return None  # no path leads there; see _reach
    apart = signals["own_mount_namespace"] is True or root not in (None, "/")
    if pid is None or not apart or signals["same_place_on_host"] is True:
        return None
    return shlex.join(["nsenter", "--target", str(pid), "--mount", "--root", "--"])


def _reach(case: Case, signals: t.Mapping[str, t.Any], dbfilename: str | None) -> dict[str, str] | None:
    """The paths by which commands reach a directory that a mount has covered: only the server stands in it."""
    pid = integer(case.process, "pid")
    if pid is None or not signals["directory_hidden"]:
        return None
    directory = f"/proc/{pid}/cwd/."  # the dot: not the link itself
    dump = {"dump_path": f"/proc/{pid}/cwd/{dbfilename}"} if dbfilename else {}
    return {"directory": directory, "mount_point": directory, "blocked_by": directory, **dump}


def placeholder_values(case: Case, context: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """The values that texts and commands of the rules may name (text.PLACEHOLDERS)."""
    signals = context["signals"]
    directory, dbfilename = running_place(case)
    attempt: t.Mapping[str, t.Any] = case.attempt or {}
    directory = directory or text(attempt, "directory")
    group = mapping(signals, "memory_limiting_cgroup")
    dump = posixpath.join(directory, dbfilename) if directory and dbfilename else None
    enter = _enter_command(case, signals)
    uid = integer(case.process, "uid", "effective")
    crash_module = text(mapping(attempt, "crash"), "module")
    values = {
        **{name: value for name, value in signals.items() if not isinstance(value, (dict, list))},
        "address": case.instance.get("address"),
        "blocked_by": text(case.directory, "access", "blocked_by") or directory,
        "cgroup_limit_bytes": group.get("limit_bytes"),
        "cgroup_path": group.get("path"),
        "child_pid": attempt.get("child_pid"),
        "cli": _command_line_client(case),
        "config_file": text(case.redis, "config_file"),
        "connection_state": text(case.instance, "connection", "state"),
        "crash_module": crash_module or "none is named",
        "dbfilename": dbfilename,
        "device": text(case.directory, "process_view", "source"),
        "directory": directory,
        "dump_path": dump,
        "error_text": text(attempt, "errno_text") or text(attempt, "errno"),
        "file_directory": text(case.redis, "config_file_settings", "dir"),
        "file_dbfilename": text(case.redis, "config_file_settings", "dbfilename"),
        "group": integer(case.process, "gid", "effective"),
        "logfile": text(case.log, "path"),
        "mount_point": text(case.directory, "process_view", "mount_point"),
        "pid": integer(case.process, "pid"),
        "pids_cgroup_path": mapping(signals, "pids_limiting_cgroup").get("path"),
        "signal": attempt.get("signal"),
        "unit": text(case.instance, "systemd", "unit"),
        # The names of the host's users are not those of a container's.
        "user": uid if enter else text(case.process, "user") or uid,
        "enter": enter,
        "reach": _reach(case, signals, dbfilename),
    }
    return {name: value for name, value in values.items() if value is not None and value != ""}


def _attempt_evidence(attempt: Attempt | None) -> list[dict[str, t.Any]]:
    """The lines that tell of the attempt, as they were read."""
    if attempt is None:
        return []
    source = "redis log" if attempt.get("source") != "observed" else "observed save"
    lines = attempt.get("lines")
    texts = [str(line) for line in lines] if isinstance(lines, (list, tuple)) else []
    evidence = [{"source": source, "name": "line", "value": line, "expected": None} for line in texts[-QUOTED_LINES:]]
    killer = mapping(attempt, "killer")
    if text(killer, "evidence"):
        evidence.append({"source": "kernel log", "name": "record", "value": killer["evidence"], "expected": None})
    return evidence


class _Judge:
    """The verdicts of one server: walks the tree, adds what stands beside, orders and words it."""

    def __init__(self, case: Case, rules: Rules) -> None:
        self.case = case
        self.rules = rules
        self.context = build_context(case)
        self.values = placeholder_values(case, self.context)
        self.path: list[dict[str, t.Any]] = []
        self.failing = text(case.info, "rdb_last_bgsave_status") == "err"

    def walk_from(self, start: str) -> Walk:
        result = walk(self.rules.nodes, start, self.candidate, self.context)
        known = {step["node"] for step in self.path}
        self.path.extend(step for step in result.path if step["node"] not in known)
        return result

    def candidate(self, outcome_id: str) -> str:
        """Does an outcome stand, and has it been seen where it must be seen before it is named?"""
        outcome = self.rules.outcomes[outcome_id]
        stands = self.rules.stands(outcome_id, self.context)
        if stands == YES and outcome.seen_when is not None and outcome.seen_when.answer(self.context) != YES:
            return NO
        return stands

    def confidence(self, outcome: Outcome, by_state: bool, rivals: int) -> str:
        if outcome.confirmed_when is not None and outcome.confirmed_when.answer(self.context) == YES:
            return "confirmed"
        if by_state:
            if rivals > 1 or outcome.id == NO_EVIDENCE:
                return "possible"
            return "confirmed" if self.fork_refused_under_watch() else "probable"
        if outcome.probable_when is not None and outcome.probable_when.answer(self.context) == YES:
            return "probable"
        return "possible"

    def fork_refused_under_watch(self) -> bool:
        """Whether a save was asked for just now and the server could not fork: what stands in the way of it is why.

        The server's answer has no errno, so without a log the one limit that is reached is the proof.
        """
        attempt = self.case.attempt or {}
        return bool(attempt.get("source") == "observed" and attempt.get("stage") == "fork")

    def cause(self, outcome_id: str, confidence: str, decided_by_attempt: bool) -> dict[str, t.Any]:
        outcome = self.rules.outcomes[outcome_id]
        evidence = _attempt_evidence(self.case.attempt) if decided_by_attempt else []
        shown = {str(line["value"]) for line in evidence}
        evidence += [line for line in quote(outcome.quotes, self.context) if str(line["value"]) not in shown]
        return {
            "id": outcome.id,
            "title": outcome.title,
            "summary": fill(outcome.summary, self.values),
            "confidence": confidence,
            "still_present": {YES: True, NO: False, UNKNOWN: None}[self.rules.stands(outcome_id, self.context)],
            "evidence": evidence,
        }

    def causes(self, result: Walk) -> list[dict[str, t.Any]]:
        """The verdict first, unless another cause is its root; then what else stands, in the order of a save."""
        ids = [outcome_id for outcome_id in result.outcomes if self.rules.outcomes[outcome_id].kind == "cause"]
        if not ids:
            return []
        named = {
            outcome_id: self.cause(
                outcome_id,
                self.confidence(self.rules.outcomes[outcome_id], result.by_state, len(ids)),
                self.case.attempt is not None,
            )
            for outcome_id in ids
        }
        roots: list[str] = []
        for outcome in self.rules.outcomes.values():
            if outcome.kind != "cause" or outcome.id in named:
                continue
            is_root = (
                outcome.root_when is not None
                and any(outcome_id in outcome.leads_to for outcome_id in ids)
                and outcome.root_when.answer(self.context) == YES
            )
            if not is_root and self.candidate(outcome.id) != YES:
                continue
            named[outcome.id] = self.cause(outcome.id, self.confidence_beside(outcome), False)
            (roots if is_root else ids).append(outcome.id)
        absorbed = {
            other
            for outcome_id in roots + ids
            if self.rules.outcomes[outcome_id].absorbs
            for other in self.rules.outcomes[outcome_id].leads_to
        }
        return [named[outcome_id] for outcome_id in roots + ids if outcome_id not in absorbed]

    def confidence_beside(self, outcome: Outcome) -> str:
        """What only stands beside the verdict was not what failed: no attempt confirms it, except as the root."""
        is_root = outcome.root_when is not None and outcome.root_when.answer(self.context) == YES
        if is_root and outcome.confirmed_when is not None and outcome.confirmed_when.answer(self.context) == YES:
            return "confirmed"
        return "probable"


def _state_and_walk(judge: _Judge) -> tuple[str, Walk]:
    """The state, and the walk that found the causes (the rest of the tree is asked while a save is running, too)."""
    first = judge.walk_from(START)
    outcome = judge.rules.outcomes[first.outcomes[0]]
    if outcome.kind != "state":
        return FAILING, first
    if outcome.continue_at is not None and judge.failing:
        return outcome.id, judge.walk_from(outcome.continue_at)
    return outcome.id, first


def _unknowns(case: Case, evidence: Mapping, missing: t.Iterable[Mapping]) -> list[dict[str, t.Any]]:
    """What could not be read and what the forecast lacks, each once."""
    found: list[dict[str, t.Any]] = []
    for gap in [*entries(case.instance, "gaps"), *entries(evidence, "gaps"), *missing]:
        entry = {key: gap.get(key) for key in ("what", "why", "remedy")}
        if entry not in found:
            found.append(entry)
    return found


def _instance(case: Case, values: Mapping) -> dict[str, t.Any]:
    return {
        "address": case.instance.get("address"),
        "server": case.redis.get("server"),
        "version": case.redis.get("version"),
        "role": case.redis.get("role"),
        "pid": integer(case.process, "pid"),
        "uid": integer(case.process, "uid", "effective"),
        "unit": text(case.instance, "systemd", "unit"),
        "config_file": case.redis.get("config_file"),
        "dir": values.get("directory"),
        "dbfilename": values.get("dbfilename"),
    }


def diagnose_instance(
    instance: Mapping, peers: list[Mapping], host: Mapping, now: float, evidence: Mapping, rules: Rules
) -> Diagnosis:
    """The document of one server."""
    case = build_case(instance, peers, host, now)
    judge = _Judge(case, rules)
    context = judge.context
    state, walked = _state_and_walk(judge)
    causes = judge.causes(walked) if judge.failing else []
    verdict = causes[0] if causes else None
    asked = bool(case.info) and state not in NOT_ASKED
    outlook = forecast(
        rules,
        context,
        asked,
        None if verdict is None else verdict["id"],
        None if verdict is None else verdict["still_present"],
    )
    context["signals"]["save_would_fail"] = {WILL_FAIL: True, UNKNOWN: None}.get(outlook["answer"], False)
    risks = find_risks(rules, context)
    cause_ids = [cause["id"] for cause in causes]
    outcome_ids = cause_ids if state == FAILING else [state, *cause_ids]
    if outlook["cause"] is not None and outlook["cause"] not in cause_ids:
        # What will fail the next save is to be put right before it does.
        outcome_ids = [*outcome_ids, outlook["cause"]]
    status = text(case.info, "rdb_last_bgsave_status")
    return {
        "schema_version": SCHEMA_VERSION,
        "instance": _instance(case, judge.values),
        "status": status if status in ("ok", "err") else UNKNOWN,
        "state": state,
        "writes_blocked": context["signals"]["writes_blocked"],
        "recovery": recovery(case, context["signals"]),
        "cause": verdict,
        "causes": causes,
        "path": judge.path,
        "risks": risks,
        "forecast": outlook,
        "exposure": exposure(context["signals"]),
        "dump": dump_document(judged_dump(case)),
        "fixes": choose_fixes(rules, outcome_ids, [risk["id"] for risk in risks], judge.failing, context, judge.values),
        "unknowns": _unknowns(case, evidence, outlook["missing"]),
    }
