# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time

import pytest
from ansible_collections.redisops.persistence.plugins.module_utils import _filesystem
from ansible_collections.redisops.persistence.plugins.module_utils._access import Credentials
from ansible_collections.redisops.persistence.plugins.module_utils._filesystem import (
    collect_data_directory,
    filesystem_entry,
    get_flags_request,
    may_use_reserve,
    names_by_id,
    raw_names,
)
from ansible_collections.redisops.persistence.plugins.module_utils._mounts import parse_line
from ansible_collections.redisops.persistence.plugins.module_utils._system import Gaps, System
from ansible_collections.redisops.persistence.tests.unit.recorded_tree import made_system

KEYS = {
    "path", "deleted", "configured", "root", "process_view", "host_view", "lookup_view", "same_directory", "owner",
    "access_acl", "permission_chain", "access", "sticky", "attributes", "dump", "users", "foreign_files",
    "temp_files", "temp_files_bytes",
    "temp_files_truncated", "entries_truncated", "aof",
}  # fmt: skip
HINTS = {"dbfilename": "dump.rdb", "appendfilename": "appendonly.aof", "appenddirname": "appendonlydir"}
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounts need root")


def process_block(pid, uid=None, gid=None, capabilities=()):
    return {
        "pid": pid,
        "pid_in_namespace": pid,
        "started_unix": time.time() - 3600,
        "uid": {"effective": os.geteuid() if uid is None else uid},
        "gid": {"effective": os.getegid() if gid is None else gid},
        "groups": [],
        "capabilities_effective": list(capabilities),
        "children": [],
    }


