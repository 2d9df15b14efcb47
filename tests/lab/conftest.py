# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures of the lab, the option ``--record``, and the figures at the end of the run."""

from __future__ import annotations

import contextlib
import shutil
import signal
import tempfile
import typing as t
import zlib
from pathlib import Path

import pytest

from .bench import Bench
from .score import SCORE
from .servers import KINDS, ServerKind


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--record", action="store_true", help="write each lab run's evidence as a replay file")
    parser.addoption("--combinations", default="9", help="how many random combinations of faults are tried")
    parser.addoption("--campaign", action="store_true", help="try each way to do harm on every kind of server")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Without ``--campaign`` each way to do harm is tried on one kind of server, always the same, another for the next.

    What is tried is mostly refused by the plan and the modules, whatever they talk to; all kinds take much longer.
    """
    if config.getoption("--campaign"):
        return
    tries: dict[str, list[pytest.Item]] = {}
    for item in items:
        if item.path.name.startswith("test_harm"):
            tries.setdefault(item.nodeid.replace(kind_of(item), ""), []).append(item)
    left_out = set()
    for attempt, of_kinds in tries.items():
        left_out.update(of_kinds)
        left_out.remove(of_kinds[zlib.crc32(attempt.encode()) % len(of_kinds)])
    config.hook.pytest_deselected(items=list(left_out))
    items[:] = [item for item in items if item not in left_out]


def kind_of(item: pytest.Item) -> str:
    """The id of the server that a test is for; a text that no name has where it is for none."""
    parameters = item.callspec.params if hasattr(item, "callspec") else {}
    return next((value.id for value in parameters.values() if isinstance(value, ServerKind)), "\0")


def pytest_terminal_summary(terminalreporter: t.Any) -> None:
    lines = SCORE.lines()
    if lines:
        terminalreporter.section("lab")
        for line in lines:
            terminalreporter.line(line)


@pytest.fixture(scope="session")
def lab_directory() -> t.Iterator[Path]:
    """A directory that every user may enter (the servers run as users of their own)."""
    # Ended from outside, the lab still undoes what it did.
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    path = Path(tempfile.mkdtemp(prefix="redisops-lab-"))
    path.chmod(0o755)
    (path / "bin").mkdir(mode=0o755)
    yield path
    shutil.rmtree(path, ignore_errors=True)
    signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def making_benches(lab_directory: Path) -> t.Iterator[t.Callable[[ServerKind], Bench]]:
    """Makes benches; each is cleaned up at the end."""
    benches: list[Bench] = []

    def make(kind: ServerKind) -> Bench:
        require_kind(kind)
        assert kind.binary is not None
        directory = lab_directory / "bin" / kind.id
        binary = directory / kind.name
        if not binary.exists():
            directory.mkdir()
            binary.symlink_to(kind.binary)
        bench = Bench(kind, Path(tempfile.mkdtemp(prefix="t", dir=lab_directory)), binary)
        bench.base.chmod(0o755)
        benches.append(bench)
        return bench

    try:
        yield make
    finally:
        with contextlib.ExitStack() as last:
            for bench in benches:
                last.callback(bench.close)


@pytest.fixture
def bench_of(lab_directory: Path) -> t.Iterator[t.Callable[[ServerKind], Bench]]:
    with making_benches(lab_directory) as make:
        yield make


@pytest.fixture(scope="module")
def lasting_bench_of(lab_directory: Path) -> t.Iterator[t.Callable[[ServerKind], Bench]]:
    """The same for servers that several tests of a file look at."""
    with making_benches(lab_directory) as make:
        yield make


def require_kind(kind: ServerKind) -> None:
    if kind.binary is None:
        if kind.missing_is_error:
            pytest.fail(f"{kind.id}: {kind.reason}; `make test` installs it")
        pytest.skip(f"{kind.id}: {kind.reason}")


@pytest.fixture(params=KINDS, ids=[kind.id for kind in KINDS])
def bench(request: pytest.FixtureRequest, bench_of: t.Callable[[ServerKind], Bench]) -> Bench:
    return bench_of(request.param)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> t.Iterator[None]:
    """A test that is an attempt at a rule or a way to do harm (by its mark): it got through unless it passed."""
    outcome: t.Any = yield
    report = outcome.get_result()
    for mark, group in (("attempt", "attempts"), ("harm", "harms")):
        if report.when == "call" and item.get_closest_marker(mark) and not report.skipped:
            SCORE.note(group, item.name, report.passed)
