# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""The report of a remediation: one JSON file on the control node, and the fleet in one line.

``report.json``: {schema_version: 1, collection_version, generated_at, check_mode,
hosts: {NAME: {reachable, error, instances: [remediation document, ..]}}, summary: {hosts, servers, cured, improved,
unchanged, refused, failed, still_failing, changes, unreachable, in_trouble}}
"""

from __future__ import annotations

import typing as t

from ansible_collections.redisops.persistence.plugins.plugin_utils import report
from ansible_collections.redisops.persistence.plugins.plugin_utils.fleet import Hosts
from ansible_collections.redisops.persistence.plugins.plugin_utils.outcome import RESULTS, is_still_failing
from ansible_collections.redisops.persistence.plugins.plugin_utils.wording import count


def build(hosts: Hosts, now_unix: float, check_mode: bool = False) -> dict[str, t.Any]:
    """The report document."""
    return report.build(hosts, now_unix, summarise, check_mode=check_mode)


def summarise(hosts: Hosts) -> dict[str, t.Any]:
    """Counts: ``unreachable`` and ``in_trouble`` of hosts, ``changes`` of changes, the others of servers.

    A change that holds for a whole host is in the document of each of its servers, and counts once.
    """
    documents = [document for entry in hosts.values() for document in entry.get("instances") or []]
    results = [document.get("result") for document in documents]
    return {
        "hosts": len(hosts),
        "servers": len(documents),
        **{name: results.count(name) for name in RESULTS},
        "still_failing": sum(map(is_still_failing, documents)),
        "changes": sum(_changes(entry) for entry in hosts.values()),
        "unreachable": sum(not entry.get("reachable") for entry in hosts.values()),
        "in_trouble": sum(bool(entry.get("reachable") and entry.get("error")) for entry in hosts.values()),
    }


def _changes(entry: t.Mapping[str, t.Any]) -> int:
    own = 0
    of_host = set()
    for document in entry.get("instances") or []:
        for change in document.get("changes") or []:
            if change.get("address") is None:
                of_host.add((change.get("fix"), change.get("what")))
            else:
                own += 1
    return own + len(of_host)


def fleet_line(hosts: Hosts, check_mode: bool = False) -> str:
    """The whole fleet in one line."""
    summary = summarise(hosts)
    parts = [f"{summary[name]} {name}" for name in RESULTS]
    if check_mode:
        parts = [f"{count(summary['changes'], 'change')} would be made", f"{summary['refused']} refused"]
        parts += [f"{summary['failed']} failed"] if summary["failed"] else []
    else:
        parts.append(f"{summary['still_failing']} still failing")
        parts.append(f"{count(summary['changes'], 'change')} made")
    if summary["unreachable"]:
        parts.append(f"{count(summary['unreachable'], 'host')} unreachable")
    if summary["in_trouble"]:
        parts.append(f"{count(summary['in_trouble'], 'host')} in trouble")
    begin = "Check mode" if check_mode else "Fleet"
    return f"{begin}: {count(summary['hosts'], 'host')}, {count(summary['servers'], 'server')}: {', '.join(parts)}."
