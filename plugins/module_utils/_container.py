# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""The container that a server runs in, seen from outside of it (CONTAINER of docs/evidence.md)."""

from __future__ import annotations

import json
import os
import re
import typing as t

from ansible_collections.redisops.persistence.plugins.module_utils._mounts import read_mounts
from ansible_collections.redisops.persistence.plugins.module_utils._system import Gaps, System, clean_text
from ansible_collections.redisops.persistence.plugins.module_utils._systemd import unit_of_process

LOG_FILES_LIMIT = 5000
MANAGER_FILE_LIMIT_BYTES = 64 * 1024

_ID = r"(?P<id>[0-9a-f]{64})"
# Groups that engines make, by cgroup driver (cgroupfs or systemd); the innermost one counts.
_GROUPS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(rf"docker-{_ID}\.scope"), "docker"),
    (re.compile(rf"(?:libpod|libpod-payload|libpod-conmon)-{_ID}(?:\.scope)?"), "podman"),
    (re.compile(rf"crio-{_ID}(?:\.scope)?"), "crio"),
    (re.compile(rf"(?:cri-containerd|nerdctl)[-:]{_ID}(?:\.scope)?"), "containerd"),
    (re.compile(rf".*:(?:cri-containerd|nerdctl):{_ID}"), "containerd"),
    (re.compile(r"lxc\.payload\.(?P<id>.+)"), "lxc"),
    (re.compile(r"systemd-nspawn@(?P<id>.+)\.service"), "nspawn"),
    (re.compile(r"machine-(?!qemu)(?P<id>.+)\.scope"), "nspawn"),
)
_BARE_ID = re.compile(_ID)
# The parent of a group that is named by nothing but the id.
_PARENTS = {"docker": "docker", "lxc": "lxc", "lxc.payload": "lxc", "libpod_parent": "podman", "default": "containerd"}

# Files that engines put into the root of a container.
_MARKERS = (("/.dockerenv", "docker"), ("/run/.containerenv", "podman"))


class CgroupContainer(t.NamedTuple):
    """A container as a cgroup path names it."""

    runtime: str
    identifier: str


def container_of_path(path: str) -> CgroupContainer | None:
    """The innermost container in a cgroup path, or None where it names none."""
    parts = [part for part in path.split("/") if part]
    in_kubernetes = any(part.startswith("kubepods") for part in parts)
    for index in range(len(parts) - 1, -1, -1):
        found = _container_of_part(parts[index], parts[index - 1] if index else "")
        if found is not None:
            return CgroupContainer("kubernetes", found.identifier) if in_kubernetes else found
    return None


def _container_of_part(part: str, parent: str) -> CgroupContainer | None:
    for pattern, runtime in _GROUPS:
        match = pattern.fullmatch(part)
        if match:
            return CgroupContainer(runtime, match.group("id"))
    if parent in ("lxc", "lxc.payload"):
        return CgroupContainer("lxc", part)
    if _BARE_ID.fullmatch(part):
        return CgroupContainer(_PARENTS.get(parent, "unknown"), part)
    return None


def container_of_process(system: System, process: int | str) -> CgroupContainer | None:
    """The container in any of a process's cgroup paths (/proc/PID/cgroup); None also where it can't be read."""
    for line in (system.try_read_text(f"/proc/{process}/cgroup") or "").splitlines():
        found = container_of_path(line.partition(":")[2].partition(":")[2])
        if found is not None:
            return found
    return None


class Separation(t.NamedTuple):
    """What a process does not share with the collector; None where that can't be read."""

    mounts: bool | None
    processes: bool | None
    root: bool | None


