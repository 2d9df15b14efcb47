# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""Change the memory or process limit of a control group that a server is in.

File names and rules: Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/{memory,pids}.rst of the kernel.
"""

from __future__ import annotations

import errno
import os
import posixpath
import typing as t

from ansible_collections.redisops.persistence.plugins.module_utils import _changes
from ansible_collections.redisops.persistence.plugins.module_utils._cgroup import (
    UNLIMITED_V1_BYTES,
    Group,
    Hierarchy,
    find_hierarchy,
    in_cgroup_namespace,
    memory_entry,
    parse_limit,
    parse_membership,
    pids_entry,
    read_cgroup_mounts,
)
from ansible_collections.redisops.persistence.plugins.module_utils._module_outcome import (
    Outcome,
    Refused,
    changed_result,
    diff_of,
)
from ansible_collections.redisops.persistence.plugins.module_utils._process_identity import why_not_the_same
from ansible_collections.redisops.persistence.plugins.module_utils._system import Gaps, System, clean_text

UNLIMITED = "unlimited"
MEMORY_AND_SWAP = "memory+swap"

Limit = t.Union[int, str]
"""Bytes or a count, or ``unlimited``."""


class Files(t.NamedTuple):
    """The names of a controller's files in one version; ``unlimited`` is what lifts the limit."""

    limit: str
    unlimited: str
    memory_and_swap_limit: str | None = None
    memory_and_swap_usage: str | None = None


FILES = {
    ("memory", 1): Files("memory.limit_in_bytes", "-1", "memory.memsw.limit_in_bytes", "memory.memsw.usage_in_bytes"),
    ("memory", 2): Files("memory.max", "max"),
    ("pids", 1): Files("pids.max", "max"),
    ("pids", 2): Files("pids.max", "max"),
}


class State(t.NamedTuple):
    """A group's limit and what it uses; with version 1, memory and swap together where the kernel counts swap.

    :param soft_limit: above it the kernel reclaims memory and slows the group down (``memory.high``).
    """

    limit: Limit | None
    usage: int | None
    memory_and_swap: Limit | None
    memory_and_swap_usage: int | None
    soft_limit: Limit | None


class Target(t.NamedTuple):
    """A group of the process, and all that are above the process."""

    hierarchy: Hierarchy
    group: Group
    files: Files


class Plan(t.NamedTuple):
    """The limits afterwards."""

    limit: Limit | None
    memory_and_swap: Limit | None


def parse_value(controller: str, text: str) -> Limit:
    """An option's value as the kernel will keep it: memory in whole pages. Raises Refused."""
    text = text.strip()
    if text == UNLIMITED:
        return UNLIMITED
    if not (text.isascii() and text.isdigit()) or int(text) <= 0:
        raise Refused(f"{text!r} is no limit: it takes a number above 0, or {UNLIMITED}")
    number = int(text)
    if number >= UNLIMITED_V1_BYTES:
        return UNLIMITED
    if controller == "memory":
        page_size_bytes = os.sysconf("SC_PAGE_SIZE")
        number = number // page_size_bytes * page_size_bytes
        if number == 0:
            raise Refused(f"{text} bytes are less than a page of memory")
    return number


def is_below(one: Limit | None, other: Limit | None) -> bool:
    """Whether one limit lets less through than another one; no where either is unknown."""
    if one is None or other is None or isinstance(one, str):
        return False
    return isinstance(other, str) or one < other


def find_target(system: System, parameters: dict[str, t.Any]) -> Target:
    """The group to change, as the process is in it at this moment. Raises Refused."""
    pid, controller, path = parameters["pid"], parameters["controller"], parameters["path"]
    if not path.startswith("/") or posixpath.normpath(path) != path or path.startswith("//"):
        raise Refused(f"{path!r} is no path of a control group")
    problem = why_not_the_same(system, pid, parameters["started_unix"])
    if problem is not None:
        raise Refused(problem)
    membership = parse_membership(system.try_read_text(f"/proc/{pid}/cgroup") or "")
    gaps = Gaps()
    mounts = read_cgroup_mounts(system)
    hierarchy = find_hierarchy(system, membership, mounts, controller, in_cgroup_namespace(system), gaps)
    if hierarchy is None:
        raise Refused(f"process {pid} is in no control group with the controller {controller}")
    if not hierarchy.groups:
        raise Refused("; ".join(f"{gap['why']}. {gap['remedy']}" for gap in gaps.entries()) or "it can't be reached")
    for group in hierarchy.groups:
        if clean_text(group.path) == path:
            return Target(hierarchy, group, FILES[controller, hierarchy.version])
    raise Refused(f"process {pid} is not in the control group {path} but in {clean_text(hierarchy.path)}")


