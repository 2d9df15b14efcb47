# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""The fixes of the data directory: which one change of owner, mode, attribute or file lets the server save there.

Nothing here is done in a place that intruders use, in a directory of the system, outside the allow list, or where the
storage reports errors. The modules ask all of it again at the moment of the change.
"""

from __future__ import annotations

import posixpath
import re
import typing as t

from ansible_collections.redisops.persistence.plugins.module_utils import _changes
from ansible_collections.redisops.persistence.plugins.module_utils._forbidden_places import is_allowed, why_forbidden
from ansible_collections.redisops.persistence.plugins.module_utils._hijack_places import grade_name, grade_place
from ansible_collections.redisops.persistence.plugins.module_utils._privilege import Objection
from ansible_collections.redisops.persistence.plugins.plugin_utils.hijack import DEFAULT_DBFILENAME
from ansible_collections.redisops.persistence.plugins.plugin_utils.plan_case import (
    MANUAL,
    OPT_IN,
    REFUSE,
    CannotFix,
    Situation,
    Work,
    collector_has,
    is_local_client,
    need_ids,
    need_parameter,
    need_process,
    need_root,
    need_server,
)
from ansible_collections.redisops.persistence.plugins.plugin_utils.plan_units import drop_in, part, unit_of
from ansible_collections.redisops.persistence.plugins.plugin_utils.policy import NOT_ALLOWED
from ansible_collections.redisops.persistence.plugins.plugin_utils.signals_privilege import (
    directory_objections,
    server_objections,
)
from ansible_collections.redisops.persistence.plugins.plugin_utils.signals_storage import is_forbidden, running_place
from ansible_collections.redisops.persistence.plugins.plugin_utils.values import (
    dig,
    entries,
    flag,
    integer,
    mapping,
    text,
)

_CONTROL_CHARACTERS = re.compile(r"[\x00-\x1f\x7f]")
_OWNER_RIGHTS = 0o700
_WRITE_BY_OTHERS = 0o002
DEFAULT_MODE = 0o750
# Names that need no quoting in a unit file (systemd.syntax(7)) and hold no specifier (%).
_PLAIN_UNIT_PATH = re.compile(r"/[A-Za-z0-9/_.,:@+-]*", re.ASCII)
DIR_PARAMETER, NAME_PARAMETER = "dir", "dbfilename"
OWN_DIRECTORY = "Give the server a directory of its own."


# Where anything may be changed ---------------------------------------------------------------------------------------


def forbid_hijack(situation: Situation) -> None:
    """Raises CannotFix where the dump goes to a place of intruders, or nobody can tell."""
    signals = situation.signals
    if signals.get("hijacked") is True or signals.get("attempt_was_hijacked") is True:
        raise CannotFix(REFUSE, "The dump is aimed at a place or a name that intruders use.")
    if signals.get("hijacked") is not False:
        reasons = signals.get("hijack_reasons") or ["neither dir nor dbfilename is known"]
        raise CannotFix(REFUSE, f"Whether intruders have aimed the dump there can't be told: {reasons[0]}.")


def forbid_bad_storage(situation: Situation) -> None:
    """Raises CannotFix where the storage reports errors: nothing is written to it."""
    if situation.storage_untrusted:
        raise CannotFix(REFUSE, "The storage reports errors: nothing is written to it before that is put right.")


def forbid_path(path: str, allowed_dirs: t.Iterable[str], root: str | None = "/") -> None:
    """Raises CannotFix for a path where nothing may be changed. ``root``: the server's root directory."""
    if _CONTROL_CHARACTERS.search(path):
        raise CannotFix(REFUSE, "The path of the directory holds a control character.")
    if not path.startswith("/") or posixpath.normpath(path) != path or path.startswith("//"):
        raise CannotFix(REFUSE, "The path of the directory is not a plain absolute one.")
    seen_from_host = path if root in (None, "/") else posixpath.normpath(f"{root}/{path}")
    for place in dict.fromkeys((path, "/" + seen_from_host.lstrip("/"))):
        what = why_forbidden(place)
        if what is None and (is_forbidden(place) or grade_place(place) is not None):
            what = "a directory of the system or one that intruders use"
        if what is not None:
            raise CannotFix(REFUSE, f"{place} is {what}: nothing is ever changed there.")
    if not is_allowed(path, allowed_dirs):
        raise CannotFix(REFUSE, f"{path} {NOT_ALLOWED}")


