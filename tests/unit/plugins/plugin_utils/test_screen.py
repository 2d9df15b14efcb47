# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The screen of a server: what the operator must read, in bounds, whatever the document holds."""

from __future__ import annotations

import copy

import pytest
from ansible_collections.redisops.persistence.plugins.plugin_utils import screen

FAILING = {
    "schema_version": 1,
    "instance": {
        "address": "127.0.0.1:6379",
        "server": "redis",
        "version": "7.0.15",
        "role": "master",
        "pid": 4711,
        "uid": 105,
        "unit": "redis-server.service",
        "config_file": "/etc/redis/redis.conf",
        "dir": "/var/lib/redis",
        "dbfilename": "dump.rdb",
    },
    "status": "err",
    "state": "failing",
    "writes_blocked": True,
    "recovery": {"will_retry": False, "reason": "nothing has changed since"},
    "cause": {
        "id": "disk_full",
        "title": "The file system of the data directory is full",
        "summary": "Redis ran out of space. The old dump is untouched.",
        "confidence": "confirmed",
        "still_present": True,
        "evidence": [
            {"source": "Redis log", "name": "line", "value": "No space left on device", "expected": None},
            {"source": "statvfs", "name": "usable_bytes", "value": 2048, "expected": 1073741824},
        ],
    },
    "causes": [],
    "path": [
        {"node": "status_err", "question": "?", "answer": "yes", "evidence": []},
        {"node": "a", "question": "?", "answer": "no", "evidence": []},
        {"node": "b", "question": "?", "answer": "no", "evidence": []},
        {"node": "c", "question": "?", "answer": "no", "evidence": []},
        {"node": "log_readable", "question": "?", "answer": "unknown", "evidence": []},
        {"node": "enospc", "question": "?", "answer": "yes", "evidence": []},
    ],
    "risks": [
        {"id": "thp_host_always", "severity": "medium", "title": "huge pages are on", "evidence": [], "fixes": []},
        {"id": "overcommit_not_1", "severity": "high", "title": "a fork may be refused", "evidence": [], "fixes": []},
    ],
    "forecast": {"answer": "will_fail", "cause": "disk_full", "missing": [], "signals": {}},
    "exposure": {"changes_at_risk": 12345, "seconds_since_last_save": 11520},
    "fixes": [
        {
            "id": "orphan_temp_files",
            "class": "none",
            "decision": "apply",
            "reason": "files of dead children",
            "commands": ["rm -- '/var/lib/redis/temp-1.rdb'"],
        }
    ],
    "unknowns": [{"what": "kernel log", "why": "Permission denied", "remedy": "run as root"}],
}


QUIET = {
    "state": "healthy",
    "status": "ok",
    "cause": None,
    "writes_blocked": False,
    "forecast": {"answer": "will_succeed"},
}


def changed(**changes):
    return {**copy.deepcopy(FAILING), **changes}


def lines_of(document, host="web-07"):
    return screen.render(document, host).split("\n")


@pytest.mark.parametrize(
    "words",
    [
        "web-07  127.0.0.1:6379  redis 7.0.15 master",
        "CAN'T SAVE: The file system of the data directory is full.  [disk_full]",
        "confirmed",
        "Still there  yes",
        "Writes       BLOCKED",
        "12,345 changes not on disk in a snapshot; last good save 3 h 12 min ago",
        "Tries again  NO, it needs a BGSAVE - nothing has changed since",
        "Next save    WILL FAIL (disk_full)",
        "/var/lib/redis/dump.rdb",
        "status_err yes > 3 x no > log_readable unknown > enospc yes",
        "usable_bytes = 2.0 KiB, should be 1.0 GiB",
        "orphan_temp_files (safe to apply) - files of dead children",
        "$ rm -- '/var/lib/redis/temp-1.rdb'",
        "kernel log: Permission denied -> run as root",
    ],
)
def test_a_failing_server_is_told_in_full(words):
    assert words in screen.render(FAILING, "web-07")


