# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rules as data: the shipped ones are whole, a user's are merged, a broken one is named."""

from __future__ import annotations

import re
import typing as t

import pytest
from ansible_collections.redisops.persistence.plugins.plugin_utils import expressions
from ansible_collections.redisops.persistence.plugins.plugin_utils import rules as rules_module
from ansible_collections.redisops.persistence.plugins.plugin_utils.case import Case
from ansible_collections.redisops.persistence.plugins.plugin_utils.diagnosis import diagnose
from ansible_collections.redisops.persistence.plugins.plugin_utils.forecast import FORECAST_SIGNALS
from ansible_collections.redisops.persistence.plugins.plugin_utils.rules import RuleError, load_rules
from ansible_collections.redisops.persistence.plugins.plugin_utils.signal_names import SIGNALS
from ansible_collections.redisops.persistence.plugins.plugin_utils.signals import compute_signals
from evidence_factory import evidence, of_instance

# Sections 3, 4 and 5 of the design: these ids are public and never change their meaning.
CAUSES = """
fork_commit_limit fork_overcommit_heuristic fork_cgroup_memory fork_out_of_memory fork_process_limit fork_pids_limit
fork_forbidden hijacked_dir dir_permission_denied access_control_denied dir_missing filesystem_read_only
sandbox_read_only inodes_exhausted dir_immutable too_many_open_files disk_full quota_exceeded file_size_limit io_error
sync_unsupported dir_fsync_failed destination_is_directory destination_is_mount destination_protected rename_failed
child_oom_killed_cgroup child_oom_killed_host child_killed child_crashed child_seccomp_killed child_cpu_limit
child_failed_silently no_evidence
""".split()
STATES = """
healthy idle saves_disabled save_in_progress save_delayed_by_aof_rewrite save_stuck restarted_by_oom hidden_directory
unreachable auth_required loading not_permitted unsupported
""".split()
RISKS = """
overcommit_not_1 thp_active_for_process thp_host_always slow_fork memory_over_half disk_headroom inode_headroom
stop_writes_disabled no_persistence aof_write_error aof_rewrite_error save_overdue save_points_too_frequent
orphan_temp_files shared_dump_path dump_not_ours dir_on_root_or_log_volume runtime_config_drift config_not_rewritable
replica_write_panic sentinel_failover_risk oom_kills_parent numa_imbalance maxmemory_unset maxmemory_near_limit
exposed_without_auth no_log_kept
""".split()
FIXES = """
overcommit thp data_dir orphan_temp_files process_limit file_size_limit pids_limit cgroup_memory oom_score stop_writes
save_points maxmemory immutable destination restore_dir recreate_dir unit_sandbox rescue emergency_unblock
rewrite_config verify
""".split()
# The fixes that help against each cause (manual ones are the outcome's own text).
FIXES_OF_CAUSES = {
    "fork_commit_limit": "overcommit",
    "fork_overcommit_heuristic": "overcommit",
    "fork_cgroup_memory": "cgroup_memory",
    "fork_process_limit": "process_limit",
    "fork_pids_limit": "pids_limit",
    "hijacked_dir": "restore_dir",
    "dir_permission_denied": "data_dir",
    "dir_missing": "recreate_dir",
    "sandbox_read_only": "unit_sandbox",
    "inodes_exhausted": "orphan_temp_files",
    "dir_immutable": "immutable",
    "disk_full": "orphan_temp_files",
    "file_size_limit": "file_size_limit",
    "destination_is_directory": "destination",
    "destination_protected": "immutable",
    "child_oom_killed_cgroup": "cgroup_memory",
    "child_oom_killed_host": "oom_score",
}
SHIPPED = load_rules()


def test_the_ids_of_the_design_are_all_there_and_no_others() -> None:
    assert sorted(o.id for o in SHIPPED.outcomes.values() if o.kind == "cause") == sorted(CAUSES)
    assert sorted(o.id for o in SHIPPED.outcomes.values() if o.kind == "state") == sorted(STATES)
    assert sorted(SHIPPED.risks) == sorted([*RISKS, "hijack_suspected", "covered_directory", "failed_before_restart"])
    assert sorted(SHIPPED.fixes) == sorted(FIXES)


def test_every_outcome_can_be_reached() -> None:
    reached: set[str] = set()
    for node in SHIPPED.nodes.values():
        for lead in node.leads.values():
            reached.update([lead] if isinstance(lead, str) else lead)
    assert set(SHIPPED.outcomes) <= reached


