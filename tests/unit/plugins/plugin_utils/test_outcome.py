# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run has achieved for each server, and whether the play must fail."""

from __future__ import annotations

import pytest
from ansible_collections.redisops.persistence.plugins.plugin_utils import outcome

A = "127.0.0.1:6379"
B = "127.0.0.1:6380"
FACTS = {
    "keys": 100,
    "expired_keys": 5,
    "evicted_keys": 0,
    "pid": 7,
    "started_unix": 1000.0,
    "last_save_unix": 2000,
}
ERROR = "db1 is being remediated by bob@control since 12:00"


def diagnosis(state="failing", status=None, address=A, fixes=(), **more):
    return {
        "instance": {"address": address},
        "state": state,
        "status": status or ("err" if state == "failing" else "ok" if state in ("healthy", "idle") else "unknown"),
        "cause": {"id": "x", "title": "It is broken"} if state == "failing" else None,
        "fixes": [dict(one) for one in fixes],
        **more,
    }


def fix(name="data_dir", decision="apply", reason="Because."):
    return {"id": name, "class": "none", "decision": decision, "reason": reason, "commands": [], "changes": []}


def entry(name="data_dir", state="done", address=A, changes=1, **more):
    made = [
        {"fix": name, "address": address, "what": f"{name} {number}", "before": 1, "after": 2, "reversible": True}
        for number in range(changes)
    ]
    return {
        "fix": name,
        "address": address,
        "state": state,
        "changes": made if state in ("done", "failed") else [],
        "error": "Text of the error" if state == "failed" else None,
        "left_to_do": None,
        "restored": False,
        "details": {"duration_seconds": 1.25, "reply": "Background saving started"} if name == "verify" else {},
        **more,
    }


FIXED = (entry(), entry("verify"))
VERIFY = fix("verify")
PLAN = (fix(), VERIFY)


def conclude(
    before=None,
    plan=PLAN,
    entries=FIXED,
    after="healthy",
    facts=None,
    actions=None,
    facts_before=None,
    **more,
):
    """The conclusion for one server at A. ``after``: a state, a diagnosis, or null for no second look."""
    before = before or diagnosis()
    if isinstance(after, str):
        after = diagnosis(after)
    look = None if after is None else {A: {"diagnosis": after, "facts": {**FACTS, **(facts or {})}}}
    plan_result = {
        "diagnoses": [before],
        "instances": [{"address": A, "plan": [dict(one) for one in plan], "facts": facts_before or FACTS}],
        "actions": [{"fix": "data_dir", "address": A}] if actions is None else actions,
        "error": None,
    }
    settings = {"decisions": {}, "error": None, "trouble": None, "check_mode": False, **more}
    return outcome.conclude(outcome.Run(plan=plan_result, entries=list(entries), after=look, **settings))


def result_of(conclusion):
    return conclusion.remediations[0]["result"]


def reason_of(conclusion):
    return conclusion.remediations[0]["reason"]


# Cured


def test_a_save_that_succeeded_after_a_change_is_a_cure():
    conclusion = conclude()
    document = conclusion.remediations[0]
    assert (document["result"], conclusion.failures, conclusion.cured_all) == ("cured", [], True)
    assert document["reason"] == "A save succeeded in 1.2 s, after 1 change."
    assert document["proof"] == {
        "status": "ok",
        "save": {"seconds": 1.25, "reply": "Background saving started"},
        "keys_before": 100,
        "keys_after": 100,
        "kept_dump": None,
        "dump_before": None,
        "dump_after": None,
        "diagnosis_after": diagnosis("healthy"),
    }
    assert [change["fix"] for change in document["changes"]] == ["data_dir", "verify"]
    assert document["left"] == []


def test_the_proof_says_what_was_replaced_by_what():
    kept = {"path": "/d/dump.rdb.kept-20261125T100000Z-7", "bytes": 39870, "keys_at_least": 300, "saved_unix": 5}
    before = {"owner": "foreign", "bytes": 39870, "keys_at_least": 300, "saved_unix": 5}
    after = {"owner": "own", "bytes": 89, "keys_at_least": 0, "saved_unix": 9}
    details = {"keys_before": 2, "kept_dump": kept, "dump_before": before, "dump_after": after}
    proof = conclude(entries=[entry("verify", details=details)]).remediations[0]["proof"]
    assert {name: proof[name] for name in details} == details
    # A save that failed has written no dump; what was kept before it is told all the same.
    failed = conclude(entries=[entry("verify", "failed", details=details)], after="failing").remediations[0]["proof"]
    assert (failed["kept_dump"], failed["dump_after"]) == (kept, None)


