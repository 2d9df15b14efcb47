# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""Change a kernel setting: its running value first, then what the next boot sets."""

from __future__ import annotations

import errno
import os
import posixpath
import re
import typing as t

from ansible_collections.redisops.persistence.plugins.module_utils import _changes
from ansible_collections.redisops.persistence.plugins.module_utils._boot_plan import (
    BootPlan,
    carry_out,
    plan_boot,
    same_value,
)
from ansible_collections.redisops.persistence.plugins.module_utils._boot_settings import Setting, normalize_sysctl_key
from ansible_collections.redisops.persistence.plugins.module_utils._kernel_settings import (
    OVERCOMMIT,
    TRANSPARENT_HUGE_PAGES,
    parse_choice,
)
from ansible_collections.redisops.persistence.plugins.module_utils._module_outcome import (
    Outcome,
    Refused,
    changed_result,
    diff_of,
)
from ansible_collections.redisops.persistence.plugins.module_utils._system import System, clean_text

NAME_LIMIT_CHARACTERS = 200
VALUE_LIMIT_CHARACTERS = 1024
RUNNING_LIMIT_BYTES = 64 * 1024

_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:@-]*")
# One word that a script may write; several words are not looked for in scripts.
_WORD = r"[\w.,:+-]+"


class Request(t.NamedTuple):
    """What the module is asked for, checked. ``boot``: present, absent or unchanged."""

    setting: Setting
    value: str
    boot: str
    running: bool
    expected: str | None


class Running(t.NamedTuple):
    before: str | None
    after: str | None


def parse_request(parameters: dict[str, t.Any]) -> Request:
    """The module's options. Raises Refused."""
    setting = find_setting(parameters["name"])
    value = check_value(setting, parameters["value"])
    return Request(setting, value, parameters["boot"], parameters["running"], parameters["expected"])


def find_setting(name: str) -> Setting:
    """A sysctl by its name with dots or slashes, or ``transparent_hugepage``. Raises Refused.

    No name leads out of /proc/sys: each part is a plain word.
    """
    if name == TRANSPARENT_HUGE_PAGES.name:
        return TRANSPARENT_HUGE_PAGES
    key = normalize_sysctl_key(name)
    parts = key.split("/")
    if len(name) > NAME_LIMIT_CHARACTERS or len(parts) < 2 or name.strip("./") != name:
        raise Refused(f"{clean_text(name[:NAME_LIMIT_CHARACTERS])!r} is no name of a kernel setting")
    if not all(_PART.fullmatch(part) and ".." not in part for part in parts):
        raise Refused(f"{clean_text(name)!r} is no name of a kernel setting")
    if key == OVERCOMMIT.sysctl_key:
        return OVERCOMMIT
    dotted = key.replace("/", ".")
    return Setting(
        # A part with a dot in it, such as the name of a VLAN's interface, can only be written with slashes.
        name=key if "." in key else dotted,
        path=f"/proc/sys/{key}",
        values=_WORD,
        kernel_arguments=(f"sysctl.{dotted}",),
        sysctl_key=key,
        tuned_options={"sysctl": (dotted,)},
    )


def check_value(setting: Setting, value: str) -> str:
    """A value as it is written into files: one line, single blanks between words. Raises Refused."""
    words = value.split(" ") if "\t" not in value else value.replace("\t", " ").split(" ")
    text = " ".join(word for word in words if word)
    if not text or len(text) > VALUE_LIMIT_CHARACTERS or not text.isprintable() or not text.isascii():
        raise Refused(f"{clean_text(value[:VALUE_LIMIT_CHARACTERS])!r} is no value for {setting.name}")
    if setting.values != _WORD and not re.fullmatch(setting.values, text):
        raise Refused(f"{text!r} is no value for {setting.name}: it takes {setting.values.strip('[]')}")
    return text


def change_kernel_setting(parameters: dict[str, t.Any], system: System, check_mode: bool) -> Outcome:
    """The whole of the module. What can be seen beforehand to fail fails in check mode too, with the same changes."""
    try:
        request = parse_request(parameters)
    except Refused as error:
        return Outcome(changed_result([], []), str(error))
    boot = plan_boot(system, request.setting, request.value, request.boot)
    running = Running(None, None)
    try:
        running = read_running(system, request)
        sets_running = request.running and not same_value(running.before, request.value)
        conflict = find_conflict(request, running.before) if request.running else None
        if sets_running and conflict is None:
            check_settable(system, request)
            if not check_mode:
                set_running(system, request)
    except Refused as error:
        return Outcome(_result(request, running, boot, False, None, [], []), str(error))
    if conflict is not None:
        return Outcome(_result(request, running, boot, False, conflict, [], []), None, (conflict,))
    changes, diff = [], []
    if sets_running:
        what = _what(request.setting)
        changes.append(_changes.change(what, running.before, request.value))
        diff.append(diff_of(what, running.before, request.value))
        running = running._replace(after=request.value)
    return _change_boot(system, request, running, boot, changes, diff, check_mode)