@pytest.mark.parametrize("outcome_id", [*CAUSES, *STATES])
def test_every_outcome_has_evidence_and_plain_words(outcome_id: str) -> None:
    outcome = SHIPPED.outcomes[outcome_id]
    assert outcome.quotes
    assert outcome.documentation == f"docs/causes.md#{outcome_id}"
    assert len(re.findall(r"[.](?: |$)", outcome.summary)) >= 2, "two plain sentences"
    if outcome.kind == "cause":
        assert outcome.fixes or outcome.manual is not None


def test_the_fixes_are_those_of_the_design() -> None:
    for outcome_id, fix_id in FIXES_OF_CAUSES.items():
        assert fix_id in SHIPPED.outcomes[outcome_id].fixes


def test_ownership_of_a_hijacked_directory_is_refused_as_data() -> None:
    conditions = SHIPPED.fixes["data_dir"].conditions
    assert conditions[0].decision == "refuse"
    assert "hijacked" in conditions[0].when.source


def test_every_signal_is_described_and_every_description_is_a_signal() -> None:
    computed = set(compute_signals(Case(instance={}, host={}, now=0.0)))
    # The forecast is known only when everything else is.
    assert computed | {"save_would_fail"} == set(SIGNALS)
    assert set(FORECAST_SIGNALS) <= computed


def test_signals_of_nothing_are_unknown() -> None:
    signals = compute_signals(Case(instance={}, host={}, now=0.0))
    definite = {name for name, value in signals.items() if value is not None and value != []}
    assert definite == {
        "retry_delay_seconds",
        "attempt_known",
        "attempt_was_hijacked",
        "streak_length",
        "streak_has_cgroup_oom_kill",
        "streak_has_host_oom_kill",
    }


# A user's rules


def test_a_risk_of_ones_own_is_found() -> None:
    own = {
        "id": "large_dump",
        "title": "The dump is larger than the backup takes",
        "summary": "At most 100 MB.",
        "documentation": "https://example.com/backup",
        "threshold": "100 MB",
        "levels": [{"severity": "medium", "when": "data_directory.dump.size_bytes > `100000000`"}],
        "quotes": [{"source": "file", "name": "size", "path": "dir.dump.size_bytes"}],
    }
    diagnosis = diagnose(evidence(), load_rules(extra_risks=[own]))[0]
    found = next(risk for risk in diagnosis["risks"] if risk["id"] == "large_dump")
    assert found["severity"] == "medium"
    assert found["evidence"][0]["expected"] == "100 MB"


def test_a_shipped_rule_is_changed_by_its_id_alone() -> None:
    stricter = {"id": "is_stuck", "when": "signals.current_save_seconds > `3`"}
    document = of_instance(evidence(), "redis/info/rdb_bgsave_in_progress", 1)
    document = of_instance(document, "redis/info/rdb_current_bgsave_time_sec", 5)
    assert diagnose(document, SHIPPED)[0]["state"] == "save_in_progress"
    assert diagnose(document, load_rules(extra_nodes=[stricter]))[0]["state"] == "save_stuck"
    assert load_rules().nodes["is_stuck"].when.source == SHIPPED.nodes["is_stuck"].when.source


def test_a_node_and_an_outcome_of_ones_own() -> None:
    outcome = {
        "id": "backup_running",
        "kind": "cause",
        "stage": "open",
        "title": "The backup holds the directory",
        "summary": "The backup runs. Wait.",
        "documentation": "https://example.com",
        "quotes": [{"source": "INFO", "name": "status", "path": "info.rdb_last_bgsave_status"}],
    }
    node = {
        "id": "backup",
        "question": "Does the backup run?",
        "when": "signals.changes_since_last_save == `77`",
        "yes": "backup_running",
        "no": "attempt_seen",
        "unknown": "attempt_seen",
    }
    rules = load_rules(extra_nodes=[node, {"id": "last_save_failed", "yes": "backup"}], extra_outcomes=[outcome])
    document = of_instance(evidence(), "redis/info/rdb_last_bgsave_status", "err")
    document = of_instance(document, "redis/info/rdb_changes_since_last_save", 77)
    assert diagnose(document, rules)[0]["cause"]["id"] == "backup_running"


NODE = {"id": "mine", "question": "Is it?", "when": "info.x", "yes": "healthy", "no": "healthy", "unknown": "healthy"}


def node(**changes: t.Any) -> dict[str, t.Any]:
    return {key: value for key, value in {**NODE, **changes}.items() if value is not None}


