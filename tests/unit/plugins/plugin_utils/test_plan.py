# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each rule of the plan: what the policy changes, what a fix needs, its exact changes, and attempts to get around."""

from __future__ import annotations

import copy
import typing as t

import pytest
from ansible_collections.redisops.persistence.plugins.plugin_utils.diagnosis import diagnose
from ansible_collections.redisops.persistence.plugins.plugin_utils.plan import build_plan, verification_actions
from ansible_collections.redisops.persistence.plugins.plugin_utils.plan_case import connection_of, is_local_client
from ansible_collections.redisops.persistence.plugins.plugin_utils.plan_effects import evidence_after
from ansible_collections.redisops.persistence.plugins.plugin_utils.policy import Policy
from ansible_collections.redisops.persistence.plugins.plugin_utils.record import changes_of
from ansible_collections.redisops.persistence.plugins.plugin_utils.rules import load_rules
from evidence_factory import (
    CHILD_PID,
    DIRECTORY,
    GIB,
    MIB,
    NOW,
    SERVER_PID,
    STARTED,
    Document,
    change,
    child_line,
    evidence,
    failed_child,
    failing,
    filesystem,
    of_instance,
    oom_kill,
    signalled_child,
)

RULES = load_rules()
ADDRESS = "127.0.0.1:6379"
SERVER = {"config_file": "/etc/redis/redis.conf", "accept": []}
PLACE = {"path": DIRECTORY, "device": "253:1", "inode": 128, **SERVER}
PROCESS = {"pid": SERVER_PID, "started_unix": STARTED}
CAPABILITIES = ["CAP_CHOWN", "CAP_FOWNER", "CAP_LINUX_IMMUTABLE", "CAP_SYS_RESOURCE"]


def on_host(document: Document) -> Document:
    """Collected as root, of a server that a systemd service runs."""
    changed = copy.deepcopy(document)
    changed["host"]["collector"] = {
        "uid": 0,
        "root": True,
        "capabilities_effective": list(CAPABILITIES),
        "in_container": False,
    }
    for instance in changed["instances"]:
        instance["systemd"].update(
            {"source": "systemctl", "unit_file_state": "enabled", "type": "notify", "drop_in_paths": []}
        )
    return changed


def policy(**options: t.Any) -> Policy:
    return Policy.from_options({"allowed_dirs": ["/srv/redis"], **options})


def plan(document: Document, check_mode: bool = False, **options: t.Any) -> Document:
    return build_plan(document, diagnose(document, RULES), RULES, policy(**options), check_mode)


def fix(made: Document, fix_id: str, position: int = 0) -> Document:
    found = [entry for entry in made["instances"][position]["plan"] if entry["id"] == fix_id]
    assert len(found) == 1, [entry["id"] for entry in made["instances"][position]["plan"]]
    return t.cast(Document, found[0])


def has(made: Document, fix_id: str) -> bool:
    return any(entry["id"] == fix_id for entry in made["instances"][0]["plan"])


def decision(made: Document, fix_id: str) -> tuple[str, str]:
    entry = fix(made, fix_id)
    return entry["decision"], entry["reason"]


def actions(made: Document) -> list[str]:
    return [action["fix"] for action in made["actions"]]


def action(made: Document, fix_id: str) -> Document:
    found = [entry for entry in made["actions"] if entry["fix"] == fix_id]
    assert len(found) == 1, actions(made)
    return t.cast(Document, found[0])


def denied(owner: Document | None = None, **directory: t.Any) -> Document:
    """The server may not write to its directory: root owns it."""
    document = on_host(
        failing(failed_child(child_line("open_failed", errno="EACCES", errno_text="Permission denied", file="temp")))
    )
    found = document["instances"][0]["data_directory"]
    found["owner"] = {"uid": 0, "gid": 0, "mode": "0755", **(owner or {})}
    found["access"] = {"writable": False, "searchable": True, "blocked_by": DIRECTORY, "reason": "owner 0:0 mode 0755"}
    found.update(directory)
    return document


def place(document: Document, path: str) -> Document:
    """The same in another directory, which the configuration file names too."""
    changed = copy.deepcopy(document)
    instance = changed["instances"][0]
    instance["data_directory"].update({"path": path, "configured": path})
    if instance["data_directory"]["access"]["blocked_by"] == DIRECTORY:
        instance["data_directory"]["access"]["blocked_by"] = path
    instance["redis"]["config"]["dir"] = path
    instance["redis"]["config_file_settings"]["dir"] = path
    return changed


def second(document: Document, address: str = "127.0.0.1:6380", uid: int = 110) -> Document:
    """Another server beside the first, in the same directory, with a dump of its own."""
    changed = copy.deepcopy(document)
    other = copy.deepcopy(changed["instances"][0])
    other["address"] = address
    other["process"]["pid"] = SERVER_PID + 1
    other["process"]["uid"] = {"real": uid, "effective": uid}
    other["redis"]["config"]["dbfilename"] = other["redis"]["config_file_settings"]["dbfilename"] = "other.rdb"
    other["data_directory"]["dump"]["name"] = "other.rdb"
    changed["instances"].append(other)
    return changed


def what(made: Document, fix_id: str) -> list[tuple[str, t.Any, t.Any]]:
    return [(entry["what"], entry["before"], entry["after"]) for entry in fix(made, fix_id)["changes"]]


# Policy --------------------------------------------------------------------------------------------------------------


def test_a_healthy_host_gets_nothing() -> None:
    made = plan(on_host(evidence()), check_mode=True)
    assert made["actions"] == []
    assert [entry["decision"] for entry in made["instances"][0]["plan"] if entry["decision"] == "apply"] == []
    assert made["instances"][0]["connection"] == {"login_host": "127.0.0.1", "login_port": 6379}


def test_an_offered_fix_is_applied_and_proven_in_check_mode() -> None:
    made = plan(denied(), check_mode=True)
    assert actions(made) == ["data_dir", "verify"]
    assert action(made, "verify") == {
        "fix": "verify",
        "address": ADDRESS,
        "arguments": {"wait_timeout_seconds": 3600, "accept": [], **PROCESS},
        "changes": [{"what": "save", "before": "err", "after": "ok", "reversible": False}],
    }


def test_a_real_run_leaves_the_proof_to_a_second_look() -> None:
    made = plan(denied())
    assert actions(made) == ["data_dir"]
    assert decision(made, "verify")[0] == "apply"


def test_a_save_alone_is_an_action_in_either_mode() -> None:
    gone = on_host(failing(failed_child(child_line("write_failed", errno="ENOSPC", errno_text="No space"))))
    assert actions(plan(gone)) == actions(plan(gone, check_mode=True)) == ["verify"]


def test_no_save_is_started_blindly() -> None:
    """A server whose process was not seen: its directory, its limits and its memory are unknown."""
    unseen = denied()
    for block in ("process", "cgroups", "data_directory", "systemd", "redis_log"):
        unseen["instances"][0][block] = None
    for asked in ([], ["verify"]):
        made = plan(unseen, opt_in=asked)
        assert decision(made, "verify")[0] == "refuse"
        assert "can't be kept. Run as root on the server's own host" in decision(made, "verify")[1]
        assert actions(made) == []


def test_what_is_skipped_is_refused_by_name() -> None:
    made = plan(denied(), check_mode=True, skip=["data_dir"])
    assert decision(made, "data_dir") == ("refuse", "remediate_skip names it.")
    assert fix(made, "data_dir")["commands"] == []
    assert actions(made) == []
    assert decision(made, "verify")[0] == "opt_in"


def test_skipping_wins_over_opting_in() -> None:
    made = plan(denied(), check_mode=True, skip=["verify"], opt_in=["verify"])
    assert actions(made) == ["data_dir"]
    assert decision(made, "verify") == ("refuse", "remediate_skip names it.")


def test_opting_in_never_turns_a_refusal_or_handwork_into_an_application() -> None:
    hijacked = place(denied(), "/etc/cron.d")
    made = plan(hijacked, check_mode=True, opt_in=["data_dir", "verify", "rescue"], allowed_dirs=["/etc/cron.d"])
    assert decision(made, "data_dir")[0] == "refuse"
    assert decision(made, "verify")[0] == "refuse"
    elsewhere = denied(access={"writable": False, "searchable": False, "blocked_by": "/srv", "reason": "mode"})
    assert decision(plan(elsewhere, opt_in=["data_dir"]), "data_dir")[0] == "manual"


@pytest.mark.parametrize(
    ("scope", "applied"),
    [
        ("both", ["overcommit", "data_dir", "verify"]),
        ("incident", ["data_dir", "verify"]),
        ("prevention", ["overcommit"]),
    ],
)
def test_the_scope_chooses(scope: str, applied: list[str]) -> None:
    document = change(denied(), "host/overcommit/mode", 0)
    made = plan(document, check_mode=True, scope=scope)
    assert actions(made) == applied
    if scope != "both":
        left = "data_dir" if scope == "prevention" else "overcommit"
        assert decision(made, left)[0] == "refuse"
        assert f"remediate_scope is {scope}" in decision(made, left)[1]


