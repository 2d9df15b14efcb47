# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the hosts of a play have found so far."""

from __future__ import annotations

from ansible_collections.redisops.persistence.plugins.plugin_utils import collected

DONE = {
    "diagnose_results": [{"state": "healthy"}],
    "__diagnose_outcome": {"reachable": True, "error": "", "hosts": {}},
}
REGISTERED_ONLY = {"__diagnose_outcome": {"reachable": True, "error": None, "diagnoses": []}}
FAILED = {"__diagnose_outcome": {"failed": True, "msg": "a broken rule"}}
VARIABLES = {"done": DONE, "registered": REGISTERED_ONLY, "failed": FAILED, "new": {}}


def test_only_a_kept_result_counts():
    assert [name for name in VARIABLES if collected.has_outcome(VARIABLES[name])] == ["done"]


def test_a_play_is_complete_when_each_host_is_done_or_gone():
    assert collected.is_complete(["done", "failed"], {"done"}, VARIABLES.__getitem__)
    assert not collected.is_complete(["done", "new"], {"done", "new"}, VARIABLES.__getitem__)
    assert not collected.is_complete(["done", "registered"], {"done", "registered"}, VARIABLES.__getitem__)


def test_the_last_hosts_are_looked_at_first():
    asked = []

    def variables_of(name):
        asked.append(name)
        return VARIABLES[name]

    collected.is_complete(["done", "done", "new"], {"done", "new"}, variables_of)
    assert asked == ["new"]


def test_entries_are_the_reports():
    entries = collected.entries(["done", "new", "failed"], {"done", "new"}, VARIABLES.__getitem__)
    assert entries["done"] == {"reachable": True, "error": None, "instances": [{"state": "healthy"}]}
    assert "new" not in entries
    assert entries["failed"]["instances"] == []
    assert "left the play" in entries["failed"]["error"]


def test_saved_evidence_brings_its_own_hosts():
    hosts = {"web-1": {"reachable": True, "error": None, "instances": []}}
    outcome = {"__diagnose_outcome": {"reachable": True, "error": None, "hosts": hosts}}
    assert collected.entries(["localhost"], {"localhost"}, lambda _name: outcome) == hosts