def _change_boot(
    system: System,
    request: Request,
    running: Running,
    boot: BootPlan,
    changes: list[_changes.Change],
    diff: list[dict[str, str]],
    check_mode: bool,
) -> Outcome:
    """The second half: our file, after the running value."""
    failure = boot.blocked
    if boot.writes and boot.form.path:
        directory = posixpath.dirname(boot.form.path)
        directory_is_missing = boot.text_after is not None and not system.exists(directory)
        try:
            if not check_mode:
                carry_out(system, boot, directory_is_missing)
        except OSError as error:
            failure = f"{boot.form.path}: {error.strerror or error}"
        else:
            if directory_is_missing:
                what = _changes.directory(directory)
                changes.append(_changes.change(what, None, "present", reversible=False))
                diff.append(diff_of(what, None, "present"))
            what = _changes.file_content(boot.form.path)
            changes.append(_changes.change(what, boot.text_before, boot.text_after))
            diff.append(diff_of(boot.form.path, boot.text_before, boot.text_after))
    result = _result(request, running, boot, failure is None, None, changes, diff)
    if failure is not None:
        done = f"set to {request.value} now" if changes else f"{running.before} as before"
        return Outcome(result, f"{request.setting.name} is {done}, and what the next boot sets stays: {failure}")
    return Outcome(result, None, _warnings(request, boot))


def _warnings(request: Request, boot: BootPlan) -> tuple[str, ...]:
    if request.boot != "present" or boot.effective is True:
        return ()
    name, value, why = request.setting.name, request.value, boot.reason or "nothing else is known"
    if boot.effective is False:
        return (f"The next boot does not set {name} to {value}: {why}",)
    return (f"Whether the next boot sets {name} to {value} can't be told: {why}",)


def _result(
    request: Request,
    running: Running,
    boot: BootPlan,
    boot_is_done: bool,
    conflict: str | None,
    changes: list[_changes.Change],
    diff: list[dict[str, str]],
) -> dict[str, t.Any]:
    text = boot.text_after if boot_is_done else boot.text_before
    return changed_result(
        changes,
        diff,
        name=request.setting.name,
        running=running._asdict(),
        boot={
            "before": boot.before,
            "after": (boot.after if boot_is_done else boot.before)["value"],
            "file": boot.form.path if text is not None else None,
            "form": boot.form.kind,
            "effective": boot.effective if boot_is_done else None,
            "overridden_by": boot.overridden_by,
            "reason": boot.reason,
        },
        conflict=conflict,
    )


def _what(setting: Setting) -> str:
    return _changes.sysctl(setting.name) if setting.sysctl_key is not None else _changes.huge_pages()


# --- the running value ---------------------------------------------------------------------------------------------


def read_running(system: System, request: Request) -> Running:
    """The value that holds now. Raises Refused where it can't be read and is to be set."""
    try:
        text = system.read_text(request.setting.path, RUNNING_LIMIT_BYTES)
    except FileNotFoundError:
        text, why = None, "this kernel does not have it"
    except OSError as error:
        text, why = None, error.strerror or str(error)
    else:
        why = "its value is not understood"
    value = None
    if text is not None:
        value = parse_choice(text) if request.setting.sysctl_key is None else " ".join(text.split())
    if value is None and request.running:
        raise Refused(f"{request.setting.name} ({request.setting.path}): {why}")
    return Running(value, value)


def find_conflict(request: Request, running: str | None) -> str | None:
    """Why the setting is left alone: somebody else has changed it since."""
    if request.expected is None or same_value(running, request.value) or same_value(running, request.expected):
        return None
    return (
        f"{request.setting.name} is {running}, neither {request.value} nor {request.expected}: "
        "somebody else has changed it, and it is left alone"
    )


def check_settable(system: System, request: Request) -> None:
    """Look whether the kernel would take a value at all, without writing one. Raises Refused."""
    path = system.path(request.setting.path)
    if os.statvfs(path).f_flag & os.ST_RDONLY:
        raise Refused(_why_not_set(request, errno.EROFS))
    if not os.access(path, os.W_OK):
        raise Refused(_why_not_set(request, errno.EACCES))


def set_running(system: System, request: Request) -> None:
    """Write the value and read it back. Raises Refused."""
    try:
        descriptor = os.open(system.path(request.setting.path), os.O_WRONLY | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            os.write(descriptor, f"{request.value}\n".encode("ascii"))
        finally:
            os.close(descriptor)
    except OSError as error:
        raise Refused(_why_not_set(request, error.errno or 0)) from error
    taken = read_running(system, request).before
    if not same_value(taken, request.value):
        raise Refused(f"{request.setting.name} was set to {request.value}, and the kernel made {taken} of it")


def _why_not_set(request: Request, number: int) -> str:
    """What a failed write means, and what to do."""
    setting = request.setting
    start = f"{setting.name} can't be set to {request.value}: {setting.path}"
    if number == errno.EROFS:
        on_host = (
            f"sysctl -w {setting.name}={request.value!r}"
            if setting.sysctl_key is not None
            else f"echo {request.value} > {setting.path}"
        )
        return (
            f"{start} is on a file system that is mounted read-only here (EROFS), as in a container: the setting is "
            f"the host's. Run this against the host, or there: {on_host}"
        )
    if number in (errno.EACCES, errno.EPERM):
        name = errno.errorcode[number]
        return f"{start} can't be written by uid {os.geteuid()} ({name}). Run as root of the host (become: true)"
    if number == errno.EINVAL:
        return f"{start}: the kernel does not take this value (EINVAL)"
    return f"{start}: {os.strerror(number)} ({errno.errorcode.get(number, number)})"
