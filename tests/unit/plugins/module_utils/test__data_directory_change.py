# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the options of redis_data_directory can and can't mean. The changes are tried on real directories."""

from __future__ import annotations

import os

import pytest
from ansible_collections.redisops.persistence.plugins.module_utils import _data_directory_change as change
from ansible_collections.redisops.persistence.plugins.module_utils._change_diff import change_diff
from ansible_collections.redisops.persistence.plugins.module_utils._module_outcome import Refused
from ansible_collections.redisops.persistence.plugins.module_utils._system import CommandResult, System


def options(**more):
    return {
        **{name: option.get("default") for name, option in change.argument_spec().items()},
        "pid": 1,
        "path": "/data",
        "allowed_dirs": ["/data"],
        **more,
    }


@pytest.mark.parametrize(("text", "mode"), [("0750", 0o750), ("750", 0o750), ("2770", 0o2770), ("1755", 0o1755)])
def test_modes(text, mode):
    assert change.parse_mode(text) == mode


def test_no_mode_is_left_alone():
    assert change.parse_mode(None) is None


@pytest.mark.parametrize(
    "text", ["0757", "0002", "4750", "6750", "7", "75", "07500", "u+w", "488", " 750", "0750\n", ""]
)
def test_modes_that_are_refused(text):
    with pytest.raises(Refused):
        change.parse_mode(text)


@pytest.mark.parametrize(
    ("more", "word"),
    [
        ({"uid": -1}, "no id"),
        ({"gid": 2**32 - 1}, "no id"),
        ({"destination_uid": -5}, "no id"),
        ({"destination": "absent"}, "dump_name"),
        ({"dump_attributes_add": ["i"]}, "dump_name"),
        ({"dump_name": "a/b"}, "not the name"),
        ({"dump_name": "a\0b"}, "not the name"),
        ({"dump_name": "Authorized_Keys"}, "intruders"),
        ({"attributes_add": ["i"], "attributes_remove": ["i", "a"]}, "both name i"),
        ({"create": True, "uid": 1, "gid": 1}, "all three"),
        ({"pid": None}, "pid is needed"),
    ],
)
def test_options_that_can_not_be_meant(more, word):
    with pytest.raises(Refused, match=word):
        change.check_options(options(**more))


def test_options_that_can():
    change.check_options(options(uid=0, gid=2**32 - 2, mode="0700", dump_name="dump.rdb", destination="absent"))
    change.check_options(options(pid=None, create=True, uid=1, gid=1, mode="0700"))


@pytest.mark.parametrize(
    ("machine", "number"),
    # linux/fs.h and the asm/ioctl.h of the architectures, for a long of eight bytes.
    [("x86_64", 0x40086602), ("aarch64", 0x40086602), ("riscv64", 0x40086602), ("ppc64le", 0x80086602)],
)
def test_the_number_of_the_ioctl(machine, number):
    assert change.set_flags_request(machine) == number


def test_a_file_system_that_does_not_answer_is_told(monkeypatch):
    monkeypatch.setattr(change, "TOUCH_SECONDS", 0.05)
    monkeypatch.setattr(change, "open_place", lambda *more: __import__("time").sleep(2))
    with pytest.raises(change.ChangeFailed, match="does not answer"):
        change.change_data_directory(options(), System(), False)


def test_a_new_directory_gets_the_type_that_selinux_wants(tmp_path):
    if os.geteuid() != 0:
        pytest.skip("only root makes directories in root's place")
    commands = []

    def runner(argv, environment, timeout_seconds, stdin):
        commands.append(argv)
        return CommandResult(1, "", "no such type")

    class Machine(System):
        def exists(self, path):
            return path == "/sys/fs/selinux/enforce" or super().exists(path)

    path = str(tmp_path / "data")
    wanted = options(pid=None, path=path, allowed_dirs=[path], create=True, uid=0, gid=0, mode="0700")
    assert change.change_data_directory(wanted, Machine(runner=runner), True)["warnings"] == []
    result = change.change_data_directory(wanted, Machine(runner=runner), False)
    assert commands == [["restorecon", path]] and "no such type" in result["warnings"][0]


def test_a_directory_whose_owner_can_not_be_set_is_not_left_behind(tmp_path, monkeypatch):
    if os.geteuid() != 0:
        pytest.skip("only root makes directories in root's place")

    def refuse(*more):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(change.os, "chown", refuse)
    path = str(tmp_path / "data")
    wanted = options(pid=None, path=path, allowed_dirs=[path], create=True, uid=5, gid=5, mode="0700")
    with pytest.raises(change.ChangeFailed, match="Operation not permitted") as caught:
        change.change_data_directory(wanted, System(), False)
    assert caught.value.result["changes"] == [] and not (tmp_path / "data").exists()


def test_a_difference_has_a_line_for_each_change():
    changes = [
        {"what": "owner of /data", "before": "0:0", "after": "5:5", "reversible": True},
        {"what": "directory /data/x", "before": None, "after": "present", "reversible": True},
    ]
    assert change_diff("/data", changes) == [
        {
            "before_header": "/data",
            "after_header": "/data",
            "before": "owner of /data: 0:0\ndirectory /data/x: absent\n",
            "after": "owner of /data: 5:5\ndirectory /data/x: present\n",
        }
    ]
    assert change_diff("/data", []) == []
