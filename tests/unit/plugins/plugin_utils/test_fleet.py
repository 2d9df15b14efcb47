# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Counts over a fleet, and its one line."""

from __future__ import annotations

import pytest
from ansible_collections.redisops.persistence.plugins.plugin_utils import fleet

FAILING = {"status": "err", "state": "failing", "writes_blocked": True, "cause": {"id": "disk_full"}, "risks": []}
HEALTHY = {"status": "ok", "state": "healthy", "writes_blocked": False, "cause": None, "risks": []}
UNKNOWN = {"status": "unknown", "state": "auth_required", "writes_blocked": None, "cause": None, "risks": []}


def host(*instances, reachable=True, error=None):
    return {"reachable": reachable, "error": error, "instances": list(instances)}


def test_everything_is_counted_once():
    hosts = {
        "a": host(FAILING, HEALTHY),
        "b": host(UNKNOWN),
        "c": host(reachable=False, error="no route"),
        "d": host(error="the disk is full"),
    }
    assert fleet.summarise(hosts) == {
        "hosts": 4,
        "servers": 3,
        "failing": 1,
        "writes_blocked": 1,
        "at_risk": 0,
        "unknown": 1,
        "unreachable": 1,
        "in_trouble": 1,
        "states": {"auth_required": 1, "failing": 1, "healthy": 1},
        "causes": {"disk_full": 1},
    }
    assert fleet.fleet_line(hosts) == (
        "Fleet: 4 hosts, 3 servers: 1 failing, 1 with writes blocked, 0 at risk, 1 unknown, 1 host unreachable, "
        "1 host could not be examined."
    )


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"risks": [{"severity": "high"}]}, True),
        ({"risks": [{"severity": "critical"}]}, True),
        ({"risks": [{"severity": "medium"}, {"severity": "low"}]}, False),
        ({"forecast": {"answer": "will_fail"}}, True),
        ({"forecast": {"answer": "unknown"}}, False),
        ({"forecast": None}, False),
    ],
)
def test_at_risk_is_a_severe_risk_or_a_save_that_will_fail(changes, expected):
    assert fleet.is_at_risk({**HEALTHY, **changes}) is expected


def test_a_failing_server_is_not_counted_as_at_risk_too():
    assert not fleet.is_at_risk({**FAILING, "risks": [{"severity": "high"}]})


def test_an_empty_fleet_has_a_line():
    assert fleet.fleet_line({}).startswith("Fleet: 0 hosts, 0 servers: 0 failing")
