# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host in trouble: which words for which message, and nothing secret among them."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from ansible_collections.redisops.persistence.plugins.plugin_utils import host_trouble


@pytest.mark.parametrize(
    ("said", "words", "lacks_temporary_directory"),
    [
        (
            "mkdir: cannot create directory '/root/.ansible': No space left on device",
            "No directory for temporary",
            True,
        ),
        ("FileNotFoundError: [Errno 2] No usable temporary directory found in ['/tmp']", "No directory for temp", True),
        ("mkdir: cannot create directory: Read-only file system", "No directory for temporary files", True),
        ("/bin/sh: 1: /usr/bin/python3: not found", "no usable Python", False),
        ("SyntaxError: invalid syntax", "too old for Ansible", False),
        ("Missing sudo password", "Becoming another user failed", False),
        ("OSError: [Errno 12] Cannot allocate memory", "no memory", False),
        ("root@web: Permission denied (publickey).", "refuses the login", False),
        ("ssh: connect to host web port 22: Connection timed out", "does not answer in time", False),
        ("ssh: Could not resolve hostname web", "name can't be resolved", False),
        ("ssh: connect to host web port 22: Connection refused", "Nothing accepts a login", False),
        ("gibberish", "No connection to the host", False),
    ],
)
def test_what_a_connection_says_is_put_in_plain_words(said, words, lacks_temporary_directory):
    trouble = host_trouble.explain_connection(f"first line\n{said}\n")
    assert words in trouble.text
    assert said in trouble.text
    assert trouble.lacks_temporary_directory is lacks_temporary_directory


@pytest.mark.parametrize(
    ("said", "timed_out"),
    [
        ("ssh: connect to host web port 22: Connection timed out", True),
        ("Connection timed out during banner exchange", True),
        ("ssh: connect to host web port 22: Operation timed out", True),
        ("Timeout (12s) waiting for privilege escalation prompt: ", True),
        ("ssh: connect to host web port 22: Connection refused", False),
        ("mkdir: cannot create directory: Read-only file system", False),
    ],
)
def test_a_host_that_did_not_answer_in_time_is_told_from_one_that_refused(said, timed_out):
    assert host_trouble.explain_connection(said).timed_out is timed_out


def test_the_telling_line_is_quoted_rather_than_the_last():
    trouble = host_trouble.explain_connection("dd: No space left on device\n0 bytes copied, 0.0 kB/s")
    assert "The host said: dd: No space left on device" in trouble.text


def test_an_error_of_core_2_18_and_of_core_2_19_read_alike():
    cause = SimpleNamespace(msg="No usable temporary directory found", chain=None)
    newer = SimpleNamespace(event=SimpleNamespace(msg="Module failed", chain=SimpleNamespace(event=cause)))
    older = {"msg": "MODULE FAILURE", "module_stderr": "Traceback\nNo usable temporary directory found"}
    for result in ({"exception": newer}, older):
        assert host_trouble.explain_module(result).lacks_temporary_directory


def test_an_error_without_any_text_is_told_too():
    assert "The module could not run on the host" in host_trouble.explain_module({}).text


def test_a_secret_is_masked_and_no_part_of_it_is_left():
    text = host_trouble.mask("auth with 'pass word' failed", ["pass", "pass word", ""])
    assert text == "auth with '********' failed"


def test_the_probe_is_bounded_and_each_line_is_there_once():
    assert host_trouble.probe_text("head\n/dev/sda 100%\n/dev/sda 100%\n") == "head\n/dev/sda 100%"
    assert len(host_trouble.probe_text("".join(f"{number}\n" for number in range(10000)))) <= host_trouble.PROBE_LIMIT


def test_a_named_server_that_nobody_saw_has_a_document():
    documents = host_trouble.unseen([{"login_port": 7000}, {"unix_socket": "/run/redis.sock"}], "no route")
    assert [document["instance"]["address"] for document in documents] == ["127.0.0.1:7000", "unix:/run/redis.sock"]
    assert {(document["status"], document["state"]) for document in documents} == {("unknown", "unreachable")}
    assert documents[0]["unknowns"][0]["why"] == "no route"
