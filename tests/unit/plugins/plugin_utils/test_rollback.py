# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From the record of a run to what puts it back; a record that was tampered with is refused."""

from __future__ import annotations

import pytest
from ansible_collections.redisops.persistence.plugins.module_utils._privilege import ACCEPTABLE
from ansible_collections.redisops.persistence.plugins.plugin_utils import record, rollback

A = "127.0.0.1:6379"
DROP_IN = "/etc/systemd/system/redis.service.d/zz-redisops-process-limit.conf"
MARKED = "# Written by redisops.persistence\n[Service]\nLimitNPROC=65536\n"
PLACE = {
    "pid": 812,
    "started_unix": 5.5,
    "path": "/srv/redis",
    "device": "253:1",
    "inode": 9,
    "allowed_dirs": ["/srv/redis*"],
}


def change(what, before, after, reversible=True):
    return {"what": what, "before": before, "after": after, "reversible": reversible}


def entry(fix, arguments, *changes, state="done", address=A, planned=None, **more):
    return {
        "fix": fix,
        "address": address,
        "state": state,
        "arguments": arguments,
        "planned": list(changes if planned is None else planned),
        "changes": [] if state == "started" else list(changes),
        "restored": False,
        "details": {},
        **more,
    }


def invert(*entries):
    return rollback.invert({"entries": list(entries)}, "/r/web-07.json")


def only(result):
    assert len(result.actions) == 1
    return result.actions[0]


OVERCOMMIT = entry(
    "overcommit",
    {"name": "vm.overcommit_memory", "value": "1"},
    change("sysctl vm.overcommit_memory", "0", "1"),
    change("file /etc/sysctl.d/99-zz-redisops-persistence.conf", None, "vm.overcommit_memory = 1\n"),
    address=None,
)
DATA_DIR = entry(
    "data_dir",
    {**PLACE, "uid": 107, "gid": 107, "mode": "0750"},
    change("owner of /srv/redis", "0:0", "107:107"),
    change("mode of /srv/redis", "0700", "0750"),
)


def test_the_last_change_is_put_back_first():
    result = invert(OVERCOMMIT, DATA_DIR)
    assert [action["fix"] for action in result.actions] == ["data_dir", "overcommit"]
    assert result.not_reversible == []


def test_a_kernel_setting_gets_its_value_back_and_our_boot_file_goes():
    action = only(invert(OVERCOMMIT))
    assert (action["address"], action["arguments"]) == (
        None,
        {"name": "vm.overcommit_memory", "value": "0", "expected": "1", "boot": "absent"},
    )
    assert action["changes"] == [
        change("sysctl vm.overcommit_memory", "1", "0"),
        change("file /etc/sysctl.d/99-zz-redisops-persistence.conf", "vm.overcommit_memory = 1\n", None),
    ]


def test_a_boot_file_alone_leaves_the_running_value_as_it_is():
    thp = entry(
        "thp",
        {"name": "transparent_hugepage", "value": "never"},
        change("file /etc/tmpfiles.d/redisops-persistence.conf", None, "w ..."),
    )
    assert only(invert(thp))["arguments"] == {
        "name": "transparent_hugepage",
        "value": "never",
        "expected": "never",
        "boot": "absent",
    }


def test_a_boot_file_that_was_there_before_stays():
    thp = entry(
        "thp",
        {"name": "transparent_hugepage", "value": "never"},
        change("sysfs transparent_hugepage", "always", "never"),
        change("file /etc/tmpfiles.d/redisops-persistence.conf", "old", "new"),
    )
    result = invert(thp)
    assert only(result)["arguments"]["boot"] == "unchanged"
    assert [item["what"] for item in result.not_reversible] == ["file /etc/tmpfiles.d/redisops-persistence.conf"]


def test_owner_and_mode_go_back_where_they_still_are_what_the_run_set():
    assert only(invert(DATA_DIR))["arguments"] == {
        **PLACE,
        "accept": list(ACCEPTABLE),
        "uid": 0,
        "gid": 0,
        "mode": "0700",
        "expected": {"uid": 107, "gid": 107, "mode": "0750"},
    }