def test_what_a_cause_asks_for_is_no_prevention() -> None:
    refused = failing([{**child_line("fork_failed", errno="ENOMEM", errno_text="Cannot allocate memory"), "role": "M"}])
    document = change(on_host(refused), "host/overcommit/mode", 2)
    document = change(document, "host/memory/commit_limit_bytes", 2 * GIB)
    assert decision(plan(document, opt_in=["overcommit"]), "overcommit")[0] == "apply"
    assert decision(plan(document), "overcommit")[0] == "opt_in"
    made = plan(document, opt_in=["overcommit"], scope="prevention")
    assert decision(made, "overcommit")[0] == "refuse"


@pytest.mark.parametrize(
    ("run_tags", "skip_tags", "applied"),
    [
        (["plan"], [], []),
        (["apply"], [], ["overcommit", "data_dir"]),
        (["overcommit"], [], ["overcommit"]),
        (["data_dir", "verify"], [], ["data_dir", "verify"]),
        (["all"], ["overcommit"], ["data_dir", "verify"]),
        (["all"], ["verify"], ["overcommit", "data_dir"]),
    ],
)
def test_tags_leave_out_actions_and_say_so(run_tags: list[str], skip_tags: list[str], applied: list[str]) -> None:
    document = change(denied(), "host/overcommit/mode", 0)
    made = plan(document, check_mode=True, run_tags=run_tags, skip_tags=skip_tags)
    assert actions(made) == applied
    for fix_id in {"overcommit", "data_dir"} - set(applied):
        assert decision(made, fix_id)[0] == "apply"
        assert decision(made, fix_id)[1].endswith("not selected by the tags of this run")


def test_without_the_fix_that_the_tags_leave_out_no_save_is_started() -> None:
    made = plan(denied(), check_mode=True, run_tags=["verify"])
    assert actions(made) == []
    assert decision(made, "verify")[0] == "opt_in"


@pytest.mark.parametrize(
    ("fix_id", "variable"),
    [
        ("cgroup_memory", "remediate_cgroup_memory_bytes"),
        ("maxmemory", "remediate_maxmemory"),
        ("save_points", "remediate_save_points"),
        ("rescue", "remediate_rescue_dir"),
        ("pids_limit", "remediate_pids_limit"),
    ],
)
def test_opting_in_without_a_value_names_the_variable(fix_id: str, variable: str) -> None:
    made = plan(denied(), opt_in=[fix_id])
    assert decision(made, fix_id)[0] == "opt_in"
    assert variable in decision(made, fix_id)[1]
    assert fix_id not in actions(made)


# Rule 1: where nothing is changed ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/etc",
        "/etc/cron.d",
        "/etc/redis",
        "/root",
        "/root/.ssh",
        "/root/data",
        "/home/redis",
        "/home/redis/.ssh",
        "/usr/local/redis",
        "/usr/share/nginx/html",
        "/var/spool/cron/crontabs",
        "/var/spool/redis",
        "/var/www/html",
        "/srv/www",
        "/proc/1",
        "/sys/kernel",
        "/dev/shm",
        "/boot",
        "/var",
        "/var/lib",
        "/var/log",
        "/tmp",
        "/home",
        "/opt/tomcat9/webapps",
        "/srv/redis/../../etc",
        "/srv/redis/./x",
        "/srv/redis//x",
        "//etc",
        "srv/redis/data",
        "/srv/redis/a\nb",
        "/srv/redis/a\x1b[2Jb",
        "/elsewhere/redis",
        "/srv/redis-of-another",
        "/srv/redis{{ 7*7 }}",
    ],
)
def test_no_owner_is_ever_changed_there(path: str) -> None:
    everything = [
        "/opt",
        "/srv",
        "/etc",
        "/root",
        "/usr",
        "/var",
        "/home",
        "/tmp",
        "/proc",
        "/sys",
        "/dev",
        "/boot",
        "/srv/redis",
    ]
    document = place(denied(), path)
    for asked in ([], ["data_dir", "verify", "immutable", "destination", "recreate_dir"]):
        allowed = ["/srv/redis"] if path.startswith(("/elsewhere", "/srv/redis-", "/srv/redis{")) else everything
        made = plan(document, check_mode=True, opt_in=asked, allowed_dirs=allowed)
        assert "data_dir" not in actions(made)
        assert decision(made, "data_dir")[0] in ("refuse", "manual")
        assert what(made, "data_dir") == []


@pytest.mark.parametrize(
    "path",
    [
        "/srv/redis",
        "/srv/redis/6379",
        "/srv/redis/a b",
        '/srv/redis/it\'s "x"',
        "/srv/redis/{{ 7*7 }}",
        "/srv/redis/$(id)",
    ],
)
def test_an_odd_name_inside_the_allow_list_is_data(path: str) -> None:
    made = plan(place(denied(), path))
    assert action(made, "data_dir")["arguments"]["path"] == path
    assert what(made, "data_dir") == [(f"owner of {path}", "0:0", "110:110")]
    for command in fix(made, "data_dir")["commands"]:
        assert "$(id)" not in command or "'/srv/redis/$(id)'" in command


@pytest.mark.parametrize(
    ("pattern", "path", "applied"),
    [
        ("/srv/redis*", "/srv/redis-6379/data", True),
        ("/srv/redis", "/srv/redis/data", True),
        ("/srv/redis", "/srv/redis2/data", False),
        ("/srv/*", "/srv/anything", True),
        ("/srv/[a-z]*", "/srv/redis", False),
    ],
)
def test_the_allow_list(pattern: str, path: str, applied: bool) -> None:
    assert ("data_dir" in actions(plan(place(denied(), path), allowed_dirs=[pattern]))) is applied


def test_a_root_directory_of_the_server_does_not_hide_a_place() -> None:
    jailed = of_instance(place(denied(), "/srv/redis"), "data_directory/root", "/etc")
    assert decision(plan(jailed), "data_dir")[0] == "refuse"


@pytest.mark.parametrize("name", ["authorized_keys", "root", "x.so", "shell.php"])
def test_a_hijacked_name_is_enough(name: str) -> None:
    document = of_instance(denied(), "redis/config/dbfilename", name)
    made = plan(document, check_mode=True, opt_in=["verify"])
    assert decision(made, "data_dir")[0] == "refuse"
    assert decision(made, "verify")[0] == "refuse"
    assert actions(made) == []


def test_what_nobody_can_tell_counts_as_hijacked() -> None:
    document = of_instance(denied(), "redis/config/dbfilename", "root")
    document = of_instance(document, "redis/config_file_settings", None)
    made = plan(document, check_mode=True)
    assert decision(made, "data_dir")[0] == "refuse"
    assert "can't be told" in decision(made, "data_dir")[1]
    assert decision(made, "verify")[0] == "refuse"
    unread = of_instance(of_instance(denied(), "redis/config", {}), "data_directory/path", None)
    assert decision(plan(unread), "data_dir")[0] in ("refuse", "manual")


def test_a_directory_that_another_user_s_server_works_in_is_left_alone() -> None:
    assert "another user" in decision(plan(second(denied(), uid=111)), "data_dir")[1]
    assert decision(plan(second(denied(), uid=111)), "data_dir")[0] == "refuse"


def test_what_two_servers_share_is_changed_once() -> None:
    made = plan(second(denied()), check_mode=True)
    assert actions(made) == ["data_dir", "verify", "verify"]
    assert [fix(made, "data_dir", position)["decision"] for position in (0, 1)] == ["apply", "apply"]


@pytest.mark.parametrize(
    ("view", "said"),
    [
        ({"read_only": True, "super_read_only": True}, "never made writable"),
        ({"read_only": True}, "read-only for the server"),
    ],
)
def test_what_is_read_only_is_left_alone(view: Document, said: str) -> None:
    document = of_instance(denied(), "data_directory/process_view", filesystem(**view))
    assert decision(plan(document), "data_dir")[0] != "apply"
    assert said in decision(plan(document), "data_dir")[1]


def test_storage_with_errors_is_not_written_to() -> None:
    document = change(
        denied(),
        "host/kernel_log/events",
        [
            {
                "time_unix": NOW - 30,
                "event": "io_error",
                "device": "vdb1",
                "detail": "sector 1",
                "text": "I/O error, dev vdb1",
            }
        ],
    )
    made = plan(document, check_mode=True)
    assert decision(made, "data_dir")[0] == "refuse"
    assert "verify" not in actions(made)


