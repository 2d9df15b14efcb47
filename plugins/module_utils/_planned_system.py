# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""A machine as it will be once one file is written or removed: what a boot would make of it can be read beforehand."""

from __future__ import annotations

import errno
import os
import posixpath

from ansible_collections.redisops.persistence.plugins.module_utils._system import READ_LIMIT_BYTES, System


class PlannedSystem(System):
    """``system`` with ``text`` at ``path``; with nothing there where ``text`` is None. It runs no commands."""

    def __init__(self, system: System, path: str, text: str | None, executable: bool = False) -> None:
        super().__init__(system.root, system.clock)
        self._planned_path = path
        self._planned_text = text
        self._executable = executable

    def read_bytes(self, path: str, limit_bytes: int = READ_LIMIT_BYTES) -> bytes:
        if path != self._planned_path:
            return super().read_bytes(path, limit_bytes)
        if self._planned_text is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        return self._planned_text.encode("utf-8")[:limit_bytes]

    def list_directory(self, path: str) -> list[str]:
        names = super().list_directory(path)
        directory, planned_name = posixpath.split(self._planned_path)
        if path != directory:
            return names
        others = [name for name in names if name != planned_name]
        return others if self._planned_text is None else sorted([*others, planned_name])

    def read_link(self, path: str) -> str:
        if path == self._planned_path:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), path)
        return super().read_link(path)

    def exists(self, path: str) -> bool:
        if path == self._planned_path:
            return self._planned_text is not None
        return super().exists(path)

    def is_executable(self, path: str) -> bool:
        if path == self._planned_path:
            return self._planned_text is not None and self._executable
        return super().is_executable(path)
