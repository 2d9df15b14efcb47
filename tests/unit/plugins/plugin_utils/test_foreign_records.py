# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A number that comes again proves nothing: recorded failures with one record of somebody else's added to them.

Each such record carries the right number (a pid of the server, of its saving child, of its temporary file) and is
wrong in one thing that is known: the time, the user, the control group, the device. No verdict may move by it.
"""

from __future__ import annotations

import copy
import json
import typing as t
from pathlib import Path

import pytest
from ansible_collections.redisops.persistence.plugins.module_utils._attempts import join_attempts, streak
from ansible_collections.redisops.persistence.plugins.plugin_utils.diagnosis import build_case, diagnose
from ansible_collections.redisops.persistence.plugins.plugin_utils.rules import load_rules
from ansible_collections.redisops.persistence.plugins.plugin_utils.signals import compute_signals

DIRECTORY = Path(__file__).resolve().parents[2] / "fixtures" / "replay"
RULES = load_rules()
DAY = 86400
ANOTHER_UID = 4242
ANOTHER_GROUP = "/system.slice/somebody-else.service"
DECIDED_BY_RECORDS = (
    "storage_error_seen",
    "access_denial_seen",
    "commit_refused_seen",
    "fork_rejected_seen",
    "memory_kill_text",
    "orphans_from_memory_kills",
    "predecessor_killed_for_memory",
    "streak_has_cgroup_oom_kill",
    "streak_has_host_oom_kill",
)
Document = dict[str, t.Any]
Change = t.Callable[[Document], None]

RECORDINGS = (
    "redis-7.0-inodes_exhausted",
    "redis-6.2-disk_full",
    "valkey-9.1-child_killed",
    "redis-7.0-child_failed_silently",
    "redis-7.0-child_crashed",
    "redis-7.0-directory_mode",
    "redis-6.2-directory_immutable",
    "redis-7.0-rename_failed",
    "redis-7.0-filesystem_read_only",
    "redis-7.0-fork_out_of_memory",
    "redis-7.0-fork_forbidden",
    "redis-7.0-fork_process_limit",
    "redis-6.2-healthy",
    "redis-7.0-control-orphan_files",
    "redis-7.0-control-pid_namespace_killed_child",
    "redis-7.0-no_evidence",
)


def days_before(event: Document) -> None:
    event["time_unix"] -= 6 * DAY


def of_another_user(event: Document) -> None:
    event["uid"] = ANOTHER_UID


def of_another_group(event: Document) -> None:
    event["task_cgroup"] = event["oom_cgroup"] = ANOTHER_GROUP


def of_another_program(event: Document) -> None:
    event["command"] = "postgres"


def oom_kill(where: str, pid: int, moment: float, uid: int, group: str, command: str) -> Document:
    return {
        "event": "oom_kill",
        "pid": pid,
        "command": command,
        "uid": uid,
        "constraint": where,
        "oom_cgroup": group if where == "cgroup" else None,
        "task_cgroup": group,
        "anonymous_bytes": 1 << 20,
        "oom_score_adj": 0,
        "global": where == "host",
        "time_unix": moment,
        "text": f"Killed process {pid} ({command}) total-vm:1kB",
    }


def process_record(kind: str, pid: int, moment: float, uid: int, command: str, **more: t.Any) -> Document:
    return {"event": kind, "pid": pid, "command": command, "uid": uid, "time_unix": moment, "text": kind, **more}


def device_record(kind: str, moment: float, device: str) -> Document:
    return {"event": kind, "device": device, "detail": "I/O error", "time_unix": moment, "text": f"{kind} {device}"}


def foreign_records(pid: int, moment: float, uid: int, group: str, command: str) -> dict[str, Document]:
    """One of each kind and mismatch, by a name."""
    kinds: dict[str, tuple[Document, tuple[Change, ...]]] = {
        "oom of the group": (
            oom_kill("cgroup", pid, moment, uid, group, command),
            (days_before, of_another_user, of_another_group, of_another_program),
        ),
        "oom of the host": (
            oom_kill("host", pid, moment, uid, group, command),
            (days_before, of_another_user, of_another_group, of_another_program),
        ),
        "commit refused": (
            process_record("commit_refused", pid, moment, uid, command, bytes=1 << 50),
            (days_before, of_another_program),
        ),
        "selinux": (
            process_record("access_denied", pid, moment, uid, command, system="selinux", path="dump.rdb"),
            (days_before, of_another_user, of_another_program),
        ),
        "apparmor": (
            process_record("access_denied", pid, moment, uid, command, system="apparmor", path="/srv/x"),
            (days_before, of_another_user, of_another_program),
        ),
        "seccomp": (
            process_record("seccomp_kill", pid, moment, uid, command, syscall=277),
            (days_before, of_another_user, of_another_program),
        ),
        "segfault": (
            process_record("segfault", pid, moment, uid, command, detail="segfault at 0"),
            (days_before, of_another_program),
        ),
        "fork rejected": (
            {"event": "fork_rejected", "cgroup": ANOTHER_GROUP, "time_unix": moment, "text": "fork rejected"},
            (lambda event: None,),
        ),
        "hung task": (process_record("hung_task", pid, moment, uid, command), (days_before, of_another_program)),
        **{
            f"{kind} of {device}": (device_record(kind, moment, device), (lambda event: None,))
            for kind in ("io_error", "filesystem_error", "remounted_read_only")
            for device in ("sdq", "nvme7n1p3")
        },
    }
    made = {}
    for name, (record, changes) in kinds.items():
        for change in changes:
            event = copy.deepcopy(record)
            change(event)
            made[f"{name}, {change.__name__}"] = event
    return made


def verdict(evidence: Document) -> Document:
    """What the tree says, and each signal that a record of the kernel decides."""
    found = diagnose(evidence, RULES)[0]
    instance, *peers = evidence["instances"]
    signals = compute_signals(build_case(instance, peers, evidence["host"], evidence["gathered_at_unix"]))
    return {
        **{name: signals[name] for name in DECIDED_BY_RECORDS},
        "state": found["state"],
        "causes": [(cause["id"], cause["confidence"], cause["still_present"]) for cause in found["causes"]],
        "forecast": (found["forecast"]["answer"], found["forecast"]["cause"]),
        "fixes": [(fix["id"], fix["decision"]) for fix in found["fixes"]],
    }


def with_record(evidence: Document, event: Document) -> Document:
    changed = copy.deepcopy(evidence)
    log = changed["host"]["kernel_log"]
    log["events"] = sorted([*log["events"], event], key=lambda one: one["time_unix"] or 0)
    return changed


def pids_and_times(evidence: Document) -> dict[str, tuple[int, float]]:
    """The numbers by which a record could be taken for the server's, with a moment at which it would fit."""
    instance = evidence["instances"][0]
    process = instance["process"] or {}
    now = evidence["gathered_at_unix"]
    found = {"the server": (process["pid"], now - 1)} if process.get("pid") else {}
    attempts = join_attempts(instance["redis_log"], evidence["host"]["kernel_log"], process, instance["cgroups"], now)
    for attempt in streak(attempts)[-1:]:
        moment = attempt["ended_unix"] or attempt["started_unix"] or now - 1
        pid = attempt["child_pid"] or process["pid"]
        found["the failed child"] = (pid, moment)
    return found