@pytest.mark.parametrize(
    ("stage", "errno", "trusted"),
    [
        ("write_failed", "EIO", False),
        ("open_failed", "ESTALE", False),
        ("open_failed", "EIO", False),
        ("rename_failed", "EIO", False),
        ("rename_failed", "ENODEV", False),
        ("dir_fsync_failed", "EIO", False),
        ("dir_fsync_failed", "EINVAL", True),
        ("rename_failed", "EXDEV", True),
        ("write_failed", "ENOSPC", True),
    ],
)
def test_storage_is_trusted_by_what_the_outcome_says_of_it(stage: str, errno: str, trusted: bool) -> None:
    """Whatever the cause is called: no save is tried again, unasked, on storage that may lose it."""
    document = on_host(failing(failed_child(child_line(stage, errno=errno, errno_text="Error", file="temp"))))
    said = [fix["reason"] for fix in plan(document)["instances"][0]["plan"] if fix["id"] == "verify"]
    assert said
    assert ("The storage reports errors" in said[0]) is not trusted


def test_a_rule_of_ones_own_can_say_that_storage_is_not_trusted() -> None:
    document = on_host(failing(failed_child(child_line("write_failed", errno="ENOSPC", errno_text="x", file="temp"))))
    rules = load_rules(None, [{"id": "disk_full", "storage_untrusted": True}])
    made = build_plan(document, diagnose(document, rules), rules, policy(), False)
    assert "The storage reports errors" in decision(made, "verify")[1]
    assert "The storage reports errors" not in decision(plan(document), "verify")[1]


@pytest.mark.parametrize("device", ["sdq", "nvme7n1"])
def test_errors_of_another_disk_say_nothing_of_this_one(device: str) -> None:
    event = {"time_unix": NOW - 30, "event": "io_error", "device": device, "detail": "x", "text": f"dev {device}"}
    document = change(denied(), "host/kernel_log/events", [event])
    assert decision(plan(document), "data_dir")[0] == "apply"


@pytest.mark.parametrize(
    "lost",
    [
        "process/pid",
        "process/uid",
        "process/gid",
        "data_directory/path",
        "data_directory/owner",
        "data_directory/process_view",
        "data_directory/deleted",
    ],
)
def test_what_is_not_known_is_not_guessed(lost: str) -> None:
    made = plan(of_instance(denied(), lost, None), check_mode=True)
    assert "data_dir" not in actions(made)
    assert not has(made, "data_dir") or decision(made, "data_dir")[0] in ("manual", "refuse")


# Privilege -----------------------------------------------------------------------------------------------------------

USERS, FILES, TRUST = "data_directory/users", "data_directory/foreign_files", "process/trust"
STRANGER = {"trusted": False, "by": None, "why": "it was started by sh of uid 4242"}


def user(uid: int, is_server: bool = False, **more: t.Any) -> Document:
    return {"pid": 77, "uid": uid, "command": "somebody", "is_server": is_server, "how": "cwd", "below": False, **more}


def users(*processes: Document, complete: bool | None = True) -> Document:
    return {"complete": complete, "processes": list(processes)}


@pytest.mark.parametrize(
    ("lost", "value", "says", "accepts"),
    [
        (TRUST, STRANGER, "started by sh of uid 4242", "untrusted_server"),
        (TRUST, {"trusted": None, "by": None, "why": "its program can't be read"}, "is not known", "untrusted_server"),
        (TRUST, None, "is not known", "untrusted_server"),
        (USERS, None, "Who else uses the directory is not known", "shared_directory"),
        (USERS, users(complete=None), "run as root of the host (become) to know", "shared_directory"),
        (USERS, users(complete=False), "not every process was looked at", "shared_directory"),
        (USERS, users(user(4242)), "somebody (pid 77, uid 4242)", "shared_directory"),
        (USERS, users(user(110, is_server=True)), "Other processes use the directory", "shared_directory"),
        (FILES, None, "Whose files lie in the directory is not known", "foreign_files"),
        (
            FILES,
            {"complete": True, "count": 1, "examples": [{"name": "ibdata1", "uid": 999}]},
            "ibdata1 (uid 999)",
            "foreign_files",
        ),
    ],
)
def test_what_is_not_the_servers_own_alone_must_be_asked_for(lost: str, value: t.Any, says: str, accepts: str) -> None:
    document = of_instance(denied(), lost, value)
    assert decision(plan(document), "data_dir")[0] == "opt_in"
    assert says in decision(plan(document), "data_dir")[1]
    asked = plan(document, opt_in=["data_dir"])
    assert action(asked, "data_dir")["arguments"]["accept"] == [accepts]


@pytest.mark.parametrize("other", [user(0), user(110), user(0, how="open_file")])
def test_root_and_the_servers_own_user_may_stand_in_the_directory(other: Document) -> None:
    assert decision(plan(of_instance(denied(), USERS, users(other))), "data_dir")[0] == "apply"


@pytest.mark.parametrize("where", [{}, {"below": True}, {"how": "open_file", "below": True}])
def test_a_directory_is_taken_from_no_running_server(where: Document) -> None:
    document = of_instance(denied(), USERS, users(user(4242, is_server=True, **where)))
    for policy in ({}, {"opt_in": ["data_dir"]}):
        assert decision(plan(document, **policy), "data_dir")[0] == "refuse"


def test_a_directory_that_was_set_at_run_time_must_be_asked_for() -> None:
    document = of_instance(denied(), "redis/config_file_settings/dir", "/var/lib/redis")
    assert "set at run time" in decision(plan(document), "data_dir")[1]
    assert decision(plan(document), "data_dir")[0] == "opt_in"


def test_the_servers_own_user_needs_no_leave() -> None:
    document = of_instance(of_instance(denied({"uid": 110, "mode": "0555"}), TRUST, None), USERS, users(complete=None))
    document = change(document, "host/collector", {"uid": 110, "root": False, "capabilities_effective": []})
    assert decision(plan(document), "data_dir")[0] == "apply"


def test_nobody_else_is_told_that_a_server_of_another_user_works_there() -> None:
    """What could not be read is unknown on both sides, and no sign of another user."""
    document = second(denied())
    for instance in document["instances"]:
        instance["process"]["uid"] = {"real": None, "effective": None}
        instance["data_directory"]["process_view"].update(device=None, inode=None)
        instance["data_directory"]["users"] = users(complete=None)
    document = change(document, "host/collector", {"uid": 1000, "root": False, "capabilities_effective": []})
    assert decision(plan(document), "data_dir")[0] == "opt_in"
    assert "become" in decision(plan(document), "data_dir")[1]


def test_limits_are_raised_unasked_for_a_trusted_server_alone() -> None:
    document = of_instance(out_of_processes(), TRUST, STRANGER)
    assert decision(plan(document), "process_limit")[0] == "opt_in"
    asked = action(plan(document, opt_in=["process_limit"]), "process_limit")["arguments"]
    assert (asked["accept"], asked["drop_in"]) == (["untrusted_server"], None)


def test_no_temp_file_is_removed_outside_of_the_allowed_directories() -> None:
    made = plan(full(temp("temp-5.rdb")), allowed_dirs=["/var/lib/redis"])
    assert decision(made, "orphan_temp_files")[0] == "refuse"


def test_the_temp_files_of_others_are_for_a_person() -> None:
    assert decision(plan(full(temp("temp-5.rdb", uid=4242))), "orphan_temp_files")[0] == "manual"


# An emergency unblock that nobody took back -------------------------------------------------------------------------


def left_unblocked(end: float, watched: bool = False, status: str = "err") -> Document:
    document = denied() if status == "err" else on_host(evidence())
    document = of_instance(document, "redis/config/stop-writes-on-bgsave-error", "no")
    found = {"since_unix": NOW - 900, "deadline_unix": NOW + end, "value_before": "yes", "watched": watched}
    return of_instance(document, "redis/emergency_unblock", found)


def test_what_an_emergency_unblock_has_left_is_put_back_unasked_and_before_the_save() -> None:
    document = left_unblocked(-60)
    made = plan(document, check_mode=True)
    assert decision(made, "stop_writes")[0] == "apply"
    assert "nobody took back" in decision(made, "stop_writes")[1]
    assert "writes stop at once" in decision(made, "stop_writes")[1]
    fixes = actions(made)
    assert fixes.index("stop_writes") < fixes.index("verify")
    (change,) = action(made, "stop_writes")["changes"]
    assert (change["after"], change["reversible"]) == ("yes", False)
    done = {"changed": True, "changes": [{"what": change["what"], "before": "no", "after": "yes"}]}
    assert [told["reversible"] for told in changes_of(action(made, "stop_writes"), done)] == [False]
    risks = {risk["id"]: risk for risk in diagnose(document, RULES)[0]["risks"]}
    said = " ".join(str(quote["value"]) for quote in risks["stop_writes_disabled"]["evidence"])
    assert "an emergency unblock of 2023-11-14 21:58:20 UTC; it was to end at 2023-11-14 22:12:20 UTC" in said


