# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""Changes as Ansible's ``diff`` shows them."""

from __future__ import annotations

import typing as t


def change_diff(header: str, changes: t.Sequence[dict[str, t.Any]]) -> list[dict[str, str]]:
    """One difference with a line for each change (the form of ``_changes``); none where nothing changes."""
    if not changes:
        return []
    return [
        {
            "before_header": header,
            "after_header": header,
            "before": "".join(_line(change["what"], change["before"]) for change in changes),
            "after": "".join(_line(change["what"], change["after"]) for change in changes),
        }
    ]


def _line(what: str, value: t.Any) -> str:
    return f"{what}: {'absent' if value is None else value}\n"