def accepted(objections: t.Sequence[Objection]) -> list[str]:
    """What the operator accepts by asking for a fix: what stands against it now. Raises CannotFix for what nobody may.

    What comes up between plan and change is refused by the modules.
    """
    for objection in objections:
        if not objection.acceptable:
            raise CannotFix(REFUSE, f"{objection.reason} {OWN_DIRECTORY}")
    return list(dict.fromkeys(objection.id for objection in objections))


def forbid_read_only(situation: Situation) -> None:
    view = mapping(situation.case.directory, "process_view")
    if flag(view, "super_read_only") is True:
        raise CannotFix(REFUSE, "The file system is read-only, and it is never made writable or written to.")
    if flag(view, "read_only") is True:
        raise CannotFix(MANUAL, "The directory is read-only for the server; that comes first.")


def data_path(situation: Situation) -> str:
    path = text(situation.case.directory, "path")
    if path is None:
        raise CannotFix(MANUAL, "The directory that the server works in is not known; run as root (become).")
    return path


def place_of(situation: Situation) -> dict[str, t.Any]:
    """{pid, started_unix, path, device, inode, config_file, accept} of a directory that may be changed.

    Raises CannotFix for any other. ``accept`` holds what the operator has accepted by asking for the fix: the rules
    leave nothing to be accepted in one that is applied unasked.
    """
    path = data_path(situation)
    forbid_hijack(situation)
    forbid_path(path, situation.policy.allowed_dirs, text(situation.case.directory, "root"))
    accept = accepted(directory_objections(situation.case))
    forbid_bad_storage(situation)
    forbid_read_only(situation)
    signals = situation.signals
    if signals.get("directory_deleted") is True:
        raise CannotFix(MANUAL, "The directory has been deleted.")
    if signals.get("directory_deleted") is None:
        raise CannotFix(MANUAL, "Whether the directory is still there is not known; run as root on the host (become).")
    if signals.get("directory_hidden") is True:
        raise CannotFix(MANUAL, "A mount covers the directory; only the server still stands in it.")
    view = mapping(situation.case.directory, "process_view")
    device, inode = text(view, "device"), integer(view, "inode")
    if device is None or inode is None:
        raise CannotFix(MANUAL, "Which directory it is (device and inode) is not known; run as root (become).")
    return {
        **need_process(situation),
        "path": path,
        "device": device,
        "inode": inode,
        "config_file": text(situation.case.redis, "config_file"),
        "accept": accept,
    }


def dump_name(situation: Situation) -> str:
    """The plain name of the dump."""
    _directory, name = running_place(situation.case)
    if not name or "/" in name or name in (".", "..") or _CONTROL_CHARACTERS.search(name):
        raise CannotFix(MANUAL, "The name of the dump is not known, or is no plain name.")
    return name


def need_no_attribute(situation: Situation) -> None:
    """Raises CannotFix where an attribute of the directory refuses the change, and stays."""
    goes = situation.opted_in("immutable") and "immutable" not in situation.policy.skip
    if situation.signals.get("directory_attribute_blocks") is True and not goes:
        raise CannotFix(MANUAL, "The directory is immutable or append-only; that comes first (immutable).")


# Owner and mode ------------------------------------------------------------------------------------------------------


def data_dir(situation: Situation) -> Work:
    """The least that lets the server's own user write: rights for the owner where it is the owner, else ownership.

    An owner is judged by the owner's bits alone, whatever an ACL says of the same user.
    """
    place = place_of(situation)
    path, directory = place["path"], situation.case.directory
    uid, gid = need_ids(situation)
    owner_uid, owner_gid = integer(directory, "owner", "uid"), integer(directory, "owner", "gid")
    mode = _mode(text(directory, "owner", "mode"))
    if owner_uid is None or owner_gid is None or mode is None:
        raise CannotFix(MANUAL, "The owner and the mode of the directory are not known.")
    need_no_attribute(situation)
    blocked_by = text(directory, "access", "blocked_by")
    if blocked_by not in (None, path):
        raise CannotFix(MANUAL, f"{blocked_by} blocks the way; that one is not the server's own.")
    _need_right_to_change(situation, owner_uid, uid)
    wanted_mode = mode | _OWNER_RIGHTS
    if wanted_mode != mode and wanted_mode & _WRITE_BY_OTHERS:
        raise CannotFix(MANUAL, f"Everybody may write to the directory (mode {mode:04o}); put that right first.")
    is_owner = owner_uid == uid
    wanted_uid, wanted_gid = (None, None) if is_owner else (uid, gid if gid != owner_gid else None)
    changes, commands = [], []
    if not is_owner:
        after = f"{uid}:{owner_gid if wanted_gid is None else wanted_gid}"
        changes.append(_changes.change(_changes.owner(path), f"{owner_uid}:{owner_gid}", after))
        owner = f"{uid}:{wanted_gid}" if wanted_gid is not None else f"{uid}"
        commands.append(situation.command(f"chown {owner} {{directory}}"))
    if wanted_mode != mode:
        changes.append(_changes.change(_changes.mode(path), f"{mode:04o}", f"{wanted_mode:04o}"))
        commands.append(situation.command("chmod u+rwx {directory}"))
    arguments = {
        **place,
        "uid": wanted_uid,
        "gid": wanted_gid,
        "mode": f"{wanted_mode:04o}" if wanted_mode != mode else None,
        "allowed_dirs": list(situation.policy.allowed_dirs),
    }
    return Work(arguments, changes, commands or None)


