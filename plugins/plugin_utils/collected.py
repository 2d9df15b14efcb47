# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""What the hosts of a play have found so far, out of their variables.

A role keeps two variables for each host: the list of its documents (``diagnose_results``, ``remediate_results``), and
an outcome ``{reachable, error, hosts}``. They live as long as the run, so nothing stale is met here.
"""

from __future__ import annotations

import typing as t

from ansible_collections.redisops.persistence.plugins.plugin_utils.fleet import HostEntry


class Names(t.NamedTuple):
    """The variables of a role.

    :ivar results: the list of documents.
    :ivar outcome: ``{reachable, error, ..}``.
    :ivar registered: what a result has as long as it is only registered, and not yet kept as the two.
    :ivar done: the word for what a host has gone through.
    """

    results: str
    outcome: str
    registered: str
    done: str


DIAGNOSIS = Names("diagnose_results", "__diagnose_outcome", "diagnoses", "diagnosed")
REMEDIATION = Names("remediate_results", "__remediate_outcome", "remediations", "remediated")
Variables = t.Callable[[str], t.Mapping[str, t.Any]]


class Play(t.NamedTuple):
    """The hosts of a play, by name: all of it, those still in it, and those of the running ``serial`` batch."""

    all_hosts: list[str]
    live_hosts: list[str]
    batch: list[str]


def has_outcome(variables: t.Mapping[str, t.Any], names: Names = DIAGNOSIS) -> bool:
    """Whether this host has gone through it in this run: a result that is only registered so far is none."""
    outcome = variables.get(names.outcome)
    return isinstance(outcome, dict) and "reachable" in outcome and names.registered not in outcome


def is_complete(
    hosts: t.Sequence[str], live: t.Container[str], variables_of: Variables, names: Names = DIAGNOSIS
) -> bool:
    """Whether nothing is missing of ``hosts``: each has gone through it, or has left the play.

    Looks at the last ones first: they are the last to finish, so an early question costs one look.
    """
    return all(has_outcome(variables_of(name), names) for name in reversed(hosts) if name in live)


def entries(
    hosts: t.Iterable[str], live: t.Container[str], variables_of: Variables, names: Names = DIAGNOSIS
) -> dict[str, HostEntry]:
    """The report's host entries. A host that left the play before its turn was over is in it with the reason."""
    found: dict[str, HostEntry] = {}
    for name in hosts:
        variables = variables_of(name)
        if has_outcome(variables, names):
            found.update(_host_entries(name, variables, names))
        elif name not in live:
            found[name] = {
                "reachable": False,
                "error": f"The host left the play before it was {names.done}: see the error above.",
                "instances": [],
            }
    return found


def _host_entries(name: str, variables: t.Mapping[str, t.Any], names: Names) -> dict[str, HostEntry]:
    outcome = variables[names.outcome]
    if outcome.get("hosts"):  # saved evidence, of any number of hosts
        return dict(outcome["hosts"])
    return {
        name: {
            "reachable": bool(outcome.get("reachable")),
            "error": outcome.get("error") or None,  # core 2.18 makes an empty text of null
            "instances": list(variables.get(names.results) or []),
        }
    }