@pytest.mark.parametrize("recording", RECORDINGS)
def test_a_record_of_somebody_else_moves_no_verdict(recording: str) -> None:
    evidence = json.loads((DIRECTORY / f"{recording}.json").read_text(encoding="utf-8"))["evidence"]
    instance = evidence["instances"][0]
    process, cgroups = instance["process"], instance["cgroups"] or {}
    group = cgroups.get("path") or "/unknown"
    before = verdict(evidence)
    moved = {}
    for whose, (pid, moment) in pids_and_times(evidence).items():
        for name, event in foreign_records(pid, moment, process["uid"]["real"], group, process["command"]).items():
            after = verdict(with_record(evidence, event))
            if after != before:
                moved[f"{whose}: {name}"] = {
                    key: (before[key], after[key]) for key in before if before[key] != after[key]
                }
    assert not moved


def with_orphan(recording: str) -> tuple[Document, Document]:
    """A recording in which a dead child's file lies, and the record of a kill that fits it in everything."""
    evidence = json.loads((DIRECTORY / f"{recording}.json").read_text(encoding="utf-8"))["evidence"]
    instance = evidence["instances"][0]
    process, group = instance["process"], instance["cgroups"]["path"]
    pid, moment = 31_999, evidence["gathered_at_unix"] - 600
    instance["data_directory"]["temp_files"] = [
        {
            "name": f"temp-{pid}.rdb",
            "kind": "rdb_child",
            "pid": pid,
            "size_bytes": 1000,
            "modified_unix": moment,
            "uid": process["uid"]["real"],
            "holder": "none",
            "open": False,
        }
    ]
    return evidence, oom_kill("cgroup", pid, moment + 1, process["uid"]["real"], group, process["command"])


