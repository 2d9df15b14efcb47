# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Evidence documents for the tests: a healthy server with everything known, and what one changes of it."""

from __future__ import annotations

import copy
import typing as t

Document = dict[str, t.Any]

NOW = 1_700_000_000.0
STARTED = NOW - 86_400
SERVER_PID = 1000
CHILD_PID = 2000
GIB = 1024**3
MIB = 1024**2
DIRECTORY = "/srv/redis/data"


def filesystem(**changes: t.Any) -> Document:
    view: Document = {
        "device": "253:1",
        "inode": 128,
        "mount_point": "/srv/redis",
        "mount_options": ["rw"],
        "super_options": ["rw"],
        "type": "ext4",
        "source": "/dev/vdb1",
        "read_only": False,
        "super_read_only": False,
        "total_bytes": 100 * GIB,
        "free_bytes": 50 * GIB,
        "available_bytes": 45 * GIB,
        "usable_bytes": 45 * GIB,
        "inodes_total": 1_000_000,
        "inodes_free": 900_000,
        "inodes_usable": 900_000,
        "is_root_volume": False,
        "holds_logs": False,
    }
    view.update(changes)
    return view


def instance() -> Document:
    """A master of version 7.0.15 that saved a minute ago, run by an ordinary user, with everything readable."""
    return {
        "address": "127.0.0.1:6379",
        "connection": {"state": "ok", "client": "redis-py", "error": None, "seconds": 0.01},
        "redis": {
            "server": "redis",
            "version": "7.0.15",
            "compatible_version": "7.0.15",
            "mode": "standalone",
            "role": "master",
            "process_id": SERVER_PID,
            "config_file": "/etc/redis/redis.conf",
            "uptime_seconds": 86_400,
            "started_unix": STARTED,
            "user": "default",
            "errorstats": {},
            "info": {
                "loading": 0,
                "rdb_changes_since_last_save": 5,
                "rdb_bgsave_in_progress": 0,
                "rdb_last_save_time": NOW - 60,
                "rdb_last_bgsave_status": "ok",
                "rdb_last_bgsave_time_sec": 1,
                "rdb_current_bgsave_time_sec": -1,
                "rdb_saves": 10,
                "rdb_last_cow_size": MIB,
                "aof_enabled": 0,
                "aof_rewrite_in_progress": 0,
                "aof_last_bgrewrite_status": "ok",
                "aof_last_write_status": "ok",
                "latest_fork_usec": 900,
                "total_forks": 10,
                "used_memory": GIB,
                "used_memory_rss": GIB,
                "used_memory_dataset": GIB,
                "maxmemory": 0,
                "connected_slaves": 0,
                "key_count": 100_000,
                "keys_by_database": {"0": 100_000},
                "master_replid2": "0" * 40,
                "instantaneous_input_kbps": 0.5,
                "total_net_input_bytes": 10 * MIB,
                "module_fork_in_progress": 0,
                "os": "Linux 6.1 x86_64",
            },
            "config_state": "ok",
            "config": {
                "dir": DIRECTORY,
                "dbfilename": "dump.rdb",
                "save": "3600 1 300 100 60 10000",
                "stop-writes-on-bgsave-error": "yes",
                "rdbcompression": "yes",
                "appendonly": "no",
                "logfile": "/var/log/redis/redis.log",
                "loglevel": "notice",
                "maxmemory": "1073741824",
                "oom-score-adj": "yes",
                "protected-mode": "yes",
                "bind": "127.0.0.1 -::1",
                "port": "6379",
                "enable-protected-configs": "no",
                "replica-ignore-disk-write-errors": "no",
            },
            "password_set": True,
            "config_file_settings": {"dir": DIRECTORY, "dbfilename": "dump.rdb"},
            "modules": [],
        },
        "process": {
            "pid": SERVER_PID,
            "pid_in_namespace": SERVER_PID,
            "parent_pid": 1,
            "command": "redis-server",
            "title": "redis-server 127.0.0.1:6379",
            "started_unix": STARTED,
            "state": "S",
            "uid": {"real": 110, "effective": 110},
            "gid": {"real": 110, "effective": 110},
            "groups": [110],
            "user": "redis",
            "capabilities_effective": [],
            "seccomp_mode": 0,
            "security_label": "unconfined",
            "thp_enabled": False,
            "anonymous_huge_pages_bytes": 0,
            "resident_bytes": GIB,
            "swapped_bytes": 0,
            "virtual_bytes": 2 * GIB,
            "page_tables_bytes": 3 * MIB,
            "private_writable_bytes": GIB,
            "accounted_bytes": GIB,
            "largest_private_mapping_bytes": GIB,
            "memory_detail": "smaps",
            "threads": 5,
            "uid_threads": 5,
            "open_files": 20,
            "limits": {
                "nproc": {"soft": 4096, "hard": 4096},
                "fsize": {"soft": "unlimited", "hard": "unlimited"},
                "nofile": {"soft": 10_000, "hard": 10_000},
                "cpu": {"soft": "unlimited", "hard": "unlimited"},
            },
            "oom_score_adj": 0,
            "numa": {"policy": "default", "memory_nodes_allowed": "0", "cpus_allowed": "0-3"},
            "namespaces": {"mount": {"inode": 1, "is_host": True}, "pid": {"inode": 2, "is_host": True}},
            "children": [],
            "timezone": None,
            "trust": {"trusted": True, "by": "unit", "why": "it is the main process of redis.service"},
        },
        "cgroups": {
            "version": 2,
            "path": "/system.slice/redis.service",
            "memory": [
                {
                    "path": "/system.slice/redis.service",
                    "limit_bytes": "unlimited",
                    "usage_bytes": GIB,
                    "oom_kill_count": 0,
                    "max_event_count": 0,
                    "file_bytes": 0,
                    "anonymous_bytes": GIB,
                }
            ],
            "pids": [{"path": "/system.slice/redis.service", "limit": 4096, "current": 6, "max_event_count": 0}],
            "truncated_at_namespace": False,
        },
        "data_directory": {
            "path": DIRECTORY,
            "deleted": False,
            "configured": DIRECTORY,
            "root": "/",
            "process_view": filesystem(),
            "host_view": filesystem(),
            "lookup_view": filesystem(),
            "same_directory": True,
            "owner": {"uid": 110, "gid": 110, "mode": "0750", "user": "redis", "group": "redis"},
            "access_acl": False,
            "permission_chain": [],
            "access": {"writable": True, "searchable": True, "blocked_by": None, "reason": None},
            "sticky": False,
            "attributes": {"immutable": False, "append_only": False},
            "dump": {
                "name": "dump.rdb",
                "exists": True,
                "type": "file",
                "size_bytes": 300 * MIB,
                "modified_unix": NOW - 60,
                "changed_unix": NOW - 60,
                "device": "253:1",
                "inode": 129,
                "link_count": 1,
                "header": {
                    "rdb_version": 10,
                    "server_version": "7.0.15",
                    "created_unix": NOW - 61,
                    "used_memory_bytes": GIB,
                    "keys_at_least": 100_000,
                    "database": 0,
                },
                "uid": 110,
                "gid": 110,
                "mode": "0640",
                "is_mount_point": False,
                "directory_empty": None,
                "attributes": {"immutable": False, "append_only": False},
            },
            "users": {"complete": True, "processes": []},
            "foreign_files": {"complete": True, "count": 0, "examples": []},
            "temp_files": [],
            "temp_files_bytes": 0,
            "temp_files_truncated": False,
            "aof": None,
        },
        "systemd": {
            "unit": "redis.service",
            "restart_count": 0,
            "result": "success",
            "sandbox": {"ProtectSystem": "no", "ReadWritePaths": [], "ReadOnlyPaths": []},
            "limits": {"LimitNPROC": "4096", "TasksMax": "4096"},
        },
        "container": None,
        "redis_log": {
            "available": True,
            "source": "file",
            "path": "/var/log/redis/redis.log",
            "format": "legacy",
            "reason": None,
            "truncated": False,
            "kept": True,
            "events": [],
        },
        "observed_attempt": None,
        "gaps": [],
    }


