# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an operator reads before and after a remediation: what is done, what is left, and what to type next."""

from __future__ import annotations

import re

import pytest
from ansible_collections.redisops.persistence.plugins.plugin_utils import record, rollback
from ansible_collections.redisops.persistence.plugins.plugin_utils import remediation_screen as screen
from ansible_collections.redisops.persistence.plugins.plugin_utils.policy import FIX_IDS, VALUES_TO_GIVE, how_to_ask
from ansible_collections.redisops.persistence.plugins.plugin_utils.run_again import Invocation

A = "127.0.0.1:6379"
CHANGE = {"what": "mode of /data", "before": "0555", "after": "0755", "reversible": True}
SAVE = {"what": "save", "before": "err", "after": "ok", "reversible": False}


def fix(name, decision="apply", reason="Because.", commands=(), changes=()):
    return {"id": name, "decision": decision, "reason": reason, "commands": list(commands), "changes": list(changes)}


DATA_DIR = fix("data_dir", changes=[CHANGE])
VERIFY = fix("verify", changes=[SAVE])
DESTINATION = fix("destination", "opt_in", "Only if it is empty.", ["rmdir /data/dump.rdb"])
MOVE = fix("manual", "manual", "Move it away.", ["ls /data/dump.rdb"])
MAXMEMORY = fix("maxmemory", "opt_in", "Only you know.", ["redis-cli CONFIG SET maxmemory BYTES"])
SPLIT = fix("manual", "manual", "Split the dataset.", ["redis-cli DBSIZE"])
SKIPPED = fix("overcommit", "refuse", "remediate_skip names it.")
RISK = {"id": "maxmemory_unset", "severity": "low", "title": "x", "fixes": ["maxmemory", "manual"]}


def diagnosis(fixes, state="failing", **more):
    return {
        "instance": {"address": A},
        "state": state,
        "status": "err" if state == "failing" else "ok",
        "cause": {"id": "x", "title": "It is broken"} if state == "failing" else None,
        "fixes": list(fixes),
        "risks": [RISK],
        **more,
    }


def plan_screen(fixes, state="failing", check_mode=False, **more):
    result = {
        "diagnoses": [diagnosis(fixes, state, **more)],
        "instances": [{"address": A, "plan": list(fixes)}],
        "actions": [],
    }
    return screen.render_plan(result, "db1", check_mode)


def outcome_screen(
    check_mode=False, run_id=None, state="failing", left=(), changes=(), result="refused", plan=(), **more
):
    after = diagnosis(left, state, **more)
    document = {
        "instance": {"address": A},
        "diagnosis_before": after,
        "plan": list(plan),
        "changes": list(changes),
        "result": result,
        "reason": "A sentence.",
        "left": list(left),
        "proof": None if check_mode else {"status": after["status"], "diagnosis_after": after},
    }
    text = screen.render_outcome([document], "db1", check_mode, run_id)
    return re.sub(r" \\\n +", " ", text)  # commands on several lines, as a shell joins them


@pytest.mark.parametrize("fix_id", FIX_IDS)
def test_what_to_type_names_the_switch_and_the_value(fix_id):
    asked = how_to_ask(fix_id)
    assert asked.startswith(f"-e remediate_opt_in_{fix_id}=true")
    assert (VALUES_TO_GIVE.get(fix_id) or ("",))[0] in asked
    assert not re.search("NUMBER|BYTES|SECONDS|DIRECTORY", asked), "a placeholder is no command"


def test_the_plan_says_what_to_type_for_what_waits():
    text = plan_screen([DESTINATION, fix("verify", "opt_in", "It would fail."), MOVE])
    command = "ansible-playbook redisops.persistence.remediate --limit db1 -e remediate_opt_in_destination=true"
    assert f"ask for it with  {command}\n" in re.sub(r" \\\n +", " ", text)
    assert "$ rmdir /data/dump.rdb" in text
    assert "No save      It would fail." in text
    assert "remediate_opt_in_verify" not in text


def test_an_incident_is_not_talked_over_by_risks():
    text = plan_screen([DATA_DIR, VERIFY, MAXMEMORY, SPLIT, SKIPPED])
    assert "Will do      data_dir" in text
    assert "mode of /data: 0555 -> 0755" in text
    assert "one BGSAVE: err -> ok" in text
    assert "Risks        maxmemory (waits to be asked for), 1 thing by hand" in text
    assert "Split the dataset" not in text
    assert "CONFIG SET" not in text
    assert "REFUSED" not in text
    assert "Left out     overcommit - remediate_skip names it." in text


def test_a_server_that_is_well_gets_one_line_for_a_risk():
    text = plan_screen([MAXMEMORY, SPLIT], state="healthy")
    line = "On request maxmemory: -e remediate_opt_in_maxmemory=true, and with remediate_maxmemory: a size such as"
    assert line in " ".join(text.split())
    assert "BYTES" not in text
    assert "Only you know" not in text
    assert "1 thing by hand" in text


