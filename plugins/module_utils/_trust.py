# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""Whether root has decided what a server is and where it works, or whether any local user may have.

Trusted is the main process of a system unit whose files only root can write; the first process of a container of the
system's own engine; and a server that root has started, whose program and configuration file only root can write. Any
user can start a program of the system with a configuration file of somebody else, so who started it counts as well.
"""

from __future__ import annotations

import os
import re
import typing as t

from ansible_collections.redisops.persistence.plugins.module_utils._container import collect_container
from ansible_collections.redisops.persistence.plugins.module_utils._only_root import visit, why_others_can_change
from ansible_collections.redisops.persistence.plugins.module_utils._proc_text import (
    field_integers,
    parse_fields,
    parse_stat,
)
from ansible_collections.redisops.persistence.plugins.module_utils._system import Gaps, System, clean_text
from ansible_collections.redisops.persistence.plugins.module_utils._systemd import (
    show_units,
    split_list,
    unit_of_process,
)
from ansible_collections.redisops.persistence.plugins.module_utils._systemd_files import read_unit_files

# They start what users tell them to, and are root themselves.
STARTERS_FOR_USERS = frozenset(
    ("cron", "crond", "anacron", "atd", "at", "fcron", "sshd", "sshd-session", "login", "su", "sudo", "doas", "runuser",
     "dropbear", "inetd", "xinetd")
)  # fmt: skip
NO_LOGIN = 2**32 - 1
FIRST_PROCESS = 1
RUN_AS_ROOT = "run as root of the host (become) to know"
_SLICE_OF_USER = re.compile(r"/user-(\d+)\.slice(?:/|$)|/user@(\d+)\.service(?:/|$)")


class Problem(t.NamedTuple):
    """Why something is not root's alone. ``known`` is False where it could not be looked at."""

    why: str
    known: bool = True


class Facts(t.NamedTuple):
    """What is known of a server and of who started it; None: not known.

    :param unit: the system service whose group it is in. :param is_main: whether it is that unit's main process.
    :param unit_problem: of the unit's files. :param container: the engine whose container it is the first process of.
    :param foreign_root: the host's uid that is root in the server's user namespace, where that is not root.
    :param session_uid: the user in whose slice or session it runs. :param login_uid: who had logged in.
    :param parent: (name, its uids) of the process that started it; None where that has ended.
    :param program: what is wrong with the program, and :param config: with the configuration file.
    :param has_config: whether there is one.
    """

    uid: int | None
    unit: str | None = None
    is_main: bool | None = None
    unit_problem: Problem | None = None
    container: str | None = None
    foreign_root: int | None = None
    session_uid: int | None = None
    login_uid: int | None = None
    parent: tuple[str, tuple[int, ...]] | None = None
    program: Problem | None = None
    config: Problem | None = None
    has_config: bool | None = None


def judge_trust(facts: Facts) -> dict[str, t.Any]:
    """``process.trust`` of docs/evidence.md: {trusted, by, why}. Pure."""
    if facts.unit is not None and facts.is_main is True:
        if facts.unit_problem is None:
            return _trusted("unit", f"it is the main process of {facts.unit}, whose files only root can write")
        return _doubt(facts.unit_problem)
    if facts.uid is None:
        return _unknown(f"its user can't be read; {RUN_AS_ROOT}")
    if facts.foreign_root is not None:
        return _untrusted(f"root in its user namespace is uid {facts.foreign_root} of the host")
    if facts.container is not None:
        if facts.program is not None:
            return _doubt(facts.program)
        return _trusted("container", f"it is the first process of a container of {facts.container}")
    problems = [problem for problem in (_why_not_started_by_root(facts), facts.program, facts.config) if problem]
    if problems:
        # What is known to be wrong says more than what could not be looked at.
        return _doubt(next((problem for problem in problems if problem.known), problems[0]))
    if facts.has_config is None:
        return _unknown("its configuration file is not known")
    if not facts.has_config and facts.uid != 0:
        return _untrusted("it runs without a configuration file, so that whoever started it chose where it works")
    return _trusted("files", "root has started it, and only root can write its program and its configuration")


