# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""The fixes that set something: of the kernel, of the server at run time, and its configuration file."""

from __future__ import annotations

import posixpath
import typing as t

from ansible_collections.redisops.persistence.plugins.module_utils import _changes
from ansible_collections.redisops.persistence.plugins.module_utils._boot_file import (
    SYSCTL_FILE,
    TMPFILES_FILE,
    change_text,
)
from ansible_collections.redisops.persistence.plugins.module_utils._boot_settings import Setting
from ansible_collections.redisops.persistence.plugins.module_utils._config_defaults import DEFAULTS
from ansible_collections.redisops.persistence.plugins.module_utils._config_values import in_force
from ansible_collections.redisops.persistence.plugins.module_utils._kernel_settings import (
    OVERCOMMIT,
    TRANSPARENT_HUGE_PAGES,
)
from ansible_collections.redisops.persistence.plugins.plugin_utils.plan_case import (
    MANUAL,
    OPT_IN,
    REFUSE,
    CannotFix,
    Situation,
    Work,
    need_parameter,
    need_root,
    need_server,
)
from ansible_collections.redisops.persistence.plugins.plugin_utils.plan_directory import forbid_hijack, forbid_rescue
from ansible_collections.redisops.persistence.plugins.plugin_utils.plan_units import part
from ansible_collections.redisops.persistence.plugins.plugin_utils.signals_saves import parse_save_points, parse_size
from ansible_collections.redisops.persistence.plugins.plugin_utils.values import flag, integer, mapping, text

OVERCOMMIT_ALWAYS = "1"
HUGE_PAGES_NEVER = "never"
STOP_WRITES = "stop-writes-on-bgsave-error"
SAVE_POINTS = "save"
MAXMEMORY = "maxmemory"
OOM_SCORE = "oom-score-adj"
_SYSCTL_DIRECTORIES = (
    "/etc/sysctl.d",
    "/run/sysctl.d",
    "/usr/local/lib/sysctl.d",
    "/usr/lib/sysctl.d",
    "/lib/sysctl.d",
)


# The kernel ----------------------------------------------------------------------------------------------------------


def overcommit(situation: Situation) -> Work:
    mode = integer(situation.host, "overcommit", "mode")
    if mode is None:
        raise CannotFix(MANUAL, "vm.overcommit_memory could not be read.")
    _need_the_host(situation)
    changes = []
    if str(mode) != OVERCOMMIT_ALWAYS:
        changes.append(part("live", _changes.sysctl(OVERCOMMIT.name), str(mode), OVERCOMMIT_ALWAYS))
    boot = mapping(situation.host, "overcommit", "boot")
    if _sysctl_file_would_win(boot):
        changes += _boot_file("sysctl.d", SYSCTL_FILE, OVERCOMMIT, OVERCOMMIT_ALWAYS, boot)
    return Work({"name": OVERCOMMIT.name, "value": OVERCOMMIT_ALWAYS}, changes)


def huge_pages(situation: Situation) -> Work:
    policy = text(situation.host, "thp", "policy")
    if policy is None:
        raise CannotFix(MANUAL, "The policy of transparent huge pages could not be read.")
    if policy == "madvise":
        raise CannotFix(REFUSE, "The policy is madvise: the server gets no huge pages unless it asks for them.")
    _need_the_host(situation)
    changes = []
    if policy != HUGE_PAGES_NEVER:
        changes.append(part("live", _changes.huge_pages(), policy, HUGE_PAGES_NEVER))
    boot = mapping(situation.host, "thp", "boot")
    # Which file a boot without systemd would read is for the module to find out.
    if _booted_by_systemd(situation) and boot.get("source") is None:
        changes += _boot_file("tmpfiles.d", TMPFILES_FILE, TRANSPARENT_HUGE_PAGES, HUGE_PAGES_NEVER, boot)
    return Work({"name": TRANSPARENT_HUGE_PAGES.name, "value": HUGE_PAGES_NEVER}, changes)


