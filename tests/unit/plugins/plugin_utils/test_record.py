# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The record of a run: what is noted of an action, which record is meant, and what is no record."""

from __future__ import annotations

import json
import stat

import pytest
from ansible_collections.redisops.persistence.plugins.plugin_utils import record

NOW = 1_700_000_000.0
ADDRESS = "127.0.0.1:6379"
RUN = "20261122T235901Z-4711"


def change(what="owner of /d", before="0:0", after="9:9", **more):
    return {"what": what, "before": before, "after": after, "reversible": True, **more}


def action(fix="data_dir", address=ADDRESS, changes=None, **arguments):
    return {"fix": fix, "address": address, "arguments": arguments, "changes": changes or [change()]}


def full(one, fix="data_dir", address=ADDRESS):
    return {"fix": fix, "address": address, **one}


@pytest.fixture
def document():
    return record.new_record("web-07", RUN, "alice@control", [{"address": ADDRESS, "connection": {}}], NOW)


def note(document, state, result=None, error=None, what=None, now=NOW + 1):
    return record.note(document, what or action(), state, result, error, now)


# Entries


def test_the_intent_is_noted_before_anything_is_done(document):
    entry = note(document, "started", what=action(pid=7), now=NOW)
    assert entry["state"] == "started"
    assert entry["planned"] == [full(change())]
    assert (entry["changes"], entry["ended_unix"], entry["arguments"]) == ([], None, {"pid": 7})


def test_what_a_module_says_it_changed_is_noted_rather_than_the_intent(document):
    note(document, "started")
    entry = note(document, "done", {"changed": True, "changes": [change("mode of /d", "0700", "0750")]})
    assert entry["changes"] == [full(change("mode of /d", "0700", "0750"))]
    assert (entry["state"], entry["ended_unix"], len(document["entries"])) == ("done", NOW + 1, 1)


def test_a_module_without_a_list_of_changes_made_those_that_were_planned(document):
    save = action("verify", changes=[change("save", "err", "ok")])
    note(document, "started", what=save)
    entry = note(document, "done", {"changed": True, "reply": "Background saving started"}, what=save)
    assert entry["changes"] == [full(change("save", "err", "ok"), "verify")]
    assert entry["details"] == {"reply": "Background saving started"}


@pytest.mark.parametrize(
    "result",
    [
        {"changed": False, "changes": [change()]},
        {"changed": True, "skipped": True},
        {"changed": True, "failed": True, "msg": "x"},
        {"changed": True, "changes": []},
        {},
    ],
)
def test_what_did_not_change_anything_is_no_change(document, result):
    note(document, "started")
    assert note(document, "done", result)["changes"] == []


def test_steps_add_up_and_none_counts_twice(document):
    note(document, "started")
    first = {"changed": True, "changes": [change()]}
    note(document, "step", first)
    assert document["entries"][0]["state"] == "started"
    note(document, "step", first)
    entry = note(document, "done", {"changed": True, "changes": [change("file /f", None, "x")]})
    assert [one["what"] for one in entry["changes"]] == ["owner of /d", "file /f"]


def test_a_later_module_without_a_list_adds_nothing_to_what_is_noted(document):
    note(document, "started")
    note(document, "step", {"changed": True, "changes": [change("rescue file in /r", None, "every key")]})
    entry = note(document, "done", {"changed": True, "dest": "/c/web-07/x.rdb"})
    assert [one["what"] for one in entry["changes"]] == ["rescue file in /r"]
    assert entry["details"]["dest"] == "/c/web-07/x.rdb"


def test_a_failure_keeps_what_was_changed_up_to_it(document):
    note(document, "started")
    entry = note(document, "failed", {"failed": True, "changed": True, "changes": [change()], "msg": "no\nroom"})
    assert (entry["state"], entry["error"], entry["changes"]) == ("failed", "no\nroom", [full(change())])
    assert note(document, "failed", {}, "told")["error"] == "told"
    assert note(document, "failed", None)["error"] == "It failed without a message."


def test_a_skipped_action_is_told_apart(document):
    note(document, "started")
    assert note(document, "done", {"skipped": True, "changed": False})["state"] == "skipped"


def test_the_same_action_twice_is_two_entries(document):
    for _number in range(2):
        note(document, "started")
        note(document, "done", {"changed": True, "changes": [change()]})
    assert [(entry["number"], entry["state"]) for entry in document["entries"]] == [(1, "done"), (2, "done")]


def test_writes_let_through_say_what_is_left_to_do_at_any_moment(document):
    unblock = action("emergency_unblock", seconds=900)
    entry = note(document, "started", what=unblock, now=NOW)
    assert "2023-11-14T22:28:20Z" in entry["left_to_do"]
    entry = note(document, "done", {"changed": True, "changes": [], "left_to_do": "redis-cli CONFIG SET"}, what=unblock)
    assert entry["left_to_do"] == "redis-cli CONFIG SET"
    entry = note(document, "restored", {"failed": True, "msg": "unreachable"}, what=unblock)
    assert (entry["restored"], entry["left_to_do"]) == (False, "redis-cli CONFIG SET")
    entry = note(document, "restored", {"changed": True, "changes": [change()]}, what=unblock)
    assert (entry["restored"], entry["left_to_do"], entry["changes"]) == (True, None, [])


