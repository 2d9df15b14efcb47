# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""Change a resource limit of a running process.

What the kernel asks for (kernel/sys.c, check_prlimit_permission and do_prlimit): real uid and gid that are all of the
other process's (real, effective, saved), or CAP_SYS_RESOURCE; and CAP_SYS_RESOURCE in the machine's own user
namespace for a higher hard limit. Root in a container often lacks that capability. It can still become the other
process's user, which may raise the soft limit as far as the hard one.
"""

from __future__ import annotations

import errno
import os
import resource
import select
import signal
import time
import typing as t

from ansible_collections.redisops.persistence.plugins.module_utils import _changes, _proc_text
from ansible_collections.redisops.persistence.plugins.module_utils._module_outcome import (
    Outcome,
    Refused,
    changed_result,
    diff_of,
)
from ansible_collections.redisops.persistence.plugins.module_utils._namespaces import (
    INITIAL_NAMESPACE_INODES,
    try_read_namespace,
)
from ansible_collections.redisops.persistence.plugins.module_utils._privilege_check import check_server
from ansible_collections.redisops.persistence.plugins.module_utils._process_identity import why_not_the_same
from ansible_collections.redisops.persistence.plugins.module_utils._system import System

UNLIMITED = "unlimited"
RESOURCES = {"nproc": resource.RLIMIT_NPROC, "fsize": resource.RLIMIT_FSIZE}
LARGEST_LIMIT = 2**63 - 1
CHILD_SECONDS = 10.0
PERMISSION_REMEDY = "Run as root of the host (become: true), or set it in the service's unit and restart it."

Limit = t.Union[int, str]
"""A number, or ``unlimited``."""

SetLimit = t.Callable[[int, int, tuple[int, int]], object]
"""``resource.prlimit(pid, resource, (soft, hard))``. Raises OSError."""


class Limits(t.NamedTuple):
    soft: Limit
    hard: Limit


class Credentials(t.NamedTuple):
    """Who a process is: real, effective and saved ids, and its effective capabilities."""

    uids: tuple[int, ...]
    gids: tuple[int, ...]
    capabilities: frozenset[str]
    in_first_user_namespace: bool


class Plan(t.NamedTuple):
    """``method``: ``none``, ``direct`` or ``as_its_user``."""

    limits: Limits
    method: str


def parse_limit(text: str) -> Limit:
    """An option's value. Raises Refused."""
    text = text.strip()
    if text == UNLIMITED:
        return UNLIMITED
    if text.isascii() and text.isdigit() and 0 < int(text) < LARGEST_LIMIT:
        return int(text)
    raise Refused(f"{text!r} is no limit: it takes a number above 0, or {UNLIMITED}")


def as_number(limit: Limit) -> int:
    """What the kernel calls it."""
    return resource.RLIM_INFINITY if isinstance(limit, str) else limit


def is_above(one: Limit, other: Limit) -> bool:
    """Whether one limit lets more through than another one."""
    if isinstance(other, str):
        return False
    return isinstance(one, str) or one > other


def read_limits(system: System, pid: int, name: str) -> Limits:
    """The limits as they are. Raises Refused."""
    text = system.try_read_text(f"/proc/{pid}/limits") or ""
    found = _proc_text.parse_limits(text).get(name)
    if found is None:
        raise Refused(f"The limits of process {pid} can't be read. {PERMISSION_REMEDY}")
    return Limits(found["soft"], found["hard"])


def read_credentials(system: System, process: int | str) -> Credentials:
    """Who a process is. Raises Refused."""
    status = _proc_text.parse_fields(system.try_read_text(f"/proc/{process}/status") or "")
    uids, gids = (tuple(_proc_text.field_integers(status, name)[:3]) for name in ("Uid", "Gid"))
    if len(uids) < 3 or len(gids) < 3:
        raise Refused(f"/proc/{process}/status can't be read")
    capabilities = frozenset(_proc_text.parse_capabilities(status.get("CapEff", "")) or [])
    namespace = try_read_namespace(system, process, "user")
    return Credentials(uids, gids, capabilities, namespace in (None, INITIAL_NAMESPACE_INODES["user"]))


def plan_limits(now: Limits, wanted: Limit, own: Credentials, target: Credentials) -> Plan:
    """What to set, and how. Raises Refused where the kernel would not let us."""
    if now.soft == wanted:
        return Plan(now, "none")
    has_capability = "CAP_SYS_RESOURCE" in own.capabilities
    hard = now.hard
    if is_above(wanted, hard):
        if not (has_capability and own.in_first_user_namespace):
            raise Refused(
                f"The hard limit is {hard}, below {wanted}, and raising it takes CAP_SYS_RESOURCE on the host, which "
                "this does not have. Set the limit in the service's unit, and restart the server when it can be"
            )
        hard = wanted
    limits = Limits(wanted, hard)
    same_user = set(target.uids) == {own.uids[0]} and set(target.gids) == {own.gids[0]}
    if has_capability or same_user:
        return Plan(limits, "direct")
    if not {"CAP_SETUID", "CAP_SETGID"} <= own.capabilities:
        raise Refused(
            f"The process belongs to uid {target.uids[0]}, and changing its limits takes CAP_SYS_RESOURCE or being "
            f"that user. {PERMISSION_REMEDY}"
        )
    if len(set(target.uids)) > 1 or len(set(target.gids)) > 1:
        raise Refused(
            f"The process has several uids or gids ({target.uids}, {target.gids}): changing its limits takes "
            f"CAP_SYS_RESOURCE. {PERMISSION_REMEDY}"
        )
    return Plan(limits, "as_its_user")


