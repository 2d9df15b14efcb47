# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""What a server will be after its next start, judged before it: what was set at run time alone is gone then.

A server that was promoted at run time becomes a replica again and throws its keys away for its old master's; one whose
``maxmemory`` was raised evicts what no longer fits; one without its list of users or of cluster nodes does not start,
or starts as somebody else.
"""

from __future__ import annotations

import posixpath
import typing as t

from ansible_collections.redisops.persistence.plugins.module_utils._config_file import read_lines, settings_of
from ansible_collections.redisops.persistence.plugins.module_utils._config_values import parse_memory
from ansible_collections.redisops.persistence.plugins.module_utils._module_outcome import Refused
from ansible_collections.redisops.persistence.plugins.module_utils._service import start_command
from ansible_collections.redisops.persistence.plugins.module_utils._system import Gaps, System, clean_text

Settings = dict[str, str]
Facts = t.Mapping[str, t.Any]


def settings_of_next_start(system: System, pid: int, unit: t.Mapping[str, str], config_file: str | None) -> Settings:
    """The configuration file's settings with those of the unit's command line over them.

    :param config_file: as the running server names it, for a unit that names none.
    :raises Refused: where a part of them can't be read. Secrets are among them: for looking at, never for output.
    """
    from_command, arguments = start_command(unit)
    path = from_command or config_file
    settings: Settings = {}
    if path:
        if not path.startswith("/"):
            raise Refused(f"The configuration file has no absolute path ({clean_text(path)}).")
        gaps = Gaps()
        lines = read_lines(system, f"/proc/{pid}/root{path}", gaps)
        if lines is None:
            raise Refused(f"{clean_text(path)} can't be read, so it is not known what a restart would load.")
        for gap in gaps.entries():
            raise Refused(f"A part of {clean_text(path)} is not known ({gap['what']}: {gap['why'].rstrip('.')}).")
        settings.update({name: clean_text(value) for name, value in settings_of(lines).items()})
    settings.update(arguments)
    return settings


def check_keys_will_be_served(system: System, pid: int, settings: Settings, facts: Facts, directory: str) -> None:
    """Raise Refused where the restarted server would not serve the keys that it loads.

    :param facts: of the running server. :param directory: the one that it will work in.
    """
    master = settings.get("replicaof") or settings.get("slaveof")
    if master and master.lower().split() != ["no", "one"]:
        raise Refused(
            f"The restarted server would be a replica of {master}, and throw its keys away for that one's: it was "
            "promoted at run time alone. Take the line out of its configuration file first (CONFIG REWRITE)."
        )
    _check_maxmemory(settings, facts)
    needed = {"aclfile": settings.get("aclfile")}
    if settings.get("cluster-enabled") == "yes":
        needed["cluster-config-file"] = settings.get("cluster-config-file", "nodes.conf")
    for name, value in needed.items():
        if value and not system.exists(f"/proc/{pid}/root{posixpath.join(directory, value)}"):
            raise Refused(
                f"{value} ({name}) is not there: the restarted server would not start without it, or not as the one "
                "that it is now."
            )


def _check_maxmemory(settings: Settings, facts: Facts) -> None:
    written = settings.get("maxmemory", "0")
    limit, used = parse_memory(written), facts["info"].get("used_memory")
    if limit == 0:
        return
    running = facts["config"]
    after = (limit, settings.get("maxmemory-policy", "noeviction"))
    if after == (parse_memory(running.get("maxmemory") or ""), running.get("maxmemory-policy")):
        return
    if limit is None or not isinstance(used, int) or used >= limit:
        raise Refused(
            f"The restarted server has maxmemory {written if limit is None else limit}, and {used} bytes are in use "
            "now: it would evict keys, or refuse writes. Put the running value into its configuration file first."
        )