def _mode(spelled: str | None) -> int | None:
    return int(spelled, 8) if spelled and re.fullmatch(r"[0-7]{3,5}", spelled) else None


def _need_right_to_change(situation: Situation, owner_uid: int, server_uid: int) -> None:
    collector = mapping(situation.host, "collector")
    if collector.get("root") is False and not collector.get("uid") == owner_uid == server_uid:
        raise CannotFix(MANUAL, "Changing the owner of a directory takes root on the host (become).")


# Attributes and what lies in the way ----------------------------------------------------------------------------------


def immutable(situation: Situation) -> Work:
    place = place_of(situation)
    letters = _letters(mapping(situation.case.directory, "attributes"))
    dump_letters = _letters(mapping(situation.case.directory, "dump", "attributes"))
    if not letters and not dump_letters:
        raise CannotFix(MANUAL, "Which attribute is set is not known, or none is.")
    if collector_has(situation, "CAP_LINUX_IMMUTABLE") is False:
        raise CannotFix(MANUAL, "Removing the attribute takes CAP_LINUX_IMMUTABLE, which this run does not have.")
    changes, commands, name = [], [], None
    if letters:
        changes.append(_changes.change(_changes.attributes(place["path"]), letters, ""))
        commands.append(situation.command(f"chattr -{letters} {{directory}}"))
    if dump_letters:
        name = dump_name(situation)
        path = posixpath.join(place["path"], name)
        changes.append(_changes.change(_changes.attributes(path), dump_letters, ""))
        commands.append(situation.command(f"chattr -{dump_letters} {{dump_path}}"))
    arguments = {
        **place,
        "attributes_remove": list(letters),
        "dump_name": name,
        "dump_attributes_remove": list(dump_letters),
        "allowed_dirs": list(situation.policy.allowed_dirs),
    }
    return Work(arguments, changes, commands)


def _letters(attributes: t.Mapping[str, t.Any]) -> str:
    return "".join(
        letter for letter, name in (("i", "immutable"), ("a", "append_only")) if flag(attributes, name) is True
    )


def destination(situation: Situation) -> Work:
    place, name = place_of(situation), dump_name(situation)
    need_no_attribute(situation)
    dump = mapping(situation.case.directory, "dump")
    if text(dump, "name") != name or text(dump, "type") != "directory":
        raise CannotFix(MANUAL, "No directory is known to have the name of the dump.")
    if flag(dump, "directory_empty") is not True:
        raise CannotFix(REFUSE, "The directory is not empty, or that is not known.")
    if flag(dump, "is_mount_point") is not False:
        raise CannotFix(MANUAL, "Something is mounted there, or that is not known.")
    path = posixpath.join(place["path"], name)
    arguments = {
        **place,
        "dump_name": name,
        "destination": "absent",
        "allowed_dirs": list(situation.policy.allowed_dirs),
    }
    return Work(arguments, [_changes.change(_changes.directory(path), "present", None)])


def orphan_temp_files(situation: Situation) -> Work:
    """The server's own that no process holds, each by its name. Everything else in the directory is somebody's."""
    place = place_of(situation)
    uid, _gid = need_ids(situation)
    need_no_attribute(situation)
    orphans = [
        entry
        for entry in entries(situation.case.directory, "temp_files")
        if entry.get("holder") == "none"
        and entry.get("open") is False
        and entry.get("uid") == uid
        and isinstance(entry.get("name"), str)
    ]
    if not orphans:
        raise CannotFix(MANUAL, "No temp file of the server's own user is known to be nobody's.")
    changes = [
        _changes.change(
            _changes.temporary_file(posixpath.join(place["path"], entry["name"])),
            integer(entry, "size_bytes"),
            None,
            reversible=False,
        )
        for entry in orphans
    ]
    arguments = {
        **place,
        "names": [entry["name"] for entry in orphans],
        "allowed_dirs": list(situation.policy.allowed_dirs),
    }
    return Work(arguments, changes)


