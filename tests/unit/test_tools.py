# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The scripts behind the Makefile."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import collection_link
import copy_tree
import prepare_ansible_test
import pytest
import throwaway_server
import yaml

REPOSITORY = Path(__file__).resolve().parent.parent.parent
TOOLS = REPOSITORY / "tests" / "tools"


def git(directory: Path, *arguments: str) -> None:
    subprocess.run(["git", "-C", str(directory), *arguments], check=True, capture_output=True)


class TestCopyTree:
    @pytest.fixture
    def checkout(self, tmp_path: Path) -> Path:
        directory = tmp_path / "any name"
        directory.mkdir()
        git(directory, "init", "--quiet")
        for name in ("tracked", "new", "ignored", "gone", "sub/deep"):
            (directory / name).parent.mkdir(exist_ok=True)
            (directory / name).write_text(name)
        (directory / "tracked").chmod(0o755)
        (directory / "link").symlink_to("tracked")
        (directory / ".gitignore").write_text("ignored\n")
        git(directory, "add", "tracked", "gone", "sub", "link", ".gitignore")
        (directory / "gone").unlink()
        return directory

    def test_takes_what_git_knows_or_would_add(self, checkout: Path, tmp_path: Path) -> None:
        copy = tmp_path / "copy"
        copy_tree.copy_checkout(checkout, copy)
        found = {str(path.relative_to(copy)) for path in copy.rglob("*") if ".git" not in path.parts}
        assert found - {".git"} == {".gitignore", "link", "new", "sub", "sub/deep", "tracked"}
        assert os.access(copy / "tracked", os.X_OK)
        assert (copy / "link").is_symlink()

    def test_replaces_an_older_copy(self, checkout: Path, tmp_path: Path) -> None:
        copy = tmp_path / "copy"
        copy.mkdir()
        (copy / "of before").touch()
        copy_tree.copy_checkout(checkout, copy)
        assert not (copy / "of before").exists()

    def test_copy_is_a_repository_of_its_own(self, checkout: Path) -> None:
        """Inside the checkout, where ansible-test would else ask the repository that ignores the copy."""
        copy = checkout / "ignored-later" / "copy"
        copy_tree.copy_checkout(checkout, copy)
        top = subprocess.run(
            ["git", "-C", str(copy), "rev-parse", "--show-toplevel"], check=True, capture_output=True, text=True
        ).stdout.strip()
        assert Path(top) == copy.resolve()


class TestCollectionLink:
    def test_makes_the_path_that_ansible_wants(self, tmp_path: Path) -> None:
        collections = collection_link.link_collection(tmp_path)
        link = collections / "ansible_collections" / "redisops" / "persistence"
        assert link.resolve() == tmp_path.resolve()
        assert collection_link.link_collection(tmp_path) == collections

    def test_replaces_the_link_of_a_checkout_that_moved(self, tmp_path: Path) -> None:
        before, after = tmp_path / "before", tmp_path / "after"
        before.mkdir()
        collection_link.link_collection(before)
        before.rename(after)
        link = collection_link.link_collection(after) / "ansible_collections" / "redisops" / "persistence"
        assert link.resolve() == after.resolve()
        assert [path.name for path in link.parent.iterdir()] == ["persistence"]


class TestPrepareAnsibleTest:
    def test_finds_the_pip_of_the_installed_ansible_test(self) -> None:
        versions = prepare_ansible_test.pip_versions()
        assert versions
        assert all(re.fullmatch(r"\d+(\.\d+)+", version) for version in versions)

    def test_environment_wins_over_files(self, monkeypatch: pytest.MonkeyPatch) -> None:
        listing = "global.timeout='15'\nglobal.cert='/etc/ca.crt'\ninstall.no-binary='x'\n:env:.timeout='180'\n"
        monkeypatch.setattr(
            prepare_ansible_test.subprocess,
            "run",
            lambda *_arguments, **_options: subprocess.CompletedProcess([], 0, stdout=listing),
        )
        settings = prepare_ansible_test.pip_settings()
        assert settings["global"]["timeout"] == "180"
        assert settings["global"]["cert"] == "/etc/ca.crt"
        assert settings["install"] == {"no-binary": "x"}

    def test_pip_reads_what_was_written(self, tmp_path: Path) -> None:
        path = tmp_path / "home" / "pip.conf"
        prepare_ansible_test.write_settings(path, {"global": {"timeout": "77", "find-links": "/one\n/two"}})
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        listing = subprocess.run(
            [sys.executable, "-m", "pip", "config", "list"],
            check=True,
            capture_output=True,
            text=True,
            env={**os.environ, "PIP_CONFIG_FILE": str(path)},
        ).stdout
        assert "global.timeout='77'" in listing
        assert "global.find-links='\\n/one\\n/two'" in listing or "global.find-links='/one\\n/two'" in listing

    def test_bootstrap_is_python(self) -> None:
        compile(prepare_ansible_test.BOOTSTRAP, "get_pip.py", "exec")


class TestFindPython:
    def find(self, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(TOOLS / "find-python")], capture_output=True, text=True, check=False, env={**os.environ, **environment}
        )

    def test_finds_one_that_can_make_an_environment(self) -> None:
        result = self.find()
        assert result.returncode == 0, result.stderr
        version = subprocess.run(
            [result.stdout.strip(), "-c", "import sys, venv, ensurepip; print(sys.version_info >= (3, 11))"],
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        assert version == "True\n"

    def test_passes_over_commands_that_only_say_not_installed(self, tmp_path: Path) -> None:
        shim = tmp_path / "python3"
        shim.write_text("#!/bin/sh\nexit 127\n")
        shim.chmod(0o755)
        result = self.find(PATH=f"{tmp_path}:{os.environ['PATH']}")
        assert result.returncode == 0, result.stderr
        assert result.stdout.strip() != str(shim)

    def test_says_so_where_the_chosen_one_does_not_do(self) -> None:
        result = self.find(PYTHON="/bin/false")
        assert result.returncode == 1
        assert "PYTHON=/bin/false is not a Python 3.11" in result.stderr


class TestThrowawayServer:
    def test_breaks_and_stops_only_itself(self) -> None:
        directory = throwaway_server.make_work_directory("test")
        server = throwaway_server.Server(directory, throwaway_server.choose_account())
        try:
            server.start()
            assert server.save() == ("Background saving started", "ok")
            server.client.set("key", "value")
            broken = server.break_saves()
            assert broken.cause in ("dir_permission_denied", "destination_is_directory")
            assert server.save()[1] == "err"
        finally:
            server.stop()
            subprocess.run(["rm", "-rf", str(directory)], check=True)
        with pytest.raises(throwaway_server.redis.ConnectionError):
            server.client.info("server")


def test_tarball_leaves_out_what_is_not_run() -> None:
    """Each entry at the top of the checkout is either for users or named in build_ignore."""
    ignored = yaml.safe_load((REPOSITORY / "galaxy.yml").read_text())["build_ignore"]
    for_users = {
        *("plugins", "roles", "playbooks", "meta", "docs", "changelogs"),
        *("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "LICENSE", "galaxy.yml"),
    }
    names = {path.parts[0] for path in copy_tree.files_of_checkout(REPOSITORY)}
    assert names - for_users <= set(ignored)