def test_the_worst_risk_comes_first():
    text = screen.render(FAILING, "web-07")
    assert text.index("overcommit_not_1") < text.index("thp_host_always")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"writes_blocked": False}, "Writes       accepted"),
        ({"writes_blocked": None}, "Writes       unknown"),
        ({"recovery": {"will_retry": True, "reason": "a save point is met"}}, "yes, by itself - a save point is met"),
        ({"recovery": {"will_retry": None, "reason": None}}, "Tries again  unknown"),
        ({"exposure": {"changes_at_risk": 1, "seconds_since_last_save": None}}, "1 change not on disk"),
        (
            {"forecast": {"answer": "unknown", "missing": ["free memory"]}},
            "Next save    unknown, for lack of free memory",
        ),
        ({"forecast": {"answer": "will_succeed"}}, "Next save    should succeed"),
        ({"cause": {**FAILING["cause"], "still_present": False}}, "THE LAST SAVE FAILED: The file system"),
        ({"cause": {**FAILING["cause"], "still_present": None}}, "unknown - it could not be checked now"),
        ({"cause": {**FAILING["cause"], "confidence": "possible"}}, "possible - it would explain this"),
        (
            {"causes": [FAILING["cause"], {"id": "x", "title": "another", "confidence": "probable"}]},
            "Also         another.  [x, probable]",
        ),
        ({"state": "unreachable", "status": "unknown", "cause": None}, "The server does not answer."),
    ],
)
def test_every_answer_has_its_words(changes, words):
    assert words in screen.render(changed(**changes), "web-07")


def test_a_healthy_server_takes_few_lines():
    document = changed(**QUIET)
    lines = lines_of(document)
    assert len(lines) <= 4
    assert "Saves work." in lines[1]
    assert "overcommit_not_1 (high)" in lines[2]


def test_a_healthy_server_that_refuses_writes_is_not_told_in_brief():
    text = screen.render(changed(**{**QUIET, "writes_blocked": True}), "web-07")
    assert "WRITES ARE REFUSED, though the last save did not fail." in text
    assert "BLOCKED" in text


def test_a_healthy_server_whose_next_save_fails_is_not_told_in_brief():
    forecast = {"answer": "will_fail", "cause": "disk_full"}
    text = screen.render(changed(**{**QUIET, "forecast": forecast}), "web-07")
    assert "THE NEXT SAVE WILL FAIL, though the last one did not." in text
    assert "WILL FAIL (disk_full)" in text
    assert "What to do" in text


def test_the_time_of_the_start_is_not_called_a_save():
    exposure = {"changes_at_risk": 12, "seconds_since_last_save": 90, "since_start": True}
    text = screen.render(changed(**{**QUIET, "exposure": exposure}), "web-07")
    assert "Started 1 min 30 s ago, no save since." in text
    assert "Last save" not in text
    assert "Saves work" not in text
    failing = screen.render(changed(exposure=exposure), "web-07")
    assert "start 1 min 30 s ago, and no save since" in failing
    assert "last good save" not in failing


def test_a_state_shows_what_was_found():
    refused = {"source": "connection", "name": "error", "value": "BUSY running a script", "expected": None}
    fine = {"source": "connection", "name": "state", "value": "ok", "expected": "ok"}
    path = [{"node": "start", "answer": "no", "evidence": [fine, refused]}]
    text = screen.render(changed(state="unreachable", status="unknown", cause=None, path=path), "web-07")
    assert "Evidence     connection: error = BUSY running a script" in text
    assert "state = ok" not in text


def test_foreign_text_does_nothing_to_the_terminal():
    nasty = "\x1b[31mred\r\nsecond line \u202egnp.exe \x07 {{ 1 + 1 }} \x9b2J\u2028"
    document = changed(
        instance={**FAILING["instance"], "dir": nasty, "unit": nasty},
        cause={**FAILING["cause"], "title": nasty, "evidence": [{"source": nasty, "name": nasty, "value": nasty}]},
        fixes=[{"id": nasty, "decision": "manual", "reason": nasty, "commands": [nasty]}],
        risks=[{"id": nasty, "severity": nasty, "title": nasty}],
        unknowns=[{"what": nasty, "why": nasty, "remedy": nasty}],
        path=[{"node": nasty, "answer": "yes"}],
    )
    text = screen.render(document, nasty)
    assert all(character == "\n" or character.isprintable() for character in text)
    assert "\\e[31mred\\r\\nsecond" in text
    assert "{{ 1 + 1 }}" in text
    assert "\\u202e" in text


