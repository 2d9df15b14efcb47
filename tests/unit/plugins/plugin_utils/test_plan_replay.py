# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan of every recorded failure: what is done unasked, what when all is asked for, and what never."""

from __future__ import annotations

import copy
import functools
import json
import re
import typing as t
from pathlib import Path

import pytest
from ansible_collections.redisops.persistence.plugins.plugin_utils.diagnosis import diagnose
from ansible_collections.redisops.persistence.plugins.plugin_utils.plan import build_plan
from ansible_collections.redisops.persistence.plugins.plugin_utils.plan_effects import evidence_after
from ansible_collections.redisops.persistence.plugins.plugin_utils.policy import FIX_IDS, Policy
from ansible_collections.redisops.persistence.plugins.plugin_utils.rules import load_rules

DIRECTORY = Path(__file__).resolve().parents[2] / "fixtures" / "replay"
FILES = sorted(DIRECTORY.glob("*.json")) if DIRECTORY.is_dir() else []
RULES = load_rules()
# Where the lab's servers keep their data.
PLACES = {"allowed_dirs": ["/tmp/lab", "/var/lib/redis*", "/var/lib/valkey*", "/data"]}
UNASKED = Policy.from_options(PLACES)
ASKED = Policy.from_options(
    {
        **PLACES,
        "opt_in": [fix for fix in FIX_IDS if fix not in ("verify", "emergency_unblock", "rescue")],
        "rescue_dir": "/mnt/rescue",
        "pids_limit": 500,
        "cgroup_memory_bytes": "2G",
    }
)
BY_DEFAULT = {
    "overcommit", "thp", "data_dir", "orphan_temp_files", "process_limit", "file_size_limit", "stop_writes",
    "rewrite_config", "verify",
}  # fmt: skip
# What every host of the lab gets besides.
BESIDE = {"overcommit", "thp", "oom_score", "stop_writes", "rewrite_config"}

# The fault, without its server: the fixes unasked, those when everything is asked for (null: the same).
EXPECTED: dict[str, tuple[set[str], set[str] | None]] = {
    "access_control_denied": ({"verify"}, None),
    "child_crashed": ({"verify"}, None),
    "child_cpu_limit": (set(), None),
    "child_killed": ({"verify"}, None),
    "child_failed_silently": ({"verify"}, None),
    # Recorded before the file's header was: whose the dump is, is unknown, so no save unasked.
    "destination_immutable": (set(), {"immutable"}),
    "destination_is_directory": (set(), {"destination", "verify"}),
    "destination_is_directory_with_files": (set(), None),
    "destination_is_mount": (set(), None),
    "destination_sticky": (set(), None),
    "directory_acl": ({"data_dir", "verify"}, None),
    # The server could not remove its own temp file either.
    "directory_append_only": (set(), {"immutable", "orphan_temp_files", "verify"}),
    "directory_immutable": (set(), {"immutable", "verify"}),
    "directory_mode": ({"data_dir", "verify"}, None),
    # Without save points: it is told to keep no dump.
    "directory_mode_for_replica": ({"data_dir"}, None),
    "directory_mode_without_log": ({"data_dir", "verify"}, None),
    "directory_owner": ({"data_dir", "verify"}, None),
    "disk_full": (set(), None),
    "disk_full_at_flush": (set(), None),
    "disk_full_at_sync": ({"verify"}, None),
    "file_size_limit": ({"file_size_limit", "verify"}, None),
    "filesystem_read_only": (set(), None),
    "fork_forbidden": ({"verify"}, None),
    "fork_pids_limit": (set(), {"pids_limit", "verify"}),
    "fork_pids_limit_above": (set(), {"pids_limit", "verify"}),
    "fork_process_limit": ({"process_limit", "verify"}, None),
    "healthy": (set(), None),
    "hidden_directory": (set(), None),
    "idle": (set(), None),
    "inodes_exhausted": (set(), None),
    "io_error": (set(), None),
    "loading": (set(), None),
    "no_evidence": ({"verify"}, None),
    "not_permitted": (set(), None),
    "quota_exceeded": ({"verify"}, None),
    "rename_failed": ({"verify"}, None),
    "sandbox_read_only": (set(), None),
    "save_in_progress": (set(), None),
    "save_stuck": (set(), None),
    "saves_disabled": (set(), None),
    "sentinel": (set(), None),
    "sync_unsupported": ({"verify"}, None),
    "too_many_open_files": ({"verify"}, None),
    "unreachable_closed": (set(), None),
    "unreachable_stopped": (set(), None),
    "auth_required": (set(), None),
    "control-orphan_files": ({"orphan_temp_files"}, None),
    "control-flag_left_behind": ({"verify"}, None),
    "control-permission_denied_then_granted_now": ({"verify"}, None),
    "pair-immutable_and_destination": (set(), {"immutable", "destination", "verify"}),
    "pair-permission_and_full": ({"data_dir"}, None),
    "pair-process_limit_and_full": ({"process_limit"}, None),
    "pair-pids_and_permission": ({"data_dir"}, {"pids_limit", "data_dir", "verify"}),
    "pair-read_only_and_destination": (set(), None),
    "systemd-destination_is_directory": (set(), {"destination", "verify"}),
    "systemd-dir_permission_denied": ({"data_dir", "verify"}, None),
    "systemd-dir_missing": (set(), {"recreate_dir", "verify"}),
    "systemd-sandbox_read_only": (set(), {"unit_sandbox", "verify"}),
    "systemd-sandbox_read_only_paths": (set(), {"unit_sandbox", "verify"}),
    "systemd-fork_pids_limit": (set(), {"pids_limit", "verify"}),
    "systemd-healthy": (set(), None),
}