def read_state(system: System, target: Target, controller: str) -> State:
    """The group as it is."""
    if controller == "pids":
        entry = pids_entry(system, target.group)
        return State(entry["limit"], entry["current"], None, None, None)
    entry = memory_entry(system, target.hierarchy.version, target.group)
    both, both_usage = target.files.memory_and_swap_limit, target.files.memory_and_swap_usage
    usage = (_read(system, target.group, both_usage) if both_usage else "").strip()
    return State(
        entry["limit_bytes"],
        entry["usage_bytes"],
        parse_limit(_read(system, target.group, both)) if both else None,
        int(usage) if usage.isdigit() else None,
        # A soft limit of version 1 slows nothing down: it says who gives memory back first.
        entry["soft_limit_bytes"] if target.hierarchy.version == 2 else None,
    )


def _read(system: System, group: Group, name: str) -> str:
    return system.try_read_text(f"{group.directory}/{name}") or ""


def plan_limits(now: State, wanted: Limit) -> Plan:
    """The limits afterwards. Raises Refused where the group uses more already.

    Version 1 limits memory and swap together, at no less than memory alone. What is left for swap stays as it is,
    in both directions: a limit that is put back later finds the other one as it was, too.
    """
    if now.limit is None:
        raise Refused("its limit can't be read")
    if now.limit == wanted:
        return Plan(wanted, now.memory_and_swap)
    _refuse_below_usage("it", wanted, now.usage)
    both = now.memory_and_swap
    if isinstance(both, int):
        if isinstance(wanted, str):
            both = UNLIMITED
        else:
            both = wanted + (both - now.limit if isinstance(now.limit, int) else 0)
        if both != now.memory_and_swap and is_below(both, now.memory_and_swap):
            _refuse_below_usage("memory and swap together", both, now.memory_and_swap_usage)
    return Plan(wanted, both)


def _refuse_below_usage(what: str, wanted: Limit, usage: int | None) -> None:
    if isinstance(wanted, str):
        return
    if usage is None:
        raise Refused(f"{what} can't be limited to {wanted}: what the group uses can't be read")
    if wanted < usage:
        raise Refused(f"{what} must not be limited to {wanted}: the group uses {usage} now")


def find_tighter(system: System, target: Target, controller: str, limit: Limit) -> dict[str, t.Any] | None:
    """The tightest of the process's other groups where that lets less through than ``limit``."""
    tightest = None
    for group in target.hierarchy.groups:
        if group.path == target.group.path:
            continue
        other = read_state(system, target._replace(group=group), controller).limit
        if is_below(other, tightest["limit"] if tightest else limit):
            tightest = {"path": clean_text(group.path), "limit": other}
    return tightest


class Step(t.NamedTuple):
    """One write: a file of the group, and what is in it before and after."""

    name: str
    before: Limit | None
    after: Limit | None


def order_steps(now: State, plan: Plan, files: Files) -> list[Step]:
    """The writes, in the order in which memory alone never lies above memory and swap together."""
    limit = Step(files.limit, now.limit, plan.limit)
    steps = [limit]
    if files.memory_and_swap_limit is not None:
        both = Step(files.memory_and_swap_limit, now.memory_and_swap, plan.memory_and_swap)
        steps = [limit, both] if is_below(plan.limit, now.limit) else [both, limit]
    return [step for step in steps if step.before != step.after]


def change_cgroup_limit(parameters: dict[str, t.Any], system: System, check_mode: bool) -> Outcome:
    """The whole of the module. What can be seen beforehand to fail fails in check mode too."""
    controller = parameters["controller"]
    what = _changes.control_group(controller, clean_text(parameters["path"]))
    try:
        wanted = parse_value(controller, parameters["value"])
        expected = None if parameters["expected"] is None else parse_value(controller, parameters["expected"])
        target = find_target(system, parameters)
        now = read_state(system, target, controller)
        tighter = find_tighter(system, target, controller, wanted)
        conflict = _find_conflict(what, now.limit, wanted, expected)
        if conflict is not None:
            unchanged = Plan(now.limit, now.memory_and_swap)
            return Outcome(_result(parameters, target, now, unchanged, tighter, conflict), None, (conflict,))
        if now.limit != wanted and is_root(system, target):
            raise Refused("the machine's topmost group has no limit")
        plan = plan_limits(now, wanted)
        steps = order_steps(now, plan, target.files)
        for step in steps:
            check_settable(system, target, step.name)
        if not check_mode:
            carry_out(system, target, steps)
    except Refused as error:
        return Outcome(changed_result([], []), f"{what}: {error}")
    result = _result(parameters, target, now, plan, tighter, None)
    return Outcome(result, None, tuple(_warnings(what, now, wanted, tighter)))