def test_a_server_that_is_told_to_keep_no_dump_is_no_failure():
    unwanted = {**fix("verify", "refuse", "It is told to keep no dump."), "objections": ["no_dump_wanted"]}
    for entries in ([], [entry()]):
        conclusion = conclude(plan=(fix(), unwanted), entries=entries, after="failing")
        assert result_of(conclusion) == ("improved" if entries else "unchanged")
        assert "It is told to keep no dump." in reason_of(conclusion)
        assert conclusion.failures == []
        assert conclusion.cured_all
    wanted = {**fix("verify", "refuse", "Too little memory."), "objections": ["memory_short"]}
    assert conclude(plan=(fix(), wanted), entries=[], after="failing").failures


def test_a_save_of_the_servers_own_is_a_cure_too():
    conclusion = conclude(entries=[entry()], facts={"last_save_unix": 3000})
    assert (result_of(conclusion), conclusion.failures) == ("cured", [])
    assert "saved by itself" in reason_of(conclusion)
    assert conclusion.remediations[0]["proof"]["save"] is None


@pytest.mark.parametrize(
    "facts", [{"pid": 8, "started_unix": 2500.0, "last_save_unix": 3000}, {"last_save_unix": 2000}, {"pid": None}]
)
def test_a_status_that_a_restart_may_have_reset_is_no_cure(facts):
    conclusion = conclude(entries=[entry()], facts=facts)
    assert result_of(conclusion) == "improved"
    assert "no save has proven it" in reason_of(conclusion)


def test_a_cure_stays_one_where_something_else_failed_which_is_said():
    conclusion = conclude(entries=[*FIXED, entry("rewrite_config", "failed", changes=0)])
    assert (result_of(conclusion), conclusion.failures) == ("cured", [])
    assert "rewrite_config failed: Text of the error" in reason_of(conclusion)


# Not cured


def test_a_change_that_did_not_help_is_an_improvement_and_the_play_fails():
    conclusion = conclude(
        entries=[entry()],
        after=diagnosis(fixes=[fix("manual", "manual")]),
        decisions={A: [fix("verify", "refuse", "There is too little memory.")]},
    )
    assert result_of(conclusion) == "improved"
    assert "No save was started: There is too little memory" in reason_of(conclusion)
    assert conclusion.failures == [f"{A}: improved: {reason_of(conclusion)}"]
    assert [one["id"] for one in conclusion.remediations[0]["left"]] == ["manual"]
    assert conclusion.remediations[0]["plan"][-1]["decision"] == "refuse"


@pytest.mark.parametrize("decision", ["opt_in", "refuse", "manual"])
def test_a_failing_server_for_which_nothing_was_allowed_is_refused_with_the_reason(decision):
    conclusion = conclude(plan=[fix(decision=decision, reason="Mode 2 may be policy.")], entries=[], after=None)
    assert result_of(conclusion) == "refused"
    assert "Mode 2 may be policy." in reason_of(conclusion)
    assert len(conclusion.failures) == 1
    assert conclusion.remediations[0]["proof"] is None


def test_a_failing_server_for_which_nothing_is_known_is_unchanged_and_the_play_fails():
    conclusion = conclude(plan=[], entries=[], after=None)
    assert (result_of(conclusion), len(conclusion.failures)) == ("unchanged", 1)


def test_a_fix_that_failed_is_told_with_its_text():
    conclusion = conclude(entries=[entry(state="failed", changes=0)], after=diagnosis())
    assert (result_of(conclusion), len(conclusion.failures)) == ("failed", 1)
    assert "data_dir failed: Text of the error" in reason_of(conclusion)


def test_a_fix_of_which_nobody_knows_how_it_ended_has_failed():
    conclusion = conclude(entries=[entry(state="started")], after=diagnosis())
    assert result_of(conclusion) == "failed"
    assert "nobody knows how it ended" in reason_of(conclusion)