def change_process_limit(
    parameters: dict[str, t.Any], system: System, check_mode: bool, set_limit: SetLimit = resource.prlimit
) -> Outcome:
    """The whole of the module. What can be seen beforehand to fail fails in check mode too."""
    pid, name = parameters["pid"], parameters["resource"]
    now = None
    try:
        wanted = parse_limit(parameters["value"])
        expected = None if parameters["expected"] is None else parse_limit(parameters["expected"])
        _check_identity(system, parameters)
        now = read_limits(system, pid, name)
        conflict = _find_conflict(name, now.soft, wanted, expected)
        if conflict is not None:
            return Outcome(_result(parameters, now, now, "none", conflict), None, (conflict,))
        target = read_credentials(system, pid)
        plan = plan_limits(now, wanted, read_credentials(system, "self"), target)
        if plan.method != "none":
            check_server(system, parameters)
        if plan.method != "none" and not check_mode:
            _check_identity(system, parameters)
            _apply(system, parameters, plan, target, set_limit)
    except Refused as error:
        result = changed_result([], []) if now is None else _result(parameters, now, now, "none", None)
        return Outcome(result, f"{_changes.process_limit(name)} {pid}: {error}")
    return Outcome(_result(parameters, now, plan.limits, plan.method, None))


def _check_identity(system: System, parameters: dict[str, t.Any]) -> None:
    problem = why_not_the_same(system, parameters["pid"], parameters["started_unix"])
    if problem is not None:
        raise Refused(problem)


def _find_conflict(name: str, soft: Limit, wanted: Limit, expected: Limit | None) -> str | None:
    if expected is None or soft in (wanted, expected):
        return None
    return f"The limit {name} is {soft}, neither {wanted} nor {expected}: somebody else has changed it"


def _apply(system: System, parameters: dict[str, t.Any], plan: Plan, target: Credentials, set_limit: SetLimit) -> None:
    """Set the limits and read them back. Raises Refused."""
    pid, name = parameters["pid"], parameters["resource"]
    numbers = (as_number(plan.limits.soft), as_number(plan.limits.hard))

    def change() -> None:
        set_limit(pid, RESOURCES[name], numbers)

    number = run_as(target.uids[0], target.gids[0], change) if plan.method == "as_its_user" else error_of(change)
    if number:
        why = "it took too long" if number == errno.ETIMEDOUT else f"{os.strerror(number)} ({errno.errorcode[number]})"
        raise Refused(f"it can't be set to {plan.limits.soft}: {why}")
    taken = read_limits(system, pid, name)
    if taken != plan.limits:
        raise Refused(f"it was set to {plan.limits.soft}, and is {taken.soft} (hard limit {taken.hard})")


def error_of(action: t.Callable[[], object]) -> int:
    """The number of the OSError that an action ends in; 0 where it ends well."""
    try:
        action()
    except ValueError:  # what `resource` makes of EINVAL
        return errno.EINVAL
    except OSError as error:
        return error.errno or errno.EIO
    return 0


def run_as(uid: int, gid: int, action: t.Callable[[], object], timeout_seconds: float = CHILD_SECONDS) -> int:
    """The same in a child process that has become another user for good; ETIMEDOUT where that takes too long.

    The child gets no groups but the one, and does nothing but the action: it starts no program and ends at once.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        number = errno.EIO
        try:
            number = error_of(lambda: _become(uid, gid)) or error_of(action)
            os.write(writer, b"%d\n" % number)
        finally:
            # Neither Ansible's exit handlers nor anything else of the parent's.
            os._exit(0)
    os.close(writer)
    try:
        ready, _writable, _failed = select.select([reader], [], [], timeout_seconds)
        answer = os.read(reader, 16) if ready else b""
    finally:
        os.close(reader)
        _end_child(child, timeout_seconds)
    if not ready:
        return errno.ETIMEDOUT
    return int(answer) if answer.strip().isdigit() else errno.EIO


def _become(uid: int, gid: int) -> None:
    """Groups first: without being root that would not be allowed any more."""
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)


def _end_child(child: int, timeout_seconds: float) -> None:
    """Wait for the child, and kill it where it does not end."""
    give_up_at = time.monotonic() + timeout_seconds
    while True:
        ended, _status = os.waitpid(child, os.WNOHANG)
        if ended:
            return
        if time.monotonic() > give_up_at:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return
        time.sleep(0.005)


def _result(
    parameters: dict[str, t.Any], before: Limits, after: Limits, method: str, conflict: str | None
) -> dict[str, t.Any]:
    changes, diff = [], []
    name = parameters["resource"]
    for what, old, new, reversible in (
        (_changes.process_limit(name), before.soft, after.soft, True),
        # Of no effect by itself, and nobody but root of the host could raise it again.
        (_changes.process_hard_limit(name), before.hard, after.hard, False),
    ):
        if old != new:
            changes.append(_changes.change(what, old, new, reversible))
            diff.append(diff_of(what, old, new))
    return changed_result(
        changes,
        diff,
        pid=parameters["pid"],
        resource=name,
        soft={"before": before.soft, "after": after.soft},
        hard={"before": before.hard, "after": after.hard},
        method=method,
        conflict=conflict,
    )
