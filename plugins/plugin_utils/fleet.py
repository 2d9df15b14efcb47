# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""Counts over a fleet, for the report and for its one line at the end of a run.

A *host entry* is what the report holds for a host: ``{reachable: bool, error: str | None, instances: [diagnosis]}``.
"""

from __future__ import annotations

import typing as t

from ansible_collections.redisops.persistence.plugins.plugin_utils.wording import count

HostEntry = dict[str, t.Any]
Hosts = t.Mapping[str, HostEntry]
_SEVERE = frozenset(("critical", "high"))


def is_failing(diagnosis: t.Mapping[str, t.Any]) -> bool:
    """Whether the last save of this server failed."""
    return diagnosis.get("state") == "failing"


def is_unknown(diagnosis: t.Mapping[str, t.Any]) -> bool:
    """Whether nobody can say if this server can save."""
    return diagnosis.get("status") not in ("ok", "err")


def is_at_risk(diagnosis: t.Mapping[str, t.Any]) -> bool:
    """Whether a server that is not failing now has a severe risk, or a next save that will fail."""
    if is_failing(diagnosis) or is_unknown(diagnosis):
        return False
    if (diagnosis.get("forecast") or {}).get("answer") == "will_fail":
        return True
    return any(risk.get("severity") in _SEVERE for risk in diagnosis.get("risks") or [])


def summarise(hosts: Hosts) -> dict[str, t.Any]:
    """``{hosts, servers, failing, writes_blocked, at_risk, unknown, unreachable, states: {id: n}, causes: {id: n}}``.

    ``unreachable`` counts hosts, the others count servers. ``causes`` counts the first cause of each failing server.
    """
    diagnoses = [diagnosis for entry in hosts.values() for diagnosis in entry.get("instances") or []]
    return {
        "hosts": len(hosts),
        "servers": len(diagnoses),
        "failing": sum(map(is_failing, diagnoses)),
        "writes_blocked": sum(diagnosis.get("writes_blocked") is True for diagnosis in diagnoses),
        "at_risk": sum(map(is_at_risk, diagnoses)),
        "unknown": sum(map(is_unknown, diagnoses)),
        "unreachable": sum(not entry.get("reachable") for entry in hosts.values()),
        "in_trouble": sum(bool(entry.get("reachable") and entry.get("error")) for entry in hosts.values()),
        "states": _tally(diagnosis.get("state") for diagnosis in diagnoses),
        "causes": _tally((diagnosis.get("cause") or {}).get("id") for diagnosis in diagnoses),
    }


def _tally(names: t.Iterable[str | None]) -> dict[str, int]:
    tally: dict[str, int] = {}
    for name in names:
        if name:
            tally[str(name)] = tally.get(str(name), 0) + 1
    return dict(sorted(tally.items()))


def fleet_line(hosts: Hosts) -> str:
    """The whole fleet in one line."""
    summary = summarise(hosts)
    parts = [
        f"{summary['failing']} failing",
        f"{summary['writes_blocked']} with writes blocked",
        f"{summary['at_risk']} at risk",
        f"{summary['unknown']} unknown",
        f"{count(summary['unreachable'], 'host')} unreachable",
    ]
    if summary["in_trouble"]:
        parts.append(f"{count(summary['in_trouble'], 'host')} could not be examined")
    return f"Fleet: {count(summary['hosts'], 'host')}, {count(summary['servers'], 'server')}: {', '.join(parts)}."