def test_it_is_put_back_where_only_incidents_are_wanted_and_where_no_save_is_due() -> None:
    assert decision(plan(left_unblocked(-60), scope="incident"), "stop_writes")[0] == "apply"
    assert decision(plan(left_unblocked(600, status="ok")), "stop_writes")[0] == "apply"


def test_an_emergency_unblock_whose_end_is_not_over_or_that_is_watched_is_left() -> None:
    made = plan(left_unblocked(600), check_mode=True, skip=["verify"])
    assert decision(made, "stop_writes")[0] == "opt_in"
    assert "run again after its end" in decision(made, "stop_writes")[1]
    assert "stop_writes" not in actions(made)
    watched = plan(left_unblocked(-1, watched=True), check_mode=True, skip=["verify"])
    assert "stop_writes" not in actions(watched)


# data_dir ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("owner", "changes", "arguments"),
    [
        ({}, [("owner", "0:0", "110:110")], {"uid": 110, "gid": 110, "mode": None}),
        ({"gid": 110}, [("owner", "0:110", "110:110")], {"uid": 110, "gid": None, "mode": None}),
        (
            {"mode": "0550"},
            [("owner", "0:0", "110:110"), ("mode", "0550", "0750")],
            {"uid": 110, "gid": 110, "mode": "0750"},
        ),
        ({"uid": 110, "mode": "0555"}, [("mode", "0555", "0755")], {"uid": None, "gid": None, "mode": "0755"}),
        (
            {"uid": 110, "gid": 0, "mode": "2070"},
            [("mode", "2070", "2770")],
            {"uid": None, "gid": None, "mode": "2770"},
        ),
    ],
)
def test_the_least_change_of_owner_and_mode(
    owner: Document, changes: list[tuple[str, str, str]], arguments: Document
) -> None:
    made = plan(denied(owner))
    assert what(made, "data_dir") == [(f"{name} of {DIRECTORY}", before, after) for name, before, after in changes]
    assert action(made, "data_dir")["arguments"] == {
        **PROCESS,
        **PLACE,
        **arguments,
        "allowed_dirs": ["/srv/redis"],
    }


def test_an_acl_that_denies_the_owner_to_be_is_cured_by_ownership() -> None:
    made = plan(denied({"mode": "0775"}, access_acl=True))
    assert what(made, "data_dir") == [(f"owner of {DIRECTORY}", "0:0", "110:110")]


@pytest.mark.parametrize("mode", ["0077", "0557", "0003"])
def test_nothing_is_made_writable_for_everybody(mode: str) -> None:
    made = plan(denied({"uid": 110, "mode": mode}))
    assert decision(made, "data_dir")[0] == "manual"


def test_without_root_only_the_server_s_own_user_changes_a_mode() -> None:
    stranger = change(denied({"uid": 110, "mode": "0555"}), "host/collector", {"uid": 1000, "root": False})
    assert decision(plan(stranger), "data_dir")[0] == "manual"
    itself = change(denied({"uid": 110, "mode": "0555"}), "host/collector", {"uid": 110, "root": False})
    assert actions(plan(itself)) == ["data_dir"]
    assert decision(plan(change(denied(), "host/collector", {"uid": 110, "root": False})), "data_dir")[0] == "manual"


# What lies in the way ------------------------------------------------------------------------------------------------


def orphans(document: Document, *files: Document) -> Document:
    changed = of_instance(document, "data_directory/temp_files", list(files))
    return of_instance(changed, "data_directory/process_view", filesystem(usable_bytes=10 * MIB, free_bytes=10 * MIB))


def temp(name: str, **fields: t.Any) -> Document:
    return {
        "name": name,
        "kind": "rdb_child",
        "pid": 5,
        "size_bytes": 400 * MIB,
        "modified_unix": STARTED - 100,
        "uid": 110,
        "holder": "none",
        "open": False,
        **fields,
    }


def full(*files: Document) -> Document:
    return orphans(
        on_host(
            failing(failed_child(child_line("write_failed", errno="ENOSPC", errno_text="No space left on device")))
        ),
        *files,
    )


def test_orphans_are_removed_by_name_and_the_save_is_foreseen() -> None:
    made = plan(
        full(
            temp("temp-5.rdb"),
            temp("temp-6.rdb", holder="live_child", open=True),
            temp("temp-7.rdb", holder="unknown", open=None),
            temp("temp-8.rdb", open=None),
            temp("temp-9.rdb", uid=4242),
            temp("temp-10.rdb", uid=0),
        ),
        check_mode=True,
    )
    assert actions(made) == ["orphan_temp_files", "verify"]
    assert action(made, "orphan_temp_files")["arguments"] == {
        **PROCESS,
        **PLACE,
        "names": ["temp-5.rdb"],
        "allowed_dirs": ["/srv/redis"],
    }
    assert action(made, "orphan_temp_files")["changes"] == [
        {
            "what": f"temporary file {DIRECTORY}/temp-5.rdb",
            "before": 400 * MIB,
            "after": None,
            "reversible": False,
        }
    ]


def test_no_save_where_the_orphans_free_too_little() -> None:
    made = plan(full(temp("temp-5.rdb", size_bytes=MIB)), check_mode=True)
    assert actions(made) == ["orphan_temp_files"]


def test_nothing_is_removed_from_a_hijacked_directory() -> None:
    made = plan(place(full(temp("temp-5.rdb")), "/etc/cron.d"), check_mode=True)
    assert "orphan_temp_files" not in actions(made)


def immutable_directory(**attributes: t.Any) -> Document:
    document = on_host(
        failing(failed_child(child_line("open_failed", errno="EPERM", errno_text="Operation not permitted")))
    )
    return of_instance(document, "data_directory/attributes", {"immutable": True, "append_only": False, **attributes})


def test_attributes_go_only_where_that_is_asked_for() -> None:
    assert decision(plan(immutable_directory()), "immutable")[0] == "opt_in"
    made = plan(immutable_directory(append_only=True), check_mode=True, opt_in=["immutable"])
    assert actions(made) == ["immutable", "verify"]
    assert action(made, "immutable")["arguments"] == {
        **PROCESS,
        **PLACE,
        "attributes_remove": ["i", "a"],
        "dump_name": None,
        "dump_attributes_remove": [],
        "allowed_dirs": ["/srv/redis"],
    }
    assert what(made, "immutable") == [(f"attributes of {DIRECTORY}", "ia", "")]


def test_an_attribute_takes_the_capability() -> None:
    document = change(immutable_directory(), "host/collector/capabilities_effective", ["CAP_CHOWN"])
    assert decision(plan(document, opt_in=["immutable"]), "immutable")[0] == "manual"


def blocked_destination(**dump: t.Any) -> Document:
    document = on_host(failing(failed_child(child_line("rename_failed", errno="EISDIR", errno_text="Is a directory"))))
    document["instances"][0]["data_directory"]["dump"].update(
        {"type": "directory", "directory_empty": True, "is_mount_point": False, **dump}
    )
    return document


def test_an_empty_directory_in_the_way_is_removed() -> None:
    made = plan(blocked_destination(), check_mode=True, opt_in=["destination"])
    assert actions(made) == ["destination", "verify"]
    assert what(made, "destination") == [(f"directory {DIRECTORY}/dump.rdb", "present", None)]
    assert action(made, "destination")["arguments"]["destination"] == "absent"


@pytest.mark.parametrize(
    "dump", [{"directory_empty": False}, {"directory_empty": None}, {"is_mount_point": True}, {"is_mount_point": None}]
)
def test_any_other_stays(dump: Document) -> None:
    made = plan(blocked_destination(**dump), check_mode=True, opt_in=["destination"])
    assert actions(made) == []


# Limits --------------------------------------------------------------------------------------------------------------


def out_of_processes(soft: t.Any = 5, hard: t.Any = 4096) -> Document:
    document = on_host(
        failing(
            [{**child_line("fork_failed", errno="EAGAIN", errno_text="Resource temporarily unavailable"), "role": "M"}]
        )
    )
    return of_instance(document, "process/limits/nproc", {"soft": soft, "hard": hard})


DROP_IN = "/etc/systemd/system/redis.service.d/zz-redisops-process-limit.conf"
DROP_IN_TEXT = "# Written by redisops.persistence\n[Service]\nLimitNPROC=65536\n"


def test_a_process_limit_is_raised_live_and_in_the_unit() -> None:
    made = plan(out_of_processes(), check_mode=True)
    assert actions(made) == ["process_limit", "verify"]
    assert action(made, "process_limit")["arguments"] == {
        **PROCESS,
        "resource": "nproc",
        "value": 65_536,
        "unit": "redis.service",
        "drop_in": {"path": DROP_IN, "content": DROP_IN_TEXT},
        **SERVER,
    }
    assert [(entry["part"], entry["what"], entry["before"]) for entry in fix(made, "process_limit")["changes"]] == [
        ("live", "limit nproc of the process", 5),
        ("drop_in", "directory /etc/systemd/system/redis.service.d", None),
        ("drop_in", f"file {DROP_IN}", None),
    ]


