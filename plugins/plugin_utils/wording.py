# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""Words for a terminal: foreign text made harmless, and numbers as people read them."""

from __future__ import annotations

import textwrap
import typing as t
import unicodedata

WIDTH = 100
_ESCAPES = {"\n": "\\n", "\r": "\\r", "\t": "\\t", "\x1b": "\\e"}
# Control, format (text direction, zero width), surrogate and separator characters: a terminal acts on them.
_ACTIVE_CATEGORIES = frozenset(("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"))
_TIME_UNITS = ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s"))


def plain(value: object) -> str:
    """Text from a log, Redis or a file name, on one line and without a character that a terminal acts on."""
    text = "" if value is None else str(value)
    if text.isascii() and text.isprintable():
        return text
    return "".join(_plain_character(character) for character in text)


def _plain_character(character: str) -> str:
    if character in _ESCAPES:
        return _ESCAPES[character]
    if unicodedata.category(character) not in _ACTIVE_CATEGORIES:
        return character
    code = ord(character)
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def shorten(text: str, limit: int) -> str:
    """At most ``limit`` characters, with a mark where some were left out."""
    return text if len(text) <= limit else text[: max(limit - 1, 0)].rstrip() + "…"


def shorten_middle(text: str, limit: int, tail: int = 60) -> str:
    """At most ``limit`` characters, with the last ``tail`` kept: an error message ends with its reason."""
    return text if len(text) <= limit else text[: limit - tail - 3].rstrip() + " … " + text[-tail:].lstrip()


def duration(seconds: object) -> str:
    """``3 h 12 min`` from seconds; ``unknown time`` where the number is missing."""
    number = as_number(seconds)
    if number is None:
        return "unknown time"
    whole = max(int(number), 0)
    for unit, name, smaller_unit, smaller_name in _TIME_UNITS:
        if whole >= unit:
            rest = whole % unit // smaller_unit
            return f"{whole // unit} {name} {rest} {smaller_name}" if rest else f"{whole // unit} {name}"
    return f"{whole} s"


def size(byte_count: object) -> str:
    """``1.5 GiB`` from bytes."""
    number = as_number(byte_count)
    if number is None:
        return plain(byte_count) if byte_count is not None else "unknown"
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if abs(number) < 1024 or unit == "TiB":
            break
        number /= 1024
    return f"{number:.0f} {unit}" if unit == "B" or number >= 100 else f"{number:.1f} {unit}"


def count(number: object, singular: str, plural: str | None = None) -> str:
    """``12,345 changes`` or ``1 change``."""
    value = as_number(number)
    if value is None:
        return f"an unknown number of {plural or singular + 's'}"
    return f"{int(value):,} {singular if int(value) == 1 else plural or singular + 's'}"


def as_number(value: object) -> float | None:
    """The value where it is a number, and not a truth value."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value)


def wrap(text: str, indent: str, first: str | None = None, width: int = WIDTH) -> list[str]:
    """Lines of at most ``width`` columns. ``first`` begins the first one, ``indent`` the others."""
    return textwrap.wrap(
        text,
        width=width,
        initial_indent=indent if first is None else first,
        subsequent_indent=indent,
        break_on_hyphens=False,
    )


def wrap_command(command: str, first: str, indent: str, width: int = WIDTH) -> list[str]:
    """A shell command on lines that can still be pasted: cut at blanks outside of quotes, with a backslash."""
    lines: list[str] = []
    line = first
    is_empty = True
    for word in _shell_words(command):
        if not is_empty and len(line) + 1 + len(word) > width - 2:
            lines.append(line + " \\")
            line, is_empty = indent, True
        line += word if is_empty else " " + word
        is_empty = False
    lines.append(line)
    return lines


def _shell_words(command: str) -> t.Iterator[str]:
    """The words of a command as they are written, quotes included."""
    word, quote, is_escaped = "", "", False
    for character in command:
        if character == " " and not quote and not is_escaped:
            if word:
                yield word
            word = ""
            continue
        if is_escaped:
            is_escaped = False
        elif character == "\\" and quote != "'":
            is_escaped = True
        elif quote:
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character
        word += character
    if word:
        yield word