def _why_not_started_by_root(facts: Facts) -> Problem | None:
    if facts.session_uid and facts.session_uid == facts.uid:
        return Problem(f"it runs in the session of uid {facts.uid}")
    if facts.login_uid and facts.login_uid == facts.uid:
        return Problem(f"it was started from the login of uid {facts.uid}")
    if facts.uid == 0:
        return None
    if facts.unit is not None:
        return Problem(f"it is in the group of {facts.unit}, and not known to be its main process", known=False)
    if facts.parent is None:
        return Problem("who started it can't be told any more: its parent has ended", known=False)
    name, uids = facts.parent
    if not uids:
        return Problem(f"who started it can't be read; {RUN_AS_ROOT}", known=False)
    if set(uids) != {0}:
        return Problem(f"it was started by {name} of uid {uids[0]}")
    if name in STARTERS_FOR_USERS:
        return Problem(f"it was started by {name}, which starts what users tell it to", known=False)
    return None


def _trusted(by: str, why: str) -> dict[str, t.Any]:
    return {"trusted": True, "by": by, "why": why}


def _untrusted(why: str) -> dict[str, t.Any]:
    return {"trusted": False, "by": None, "why": why}


def _unknown(why: str) -> dict[str, t.Any]:
    return {"trusted": None, "by": None, "why": why}


def _doubt(problem: Problem) -> dict[str, t.Any]:
    return _untrusted(problem.why) if problem.known else _unknown(problem.why)


# What is read ---------------------------------------------------------------------------------------------------------


def collect_trust(
    system: System, pid: int, config_file: str | None, units: t.Mapping[str, dict[str, str]] | None = None
) -> dict[str, t.Any]:
    """``process.trust`` of a server. Never raises.

    :param config_file: as the server names it below its own root; empty: it has none; None: not known.
    :param units: what systemd has said already (:func:`_systemd.show_units`).
    """
    return judge_trust(collect_facts(system, pid, config_file, units))


def collect_facts(
    system: System, pid: int, config_file: str | None, units: t.Mapping[str, dict[str, str]] | None
) -> Facts:
    """Only what the judgement needs: the files of a unit's main process are not looked at."""
    status = parse_fields(system.try_read_text(f"/proc/{pid}/status") or "")
    uids = field_integers(status, "Uid")
    facts = Facts(uids[1] if len(uids) > 1 else None)
    unit = unit_of_process(system, pid).unit
    if unit is not None:
        properties = (units or {}).get(unit) or _ask_unit(system, unit)
        facts = facts._replace(unit=unit, is_main=_is_main(system, pid, properties))
        if facts.is_main:
            return facts._replace(unit_problem=_unit_problem(system, properties))
    cgroup = system.try_read_text(f"/proc/{pid}/cgroup") or ""
    session = _SLICE_OF_USER.search(cgroup)
    return facts._replace(
        container=_engine(system, pid, status) if session is None else None,
        foreign_root=_foreign_root(system, pid),
        session_uid=int(session.group(1) or session.group(2)) if session else None,
        login_uid=_login_uid(system, pid),
        parent=_parent(system, pid),
        program=_program_problem(system, pid),
        config=_config_problem(system, pid, config_file),
        has_config=None if config_file is None else config_file != "",
    )


def _ask_unit(system: System, unit: str) -> dict[str, str]:
    shown = (show_units(system, [unit]) or {}).get(unit)
    if shown:
        return shown
    files = read_unit_files(system, unit)
    if files is None:
        return {}
    return {
        "ExecStart": files.settings.get("ExecStart", ""),
        "FragmentPath": files.fragment_path or "",
        "DropInPaths": " ".join(path.replace(" ", "\\ ") for path in files.drop_in_paths),
    }


def _is_main(system: System, pid: int, properties: t.Mapping[str, str]) -> bool | None:
    """By systemd's word; where it can't be asked, by the program that the unit's file starts."""
    text = properties.get("MainPID", "")
    if text.isdigit() and text != "0":
        return int(text) == pid
    started = re.match(r"[-+!:@|]*(/\S+)", properties.get("ExecStart", ""))
    stat = parse_stat(system.try_read_text(f"/proc/{pid}/stat") or "")
    if started is None or stat is None or stat.parent_pid != FIRST_PROCESS:
        return None
    try:
        named = os.stat(system.path(started.group(1)))
        running = os.stat(_program_path(system, pid))
    except OSError:
        return None
    return True if (named.st_dev, named.st_ino) == (running.st_dev, running.st_ino) else None


