# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""What to do about the next boot: whether our file would be in force, and what else has the say where it would not."""

from __future__ import annotations

import posixpath
import typing as t

from ansible_collections.redisops.persistence.plugins.module_utils._boot_file import (
    CONTAINER,
    LOCAL_FILE,
    SYSCTL_FILE,
    SYSFS_FILE,
    TMPFILES_FILE,
    ForeignLine,
    Form,
    change_text,
    choose_form,
    is_ours,
    parse_sysctl_text,
)
from ansible_collections.redisops.persistence.plugins.module_utils._boot_settings import Setting, collect_boot_setting
from ansible_collections.redisops.persistence.plugins.module_utils._namespaces import collector_in_container
from ansible_collections.redisops.persistence.plugins.module_utils._planned_system import PlannedSystem
from ansible_collections.redisops.persistence.plugins.module_utils._system import System
from ansible_collections.redisops.persistence.plugins.module_utils._write import (
    make_directory,
    read_own_file,
    remove_file,
    why_not_writable,
    write_file,
)

Boot = dict[str, t.Any]
"""BOOT of docs/evidence.md."""

LINE_EXCERPT_CHARACTERS = 80


class BootPlan(t.NamedTuple):
    """What is to be done for the next boot.

    :param before: what the next boot would set now.
    :param after: what it would set afterwards.
    :param form: where our file lies, or would.
    :param text_before: our file now, and ``text_after``: afterwards; None where there is none.
    :param effective: whether the next boot sets the value that is asked for; None where that can't be told.
    :param overridden_by: what has the say instead of our file.
    :param reason: what there is to say about all this.
    :param blocked: why our file can't be changed although it should be.
    """

    before: Boot
    after: Boot
    form: Form
    text_before: str | None
    text_after: str | None
    effective: bool | None
    overridden_by: list[str]
    reason: str | None
    blocked: str | None = None

    @property
    def writes(self) -> bool:
        return self.blocked is None and self.text_before != self.text_after


def same_value(one: str | None, other: str | None) -> bool:
    """Whether two values are the same to the kernel, which takes any blanks between words."""
    return one is not None and other is not None and one.split() == other.split()


def plan_boot(system: System, setting: Setting, value: str, state: str) -> BootPlan:
    """Decide about the next boot; reads only. ``state``: present, absent or unchanged."""
    before = collect_boot_setting(system, setting)
    if state == "absent":
        return _plan_absent(system, setting, value, before)
    form = choose_form(system, setting, value)
    unchanged = _unchanged(system, form, value, before)
    if state == "unchanged" or form.path is None or same_value(before["value"], value):
        return unchanged
    return _plan_present(system, setting, value, unchanged)


def _unchanged(system: System, form: Form, value: str, before: Boot) -> BootPlan:
    """Nothing is written."""
    text = read_own_file(system, form.path).text if form.path else None
    return BootPlan(before, before, form, text, text, _effective(system, form, value, before), [], form.reason)


def _effective(system: System, form: Form, value: str, boot: Boot) -> bool | None:
    """Whether a boot sets ``value``. What nothing sets is the kernel's default, which is unknown here."""
    if boot["value"] is None or collector_in_container(system):
        return None
    if not same_value(boot["value"], value):
        return False
    return None if form.path and form.read_at_boot is None and boot["source"].startswith("/") else True


def _plan_present(system: System, setting: Setting, value: str, unchanged: BootPlan) -> BootPlan:
    """Our file is written where it would be in force."""
    form, before = unchanged.form, unchanged.before
    path = form.path or ""
    found = read_own_file(system, path)
    problem = found.problem
    if problem is None and found.text is not None and not is_ours(found.text):
        problem = f"{path} is not a file that this module wrote"
    if problem is not None:
        return unchanged._replace(text_before=None, text_after=None, blocked=problem, reason=problem)
    try:
        text = change_text(form.kind, found.text, setting, value)
    except ForeignLine as line:
        problem = foreign_line_problem(path, line)
        return unchanged._replace(blocked=problem, reason=problem)
    after = collect_boot_setting(PlannedSystem(system, path, text, form.mode & 0o100 != 0), setting)
    if not same_value(after["value"], value):
        return _overridden(unchanged, after, setting)
    blocked = why_not_writable(system, posixpath.dirname(path))
    return BootPlan(before, after, form, found.text, text, form.read_at_boot, [], blocked or form.reason, blocked)


def _overridden(unchanged: BootPlan, after: Boot, setting: Setting) -> BootPlan:
    """Our file would be passed over, or something later would set another value: it is not written."""
    path, source = unchanged.form.path, after["source"]
    if source is None:
        notes = [
            entry["note"] for entry in after["candidates"] if entry["source"].startswith(f"{path}:") and entry["note"]
        ]
        reason = f"a boot would pass over {path}: {'; '.join(notes) or 'it sets nothing'}"
        return unchanged._replace(effective=False, reason=reason)
    sets = "a value that can't be told" if after["value"] is None else f"{setting.name} to {after['value']}"
    reason = f"{source} has the say at boot, whatever {path} says, and sets {sets}: change it there"
    if after["managed_by"]:
        reason += f" (managed by {after['managed_by']})"
    effective = None if after["value"] is None else False
    return unchanged._replace(effective=effective, overridden_by=[source], reason=reason)


def foreign_line_problem(path: str, line: ForeignLine) -> str:
    """What to say about a line that would be lost."""
    return f"{path} has a line that this module did not write: {str(line)[:LINE_EXCERPT_CHARACTERS]!r}"


def _plan_absent(system: System, setting: Setting, value: str, before: Boot) -> BootPlan:
    """Our file is removed, or our line of it, in whatever form an earlier run wrote it."""
    for kind, path in _possible_files(setting):
        found = read_own_file(system, path)
        form = Form(kind, path, True, None)
        if found.text is None or not is_ours(found.text):
            continue
        unchanged = BootPlan(before, before, form, found.text, found.text, None, [], None)
        try:
            text = change_text(kind, found.text, setting, None)
        except ForeignLine as line:
            problem = foreign_line_problem(path, line)
            return unchanged._replace(blocked=problem, reason=problem)
        if text is not None and parse_sysctl_text(text) == parse_sysctl_text(found.text):
            continue
        after = collect_boot_setting(PlannedSystem(system, path, text), setting)
        blocked = why_not_writable(system, posixpath.dirname(path))
        effective = _effective(system, form, value, after)
        return BootPlan(before, after, form, found.text, text, effective, [], blocked, blocked)
    form = Form("none", None, None, "there is no file of ours")
    reason = CONTAINER if collector_in_container(system) else form.reason
    return BootPlan(before, before, form, None, None, _effective(system, form, value, before), [], reason)


def _possible_files(setting: Setting) -> list[tuple[str, str]]:
    if setting.sysctl_key is not None:
        return [("sysctl.d", SYSCTL_FILE)]
    return [("tmpfiles.d", TMPFILES_FILE), ("sysfs.d", SYSFS_FILE), ("local.d", LOCAL_FILE)]


def carry_out(system: System, plan: BootPlan, directory_is_missing: bool) -> None:
    """Write or remove our file. Raises OSError."""
    path = plan.form.path
    if not plan.writes or path is None:
        return
    if plan.text_after is None:
        remove_file(system, path)
        return
    if directory_is_missing:
        make_directory(system, posixpath.dirname(path))
    write_file(system, path, plan.text_after, plan.form.mode)
