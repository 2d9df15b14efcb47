# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""What a change is, and what changed things are called: the same words in the plan, in a prediction and in a record."""

from __future__ import annotations

import time
import typing as t

Change = dict[str, t.Any]
"""``{what, before, after, reversible}``."""

SAVE = "save"
"""A BGSAVE: the status before (``err`` or ``ok``), and after it; never reversible."""

OUTCOME_UNKNOWN = "outcome unknown"
"""What a save comes to that nobody can foretell, or whether there is one: never announced as a success."""

KEPT_BESIDE = "kept beside"
"""After: the file has a second name, which the record tells (details.kept_dump.path)."""


def change(what: str, before: t.Any, after: t.Any, reversible: bool = True) -> Change:
    """One thing that differs afterwards. ``reversible``: whether a rollback can put ``before`` back."""
    return {"what": what, "before": before, "after": after, "reversible": reversible}


def sysctl(name: str) -> str:
    """The running value of a kernel setting, as text."""
    return f"sysctl {name}"


def huge_pages() -> str:
    """The running policy: ``always``, ``madvise`` or ``never``."""
    return "sysfs transparent_hugepage"


def file_content(path: str) -> str:
    """A whole file: its text before and after, null where there is none."""
    return f"file {path}"


def owner(path: str) -> str:
    """``uid:gid``."""
    return f"owner of {path}"


def mode(path: str) -> str:
    """``0750``."""
    return f"mode of {path}"


def attributes(path: str) -> str:
    """The attributes immutable and append-only as letters: ``ia``, ``i``, ``a`` or nothing."""
    return f"attributes of {path}"


def directory(path: str) -> str:
    """Whether a directory is there: ``present``, or null."""
    return f"directory {path}"


def temporary_file(path: str) -> str:
    """An orphan: its size in bytes before, null after."""
    return f"temporary file {path}"


def parameter(name: str) -> str:
    """A running parameter of Redis, as CONFIG GET spells its value."""
    return f"config {name}"


def configuration_file(path: str) -> str:
    """CONFIG REWRITE: ``as at the start``, then ``running values``."""
    return f"configuration file {path}"


def process_limit(resource: str) -> str:
    """The soft limit of the running process: a number or ``unlimited``."""
    return f"limit {resource} of the process"


def process_hard_limit(resource: str) -> str:
    """How far the process itself may raise its soft limit: a number or ``unlimited``."""
    return f"hard limit {resource} of the process"


def control_group(controller: str, path: str) -> str:
    """The limit of a control group: a number or ``unlimited``."""
    return f"{controller} limit of the control group {path}"


def rescue_file(directory_path: str) -> str:
    """A checked copy of every key: null before, ``every key`` after."""
    return f"rescue file in {directory_path}"


def service(unit: str) -> str:
    """A restart: ``running``, then ``restarted``."""
    return f"service {unit}"


def dump_in_place(path: str) -> str:
    """The rescued file where the server will load it: ``absent`` or ``kept beside``, then ``rescued file``."""
    return f"dump {path}"


def kept_dump(path: str) -> str:
    """The file that a save would replace: what it is (:func:`dump_text`), then ``kept beside``."""
    return f"dump kept beside: {path}"


def put_back_dump(path: str) -> str:
    """A kept file in the dump's place again: what was there, then what is."""
    return f"dump put back: {path}"


def dump_text(size_bytes: t.Any, keys_at_least: t.Any, saved_unix: t.Any) -> str:
    """``39870 bytes, at least 312 keys, saved 2026-11-25T10:00:00Z``; what is not known is left out."""
    parts = [f"{size_bytes} bytes" if size_bytes is not None else "size unknown"]
    if keys_at_least is not None:
        parts.append(f"at least {keys_at_least} keys")
    if saved_unix is not None:
        parts.append(f"saved {time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime(saved_unix))}")
    return ", ".join(parts)