def without_capability(document: Document) -> Document:
    return change(document, "host/collector/capabilities_effective", ["CAP_CHOWN"])


def test_without_the_capability_the_hard_limit_is_the_most() -> None:
    made = plan(without_capability(out_of_processes()))
    assert action(made, "process_limit")["arguments"]["value"] == 4096
    assert fix(made, "process_limit")["commands"][0] == f"prlimit --pid {SERVER_PID} --nproc=4096:"
    # The unit gets what was asked for: systemd may raise it at the next start.
    assert action(made, "process_limit")["arguments"]["drop_in"]["content"] == DROP_IN_TEXT


def test_a_hard_limit_that_is_reached_is_told() -> None:
    made = plan(without_capability(out_of_processes(5, 5)))
    assert decision(made, "process_limit")[0] == "refuse"
    assert "CAP_SYS_RESOURCE" in decision(made, "process_limit")[1]
    too_low = plan(out_of_processes(), process_limit=3)
    assert decision(too_low, "process_limit")[0] == "manual"
    assert "remediate_process_limit" in decision(too_low, "process_limit")[1]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("source", "files"),
        ("unit", None),
        ("unit", "session-1.scope"),
        ("unit", "user@1000.service"),
        ("unit", "../../../etc/cron.d/x.service"),
        ("unit", "a b.service"),
        ("unit", "x\n.service"),
        ("unit_file_state", "transient"),
    ],
)
def test_no_drop_in_where_no_service_of_the_host_is_known(key: str, value: t.Any) -> None:
    made = plan(of_instance(out_of_processes(), f"systemd/{key}", value))
    assert action(made, "process_limit")["arguments"]["drop_in"] is None
    assert action(made, "process_limit")["arguments"]["unit"] is None
    assert "a restart of the server loses it" in decision(made, "process_limit")[1]


def test_no_drop_in_for_a_container() -> None:
    made = plan(of_instance(out_of_processes(), "container", {"runtime": "docker", "collector_inside": False}))
    assert action(made, "process_limit")["arguments"]["drop_in"] is None


def test_a_drop_in_that_is_read_later_is_named() -> None:
    document = of_instance(
        out_of_processes(), "systemd/drop_in_paths", ["/etc/systemd/system/redis.service.d/zzz-limits.conf"]
    )
    made = plan(document)
    assert "zzz-limits.conf: it is read after the drop-in" in decision(made, "process_limit")[1]
    assert not [entry for entry in what(made, "process_limit") if entry[0].startswith("directory")]


@pytest.mark.parametrize(
    ("hard", "capable", "value"),
    [("unlimited", True, "unlimited"), ("unlimited", False, "unlimited"), (GIB, True, "unlimited"), (GIB, False, GIB)],
)
def test_the_limit_on_the_size_of_a_file(hard: t.Any, capable: bool, value: t.Any) -> None:
    document = on_host(failing(signalled_child(25)))
    document = of_instance(document, "process/limits/fsize", {"soft": MIB, "hard": hard})
    made = plan(document if capable else without_capability(document), check_mode=True)
    assert action(made, "file_size_limit")["arguments"]["value"] == value
    assert "LimitFSIZE=infinity" in action(made, "file_size_limit")["arguments"]["drop_in"]["content"]


def test_a_hard_limit_below_the_next_dump_is_no_cure() -> None:
    document = of_instance(
        on_host(failing(signalled_child(25))), "process/limits/fsize", {"soft": MIB, "hard": 10 * MIB}
    )
    assert decision(plan(without_capability(document)), "file_size_limit")[0] == "refuse"


def out_of_pids(path: str = "/system.slice/redis.service") -> Document:
    document = on_host(
        failing(
            [{**child_line("fork_failed", errno="EAGAIN", errno_text="Resource temporarily unavailable"), "role": "M"}]
        )
    )
    return of_instance(document, "cgroups/pids", [{"path": path, "limit": 6, "current": 6, "max_event_count": 3}])


def test_a_group_gets_more_processes_where_a_value_is_given() -> None:
    assert decision(plan(out_of_pids()), "pids_limit")[0] == "opt_in"
    made = plan(out_of_pids(), check_mode=True, opt_in=["pids_limit"], pids_limit=100)
    assert actions(made) == ["pids_limit", "verify"]
    group = action(made, "pids_limit")
    assert group["arguments"]["controller"] == "pids"
    assert group["arguments"]["path"] == "/system.slice/redis.service"
    assert group["arguments"]["value"] == 100
    assert group["arguments"]["drop_in"]["content"].endswith("TasksMax=100\n")
    assert group["changes"][0]["what"] == "pids limit of the control group /system.slice/redis.service"


def test_a_group_above_the_unit_is_no_setting_of_the_unit() -> None:
    made = plan(out_of_pids("/system.slice"), opt_in=["pids_limit"], pids_limit=100)
    assert action(made, "pids_limit")["arguments"]["drop_in"] is None


@pytest.mark.parametrize("value", [3, 6])
def test_a_value_that_does_not_help_is_not_set(value: int) -> None:
    made = plan(out_of_pids(), opt_in=["pids_limit"], pids_limit=value)
    assert [entry for entry in what(made, "pids_limit") if entry[0].startswith("pids limit")] == []


def killed(limit: t.Any = 2 * GIB) -> Document:
    document = on_host(failing(signalled_child(9)))
    document["host"]["kernel_log"]["events"] = [oom_kill(CHILD_PID, "cgroup")]
    return of_instance(
        document,
        "cgroups/memory",
        [{"path": "/system.slice/redis.service", "limit_bytes": limit, "usage_bytes": int(1.9 * GIB), "file_bytes": 0}],
    )


def test_rule_4_no_save_that_may_take_the_server_down() -> None:
    for asked in ([], ["verify", "rescue"]):
        made = plan(killed(), check_mode=True, opt_in=asked, rescue_dir="/mnt/rescue")
        assert actions(made) == []
        assert decision(made, "verify")[0] == "refuse"
        assert "would probably take the server down" in decision(made, "verify")[1]


def test_more_memory_for_the_group_lets_the_save_start() -> None:
    made = plan(killed(), check_mode=True, opt_in=["cgroup_memory"], cgroup_memory_bytes="8G")
    assert actions(made) == ["cgroup_memory", "verify"]
    assert what(made, "cgroup_memory")[0] == (
        "memory limit of the control group /system.slice/redis.service",
        2 * GIB,
        8 * GIB,
    )


def test_too_little_more_does_not() -> None:
    made = plan(killed(), check_mode=True, opt_in=["cgroup_memory", "verify"], cgroup_memory_bytes=2 * GIB + MIB)
    assert actions(made) == ["cgroup_memory"]
    lower = plan(killed(), check_mode=True, opt_in=["cgroup_memory"], cgroup_memory_bytes="1G")
    assert decision(lower, "cgroup_memory")[0] == "refuse"


def test_rule_4_holds_behind_another_cause() -> None:
    """The forecast names the first cause that stands; a shortage of memory behind it must not be overlooked."""
    document = killed()
    document["instances"][0]["data_directory"]["process_view"] = filesystem(usable_bytes=MIB, free_bytes=MIB)
    made = plan(document, check_mode=True, opt_in=["verify"])
    assert decision(made, "verify")[0] == "refuse"


# The host ------------------------------------------------------------------------------------------------------------


def test_a_setting_of_the_host_is_changed_once() -> None:
    document = second(
        change(on_host(evidence()), "host/overcommit", {"mode": 0, "boot": {"value": None, "source": None}})
    )
    made = plan(document)
    assert actions(made) == ["overcommit"]
    assert made["actions"][0]["address"] is None
    assert made["actions"][0]["arguments"] == {"name": "vm.overcommit_memory", "value": "1"}
    assert made["actions"][0]["changes"][0] == {
        "what": "sysctl vm.overcommit_memory",
        "before": "0",
        "after": "1",
        "reversible": True,
        "part": "live",
    }
    assert made["actions"][0]["changes"][1]["what"] == "file /etc/sysctl.d/99-zz-redisops-persistence.conf"


@pytest.mark.parametrize(
    ("boot", "written"),
    [
        ({"value": "0", "source": "/etc/sysctl.d/10-a.conf:1"}, True),
        ({"value": "1", "source": "/etc/sysctl.d/10-a.conf:1"}, False),
        ({"value": "0", "source": "/etc/sysctl.d/zzz.conf:1"}, False),
        ({"value": "0", "source": "/etc/rc.local:3"}, False),
        ({"value": "0", "source": "/etc/sysctl.d/10-a.conf:1", "managed_by": "tuned:x"}, False),
    ],
)
def test_what_has_the_say_at_boot(boot: Document, written: bool) -> None:
    made = plan(change(on_host(evidence()), "host/overcommit", {"mode": 0, "boot": boot}))
    assert any(entry[0].startswith("file ") for entry in what(made, "overcommit")) is written