# The place itself ----------------------------------------------------------------------------------------------------


def why_dir_is_fixed(situation: Situation) -> str | None:
    """Why the server doesn't let dir and dbfilename be set at run time; null where it does (7.0: protected)."""
    if situation.signals.get("behaves_like_7_0") is False:
        return None
    allowed = text(situation.case.config, "enable-protected-configs")
    if allowed == "yes" or (allowed == "local" and is_local_client(situation.address)):
        return None
    if allowed is None:
        return "Whether this server lets dir be set at run time (enable-protected-configs) is not known."
    return f"This server refuses to change dir at run time (enable-protected-configs {allowed}); it takes a restart."


def restore_dir(situation: Situation) -> Work:
    running = {name: need_parameter(situation, name) for name in (DIR_PARAMETER, NAME_PARAMETER)}
    fixed = why_dir_is_fixed(situation)
    if fixed is not None:
        raise CannotFix(MANUAL, fixed)
    written = mapping(situation.case.redis, "config_file_settings")
    wanted = {
        DIR_PARAMETER: text(written, DIR_PARAMETER),
        NAME_PARAMETER: text(written, NAME_PARAMETER) or DEFAULT_DBFILENAME,
    }
    directory, name = wanted[DIR_PARAMETER], wanted[NAME_PARAMETER]
    if directory is None or not directory.startswith("/") or _CONTROL_CHARACTERS.search(directory):
        raise CannotFix(MANUAL, "The configuration file names no absolute directory.")
    if grade_place(directory) is not None or is_forbidden(directory) or grade_name(name) == "strong":
        raise CannotFix(REFUSE, "What the configuration file says is itself a place or a name that intruders use.")
    for peer in situation.peers:
        taken = (text(peer, "redis", "config", DIR_PARAMETER), text(peer, "redis", "config", NAME_PARAMETER))
        if taken == (directory, name):
            raise CannotFix(REFUSE, f"{peer.get('address')} writes to that very file.")
    changed = {key: str(value) for key, value in wanted.items() if value != running[key]}
    changes = [_changes.change(_changes.parameter(key), running[key], value) for key, value in changed.items()]
    return Work({"parameters": changed}, changes)


# With a restart ------------------------------------------------------------------------------------------------------


def need_rescue(situation: Situation) -> str:
    """The directory for the copy that must exist before a restart. Raises CannotFix."""
    if situation.policy.rescue_dir is None:
        raise CannotFix(
            OPT_IN,
            "It needs a restart, and a checked copy of every key before it: name a directory of the host for it with "
            "remediate_rescue_dir.",
        )
    forbid_rescue(situation)
    return situation.policy.rescue_dir


def forbid_rescue(situation: Situation) -> None:
    """Raises CannotFix where no copy can be taken, or taking one endangers the server."""
    need_server(situation)
    if any(map(situation.stands, situation.rules.deadly)):
        raise CannotFix(REFUSE, "There is too little memory for the copy: taking it may end the server.")
    for outcome in situation.rules.outcomes.values():
        if outcome.stage == "fork" and situation.stands(outcome.id):
            raise CannotFix(MANUAL, f"The server can't fork, and without that no copy is taken: {outcome.title}.")
    rescue, path = situation.policy.rescue_dir, text(situation.case.directory, "path")
    if rescue is not None and path is not None and (rescue == path or rescue.startswith(path.rstrip("/") + "/")):
        raise CannotFix(REFUSE, "remediate_rescue_dir lies in the data directory; it must be another place.")


def need_restart(situation: Situation) -> str:
    """The unit that a restart goes through. Raises CannotFix where a restart could lose anything."""
    aof = flag(situation.case.info, "aof_enabled")
    if aof is not False:
        what = "The AOF is on" if aof else "Whether the AOF is on is not known"
        raise CannotFix(REFUSE, f"{what}: after a restart the server would load that, not the copy.")
    if situation.signals.get("shared_dump_with"):
        raise CannotFix(REFUSE, "Another server writes the same dump.")
    unit = unit_of(situation)
    if unit is None:
        raise CannotFix(MANUAL, "No systemd service of this host is known to run the server.")
    need_root(situation, "A restart")
    return unit