LINKED = {"id": "is_loading", "no": "mine"}
RISK = {
    "id": "mine",
    "title": "t",
    "summary": "s",
    "documentation": "d",
    "threshold": "t",
    "levels": [{"severity": "low", "when": "info.x"}],
}
BROKEN: list[tuple[dict[str, t.Any], str, str]] = [
    ({"extra_nodes": [node(colour="red"), LINKED]}, "node 'mine'", "unknown key 'colour'"),
    ({"extra_nodes": [node(when="info.x ==")]}, "node 'mine'", "not a JMESPath expression"),
    ({"extra_nodes": [node(when="infos.x == 'a'")]}, "node 'mine'", "asks for 'infos'"),
    ({"extra_nodes": [node(when="signals.disk_shrt")]}, "node 'mine'", "the signal 'disk_shrt', which doesn't exist"),
    ({"extra_nodes": [node(when=None)]}, "node 'mine'", "'when' is missing"),
    ({"extra_nodes": [node(question=None)]}, "node 'mine'", "'question' must be a text"),
    ({"extra_nodes": [node(no="nowhere"), LINKED]}, "node 'mine'", "'no' leads to 'nowhere'"),
    (
        {"extra_nodes": [node(unknown=["healthy", "start"]), LINKED]},
        "node 'mine'",
        "lists 'start', which is not an outcome",
    ),
    ({"extra_nodes": [node(yes=None)]}, "node 'mine'", "'yes' must be the id"),
    ({"extra_nodes": [node()]}, "node 'mine'", "can't be reached"),
    ({"extra_nodes": [node(no="start"), LINKED]}, "node 'start'", "leads back to itself: start -> "),
    ({"extra_nodes": [node(id="disk_full")]}, "node 'disk_full'", "has the id of an outcome"),
    ({"extra_nodes": [node(), node()]}, "node 'mine'", "defined twice"),
    ({"extra_nodes": [{"question": "Who?"}]}, "extra node number 1", "has no id"),
    ({"extra_nodes": ["text"]}, "extra node number 1", "must be a mapping"),
    ({"extra_nodes": {"id": "x"}}, "extra nodes", "must be a list"),
    ({"extra_nodes": [node(quotes=[{"source": "a"}])]}, "node 'mine'", "a quote needs source, name and path"),
    ({"extra_outcomes": [{"id": "new", "kind": "cause"}]}, "outcome 'new'", "'stage' must be a text"),
    ({"extra_outcomes": [{"id": "disk_full", "documentation": ""}]}, "outcome 'disk_full'", "'documentation' must be"),
    ({"extra_outcomes": [{"id": "disk_full", "kind": "reason"}]}, "outcome 'disk_full'", "'kind' must be one of"),
    (
        {"extra_outcomes": [{"id": "disk_full", "fixes": ["reboot"]}]},
        "outcome 'disk_full'",
        "'reboot', which is not a fix",
    ),
    ({"extra_outcomes": [{"id": "disk_full", "leads_to": ["x"]}]}, "outcome 'disk_full'", "'leads_to' names 'x'"),
    (
        {"extra_outcomes": [{"id": "disk_full", "summary": "{password}"}]},
        "outcome 'disk_full'",
        "'{password}', which doesn't",
    ),
    ({"extra_outcomes": [{"id": "healthy", "continue_at": "x"}]}, "outcome 'healthy'", "'continue_at' is 'x'"),
    ({"extra_risks": [{**RISK, "levels": []}]}, "risk 'mine'", "'levels' must be a list"),
    (
        {"extra_risks": [{**RISK, "levels": [{"severity": "huge", "when": "info.x"}]}]},
        "risk 'mine'",
        "'severity' must be",
    ),
    ({"extra_risks": [{**RISK, "threshold": None}]}, "risk 'mine'", "'threshold' must be a text"),
    ({"extra_risks": [{**RISK, "fixes": "thp"}]}, "risk 'mine'", "'fixes' must be a list of texts"),
]


@pytest.mark.parametrize(("extra", "rule", "problem"), BROKEN)
def test_a_broken_rule_is_named_with_what_is_wrong(extra: dict[str, t.Any], rule: str, problem: str) -> None:
    with pytest.raises(RuleError) as caught:
        load_rules(**extra)
    assert caught.value.rule == rule
    assert problem in str(caught.value)


def test_a_file_that_is_not_rules_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: t.Any) -> None:
    (tmp_path / "failure_tree.yml").write_text("{")
    monkeypatch.setattr(rules_module, "rules_directory", lambda: str(tmp_path))
    with pytest.raises(RuleError, match="failure_tree.yml: can't be read"):
        load_rules()


def test_without_jmespath_the_package_is_named_and_no_rule_is_blamed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expressions, "HAS_JMESPATH", False)
    with pytest.raises(RuleError, match="^the failure tree: the Python package 'jmespath' is not installed"):
        load_rules()
