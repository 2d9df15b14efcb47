# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Saved evidence: safe names, and a clear word for every file that is none."""

from __future__ import annotations

import json
import os
import stat

import pytest
from ansible_collections.redisops.persistence.plugins.plugin_utils import evidence_files

EVIDENCE = {"schema_version": 1, "host": {}, "instances": [], "gaps": []}


@pytest.mark.parametrize(
    "host",
    [
        "web-07",
        "10.0.0.1",
        "fe80::1%eth0",
        "../../etc/passwd",
        "..",
        ".",
        ".hidden",
        "a/b",
        "a\\b",
        "a\0b",
        "naïve",
        "a b",
    ],
)
def test_a_name_stays_in_its_directory_and_can_be_read_back(tmp_path, host):
    path = evidence_files.save(str(tmp_path / "evidence"), host, EVIDENCE)
    assert os.path.dirname(os.path.realpath(path)) == str(tmp_path / "evidence")
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == ["evidence"]
    assert evidence_files.load(str(tmp_path / "evidence")) == [(host, EVIDENCE)]
    assert evidence_files.load(path) == [(host, EVIDENCE)]


def test_two_long_names_stay_apart(tmp_path):
    names = {evidence_files.file_name("x" * 400 + end) for end in "ab"}
    assert len(names) == 2
    assert max(map(len, names)) < 255


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"{", "not JSON"),
        (b"\xff\xfe", "not UTF-8"),
        (b"[1]", "it holds a list"),
        (b"{}", "schema_version is None"),
        (b'{"schema_version": 2, "host": {}, "instances": []}', "schema_version is 2"),
        (b'{"schema_version": 1, "instances": []}', "host is missing"),
        (b'{"schema_version": 1, "host": {}, "instances": {}}', "instances is missing or not a list"),
        (b'{"schema_version": 1, "host": {}, "instances": [1]}', "something else than mappings"),
        (b'{"schema_version": 1, "hosts": {}, "summary": {}}', "this is a report"),
        (b"[" * 100000, "not JSON"),
    ],
)
def test_a_file_that_is_no_evidence_is_named(tmp_path, content, words):
    path = tmp_path / "web-07.json"
    path.write_bytes(content)
    with pytest.raises(evidence_files.EvidenceError) as caught:
        evidence_files.load(str(path))
    assert str(caught.value).startswith(f"{path}: ")
    assert words in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(evidence_files.EvidenceError, match=r"gone.json: No such file"):
        evidence_files.load(str(tmp_path / "gone.json"))


def test_a_directory_without_evidence_is_named(tmp_path):
    (tmp_path / "notes.txt").write_text("x", encoding="utf-8")
    with pytest.raises(evidence_files.EvidenceError, match="no evidence file"):
        evidence_files.load(str(tmp_path))


def test_a_directory_is_read_in_order_and_other_files_are_left(tmp_path):
    for name in ("b.json", "a.json", ".half-written.json", "notes.txt"):
        (tmp_path / name).write_text(json.dumps(EVIDENCE), encoding="utf-8")
    assert [name for name, _evidence in evidence_files.load(str(tmp_path))] == ["a", "b"]
