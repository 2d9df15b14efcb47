# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import os
from pathlib import Path

import pytest
from ansible_collections.redisops.persistence.plugins.module_utils import _config_file
from ansible_collections.redisops.persistence.plugins.module_utils._system import Gaps, System


def machine(root: Path, **files: str) -> System:
    """A machine with files; the double underscore of a name is a slash."""
    for name, text in files.items():
        path = root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return System(root=str(root))


@pytest.mark.parametrize(
    ("line", "arguments"),
    [
        ("dir /var/lib/redis", ["dir", "/var/lib/redis"]),
        ('dir "/var/lib/my redis"', ["dir", "/var/lib/my redis"]),
        (r'requirepass "a\"b\x41\n"', ["requirepass", 'a"bA\n']),
        (r"requirepass 'it\'s \n'", ["requirepass", r"it's \n"]),
        ('save ""', ["save", ""]),
        ("  spaced\t out ", ["spaced", "out"]),
        ('x "open', None),
        ('x "closed"behind', None),
        ("", []),
    ],
)
def test_arguments_are_split_as_the_server_splits_them(line: str, arguments: list[str] | None) -> None:
    assert _config_file.split_arguments(line) == arguments


def test_later_lines_win_and_save_lines_add_up() -> None:
    lines = _config_file.parse_lines(
        '# dir /no\nsave 1 1\nsave ""\nsave 900 1\nSAVE 300 10\ndir /a\ndir /b\nmaxmemory 1gb\n'
        "auto-aof-rewrite-min-size 64MB\nstop-writes-on-bgsave-error YES\nslave-serve-stale-data no\nrequirepass x\n"
    )
    assert _config_file.settings_of(lines) == {
        "save": "900 1 300 10",
        "dir": "/b",
        "maxmemory": "1073741824",
        "auto-aof-rewrite-min-size": "67108864",
        "stop-writes-on-bgsave-error": "yes",
        "replica-serve-stale-data": "no",
        "requirepass": "x",
    }


def test_saves_that_are_switched_off_stay_off() -> None:
    assert _config_file.settings_of(_config_file.parse_lines('save 900 1\nsave ""\n')) == {"save": ""}


def test_file_with_includes_through_the_root_of_a_process(tmp_path: Path) -> None:
    system = machine(
        tmp_path,
        **{
            "proc__9__root__etc__redis__redis.conf": "dir /a\ninclude /etc/redis/conf.d/*.conf\nrequirepass secret\n",
            "proc__9__root__etc__redis__conf.d__10.conf": "dir /b\n",
            "proc__9__root__etc__redis__conf.d__20.conf": "dbfilename x.rdb\ninclude /etc/redis/more\n",
            "proc__9__root__etc__redis__more": "appendonly yes\n",
            "etc__redis__more": "appendonly wrong\n",
        },
    )
    gaps = Gaps()
    settings = _config_file.read_config_file(system, "/proc/9/root/etc/redis/redis.conf", gaps)
    assert settings == {"dir": "/b", "dbfilename": "x.rdb", "appendonly": "yes"}
    assert gaps.entries() == []


def test_unreadable_things_are_gaps(tmp_path: Path) -> None:
    system = machine(tmp_path, **{"r.conf": "include relative.conf\ninclude /missing.conf\ndir /a\n"})
    gaps = Gaps()
    assert _config_file.read_config_file(system, "/r.conf", gaps) == {"dir": "/a"}
    assert [gap["what"] for gap in gaps.entries()] == ["config_file relative.conf", "config_file /missing.conf"]
    assert _config_file.read_config_file(system, "/none.conf", gaps) is None


def test_include_loop_ends(tmp_path: Path) -> None:
    system = machine(tmp_path, **{"r.conf": "dir /a\ninclude /r.conf\n"})
    gaps = Gaps()
    assert _config_file.read_config_file(system, "/r.conf", gaps) == {"dir": "/a"}
    assert "deeply" in gaps.entries()[0]["why"]


def test_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "r.conf")
    gaps = Gaps()
    assert _config_file.read_config_file(System(root=str(tmp_path)), "/r.conf", gaps) is None
    assert gaps.entries()[0]["why"] == "Not a regular file."


@pytest.mark.parametrize(
    ("text", "password"),
    [
        ("requirepass one\n", "one"),
        ("requirepass one\nrequirepass two\n", "two"),
        ('requirepass one\nrequirepass ""\n', None),
        ("user default on >three ~* +@all\n", "three"),
        ("user default on >three resetpass #abc ~* +@all\n", None),
        ("user default on >three <three\n", None),
        ("user other on >three\n", None),
        ("port 1\n", None),
    ],
)
def test_password(tmp_path: Path, text: str, password: str | None) -> None:
    assert _config_file.read_password(machine(tmp_path, **{"r.conf": text}), "/r.conf") == password