def test_only_what_was_changed_goes_back():
    mode_only = entry("data_dir", {**PLACE, "mode": "0750"}, change("mode of /srv/redis", "0550", "0750"))
    arguments = only(invert(mode_only))["arguments"]
    assert "uid" not in arguments
    assert arguments["expected"] == {"mode": "0750"}


def test_a_mode_that_lets_everybody_write_is_not_put_back():
    result = invert(entry("data_dir", PLACE, change("mode of /srv/redis", "0777", "0750")))
    assert result.actions == []
    assert "lets everybody write" in result.not_reversible[0]["why"]


def test_parameters_go_back_and_the_file_is_written_again_after_them():
    result = invert(
        entry("save_points", {"parameters": {"save": "3600 1"}}, change("config save", "", "3600 1")),
        entry(
            "stop_writes",
            {"parameters": {"stop-writes-on-bgsave-error": "yes"}},
            change("config stop-writes-on-bgsave-error", "no", "yes"),
        ),
        entry(
            "rewrite_config", {"parameters": {}}, change("configuration file /etc/redis.conf", "as at the start", "x")
        ),
    )
    assert [action["fix"] for action in result.actions] == ["stop_writes", "save_points", "rewrite_config"]
    assert result.actions[1]["arguments"] == {"parameters": {"save": ""}, "expected": {"save": "3600 1"}}
    assert result.actions[2]["arguments"] == {
        "parameters": {},
        "rewrite": "if_only_drift",
        "own_parameters": ["stop-writes-on-bgsave-error", "save"],
        "assumed": {"stop-writes-on-bgsave-error": "no", "save": ""},
        "expected_in_file": {"stop-writes-on-bgsave-error": "yes", "save": "3600 1"},
    }


def test_an_intruders_place_is_never_put_back():
    for before in ("/etc/cron.d", "/root/.ssh", "/var/spool/cron/crontabs"):
        result = invert(
            entry("restore_dir", {"parameters": {"dir": "/srv/redis"}}, change("config dir", before, "/srv/redis"))
        )
        assert result.actions == []
        assert "intruders" in result.not_reversible[0]["why"]
    harmless = entry("restore_dir", {}, change("config dir", "/srv/other", "/srv/redis"))
    assert only(invert(harmless))["arguments"]["parameters"] == {"dir": "/srv/other"}


def test_a_limit_goes_back_with_its_drop_in():
    limit = entry(
        "process_limit",
        {**PLACE, "resource": "nproc", "value": 65536, "unit": "redis.service", "drop_in": {"path": DROP_IN}},
        change("limit nproc of the process", 10, 65536),
        change("directory /etc/systemd/system/redis.service.d", None, "present"),
        change(f"file {DROP_IN}", None, MARKED),
    )
    result = invert(limit)
    assert only(result)["arguments"] == {
        "pid": 812,
        "started_unix": 5.5,
        "resource": "nproc",
        "value": 10,
        "expected": 65536,
        "drop_in": {"path": DROP_IN, "content": None},
        "unit": "redis.service",
        "accept": ["untrusted_server"],
    }
    assert result.not_reversible == []


def test_a_drop_in_alone_leaves_the_running_limit_as_it_is():
    limit = entry(
        "cgroup_memory",
        {**PLACE, "controller": "memory", "path": "/g", "value": 4096, "unit": None, "drop_in": {"path": DROP_IN}},
        change(f"file {DROP_IN}", MARKED, MARKED.replace("65536", "1")),
    )
    arguments = only(invert(limit))["arguments"]
    assert (arguments["value"], arguments["expected"], arguments["path"]) == (4096, 4096, "/g")
    assert arguments["drop_in"] == {"path": DROP_IN, "content": MARKED}


