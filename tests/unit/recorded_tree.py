# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Recorded machines as directories that a :class:`System` can have for its root."""

from __future__ import annotations

import json
import typing as t
from pathlib import Path

from ansible_collections.redisops.persistence.plugins.module_utils._system import System

HOSTS = Path(__file__).parent / "fixtures" / "hosts"
NOW_UNIX = 1795382400.0


def write_tree(root: Path, files: dict[str, t.Any]) -> Path:
    """Write files (``{path: text}``) and links (``{path: {"link": target}}``) below ``root``."""
    for path, content in files.items():
        place = root / path.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, dict):
            place.symlink_to(content["link"])
        else:
            place.write_text(content, encoding="utf-8")
    return root


def recorded_system(root: Path, name: str, extra: dict[str, t.Any] | None = None) -> System:
    """A recorded host of the fixtures; ``extra`` replaces or adds files, None as a text takes one away."""
    files = json.loads((HOSTS / f"{name}.json").read_text(encoding="utf-8"))
    files.update(extra or {})
    return made_system(root, {path: content for path, content in files.items() if content is not None})


def made_system(root: Path, files: dict[str, t.Any]) -> System:
    """A machine that has just these files."""
    return System(root=str(write_tree(root, files)), clock=lambda: NOW_UNIX)
