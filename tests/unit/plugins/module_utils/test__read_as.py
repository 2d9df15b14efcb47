# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import os
import shutil
import stat
import subprocess
import tempfile
import threading
import time
import typing as t
from pathlib import Path

import pytest
from ansible_collections.redisops.persistence.plugins.module_utils import _read_as
from ansible_collections.redisops.persistence.plugins.module_utils._read_as import identity_from_status
from ansible_collections.redisops.persistence.plugins.module_utils._system import System

UID, GID, GROUP = 65_101, 65_102, 65_103
HERE = System()
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def status(uid: str = "7 7 7 7", gid: str = "8 8 8 8", groups: str = "", capabilities: str = "0") -> dict[str, str]:
    return {"Uid": uid, "Gid": gid, "Groups": groups, "CapEff": capabilities}


@pytest.mark.parametrize(
    ("uid", "expected"),
    [("7 7 7 7", 7), ("7 0 0 0", 7), ("0 7 0 7", 7), ("0 0 0 0", 0), ("7 9 9 9", 7), ("0 0 0 5", 5)],
)
def test_of_several_ids_the_one_with_the_fewest_rights_counts(uid: str, expected: int) -> None:
    assert identity_from_status(status(uid=uid)).uid == expected


def test_root_without_its_capabilities_does_not_read_all() -> None:
    everything = identity_from_status(status(uid="0 0 0 0", capabilities="000001ffffffffff"))
    nothing = identity_from_status(status(uid="0 0 0 0", capabilities="0000000000000000"))
    assert (everything.may_read_all, nothing.may_read_all) == (True, False)
    assert not identity_from_status(status(capabilities="000001ffffffffff")).may_read_all


@pytest.mark.parametrize("fields", [{}, status(uid=""), status(gid="x x x x"), status(uid="7 7 7")])
def test_an_unknown_user_is_nobody_to_read_as(fields: dict[str, str]) -> None:
    with pytest.raises(PermissionError):
        identity_from_status(fields)