@pytest.mark.parametrize("recording", ["redis-7.0-inodes_exhausted", "redis-6.2-inodes_exhausted"])
def test_a_kill_of_somebody_else_does_not_explain_the_files_of_dead_children(recording: str) -> None:
    """The file system is out of inodes and dead children's files lie there: whose kill left them?"""
    evidence, fitting = with_orphan(recording)
    before = verdict(evidence)
    assert verdict(with_record(evidence, fitting))["causes"][0][:2] == ("child_oom_killed_cgroup", "confirmed")
    moved = []
    for change in (days_before, of_another_user, of_another_group, of_another_program):
        event = copy.deepcopy(fitting)
        change(event)
        if verdict(with_record(evidence, event)) != before:
            moved.append(change.__name__)
    assert not moved


def of_unknown_user_and_group(event: Document) -> None:
    event.update(uid=None, task_cgroup=None)


def of_a_file_that_anybody_writes(event: Document) -> None:
    event["from_file"] = True


def of_before_a_sleep(event: Document) -> None:
    event["time_early_seconds"] = 5000.0


@pytest.mark.parametrize("change", [of_unknown_user_and_group, of_a_file_that_anybody_writes, of_before_a_sleep])
def test_what_is_not_known_of_a_record_makes_it_less_sure(change: Change) -> None:
    evidence, event = with_orphan("redis-7.0-inodes_exhausted")
    change(event)
    assert verdict(with_record(evidence, event))["causes"][0][:2] == ("child_oom_killed_cgroup", "probable")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda event: None, ("child_oom_killed_cgroup", "confirmed")),
        (of_unknown_user_and_group, ("child_oom_killed_cgroup", "probable")),
        (of_a_file_that_anybody_writes, ("child_oom_killed_cgroup", "probable")),
        (days_before, ("child_killed", "confirmed")),
        (of_another_user, ("child_killed", "confirmed")),
        (of_another_group, ("child_killed", "confirmed")),
    ],
)
def test_who_killed_a_child_is_as_sure_as_the_record(change: Change, expected: tuple[str, str]) -> None:
    evidence = json.loads((DIRECTORY / "valkey-9.1-child_killed.json").read_text(encoding="utf-8"))["evidence"]
    instance = evidence["instances"][0]
    process = instance["process"]
    pid, moment = pids_and_times(evidence)["the failed child"]
    event = oom_kill("cgroup", pid, moment, process["uid"]["real"], instance["cgroups"]["path"], process["command"])
    change(event)
    assert verdict(with_record(evidence, event))["causes"][0][:2] == expected


def restarted() -> tuple[Document, Document]:
    """A server that was killed while it saved, and the record of it taken out of the kernel log."""
    path = DIRECTORY / "redis-7.0-restarted_by_oom.json"
    evidence = json.loads(path.read_text(encoding="utf-8"))["evidence"]
    log = evidence["host"]["kernel_log"]
    assert verdict(evidence)["state"] == "restarted_by_oom"
    for event in log["events"]:
        without = copy.deepcopy(evidence)
        without["host"]["kernel_log"]["events"].remove(event)
        if verdict(without)["state"] != "restarted_by_oom":
            return without, event
    raise AssertionError("no record decides")


@pytest.mark.parametrize("change", [days_before, of_another_user, of_another_program])
def test_a_kill_of_somebody_else_is_no_death_of_the_predecessor(change: Change) -> None:
    evidence, event = restarted()
    change(event)
    assert verdict(with_record(evidence, event)) == verdict(evidence)


def test_a_later_child_with_the_number_of_an_attempt_is_not_that_attempt() -> None:
    evidence = json.loads((DIRECTORY / "redis-7.0-save_in_progress.json").read_text(encoding="utf-8"))["evidence"]
    instance = evidence["instances"][0]
    process = instance["process"]

    def outcomes() -> list[str]:
        arguments = (instance["redis_log"], evidence["host"]["kernel_log"], process, instance["cgroups"])
        return [attempt["outcome"] for attempt in join_attempts(*arguments, evidence["gathered_at_unix"])]

    assert outcomes()[-1] == "running"
    for child in process["children"]:
        child["started_unix"] += 6 * DAY
    assert outcomes()[-1] == "unknown"
