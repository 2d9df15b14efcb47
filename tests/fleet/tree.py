# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The system that every machine of the fleet boots: a Debian 13 tree, made once and kept in .cache/fleet.

The tree is never written to after it is made; a machine's changes go to a file system of its own on top of it.
"""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import subprocess
import typing as t
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent.parent
CACHE = REPOSITORY / ".cache" / "fleet"
SUITE = "trixie"
PACKAGES = (
    "systemd",
    "systemd-sysv",
    "libpam-systemd",
    "dbus",
    "openssh-server",
    "sudo",
    "python3",
    "procps",
    "iproute2",
    "redis-server",
    "valkey-server",
    "tuned",
)
BUILD_SECONDS = 1800

# The first process. It gives systemd what a container of systemd-nspawn has no right to by default: control groups
# of version 1 that can be written, as on a host, an address that no service has to wait for, and an end with that of
# the process that booted it, which systemd-nspawn does not see to.
INIT = """#!/bin/sh
for controller in pids memory; do
    if [ -e "/sys/fs/cgroup/$controller/tasks" ]; then
        mount -o remount,bind,rw "/sys/fs/cgroup/$controller"
    fi
done
ip address add "$FLEET_ADDRESS" dev host0
ip link set host0 up
exec setpriv --pdeathsig KILL /usr/lib/systemd/systemd "$@"
"""

# As root in the new tree: the users of the tests, two servers that don't want the same port, and nothing that starts
# by itself but them and the SSH server.
PREPARE = """
useradd --create-home --shell /bin/bash deploy
useradd --create-home --shell /bin/bash visitor
echo 'deploy ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/deploy
chmod 0440 /etc/sudoers.d/deploy
sed -i 's/^port 6379$/port 6380/' /etc/valkey/valkey.conf
grep -q '^port 6380$' /etc/valkey/valkey.conf
systemctl enable --quiet redis-server.service valkey-server.service ssh.service
systemctl disable --quiet tuned.service apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer
chmod 0755 /usr/local/sbin/fleet-init
rm -rf /var/cache/apt/archives/*.deb /var/lib/apt/lists/*
"""


class MissingTool(RuntimeError):
    """Something that this machine lacks, and why no fleet can stand on it."""


def recipe() -> str:
    """What the tree depends on; another recipe is another tree."""
    text = "\n".join([SUITE, *PACKAGES, INIT, PREPARE])
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def mirror() -> str:
    """The archive that this machine's own apt is set to."""
    listed = subprocess.run(
        [
            "apt-get",
            "indextargets",
            "--format",
            "$(REPO_URI)",
            "Identifier: Packages",
            "Origin: Debian",
            "Label: Debian",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    for line in listed.stdout.splitlines():
        return line.strip()
    raise MissingTool("apt has no source of Debian (after apt-get update)")


def run_build(argv: t.Sequence[str], log: Path, **options: t.Any) -> None:
    """One step; what it printed stands in the log, and its end in the error."""
    with log.open("ab") as stream:
        done = subprocess.run(
            argv, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream, timeout=BUILD_SECONDS, check=False, **options
        )
    if done.returncode != 0:
        end = log.read_text(errors="replace")[-2000:]
        raise MissingTool(f"{argv[0]} ended with {done.returncode}: {end}")


def remove_old_trees(kept: str) -> None:
    for path in CACHE.iterdir():
        if path.is_dir() and path.name != kept:
            shutil.rmtree(path)


def base_tree() -> Path:
    """The directory that holds ``tree``; made where it is not there. Two runs at once make it once."""
    CACHE.mkdir(parents=True, exist_ok=True)
    name = f"{SUITE}-{recipe()}"
    home = CACHE / name
    with (CACHE / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (home / "complete").exists():
            remove_old_trees("")
            home.mkdir(mode=0o755)
            make_tree(home)
            (home / "complete").touch()
        remove_old_trees(name)
    return home


def make_tree(home: Path) -> None:
    tree, log = home / "tree", home / "build.log"
    # debootstrap mounts file systems in the tree; in a mount namespace of their own they can't outlive it.
    apart = ["unshare", "--mount", "--propagation", "private", "--"]
    bootstrap = ["debootstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}", SUITE, str(tree), mirror()]
    run_build([*apart, *bootstrap], log)
    (tree / "usr/local/sbin/fleet-init").write_text(INIT)
    run_build([*apart, "chroot", str(tree), "sh", "-ec", PREPARE], log)
