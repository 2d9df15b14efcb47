# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The actions of a remediation without a host: what they ask of it, what they keep, refuse and print."""

from __future__ import annotations

import json
import os
from types import SimpleNamespace

import pytest
from ansible.errors import AnsibleActionFail, AnsibleConnectionFailure
from ansible_collections.redisops.persistence.plugins.action import (
    remediation_conclusion,
    remediation_plan,
    remediation_record,
    remediation_report,
    remediation_rollback,
    remediation_verification,
)
from ansible_collections.redisops.persistence.plugins.plugin_utils import gathering, output, record, remediation_run

A = "127.0.0.1:6379"
SECRET = "pass \"word' with blanks"
INSTANCES = [{"login_port": 6379, "login_password": SECRET}]
EVIDENCE = {
    "schema_version": 1,
    "host": {},
    "gaps": [],
    "instances": [
        {
            "address": A,
            "redis": {"info": {"key_count": 3, "rdb_last_save_time": 9}, "config": {"tls-port": "0"}},
            "process": {"pid": 812, "started_unix": 5.5},
        }
    ],
}
CHANGE = {"what": "owner of /srv/redis", "before": "0:0", "after": "107:107", "reversible": True}
SAVE = {"what": "save", "before": "err", "after": "ok", "reversible": False}
ARGUMENTS = {"pid": 812, "started_unix": 5.5, "path": "/srv/redis", "allowed_dirs": ["/srv/redis"]}
ACTION = {"fix": "data_dir", "address": A, "arguments": ARGUMENTS, "changes": [CHANGE]}
PROOF = {"fix": "verify", "address": A, "arguments": {"wait_timeout_seconds": 1}, "changes": [SAVE]}


def diagnosis(state="failing"):
    return {
        "instance": {"address": A, "server": "redis", "version": "7.0.15", "role": "master"},
        "state": state,
        "status": "err" if state == "failing" else "ok",
        "cause": {"id": "dir_permission_denied", "title": "No way in\x1b[2J", "summary": ""},
        "fixes": [],
    }


def fix(name="data_dir", decision="apply"):
    return {
        "id": name,
        "class": "none",
        "decision": decision,
        "reason": "Because.",
        "commands": ["chown 107 /srv/redis"],
        "changes": [CHANGE],
    }


PLAN = {
    "instances": [
        {
            "address": A,
            "connection": {"login_host": "127.0.0.1", "login_port": 6379},
            "plan": [fix(), fix("thp", "opt_in"), fix("verify")],
        }
    ],
    "actions": [ACTION],
}


