# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""The machine that the servers run on: the ``host`` block of docs/evidence.md, without the kernel log."""

from __future__ import annotations

import os
import re
import shlex
import typing as t

from ansible_collections.redisops.persistence.plugins.module_utils._kernel_settings import (
    collect_overcommit,
    collect_thp,
)
from ansible_collections.redisops.persistence.plugins.module_utils._memory import (
    collect_memory,
    collect_numa,
    collect_system_limits,
)
from ansible_collections.redisops.persistence.plugins.module_utils._namespaces import collector_in_container
from ansible_collections.redisops.persistence.plugins.module_utils._proc_text import (
    field_integers,
    parse_boot_time,
    parse_capabilities,
    parse_fields,
)
from ansible_collections.redisops.persistence.plugins.module_utils._system import Gaps, System, clean_text


def collect_host(system: System, gaps: Gaps) -> dict[str, t.Any]:
    """Everything about the host but its kernel log."""
    release = (system.try_read_text("/proc/sys/kernel/osrelease") or "").strip() or None
    return {
        "hostname": (system.try_read_text("/proc/sys/kernel/hostname") or "").strip() or None,
        "kernel_release": release,
        "kernel_version": parse_kernel_version(release or ""),
        "architecture": architecture(system),
        "os": operating_system(system),
        "boot_unix": parse_boot_time(system.try_read_text("/proc/stat") or ""),
        "collector": describe_collector(system),
        "page_size_bytes": os.sysconf("SC_PAGE_SIZE"),
        "memory": collect_memory(system, gaps),
        "overcommit": collect_overcommit(system, gaps),
        "thp": collect_thp(system, gaps),
        "limits": collect_system_limits(system),
        "numa": collect_numa(system, gaps),
        "lsm": security_modules(system),
    }


def parse_kernel_version(release: str) -> list[int] | None:
    """[6, 1] of ``6.1.0-13-amd64``."""
    match = re.match(r"(\d+)\.(\d+)", release)
    return [int(match.group(1)), int(match.group(2))] if match else None


def architecture(system: System) -> str:
    """As ``uname -m`` says; the file is there from 6.1 on."""
    return (system.try_read_text("/proc/sys/kernel/arch") or "").strip() or clean_text(os.uname().machine)


def operating_system(system: System) -> dict[str, str | None]:
    """os-release(5): {id, version_id, name}; a rolling release has no version."""
    text = system.try_read_text("/etc/os-release") or system.try_read_text("/usr/lib/os-release") or ""
    fields = parse_os_release(text)
    return {"id": fields.get("ID"), "version_id": fields.get("VERSION_ID"), "name": fields.get("PRETTY_NAME")}


def parse_os_release(text: str) -> dict[str, str]:
    """Lines of shell assignments; a line that is none is passed over."""
    fields = {}
    for line in text.splitlines():
        name, equals, value = line.strip().partition("=")
        if not equals or name.startswith("#"):
            continue
        try:
            fields[name] = "".join(shlex.split(value))
        except ValueError:
            continue
    return fields


def describe_collector(system: System) -> dict[str, t.Any]:
    """With what rights, and from where, the evidence was gathered."""
    status = parse_fields(system.try_read_text("/proc/self/status") or "")
    uids = field_integers(status, "Uid")
    uid = uids[1] if len(uids) > 1 else os.geteuid()
    return {
        "uid": uid,
        "root": uid == 0,
        "capabilities_effective": parse_capabilities(status.get("CapEff", "")),
        "in_container": collector_in_container(system),
    }


def security_modules(system: System) -> dict[str, t.Any]:
    """``host.lsm``. SELinux is ``disabled`` where it is configured but not in force, else ``absent``."""
    apparmor = (system.try_read_text("/sys/module/apparmor/parameters/enabled") or "").strip()
    return {"selinux": selinux_state(system), "apparmor": apparmor == "Y"}


def selinux_state(system: System) -> str:
    """enforcing, permissive, disabled or absent."""
    enforce = (system.try_read_text("/sys/fs/selinux/enforce") or "").strip()
    if enforce in ("0", "1"):
        return "enforcing" if enforce == "1" else "permissive"
    configured = system.exists("/etc/selinux/config")
    off_at_boot = "selinux=0" in (system.try_read_text("/proc/cmdline") or "").split()
    return "disabled" if configured or off_at_boot else "absent"
