# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""Files on the control node: written whole or not at all, readable by their owner alone."""

from __future__ import annotations

import json
import os
import tempfile
import typing as t

FILE_MODE = 0o600
DIRECTORY_MODE = 0o700


class NotReadable(Exception):
    """A file that is not what it was taken for; the text names it and says why."""


def write_json(directory: str, name: str, document: t.Any) -> str:
    """Write ``document`` to ``directory/name`` through a temporary file. Returns the path. Raises OSError."""
    directory = os.path.abspath(os.path.expanduser(directory))
    os.makedirs(directory, mode=DIRECTORY_MODE, exist_ok=True)
    path = os.path.join(directory, name)
    descriptor, temporary = tempfile.mkstemp(prefix=".", suffix=".tmp", dir=directory)  # mkstemp makes it 0600
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as handle:
            os.fchmod(handle.fileno(), FILE_MODE)
            json.dump(document, handle, indent=1, ensure_ascii=True)
            handle.write("\n")
            handle.flush()
            os.fsync(handle.fileno())
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
    return path


def read_json(path: str, kind: str, limit_bytes: int | None = None) -> t.Any:
    """What a JSON file holds. ``kind`` is what it should be, ``an evidence file``. Raises NotReadable."""
    try:
        if limit_bytes is not None and os.path.getsize(path) > limit_bytes:
            raise NotReadable(f"{path}: too large for {kind}")
        with open(path, encoding="utf-8") as handle:
            return json.load(handle)
    except OSError as error:
        raise NotReadable(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise NotReadable(f"{path}: not UTF-8 text, so not {kind}") from None
    except (ValueError, RecursionError) as error:
        raise NotReadable(f"{path}: not JSON, so not {kind} ({error})") from None