def separation(system: System, pid: int) -> Separation:
    """Compare a process's namespaces and root directory with the collector's.

    Without root the mount tables tell, for everybody may read them: a mount's id belongs to one namespace alone.
    """
    mounts, root = _differs(system, pid, "ns/mnt"), _has_other_root(system, pid)
    if mounts is None:
        theirs, ours = (read_mounts(system, process) for process in (pid, "self"))
        their_root = theirs.containing("/") if theirs else None
        our_root = ours.containing("/") if ours else None
        if their_root and our_root:
            mounts = their_root.mount_id != our_root.mount_id
            root = root if mounts else False
    return Separation(mounts, _differs(system, pid, "ns/pid"), root)


def _differs(system: System, pid: int, name: str) -> bool | None:
    try:
        return system.read_link(f"/proc/{pid}/{name}") != system.read_link(f"/proc/self/{name}")
    except OSError:
        return None


def root_of(system: System, pid: int) -> str:
    """Where a process's root directory can be reached. Raises OSError."""
    target = system.read_link(f"/proc/{pid}/root")
    return f"/proc/{pid}/root" if system.root == "/" else target


def _has_other_root(system: System, pid: int) -> bool | None:
    try:
        theirs, ours = os.stat(system.path(root_of(system, pid))), os.stat(system.path("/"))
    except OSError:
        return None
    return (theirs.st_dev, theirs.st_ino) != (ours.st_dev, ours.st_ino)


def runtime_by_marker(system: System, pid: int) -> str | None:
    """The engine that left its mark in the process's root directory; links in there are not followed."""
    try:
        root = root_of(system, pid).rstrip("/")
    except OSError:
        return None
    for path, runtime in _MARKERS:
        if os.path.lexists(system.path(root + path)):
            return runtime
    return None


def docker_directories(system: System) -> list[str]:
    """Where Docker keeps its containers: the default, and what its configuration says."""
    directories = ["/var/lib/docker"]
    try:
        settings = json.loads(system.read_text("/etc/docker/daemon.json", MANAGER_FILE_LIMIT_BYTES))
        configured = settings.get("data-root") if isinstance(settings, dict) else None
    except (OSError, ValueError):
        configured = None
    if isinstance(configured, str) and configured.startswith("/"):
        directories.insert(0, configured.rstrip("/"))
    return directories


def find_log(system: System, container: CgroupContainer) -> str | None:
    """The file that the engine writes the server's output to, if it is there and can be reached."""
    identifier = container.identifier
    candidates: list[str] = []
    if container.runtime == "kubernetes":
        directory = "/var/log/containers"
        names = system.list_directory(directory)[:LOG_FILES_LIMIT]
        candidates += [f"{directory}/{name}" for name in names if name.endswith(f"-{identifier}.log")]
    candidates += [f"{root}/containers/{identifier}/{identifier}-json.log" for root in docker_directories(system)]
    candidates.append(f"/var/lib/containers/storage/overlay-containers/{identifier}/userdata/ctr.log")
    return next((clean_text(path) for path in candidates if system.exists(path)), None)


def collect_container(system: System, pid: int, gaps: Gaps) -> dict[str, t.Any] | None:
    """The container of a server; None where it is in none of its own, apart from the collector.

    A service that systemd has put into a mount namespace is not in a container; nor is one in the collector's own.
    """
    named = container_of_process(system, pid)
    apart = separation(system, pid)
    if apart.mounts is False and apart.root is not True:
        return None
    if named is not None and named == container_of_process(system, "self") and apart.root is not True:
        return None
    if named is None:
        if apart.root is None and unit_of_process(system, pid).unit is None:
            gaps.add(
                "whether the server runs in a container",
                "its root directory can't be compared and its control group names no container",
                "Run as root (become: true).",
            )
        # A root of its own: with an engine's mark, or with processes of its own. A chroot alone is neither.
        marker = runtime_by_marker(system, pid) if apart.root else None
        if marker is None and not (apart.root and apart.processes):
            return None
        return {"runtime": marker or "unknown", "id": None, "log_path": None, "collector_inside": False}
    return {
        "runtime": named.runtime,
        "id": clean_text(named.identifier),
        "log_path": find_log(system, named),
        "collector_inside": False,
    }