class Bench:
    """The actions with a recorded host, terminal, judge and planner."""

    def __init__(self, monkeypatch, directory):
        self.records = str(directory / "records")
        self.executed = []
        self.said = []
        self.warned = []
        self.evidence = EVIDENCE
        self.trouble = None
        self.states = ["failing", "healthy"]
        self.asked = []
        monkeypatch.setattr(output, "say", self.said.append)
        monkeypatch.setattr(output, "warn", self.warned.append)
        monkeypatch.setattr(gathering, "shipped_rules", lambda: "rules")
        monkeypatch.setattr(gathering, "diagnose", self._diagnose)
        monkeypatch.setattr(remediation_plan, "build_plan", self._plan)
        monkeypatch.setattr(remediation_verification, "verification_actions", self._verify)
        monkeypatch.setattr(remediation_run.C, "DEFAULT_LOCAL_TMP", str(directory / "run"))

    def _diagnose(self, _evidence, _rules):
        return [diagnosis(self.states.pop(0) if len(self.states) > 1 else self.states[0])]

    def _plan(self, evidence, diagnoses, rules, policy, check_mode):
        self.asked.append((rules, policy.skip, check_mode))
        return json.loads(json.dumps({**PLAN, "actions": [ACTION, PROOF] if check_mode else [ACTION]}))

    def _verify(self, evidence, diagnoses, rules, policy, changed, plan):
        self.asked.append(changed)
        return [{"address": A, "connection": {}, "plan": [fix("verify", "refuse")]}], [PROOF]

    def run(self, module, check_mode=False, host="web-07", **arguments):
        task = SimpleNamespace(args=arguments, check_mode=check_mode, async_val=0, action="x", environment=[])
        plugin = module.ActionModule(task, SimpleNamespace(_shell=SimpleNamespace(tmpdir=None)), None, None, None, None)

        def execute(module_name, module_args, task_vars):
            self.executed.append(module_args)
            if self.trouble is not None:
                raise self.trouble
            return {"evidence": self.evidence, "_ansible_parsed": True}

        def shell(command, sudoable):
            raise AnsibleConnectionFailure("gone")

        plugin._execute_module = execute
        plugin._low_level_execute_command = shell
        return plugin.run(task_vars={"inventory_hostname": host})

    def plan(self, check_mode=False, **arguments):
        given = {"instances": INSTANCES, "record_dir": self.records, **arguments}
        return self.run(remediation_plan, check_mode, **given)

    def note(self, plan, state, result=None, action=None, check_mode=False):
        return self.run(
            remediation_record,
            check_mode,
            record_path=plan["record_path"],
            action=action or ACTION,
            state=state,
            result=result,
        )

    def carry_out(self, plan, check_mode=False, proof=True):
        for action in [ACTION, PROOF] if proof else [ACTION]:
            self.note(plan, "started", action=action, check_mode=check_mode)
            result = {"changed": True, "changes": action["changes"], "reply": "ok", "duration_seconds": 0.5}
            self.note(plan, "done", result, action, check_mode)


@pytest.fixture
def bench(monkeypatch, tmp_path):
    return Bench(monkeypatch, tmp_path)


# Plan


def test_a_plan_opens_the_record_and_remembers_what_to_compare_with(bench):
    result = bench.plan(show=False, policy={"skip": ["thp"]})
    assert bench.asked == [("rules", frozenset({"thp"}), False)]
    assert bench.executed == [{"instances": INSTANCES}]
    assert (result["changed"], result["actions"]) == (False, [ACTION])
    assert result["instances"][0]["facts"]["keys"] == 3
    document = record.read(result["record_path"])
    assert (document["host"], document["run_id"], document["entries"]) == ("web-07", result["run_id"], [])
    assert bench.said == []


def test_a_port_that_speaks_tls_is_told(bench):
    instance = EVIDENCE["instances"][0]
    tls = {**instance, "redis": {**instance["redis"], "config": {"tls-port": "6379"}}}
    bench.evidence = {**EVIDENCE, "instances": [tls]}
    assert bench.plan()["instances"][0]["connection"]["tls"] is True


def test_a_check_run_writes_no_record(bench):
    result = bench.plan(check_mode=True)
    assert (result["record_path"], result["actions"]) == (None, [ACTION, PROOF])
    assert not os.path.exists(bench.records)


def test_a_host_with_nothing_to_do_gets_no_record(bench, monkeypatch):
    monkeypatch.setattr(remediation_plan, "build_plan", lambda *_all, **_more: {"instances": [], "actions": []})
    assert bench.plan()["record_path"] is None
    assert not os.path.exists(bench.records)


def test_the_screen_has_the_plan_and_neither_secrets_nor_control_characters(bench):
    bench.plan(show=True)
    screen = "".join(bench.said)
    assert "CAN'T SAVE: No way in\\e[2J" in screen
    assert "owner of /srv/redis: 0:0 -> 107:107" in screen
    assert "thp (waits to be asked for)" in screen
    assert "$ chown 107 /srv/redis" in screen
    assert SECRET not in screen
    assert "\x1b" not in screen


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"policy": {"skip": ["nonsense"]}}, "remediate_skip: there is no fix 'nonsense'"),
        ({"extra_nodes": [{"id": "mine"}]}, "node 'mine'"),
        ({"timeout": 3}, "timeout"),
    ],
)
def test_what_is_broken_is_named_before_the_host_is_asked(bench, arguments, words):
    with pytest.raises(AnsibleActionFail) as caught:
        bench.plan(**arguments)
    assert words in str(caught.value)
    assert SECRET not in str(caught.value)
    assert bench.executed == []