def is_root(system: System, target: Target) -> bool:
    """Whether a group is the machine's topmost one; only that one has a release agent, and no events."""
    directory = target.group.directory
    if target.hierarchy.version == 1:
        return system.exists(f"{directory}/release_agent")
    return target.group.is_top and not system.exists(f"{directory}/cgroup.events")


def _find_conflict(what: str, limit: Limit | None, wanted: Limit, expected: Limit | None) -> str | None:
    if expected is None or limit in (wanted, expected):
        return None
    return f"The {what} is {limit}, neither {wanted} nor {expected}: somebody else has changed it"


def check_settable(system: System, target: Target, name: str) -> None:
    """Look whether the file can be written at all. Raises Refused."""
    path = system.path(f"{target.group.directory}/{name}")
    try:
        read_only = bool(os.statvfs(path).f_flag & os.ST_RDONLY)
    except OSError as error:
        raise Refused(_why_not_set(target, name, error.errno or 0)) from error
    if read_only:
        raise Refused(_why_not_set(target, name, errno.EROFS))
    if not os.access(path, os.W_OK):
        raise Refused(_why_not_set(target, name, errno.EACCES))


def carry_out(system: System, target: Target, steps: list[Step]) -> None:
    """All writes or none: where one fails, those before it are taken back. Raises Refused."""
    done: list[Step] = []
    for step in steps:
        number = _write(system, target, step.name, step.after)
        taken = parse_limit(_read(system, target.group, step.name))
        if not number and taken == step.after:
            done.append(step)
            continue
        left = [earlier.name for earlier in reversed(done) if _write(system, target, earlier.name, earlier.before)]
        why = _why_not_set(target, step.name, number) if number else f"the kernel made {taken} of {step.after}"
        raise Refused(f"{why}; {', '.join(left)} could not be put back" if left else why)


def _write(system: System, target: Target, name: str, limit: Limit | None) -> int:
    """Write a limit. Returns the number of the error, 0 for none."""
    text = target.files.unlimited if isinstance(limit, str) else str(limit)
    try:
        flags = os.O_WRONLY | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(system.path(f"{target.group.directory}/{name}"), flags)
        try:
            os.write(descriptor, f"{text}\n".encode("ascii"))
        finally:
            os.close(descriptor)
    except OSError as error:
        return error.errno or errno.EIO
    return 0


def _why_not_set(target: Target, name: str, number: int) -> str:
    """What a failed write means, and what to do."""
    path = f"{clean_text(target.group.directory)}/{name}"
    text = f"{path}: {os.strerror(number)} ({errno.errorcode.get(number, number)})"
    if number in (errno.EROFS, errno.EACCES, errno.EPERM):
        return f"{text}. The limit is the host's to set: run this there, as root (become: true)"
    if number == errno.EBUSY:
        return f"{text}: the group uses more than that, and its memory could not be reclaimed"
    return text


def _warnings(what: str, now: State, wanted: Limit, tighter: dict[str, t.Any] | None) -> list[str]:
    warnings = []
    if tighter is not None:
        warnings.append(
            f"The {what} becomes {wanted}, and the control group {tighter['path']} around it or in it lets no more "
            f"than {tighter['limit']} through"
        )
    if is_below(now.soft_limit, wanted):
        warnings.append(f"The {what} becomes {wanted}, and memory.high slows the group down from {now.soft_limit} on")
    return warnings


def _result(
    parameters: dict[str, t.Any],
    target: Target,
    now: State,
    plan: Plan,
    tighter: dict[str, t.Any] | None,
    conflict: str | None,
) -> dict[str, t.Any]:
    controller, path = parameters["controller"], clean_text(target.group.path)
    changes, diff = [], []
    # Put back with the limit where all of them are numbers: see plan_limits.
    comes_back = all(isinstance(limit, int) for limit in (now.limit, plan.limit))
    for what, old, new, reversible in (
        (_changes.control_group(controller, path), now.limit, plan.limit, True),
        (_changes.control_group(MEMORY_AND_SWAP, path), now.memory_and_swap, plan.memory_and_swap, comes_back),
    ):
        if old != new:
            changes.append(_changes.change(what, old, new, reversible))
            diff.append(diff_of(what, old, new))
    has_both = now.memory_and_swap is not None
    return changed_result(
        changes,
        diff,
        controller=controller,
        version=target.hierarchy.version,
        # Not `path`: Ansible takes that for a file's, and adds its owner and mode.
        control_group=path,
        limit={"before": now.limit, "after": plan.limit},
        memory_and_swap={"before": now.memory_and_swap, "after": plan.memory_and_swap} if has_both else None,
        usage=now.usage,
        tighter_ancestor=tighter,
        conflict=conflict,
    )
