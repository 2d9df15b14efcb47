# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kernel settings of this machine, under the lab's lock and put back; boot files as a boot's programs read them."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest
from ansible_collections.redisops.persistence.plugins.module_utils._boot_file import SYSCTL_FILE, TMPFILES_FILE
from ansible_collections.redisops.persistence.plugins.module_utils._kernel_setting_change import change_kernel_setting
from ansible_collections.redisops.persistence.plugins.module_utils._namespaces import collector_in_container
from ansible_collections.redisops.persistence.plugins.module_utils._system import System
from ansible_collections.redisops.persistence.tests.lab.bench import HUGE_PAGES, kernel_lock, missing_need

OVERCOMMIT = Path("/proc/sys/vm/overcommit_memory")
THP_PATH = str(HUGE_PAGES)
SYSTEMD_SYSCTL = Path("/usr/lib/systemd/systemd-sysctl")
OWN_FILE = Path(SYSCTL_FILE)
LATER_FILE = OWN_FILE.with_name("99-zzz-redisops-test.conf")

NEED = missing_need("kernel-settings")
needs_kernel_settings = pytest.mark.skipif(NEED is not None, reason=NEED or "")


@pytest.fixture
def machine() -> t.Iterator[System]:
    """This machine: its settings and its /etc/sysctl.d are as they were afterwards."""
    system = System()
    if collector_in_container(system):
        pytest.skip("this is a container: no boot file is written in one")
    if OWN_FILE.exists() or not OWN_FILE.parent.is_dir():
        pytest.skip(f"{OWN_FILE} is there already, or /etc/sysctl.d is not")
    with kernel_lock():
        before = sorted(os.listdir(OWN_FILE.parent))
        try:
            yield system
        finally:
            for path in (OWN_FILE, LATER_FILE):
                path.unlink(missing_ok=True)
        assert sorted(os.listdir(OWN_FILE.parent)) == before


def change(system: System, check_mode: bool = False, **options: t.Any) -> t.Any:
    parameters = {
        "name": "vm.overcommit_memory",
        "value": "1",
        "boot": "present",
        "running": True,
        "expected": None,
        **options,
    }
    return change_kernel_setting(parameters, system, check_mode)


def looks() -> tuple[str, str, list[tuple[str, int]]]:
    """What the module could have changed."""
    entries = [(entry.name, entry.stat(follow_symlinks=False).st_mtime_ns) for entry in os.scandir(OWN_FILE.parent)]
    entries.append(("", OWN_FILE.parent.stat().st_mtime_ns))
    return OVERCOMMIT.read_text(), HUGE_PAGES.read_text() if HUGE_PAGES.exists() else "", sorted(entries)


def change_all(system: System, **options: t.Any) -> t.Any:
    """Predicted, done, done again: the outcome of the real run."""
    before = looks()
    predicted = change(system, True, **options)
    assert looks() == before
    real = change(system, **options)
    assert predicted == real and real.failure is None
    after = looks()
    assert change(system, **options).result["changes"] == []
    assert looks() == after
    return real


def boot_sets() -> str | None:
    """What the program that applies sysctl.d at boot makes of it: the value that it sets."""
    if SYSTEMD_SYSCTL.exists() and Path("/run/systemd/system").exists():
        command = [str(SYSTEMD_SYSCTL), "--prefix=/vm/overcommit_memory"]
    else:
        sysctl = shutil.which("sysctl", path="/usr/sbin:/sbin:/usr/bin:/bin")
        if sysctl is None:
            return None
        command = [sysctl, "--system", "--pattern", "^vm.overcommit_memory$"]
    subprocess.run(command, check=True, capture_output=True)
    return OVERCOMMIT.read_text().strip()


@needs_kernel_settings
def test_overcommit_now_and_at_boot_and_back(machine: System) -> None:
    OVERCOMMIT.write_text("0")
    outcome = change_all(machine)
    assert OVERCOMMIT.read_text() == "1\n"
    assert OWN_FILE.read_text().endswith("\nvm.overcommit_memory = 1\n")
    status = OWN_FILE.stat()
    assert (status.st_uid, status.st_gid, status.st_mode & 0o7777) == (0, 0, 0o644)
    assert [entry["what"] for entry in outcome.result["changes"]] == [
        "sysctl vm.overcommit_memory",
        f"file {SYSCTL_FILE}",
    ]
    # As after a boot: the kernel's default, then what the machine's own program reads.
    OVERCOMMIT.write_text("0")
    assert boot_sets() in ("1", None)
    assert change_all(machine, value="0", boot="absent", expected="1").result["boot"]["file"] is None
    assert OVERCOMMIT.read_text() == "0\n"
    assert not OWN_FILE.exists()


@needs_kernel_settings
def test_a_later_file_has_the_say(machine: System) -> None:
    OVERCOMMIT.write_text("0")
    LATER_FILE.write_text("vm.overcommit_memory = 0\n")
    outcome = change_all(machine)
    assert OVERCOMMIT.read_text() == "1\n"
    assert not OWN_FILE.exists()
    assert outcome.result["boot"]["effective"] is False
    assert outcome.result["boot"]["overridden_by"] == [f"{LATER_FILE}:1"]
    assert boot_sets() in ("0", None)


@needs_kernel_settings
@pytest.mark.skipif(not SYSTEMD_SYSCTL.exists(), reason="needs systemd's systemd-sysctl")
def test_systemd_reads_our_file_as_foretold(machine: System) -> None:
    """Whether or not systemd booted this machine, its program is what a boot by it would run."""
    OVERCOMMIT.write_text("0")
    LATER_FILE.write_text("vm.overcommit_* = 0\n")  # a pattern gives way to the key's own line
    change_all(machine)
    OVERCOMMIT.write_text("0")
    subprocess.run([str(SYSTEMD_SYSCTL), "--prefix=/vm/overcommit_memory"], check=True, capture_output=True)
    assert OVERCOMMIT.read_text() == "1\n"