@pytest.mark.parametrize(("directory", "words"), [(None, "record_dir"), ("/dev/null/x", "so nothing is changed")])
def test_what_can_not_be_recorded_is_not_done(bench, directory, words):
    with pytest.raises(AnsibleActionFail, match=words):
        bench.plan(record_dir=directory)


def test_a_host_that_can_not_be_reached_is_a_result(bench):
    bench.trouble = AnsibleConnectionFailure(f"Connection refused {SECRET}")
    result = bench.plan(show=True)
    assert (result["reachable"], result["actions"], result["record_path"]) == (False, [], None)
    assert [one["state"] for one in result["diagnoses"]] == ["unreachable"]
    assert SECRET not in json.dumps(result) + "".join(bench.said)


# Record


def test_an_action_is_noted_before_and_after(bench):
    plan = bench.plan()
    assert bench.note(plan, "started")["entry"]["state"] == "started"
    assert record.read(plan["record_path"])["entries"][0]["planned"][0]["before"] == "0:0"
    result = bench.note(plan, "done", {"changed": True, "changes": [CHANGE]})
    assert result["changes"] == [{"fix": "data_dir", "address": A, **CHANGE}]
    assert record.read(plan["record_path"])["entries"][0]["state"] == "done"


def test_a_check_run_keeps_its_prediction_in_the_directory_of_the_run(bench, tmp_path):
    plan = bench.plan(check_mode=True)
    bench.carry_out(plan, check_mode=True)
    assert not os.path.exists(bench.records)
    kept = [os.path.join(place, name) for place, _directories, names in os.walk(tmp_path / "run") for name in names]
    assert len(kept) == 1


def test_each_check_run_begins_anew(bench):
    for _number in range(2):
        plan = bench.plan(check_mode=True)
        bench.carry_out(plan, check_mode=True)
    conclusion = bench.run(remediation_conclusion, True, plan=plan)
    assert len(conclusion["remediations"][0]["changes"]) == 2


def test_an_action_without_a_record_or_of_another_host_is_refused(bench):
    with pytest.raises(AnsibleActionFail, match="There is no record of this run"):
        bench.note({"record_path": None}, "started")
    plan = bench.plan()
    with pytest.raises(AnsibleActionFail, match="the record of web-07, not of web-08"):
        bench.run(remediation_record, host="web-08", record_path=plan["record_path"], action=ACTION, state="started")
    with pytest.raises(AnsibleActionFail, match="one of the actions of a plan"):
        bench.note(plan, "started", action={"fix": "x"})


# Verification


def test_the_proof_is_decided_for_what_was_changed_and_noted(bench):
    plan = bench.plan()
    bench.carry_out(plan, proof=False)
    arguments = {"plan": plan, "record_path": plan["record_path"], "instances": INSTANCES, "show": True}
    result = bench.run(remediation_verification, **arguments)
    assert bench.asked[-1] == [A]
    assert result["actions"] == [PROOF]
    assert record.read(plan["record_path"])["decisions"][A][0]["decision"] == "refuse"
    assert "web-07  127.0.0.1:6379: verify not done - Because." in bench.said[-1]


def test_a_change_of_the_host_is_proven_on_the_servers_that_it_was_for(bench):
    plan = bench.plan()
    plan["instances"].append({"address": "b", "plan": [fix("thp")]})
    document = record.read(plan["record_path"])
    thp = {**ACTION, "fix": "thp", "address": None}
    record.note(document, thp, "started", None, None, 0)
    record.note(document, thp, "done", {"changed": True, "changes": [CHANGE]}, None, 0)
    assert remediation_run.changed_servers(document, plan) == ["b"]