def test_a_server_that_began_to_fail_is_a_failure():
    conclusion = conclude(before=diagnosis("healthy"), after="failing")
    assert (result_of(conclusion), len(conclusion.failures)) == ("failed", 1)
    assert "not failing before, and is now" in reason_of(conclusion)


def test_a_host_that_went_away_is_a_failure():
    conclusion = conclude(after=None, trouble="Nothing accepts a login.")
    assert (result_of(conclusion), len(conclusion.failures)) == ("failed", 1)
    assert "Nothing accepts a login." in reason_of(conclusion)


def test_a_server_that_does_not_answer_afterwards_is_a_failure():
    conclusion = conclude(after="loading")
    assert (result_of(conclusion), len(conclusion.failures)) == ("failed", 1)


# Healthy before


def test_prevention_on_a_healthy_server_is_an_improvement():
    conclusion = conclude(before=diagnosis("healthy"), entries=[entry()])
    assert (result_of(conclusion), conclusion.failures, conclusion.cured_all) == ("improved", [], True)


def test_a_healthy_server_without_a_change_is_unchanged():
    conclusion = conclude(before=diagnosis("healthy"), plan=[fix(decision="opt_in")], entries=[], after=None)
    assert (result_of(conclusion), conclusion.failures) == ("unchanged", [])
    assert [one["id"] for one in conclusion.remediations[0]["left"]] == ["data_dir"]


# Not examined


@pytest.mark.parametrize(
    ("state", "fails"),
    [("unreachable", 1), ("auth_required", 1), ("not_permitted", 1), ("loading", 1), ("unsupported", 0)],
)
def test_a_server_that_nobody_could_ask_fails_the_play_unless_it_is_of_another_kind(state, fails):
    conclusion = conclude(before=diagnosis(state), plan=[], entries=[], after=None)
    assert (result_of(conclusion), len(conclusion.failures)) == ("unchanged", fails)


def test_a_host_that_could_not_be_examined_fails_the_play_with_its_reason():
    plan = {"diagnoses": [], "instances": [], "actions": [], "error": "The host refuses the login."}
    run = outcome.Run(plan, [], {}, None, None, None, False)
    assert outcome.conclude(run) == ([], ["The host refuses the login."], False)


# The lock


def test_the_lock_of_another_operator_is_a_refusal_that_fails_the_play():
    conclusion = conclude(entries=[], after=None, error=ERROR)
    assert (result_of(conclusion), reason_of(conclusion)) == ("refused", f"{ERROR}.")
    assert conclusion.failures == [f"{A}: refused: {ERROR}."]


def test_a_healthy_host_with_work_fails_for_the_lock_too():
    conclusion = conclude(before=diagnosis("healthy"), entries=[], after=None, error=ERROR)
    assert (result_of(conclusion), conclusion.failures) == ("refused", [ERROR])


# Keys


def test_keys_that_went_with_a_restart_are_told_loudly_and_fail():
    conclusion = conclude(facts={"keys": 90, "pid": 8, "started_unix": 2500.0, "expired_keys": 0})
    assert (result_of(conclusion), len(conclusion.failures)) == ("failed", 1)
    assert "KEYS ARE MISSING: 100 before, 90 now" in reason_of(conclusion)


def test_keys_that_expired_or_were_evicted_are_explained():
    conclusion = conclude(facts={"keys": 90, "expired_keys": 11, "evicted_keys": 4})
    assert result_of(conclusion) == "cured"
    assert "less than before" not in reason_of(conclusion)


def test_keys_that_clients_deleted_while_the_server_ran_are_told_without_failing():
    conclusion = conclude(facts={"keys": 90, "expired_keys": 8})
    assert (result_of(conclusion), conclusion.failures) == ("cured", [])
    assert "7 keys less than before" in reason_of(conclusion)


def test_unknown_numbers_of_keys_are_no_loss():
    assert result_of(conclude(facts={"keys": None})) == "cured"


# Host-wide changes and several servers