@needs_kernel_settings
@pytest.mark.skipif(not HUGE_PAGES.exists(), reason="this kernel has no transparent huge pages")
def test_huge_pages_now(machine: System) -> None:
    HUGE_PAGES.write_text("madvise")
    result = change_all(machine, name="transparent_hugepage", value="never", boot="unchanged").result
    assert "[never]" in HUGE_PAGES.read_text()
    assert result["running"] == {"before": "madvise", "after": "never"}
    assert [entry["what"] for entry in result["changes"]] == ["sysfs transparent_hugepage"]
    change_all(machine, name="transparent_hugepage", value="madvise", boot="unchanged", expected="never")
    assert "[madvise]" in HUGE_PAGES.read_text()


@needs_kernel_settings
def test_a_value_that_the_kernel_refuses_changes_nothing(machine: System) -> None:
    before = looks()
    outcome = change(machine, name="vm.swappiness", value="many")
    assert "EINVAL" in outcome.failure
    assert looks() == before and outcome.result["changes"] == []


IN_A_CONTAINER = """
import json, sys
from ansible_collections.redisops.persistence.plugins.module_utils._kernel_setting_change import change_kernel_setting
from ansible_collections.redisops.persistence.plugins.module_utils._system import System
parameters = {"value": "1", "boot": "present", "running": True, "expected": None, **json.loads(sys.argv[1])}
print(json.dumps([change_kernel_setting(parameters, System(), check_mode)._asdict() for check_mode in (True, False)]))
"""


@needs_kernel_settings
@pytest.mark.parametrize(
    ("mount", "parameters"),
    [
        ("/proc/sys", {"name": "vm.overcommit_memory", "value": "2"}),
        ("/sys", {"name": "transparent_hugepage", "value": "always"}),
    ],
)
def test_read_only_settings_as_in_a_container(machine: System, mount: str, parameters: dict[str, str]) -> None:
    if mount == "/sys" and not HUGE_PAGES.exists():
        pytest.skip("this kernel has no transparent huge pages")
    OVERCOMMIT.write_text("0")
    if HUGE_PAGES.exists():
        HUGE_PAGES.write_text("madvise")
    before = looks()
    script = f'mount --bind {mount} {mount} && mount -o remount,ro,bind {mount} && exec "$@"'
    done = subprocess.run(
        ["unshare", "--mount", "--propagation", "private", "sh", "-ec", script, "sh"]
        + [sys.executable, "-c", IN_A_CONTAINER, json.dumps(parameters)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    predicted, real = json.loads(done.stdout)
    assert predicted == real
    assert "EROFS" in real["failure"] and mount in real["failure"] and "host" in real["failure"]
    assert real["result"]["changes"] == []
    assert looks() == before


# --- tmpfiles.d in a tree ------------------------------------------------------------------------------------------


class Tree(System):
    """A machine in a directory. Its policy of huge pages is a file; it answers as the kernel does."""

    def read_text(self, path: str, limit_bytes: int = 1024 * 1024) -> str:
        text = str(super().read_text(path, limit_bytes))
        return f"[{text.strip()}]\n" if path == THP_PATH else text


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    for directory in ("etc/tmpfiles.d", "run/systemd/system", "usr/lib/tmpfiles.d", "proc/self/ns"):
        (tmp_path / directory).mkdir(parents=True)
    (tmp_path / "proc/self/ns/pid").symlink_to("pid:[4026531836]")
    setting = tmp_path / THP_PATH.lstrip("/")
    setting.parent.mkdir(parents=True)
    setting.write_text("always\n")
    return Tree(root=str(tmp_path))


def booted_value(tree: Tree) -> str:
    """What systemd-tmpfiles writes at boot, from the kernel's default on."""
    setting = Path(tree.path(THP_PATH))
    setting.write_text("")
    done = subprocess.run(
        ["systemd-tmpfiles", "--create", "--boot", f"--root={tree.root}"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0 or "ignoring" in done.stderr, done.stderr
    return setting.read_text().strip()


@pytest.mark.skipif(shutil.which("systemd-tmpfiles") is None, reason="needs systemd-tmpfiles")
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: systemd-tmpfiles opens files as root does")
@pytest.mark.parametrize(
    ("other", "line", "expected"),
    [
        (None, None, "never"),
        ("etc/tmpfiles.d/zz-later.conf", f"w {THP_PATH} - - - - always\n", "never"),
        ("usr/lib/tmpfiles.d/a-earlier.conf", f"w {THP_PATH} - - - - always\n", "always"),
        ("etc/tmpfiles.d/zz-pattern.conf", f"w {THP_PATH[:-2]}* - - - - always\n", "always"),
    ],
    ids=["alone", "later line", "earlier line", "later pattern"],
)
def test_systemd_tmpfiles_makes_of_it_what_is_foretold(
    tree: Tree, other: str | None, line: str | None, expected: str
) -> None:
    if other is not None and line is not None:
        Path(tree.root, other).write_text(line)
    outcome = change(tree, name="transparent_hugepage", value="never")
    assert outcome.failure is None
    boot = outcome.result["boot"]
    assert boot["effective"] is (expected == "never")
    assert boot["after"] == expected
    assert Path(tree.path(TMPFILES_FILE)).exists() is (expected == "never")
    assert booted_value(tree) == expected
    with contextlib.suppress(FileNotFoundError):
        Path(tree.root, other or "none").unlink()
    change(tree, name="transparent_hugepage", value="always", boot="absent")
    assert not Path(tree.path(TMPFILES_FILE)).exists()