def _need_the_host(situation: Situation) -> None:
    if mapping(situation.host, "collector").get("in_container") is True:
        raise CannotFix(MANUAL, "The setting belongs to the host, not to this container.")
    need_root(situation, "A setting of the kernel")


def _booted_by_systemd(situation: Situation) -> bool:
    return any(mapping(server, "systemd").get("unit") for server in (situation.instance, *situation.peers))


def _sysctl_file_would_win(boot: t.Mapping[str, t.Any]) -> bool:
    """Whether nothing later than our file is known; where something is, the module says so and writes none."""
    source = boot.get("source")
    if source is None:
        return True
    directory, name = posixpath.split(str(source).rpartition(":")[0])
    return directory in _SYSCTL_DIRECTORIES and name < posixpath.basename(SYSCTL_FILE)


def _boot_file(
    kind: str, path: str, setting: Setting, value: str, boot: t.Mapping[str, t.Any]
) -> list[_changes.Change]:
    if boot.get("value") == value or boot.get("managed_by"):
        return []
    return [part("boot", _changes.file_content(path), None, change_text(kind, None, setting, value))]


# The server at run time ----------------------------------------------------------------------------------------------


def _parameter(situation: Situation, name: str, value: str, is_same: bool | None = None) -> Work:
    running = need_parameter(situation, name)
    same = running == value if is_same is None else is_same
    changes = [] if same else [_changes.change(_changes.parameter(name), running, value)]
    return Work({"parameters": {name: value}}, changes, [_config_set(situation, name, value)])


def _config_set(situation: Situation, name: str, value: str) -> str:
    return situation.command("{cli} CONFIG SET") + f" {name} " + (f"'{value}'" if " " in value else value)


def stop_writes(situation: Situation) -> Work:
    """What an emergency unblock has left is put back for good: a rollback must not leave it open again."""
    work = _parameter(situation, STOP_WRITES, "yes")
    if situation.signals.get("emergency_unblock_over") is True:
        work.changes = [{**change, "reversible": False} for change in work.changes]
    return work


def oom_score(situation: Situation) -> Work:
    running = need_parameter(situation, OOM_SCORE)
    return _parameter(situation, OOM_SCORE, "yes", is_same=running != "no")


def save_points(situation: Situation) -> Work:
    wanted = situation.policy.save_points
    if wanted is None:
        raise CannotFix(OPT_IN, "How much may be lost is the operator's decision: remediate_save_points.")
    running = need_parameter(situation, SAVE_POINTS)
    return _parameter(situation, SAVE_POINTS, wanted, parse_save_points(running) == parse_save_points(wanted))


def maxmemory(situation: Situation) -> Work:
    """Never below what is in use: the server would refuse writes or throw keys away at once."""
    wanted = situation.policy.maxmemory
    if wanted is None:
        raise CannotFix(OPT_IN, "It needs a value that only the operator knows: remediate_maxmemory.")
    running, used = need_parameter(situation, MAXMEMORY), integer(situation.case.info, "used_memory")
    if used is None or wanted <= used:
        raise CannotFix(REFUSE, f"{used or 'An unknown number of'} bytes are in use: keys would be lost or refused.")
    return _parameter(situation, MAXMEMORY, str(wanted), parse_size(running) == wanted)


def emergency_unblock(situation: Situation) -> Work:
    running = need_parameter(situation, STOP_WRITES)
    if (
        situation.signals.get("writes_blocked_by_rdb") is not True
        or flag(situation.case.config, STOP_WRITES) is not True
    ):
        raise CannotFix(REFUSE, "Writes are not known to be refused because of a failed save.")
    change = _changes.change(_changes.parameter(STOP_WRITES), running, "no")
    return Work({"seconds": situation.policy.emergency_seconds}, [change])