def test_what_the_tags_leave_out_is_not_announced_as_done():
    text = plan_screen([fix("data_dir", reason="Because; not selected by the tags of this run", changes=[CHANGE])])
    assert "Would do     data_dir" in text
    assert "Will do" not in text


def test_a_check_run_says_would():
    assert "Would do     data_dir" in plan_screen([DATA_DIR], check_mode=True)


def test_the_outcome_of_a_server_that_still_fails_says_what_to_type():
    text = outcome_screen(left=[DESTINATION, MOVE, VERIFY, MAXMEMORY, SPLIT], writes_blocked=True)
    assert "--limit db1 -e remediate_opt_in_destination=true" in text
    assert "$ ls /data/dump.rdb" in text
    unblock = "$ ansible-playbook redisops.persistence.unblock --limit db1 -e remediate_address=127.0.0.1:6379"
    assert unblock in text
    assert "maxmemory" not in text
    assert "Split" not in text


@pytest.mark.parametrize(
    ("address", "is_typed"),
    [
        ("127.0.0.1:6379", True),
        ("10.0.0.1:6379", True),
        ("[::1]:6379", True),
        ("unix:/run/redis.sock", True),
        ("unix:/run/a b.sock", False),
        ("unix:/run/{{ x }}", False),
        ("", False),
    ],
)
def test_a_server_is_named_only_where_one_can_type_it(address, is_typed):
    text = outcome_screen(left=[MOVE], writes_blocked=True, instance={"address": address})
    assert (f"remediate_address={address}" in text) is is_typed
    assert "Writes       are refused until a save succeeds." in text


def test_what_was_done_and_was_not_enough_is_not_advised_again():
    text = outcome_screen(left=[DATA_DIR, VERIFY], changes=[{**CHANGE, "fix": "data_dir"}], plan=[DATA_DIR, VERIFY])
    assert "run again" not in text and "redisops.persistence.remediate" not in text
    assert "Done         data_dir" in text and "the save after it failed as well" in text
    assert "What is known now: It is broken." in " ".join(text.split())
    unproven = outcome_screen(left=[DATA_DIR], changes=[{**CHANGE, "fix": "data_dir"}], plan=[DATA_DIR])
    assert "no save has shown yet" in " ".join(unproven.split())


def test_what_was_tried_in_vain_is_not_advised_again():
    text = outcome_screen(left=[DATA_DIR, VERIFY], plan=[DATA_DIR, VERIFY])
    assert "Tried        data_dir" in text and "redisops.persistence.remediate" not in text


def test_what_is_seen_only_afterwards_is_a_command():
    text = outcome_screen(left=[DATA_DIR, VERIFY], plan=[])
    assert "$ ansible-playbook redisops.persistence.remediate --limit db1\n" in text


def test_the_next_command_is_started_as_this_run_was():
    again = Invocation(("-i", "/etc/hosts.yml", "--become"), left_out=True)
    document = {"instance": {"address": A}, "diagnosis_before": diagnosis([DESTINATION]), "left": [DESTINATION]}
    text = re.sub(r" \\\n +", " ", screen.render_outcome([document], "db1", False, None, again))
    assert "redisops.persistence.remediate -i /etc/hosts.yml --become --limit db1 -e" in text
    assert "Add the -e of this run that hold secrets." in text


@pytest.mark.parametrize(
    ("directory", "typed"),
    [
        ("/tmp/data", '--limit db1 -e \'{"remediate_allowed_dirs": ["/tmp/data"]}\''),
        ("/tmp/{{ data }}", None),
        ("/tmp/da\nta", None),
    ],
)
def test_a_directory_that_is_not_allowed_comes_with_what_would_allow_it(directory, typed):
    refused = fix("data_dir", "refuse", f"{directory} is not in remediate_allowed_dirs.")
    place = {"address": A, "dir": directory}
    text = plan_screen([refused, VERIFY], instance=place)
    text = re.sub(r" \\\n +", " ", text)
    assert (typed in text) if typed else ("allow it" not in text)


def test_a_refusal_is_said_once():
    text = outcome_screen(left=[DESTINATION, VERIFY])
    assert text.count("Only if it is empty.") == 1
    assert "It still can't save: It is broken." in text
    assert "A sentence." not in text


def test_the_outcome_of_a_server_that_is_well_is_short():
    text = outcome_screen(state="healthy", result="unchanged", left=[MAXMEMORY, SPLIT])
    assert len(text.strip().splitlines()) == 2


def test_a_server_whose_next_save_will_fail_is_not_well():
    text = outcome_screen(state="idle", result="unchanged", left=[DESTINATION], forecast={"answer": "will_fail"})
    assert "-e remediate_opt_in_destination=true" in text


def test_a_check_run_does_not_call_unchanged_what_it_would_change():
    assert "would be changed ===" in outcome_screen(check_mode=True, result="unchanged", changes=[CHANGE])
    assert "nothing to change ===" in outcome_screen(check_mode=True, result="unchanged", state="healthy")