@pytest.mark.parametrize("collector", [{"uid": 1000, "root": False}, {"uid": 0, "root": True, "in_container": True}])
def test_a_setting_of_the_host_takes_root_on_the_host(collector: Document) -> None:
    document = change(change(on_host(evidence()), "host/overcommit/mode", 0), "host/collector", collector)
    assert decision(plan(document), "overcommit")[0] == "manual"


def test_mode_2_is_left_alone_without_opting_in() -> None:
    document = change(on_host(evidence()), "host/overcommit/mode", 2)
    document = change(document, "host/memory/commit_limit_bytes", 100 * GIB)
    assert decision(plan(document), "overcommit")[0] == "opt_in"
    assert actions(plan(document)) == []
    assert actions(plan(document, opt_in=["overcommit"])) == ["overcommit"]


def test_huge_pages() -> None:
    made = plan(change(on_host(evidence()), "host/thp/policy", "always"))
    assert actions(made) == ["thp"]
    assert made["actions"][0]["arguments"] == {"name": "transparent_hugepage", "value": "never"}
    assert what(made, "thp")[0] == ("sysfs transparent_hugepage", "always", "never")


# The server's settings -----------------------------------------------------------------------------------------------


def careless(document: Document | None = None) -> Document:
    """Writes go on after a failed save, though the file says nothing of it."""
    return of_instance(
        on_host(evidence()) if document is None else document, "redis/config/stop-writes-on-bgsave-error", "no"
    )


def in_file(document: Document, **settings: str) -> Document:
    changed = copy.deepcopy(document)
    named = {name.replace("_", "-"): value for name, value in settings.items()}
    changed["instances"][0]["redis"]["config_file_settings"].update(named)
    return changed


TIDY = {"maxmemory": "1gb", "oom_score_adj": "yes", "save": "3600 1 300 100 60 10000"}


def test_writes_are_refused_after_a_failed_save_and_the_file_keeps_it() -> None:
    document = in_file(careless(), **TIDY, stop_writes_on_bgsave_error="no")
    made = plan(document, check_mode=True)
    assert actions(made) == ["stop_writes", "rewrite_config"]
    assert made["actions"][0]["arguments"] == {"parameters": {"stop-writes-on-bgsave-error": "yes"}}
    assert made["actions"][1]["arguments"] == {
        "parameters": {},
        "rewrite": "if_only_drift",
        "own_parameters": ["stop-writes-on-bgsave-error"],
        "assumed": {"stop-writes-on-bgsave-error": "yes"},
        "expected_in_file": {"stop-writes-on-bgsave-error": "no"},
    }
    assert actions(plan(document)) == ["stop_writes"]


@pytest.mark.parametrize(
    ("document", "said"),
    [
        (in_file(careless(), maxmemory="2gb", oom_score_adj="yes"), "maxmemory"),
        (careless(), "stop-writes-on-bgsave-error"),
        (of_instance(careless(), "redis/config_file_settings", None), "is not known"),
    ],
)
def test_the_file_is_not_rewritten_where_more_differs(document: Document, said: str) -> None:
    made = plan(document, check_mode=True)
    if said == "stop-writes-on-bgsave-error":
        made = plan(of_instance(document, "redis/config/maxmemory-policy", "allkeys-lru"), check_mode=True)
        said = "maxmemory"
    assert actions(made) == ["stop_writes"]
    assert decision(made, "rewrite_config")[0] == "opt_in"
    assert said in decision(made, "rewrite_config")[1]
    asked = plan(document, check_mode=True, opt_in=["rewrite_config"])
    assert action(asked, "rewrite_config")["arguments"]["rewrite"] == "yes"


def test_a_hijacked_server_s_file_is_never_rewritten() -> None:
    made = plan(place(in_file(careless(), **TIDY), "/etc/cron.d"), check_mode=True, opt_in=["rewrite_config"])
    assert decision(made, "rewrite_config")[0] == "refuse"


@pytest.mark.parametrize("directory", ["", "(unreachable)/data"])
def test_a_file_is_never_rewritten_without_its_directory(directory: str) -> None:
    """Deleted or unmounted: the server would take the dir line out."""
    document = of_instance(in_file(careless(), **TIDY, dir="/srv/redis"), "redis/config/dir", directory)
    made = plan(document, check_mode=True, opt_in=["rewrite_config"])
    assert "rewrite_config" not in actions(made)
    assert decision(made, "rewrite_config")[0] == "refuse"


def test_an_edit_of_our_own_parameter_is_somebody_elses() -> None:
    document = in_file(careless(), **{**TIDY, "stop_writes_on_bgsave_error": "no", "oom_score_adj": "absolute"})
    made = plan(of_instance(document, "redis/config/oom-score-adj", "no"), check_mode=True, opt_in=["oom_score"])
    assert decision(made, "rewrite_config")[0] == "opt_in"
    assert "oom-score-adj" in decision(made, "rewrite_config")[1]


def test_a_server_without_a_file_is_told() -> None:
    made = plan(of_instance(in_file(careless(), **TIDY), "redis/config_file", ""), check_mode=True)
    assert decision(made, "rewrite_config")[0] == "refuse"


def test_while_the_last_save_has_failed_writes_are_refused_only_after_one_that_succeeds() -> None:
    document = in_file(careless(denied()), **TIDY, stop_writes_on_bgsave_error="no")
    made = plan(document, check_mode=True)
    assert actions(made) == ["data_dir", "verify", "stop_writes", "rewrite_config"]
    no_cure = plan(document, check_mode=True, skip=["data_dir"])
    assert actions(no_cure) == []
    assert decision(no_cure, "stop_writes")[0] == "opt_in"
    assert "stop_writes" in actions(plan(document, check_mode=True, skip=["data_dir"], opt_in=["stop_writes"]))


def test_maxmemory_never_costs_keys() -> None:
    document = on_host(evidence())
    assert actions(plan(document, opt_in=["maxmemory"], maxmemory="4gb")) == ["maxmemory"]
    assert what(plan(document, opt_in=["maxmemory"], maxmemory="4gb"), "maxmemory") == [
        ("config maxmemory", "1073741824", str(4 * GIB))
    ]
    assert decision(plan(document, opt_in=["maxmemory"], maxmemory="512mb"), "maxmemory")[0] == "refuse"
    assert actions(plan(document, opt_in=["maxmemory"], maxmemory="512mb")) == []


def test_save_points_that_are_the_same_are_left() -> None:
    document = on_host(evidence())
    same = plan(document, opt_in=["save_points"], save_points="3600 1 300 100 60 10000")
    assert actions(same) == [] and not has(same, "save_points")
    made = plan(document, opt_in=["save_points"], save_points="900 1")
    assert what(made, "save_points") == [("config save", "3600 1 300 100 60 10000", "900 1")]


def test_the_child_is_to_die_first() -> None:
    document = of_instance(on_host(evidence()), "redis/config/oom-score-adj", "no")
    assert actions(plan(document)) == []
    made = plan(document, opt_in=["oom_score"])
    assert what(made, "oom_score") == [("config oom-score-adj", "no", "yes")]
    for spelled in ("yes", "relative", "absolute"):
        kept = of_instance(document, "redis/config/oom-score-adj", spelled)
        assert actions(plan(kept, opt_in=["oom_score"])) == []


def test_settings_that_can_not_be_read_are_not_set() -> None:
    document = of_instance(on_host(evidence()), "redis/config", {})
    made = plan(document, opt_in=["oom_score", "maxmemory"], maxmemory="4gb")
    assert actions(made) == []


# A hijacked directory ------------------------------------------------------------------------------------------------


def hijacked(**config: str) -> Document:
    document = of_instance(denied(), "redis/config/dir", "/etc/cron.d")
    document = of_instance(document, "data_directory/path", "/etc/cron.d")
    document["instances"][0]["redis"]["config"].update(
        {name.replace("_", "-"): value for name, value in config.items()}
    )
    return document


def test_the_directory_of_the_file_is_restored_where_the_server_lets_it() -> None:
    assert decision(plan(hijacked(), opt_in=["restore_dir"]), "restore_dir")[0] == "manual"
    free = hijacked(enable_protected_configs="yes", dbfilename="root")
    assert decision(plan(free), "restore_dir")[0] == "opt_in"
    made = plan(free, check_mode=True, opt_in=["restore_dir"])
    assert what(made, "restore_dir") == [
        ("config dir", "/etc/cron.d", DIRECTORY),
        ("config dbfilename", "root", "dump.rdb"),
    ]
    assert action(made, "restore_dir")["arguments"] == {"parameters": {"dir": DIRECTORY, "dbfilename": "dump.rdb"}}
    assert "data_dir" not in actions(made)


