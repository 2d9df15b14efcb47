# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""Take values out of an evidence document without trusting its shape.

What isn't there, or is of another type, is null.
"""

from __future__ import annotations

import re
import typing as t
from collections import abc

UNLIMITED = "unlimited"

Mapping = t.Mapping[str, t.Any]

LARGEST_NUMBER = 2.0**64
_INTEGER = re.compile(r"\s*[+-]?\d{1,20}\s*\Z", re.ASCII)
# A dictionary is found at the first look, the rest through the abstract class. typing's own takes ten times as long.
MAPPING_TYPES = (dict, abc.Mapping)


def dig(data: t.Any, *keys: str) -> t.Any:
    """``data[a][b]...``, or null as soon as something on the way isn't a mapping or isn't there."""
    for key in keys:
        if not isinstance(data, MAPPING_TYPES):
            return None
        data = data.get(key)
    return data


def mapping(data: t.Any, *keys: str) -> Mapping:
    """The same, as a mapping; an empty one when there is none."""
    value = dig(data, *keys)
    return value if isinstance(value, MAPPING_TYPES) else {}


def entries(data: t.Any, *keys: str) -> list[Mapping]:
    """The same, as a list of mappings."""
    value = dig(data, *keys)
    return [entry for entry in value if isinstance(entry, MAPPING_TYPES)] if isinstance(value, (list, tuple)) else []


def number(data: t.Any, *keys: str) -> float | None:
    """The same, as a number (texts of digits too: an old client hands some fields over as text)."""
    value = dig(data, *keys)
    if isinstance(value, bool):
        return None
    if isinstance(value, (int, float)):
        # Neither infinity nor what is no number; nothing that is counted or measured here is as large.
        return value if abs(value) < LARGEST_NUMBER else None
    if isinstance(value, str) and _INTEGER.match(value):
        counted = int(value)
        return counted if abs(counted) < LARGEST_NUMBER else None
    return None


def integer(data: t.Any, *keys: str) -> int | None:
    """The same, as a whole number."""
    value = number(data, *keys)
    return None if value is None else int(value)


def text(data: t.Any, *keys: str) -> str | None:
    """The same, as a text."""
    value = dig(data, *keys)
    return value if isinstance(value, str) else None


def flag(data: t.Any, *keys: str) -> bool | None:
    """The same, as true or false: real booleans, Redis' 0 and 1, configuration's yes and no."""
    value = dig(data, *keys)
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        return {"yes": True, "no": False, "1": True, "0": False}.get(value.strip().lower())
    if isinstance(value, (int, float)):
        return value != 0
    return None


def limit(data: t.Any, *keys: str) -> float | None:
    """The same, as a limit: ``unlimited`` is infinity, unknown is null."""
    value = dig(data, *keys)
    return float("inf") if value == UNLIMITED else number(data, *keys)


def all_of(*values: bool | None) -> bool | None:
    """Kleene's and."""
    if any(value is False for value in values):
        return False
    return None if any(value is None for value in values) else True


def any_of(*values: bool | None) -> bool | None:
    """Kleene's or."""
    if any(value is True for value in values):
        return True
    return None if any(value is None for value in values) else False


def negate(value: bool | None) -> bool | None:
    """Kleene's not."""
    return None if value is None else not value


def finite(value: float | None) -> int | None:
    """A whole number for a document; neither infinity nor unknown."""
    return None if value is None or value in (float("inf"), float("-inf")) else int(value)


def ratio(value: float | None, base: float | None) -> float | None:
    """``value / base`` to three digits; null when either is unknown or the base is nothing."""
    if value is None or not base or base == float("inf"):
        return None
    return round(value / base, 3)