def test_no_save_is_started_on_a_host_that_can_not_be_seen_again(bench):
    plan = bench.plan()
    bench.trouble = AnsibleConnectionFailure("Connection refused")
    result = bench.run(remediation_verification, plan=plan, record_path=plan["record_path"])
    assert (result["actions"], result["reachable"]) == ([], False)
    assert "no save is started" in bench.warned[0]


# Conclusion


def test_a_cure_is_concluded_from_the_record_and_a_last_look(bench):
    plan = bench.plan()
    bench.carry_out(plan)
    arguments = {"plan": plan, "record_path": plan["record_path"], "instances": INSTANCES, "show": True}
    result = bench.run(remediation_conclusion, **arguments)
    assert [document["result"] for document in result["remediations"]] == ["cured"]
    assert (result["must_fail"], result["cured_all"], result["failures"], result["error"]) == (False, True, [], None)
    assert record.read(plan["record_path"])["ended_at"]
    assert "BGSAVE took 0.5 s, status ok, 3 keys before, 3 after" in bench.said[-1]
    assert SECRET not in "".join(bench.said) + json.dumps(result)


def test_a_host_on_which_nothing_was_done_is_not_asked_again(bench):
    plan = {**bench.plan(), "actions": [], "record_path": None}
    asked = len(bench.executed)
    result = bench.run(remediation_conclusion, plan=plan)
    assert len(bench.executed) == asked
    assert result["must_fail"] is True


def test_a_host_that_timed_out_is_not_asked_a_second_time(bench):
    """Neither by the look after it, nor by the conclusion; a new plan asks again."""
    plan = bench.plan()
    bench.carry_out(plan, proof=False)
    bench.trouble = AnsibleConnectionFailure("Connection timed out")
    arguments = {"plan": plan, "record_path": plan["record_path"], "instances": INSTANCES}
    assert bench.run(remediation_verification, **arguments)["reachable"] is False
    asked = len(bench.executed)
    result = bench.run(remediation_conclusion, **arguments)
    assert len(bench.executed) == asked
    assert (result["reachable"], result["must_fail"]) == (False, True)
    assert "not asked a second time" in result["error"]
    bench.trouble = None
    assert bench.plan()["reachable"] is True
    assert bench.run(remediation_verification, **arguments)["reachable"] is True


def test_a_rollback_on_a_host_that_does_not_answer_ends_before_its_first_action(bench):
    plan = bench.plan()
    bench.carry_out(plan)
    records = sorted(os.listdir(bench.records))
    bench.trouble = AnsibleConnectionFailure("Connection timed out")
    result = bench.run(remediation_rollback, record_dir=bench.records, instances=INSTANCES)
    assert (result["unreachable"], result["actions"]) == (True, [])
    assert "does not answer in time" in result["msg"]
    assert sorted(os.listdir(bench.records)) == records


def test_a_check_run_is_concluded_from_its_prediction(bench):
    plan = bench.plan(check_mode=True)
    bench.carry_out(plan, check_mode=True)
    asked = len(bench.executed)
    result = bench.run(remediation_conclusion, True, plan=plan)
    document = result["remediations"][0]
    assert (document["result"], document["proof"], len(document["changes"])) == ("unchanged", None, 2)
    assert result["must_fail"] is False
    assert len(bench.executed) == asked


def test_the_lock_of_another_operator_is_concluded_with_his_name(bench):
    plan = bench.plan()
    text = "web-07 is being remediated by bob@control"
    result = bench.run(remediation_conclusion, plan=plan, record_path=plan["record_path"], error=text)
    assert result["remediations"][0]["result"] == "refused"
    assert (result["must_fail"], result["error"]) == (True, text)


def test_a_host_that_went_away_is_concluded_as_failed(bench):
    plan = bench.plan()
    bench.carry_out(plan)
    bench.trouble = AnsibleConnectionFailure("Connection refused")
    result = bench.run(remediation_conclusion, plan=plan, record_path=plan["record_path"])
    assert (result["remediations"][0]["result"], result["reachable"], result["must_fail"]) == ("failed", False, True)
    assert "Nothing accepts a login" in result["error"]


