# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""How a module that changes something ends: its result, what to warn of, and why it failed where it did."""

from __future__ import annotations

import typing as t

from ansible_collections.redisops.persistence.plugins.module_utils._changes import Change

if t.TYPE_CHECKING:  # pragma: no cover
    from ansible.module_utils.basic import AnsibleModule


class Outcome(t.NamedTuple):
    """``failure`` is None where all went well; ``result`` tells what was done up to then either way."""

    result: dict[str, t.Any]
    failure: str | None = None
    warnings: tuple[str, ...] = ()


class Refused(Exception):
    """The module must not or can't do what it is asked to; nothing was done."""


LONGEST_WAIT_SECONDS = 86400.0


def check_seconds(parameters: t.Mapping[str, t.Any], *names: str, least: float = 0.001) -> None:
    """Raise Refused where a time is not one that ends within a day (``inf`` and ``nan`` are numbers too)."""
    for name in names:
        if not least <= float(parameters[name]) <= LONGEST_WAIT_SECONDS:
            raise Refused(f"{name} {parameters[name]} must be a number of seconds up to {LONGEST_WAIT_SECONDS:g}.")


def diff_of(header: str, before: t.Any, after: t.Any) -> dict[str, str]:
    """One entry of ``diff``. Null is nothing at all, such as the text of a file that is not there."""
    return {
        "before_header": header,
        "after_header": header,
        "before": _lines(before),
        "after": _lines(after),
    }


def _lines(value: t.Any) -> str:
    if value is None:
        return ""
    text = str(value)
    return text if text.endswith("\n") else f"{text}\n"


def changed_result(changes: list[Change], diff: list[dict[str, str]], **more: t.Any) -> dict[str, t.Any]:
    """What every such module returns."""
    return {"changed": bool(changes), "changes": changes, "diff": diff, **more}


def finish(module: AnsibleModule, outcome: Outcome) -> None:
    """Hand the outcome to Ansible."""
    for warning in outcome.warnings:
        module.warn(warning)
    if outcome.failure is not None:
        module.fail_json(msg=outcome.failure, **outcome.result)
    module.exit_json(**outcome.result)