Recording = dict[str, t.Any]


class Recorded(t.NamedTuple):
    evidence: Recording
    diagnoses: list[Recording]


@functools.cache
def load(path: Path) -> Recorded:
    """Shared between tests: nobody changes it, which :func:`test_no_plan_does_what_the_rules_forbid` sees to."""
    evidence = json.loads(path.read_text(encoding="utf-8"))["evidence"]
    return Recorded(evidence, diagnose(evidence, RULES))


@functools.cache
def plan_for(path: Path, policy: Policy, check_mode: bool = True) -> Recording:
    return build_plan(*load(path), RULES, policy, check_mode)


def fault_of(path: Path) -> str:
    return re.sub(r"^[a-z]+-[0-9.]+-", "", path.stem)


def fixes_of(plan: Recording) -> set[str]:
    return {action["fix"] for action in plan["actions"]}


def test_there_are_recordings_and_each_expectation_is_asked() -> None:
    if not FILES:
        pytest.skip("nothing has been recorded yet")
    assert set(EXPECTED) <= {fault_of(path) for path in FILES}


@pytest.mark.parametrize("path", [path for path in FILES if fault_of(path) in EXPECTED], ids=lambda path: path.stem)
def test_what_is_done_about_a_recorded_failure(path: Path) -> None:
    unasked, asked = EXPECTED[fault_of(path)]
    assert fixes_of(plan_for(path, UNASKED)) - BESIDE == unasked
    assert fixes_of(plan_for(path, ASKED)) - BESIDE == (unasked if asked is None else asked)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_no_plan_does_what_the_rules_forbid(path: Path) -> None:
    evidence, diagnoses = load(path)
    untouched = copy.deepcopy(evidence)
    decided = {
        (diagnosis["instance"]["address"], fix["id"]): fix["decision"]
        for diagnosis in diagnoses
        for fix in diagnosis["fixes"]
    }
    causes = {
        diagnosis["instance"]["address"]: {cause["id"] for cause in diagnosis["causes"]} for diagnosis in diagnoses
    }
    for policy in (UNASKED, ASKED):
        plan = build_plan(evidence, diagnoses, RULES, policy, check_mode=True)
        assert evidence == untouched
        assert plan == plan_for(path, policy)
        json.dumps(plan)
        for item in plan["instances"]:
            assert set(item) == {"address", "connection", "plan"}
            for fix in item["plan"]:
                assert set(fix) - {"objections"} == {"id", "class", "decision", "reason", "commands", "changes"}
                assert fix["reason"]
                offered = decided.get((item["address"], fix["id"]))
                if fix["decision"] == "apply" and fix["id"] != "verify":
                    assert offered not in ("refuse", "manual")
                    assert (
                        offered == "apply"
                        or fix["id"] in policy.opt_in
                        or fix["id"] in ("rewrite_config", "stop_writes")
                    )
        for action in plan["actions"]:
            assert set(action) == {"fix", "address", "arguments", "changes"}
            assert action["changes"]
            assert policy is ASKED or action["fix"] in BY_DEFAULT
            if "hijacked_dir" in causes.get(action["address"], ()):
                assert action["fix"] not in (
                    "data_dir",
                    "orphan_temp_files",
                    "immutable",
                    "destination",
                    "recreate_dir",
                )
            if "io_error" in causes.get(action["address"], ()):
                assert action["fix"] in {"oom_score", "cgroup_memory", "pids_limit", "stop_writes", "rewrite_config"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_check_says_what_a_run_does_first(path: Path) -> None:
    checked, real = plan_for(path, UNASKED), plan_for(path, UNASKED, check_mode=False)
    assert checked["instances"] == real["instances"]
    assert checked["actions"][: len(real["actions"])] == real["actions"]


@pytest.mark.parametrize("policy", [UNASKED, ASKED], ids=["unasked", "asked"])
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_second_run_changes_nothing(path: Path, policy: Policy) -> None:
    first = plan_for(path, policy)
    after = evidence_after(load(path).evidence, first["actions"])
    # The recordings are older than what tells whose a dump is: there the operator asks for the save himself.
    saved = {
        item["address"]
        for item in first["instances"]
        for fix in item["plan"]
        if fix["id"] == "verify" and fix["decision"] in ("apply", "opt_in")
    }
    for instance in after["instances"]:
        if instance["address"] in saved:
            instance["redis"]["info"].update(
                {"rdb_last_bgsave_status": "ok", "rdb_last_save_time": after["gathered_at_unix"]}
            )
    second = build_plan(after, diagnose(after, RULES), RULES, policy, check_mode=True)
    # What a save would have shown is shown again where there was none.
    assert [action for action in second["actions"] if action["fix"] not in ("verify", "rewrite_config")] == []
