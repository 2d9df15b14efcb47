# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""The report after all hosts of a play, and when it is due: with ``serial`` after each batch, else at the end."""

from __future__ import annotations

import os
import time
import typing as t

from ansible import constants as C
from ansible_collections.redisops.persistence.plugins.plugin_utils import collected, gathering, output, report
from ansible_collections.redisops.persistence.plugins.plugin_utils.fleet import Hosts

OPTIONS: dict[str, dict[str, t.Any]] = {
    "report_dir": {"type": "path"},
    "show": {"type": "bool", "default": True},
}
# Strategies that ignore run_once: the task then runs for every host, at any time.
_HOST_BY_HOST = frozenset(("free", "host_pinned"))


class Kind(t.NamedTuple):
    """What a play has done with its hosts.

    :ivar name: of the action.
    :ivar names: of the variables that the hosts keep.
    :ivar build: the report's document, from the hosts' entries and the time.
    :ivar line: the fleet in one line.
    """

    name: str
    names: collected.Names
    build: t.Callable[[Hosts, float], dict[str, t.Any]]
    line: t.Callable[[Hosts], str]


def sum_up(action: t.Any, task_vars: t.Mapping[str, t.Any], kind: Kind) -> dict[str, t.Any]:
    """The result of the running ``action``: the report is written and the line printed where they are due."""
    options = gathering.check_options(OPTIONS, action._task.args)
    play = collected.Play(
        [str(name) for name in task_vars.get("ansible_play_hosts_all") or []],
        [str(name) for name in task_vars.get("ansible_play_hosts") or []],
        [str(name) for name in task_vars.get("ansible_play_batch") or []],
    )
    live = frozenset(play.live_hosts)
    variables_of = task_vars["hostvars"].raw_get
    is_last = collected.is_complete(play.all_hosts, live, variables_of, kind.names)
    result: dict[str, t.Any] = {"changed": False, "complete": is_last}
    if not is_last and not collected.is_complete(play.batch, live, variables_of, kind.names):
        return result  # host by host, and others are still being worked on
    if _is_host_by_host(action) and not (is_last and _is_first_to_say(action, kind.name)):
        return result
    hosts = collected.entries(play.all_hosts, live, variables_of, kind.names)
    document = kind.build(hosts, time.time())
    result["summary"] = document["summary"]
    line = kind.line(hosts)
    if options["report_dir"]:
        result["path"] = _write(options["report_dir"], document)
        line += f" Report: {result['path']}"
    if options["show"] and is_last:
        output.say("\n" + line)
    return result


def _write(directory: str, document: dict[str, t.Any]) -> str:
    try:
        return report.write(directory, document)
    except OSError as error:
        raise output.refusal(f"The report can't be written in {directory}: {error.strerror}") from None


def _is_host_by_host(action: t.Any) -> bool:
    block = action._task
    while block is not None and not hasattr(block, "_play"):
        block = block._parent
    strategy = str(getattr(getattr(block, "_play", None), "strategy", ""))
    return strategy.rsplit(".", 1)[-1] in _HOST_BY_HOST


def _is_first_to_say(action: t.Any, name: str) -> bool:
    """Whether no other host's task has summed up this play yet. The marker lies in the run's own directory."""
    try:
        marker = os.open(
            os.path.join(C.DEFAULT_LOCAL_TMP, f"{name}_{action._task._uuid}"),
            os.O_CREAT | os.O_EXCL | os.O_WRONLY,
            0o600,
        )
    except FileExistsError:
        return False
    os.close(marker)
    return True