def test_attributes_are_set_again():
    immutable = entry(
        "immutable",
        {**PLACE, "dump_name": "dump.rdb"},
        change("attributes of /srv/redis", "ia", ""),
        change("attributes of /srv/redis/dump.rdb", "i", ""),
    )
    assert only(invert(immutable))["arguments"] == {
        **PLACE,
        "accept": list(ACCEPTABLE),
        "dump_name": "dump.rdb",
        "attributes_add": ["a", "i"],
        "dump_attributes_add": ["i"],
    }


def test_a_removed_directory_is_made_again_as_it_was():
    destination = entry(
        "destination",
        {**PLACE, "dump_name": "dump.rdb"},
        change("directory /srv/redis/dump.rdb", "present", None),
        details={"destination_before": {"uid": 1, "gid": 2, "mode": "0755"}},
    )
    assert only(invert(destination))["arguments"] == {
        **PLACE,
        "accept": list(ACCEPTABLE),
        "dump_name": "dump.rdb",
        "destination": "directory",
        "destination_uid": 1,
        "destination_gid": 2,
        "destination_mode": "0755",
    }


def test_what_was_lent_is_put_back_once():
    lent = entry("emergency_unblock", {"seconds": 900}, change("config stop-writes-on-bgsave-error", "yes", "no"))
    assert only(invert(lent))["arguments"] == {"state": "absent", "seconds": 900}
    assert invert({**lent, "restored": True}) == ([], [])


@pytest.mark.parametrize(
    ("fix", "what"),
    [
        ("orphan_temp_files", "temporary file /srv/redis/temp-1.rdb"),
        ("verify", "save"),
        ("rescue", "rescue file in /r"),
        ("recreate_dir", "service redis.service"),
        ("unit_sandbox", f"file {DROP_IN}"),
    ],
)
def test_what_can_not_be_put_back_is_listed_with_the_reason(fix, what):
    result = invert(entry(fix, {}, change(what, 1, None)))
    assert result.actions == []
    assert [(item["fix"], item["address"], item["what"]) for item in result.not_reversible] == [(fix, A, what)]
    assert result.not_reversible[0]["why"]


@pytest.mark.parametrize("state", ["started", "failed"])
def test_an_action_of_unknown_outcome_counts_as_perhaps_done(state):
    died = entry("data_dir", PLACE, change("owner of /srv/redis", "0:0", "107:107"), state=state)
    died["changes"] = []
    assert only(invert(died))["arguments"]["uid"] == 0


def test_an_action_that_was_done_counts_by_what_it_changed():
    planned = [change("owner of /srv/redis", "0:0", "107:107")]
    assert invert(entry("data_dir", PLACE, planned=planned)) == ([], [])
    assert invert(entry("data_dir", PLACE, *planned, state="skipped")) == ([], [])


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        (entry("shutdown", {}, change("x", 1, 2)), "there is no fix 'shutdown'"),
        ({**OVERCOMMIT, "arguments": {"name": "kernel.core_pattern"}}, "must be vm.overcommit_memory"),
        (
            entry("overcommit", OVERCOMMIT["arguments"], change("sysctl vm.overcommit_memory", "0; reboot", "1")),
            "is no value",
        ),
        (entry("stop_writes", {}, change("config dir", "/etc/cron.d", "/srv/redis")), "not a parameter of this fix"),
        (entry("save_points", {}, change("config save", ["x"], "y")), "must have a text"),
        (entry("data_dir", {**PLACE, "path": "/srv/../etc"}, DATA_DIR["changes"][0]), "absolute path"),
        (entry("data_dir", {**PLACE, "path": "/etc"}, DATA_DIR["changes"][0]), "not the owner of /etc"),
        (entry("data_dir", {**PLACE, "pid": 1}, DATA_DIR["changes"][0]), "arguments.pid"),
        (entry("data_dir", {**PLACE, "pid": "812"}, DATA_DIR["changes"][0]), "arguments.pid"),
        (entry("data_dir", PLACE, change("owner of /srv/redis", "0:0:0", "1:1")), "not the owner"),
        (entry("data_dir", PLACE, change("mode of /srv/redis", "u+s", "0750")), "not the mode"),
        (
            entry(
                "process_limit",
                {**PLACE, "resource": "nproc", "value": 1, "drop_in": {"path": "/etc/passwd"}},
                change("file /etc/passwd", "x", "y"),
            ),
            "not a drop-in of this collection",
        ),
        (
            entry(
                "process_limit",
                {**PLACE, "resource": "nproc", "value": 1, "drop_in": {"path": DROP_IN}},
                change(f"file {DROP_IN}", MARKED + "ExecStartPre=/bin/evil\n", MARKED),
            ),
            "is no limit in a drop-in",
        ),
        (
            entry("process_limit", {**PLACE, "resource": "core"}, change("limit nproc of the process", 1, 2)),
            "arguments.resource must be nproc",
        ),
    ],
)
def test_a_record_that_was_tampered_with_is_refused_naming_file_and_entry(broken, words):
    with pytest.raises(record.RecordError) as caught:
        invert(broken)
    assert words in str(caught.value)
    assert "/r/web-07.json: entries[0]" in str(caught.value)