def host() -> Document:
    return {
        "hostname": "db1",
        "kernel_release": "6.1.0-18-amd64",
        "kernel_version": [6, 1],
        "architecture": "x86_64",
        "memory": {
            "total_bytes": 8 * GIB,
            "available_bytes": 5 * GIB,
            "free_bytes": GIB,
            "swap_total_bytes": 0,
            "swap_free_bytes": 0,
            "commit_limit_bytes": 4 * GIB,
            "committed_bytes": 2 * GIB,
        },
        "overcommit": {
            "mode": 1,
            "ratio": 50,
            "kilobytes": 0,
            "admin_reserve_kilobytes": 8192,
            "user_reserve_kilobytes": 131_072,
            "boot": {"value": "1", "source": "/etc/sysctl.d/99-redis.conf:1"},
        },
        "thp": {"policy": "never", "boot": {}},
        "limits": {
            "pid_max": 4_194_304,
            "threads_max": 60_000,
            "threads": 300,
            "files_max": 800_000,
            "files_open": 900,
        },
        "numa": {"node_count": 1, "nodes": [{"id": 0, "total_bytes": 8 * GIB, "free_bytes": GIB}]},
        "lsm": {"selinux": "absent", "apparmor": False},
        "kernel_log": {"available": True, "source": "kmsg", "reason": None, "events": []},
    }


