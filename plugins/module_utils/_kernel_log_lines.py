# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""Messages of the Linux kernel that explain a save's end, to events.

Texts of kernels 3.10 .. 6.18: mm/oom_kill.c, mm/memcontrol.c, mm/util.c, block/blk-core.c, fs/buffer.c, fs/ext4,
fs/xfs, fs/btrfs, security/selinux/avc.c, security/apparmor/audit.c, kernel/auditsc.c, kernel/cgroup/pids.c,
kernel/hung_task.c, arch/x86/mm/fault.c. A process's name (at most 15 bytes) may hold anything.
"""

from __future__ import annotations

import re
import typing as t

from ansible_collections.redisops.persistence.plugins.module_utils._system import to_utf8

TEXT_LIMIT = 400
DETAIL_LIMIT = 200
# Lines of one OOM kill are written together; a table of tasks may stand between them.
SAME_KILL_SECONDS = 10.0

Event = dict[str, t.Any]

CONSTRAINTS = {
    "CONSTRAINT_NONE": "host",
    "CONSTRAINT_MEMCG": "cgroup",
    "CONSTRAINT_CPUSET": "cpuset",
    "CONSTRAINT_MEMORY_POLICY": "nodes",
}

# Servers, their children (which keep the name) and nothing else: for records that every program leaves behind.
SERVER_COMMAND = re.compile(r"(?:redis|valkey|keydb)")

_OOM_KILL = re.compile(r"oom-kill:(?P<fields>constraint=.*)\Z")
_OOM_FIELDS = re.compile(
    r"constraint=(?P<constraint>\w+),.*?"
    r"(?:(?P<global>global_oom)|oom_memcg=(?P<oom_cgroup>.*?)),task_memcg=(?P<task_cgroup>.*),"
    r"task=(?P<command>.*),pid=(?P<pid>\d{1,10}),uid=(?P<uid>\d{1,10})\Z"
)
_KILLED = re.compile(
    r"(?:(?P<why>Memory cgroup out of memory|Out of memory)[^:]{0,60}: )?Killed process (?P<pid>\d{1,10})"
    r"(?:, UID \d{1,10},)? \((?P<command>.{0,40}?)\),? (?P<sizes>.*total-vm:.*)\Z"
)
_CHOSEN = re.compile(
    r"(?P<why>Memory cgroup out of memory|Out of memory)[^:]{0,60}: Kill process (?P<pid>\d{1,10})"
    r" \((?P<command>.{0,40}?)\) score \d{1,10} or sacrifice child\Z"
)
_OLD_CGROUPS = re.compile(r"Task in (?P<task_cgroup>/.*) killed as a result of limit of (?P<oom_cgroup>/.*)\Z")
_OOM_GROUP = re.compile(r"Tasks in (?P<cgroup>/.*) are going to be killed due to memory\.oom\.group set\Z")
_ANONYMOUS = re.compile(r"\banon-rss:(\d{1,15})kB")
_UID = re.compile(r"\bUID:(\d{1,10})\b")
_SCORE = re.compile(r"\boom_score_adj:(-?\d{1,5})\b")

_COMMIT = re.compile(
    r"__vm_enough_memory: pid: (?P<pid>\d{1,10}), comm: (?P<command>.*?), "
    r"(?:bytes: (?P<bytes>\d{1,20}) )?(?:not|no) enough memory for the allocation\Z"
)
_IO_ERRORS = (
    re.compile(
        r"(?:(?:blk_update_request|print_req_error|end_request): )?"
        r"(?P<detail>(?:I/O|critical (?:medium|target|space allocation|nexus)|timeout|recoverable transport) error),"
        r" dev (?P<device>[\w!.-]{1,40})\b.*"
    ),
    re.compile(r"Buffer I/O error on dev(?:ice)? (?P<device>[\w!.-]{1,40}),(?P<detail>.*)"),
    re.compile(r"(?P<device>[\w!.-]{1,40}): (?P<detail>rw=\d+, want=\d+, limit=\d+)"),
    re.compile(r"device-mapper: thin: (?P<device>[\w:.-]{1,40}): (?P<detail>.*(?:out-of-data-space|no free space).*)"),
)
_FILESYSTEM_ERRORS = (
    re.compile(r"(?P<filesystem>EXT[234])-fs (?:error|critical) \(device (?P<device>[^)\s]{1,40})\): ?(?P<detail>.*)"),
    re.compile(
        r"(?P<filesystem>XFS) \((?P<device>[^)\s]{1,40})\): "
        r"(?P<detail>(?:Internal error|[Mm]etadata I/O error|Metadata corruption|Corruption|[Ll]og I/O error|log mount"
        r"|xfs_do_force_shutdown|Filesystem has been shut down|User initiated shutdown).*)"
    ),
    re.compile(
        r"(?P<filesystem>BTRFS):? (?:error|critical) \(device (?P<device>[^)\s]{1,40})[^)]{0,60}\):? ?(?P<detail>.*)"
    ),
    re.compile(r"(?P<filesystem>JBD2): (?P<detail>Detected IO errors .* on (?P<device>\S{1,40}))"),
    re.compile(r"(?P<detail>Aborting journal on device (?P<device>[^\s]{1,40}?)\.?)\Z"),
    re.compile(r"(?P<filesystem>F2FS|FAT)-fs \((?P<device>[^)\s]{1,40})\): (?P<detail>.*error.*)", re.IGNORECASE),
    re.compile(r"(?P<filesystem>nfs): server (?P<device>\S{1,60}) (?P<detail>not responding.*)"),
)
_READ_ONLY = (
    re.compile(r"EXT[234]-fs \((?P<device>[^)\s]{1,40})\): Remounting filesystem read-only"),
    re.compile(r"EXT[234]-fs \((?P<device>[^)\s]{1,40})\): re-mounted \S{1,60} ro\b"),
    re.compile(r"BTRFS:? (?:info|error|warning) \(device (?P<device>[^)\s:]{1,40})[^)]{0,60}\).*forced readonly"),
    re.compile(r"F2FS-fs \((?P<device>[^)\s]{1,40})\): .*(?:remount|readonly|read-only)"),
)
_AVC = re.compile(r"avc: {1,2}denied {1,2}\{ (?P<operation>[\w ]{1,100}) \} for {1,2}(?P<fields>.*)")
_APPARMOR = re.compile(r"apparmor=\"DENIED\" (?P<fields>.*)")
_SECCOMP = re.compile(r"(?:type=1326 audit\([^)]{1,60}\): |type=SECCOMP msg=audit\([^)]{1,60}\): ?)(?P<fields>.*)")
_FIELD = re.compile(r"(?:^|\s)(?P<name>[\w-]{1,30})=(?:\"(?P<quoted>[^\"]{0,4096})\"|(?P<plain>[^\s\"]{1,4096}))")
_FAULTS = (
    re.compile(r"(?P<command>.{1,40}?)\[(?P<pid>\d{1,10})\]: (?P<detail>segfault at .*)"),
    re.compile(r"traps: (?P<command>.{1,40}?)\[(?P<pid>\d{1,10})\] (?P<detail>(?:general protection|trap ).*)"),
    re.compile(
        r"(?P<command>.{1,40}?)\[(?P<pid>\d{1,10})\]: (?P<detail>unhandled .{0,60}(?:fault|exception|signal).*)"
    ),
)
_FORK_REJECTED = re.compile(r"cgroup: fork rejected by pids controller in (?P<cgroup>/.*)\Z")
_HUNG = re.compile(
    r"INFO: task (?P<command>.{1,40}?):(?P<pid>\d{1,10}) blocked for more than (?P<seconds>\d{1,9}) seconds"
)
# seccomp.h: the filter's action is in the upper half of the code; LOG and ALLOW kill nothing.
_SECCOMP_ACTION_MASK = 0xFFFF0000
_SECCOMP_KILLS = (0x80000000, 0x00000000)
_AUDIT_TIME = re.compile(r"audit\((?P<seconds>\d{9,11})\.(?P<milliseconds>\d{3}):\d{1,12}\)")

# Something that every message of interest holds: looked for before anything else.
NEEDLES = (
    "Kill",
    "oom-kill",
    "are going to be killed",
    "killed as a result",
    "enough memory",
    "error",
    "rw=",
    "device-mapper",
    "XFS",
    "BTRFS",
    "FS-fs",
    "Aborting journal",
    "IO errors",
    "not responding",
    "ead-only",
    "re-mounted",
    "denied",
    "DENIED",
    "1326",
    "SECCOMP",
    "segfault",
    "traps:",
    "unhandled",
    "fork rejected",
    "blocked for more",
)


def _fields(text: str) -> dict[str, str]:
    """``name=value`` and ``name="value"`` pairs of an audit record; the first of a name counts."""
    found: dict[str, str] = {}
    for match in _FIELD.finditer(text):
        value = match["quoted"] if match["quoted"] is not None else match["plain"]
        found.setdefault(match["name"], value)
    return found


def _audit_text(value: str | None) -> str | None:
    """A file name or command of an audit record: names with unusual bytes come as hexadecimal digits."""
    if value is None:
        return None
    if len(value) >= 4 and len(value) % 2 == 0 and re.fullmatch(r"[0-9A-F]+", value):
        return to_utf8(bytes.fromhex(value))
    return value


def _integer(value: str | None) -> int | None:
    if value is None or not value.isascii() or not value.isdigit() or len(value) > 19:
        return None
    return int(value)


def _oom_constraint(message: str) -> Event | None:
    match = _OOM_KILL.match(message)
    inner = _OOM_FIELDS.match(match["fields"]) if match else None
    if inner is None:
        return None
    return {
        "event": "oom_kill",
        "pid": int(inner["pid"]),
        "command": inner["command"],
        "uid": int(inner["uid"]),
        "constraint": CONSTRAINTS.get(inner["constraint"]),
        "oom_cgroup": inner["oom_cgroup"],
        "task_cgroup": inner["task_cgroup"],
        "anonymous_bytes": None,
        "oom_score_adj": None,
        "global": inner["global"] is not None,
    }


def _oom_victim(message: str) -> Event | None:
    match = _KILLED.match(message)
    sizes = match["sizes"] if match else ""
    if match is None:
        match = _CHOSEN.match(message)
    if match is None:
        return None
    why = match["why"]
    cgroup = None if why is None else why.startswith("Memory cgroup")
    anonymous, uid, score = _ANONYMOUS.search(sizes), _UID.search(sizes), _SCORE.search(sizes)
    return {
        "event": "oom_kill",
        "pid": int(match["pid"]),
        "command": match["command"],
        "uid": int(uid[1]) if uid else None,
        "constraint": "cgroup" if cgroup else None,
        "oom_cgroup": None,
        "task_cgroup": None,
        "anonymous_bytes": int(anonymous[1]) * 1024 if anonymous else None,
        "oom_score_adj": int(score[1]) if score else None,
        "global": None if cgroup is None else not cgroup,
    }


def _commit_refused(message: str) -> Event | None:
    match = _COMMIT.match(message)
    if match is None:
        return None
    return {
        "event": "commit_refused",
        "pid": int(match["pid"]),
        "command": match["command"],
        "bytes": _integer(match["bytes"]),
    }


def _device_event(message: str) -> Event | None:
    for pattern in _READ_ONLY:
        match = pattern.match(message)
        if match:
            return {"event": "remounted_read_only", "device": match["device"]}
    for pattern in _FILESYSTEM_ERRORS:
        match = pattern.match(message)
        if match:
            return {
                "event": "filesystem_error",
                "device": match["device"],
                "filesystem": match.groupdict().get("filesystem"),
                "detail": match["detail"].strip()[:DETAIL_LIMIT],
            }
    for pattern in _IO_ERRORS:
        match = pattern.match(message)
        if match:
            return {
                "event": "io_error",
                "device": match["device"],
                "detail": match["detail"].strip()[:DETAIL_LIMIT],
            }
    return None


def _denied(message: str) -> Event | None:
    match = _AVC.search(message)
    if match:
        fields = _fields(match["fields"])
        if fields.get("permissive") == "1":
            return None  # logged, not refused
        return {
            "event": "access_denied",
            "system": "selinux",
            "command": _audit_text(fields.get("comm")),
            "pid": _integer(fields.get("pid")),
            "uid": None,
            "operation": match["operation"],
            "path": _audit_text(fields.get("path") or fields.get("name")),
            "profile": fields.get("scontext"),
        }
    match = _APPARMOR.search(message)
    if match:
        fields = _fields(match["fields"])
        return {
            "event": "access_denied",
            "system": "apparmor",
            "command": _audit_text(fields.get("comm")),
            "pid": _integer(fields.get("pid")),
            "uid": _integer(fields.get("fsuid")),
            "operation": fields.get("operation"),
            "path": _audit_text(fields.get("name")),
            "profile": _audit_text(fields.get("profile")),
        }
    return None


def _seccomp(message: str) -> Event | None:
    match = _SECCOMP.search(message)
    if match is None:
        return None
    fields = _fields(match["fields"])
    try:
        action = int(fields.get("code", "0x80000000"), 16) & _SECCOMP_ACTION_MASK
    except ValueError:
        return None
    if action not in _SECCOMP_KILLS:
        return None
    return {
        "event": "seccomp_kill",
        "pid": _integer(fields.get("pid")),
        "uid": _integer(fields.get("uid")),
        "command": _audit_text(fields.get("comm")),
        "syscall": _integer(fields.get("syscall")),
    }


def _process_event(message: str) -> Event | None:
    for pattern in _FAULTS:
        match = pattern.match(message)
        if match:
            return {
                "event": "segfault",
                "pid": int(match["pid"]),
                "command": match["command"],
                "detail": match["detail"][:DETAIL_LIMIT],
            }
    match = _FORK_REJECTED.match(message)
    if match:
        return {"event": "fork_rejected", "cgroup": match["cgroup"]}
    match = _HUNG.match(message)
    if match:
        return {"event": "hung_task", "pid": int(match["pid"]), "command": match["command"]}
    return None


def classify(message: str) -> Event | None:
    """The event of one message of the kernel (without time and host), or None."""
    if not any(needle in message for needle in NEEDLES):
        return None
    for rule in (_oom_constraint, _oom_victim, _commit_refused, _seccomp, _denied, _process_event, _device_event):
        event = rule(message)
        if event is not None:
            return event
    return None


def _ours(event: Event) -> bool:
    """Whether a record that any program leaves behind may concern a server."""
    if event["event"] not in ("access_denied", "seccomp_kill", "segfault", "hung_task"):
        return True
    names = f"{event.get('command') or ''} {event.get('profile') or ''} {event.get('path') or ''}"
    return SERVER_COMMAND.search(names) is not None


class KernelLogParser:
    """Turns messages, oldest first, into events; the lines of one OOM kill become one."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self._cgroups: tuple[float | None, str | None, str | None] | None = None

    def feed(self, time_unix: float | None, message: str) -> None:
        """One message and its time (seconds since the epoch)."""
        message = message[:4096]
        old = _OLD_CGROUPS.match(message)
        if old:  # before 4.19 the groups stand in a line of their own, before the victim's
            self._cgroups = (time_unix, old["oom_cgroup"], old["task_cgroup"])
            return
        group = _OOM_GROUP.match(message)
        if group:
            self._cgroups = (time_unix, group["cgroup"], group["cgroup"])
            return
        event = classify(message)
        if event is None or not _ours(event):
            return
        stamp = _AUDIT_TIME.search(message)
        if stamp:  # an audit record has its own clock time
            time_unix = int(stamp["seconds"]) + int(stamp["milliseconds"]) / 1000.0
        if event["event"] == "oom_kill" and self._join(time_unix, event, message):
            return
        self.events.append({"time_unix": time_unix, "text": message.replace("\n", "\\n")[:TEXT_LIMIT], **event})

    def _near(self, first: float | None, second: float | None) -> bool:
        return first is None or second is None or abs(first - second) <= SAME_KILL_SECONDS

    def _join(self, time_unix: float | None, event: Event, message: str) -> bool:
        """Put a further line of a kill into its event; True where that was done."""
        if self._cgroups is not None and event["oom_cgroup"] is None and event["constraint"] == "cgroup":
            if self._near(self._cgroups[0], time_unix):
                event["oom_cgroup"], event["task_cgroup"] = self._cgroups[1], self._cgroups[2]
            else:
                self._cgroups = None
        for earlier in reversed(self.events[-8:]):
            if earlier["event"] != "oom_kill" or not self._near(earlier["time_unix"], time_unix):
                continue
            if earlier["pid"] == event["pid"]:
                for name, value in event.items():
                    if earlier.get(name) is None:
                        earlier[name] = value
                # The victim's line says more to an operator than the line of keys and values.
                if "Killed process" in message:
                    earlier["text"] = message.replace("\n", "\\n")[:TEXT_LIMIT]
                return True
            if "Kill process" in earlier["text"] and "Killed process" in message and event["global"] is None:
                # The old killer named a process and killed one of its children instead.
                event["global"], event["constraint"] = earlier["global"], earlier["constraint"]
                event["oom_cgroup"], event["task_cgroup"] = earlier["oom_cgroup"], earlier["task_cgroup"]
                earlier.update({"time_unix": time_unix, "text": message[:TEXT_LIMIT], **event})
                return True
        return False