def test_a_screen_fits_whatever_is_in_it():
    document = changed(
        cause={**FAILING["cause"], "evidence": [{"source": "log", "name": "line", "value": "x y " * 500}] * 50},
        causes=[{"id": f"c{number}", "title": "t " * 40, "confidence": "possible"} for number in range(30)],
        risks=FAILING["risks"] * 50,
        unknowns=FAILING["unknowns"] * 50,
        fixes=FAILING["fixes"] * 20,
        path=[{"node": f"node_{number}", "answer": "yes"} for number in range(12)],
    )
    lines = lines_of(document, host="h" * 300)
    assert max(map(len, lines)) <= 100
    assert len(lines) <= 44
    assert any("more: report.json has them" in line for line in lines)


def test_a_long_command_can_still_be_pasted():
    command = "rm -- " + " ".join(f"'/var/lib/redis/a file {number}.rdb'" for number in range(12))
    document = changed(fixes=[{"id": "x", "decision": "manual", "reason": "", "commands": [command]}])
    lines = lines_of(document)
    first = next(index for index, line in enumerate(lines) if "$ rm" in line)
    pasted = lines[first].split("$ ", 1)[1]
    while pasted.endswith("\\"):
        first += 1
        pasted = pasted[:-1] + lines[first].lstrip()
    assert pasted == command


def fix(name, command):
    return {"id": name, "class": "none", "decision": "apply", "reason": "", "commands": [command]}


def risk(name, *fixes):
    return {"id": name, "severity": "low", "title": name, "evidence": [], "fixes": list(fixes)}


def test_what_lowers_a_risk_alone_is_told_with_the_risk():
    document = changed(
        fixes=[fix("manual", "own"), fix("verify", "BGSAVE"), fix("manual", "moved"), fix("overcommit", "sysctl")],
        risks=[risk("place", "manual"), risk("overcommit_not_1", "overcommit"), risk("again", "overcommit")],
    )
    urgent, by_risk = screen.split_fixes(document)
    assert [entry["commands"] for entry in urgent] == [["own"], ["BGSAVE"]]
    assert {name: entry[0]["commands"] for name, entry in by_risk.items()} == {
        "place": ["moved"],
        "overcommit_not_1": ["sysctl"],
    }
    text = screen.render(document, "web-07")
    assert text.index("$ own") < text.index("[overcommit_not_1]") < text.index("$ sysctl") < text.index("[again]")


def test_a_server_that_is_not_failing_has_fixes_of_its_state_too():
    document = changed(
        state="auth_required",
        cause=None,
        fixes=[fix("manual", "own"), fix("manual", "moved"), fix("overcommit", "sysctl")],
        risks=[risk("place", "manual"), risk("overcommit_not_1", "overcommit")],
    )
    urgent, by_risk = screen.split_fixes(document)
    assert [entry["commands"] for entry in urgent] == [["own"]]
    assert by_risk["place"][0]["commands"] == ["moved"]


def test_the_reason_at_the_end_of_a_long_line_survives():
    line = "1:C 22 Nov 2026 # Error moving " + "x" * 300 + ": Is a directory"
    document = changed(cause={**FAILING["cause"], "evidence": [{"source": "log", "name": "line", "value": line}]})
    assert "Is a directory" in screen.render(document, "web-07")


def test_an_empty_document_is_told_too():
    assert "unknown address" in screen.render({}, "web-07")


def test_a_host_without_servers_says_so():
    assert "No Redis or Valkey server was found here." in screen.render_host({"reachable": True, "instances": []}, "h")


def test_a_host_in_trouble_shows_why_what_it_means_for_and_the_probe():
    entry = {"reachable": True, "error": "The disk is full.", "probe": "a\x1b[2J\nb", "instances": [FAILING]}
    text = screen.render_host(entry, "web-08")
    assert "could not be examined" in text
    assert "The disk is full." in text
    assert "127.0.0.1:6379" in text
    assert "a\\e[2J" in text
    assert "CAN'T SAVE" not in text


def test_an_unreachable_host_is_called_that():
    assert "not reachable" in screen.render_host({"reachable": False, "error": "No route.", "instances": []}, "web-08")