@pytest.mark.parametrize(
    ("address", "allowed", "possible"),
    [
        ("127.0.0.1:6379", "local", True),
        ("unix:/run/redis.sock", "local", True),
        ("10.0.0.5:6379", "local", False),
        ("[::1]:6379", "local", True),
        ("10.0.0.5:6379", "yes", True),
        ("127.0.0.1:6379", "no", False),
    ],
)
def test_who_may_set_dir(address: str, allowed: str, possible: bool) -> None:
    document = of_instance(hijacked(enable_protected_configs=allowed), "address", address)
    assert ("restore_dir" in actions(plan(document, opt_in=["restore_dir"]))) is possible


@pytest.mark.parametrize("written", [{"dir": "/var/spool/cron"}, {"dbfilename": "authorized_keys"}])
def test_a_file_that_names_the_intruder_s_place_restores_nothing(written: Document) -> None:
    document = hijacked(enable_protected_configs="yes")
    document["instances"][0]["redis"]["config_file_settings"].update(written)
    assert decision(plan(document, opt_in=["restore_dir"]), "restore_dir")[0] == "refuse"


def test_a_place_that_another_server_writes_to_is_not_restored() -> None:
    document = hijacked(enable_protected_configs="yes")
    other = copy.deepcopy(on_host(evidence())["instances"][0])
    other["address"] = "127.0.0.1:6380"
    document["instances"].append(other)
    assert decision(plan(document, opt_in=["restore_dir"]), "restore_dir")[0] == "refuse"


# Blocked writes, copies, restarts ------------------------------------------------------------------------------------


def test_writes_are_let_through_first_of_all() -> None:
    made = plan(denied(), opt_in=["emergency_unblock", "rescue"], rescue_dir="/mnt/rescue", emergency_seconds=60)
    assert actions(made) == ["emergency_unblock", "rescue", "data_dir"]
    assert made["actions"][0]["arguments"] == {"seconds": 60}
    assert made["actions"][0]["changes"] == [
        {"what": "config stop-writes-on-bgsave-error", "before": "yes", "after": "no", "reversible": True}
    ]
    assert made["actions"][1]["arguments"] == {"directory": "/mnt/rescue", "control_directory": None}


def test_writes_that_are_not_blocked_are_not_unblocked() -> None:
    made = plan(careless(denied()), opt_in=["emergency_unblock"])
    assert decision(made, "emergency_unblock")[0] == "refuse"
    assert actions(plan(on_host(evidence()), opt_in=["emergency_unblock", "rescue"], rescue_dir="/r")) == []
    aof = of_instance(on_host(evidence()), "redis/info/aof_enabled", 1)
    aof = of_instance(aof, "redis/info/aof_last_write_status", "err")
    assert actions(plan(aof, opt_in=["emergency_unblock"])) == []


def test_what_is_lent_is_not_made_permanent() -> None:
    document = in_file(careless(denied()), **TIDY, stop_writes_on_bgsave_error="no")
    document = of_instance(document, "redis/config/stop-writes-on-bgsave-error", "yes")
    made = plan(document, check_mode=True, opt_in=["emergency_unblock", "maxmemory", "rewrite_config"], maxmemory="4gb")
    assert "emergency_unblock" in actions(made)
    assert not {"stop_writes", "rewrite_config"} & set(actions(made))


def test_no_copy_into_the_directory_that_fails() -> None:
    for directory in (DIRECTORY, f"{DIRECTORY}/rescue"):
        made = plan(denied(), opt_in=["rescue"], rescue_dir=directory)
        assert decision(made, "rescue")[0] == "refuse"


def test_no_copy_without_a_fork() -> None:
    made = plan(out_of_processes(), opt_in=["rescue"], rescue_dir="/mnt/rescue", skip=["process_limit"])
    assert decision(made, "rescue")[0] == "manual"


def deleted(**config: str) -> Document:
    document = on_host(
        failing(failed_child(child_line("open_failed", errno="ENOENT", errno_text="No such file or directory")))
    )
    found = document["instances"][0]["data_directory"]
    found.update({"deleted": True, "same_directory": False, "host_view": None, "lookup_view": None})
    found["dump"].update({"exists": False, "type": None})
    running = document["instances"][0]["redis"]["config"]
    running.update({"dir": "", **{name.replace("_", "-"): value for name, value in config.items()}})
    return document


RECREATE = ["recreate_dir"]


def test_a_deleted_directory_is_made_again_and_stepped_into() -> None:
    document = deleted(enable_protected_configs="local")
    assert decision(plan(document), "recreate_dir")[0] == "opt_in"
    made = plan(document, check_mode=True, opt_in=RECREATE)
    assert actions(made) == ["recreate_dir", "verify"]
    assert action(made, "recreate_dir")["arguments"] == {
        **PROCESS,
        "path": DIRECTORY,
        "uid": 110,
        "gid": 110,
        "mode": "0750",
        "unit": None,
        "rescue_directory": None,
        "dump_name": "dump.rdb",
        "without_restart": True,
        "allowed_dirs": ["/srv/redis"],
        **SERVER,
    }
    assert what(made, "recreate_dir") == [(f"directory {DIRECTORY}", None, "present"), ("config dir", "", DIRECTORY)]


def test_with_a_restart_a_copy_comes_before() -> None:
    no_place = plan(deleted(), opt_in=RECREATE)
    assert decision(no_place, "recreate_dir")[0] == "opt_in"
    assert "remediate_rescue_dir" in decision(no_place, "recreate_dir")[1]
    made = plan(deleted(), check_mode=True, opt_in=RECREATE, rescue_dir="/mnt/rescue")
    assert actions(made) == ["recreate_dir", "verify"]
    assert [(entry["part"], entry["what"]) for entry in action(made, "recreate_dir")["changes"]] == [
        ("rescue", "rescue file in /mnt/rescue"),
        ("directory", f"directory {DIRECTORY}"),
        ("restart", f"dump {DIRECTORY}/dump.rdb"),
        ("restart", "service redis.service"),
    ]
    assert action(made, "recreate_dir")["arguments"]["without_restart"] is False
    # One copy is enough, unless it is to be brought to the control node.
    twice = plan(deleted(), opt_in=[*RECREATE, "rescue"], rescue_dir="/mnt/rescue")
    assert actions(twice) == ["recreate_dir"]
    fetched = plan(deleted(), opt_in=[*RECREATE, "rescue"], rescue_dir="/mnt/rescue", rescue_control_dir="/srv/copies")
    assert actions(fetched) == ["rescue", "recreate_dir"]
    assert fetched["actions"][1]["changes"][0]["part"] == "rescue"


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("redis/info/aof_enabled", 1, "AOF is on"),
        ("redis/info/aof_enabled", None, "AOF is on is not known"),
        ("systemd/unit", None, "No systemd service"),
        ("systemd/source", "files", "No systemd service"),
        ("process/uid", None, "not known"),
        ("process/pid", None, "not known"),
    ],
)
def test_no_restart_that_could_lose_anything(path: str, value: t.Any, said: str) -> None:
    made = plan(of_instance(deleted(), path, value), opt_in=RECREATE, rescue_dir="/mnt/rescue")
    assert actions(made) == []
    assert said in decision(made, "recreate_dir")[1]


@pytest.mark.parametrize("path", ["/etc/cron.d", "/root/.ssh", "/usr/data", "/elsewhere"])
def test_no_directory_is_made_there(path: str) -> None:
    document = of_instance(deleted(enable_protected_configs="yes"), "data_directory/path", path)
    made = plan(document, opt_in=RECREATE, allowed_dirs=["/etc", "/root", "/usr", "/srv"])
    assert actions(made) == []


def test_a_directory_that_another_server_has_moved_into_is_not_taken() -> None:
    document = deleted(enable_protected_configs="yes")
    other = copy.deepcopy(on_host(evidence())["instances"][0])
    other["address"] = "127.0.0.1:6380"
    document["instances"].append(other)
    assert decision(plan(document, opt_in=RECREATE), "recreate_dir")[0] == "refuse"


def sandboxed() -> Document:
    document = on_host(
        failing(failed_child(child_line("open_failed", errno="EROFS", errno_text="Read-only file system")))
    )
    instance = document["instances"][0]
    instance["data_directory"]["process_view"] = filesystem(read_only=True)
    instance["process"]["namespaces"]["mount"] = {"inode": 9, "is_host": False}
    instance["systemd"]["sandbox"] = {"ProtectSystem": "strict", "ReadWritePaths": [], "ReadOnlyPaths": []}
    return document