def test_anything_but_a_plan_is_refused(bench):
    with pytest.raises(AnsibleActionFail, match="must be what .*remediation_plan returned"):
        bench.run(remediation_conclusion, plan={"actions": "x"})


# Rollback


def test_a_rollback_undoes_the_newest_run_with_the_process_of_today(bench):
    plan = bench.plan()
    bench.carry_out(plan)
    restarted = {**EVIDENCE["instances"][0], "process": {"pid": 99, "started_unix": 7.5}}
    bench.evidence = {**EVIDENCE, "instances": [restarted]}
    result = bench.run(remediation_rollback, record_dir=bench.records, instances=INSTANCES, show=True)
    assert result["record"] == plan["record_path"]
    assert [action["arguments"]["pid"] for action in result["actions"]] == [99]
    assert result["instances"][0]["connection"] == {"login_host": "127.0.0.1", "login_port": 6379}
    own = record.read(result["record_path"])
    assert (own["kind"], own["rolls_back"]) == ("rollback", plan["record_path"])
    assert "owner of /srv/redis: 107:107 -> 0:0" in bench.said[-1]
    assert "verify: save - A save has no opposite." in bench.said[-1]


def test_a_rollback_in_check_mode_writes_no_record(bench):
    bench.carry_out(bench.plan())
    before = sorted(os.listdir(bench.records))
    assert bench.run(remediation_rollback, True, record_dir=bench.records)["record_path"] is None
    assert sorted(os.listdir(bench.records)) == before


def test_a_rollback_without_a_record_has_nothing_to_do(bench):
    result = bench.run(remediation_rollback, record_dir=bench.records, show=True)
    assert (result["actions"], result["record"], result["record_path"]) == ([], None, None)
    assert "There is no record of a change on this host." in bench.said[-1]
    assert bench.executed == []


def test_a_record_of_another_host_is_refused_naming_it(bench):
    plan = bench.plan()
    with pytest.raises(AnsibleActionFail, match="this is the record of web-07, not of web-08"):
        bench.run(remediation_rollback, host="web-08", record=plan["record_path"])


# Report


class Hosts(dict):
    """Variables of hosts as Ansible hands them out."""

    raw_get = dict.__getitem__


def test_the_report_sums_up_the_fleet(bench, tmp_path):
    def document(result, *addresses):
        changes = [{"fix": "x", "address": address, "what": "y"} for address in addresses]
        return {"result": result, "changes": changes, "proof": None, "diagnosis_before": diagnosis("healthy")}

    kept = {"reachable": True, "error": "", "must_fail": False}
    hosts = Hosts(
        a={"remediate_results": [document("cured", A, None), document("improved", None)], "__remediate_outcome": kept},
        b={"remediate_results": [], "__remediate_outcome": {"reachable": False, "error": "The host is off."}},
        c={},
    )
    task = SimpleNamespace(
        args={"report_dir": str(tmp_path)}, check_mode=False, async_val=0, action="x", _parent=None, _uuid="1"
    )
    plugin = remediation_report.ActionModule(
        task, SimpleNamespace(_shell=SimpleNamespace(tmpdir=None)), None, None, None, None
    )
    names = {"ansible_play_hosts_all": ["a", "b", "c"], "ansible_play_hosts": ["a", "b"], "ansible_play_batch": ["a"]}
    result = plugin.run(task_vars={**names, "hostvars": hosts})
    assert result["complete"] is True
    report = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert report["summary"] == result["summary"]
    assert (report["check_mode"], report["summary"]["cured"], report["summary"]["changes"]) == (False, 1, 2)
    assert report["summary"]["unreachable"] == 2
    assert "left the play before it was remediated" in report["hosts"]["c"]["error"]
    assert "Fleet: 3 hosts, 2 servers: 1 cured, 1 improved" in bench.said[-1]