def test_the_way_back_is_shown_where_there_is_one():
    way = "redisops.persistence.rollback --limit db1 -e remediate_record=RUN"
    assert way in outcome_screen(run_id="RUN", changes=[CHANGE], state="healthy", result="cured")
    assert way not in outcome_screen(run_id="RUN", changes=[SAVE], state="healthy", result="cured")
    assert way not in outcome_screen(run_id="RUN", changes=[CHANGE], check_mode=True, result="unchanged")


def test_text_of_a_host_is_made_harmless():
    change = {**CHANGE, "what": "mode of /data/\x1b[31m\nred"}
    assert "\x1b" not in plan_screen([fix("data_dir", changes=[change])])


def undone_entry(state="done", changes=(), error=None, **details):
    return {
        "fix": "data_dir",
        "address": A,
        "state": state,
        "changes": list(changes),
        "error": error,
        "details": details,
    }


@pytest.mark.parametrize(
    ("entry", "state", "words"),
    [
        (undone_entry(changes=[CHANGE]), "done", "Put back     data_dir of 127.0.0.1:6379"),
        (undone_entry(), "same", "As before    data_dir"),
        (
            undone_entry(conflicts=["mode of /data is 0700"]),
            "kept",
            "Left alone   data_dir of 127.0.0.1:6379 - mode of",
        ),
        (undone_entry(conflict="it is 2 now"), "kept", "it is 2 now"),
        (undone_entry(conflicts={"save": {"running": "60 1"}}), "kept", "save is '60 1' now"),
        (undone_entry(state="failed", error="No such process"), "failed", "FAILED       data_dir"),
        (undone_entry(state="started"), "failed", "nobody knows how it ended"),
    ],
)
def test_a_rollback_tells_what_became_of_each_change(entry, state, words):
    document = {"entries": [entry]}
    items = rollback.undone(document)
    assert [item.state for item in items] == [state]
    assert words in " ".join(screen.render_undone(items, "db1", False, None).split("\n"))
    assert bool(rollback.failures(document, None)) == (state == "failed")


def test_a_rollback_that_was_refused_says_why():
    assert "bob is at work" in screen.render_undone([], "db1", False, "bob is at work")
    assert rollback.failures({}, "bob is at work") == ["bob is at work"]


def test_a_check_run_of_a_rollback_says_would():
    text = screen.render_undone(rollback.undone({"entries": [undone_entry(changes=[CHANGE])]}), "db1", True, None)
    assert "1 would be put back ===" in text
    assert "Would undo   data_dir" in text


def test_a_rollback_that_was_made_already_is_known(tmp_path):
    changed = {"what": "mode of /data", "before": "0555", "after": "0755"}
    first = record.open_record(str(tmp_path), "db1", "20261122T000000Z-1", "bob", [], 1.0)
    action = {"fix": "data_dir", "address": A, "arguments": {}, "changes": [changed]}
    back = record.open_record(str(tmp_path), "db1", "20261122T000000Z-2", "bob", [], 2.0, record.ROLLBACK, first)
    assert record.undone_at(first, "db1") is None  # nothing was put back yet
    document = record.read(back)
    record.note(document, action, record.STARTED, None, None, 3.0)
    record.write(back, document)
    assert record.undone_at(first, "db1") is None
    record.note(document, action, record.DONE, {"changed": True, "changes": [changed]}, None, 4.0)
    record.write(back, document)
    assert record.undone_at(first, "db1") == "1970-01-01T00:00:04Z"
    assert record.undone_at(first, "db2") is None


KEPT_DUMP = {"path": "/d/it's.kept-1", "bytes": 39870, "keys_at_least": 300, "saved_unix": 5, "method": "link"}


def test_a_save_that_would_replace_something_says_how_to_ask_for_it() -> None:
    waiting = {**fix("verify", "opt_in", "The file is not what this server saved."), "objections": ["dump_foreign"]}
    text = plan_screen([waiting])
    assert "No save" in text
    assert "ask for it with  ansible-playbook redisops.persistence.remediate --limit db1 -e" in text
    assert "remediate_opt_in_verify=true" in text


def test_the_proof_names_the_kept_file_and_when_it_may_go() -> None:
    proof = {
        "save": {"seconds": 1.0, "reply": "x"},
        "status": "ok",
        "kept_dump": KEPT_DUMP,
        "dump_before": {"owner": "foreign", **KEPT_DUMP},
        "dump_after": {"owner": "own", "bytes": 89, "keys_at_least": 0},
    }
    lines = " ".join("\n".join(screen._kept(proof)).split())
    assert "Nothing removes it. When you are sure" in lines
    assert """rm '/d/it'"'"'s.kept-1'""" in lines
    told = screen._proof(proof)
    assert "the dump was 38.9 KiB, at least 300 keys and is 89 B, at least 0 keys" in told.replace("89 bytes", "89 B")
    assert screen._kept({**proof, "kept_dump": None}) == []