def recreate_dir(situation: Situation) -> Work:
    """The deleted directory again: stepped into where the server allows that, else by a restart."""
    path = data_path(situation)
    forbid_hijack(situation)
    forbid_path(path, situation.policy.allowed_dirs, text(situation.case.directory, "root"))
    forbid_bad_storage(situation)
    forbid_read_only(situation)
    if situation.signals.get("directory_deleted") is not True:
        raise CannotFix(MANUAL, "The directory is not known to have been deleted.")
    name, process, (uid, gid) = dump_name(situation), need_process(situation), need_ids(situation)
    need_root(situation, "Making the directory")
    need_server(situation)
    _forbid_taken_dump(situation, path, name)
    mode = _mode(text(situation.case.directory, "owner", "mode")) or DEFAULT_MODE
    mode = (mode | _OWNER_RIGHTS) & 0o775
    settable = why_dir_is_fixed(situation) is None
    unit = None if settable else need_restart(situation)
    rescue = None if settable else need_rescue(situation)
    arguments = {
        **process,
        "path": path,
        "uid": uid,
        "gid": gid,
        "mode": f"{mode:04o}",
        "unit": unit,
        "rescue_directory": rescue,
        "dump_name": name,
        "config_file": text(situation.case.redis, "config_file"),
        "accept": [objection.id for objection in server_objections(situation.case)],
        "without_restart": settable,
        "allowed_dirs": list(situation.policy.allowed_dirs),
    }
    changes = []
    if rescue is not None:
        changes.append(part("rescue", _changes.rescue_file(rescue), None, "every key", reversible=False))
    if dig(situation.case.directory, "lookup_view") is None:
        changes.append(part("directory", _changes.directory(path), None, "present", reversible=False))
    if unit is None:
        before = text(situation.case.config, DIR_PARAMETER) or ""
        changes.append(part("live", _changes.parameter(DIR_PARAMETER), before, path))
        commands = [
            situation.command(f"install -d -o {uid} -g {gid} -m {mode:04o} {{directory}}"),
            situation.command("{cli} CONFIG SET dir {directory}"),
        ]
        return Work(arguments, changes, commands)
    changes += _restart_changes(unit, posixpath.join(path, name), "absent")
    return Work(arguments, changes)


def _forbid_taken_dump(situation: Situation, path: str, name: str) -> None:
    """Another server may have moved into the place where the deleted directory was."""
    for peer in situation.peers:
        directory = mapping(peer, "data_directory")
        if text(directory, "path") == path and directory.get("deleted") is not True:
            raise CannotFix(REFUSE, f"{peer.get('address')} works in that directory now.")
        if text(directory, "path") == path and text(directory, "dump", "name") == name:
            raise CannotFix(REFUSE, f"{peer.get('address')} writes to that very file.")


def unit_sandbox(situation: Situation) -> Work:
    path = data_path(situation)
    forbid_hijack(situation)
    forbid_path(path, situation.policy.allowed_dirs, text(situation.case.directory, "root"))
    forbid_bad_storage(situation)
    if situation.signals.get("read_only_in_sandbox") is not True:
        raise CannotFix(MANUAL, "It is not known to be the sandbox alone that makes the directory read-only.")
    if situation.signals.get("directory_deleted") is not False:
        raise CannotFix(MANUAL, "The directory has been deleted, or that is not known.")
    if not _PLAIN_UNIT_PATH.fullmatch(path):
        raise CannotFix(MANUAL, "The path holds characters that mean something else in a unit file.")
    unit, name = need_restart(situation), dump_name(situation)
    process, (uid, gid) = need_process(situation), need_ids(situation)
    if situation.signals.get("directory_blocked") is True:
        raise CannotFix(MANUAL, "Its owner and mode keep the server out as well; that comes first (data_dir).")
    rescue = need_rescue(situation)
    written, changes = drop_in(situation, unit, "unit_sandbox", "ReadWritePaths", path)
    exists = flag(situation.case.directory, "dump", "exists")
    arguments = {
        **process,
        "path": path,
        "uid": uid,
        "gid": gid,
        "unit": unit,
        "drop_in": written,
        "rescue_directory": rescue,
        "dump_name": name,
        "allowed_dirs": list(situation.policy.allowed_dirs),
    }
    return Work(
        arguments,
        [
            part("rescue", _changes.rescue_file(rescue), None, "every key", reversible=False),
            *changes,
            *_restart_changes(unit, posixpath.join(path, name), "kept beside" if exists else "absent"),
        ],
    )


def _restart_changes(unit: str, dump_path: str, dump_before: str) -> list[_changes.Change]:
    return [
        part("restart", _changes.dump_in_place(dump_path), dump_before, "rescued file", reversible=False),
        part("restart", _changes.service(unit), "running", "restarted", reversible=False),
    ]
