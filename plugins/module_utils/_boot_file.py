# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""Our own file that sets a kernel setting at boot: which form this machine's boot reads, and what stands in it."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.redisops.persistence.plugins.module_utils._boot_settings import (
    UNIT_DIRECTORIES,
    Setting,
    leads_to,
    normalize_sysctl_key,
    started_init_scripts,
)
from ansible_collections.redisops.persistence.plugins.module_utils._namespaces import collector_in_container
from ansible_collections.redisops.persistence.plugins.module_utils._system import System

HEADER = "# Written by the Ansible collection redisops.persistence, module kernel_setting. It rewrites the whole file."
SHEBANG = "#!/bin/sh"

SYSCTL_FILE = "/etc/sysctl.d/99-zz-redisops-persistence.conf"
TMPFILES_FILE = "/etc/tmpfiles.d/redisops-persistence.conf"
# The last file of these two directories counts, unlike in tmpfiles.d.
SYSFS_FILE = "/etc/sysfs.d/99-zz-redisops-persistence.conf"
LOCAL_FILE = "/etc/local.d/zz-redisops-persistence.start"

# Scripts that run `sysctl --system`, or read the same directories: Debian, Devuan; Gentoo, Alpine; Slackware, others.
SYSCTL_SCRIPTS = ("procps", "procps.sh", "sysctl", "sysctl.sh")

CONTAINER = "this is a container: the files that are seen here are not those that the machine boots with"
KERNEL_COMMAND_LINE_REMEDY = "nothing on this machine sets it early at boot; put {argument} on the kernel command line"


class Form(t.NamedTuple):
    """How a boot of this machine can be told.

    :param kind: ``sysctl.d``, ``tmpfiles.d``, ``sysfs.d``, ``local.d``, or ``none``.
    :param path: our file; None for ``none``.
    :param read_at_boot: whether a boot reads it: None where that can't be told.
    :param reason: what there is to say about it, above all why there is none.
    """

    kind: str
    path: str | None
    read_at_boot: bool | None
    reason: str | None

    @property
    def mode(self) -> int:
        return 0o755 if self.kind == "local.d" else 0o644


def choose_form(system: System, setting: Setting, value: str) -> Form:
    """The form that this machine's boot reads."""
    if collector_in_container(system):
        return Form("none", None, None, CONTAINER)
    booted_by_systemd = system.exists("/run/systemd/system")
    if setting.sysctl_key is not None:
        return _form_of_sysctl(system, booted_by_systemd)
    if booted_by_systemd:
        if is_masked(system, "systemd-tmpfiles-setup.service"):
            reason = "systemd-tmpfiles-setup.service is masked, so that no boot reads tmpfiles.d"
            return Form("none", None, False, f"{reason}; {_command_line_remedy(setting, value)}")
        return Form("tmpfiles.d", TMPFILES_FILE, True, None)
    started = started_init_scripts(system)
    if "sysfsutils" in started and system.exists("/etc/init.d/sysfsutils"):
        return Form("sysfs.d", SYSFS_FILE, True, None)
    if "local" in started and system.exists("/etc/init.d/local") and system.exists("/etc/local.d"):
        reason = "local.d is run at the end of a boot, when the server may have started already"
        return Form("local.d", LOCAL_FILE, True, reason)
    return Form(
        "none", None, False, f"not booted by systemd, and no sysfsutils: {_command_line_remedy(setting, value)}"
    )


def _form_of_sysctl(system: System, booted_by_systemd: bool) -> Form:
    if booted_by_systemd:
        if is_masked(system, "systemd-sysctl.service"):
            return Form("none", None, False, "systemd-sysctl.service is masked, so that no boot reads sysctl.d")
        return Form("sysctl.d", SYSCTL_FILE, True, None)
    if started_init_scripts(system) & set(SYSCTL_SCRIPTS):
        return Form("sysctl.d", SYSCTL_FILE, True, None)
    reason = "not booted by systemd, and no init script was found that reads sysctl.d at boot"
    return Form("sysctl.d", SYSCTL_FILE, None, reason)


def _command_line_remedy(setting: Setting, value: str) -> str:
    argument = f"{setting.kernel_arguments[0]}={value}"
    return KERNEL_COMMAND_LINE_REMEDY.format(argument=argument)


def is_masked(system: System, unit: str) -> bool:
    """Whether the administrator has forbidden a unit."""
    return any(leads_to(system, f"{directory}/{unit}", "/dev/null") for directory in UNIT_DIRECTORIES)


def is_ours(text: str) -> bool:
    """Whether we wrote a file: our comment is its first line (after the interpreter's in a script)."""
    lines = text.split("\n")
    return lines[0] == HEADER or lines[:2] == [SHEBANG, HEADER]


class ForeignLine(Exception):
    """A line in our file that we did not write."""


def change_text(kind: str, text: str | None, setting: Setting, value: str | None) -> str | None:
    """Our file with ``value`` in it, or without the setting where that is None; None: no file at all.

    :param text: our file as it is; None where there is none.

    Raises ForeignLine where somebody has added to it: rewriting would lose that.
    """
    if kind == "sysctl.d":
        return _change_sysctl_text(text, setting, value)
    if text is not None:
        _check_single_line(kind, text, setting)
    return None if value is None else _single_text(kind, setting, value)


def _change_sysctl_text(text: str | None, setting: Setting, value: str | None) -> str | None:
    values = parse_sysctl_text(text or "")
    mine = [key for key in values if normalize_sysctl_key(key) == setting.sysctl_key]
    for key in mine:
        del values[key]
    if value is not None:
        values[setting.name] = value
    if not values:
        return None
    return "\n".join([HEADER, *(f"{key} = {values[key]}" for key in sorted(values))]) + "\n"


def parse_sysctl_text(text: str) -> dict[str, str]:
    """The settings in our sysctl.d file, by name as they are written. Raises ForeignLine."""
    values = {}
    for line in text.split("\n"):
        if not line.strip() or line == HEADER:
            continue
        name, equals, value = line.partition("=")
        if not equals or not re.fullmatch(r"[\w./:@-]+", name.strip()) or name.strip().startswith("-"):
            raise ForeignLine(line)
        values[name.strip()] = value.strip()
    return values


def _single_text(kind: str, setting: Setting, value: str) -> str:
    if kind == "tmpfiles.d":
        return f"{HEADER}\nw {setting.path} - - - - {value}\n"
    if kind == "sysfs.d":
        return f"{HEADER}\n{setting.path[len('/sys/') :]} = {value}\n"
    return f"{SHEBANG}\n{HEADER}\necho {value} > {setting.path}\n"


def _check_single_line(kind: str, text: str, setting: Setting) -> None:
    """Raises ForeignLine where the file is not one that :func:`_single_text` makes for some value."""
    pattern = re.compile(re.escape(_single_text(kind, setting, "VALUE")).replace("VALUE", f"(?:{setting.values})"))
    if not pattern.fullmatch(text):
        raise ForeignLine(text.split("\n")[-2] if text.endswith("\n") else text.split("\n")[-1])