def test_only_named_figures_are_kept_and_bounded(document):
    note(document, "started")
    result = {"changed": False, "sha256": "a" * 9999, "invocation": {"module_args": {"login_password": "s3cret"}}}
    entry = note(document, "done", result)
    assert list(entry["details"]) == ["sha256"]
    assert len(entry["details"]["sha256"]) == 4000
    assert "s3cret" not in json.dumps(document)


def test_a_save_proves_what_was_changed_before_it(document):
    assert record.changed_since_proof(document) == []
    for what in (action(), action("overcommit", None)):
        note(document, "started", what=what)
        note(document, "done", {"changed": True, "changes": [change()]}, what=what)
    assert record.changed_since_proof(document) == [(ADDRESS, "data_dir"), (None, "overcommit")]
    note(document, "started", what=action("verify"))
    note(document, "done", {"changed": True}, what=action("verify"))
    assert record.changed_since_proof(document) == [(None, "overcommit")]


# Files


def opened(tmp_path, run=RUN, **more):
    return record.open_record(str(tmp_path), "web-07", run, "alice@control", [], NOW, **more)


def with_entry(path, state="done"):
    document = record.read(path)
    note(document, "started")
    if state != "started":
        note(document, state, {"changed": True, "changes": [change()]})
    record.write(path, document)
    return path


def test_a_record_is_its_owners_and_never_replaces_another(tmp_path):
    first, second = opened(tmp_path), opened(tmp_path)
    assert first == str(tmp_path / RUN / "web-07.json")
    assert second == str(tmp_path / f"{RUN}-2" / "web-07.json")
    assert stat.S_IMODE((tmp_path / RUN / "web-07.json").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / RUN).stat().st_mode) == 0o700


def test_the_newest_run_that_may_have_changed_something_is_meant(tmp_path):
    assert record.find(None, str(tmp_path / "nothing"), "web-07") is None
    old = with_entry(opened(tmp_path, "20261101T000000Z-9"))
    assert record.find(None, str(tmp_path), "web-07") == old
    died = with_entry(opened(tmp_path, "20261102T000000Z-10"), "started")
    opened(tmp_path, "20261103T000000Z-11")
    with_entry(opened(tmp_path, "20261104T000000Z-12", kind=record.ROLLBACK, rolls_back=died))
    assert record.find(None, str(tmp_path), "web-07") == died
    again = with_entry(opened(tmp_path, "20261102T000000Z-10"))
    assert record.find(None, str(tmp_path), "web-07") == again
    assert record.find(None, str(tmp_path), "web-08") is None


def test_a_run_is_meant_by_file_by_directory_and_by_name(tmp_path):
    path = opened(tmp_path)
    for named in (path, str(tmp_path / RUN), RUN):
        assert record.find(named, str(tmp_path), "web-07") == path
    assert record.find(RUN, str(tmp_path), "web-08") is None
    with pytest.raises(record.RecordError, match="neither a record file"):
        record.find("20261201T000000Z-1", str(tmp_path), "web-07")
    with pytest.raises(record.RecordError, match="neither a record file"):
        record.find("last-week", str(tmp_path), "web-07")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "not JSON"),
        ("[]", "not a record"),
        ('{"entries": []}', "schema_version"),
        ('{"schema_version": 2, "entries": []}', "schema_version is 2"),
        ('{"schema_version": 1, "entries": [], "kind": "x"}', "kind is 'x'"),
        ('{"schema_version": 1, "entries": [], "kind": "rollback"}', "names no host"),
    ],
)
def test_what_is_no_record_is_named_with_its_file(tmp_path, content, words):
    path = tmp_path / "x.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(record.RecordError) as caught:
        record.read(str(path))
    assert str(path) in str(caught.value)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ("x", "names no fix"),
        ({"fix": "thp"}, "arguments: must be a mapping"),
        ({"fix": "thp", "arguments": {}, "address": 1}, "address: must be"),
        (
            {"fix": "thp", "arguments": {}, "planned": [], "changes": [{"what": 1}]},
            "changes: must be a list of changes",
        ),
    ],
)
def test_a_broken_entry_is_named(document, entry, words):
    document["entries"] = [entry]
    with pytest.raises(record.RecordError, match=words):
        record.check(document, "f")


def test_a_run_that_only_saved_does_not_hide_the_one_before_it(tmp_path):
    def run(name, what, reversible):
        path = record.open_record(str(tmp_path), "db1", name, "bob", [], 1.0)
        document = record.read(path)
        change = {"what": what, "before": 1, "after": 2, "reversible": reversible}
        action = {"fix": "data_dir", "address": None, "arguments": {}, "changes": [change]}
        record.note(document, action, record.STARTED, None, None, 2.0)
        record.note(document, action, record.DONE, {"changed": True, "changes": [change]}, None, 3.0)
        record.write(path, document)
        return path

    saved_only = run("20261122T000000Z-1", "save", False)
    assert record.find(None, str(tmp_path), "db1") == saved_only
    changed = run("20261122T000001Z-2", "mode of /data", True)
    run("20261122T000002Z-3", "save", False)
    assert record.find(None, str(tmp_path), "db1") == changed