def _unit_problem(system: System, properties: t.Mapping[str, str]) -> Problem | None:
    fragment = properties.get("FragmentPath", "")
    if not fragment:
        return Problem("the files of its unit are not known", known=False)
    for path in (fragment, *split_list(properties.get("DropInPaths"))):
        problem = _file_problem(system.path("/"), path)
        if problem is not None:
            return problem
    return None


def _file_problem(root: str, path: str, identity: tuple[int, int] | None = None) -> Problem | None:
    """What is wrong with a file as one that only root can write. ``identity``: which file it must be."""
    try:
        found = visit(root, path)
    except OSError as error:
        return Problem(f"{clean_text(path)} can't be looked at ({error.strerror or error})", known=False)
    if identity is not None and (found.device, found.inode) != identity:
        return Problem(f"{clean_text(path)} was replaced since the server was started", known=False)
    why = why_others_can_change(found.entries)
    return None if why is None else Problem(why)


def _engine(system: System, pid: int, status: t.Mapping[str, str]) -> str | None:
    """The engine whose container a process is the first one of, by its control group; None for any other."""
    inner = field_integers(dict(status), "NSpid")
    if len(inner) < 2 or inner[-1] != FIRST_PROCESS:
        return None
    container = collect_container(system, pid, Gaps())
    return container["runtime"] if container and container["id"] else None


def _foreign_root(system: System, pid: int) -> int | None:
    """The host's uid that is root in the process's user namespace, where that is another one than the collector's.

    A namespace without a root gives nobody more than he has.
    """
    try:
        if system.read_link(f"/proc/{pid}/ns/user") == system.read_link("/proc/self/ns/user"):
            return None
    except OSError:
        pass
    for line in (system.try_read_text(f"/proc/{pid}/uid_map") or "").splitlines():
        numbers = [int(word) for word in line.split() if word.isdigit()]
        if len(numbers) == 3 and numbers[0] == 0:
            return numbers[1] or None
    return None


def _login_uid(system: System, pid: int) -> int | None:
    text = (system.try_read_text(f"/proc/{pid}/loginuid", 64) or "").strip()
    return int(text) if text.isdigit() and int(text) != NO_LOGIN else None


def _parent(system: System, pid: int) -> tuple[str, tuple[int, ...]] | None:
    """(name, real, effective and saved uid) of the parent; None where it is the first process, which takes orphans."""
    stat = parse_stat(system.try_read_text(f"/proc/{pid}/stat") or "")
    if stat is None or stat.parent_pid <= FIRST_PROCESS:
        return None
    status = parse_fields(system.try_read_text(f"/proc/{stat.parent_pid}/status") or "")
    return status.get("Name", "?"), tuple(field_integers(status, "Uid")[:3])


def _root_of(system: System, pid: int) -> str:
    """Where the process's root directory can be walked. Raises OSError."""
    target = system.read_link(f"/proc/{pid}/root")
    return f"/proc/{pid}/root" if system.root == "/" else system.path(target)


def _program_path(system: System, pid: int) -> str:
    """Where the running program can be looked at. Raises OSError."""
    link = f"/proc/{pid}/exe"
    return link if system.root == "/" else system.path(system.read_link(link))


def _program_problem(system: System, pid: int) -> Problem | None:
    try:
        target = system.read_link(f"/proc/{pid}/exe")
        running = os.stat(_program_path(system, pid))
        root = _root_of(system, pid)
        root_path = system.read_link(f"/proc/{pid}/root")
    except OSError:
        return Problem(f"its program can't be read; {RUN_AS_ROOT}", known=False)
    if root_path != "/" and target.startswith(root_path + "/"):
        target = target[len(root_path) :]
    if target.endswith(" (deleted)"):
        return Problem("its program was replaced since it was started", known=False)
    return _file_problem(root, target, (running.st_dev, running.st_ino))


def _config_problem(system: System, pid: int, config_file: str | None) -> Problem | None:
    if not config_file:
        return None
    if not config_file.startswith("/"):
        return Problem("the path of its configuration file is relative", known=False)
    try:
        root = _root_of(system, pid)
    except OSError:
        return Problem(f"its configuration file can't be looked at; {RUN_AS_ROOT}", known=False)
    return _file_problem(root, config_file)
