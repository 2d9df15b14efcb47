# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action plugins without a host: what they ask of it, what they refuse, and what they make of its trouble."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
from ansible.errors import AnsibleActionFail, AnsibleConnectionFailure
from ansible_collections.redisops.persistence.plugins.action import redis_diagnosis_info as action
from ansible_collections.redisops.persistence.plugins.plugin_utils import gathering

EVIDENCE = {"schema_version": 1, "host": {}, "instances": [], "gaps": []}
SECRET = "pass \"word' with blanks"


def diagnosis(state="failing", confidence="probable", forecast=None):
    return {
        "instance": {"address": "127.0.0.1:6379"},
        "state": state,
        "status": "err",
        "cause": {"id": "x", "confidence": confidence},
        "forecast": forecast or {"answer": "unknown"},
    }


class Connection:
    """A connection that knows one option."""

    def __init__(self):
        self.options = {"pipelining": False}
        self._shell = SimpleNamespace(tmpdir=None)

    def get_option(self, name):
        return self.options[name]

    def set_option(self, name, value):
        self.options[name] = value


DEADLY = ("child_oom_killed_cgroup", "child_oom_killed_host")


class Bench:
    """An action whose module execution, shell, judge and terminal are recorded."""

    def __init__(self, monkeypatch):
        self.executed = []
        self.said = []
        self.warned = []
        self.results = [{"evidence": EVIDENCE, "_ansible_parsed": True, "changed": False}]
        self.diagnoses = [[]]
        self.probe = "Filesystem / 100%"
        monkeypatch.setattr(action.output, "say", self.said.append)
        monkeypatch.setattr(action.output, "warn", self.warned.append)
        monkeypatch.setattr(gathering, "diagnose", lambda evidence, rules: self.next_of(self.diagnoses))
        monkeypatch.setattr(gathering, "shipped_rules", lambda: SimpleNamespace(deadly=DEADLY))

    @staticmethod
    def next_of(answers):
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def run(self, check_mode=False, **arguments):
        task = SimpleNamespace(
            args=arguments, check_mode=check_mode, async_val=0, action=gathering.MODULE, environment=[]
        )
        plugin = action.ActionModule(task, Connection(), SimpleNamespace(), None, None, None)
        self.plugin = plugin

        def execute(module_name, module_args, task_vars):
            self.executed.append((module_name, module_args, dict(plugin._connection.options), list(task.environment)))
            return self.next_of(self.results)

        def shell(command, sudoable):
            return {"stdout": self.next_of([self.probe])}

        plugin._execute_module = execute
        plugin._low_level_execute_command = shell
        return plugin.run(task_vars={"inventory_hostname": "web-07"})


@pytest.fixture
def bench(monkeypatch):
    return Bench(monkeypatch)


def test_the_module_runs_once_and_gets_only_its_own_options(bench):
    result = bench.run(instances=[{"login_port": 7000}], deep=True, show=False, evidence_dir=None, extra_nodes=[])
    assert [(name, arguments) for name, arguments, _options, _environment in bench.executed] == [
        ("redisops.persistence.redis_diagnosis_info", {"instances": [{"login_port": 7000}], "deep": True})
    ]
    assert result == {"changed": False, "reachable": True, "error": None, "diagnoses": [], "gaps": []}
    assert bench.said == []


def test_evidence_is_returned_and_saved_on_request_only(bench, tmp_path):
    result = bench.run(return_evidence=True, evidence_dir=str(tmp_path))
    assert result["evidence"] == EVIDENCE
    assert result["evidence_path"] == str(tmp_path / "web-07.json")
    assert json.loads((tmp_path / "web-07.json").read_text(encoding="utf-8")) == EVIDENCE


def test_a_host_is_shown_in_one_piece(bench):
    bench.diagnoses = [[diagnosis(), diagnosis(state="healthy")]]
    bench.run(show=True)
    assert len(bench.said) == 1
    assert bench.said[0].count("web-07") == 2


def test_reproducing_is_refused_in_check_mode_before_the_host_is_asked(bench):
    with pytest.raises(AnsibleActionFail, match="diagnose_reproduce.*check mode changes nothing"):
        bench.run(check_mode=True, reproduce=True)
    assert bench.executed == []


def test_reproducing_asks_again_for_what_is_not_proven_only(bench):
    bench.diagnoses = [
        [diagnosis(), {**diagnosis(confidence="confirmed"), "instance": {"address": "b"}}],
        [diagnosis()],
    ]
    bench.results = [bench.results[0], {**bench.results[0], "changed": True}]
    result = bench.run(reproduce=True)
    assert [arguments for _name, arguments, _options, _environment in bench.executed] == [
        {},
        {"reproduce": True, "reproduce_addresses": ["127.0.0.1:6379"]},
    ]
    assert result["changed"] is True