class Reader:
    """A process of another user, and a directory that everybody may enter."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.process = subprocess.Popen(["sleep", "60"], user=UID, group=GID, extra_groups=[GROUP], cwd=place)

    def file(self, name: str, text: str, owner: int = 0, group: int = 0, mode: int = 0o600) -> str:
        path = self.place / name
        path.write_text(text)
        os.chown(path, owner, group)
        path.chmod(mode)
        return str(path)

    def read(self, path: str, base: str = "root") -> bytes:
        return _read_as.read_file(HERE, f"/proc/{self.process.pid}/{base}{path}")


@pytest.fixture
def reader() -> t.Iterator[Reader]:
    place = Path(tempfile.mkdtemp(prefix="redisops-unit-"))
    place.chmod(0o755)
    made = Reader(place)
    yield made
    made.process.kill()
    made.process.wait(10)
    _read_as.end_children()
    shutil.rmtree(place)


@needs_root
def test_only_what_the_process_itself_can_read(reader: Reader) -> None:
    assert reader.read(reader.file("own", "1", UID)) == b"1"
    assert reader.read(reader.file("group", "2", 0, GROUP, 0o640)) == b"2"
    assert reader.read(reader.file("everybody", "3", 0, 0, 0o604)) == b"3"
    for path in (
        reader.file("roots", "4"),
        reader.file("others", "5", UID + 7),
        reader.file("groups", "6", 0, 1, 0o640),
    ):
        with pytest.raises(PermissionError):
            reader.read(path)
        link = Path(f"{path}-link")
        link.symlink_to(path)
        with pytest.raises(PermissionError):
            reader.read(str(link))
    with pytest.raises(FileNotFoundError):
        reader.read(str(reader.place / "nothing"))


@needs_root
def test_below_the_working_directory(reader: Reader) -> None:
    reader.file("own", "1", UID)
    reader.file("roots", "2")
    assert reader.read("/own", "cwd") == b"1"
    for path in ("/roots", "/../../etc/shadow"):
        with pytest.raises(OSError):
            reader.read(path, "cwd")


@needs_root
def test_a_directory_is_listed_as_the_process_sees_it(reader: Reader) -> None:
    reader.file("b", "")
    reader.file("a", "")
    root = f"/proc/{reader.process.pid}/root"
    assert [name for name, _status in _read_as.list_directory(HERE, f"{root}{reader.place}")] == ["a", "b"]
    reader.place.chmod(0o700)
    assert _read_as.list_directory(HERE, f"{root}{reader.place}") == []


@needs_root
def test_pipes_and_devices_are_no_files(reader: Reader) -> None:
    os.mkfifo(reader.place / "pipe")
    (reader.place / "pipe").chmod(0o666)
    for path in (str(reader.place / "pipe"), "/dev/zero", str(reader.place)):
        began = time.monotonic()
        with pytest.raises(_read_as.NotARegularFile):
            reader.read(path)
        assert time.monotonic() - began < 2
    with pytest.raises(PermissionError):  # our own environment, with what stands in it
        reader.read("/proc/self/environ")


@needs_root
def test_one_child_for_all_files_and_threads_and_none_is_left(reader: Reader) -> None:
    path = reader.file("own", "x" * 1000, UID)
    wrong: list[object] = []

    def work() -> None:
        for _time in range(50):
            try:
                if reader.read(path) != b"x" * 1000:
                    wrong.append("another text")
            except OSError as error:
                wrong.append(error)

    threads = [threading.Thread(target=work) for _number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not wrong
    children = list(_read_as._CHILDREN._children.values())
    assert len(children) == 1
    _read_as.end_children()
    assert not os.path.exists(f"/proc/{children[0]._pid}")


@needs_root
def test_a_child_that_was_killed_is_replaced(reader: Reader) -> None:
    path = reader.file("own", "1", UID)
    assert reader.read(path) == b"1"
    child = next(iter(_read_as._CHILDREN._children.values()))
    os.kill(child._pid, 9)
    assert reader.read(path) == b"1"
    assert not os.path.exists(f"/proc/{child._pid}")


@needs_root
def test_a_child_that_hangs_is_given_up_once(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    path = reader.file("own", "1", UID)
    assert reader.read(path) == b"1"
    child = next(iter(_read_as._CHILDREN._children.values()))
    child._channel.settimeout(0.3)
    os.kill(child._pid, 19)
    for _time in range(3):
        began = time.monotonic()
        with pytest.raises(TimeoutError):
            reader.read(path)
        assert time.monotonic() - began < 2
    assert not os.path.exists(f"/proc/{child._pid}")


@needs_root
def test_a_program_that_changes_its_user_is_nobody(reader: Reader) -> None:
    program = reader.place / "program"
    shutil.copy("/bin/sleep", program)
    program.chmod(0o4755)
    process = subprocess.Popen([str(program), "60"], user=UID, group=GID, extra_groups=[])
    try:
        with pytest.raises(PermissionError):
            _read_as.read_file(HERE, f"/proc/{process.pid}/root{reader.file('roots', 'x')}")
    finally:
        process.kill()
        process.wait(10)


@needs_root
def test_links_lead_nowhere_out_of_the_root_of_the_process(reader: Reader) -> None:
    """Its root is another directory, and it is root there."""
    outside = reader.file("outside", "secret", 0, 0, 0o644)
    inside = reader.place / "inside"
    inside.mkdir()
    (inside / "link").symlink_to(outside)
    (inside / "file").write_text("1")
    process = subprocess.Popen(
        ["unshare", "--mount", "--propagation", "private", "sh", "-ec", IN_A_ROOT, "sh", str(inside)],
        stdout=subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        root = f"/proc/{process.pid}/root"
        assert os.readlink(root) != "/"
        assert _read_as.read_file(HERE, f"{root}/file") == b"1"
        with pytest.raises(FileNotFoundError):
            _read_as.read_file(HERE, f"{root}/link")
    finally:
        process.kill()
        process.wait(10)


IN_A_ROOT = """
for name in /bin /lib /lib64 /usr; do
  mkdir -p "$1$name"; mount --bind "$name" "$1$name"
done
exec chroot "$1" sh -c 'echo ready; exec sleep 60'
"""


@needs_root
@pytest.mark.parametrize(
    ("owner", "mode", "flags", "expected"),
    [
        (UID, 0o600, os.O_WRONLY, True),
        (0, 0o604, os.O_WRONLY, True),
        (UID + 9, 0o600, os.O_WRONLY, False),
        (0, 0o600, os.O_RDONLY, False),
    ],
)
def test_what_a_process_has_open(reader: Reader, owner: int, mode: int, flags: int, expected: bool) -> None:
    path = reader.file("output", "1", owner, 0, mode)
    handle = os.open(path, flags)
    process = subprocess.Popen(["sleep", "60"], user=UID, group=GID, extra_groups=[], stdout=handle)
    os.close(handle)
    try:
        place = f"/proc/{process.pid}/fd/1"
        if expected:
            assert _read_as.read_file(HERE, place) == b"1"
        else:
            with pytest.raises(PermissionError):
                _read_as.read_file(HERE, place)
    finally:
        process.kill()
        process.wait(10)


def test_without_root_or_in_a_recorded_tree_files_are_opened_as_they_are(tmp_path: Path) -> None:
    recorded = tmp_path / "proc" / "7" / "root"
    recorded.mkdir(parents=True)
    (recorded / "file").write_text("1")
    assert _read_as.read_file(System(str(tmp_path)), "/proc/7/root/file") == b"1"
    assert stat.S_ISREG(_read_as.list_directory(System(str(tmp_path)), "/proc/7/root")[0][1].st_mode)