def test_a_sandbox_is_opened_with_a_copy_and_a_restart() -> None:
    made = plan(sandboxed(), check_mode=True, opt_in=["unit_sandbox"], rescue_dir="/mnt/rescue")
    assert actions(made) == ["unit_sandbox", "verify"]
    arguments = action(made, "unit_sandbox")["arguments"]
    assert arguments["drop_in"] == {
        "path": "/etc/systemd/system/redis.service.d/zz-redisops-unit-sandbox.conf",
        "content": f"# Written by redisops.persistence\n[Service]\nReadWritePaths={DIRECTORY}\n",
    }
    assert [entry["what"] for entry in action(made, "unit_sandbox")["changes"]][-2:] == [
        f"dump {DIRECTORY}/dump.rdb",
        "service redis.service",
    ]
    assert decision(plan(sandboxed(), opt_in=["unit_sandbox"]), "unit_sandbox")[0] == "opt_in"


@pytest.mark.parametrize("path", ["/srv/redis/a b", "/srv/redis/%h", "/srv/redis/x\\x20", '/srv/redis/"'])
def test_a_path_that_means_something_else_in_a_unit_is_for_a_person(path: str) -> None:
    made = plan(place(sandboxed(), path), opt_in=["unit_sandbox"], rescue_dir="/mnt/rescue")
    assert decision(made, "unit_sandbox")[0] == "manual"


# The proof -----------------------------------------------------------------------------------------------------------


def verified(before: Document, changed: list[str | None], after: Document | None = None, **options: t.Any) -> list[str]:
    """What follows the fixes of a plan in a real run, on the evidence after them."""
    made = plan(before, **options)
    seen = evidence_after(before, made["actions"]) if after is None else after
    _fixes, later = verification_actions(seen, diagnose(seen, RULES), RULES, policy(**options), changed, made)
    return [entry["fix"] for entry in later]


def test_the_second_look_gives_what_the_check_has_foretold() -> None:
    document = in_file(careless(denied()), **TIDY, stop_writes_on_bgsave_error="no")
    foretold = actions(plan(document, check_mode=True))
    assert actions(plan(document)) + verified(document, [ADDRESS]) == foretold


def test_a_fix_that_did_not_help_is_not_proven() -> None:
    assert verified(denied(), [ADDRESS], after=denied()) == []


def test_what_was_only_a_risk_needs_no_save() -> None:
    document = change(in_file(careless(), **TIDY), "host/overcommit/mode", 0)
    assert "verify" not in verified(document, [ADDRESS, None])
    assert "verify" not in actions(plan(document, check_mode=True))


def test_an_incident_without_a_failed_status_is_proven() -> None:
    """The next save would have failed; nobody has tried it yet."""
    document = of_instance(denied(), "redis/info/rdb_last_bgsave_status", "ok")
    document = of_instance(document, "redis_log/events", [])
    made = plan(document, check_mode=True)
    assert actions(made) == ["data_dir", "verify"]
    assert action(made, "verify")["changes"][0]["before"] == "ok"
    assert verified(document, [ADDRESS]) == ["verify"]
    assert verified(document, []) == []


def test_a_save_that_was_made_already_is_not_made_again() -> None:
    gone = on_host(failing(failed_child(child_line("write_failed", errno="ENOSPC", errno_text="No space"))))
    assert verified(gone, []) == []


def test_without_a_plan_the_callers_word_is_taken() -> None:
    document = on_host(evidence())
    diagnoses = diagnose(document, RULES)
    _fixes, later = verification_actions(document, diagnoses, RULES, policy(), [ADDRESS])
    assert [entry["fix"] for entry in later] == ["verify"]
    assert verification_actions(document, diagnoses, RULES, policy(), []) == ([], [])


def test_a_server_that_shares_its_dump_is_not_saved_unasked() -> None:
    gone = on_host(failing(failed_child(child_line("write_failed", errno="ENOSPC", errno_text="No space"))))
    shared = second(gone)
    shared["instances"][1]["data_directory"]["dump"]["name"] = "dump.rdb"
    shared["instances"][1]["redis"]["config"]["dbfilename"] = "dump.rdb"
    assert actions(plan(shared)) == []
    assert decision(plan(shared), "verify")[0] == "opt_in"


def test_a_server_that_does_not_answer_is_left_alone() -> None:
    document = of_instance(on_host(evidence()), "connection", {"state": "timeout", "client": None, "error": None})
    document = of_instance(document, "redis", None)
    assert (
        actions(plan(document, opt_in=["rescue", "emergency_unblock", "maxmemory"], maxmemory=1, rescue_dir="/r")) == []
    )


@pytest.mark.parametrize(
    ("address", "connection", "is_local"),
    [
        ("127.0.0.1:6379", {"login_host": "127.0.0.1", "login_port": 6379}, True),
        ("[::1]:6380", {"login_host": "::1", "login_port": 6380}, True),
        ("db1.example.com:6379", {"login_host": "db1.example.com", "login_port": 6379}, False),
        ("unix:/run/redis/a b.sock", {"unix_socket": "/run/redis/a b.sock"}, True),
    ],
)
def test_a_server_is_reached_by_its_address(address: str, connection: Document, is_local: bool) -> None:
    assert connection_of(address) == connection
    assert is_local_client(address) is is_local


# What stands against the save that proves a cure ----------------------------------------------------------------------


def with_foreign_dump(document: Document) -> Document:
    """A backup lies in the dump's place, laid there after this server's last save."""
    found = document["instances"][0]["data_directory"]["dump"]
    found.update({"modified_unix": NOW - 60, "changed_unix": NOW - 60})
    found["header"].update({"created_unix": NOW - 61, "keys_at_least": 100_000})
    return document


def test_a_foreign_dump_is_replaced_only_when_asked_for_and_kept_beside() -> None:
    made = plan(with_foreign_dump(denied()), check_mode=True)
    assert actions(made) == ["data_dir"]
    assert decision(made, "verify")[0] == "opt_in"
    assert fix(made, "verify")["objections"] == ["dump_foreign"]
    asked = plan(with_foreign_dump(denied()), check_mode=True, opt_in=["verify"])
    assert action(asked, "verify")["arguments"]["accept"] == ["dump_foreign"]
    assert what(asked, "verify") == [
        (
            f"dump kept beside: {DIRECTORY}/dump.rdb",
            "314572800 bytes, at least 100000 keys, saved 2023-11-14T22:12:19Z",
            "kept beside",
        ),
        ("save", "err", "ok"),
    ]
    assert [change["reversible"] for change in action(asked, "verify")["changes"]] == [True, False]


def test_every_objection_is_in_the_reason() -> None:
    document = with_foreign_dump(denied())
    document["instances"][0]["cgroups"] = None
    document["host"]["memory"] = None
    reason = decision(plan(document), "verify")[1]
    assert "is not what this server saved or loaded" in reason
    assert "Whether there is memory enough for a save is unknown" in reason
    assert action(plan(document, check_mode=True, opt_in=["verify"]), "verify")["arguments"]["accept"] == [
        "dump_foreign",
        "memory_unknown",
    ]


def test_a_server_that_keeps_no_dump_gets_none() -> None:
    for asked in ([], ["verify"]):
        made = plan(of_instance(denied(), "redis/config/save", ""), opt_in=asked)
        assert decision(made, "verify")[0] == "refuse"
        assert "without meaning" in decision(made, "verify")[1]
        assert "no_dump_wanted" in fix(made, "verify")["objections"]


def test_only_a_save_that_is_foreseen_is_announced_as_a_success() -> None:
    unknown = of_instance(denied(), "data_directory/process_view/usable_bytes", None)
    unknown = of_instance(unknown, "data_directory/process_view/available_bytes", None)
    made = plan(
        of_instance(unknown, "data_directory/process_view/free_bytes", None), check_mode=True, opt_in=["verify"]
    )
    assert what(made, "verify")[-1] == ("save", "err", "outcome unknown")


def test_what_lies_in_another_directory_is_seen_by_the_second_look() -> None:
    free = hijacked(enable_protected_configs="yes", dbfilename="root")
    made = plan(free, check_mode=True, opt_in=["restore_dir"])
    assert what(made, "verify") == [("save", "err", "outcome unknown")]
    assert "a second look then decides" in decision(made, "verify")[1]


@pytest.mark.parametrize("can", [True, False, None])
def test_a_user_who_may_not_save_is_told_before_anything_changes(can: bool | None) -> None:
    document = of_instance(denied(), "redis/can_bgsave", can)
    document = of_instance(document, "redis/why_no_bgsave", "ACL SETUSER deploy +bgsave" if can is False else None)
    made = plan(document, check_mode=True)
    assert actions(made) == (["data_dir"] if can is False else ["data_dir", "verify"])
    if can is False:
        assert decision(made, "verify") == ("manual", "ACL SETUSER deploy +bgsave")