@pytest.mark.parametrize(
    "settled",
    [
        diagnosis(confidence="confirmed"),
        diagnosis(state="healthy"),
        diagnosis(forecast={"answer": "will_fail", "cause": "child_oom_killed_host"}),
    ],
)
def test_reproducing_leaves_alone_what_is_settled_or_would_take_the_server_down(bench, settled):
    bench.diagnoses = [[settled]]
    bench.run(reproduce=True)
    assert len(bench.executed) == 1


def test_a_reproduction_that_can_not_run_keeps_the_first_verdict(bench):
    bench.diagnoses = [[diagnosis()]]
    bench.results = [bench.results[0], AnsibleConnectionFailure("Connection reset")]
    result = bench.run(reproduce=True)
    assert result["diagnoses"] == [diagnosis()]
    assert "could not be reproduced" in bench.warned[0]


def test_a_broken_rule_is_named_before_the_host_is_asked(bench):
    with pytest.raises(AnsibleActionFail, match="node 'mine'"):
        bench.run(extra_nodes=[{"id": "mine"}])
    assert bench.executed == []


def test_a_host_without_a_connection_is_a_result(bench):
    bench.results = [AnsibleConnectionFailure(f"Connection refused {SECRET}")]
    bench.probe = AnsibleConnectionFailure("Connection refused")
    result = bench.run(instances=[{"login_port": 7000, "login_password": SECRET}], show=True)
    assert result["reachable"] is False
    assert "Nothing accepts a login" in result["error"]
    assert [document["state"] for document in result["diagnoses"]] == ["unreachable"]
    assert SECRET not in json.dumps(result) + "".join(bench.said)


def test_a_host_that_timed_out_is_not_asked_a_second_time(bench):
    bench.results = [AnsibleConnectionFailure("ssh: connect to host web port 22: Connection timed out")]
    result = bench.run()
    assert (result["reachable"], result["probe"]) == (False, None), "the probe would have answered"
    assert "does not answer in time" in result["error"]


def test_a_host_where_the_module_can_not_run_is_probed(bench):
    bench.results = [{"failed": True, "module_stderr": "sh: python3: not found", "_ansible_parsed": False}]
    result = bench.run()
    assert result["reachable"] is True
    assert "no usable Python" in result["error"]
    assert result["probe"] == "Filesystem / 100%"


def test_a_full_host_is_asked_once_more_without_its_disks(bench):
    full = {"failed": True, "module_stderr": "No usable temporary directory found", "_ansible_parsed": False}
    bench.results = [full, bench.results[0]]
    assert bench.run()["error"] is None
    assert [(options, environment) for _name, _arguments, options, environment in bench.executed] == [
        ({"pipelining": False}, []),
        ({"pipelining": True}, [{"TMPDIR": "/dev/shm"}]),
    ]


def test_a_host_that_is_full_everywhere_is_asked_twice_at_most(bench):
    bench.results = [{"failed": True, "module_stderr": "No space left on device", "_ansible_parsed": False}]
    assert "No directory for temporary files" in bench.run()["error"]
    assert len(bench.executed) == 2


def test_what_the_module_refuses_is_an_error_without_secrets(bench):
    bench.results = [{"failed": True, "msg": f"bad value {SECRET}", "_ansible_parsed": True}]
    with pytest.raises(AnsibleActionFail) as caught:
        bench.run(login_password=SECRET)
    assert "bad value ********" in str(caught.value)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"show": "maybe"}, "show"),
        ({"timeout": 3}, "timeout"),
        ({"instances": [{"port": 3}]}, "port"),
        ({"evidence_file": "/nonexistent/web-07.json"}, "/nonexistent/web-07.json: No such file"),
        ({"evidence_dir": "/dev/null/x"}, "/dev/null/x"),
    ],
)
def test_bad_input_is_named(bench, arguments, words):
    with pytest.raises(AnsibleActionFail) as caught:
        bench.run(**arguments)
    assert words in str(caught.value)


def test_saved_evidence_needs_no_host(bench, tmp_path):
    for name in ("a", "b"):
        (tmp_path / f"{name}.json").write_text(json.dumps(EVIDENCE), encoding="utf-8")
    bench.diagnoses = [[diagnosis()]]
    result = bench.run(evidence_file=str(tmp_path))
    assert list(result["hosts"]) == ["a", "b"]
    assert len(result["diagnoses"]) == 2
    assert bench.executed == []


def test_evidence_that_can_not_be_judged_is_named(bench):
    bench.diagnoses = [KeyError("redis")]
    with pytest.raises(AnsibleActionFail, match="web-07: this evidence can't be diagnosed"):
        bench.run()