class Sleeper:
    """A live process with a working directory, in place of a server."""

    def __init__(self, directory, prefix=()):
        code = "import sys, time; print('ready', flush=True); time.sleep(300)"
        argv = [*prefix, sys.executable, "-c", code]
        self.process = subprocess.Popen(argv, cwd=directory, stdout=subprocess.PIPE)
        self.process.stdout.readline()

    def collect(self, gaps=None, hints=None, **block):
        pid = self.process.pid
        hints = HINTS if hints is None else hints
        return collect_data_directory(System(), pid, process_block(pid, **block), hints, gaps or Gaps())

    def end(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.process.stdout.close()


@pytest.fixture
def start():
    started = []

    def start_in(directory, prefix=()):
        started.append(Sleeper(directory, prefix))
        return started[-1]

    yield start_in
    for sleeper in started:
        sleeper.end()


@pytest.fixture
def directory(tmp_path):
    path = tmp_path / "data"
    path.mkdir(mode=0o755)
    return path


def test_an_ordinary_directory(start, directory):
    (directory / "dump.rdb").write_bytes(b"x" * 10)
    gaps = Gaps()
    found = start(directory).collect(gaps, {**HINTS, "dir": "./"})
    assert set(found) == KEYS
    assert (found["path"], found["deleted"], found["root"], found["configured"]) == (str(directory), False, "/", "./")
    assert found["same_directory"] is True
    status = os.stat(directory)
    for view in ("process_view", "lookup_view", "host_view"):
        assert found[view]["inode"] == status.st_ino
        assert found[view]["device"] == f"{os.major(status.st_dev)}:{os.minor(status.st_dev)}"
        assert found[view]["read_only"] is False
        assert found[view]["total_bytes"] >= found[view]["free_bytes"] >= found[view]["available_bytes"] > 0
        assert found[view]["mount_point"] and found[view]["type"]
    assert found["owner"]["uid"] == os.geteuid()
    assert found["owner"]["mode"] == "0755"
    assert found["owner"]["changed_unix"] == pytest.approx(time.time(), abs=60)
    assert found["access"]["writable"] is True
    assert [entry["path"] for entry in found["permission_chain"]][0] == "/"
    assert [entry["path"] for entry in found["permission_chain"]][-1] == str(directory)
    assert found["dump"]["type"] == "file"
    assert found["dump"]["size_bytes"] == 10
    assert found["dump"]["is_mount_point"] is False
    assert found["temp_files"] == []
    assert found["temp_files_bytes"] == 0
    assert found["aof"] == {"exists": False, "size_bytes": 0}
    assert gaps.entries() == []


def test_a_deleted_directory(start, directory):
    sleeper = start(directory)
    directory.rmdir()
    found = sleeper.collect()
    assert (found["path"], found["deleted"], found["same_directory"]) == (str(directory), True, False)
    assert found["lookup_view"] is None and found["host_view"] is None
    assert found["process_view"]["free_bytes"] > 0
    assert found["permission_chain"][-1]["path"] == str(directory.parent)


def test_a_directory_that_was_deleted_and_made_again(start, directory):
    sleeper = start(directory)
    directory.rename(directory.parent / "kept")
    found = sleeper.collect()
    assert (found["path"], found["deleted"]) == (str(directory.parent / "kept"), False)
    shutil.rmtree(directory.parent / "kept")
    (directory.parent / "kept").mkdir()
    found = sleeper.collect()
    assert (found["path"], found["deleted"], found["same_directory"]) == (str(directory.parent / "kept"), True, False)
    assert found["lookup_view"]["inode"] == os.stat(directory.parent / "kept").st_ino


def test_a_directory_that_is_called_deleted(start, tmp_path):
    path = tmp_path / "data (deleted)"
    path.mkdir()
    sleeper = start(path)
    found = sleeper.collect()
    assert (found["path"], found["deleted"], found["same_directory"]) == (str(path), False, True)
    path.rmdir()
    found = sleeper.collect()
    assert (found["path"], found["deleted"], found["same_directory"]) == (str(path), True, False)


def test_names_that_are_no_text(start, tmp_path):
    path = os.path.join(os.fsencode(tmp_path), b"a\nb \xff")
    os.mkdir(path)
    found = start(path).collect(hints={"dbfilename": "d\\xff"})
    assert found["path"] == str(tmp_path) + "/a\nb \\xff"
    assert found["same_directory"] is True
    assert found["dump"]["exists"] is False
    with open(os.path.join(path, b"d\xff"), "wb"):
        pass
    assert start(path).collect(hints={"dbfilename": "d\\xff"})["dump"]["exists"] is True


def test_a_parent_without_search_blocks_a_restart_but_no_save(start, tmp_path):
    parent = tmp_path / "parent"
    (parent / "data").mkdir(parents=True)
    (parent / "data").chmod(0o777)
    sleeper = start(parent / "data")
    parent.chmod(0o700)
    access = sleeper.collect(uid=os.geteuid() + 4321, gid=os.getegid() + 4321)["access"]
    assert access["writable"] is True
    assert access["searchable"] is False
    # pytest's own directories above are closed to others as well: the first closed one is named.
    blocked_by = access["blocked_by"]
    assert blocked_by == str(parent) or str(parent).startswith(blocked_by + "/")
    assert not os.stat(blocked_by).st_mode & 0o001
    assert "a restart would" in access["reason"]


def test_a_directory_that_the_server_may_not_write(start, directory):
    access = start(directory).collect(uid=os.geteuid() + 4321, gid=os.getegid() + 4321)["access"]
    assert access["writable"] is False
    assert access["blocked_by"] == str(directory)
    assert "other bits" in access["reason"]


def test_what_stands_where_the_dump_should_be(start, directory):
    sleeper = start(directory)
    (directory / "dump.rdb").mkdir()
    dump = sleeper.collect()["dump"]
    assert (dump["type"], dump["directory_empty"]) == ("directory", True)
    (directory / "dump.rdb" / "x").write_text("x")
    assert sleeper.collect()["dump"]["directory_empty"] is False
    shutil.rmtree(directory / "dump.rdb")
    (directory / "dump.rdb").symlink_to("/etc/passwd")
    dump = sleeper.collect()["dump"]
    assert (dump["type"], dump["exists"], dump["directory_empty"]) == ("symlink", True, None)
    (directory / "dump.rdb").unlink()
    os.mkfifo(directory / "dump.rdb")
    assert sleeper.collect()["dump"]["type"] == "other"


@pytest.mark.parametrize(
    ("hints", "exists", "gap"),
    [({}, None, True), ({"dbfilename": ""}, False, False), ({"dbfilename": "../../etc/passwd"}, None, False)],
)
def test_a_dump_whose_name_is_no_name(start, directory, hints, exists, gap):
    gaps = Gaps()
    found = start(directory).collect(gaps, hints)
    assert found["dump"]["exists"] is exists
    assert ("the dump file" in [entry["what"] for entry in gaps.entries()]) is gap
    assert found["aof"] is None


def test_temporary_files_and_who_has_them_open(start, directory):
    sleeper = start(directory)
    (directory / "appendonlydir").mkdir()
    (directory / "temp-999999999.rdb").write_bytes(b"x" * 5)
    (directory / "appendonlydir/temp-appendonly.aof.incr").write_bytes(b"x" * 3)
    (directory / "appendonlydir/appendonly.aof.1.base.rdb").write_bytes(b"x" * 4)
    (directory / "temp-other").write_text("x")
    with open(directory / "temp-999999999.rdb", "rb"):
        found = sleeper.collect()
    by_name = {entry["name"]: entry for entry in found["temp_files"]}
    assert set(by_name) == {"temp-999999999.rdb", "appendonlydir/temp-appendonly.aof.incr"}
    assert by_name["temp-999999999.rdb"]["holder"] == "other_process"
    assert by_name["temp-999999999.rdb"]["open"] is True
    assert by_name["appendonlydir/temp-appendonly.aof.incr"]["pid"] is None
    assert found["temp_files_bytes"] == 8
    assert found["aof"] == {"exists": True, "size_bytes": 7}


def test_a_listing_is_cut(start, directory, monkeypatch):
    for number in range(20):
        (directory / f"temp-{number + 900000000}.rdb").write_text("x")
    monkeypatch.setattr(_filesystem, "ENTRIES_LIMIT", 5)
    found = start(directory).collect()
    assert found["entries_truncated"] is True
    assert len(found["temp_files"]) == 5


def test_a_file_system_that_does_not_answer(start, directory, monkeypatch):
    sleeper = start(directory)
    release = threading.Event()
    monkeypatch.setattr(_filesystem, "TOUCH_SECONDS", 0.3)
    monkeypatch.setattr(_filesystem, "read_attributes", lambda handle: release.wait())
    gaps = Gaps()
    began = time.monotonic()
    found = sleeper.collect(gaps)
    assert time.monotonic() - began < 2
    release.set()
    assert set(found) == KEYS
    assert found["process_view"]["free_bytes"] > 0
    assert found["attributes"] == {"immutable": None, "append_only": None}
    assert found["dump"]["exists"] is None
    assert any("no answer within 0.3 seconds" in gap["why"] for gap in gaps.entries())


@needs_root
def test_a_mount_that_is_read_only_for_the_server_alone(start, directory):
    script = 'mount --bind . "$0" && mount -o remount,bind,ro "$0" && cd "$0" && exec "$@"'
    found = start(directory, ["unshare", "-m", "sh", "-c", script, str(directory)]).collect()
    assert found["process_view"]["read_only"] is True
    assert found["process_view"]["super_read_only"] is False
    assert found["process_view"]["mount_point"] == str(directory)
    assert found["host_view"]["read_only"] is False
    assert found["same_directory"] is True


@needs_root
def test_a_mount_over_the_directory(start, directory):
    (directory / "dump.rdb").write_text("hidden")
    sleeper = start(directory)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m,nr_inodes=7", "none", directory], check=True)
    try:
        found = sleeper.collect()
    finally:
        subprocess.run(["umount", directory], check=True)
    assert (found["deleted"], found["same_directory"]) == (False, False)
    assert found["dump"]["exists"] is True
    assert found["lookup_view"]["type"] == found["host_view"]["type"] == "tmpfs"
    assert found["lookup_view"]["total_bytes"] == 1024 * 1024
    assert found["lookup_view"]["inodes_total"] == 7
    assert found["process_view"]["type"] != "tmpfs" or found["process_view"]["inode"] != found["host_view"]["inode"]


@needs_root
def test_a_directory_that_is_called_deleted_below_a_mount(start, tmp_path):
    path = tmp_path / "data (deleted)"
    path.mkdir()
    sleeper = start(path)
    subprocess.run(["mount", "-t", "tmpfs", "none", path], check=True)
    try:
        found = sleeper.collect()
    finally:
        subprocess.run(["umount", path], check=True)
    assert (found["path"], found["deleted"], found["same_directory"]) == (str(path), False, False)


# -- a recorded machine


def recorded(tmp_path, mountinfo=None, own_mountinfo=None, cwd="/var/lib/redis", **more):
    root_line = b"27 1 254:0 / / rw - ext4 /dev/vda rw\n".decode()
    files = {
        "/proc/42/mountinfo": mountinfo or root_line,
        "/proc/self/mountinfo": own_mountinfo or root_line,
        "/var/lib/redis/dump.rdb": "x",
        "/etc/passwd": f"root:x:0:0::/:/bin/sh\nredis:x:{os.geteuid()}:0::/:/bin/sh\n",
        "/etc/group": "",
        **more,
    }
    if cwd:
        files.update({"/proc/42/cwd": {"link": cwd}, "/proc/42/root": {"link": "/"}})
    return made_system(tmp_path, files)


def test_a_recorded_machine(tmp_path):
    mounts = (
        "27 1 254:0 / / rw - ext4 /dev/vda rw\n"
        "99 27 254:0 /var/lib/redis /var/lib/redis ro,nosuid - ext4 /dev/vda rw,resuid=7\n"
    )
    system = recorded(tmp_path, mountinfo=mounts)
    found = collect_data_directory(system, 42, process_block(42, uid=7), {"dbfilename": "dump.rdb"}, Gaps())
    assert found["path"] == "/var/lib/redis"
    assert found["process_view"]["mount_options"] == ["ro", "nosuid"]
    assert found["process_view"]["read_only"] is True
    assert found["process_view"]["usable_bytes"] == found["process_view"]["free_bytes"]
    assert found["host_view"]["mount_point"] == "/"
    assert found["owner"]["user"] is not None
    assert [entry["path"] for entry in found["permission_chain"]] == ["/", "/var", "/var/lib", "/var/lib/redis"]
    assert found["dump"]["exists"] is True


def test_without_a_look_through_the_process(tmp_path):
    gaps = Gaps()
    hints = {"dbfilename": "dump.rdb", "dir": "/var/lib/redis"}
    found = collect_data_directory(recorded(tmp_path, cwd=None), 42, process_block(42), hints, gaps)
    assert set(found) == KEYS
    assert found["process_view"] is None
    assert found["same_directory"] is None
    assert found["lookup_view"]["inode"] == found["host_view"]["inode"]
    assert found["dump"]["exists"] is True
    assert found["access"]["writable"] is True
    assert "the server's working directory" in [gap["what"] for gap in gaps.entries()]


def test_a_sandbox_that_only_the_mount_table_shows(tmp_path):
    mounts = "50 49 254:0 / / ro - ext4 /dev/vda rw\n"
    system = recorded(tmp_path, mountinfo=mounts, cwd=None)
    hints = {"dbfilename": "dump.rdb", "dir": "/var/lib/redis"}
    found = collect_data_directory(system, 42, process_block(42), hints, Gaps())
    assert found["lookup_view"]["read_only"] is True
    assert found["host_view"]["read_only"] is False
    assert found["dump"]["exists"] is True, "the same place on the same device"


def test_another_disk_at_the_same_path_is_not_looked_into(tmp_path):
    mounts = "50 49 0:99 / / rw - overlay overlay rw\n"
    system = recorded(tmp_path, mountinfo=mounts, cwd=None)
    hints = {"dbfilename": "dump.rdb", "dir": "/var/lib/redis"}
    found = collect_data_directory(system, 42, process_block(42), hints, Gaps())
    assert found["lookup_view"]["type"] == "overlay"
    assert found["lookup_view"]["free_bytes"] is None
    assert found["dump"]["exists"] is None
    assert found["owner"]["uid"] is None
    assert found["access"]["writable"] is None


@pytest.mark.parametrize("hints", [{}, {"dir": "./"}, {"dir": ""}])
def test_nothing_to_go_by(tmp_path, hints):
    gaps = Gaps()
    assert collect_data_directory(recorded(tmp_path, cwd=None), 42, None, hints, gaps) is None
    assert gaps.entries()


def test_unknown_credentials_are_no_refusal(tmp_path):
    found = collect_data_directory(recorded(tmp_path), 42, None, HINTS, Gaps())
    assert found["access"]["writable"] is None
    assert found["process_view"]["usable_bytes"] is None
    assert found["permission_chain"][0]["search_allowed"] is None


def test_a_chroot(tmp_path):
    system = recorded(tmp_path, cwd=None, **{"/jail/srv/data/dump.rdb": "x"})
    for name, target in (("cwd", "/jail/srv/data"), ("root", "/jail")):
        (tmp_path / "proc/42" / name).symlink_to(target)
    found = collect_data_directory(system, 42, process_block(42), HINTS, Gaps())
    assert (found["path"], found["root"], found["same_directory"]) == ("/srv/data", "/jail", True)
    assert [entry["path"] for entry in found["permission_chain"]] == ["/", "/srv", "/srv/data"]
    assert found["host_view"] is None


# -- pure parts


def credentials(uid, gid=7, groups=(), capabilities=(), uid_ranges=None):
    return Credentials(uid, gid, frozenset(groups), frozenset(capabilities), uid_ranges)


@pytest.mark.parametrize(
    ("who", "file_system_type", "options", "expected"),
    [
        (credentials(0), "ext4", ["rw"], True),
        (credentials(999), "ext4", ["rw"], False),
        (credentials(999, capabilities=["CAP_SYS_RESOURCE"]), "ext4", ["rw"], True),
        (credentials(999, capabilities=["CAP_SYS_RESOURCE"], uid_ranges=[]), "ext4", ["rw"], False),
        (credentials(0), "ext4", ["rw", "resuid=65534"], False),
        (credentials(65534), "ext4", ["rw", "resuid=65534"], True),
        (credentials(999, groups=[30]), "ext4", ["rw", "resgid=30"], True),
        (credentials(999, gid=0), "ext4", ["rw"], False),
        (credentials(0), "xfs", ["rw"], False),
        (credentials(0), None, [], False),
    ],
)
def test_the_reserve(who, file_system_type, options, expected):
    assert may_use_reserve(who, file_system_type, options) is expected


def statvfs(flags=0, files=0):
    return os.statvfs_result((4096, 4096, 1000, 300, 200, files, files // 2, files // 4, flags, 255))


def test_space():
    mount = parse_line(b"1 0 8:1 / / rw - ext4 /dev/sda rw")
    entry = filesystem_entry(mount, None, statvfs(files=100), credentials(999), (None, None))
    assert entry["total_bytes"] == 4096000
    assert entry["usable_bytes"] == entry["available_bytes"] == 200 * 4096
    assert (entry["inodes_total"], entry["inodes_free"], entry["inodes_usable"]) == (100, 50, 25)
    entry = filesystem_entry(mount, None, statvfs(files=100), credentials(0), (None, None))
    assert (entry["usable_bytes"], entry["inodes_usable"]) == (300 * 4096, 50)


def test_inodes_made_on_demand_are_unknown():
    entry = filesystem_entry(None, None, statvfs(), credentials(0), (None, None))
    assert (entry["inodes_total"], entry["inodes_free"], entry["inodes_usable"]) == (None, None, None)
    assert entry["read_only"] is False


@pytest.mark.parametrize(
    ("line", "flags", "read_only", "super_read_only"),
    [
        (b"1 0 8:1 / / rw - ext4 /dev/sda rw", 0, False, False),
        (b"1 0 8:1 / / ro - ext4 /dev/sda rw", os.ST_RDONLY, True, False),
        (b"1 0 8:1 / / rw - ext4 /dev/sda ro", os.ST_RDONLY, True, True),
        (b"1 0 8:1 / / rw - ext4 /dev/sda rw,emergency_ro", 0, True, True),
    ],
)
def test_read_only(line, flags, read_only, super_read_only):
    entry = filesystem_entry(parse_line(line), None, statvfs(flags), None, (None, None))
    assert (entry["read_only"], entry["super_read_only"]) == (read_only, super_read_only)


def test_nothing_known_is_nothing_said():
    entry = filesystem_entry(None, None, None, None, (None, None))
    assert (entry["read_only"], entry["super_read_only"], entry["free_bytes"]) == (None, None, None)


def test_the_ioctl_by_architecture():
    # linux/fs.h as it expands on 64-bit machines; lsattr under strace shows the first.
    assert get_flags_request("x86_64") == 0x80086601
    assert get_flags_request("aarch64") == 0x80086601
    assert get_flags_request("ppc64le") == 0x40086601


def test_raw_names():
    assert raw_names("dump.rdb") == ["dump.rdb"]
    assert raw_names("d\\xff\\x41") == ["d\\xff\\x41", "d\udcff\\x41"]


def test_names_by_id():
    assert names_by_id("redis:x:999:\nother:x:999:\nbroken\nx:y:z\n") == {999: "redis"}