def test_a_change_of_the_host_is_in_the_document_of_each_server_that_it_helps():
    plan = {
        "diagnoses": [diagnosis(), diagnosis("healthy", address=B), diagnosis("healthy", address="c")],
        "instances": [
            {"address": A, "plan": [fix("overcommit"), VERIFY], "facts": FACTS},
            {"address": B, "plan": [fix("overcommit")], "facts": FACTS},
            {"address": "c", "plan": [], "facts": FACTS},
        ],
        "actions": [{"fix": "overcommit", "address": None}],
    }
    after = {address: {"diagnosis": diagnosis("healthy", address=address), "facts": FACTS} for address in (A, B, "c")}
    entries = [entry("overcommit", address=None), entry("verify")]
    conclusion = outcome.conclude(outcome.Run(plan, entries, {}, after, None, None, False))
    assert [document["result"] for document in conclusion.remediations] == ["cured", "improved", "unchanged"]
    assert [[change["address"] for change in document["changes"]] for document in conclusion.remediations] == [
        [None, A],
        [None],
        [],
    ]


def test_what_fails_for_a_server_that_has_no_document_is_not_lost():
    conclusion = conclude(entries=[*FIXED, entry("thp", "failed", address=None)])
    assert conclusion.failures == ["thp failed: Text of the error"]


# Check mode


def test_check_mode_tells_the_prediction_and_proves_nothing():
    conclusion = conclude(after=None, check_mode=True)
    document = conclusion.remediations[0]
    assert (document["result"], document["proof"]) == ("unchanged", None)
    assert document["reason"] == "check mode: 2 changes would be made."
    assert len(document["changes"]) == 2
    assert (conclusion.failures, conclusion.cured_all) == ([], False)


def test_check_mode_fails_where_nothing_would_be_done_about_a_failing_server():
    conclusion = conclude(plan=[fix(decision="opt_in")], entries=[], after=None, check_mode=True)
    assert (result_of(conclusion), len(conclusion.failures)) == ("refused", 1)


def test_check_mode_fails_where_a_module_would_refuse():
    conclusion = conclude(entries=[entry(state="failed", changes=0)], after=None, check_mode=True)
    assert (result_of(conclusion), len(conclusion.failures)) == ("failed", 1)
    assert reason_of(conclusion) == "check mode: data_dir failed: Text of the error."


def test_check_mode_meets_the_lock_of_another_operator():
    conclusion = conclude(entries=[], after=None, error=ERROR, check_mode=True)
    assert (result_of(conclusion), len(conclusion.failures)) == ("refused", 1)


# Lent


def test_what_is_left_to_do_is_told():
    left = entry("emergency_unblock", left_to_do="Type: redis-cli CONFIG SET")
    assert "Type: redis-cli CONFIG SET" in reason_of(conclude(entries=[left, *FIXED]))


def test_what_was_lent_and_is_back_is_told():
    lent = entry("emergency_unblock", restored=True)
    assert "What emergency_unblock had changed for a while is as it was." in reason_of(conclude(entries=[lent, *FIXED]))


def test_facts_are_taken_from_the_evidence():
    instance = {
        "redis": {"info": {"key_count": 3, "expired_keys": 1, "rdb_last_save_time": 9}, "started_unix": 5},
        "process": {"pid": 7, "started_unix": 5.5},
    }
    assert outcome.facts_of(instance) == {
        "keys": 3,
        "expired_keys": 1,
        "evicted_keys": None,
        "pid": 7,
        "started_unix": 5.5,
        "last_save_unix": 9,
    }


def test_what_was_only_lent_has_improved_nothing():
    lent = entry("emergency_unblock", restored=True)
    waits = fix("destination", "opt_in", "Only if it is empty.")
    seen = conclude(plan=(fix("emergency_unblock"), waits), entries=(lent,), after=diagnosis(fixes=[waits]))
    document = seen.remediations[0]
    assert document["result"] == "refused"
    assert "destination waits to be asked for (-e remediate_opt_in_destination=true)" in document["reason"]
    assert seen.failures


def test_a_server_whose_next_save_will_fail_is_not_said_to_need_nothing():
    waits = fix("destination", "opt_in", "Only if it is empty.")
    before = diagnosis("idle", fixes=[waits], forecast={"answer": "will_fail"})
    document = conclude(before, plan=(waits,), entries=(), after=None, actions=[]).remediations[0]
    assert document["result"] == "unchanged"
    assert "the next save will" in document["reason"]
    assert "-e remediate_opt_in_destination=true" in document["reason"]
