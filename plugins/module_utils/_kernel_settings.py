# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""The kernel settings that a fork depends on: as they are now, and as the next boot would set them."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.redisops.persistence.plugins.module_utils._boot_settings import Setting, collect_boot_setting
from ansible_collections.redisops.persistence.plugins.module_utils._namespaces import collector_in_container
from ansible_collections.redisops.persistence.plugins.module_utils._system import Gaps, System

OVERCOMMIT = Setting(
    name="vm.overcommit_memory",
    path="/proc/sys/vm/overcommit_memory",
    values="[012]",
    kernel_arguments=("sysctl.vm.overcommit_memory",),
    sysctl_key="vm/overcommit_memory",
    tuned_options={"sysctl": ("vm.overcommit_memory",)},
)
TRANSPARENT_HUGE_PAGES = Setting(
    name="transparent_hugepage",
    path="/sys/kernel/mm/transparent_hugepage/enabled",
    values="always|madvise|never",
    kernel_arguments=("transparent_hugepage",),
    sysctl_key=None,
    tuned_options={"vm": ("transparent_hugepages", "transparent_hugepage")},
)


def collect_overcommit(system: System, gaps: Gaps) -> dict[str, t.Any]:
    """``host.overcommit``. The setting is the machine's: a container sees it and can't change it."""
    mode = _read_integer(system, OVERCOMMIT.path)
    if mode is None:
        gaps.add("host.overcommit.mode", f"{OVERCOMMIT.path} can't be read", "Mount /proc.")
    return {
        "mode": mode,
        "ratio": _read_integer(system, "/proc/sys/vm/overcommit_ratio"),
        "kilobytes": _read_integer(system, "/proc/sys/vm/overcommit_kbytes"),
        "admin_reserve_kilobytes": _read_integer(system, "/proc/sys/vm/admin_reserve_kbytes"),
        "user_reserve_kilobytes": _read_integer(system, "/proc/sys/vm/user_reserve_kbytes"),
        "boot": _boot(system, OVERCOMMIT, gaps),
    }


def collect_thp(system: System, gaps: Gaps) -> dict[str, t.Any]:
    """``host.thp``; the policy is null on a kernel without transparent huge pages."""
    return {
        "policy": parse_choice(system.try_read_text(TRANSPARENT_HUGE_PAGES.path) or ""),
        "defrag": parse_choice(system.try_read_text("/sys/kernel/mm/transparent_hugepage/defrag") or ""),
        "boot": _boot(system, TRANSPARENT_HUGE_PAGES, gaps),
    }


def _boot(system: System, setting: Setting, gaps: Gaps) -> dict[str, t.Any]:
    if collector_in_container(system):
        gaps.add(
            f"what the machine's next boot makes of {setting.name}",
            "the collector runs in a container: the files that it sees are not those that the machine boots with",
            "Run against the machine that the container runs on.",
        )
    return collect_boot_setting(system, setting)


def parse_choice(text: str) -> str | None:
    """The chosen word of a sysfs file that lists them all, ``always [madvise] never``."""
    match = re.search(r"\[([\w+-]+)\]", text)
    return match.group(1) if match else None


def _read_integer(system: System, path: str) -> int | None:
    text = (system.try_read_text(path) or "").strip()
    return int(text) if text.isdigit() else None
