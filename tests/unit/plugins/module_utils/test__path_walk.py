# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import errno
import os

from ansible_collections.redisops.persistence.plugins.module_utils._path_walk import walk


def tree(root):
    (root / "run/data").mkdir(parents=True)
    (root / "var").mkdir()
    (root / "var/run").symlink_to("/run")
    (root / "var/up").symlink_to("../../../../run/data")
    (root / "loop").symlink_to("/loop")
    (root / "run/file").write_text("x")
    return str(root)


def looked_up(root, path):
    result = walk(root, path)
    try:
        return [step.path for step in result.steps], result.identity, result.error
    finally:
        result.close()


def test_links_stay_below_the_root(tmp_path):
    root = tree(tmp_path)
    expected = os.stat(tmp_path / "run/data")
    for path in ("/run/data", "/var/run/data", "/var/up", "/var/../run/./data/", "/../../run/data"):
        steps, identity, error = looked_up(root, path)
        assert error is None, path
        assert steps == ["/", "/run", "/run/data"], path
        assert identity == (expected.st_dev, expected.st_ino), path


def test_the_root_itself(tmp_path):
    assert looked_up(tree(tmp_path), "/")[0] == ["/"]


def test_what_is_missing_ends_the_steps(tmp_path):
    steps, identity, error = looked_up(tree(tmp_path), "/run/gone/deeper")
    assert steps == ["/", "/run"]
    assert identity is None
    assert error.errno == errno.ENOENT


def test_a_file_on_the_way(tmp_path):
    assert looked_up(tree(tmp_path), "/run/file/x")[2].errno == errno.ENOTDIR


def test_a_loop_of_links_ends(tmp_path):
    assert looked_up(tree(tmp_path), "/loop")[2].errno == errno.ELOOP


def test_a_fifo_is_looked_at_and_not_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    assert looked_up(str(tmp_path), "/pipe")[0] == ["/", "/pipe"]


def test_no_descriptor_is_left_behind(tmp_path):
    root = tree(tmp_path)
    before = len(os.listdir("/proc/self/fd"))
    for path in ("/var/run/data", "/run/gone", "/loop", "/run/file/x"):
        looked_up(root, path)
    assert len(os.listdir("/proc/self/fd")) == before
