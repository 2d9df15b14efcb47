# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""Places and names that intruders give to a dump: cron, sshd or a web server runs or trusts what lies there.

One table for the diagnosis on the control node and for the modules that set ``dir`` and ``dbfilename``. ``strong``:
nobody keeps a dump there. ``weak``: an operator may; it takes the proof of a change at run time.
"""

from __future__ import annotations

import posixpath
import re
import typing as t

DEFAULT_DBFILENAME = "dump.rdb"

# Nobody keeps a dump here.
STRONG_PLACES = (
    r"/etc",
    r"/etc/cron(\.[a-z]+|tabs?)?(/.*)?",
    r"/etc/(init|rc\d?)\.d(/.*)?",
    r"/etc/(profile|sudoers|ssh|systemd|pam|xinetd|ld\.so\.conf|logrotate|default)(\.d)?(/.*)?",
    r"/(usr/)?lib/systemd(/.*)?",
    r"/var/spool/(cron|at|anacron)(/.*)?",
    r"(/.*)?/\.ssh(/.*)?",
    r"(/.*)?/\.config/(autostart|systemd)(/.*)?",
    r"/(usr/(local/)?)?s?bin",
    r"/boot(/.*)?",
    r"/(proc|sys|dev)",
)
# An operator may have started the server here, so these need the proof of a change at run time.
WEAK_PLACES = (
    r"/root",
    r"/var/www(/.*)?",
    r"/srv/(www|http)(/.*)?",
    r"/usr/share/(nginx|httpd|apache2)(/.*)?",
    r"/(usr/local/|opt/)?(nginx|apache2?|httpd|lampp|xampp|tomcat\d*)(/.*)?",
    r"/wwwroot(/.*)?",
    r"/www(/.*)?",
)
STRONG_NAMES = (
    r"authorized_keys2?",
    r"id_(rsa|dsa|ecdsa|ed25519)(\.pub)?",
    r"crontab",
    r".*\.(so|ko|dll|php\d?|phtml|jspx?|aspx?|cgi|war|service|bashrc)",
    r"(passwd|shadow|sudoers)",
    r"\.(bashrc|profile|bash_profile|forward|rhosts)",
)
# Names of users and of scripts do harm in a crontab directory or a web root alone: those are told by the place.
WEAK_NAMES = (r"root", r"redis", r"backup\.db")


def _matches(patterns: t.Iterable[str], value: str) -> bool:
    return any(re.fullmatch(pattern, value) for pattern in patterns)


def grade_place(directory: str | None) -> str | None:
    """``strong``, ``weak`` or null for a directory."""
    if not directory or not directory.startswith("/"):
        return None
    path = posixpath.normpath(directory)
    path = "/" + path.lstrip("/")
    if _matches(STRONG_PLACES, path):
        return "strong"
    return "weak" if _matches(WEAK_PLACES, path) else None


def grade_name(name: str | None) -> str | None:
    """``strong``, ``weak`` or null for the name of a dump."""
    if not name:
        return None
    lowered = name.lower()
    if _matches(STRONG_NAMES, lowered):
        return "strong"
    return "weak" if _matches(WEAK_NAMES, lowered) else None
