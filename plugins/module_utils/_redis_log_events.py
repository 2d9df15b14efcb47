# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""What one message of a Redis or Valkey log means for saving: its event and the event's fields.

The texts are those of Redis 3.2 .. 8.x, Valkey 7.2 .. 9.x and KeyDB 6.3 (rdb.c, replication.c, server.c, aof.c,
debug.c).
Every expression is anchored at the start of the message and almost every one at its end: text that a client or a file
name put into another message never becomes an event. Names of files and directories may hold anything, a newline too.

``BGSAVE done, N keys saved, ...`` (8.6) is on purpose no event: it is written before the file is flushed, in failing
saves too.
"""

from __future__ import annotations

import re
import typing as t

from ansible_collections.redisops.persistence.plugins.module_utils._errno_names import errno_name

MEBIBYTE = 1024 * 1024
# A crash report's module path: bounded, since it is a path of the target.
MODULE_NAME_LIMIT = 128
ERROR_TEXT_LIMIT = 200

Fields = dict[str, t.Any]
Rule = tuple[t.Pattern[str], str, t.Callable[[t.Match[str]], Fields]]


def _nothing(match: t.Match[str]) -> Fields:
    return {}


def _error(match: t.Match[str]) -> Fields:
    text = match["error"].strip()[:ERROR_TEXT_LIMIT]
    return {"errno": errno_name(text), "errno_text": text}


def _number(name: str) -> t.Callable[[t.Match[str]], Fields]:
    return lambda match: {name: int(match[name])}


def _open_failed(match: t.Match[str]) -> Fields:
    groups = match.groupdict()
    return {**_error(match), "file": groups.get("file"), "directory": groups.get("directory")}


def _write_failed(match: t.Match[str]) -> Fields:
    return {**_error(match), "operation": match["operation"]}


def _rename_failed(match: t.Match[str]) -> Fields:
    groups = match.groupdict()
    return {
        **_error(match),
        "file": groups["file"],
        "directory": groups.get("directory"),
        "destination": groups["destination"],
    }


def _started(target: str) -> t.Callable[[t.Match[str]], Fields]:
    return lambda match: {"child_pid": int(match["child_pid"]), "target": target}


def _copy_on_write(match: t.Match[str]) -> Fields:
    groups = match.groupdict()
    current, peak, average = groups["current"], groups.get("peak"), groups.get("average")
    return {
        "bytes": int(current) * MEBIBYTE,
        "peak_bytes": None if peak is None else int(peak) * MEBIBYTE,
        "average_bytes": None if average is None else int(average) * MEBIBYTE,
    }


def _aborted(match: t.Match[str]) -> Fields:
    child = match.groupdict().get("child_pid")
    return {"child_pid": None if child is None else int(child)}


def _sync_started(match: t.Match[str]) -> Fields:
    return {"target": "disk" if match["target"].startswith("disk") else "replicas"}


def _sync_failed(match: t.Match[str]) -> Fields:
    text = match.groupdict().get("error")
    return {"errno_text": None if text is None else text[:ERROR_TEXT_LIMIT]}


def _optional_error(match: t.Match[str]) -> Fields:
    text = match.groupdict().get("error")
    return {"errno": errno_name(text), "errno_text": None if text is None else text[:ERROR_TEXT_LIMIT]}


def _save_points(match: t.Match[str]) -> Fields:
    return {"changes": int(match["changes"]), "seconds": int(match["seconds"])}


def _loaded(match: t.Match[str]) -> Fields:
    return {"keys": int(match["keys"]), "expired": int(match["expired"])}


def _loaded_from(match: t.Match[str]) -> Fields:
    return {"source": "rdb" if match["source"] == "disk" else "aof"}


def _panic(match: t.Match[str]) -> Fields:
    return {"replica_disk": match["reason"].startswith("Replica was unable to write command to disk")}


# (first word of the message, expression, event, fields). One line an upstream text; groups of versions in brackets.
_RULES: tuple[tuple[str, str, str, t.Callable[[t.Match[str]], Fields]], ...] = (
    # --- saves, parent
    ("Background", r"Background saving started by pid (?P<child_pid>\d{1,10})", "save_started", _started("disk")),
    (
        "Background",  # Valkey adds the way: "to direct socket to replica", "to pipe through parent process"
        r"Background RDB transfer started by pid (?P<child_pid>\d{1,10})(?: to .{0,100})?",
        "save_started",
        _started("replicas"),
    ),
    ("Background", r"Background saving terminated with success", "save_succeeded", _nothing),
    ("Background", r"Background saving error", "save_failed", _nothing),
    ("Background", r"Background saving terminated by signal (?P<signal>\d{1,3})", "save_signalled", _number("signal")),
    ("Background", r"Background RDB transfer terminated with success", "transfer_succeeded", _nothing),
    ("Background", r"Background (?:RDB )?transfer error", "transfer_failed", _nothing),
    (
        "Background",
        r"Background (?:RDB )?transfer terminated by signal (?P<signal>\d{1,3})",
        "transfer_signalled",
        _number("signal"),
    ),
    ("Can't", r"Can't save in background: fork: (?P<error>.*)", "fork_failed", _error),
    # --- saves, child (or the server itself in a foreground SAVE)
    (
        "Failed",
        r"Failed opening the (?:temp )?RDB file (?P<file>.{0,300}?) \(in server root dir (?P<directory>.*)\)"
        r" for saving: (?P<error>.*)",
        "open_failed",
        _open_failed,
    ),
    ("Failed", r"Failed opening \.rdb for saving: (?P<error>.*)", "open_failed", _open_failed),  # 3.0
    (
        "Write",  # 7.0.3-7.0.15: the directory's fsync is an operation of the same text
        r"Write error saving DB on disk\(fsyncFileDir\): (?P<error>.*)",
        "dir_fsync_failed",
        _error,
    ),
    (
        "Write",
        r"Write error (?:saving DB on disk|while saving DB to the disk)(?:\((?P<operation>\w{1,30})\))?: (?P<error>.*)",
        "write_failed",
        _write_failed,
    ),
    ("Failed", r"Failed to fsync directory while saving DB: (?P<error>.*)", "dir_fsync_failed", _error),
    (
        "Error",
        r"Error moving temp DB file (?P<file>temp-[\w.-]{1,60}) on the final destination (?P<destination>.{0,300}?)"
        r" \(in server root dir (?P<directory>.*)\): (?P<error>.*)",
        "rename_failed",
        _rename_failed,
    ),
    (
        "Error",  # before 3.2
        r"Error moving temp DB file (?P<file>temp-[\w.-]{1,60}) on the final destination (?P<destination>.{0,300}): "
        r"(?P<error>.*)",
        "rename_failed",
        _rename_failed,
    ),
    ("DB", r"DB saved on disk", "child_saved", _nothing),
    ("RDB:", r"RDB: (?P<current>\d{1,9}) MB of memory used by copy-on-write", "copy_on_write", _copy_on_write),
    (
        "Fork",
        r"Fork CoW for RDB: current (?P<current>\d{1,9}) MB, peak (?P<peak>\d{1,9}) MB, "
        r"average (?P<average>\d{1,9}) MB",
        "copy_on_write",
        _copy_on_write,
    ),
    ("Child", r"Child failed reporting info to parent, exiting\. (?P<error>.*)", "child_report_failed", _error),
    # --- saves that were stopped on purpose
    ("Received", r"Received SIGUSR1 in child, exiting now\.", "save_aborted", _aborted),
    ("There", r"There is a child saving an \.rdb\. Killing it!", "save_aborted", _aborted),
    ("Killing", r"Killing running RDB child: (?P<child_pid>\d{1,10})", "save_aborted", _aborted),
    ("Background", r"Background saving will be aborted due to user request", "save_aborted", _aborted),
    ("Background", r"Background save(?:ing)? cancelled", "save_aborted", _aborted),
    (
        "Background",
        r"Background saving, persistence disabled, last replica dropped, killing fork child\.",
        "save_aborted",
        _aborted,
    ),
    ("Diskless", r"Diskless rdb transfer, last replica dropped, killing fork child\.", "save_aborted", _aborted),
    (
        "Replica",
        r"Replica is about to load the RDB file received from the (?:master|primary), "
        r"but there is a pending RDB child running\. "
        r"Killing process (?P<child_pid>\d{1,10}) and removing its temp file to avoid any race",
        "save_aborted",
        _aborted,
    ),
    # --- replication
    (
        "Starting",
        r"Starting BGSAVE for SYNC with target: (?P<target>disk|(?:replicas|slaves) sockets?)\b.{0,60}",
        "replica_sync_started",
        _sync_started,
    ),
    ("BGSAVE", r"BGSAVE for replication failed", "replica_sync_failed", _sync_failed),
    ("SYNC", r"SYNC failed\. BGSAVE child returned an error", "replica_sync_failed", _sync_failed),
    (
        "SYNC",
        r"SYNC failed\. Can't (?:open/stat|open|stat) DB after BGSAVE: (?P<error>.*)",
        "replica_sync_failed",
        _sync_failed,
    ),
    *(
        # What is in memory is dropped, and is the master's afterwards. PRIMARY: Valkey 9; SLAVE: before 5.0.
        (word, rf"{word} <-> (?:REPLICA|SLAVE) sync: {text}.{{0,100}}", "full_sync_loaded", _nothing)
        for word in ("MASTER", "PRIMARY")
        for text in ("Finished (?:with success|successfully)", "Flushing old data", "Swapping active DB with loaded DB")
    ),
    ("RDB", r"RDB signature and version check passed\. Flushing old data", "full_sync_loaded", _nothing),
    # --- append only file
    (
        "Background",
        r"Background append only file rewriting started by pid (?P<child_pid>\d{1,10})",
        "aof_rewrite_started",
        _number("child_pid"),
    ),
    ("Background", r"Background AOF rewrite terminated with success", "aof_rewrite_succeeded", _nothing),
    ("Background", r"Background AOF rewrite terminated with error", "aof_rewrite_failed", _nothing),
    (
        "Background",
        r"Background AOF rewrite terminated by signal (?P<signal>\d{1,3})",
        "aof_rewrite_failed",
        _number("signal"),
    ),
    (
        "Can't",
        r"Can't rewrite append only file in background: fork: (?P<error>.*)",
        "aof_rewrite_failed",
        _error,
    ),
    ("Error", r"Error writing to the AOF file: (?P<error>.*)", "aof_write_failed", _optional_error),
    ("Short", r"Short write while writing to the AOF file: .{0,200}", "aof_write_failed", _optional_error),
    ("Fail", r"Fail to fsync the AOF file: (?P<error>.*?)\.?", "aof_write_failed", _optional_error),
    (
        "Can't",
        r"Can't persist AOF for fsync error when the AOF fsync policy is 'always': (?P<error>.*)\. Exiting\.\.\.",
        "aof_write_failed",
        _optional_error,
    ),
    (
        "Can't",
        r"Can't recover from AOF write error when the AOF fsync policy is 'always'\. Exiting\.\.\.",
        "aof_write_failed",
        _optional_error,
    ),
    # --- crashes
    (
        "",
        r"(?i:redis|valkey|keydb) \S{1,40} crashed by signal: (?P<signal>\d{1,3})(?:, .{0,100})?",
        "crashed",
        _number("signal"),
    ),
    ("Out", r"Out Of Memory allocating (?P<bytes>\d{1,19}) bytes!", "out_of_memory_handler", _number("bytes")),
    ("===", r"=== (?:RECURSIVE )?ASSERTION FAILED ===", "assertion", _nothing),
    ("Guru", r"Guru Meditation: (?P<reason>.*) #\S{1,200}:\d{1,9}", "panic", _panic),
    # --- life of the server
    ("oO0OoO0OoO0Oo", r"oO0OoO0OoO0Oo (?i:redis|valkey|keydb) is starting oO0OoO0OoO0Oo", "server_started", _nothing),
    ("Server", r"Server initialized", "server_started", _nothing),
    ("Server", r"Server started, Redis version .{1,100}", "server_started", _nothing),  # 3.x
    ("RDB", r"RDB age (?P<age_seconds>-?\d{1,15}) seconds", "rdb_age", _number("age_seconds")),
    (
        "Done",
        r"Done loading RDB, keys loaded: (?P<keys>\d{1,18}), keys expired: (?P<expired>\d{1,18}).{0,100}",
        "rdb_loaded",
        _loaded,
    ),
    ("DB", r"DB loaded from (?P<source>disk|append only file|base file|incr file).{0,300}", "db_loaded", _loaded_from),
    ("Ready", r"Ready to accept connections.{0,60}", "server_ready", _nothing),
    ("The", r"The server is now ready to accept connections (?:on port|at) .{1,200}", "server_ready", _nothing),
    ("Received", r"Received SIG(?:TERM|INT) scheduling shutdown\.\.\.", "server_stopping", _nothing),
    ("Received", r"Received shutdown signal during loading, .{1,60}", "server_stopping", _nothing),
    ("User", r"User requested shutdown\.\.\..*", "server_stopping", _nothing),
    ("", r"(?i:redis|valkey|keydb|sentinel) is now ready to exit, bye bye\.\.\.", "server_stopped", _nothing),
    (
        "Errors",
        r"Errors trying to shut down the server\. Check the logs for more information\.",
        "shutdown_refused",
        _nothing,
    ),
    (
        "SIGTERM",
        r"SIGTERM received but errors trying to shut down the server, check the logs for more information",
        "shutdown_refused",
        _nothing,
    ),
    ("Error", r"Error trying to save the DB(?:, can't exit\.|\. Exit anyway\.)", "shutdown_save_failed", _nothing),
    # --- loading
    ("Short", r"Short read or OOM loading DB\. Unrecoverable error, aborting now\.", "loading_failed", _nothing),
    ("Fatal", r"Fatal error loading the DB.{0,200}", "loading_failed", _nothing),
    ("Wrong", r"Wrong RDB checksum.{0,100}Aborting now\.", "loading_failed", _nothing),
    ("Terminating", r"Terminating server after rdb file reading failure\.", "loading_failed", _nothing),
    ("Can't", r"Can't handle RDB format version -?\d{1,10}", "loading_failed", _nothing),
    ("Bad", r"Bad file format reading the append only file.*", "loading_failed", _nothing),
    ("Unexpected", r"Unexpected end of file reading the append only file.*", "loading_failed", _nothing),
    # --- configuration and the system
    ("CONFIG", r"CONFIG REWRITE failed: (?P<error>.*)", "config_rewrite_failed", _optional_error),
    (
        "",
        r"(?:WARNING:? )?(?:overcommit_memory is set to|Memory overcommit must be enabled!).*",
        "overcommit_warning",
        _nothing,
    ),
    (
        "",
        r"(?:WARNING:? )?[Yy]ou have Transparent Huge Pages \(THP\) support enabled in your kernel.*",
        "thp_warning",
        _nothing,
    ),
    (
        "",
        r"wait(?:3|pid)\(\) returned an error: (?P<error>.*?)\. (?:rdb_child_pid|child_type)\b.*",
        "wait_failed",
        _optional_error,
    ),
    (
        "",
        r"(?P<changes>\d{1,10}) changes in (?P<seconds>\d{1,10}) seconds\. Saving\.\.\.",
        "save_points_met",
        _save_points,
    ),
)


def _by_first_word() -> dict[str, list[Rule]]:
    """The rules by the first word of the message, so that a line meets two or three of them; ``""``: any word."""
    table: dict[str, list[Rule]] = {}
    for word, expression, event, fields in _RULES:
        compiled = re.compile(f"(?:{expression})\\Z", re.DOTALL)
        table.setdefault(word, []).append((compiled, event, fields))
    return table


_TABLE = _by_first_word()
# The first words (or their first letters) of the rules without a word of their own.
_ANY_WORD = re.compile(r"(?:\d{1,10} changes|(?i:redis|valkey|keydb|sentinel) |WARNING|overcommit|Memory|[Yy]ou |wait)")

# Something that every event's line holds: only such lines of a log are looked at. The number of lines after it that
# belong to it: a crash's stack, the rest of a name that holds a newline.
NEEDLES: dict[bytes, int] = {
    b"Background": 0,
    b"save in background": 0,
    b"Failed opening ": 4,
    b"Error moving temp": 4,
    b"Write error ": 0,
    b"Failed to fsync directory": 0,
    b"DB saved on disk": 0,
    b"RDB age": 0,
    b"Done loading RDB": 0,
    b"DB loaded from": 0,
    b"copy-on-write": 0,
    b"Fork CoW": 0,
    b"Child failed": 0,
    b"Received S": 0,
    b"Received shutdown": 0,
    b"child saving an": 0,
    b"RDB child": 0,
    b"killing fork child": 0,
    b"BGSAVE": 0,
    b"in background: fork": 0,
    b"sync: F": 0,
    b"sync: Swapping": 0,
    b"Flushing old data": 0,
    b"AOF f": 0,
    b"AOF write": 0,
    b"crashed by": 0,
    b"STACK TRACE": 200,
    b"Out Of Memory": 0,
    b"ASSERTION": 0,
    b"Guru Meditation": 0,
    b" is starting oO0": 0,
    b"Server initialized": 0,
    b"Server started": 0,
    b"eady to ": 0,
    b"requested shutdown": 0,
    b"to shut down": 0,
    b"to save the DB": 0,
    b"loading": 0,
    b"Wrong RDB": 0,
    b"reading failure": 0,
    b"RDB format": 0,
    b"the append only file": 0,
    b"CONFIG REWRITE": 0,
    b"overcommit": 0,
    b"Huge Pages": 0,
    b"() returned an error": 0,
    b"changes in": 0,
}

# What every line of a finished save attempt's parent holds, and a failing child's.
SAVE_NEEDLES: tuple[bytes, ...] = (b"Background saving", b"save in background", b"for saving: ", b"Write error ")

# Events of save attempts: a log's tail without any of them is not worth the name.
SAVE_EVENTS = frozenset(
    (
        "save_started",
        "fork_failed",
        "open_failed",
        "write_failed",
        "rename_failed",
        "dir_fsync_failed",
        "child_saved",
        "child_report_failed",
        "save_succeeded",
        "save_failed",
        "save_signalled",
        "save_aborted",
        "transfer_succeeded",
        "transfer_failed",
        "transfer_signalled",
    )
)

# Messages whose file or directory may hold a newline, so that the log's line ends before the message does.
_UNFINISHED = re.compile(r"(?:Failed opening the (?:temp )?RDB file |Error moving temp DB file )")


def classify(message: str) -> tuple[str, Fields] | None:
    """The event of a message (without the line's prefix) and its fields; None where it is none.

    The fields of each event are in docs/evidence.md.
    """
    word = message.split(" ", 1)[0]
    for compiled, event, fields in _TABLE.get(word, ()):
        match = compiled.match(message)
        if match:
            return event, fields(match)
    if _ANY_WORD.match(message):
        for compiled, event, fields in _TABLE[""]:
            match = compiled.match(message)
            if match:
                return event, fields(match)
    return None


def may_continue(message: str) -> bool:
    """Whether a message that is no event may be the first line of one (a newline in a name)."""
    return _UNFINISHED.match(message) is not None


# backtrace_symbols_fd(3): "/path/file(symbol+0x1f)[0x7f...]" or "/path/file(+0x1f) [0x7f...]".
_STACK_FRAME = re.compile(
    r"(?:\d{1,3} {1,8})?(?P<file>/[^\0\n]{1,1024}?\.so(?:\.[\d.]{1,20})?)\([^()]{0,300}\) ?\[0x[0-9a-f]{1,16}\]"
)
_SYSTEM_LIBRARY = re.compile(
    r"(?:ld-|ld\.|linux-vdso|lib(?:c|m|pthread|dl|rt|gcc_s|stdc\+\+|resolv|systemd|ssl|crypto|jemalloc|lua|lzf|atomic|nss_\w+|uuid|cap|selinux|z|lz4|lzma|zstd)"
    r"[\d.-]*\.so)"
)


def stack_module(line: str) -> str | None:
    """The file name of the module in a line of a crash's stack; None for the server itself and system libraries."""
    match = _STACK_FRAME.match(line)
    if not match:
        return None
    name = match["file"].rsplit("/", 1)[-1]
    if _SYSTEM_LIBRARY.match(name):
        return None
    return name[:MODULE_NAME_LIMIT]
