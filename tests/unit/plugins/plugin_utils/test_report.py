# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report file: its shape, and that it is whole and private."""

from __future__ import annotations

import json
import os
import re
import stat
from pathlib import Path

import pytest
from ansible_collections.redisops.persistence.plugins.plugin_utils import files, report

HOSTS = {
    "web-2": {"reachable": False, "error": "no route", "instances": []},
    "web-1": {"reachable": True, "error": None, "instances": [{"status": "ok", "state": "healthy"}]},
}


def test_the_shape_is_the_documented_one():
    document = report.build(HOSTS, now_unix=0)
    assert list(document) == ["schema_version", "collection_version", "generated_at", "hosts", "summary"]
    assert document["schema_version"] == 1
    assert document["generated_at"] == "1970-01-01T00:00:00Z"
    assert list(document["hosts"]) == ["web-1", "web-2"]
    assert set(document["hosts"]["web-1"]) == {"reachable", "error", "instances"}
    assert document["summary"]["servers"] == 1


def test_the_version_is_the_collections_own():
    galaxy = Path(__file__).resolve().parents[4] / "galaxy.yml"
    expected = re.search(r"^version: (\S+)$", galaxy.read_text(encoding="utf-8"), re.MULTILINE).group(1)
    assert report.build({}, 0)["collection_version"] == expected


def test_the_file_is_private_in_a_private_directory(tmp_path):
    path = report.write(str(tmp_path / "new" / "reports"), report.build(HOSTS, 0))
    assert path == str(tmp_path / "new" / "reports" / "report.json")
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    assert stat.S_IMODE(os.stat(tmp_path / "new" / "reports").st_mode) == 0o700
    assert json.loads(Path(path).read_text(encoding="utf-8"))["hosts"]["web-2"]["error"] == "no route"


def test_an_older_report_becomes_private_when_it_is_replaced(tmp_path):
    (tmp_path / "report.json").write_text("old", encoding="utf-8")
    (tmp_path / "report.json").chmod(0o644)
    report.write(str(tmp_path), report.build(HOSTS, 0))
    assert stat.S_IMODE(os.stat(tmp_path / "report.json").st_mode) == 0o600


def test_a_document_that_can_not_be_written_leaves_the_old_file(tmp_path):
    (tmp_path / "report.json").write_text("old", encoding="utf-8")
    with pytest.raises(TypeError):
        files.write_json(str(tmp_path), "report.json", {"hosts": object()})
    assert [(entry.name, entry.read_text(encoding="utf-8")) for entry in tmp_path.iterdir()] == [("report.json", "old")]
