# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""Where nothing is ever changed for the sake of a dump, whatever an allow list says, and how an allow list is read.

Pure. A path here is an absolute one without ``.``, ``..`` and links. The places are those of DESIGN's first rule and of
the published attacks: who gets a redirected dump repaired there owns the machine.
"""

from __future__ import annotations

import posixpath
import re
import typing as t

# Each with everything in it.
_TREES = (
    (r"/(etc|root|usr|boot|proc|sys|dev|bin|sbin|lib\w*)", "a directory of the system"),
    (r"/var/(spool|cron)", "a directory where cron looks for jobs, or mail"),
    (r"(/.*)?/cron(\.[a-z]+|tabs?)?", "a directory where cron looks for jobs"),
    (r"(/.*)?/\.ssh", "a directory of SSH keys"),
    (r"(/.*)?/\.config/(autostart|systemd)", "a directory of programs that start by themselves"),
    (r"/var/www|/srv/(www|http)|/www(root)?|/inetpub", "the root of a web server"),
    (r"/opt/(nginx|apache2?|httpd|lampp|xampp|tomcat\d*)", "the root of a web server"),
    (r"/(nginx|apache2?|httpd|lampp|xampp|tomcat\d*)", "the root of a web server"),
    (r"(/.*)?/(public_html|htdocs|wwwroot|webapps)", "the root of a web server"),
)
# Shared by many: only what lies in them can be a data directory.
_SHARED = (
    (r"/", "the root directory"),
    (r"/(var|home|srv|opt|tmp|run|mnt|media)", "a directory of the system"),
    (r"/var/(lib|log|tmp|run|lock|cache|local|opt|mail|backups)|/run/lock", "a directory of the system"),
    (r"/home/[^/]+", "somebody's home directory"),
)
_FORBIDDEN = tuple((re.compile(rf"(?:{pattern})(/.*)?", re.DOTALL), what) for pattern, what in _TREES) + tuple(
    (re.compile(pattern), what) for pattern, what in _SHARED
)


def why_forbidden(path: str) -> str | None:
    """What the place is, where nothing may ever be changed there; None for any other place."""
    for pattern, what in _FORBIDDEN:
        if pattern.fullmatch(path):
            return what
    return None


def check_pattern(pattern: str) -> str | None:
    """What is wrong with an entry of an allow list; None for a good one."""
    if not pattern.startswith("/"):
        return f"{pattern!r} is not an absolute path"
    if posixpath.normpath(pattern) not in (pattern, pattern.rstrip("/")) or pattern.startswith("//"):
        return f"{pattern!r} has a part that leads elsewhere"
    if "*" in pattern.rstrip("/").rpartition("/")[0]:
        return f"{pattern!r} has a * before its last part"
    return None


def is_allowed(path: str, patterns: t.Iterable[str]) -> bool:
    """Whether a path is, or lies in, a directory of the allow list. ``*`` stands for anything within one part."""
    return any(check_pattern(pattern) is None and _matches(path, pattern) for pattern in patterns)


def _matches(path: str, pattern: str) -> bool:
    parts = path.strip("/").split("/")
    wanted = pattern.strip("/").split("/")
    if wanted == [""]:
        return True
    if len(parts) < len(wanted):
        return False
    last = ".*".join(re.escape(piece) for piece in wanted[-1].split("*"))
    return parts[: len(wanted) - 1] == wanted[:-1] and bool(re.fullmatch(last, parts[len(wanted) - 1], re.DOTALL))