def test_servers_that_were_started_again_are_reached_by_their_process_of_today():
    actions = invert(OVERCOMMIT, DATA_DIR).actions
    now = rollback.with_processes(actions, {A: {"pid": 99, "started_unix": 7.5}})
    assert (now[0]["arguments"]["pid"], now[0]["arguments"]["started_unix"]) == (99, 7.5)
    assert now[1] == actions[1]
    assert rollback.with_processes(actions, {}) == actions


KEPT = "/srv/redis/dump.rdb.kept-20261125T100000Z-7"
WRITTEN = {"owner": "own", "bytes": 89, "keys_at_least": 0, "saved_unix": 1789000000, "inode": 12}


def saved(path=KEPT, what="dump kept beside: /srv/redis/dump.rdb", **details):
    kept = {"path": path, "method": "link", "bytes": 39870, "keys_at_least": 300, "saved_unix": 1780000000, "inode": 11}
    return entry(
        "verify",
        {"wait_timeout_seconds": 600, "accept": ["dump_foreign"], "pid": 812, "started_unix": 5.5},
        change(what, "39870 bytes", "kept beside"),
        change("save", "err", "ok", reversible=False),
        details={"kept_dump": kept if path else None, "dump_after": WRITTEN, **details},
    )


def test_what_a_save_replaced_is_put_back():
    result = invert(saved())
    action = only(result)
    assert action["arguments"] == {
        "pid": 812,
        "started_unix": 5.5,
        "path": "/srv/redis",
        "allowed_dirs": ["/srv/redis"],
        "dump_name": "dump.rdb",
        "kept_name": "dump.rdb.kept-20261125T100000Z-7",
        "kept": {"bytes": 39870, "inode": 11, "saved_unix": 1780000000},
        "replaced": {"bytes": 89, "inode": 12, "saved_unix": 1789000000},
    }
    assert [item["what"] for item in action["changes"]] == ["dump put back: /srv/redis/dump.rdb"]
    assert [item["what"] for item in result.not_reversible] == ["save"]


@pytest.mark.parametrize("more", [{"path": None}, {"dump_after": None}])
def test_without_a_kept_file_or_our_own_on_record_nothing_is_put_back(more):
    result = invert(saved(**more))
    assert result.actions == []
    assert len(result.not_reversible) == 2


@pytest.mark.parametrize(
    "more",
    [
        {"path": "/etc/shadow"},
        {"path": "/srv/redis/other.rdb"},
        {"path": "/srv/redis/../etc/x.kept-1"},
        {"what": "dump kept beside: /etc/cron.d/root"},
        {"what": "dump kept beside: dump.rdb"},
    ],
)
def test_a_record_that_names_another_file_is_refused(more):
    with pytest.raises(record.RecordError):
        invert(saved(**more))