def rescue(situation: Situation) -> Work:
    """A copy beside, as long as the server can't save by itself."""
    directory = situation.policy.rescue_dir
    if directory is None:
        raise CannotFix(OPT_IN, "It needs a directory of the host: remediate_rescue_dir.")
    need_server(situation)
    if not situation.status_is_err and situation.signals.get("save_would_fail") is not True:
        raise CannotFix(REFUSE, "The server can save by itself; nothing has to be rescued.")
    forbid_rescue(situation)
    change = _changes.change(_changes.rescue_file(directory), None, "every key", reversible=False)
    return Work({"directory": directory, "control_directory": situation.policy.rescue_control_dir}, [change])


# Its configuration file ----------------------------------------------------------------------------------------------

# Of the parameters that the evidence shows: one that the file does not name runs with its default, unless somebody has
# set it since.
_WATCHED = (
    STOP_WRITES,
    "dbfilename",
    MAXMEMORY,
    "maxmemory-policy",
    "appendonly",
    OOM_SCORE,
    "rdbcompression",
    "protected-mode",
    "loglevel",
    "replica-serve-stale-data",
)


def drift_before(situation: Situation) -> list[str] | None:
    """Parameters that differ from the file before we change anything; null where that is not known."""
    drifted = situation.signals.get("drifted_parameters")
    if not isinstance(drifted, list):
        return None
    written = mapping(situation.case.redis, "config_file_settings")
    silent = [
        name
        for name in _WATCHED
        if name not in written and text(situation.case.config, name) not in (None, DEFAULTS[name])
    ]
    return sorted({*drifted, *silent})


def rewrite_config(situation: Situation, own: t.Mapping[str, str | None], drift: list[str] | None) -> Work:
    """CONFIG REWRITE, so that what we have changed outlives a restart, and nothing else becomes permanent with it.

    :param own: {parameter that we change: its running value before, or None where that is not known}.
    :param drift: parameters that differed from the file before.
    """
    need_server(situation)
    forbid_hijack(situation)
    path = text(situation.case.redis, "config_file")
    if path == "":
        raise CannotFix(REFUSE, "The server runs without a configuration file.")
    if path is None:
        raise CannotFix(MANUAL, "The configuration file is not known.")
    forbid_losing_the_directory(situation)
    names = sorted(own)
    foreign = None if drift is None else [name for name in drift if name not in own or _is_edited(situation, own, name)]
    rewrite = "if_only_drift"
    if foreign is None or foreign:
        if not situation.opted_in("rewrite_config"):
            why = (
                "Whether other values differ from the file is not known"
                if foreign is None
                else f"Other values differ from the file as well ({', '.join(foreign[:5])})"
            )
            raise CannotFix(OPT_IN, f"{why}: a rewrite would make those permanent too.")
        rewrite = "yes"
    change = _changes.change(_changes.configuration_file(path), "as at the start", "running values")
    # In check mode the fixes before have set nothing: the prediction needs to know what they would have set.
    values = mapping(situation.case.redis, "config")
    arguments = {
        "parameters": {},
        "rewrite": rewrite,
        "own_parameters": names,
        "assumed": {name: str(values[name]) for name in names if name in values},
        "expected_in_file": {name: before for name, before in sorted(own.items()) if before is not None},
    }
    return Work(arguments, [change])


def forbid_losing_the_directory(situation: Situation) -> None:
    """Raises CannotFix where CONFIG REWRITE would take the dir line out of the file."""
    directory = situation.case.config.get("dir")
    if isinstance(directory, str) and not directory.startswith("/"):
        raise CannotFix(
            REFUSE,
            "The running dir is empty, as the directory was deleted or unmounted: a rewrite would take the dir line "
            "out of the file.",
        )


def _is_edited(situation: Situation, own: t.Mapping[str, str | None], name: str) -> bool:
    """Whether the file has something else of our parameter than it had in force: an edit that a rewrite would undo."""
    written = text(situation.case.redis, "config_file_settings", name)
    before = own.get(name)
    return written is not None and before is not None and not in_force(name, written, before)
