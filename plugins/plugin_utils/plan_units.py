# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""The systemd unit of a server: which one it is, and a drop-in that keeps a setting over restarts."""

from __future__ import annotations

import posixpath
import re
import typing as t

from ansible_collections.redisops.persistence.plugins.module_utils import _changes
from ansible_collections.redisops.persistence.plugins.module_utils._systemd_drop_in import MARK, path_of
from ansible_collections.redisops.persistence.plugins.plugin_utils.plan_case import Situation
from ansible_collections.redisops.persistence.plugins.plugin_utils.values import UNLIMITED, mapping, text

# Names of units (systemd.unit(5)); a slash would lead elsewhere.
_SERVICE = re.compile(r"[A-Za-z0-9:_.\\@-]+\.service", re.ASCII)


def unit_of(situation: Situation) -> str | None:
    """The system service of this very host that runs the server, as systemd itself says."""
    systemd = mapping(situation.instance, "systemd")
    unit = text(systemd, "unit")
    if unit is None or not _SERVICE.fullmatch(unit) or unit.startswith("user@"):
        return None
    if systemd.get("source") != "systemctl" or mapping(situation.instance, "container"):
        return None
    return None if text(systemd, "unit_file_state") == "transient" else unit


def part(step: str, what: str, before: t.Any, after: t.Any, reversible: bool = True) -> _changes.Change:
    """A change of one step of a fix that is carried out in several."""
    return {**_changes.change(what, before, after, reversible), "part": step}


def drop_in(
    situation: Situation, unit: str, fix_id: str, setting: str, value: str
) -> tuple[dict[str, str], list[_changes.Change]]:
    """{path, content} of a drop-in with one setting, and what writing it changes."""
    path = path_of(unit, fix_id.replace("_", "-"))
    content = f"{MARK}\n[Service]\n{setting}={value}\n"
    systemd = mapping(situation.instance, "systemd")
    present = [str(name) for name in systemd.get("drop_in_paths") or ()]
    in_force = mapping(systemd, "limits").get(setting)
    if path in present and in_force is not None and str(in_force) == value.replace("infinity", UNLIMITED):
        return {"path": path, "content": content}, []
    changes = []
    parent = posixpath.dirname(path)
    if parent not in {posixpath.dirname(name) for name in present}:
        changes.append(part("drop_in", _changes.directory(parent), None, "present"))
    changes.append(part("drop_in", _changes.file_content(path), None, content))
    return {"path": path, "content": content}, changes


def later_drop_ins(situation: Situation, path: str) -> list[str]:
    """Drop-ins that are read after ours and may set the same thing: systemd sorts them by name, whatever directory."""
    present = [str(name) for name in mapping(situation.instance, "systemd").get("drop_in_paths") or ()]
    return [name for name in present if posixpath.basename(name) > posixpath.basename(path)]