def evidence() -> Document:
    """A healthy server, everything known."""
    return {
        "schema_version": 1,
        "collection_version": "0.1.0",
        "gathered_at_unix": NOW,
        "duration_seconds": 0.3,
        "host": host(),
        "instances": [instance()],
        "gaps": [],
    }


def change(document: Document, path: str, value: t.Any) -> Document:
    """Set ``a.b.0.c`` of a copy; a name that holds a dot can't be reached this way."""
    changed = copy.deepcopy(document)
    here: t.Any = changed
    parts = path.split("/")
    for part in parts[:-1]:
        here = here[int(part)] if isinstance(here, list) else here[part]
    if isinstance(here, list):
        here[int(parts[-1])] = value
    else:
        here[parts[-1]] = value
    return changed


def of_instance(document: Document, path: str, value: t.Any) -> Document:
    return change(document, f"instances/0/{path}", value)


def log_event(event: str, seconds_ago: float, role: str = "M", pid: int = SERVER_PID, **fields: t.Any) -> Document:
    return {
        "time_unix": NOW - seconds_ago,
        "pid": pid,
        "role": role,
        "event": event,
        "text": f"{pid}:{role} {event}",
        **fields,
    }


def child_line(event: str, seconds_ago: float = 30, child: int = CHILD_PID, **fields: t.Any) -> Document:
    return log_event(event, seconds_ago, role="C", pid=child, **fields)


def failed_child(*lines: Document, seconds_ago: float = 30, child: int = CHILD_PID) -> list[Document]:
    """The parent's lines around a child that ended with an error."""
    return [
        log_event("save_started", seconds_ago, child_pid=child),
        *lines,
        log_event("save_failed", seconds_ago - 1),
    ]


def signalled_child(signal: int, *lines: Document, seconds_ago: float = 30, child: int = CHILD_PID) -> list[Document]:
    return [
        log_event("save_started", seconds_ago, child_pid=child),
        *lines,
        log_event("save_signalled", seconds_ago - 1, signal=signal),
    ]


def oom_kill(pid: int, constraint: str, seconds_ago: float = 29, **fields: t.Any) -> Document:
    return {
        "time_unix": NOW - seconds_ago,
        "event": "oom_kill",
        "text": f"Killed process {pid} (redis-server)",
        "pid": pid,
        "command": "redis-server",
        "uid": 110,
        "constraint": constraint,
        "oom_cgroup": "/system.slice/redis.service" if constraint == "cgroup" else None,
        "task_cgroup": "/system.slice/redis.service",
        "anonymous_bytes": GIB,
        "oom_score_adj": 0,
        "global": constraint != "cgroup",
        **fields,
    }


def failing(events: list[Document] | None = None, document: Document | None = None) -> Document:
    """The status is err; ``events`` are the log's (null: the log could not be read)."""
    changed = copy.deepcopy(document or evidence())
    server = changed["instances"][0]
    server["redis"]["info"].update(
        {"rdb_last_bgsave_status": "err", "rdb_last_save_time": NOW - 4000, "rdb_changes_since_last_save": 500}
    )
    if server["data_directory"]:
        server["data_directory"]["dump"].update({"modified_unix": NOW - 4000, "changed_unix": NOW - 4000})
        server["data_directory"]["dump"]["header"]["created_unix"] = NOW - 4001
    if events is None:
        server["redis_log"].update({"available": False, "source": "none", "reason": "Permission denied", "events": []})
    else:
        server["redis_log"]["events"] = list(events)
    return changed


def unprivileged(document: Document) -> Document:
    """What an ordinary user sees: no limits, no mounts of the server, no kernel log, no server log."""
    changed = copy.deepcopy(document)
    server = changed["instances"][0]
    for key in ("process", "cgroups", "data_directory", "systemd", "container"):
        server[key] = None
    server["redis_log"] = {"available": False, "reason": "Permission denied", "kept": None, "events": []}
    changed["host"]["kernel_log"] = {"available": False, "reason": "Operation not permitted", "events": []}
    return changed
