# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Random combinations of faults, random opt-ins: what is announced is made, and no dump, owner or key is lost.

Each host has its own opt-ins and some combinations. ``--combinations 50`` draws more than the sample.
"""

from __future__ import annotations

import contextlib
import dataclasses
import typing as t

import pytest

from .bench import Bench, is_root
from .combinations import Broken, break_all, digests_below, draw, draw_opt_ins
from .remediation import ROLLBACK, Document, Run, key_of, machine_of_its_own, run, settled, variables_for
from .remedies import OPT_IN, VALUES
from .score import SCORE
from .servers import KINDS, Server, ServerKind
from .snapshot import (
    RECORDING,
    Change,
    ServerState,
    digest_of,
    forbidden_commands,
    forget_commands,
    server_changes,
    server_state,
)
from .test_remediate import show

pytestmark = pytest.mark.lab

PER_HOST = 5
CAN_BE_OPTED_INTO = (*OPT_IN, "verify", "rewrite_config", "oom_score")


@dataclasses.dataclass(frozen=True)
class Host:
    name: str
    opt_ins: list[str]
    broken: list[Broken]

    @property
    def servers(self) -> list[Server]:
        return [one.server for one in self.broken]


@dataclasses.dataclass(frozen=True)
class Look:
    """All servers at one moment, by address."""

    states: dict[str, ServerState]
    digests: dict[str, str | None]
    files: dict[str, set[str]]


@dataclasses.dataclass(frozen=True)
class Story:
    hosts: list[Host]
    runs: dict[str, Run]
    looks: dict[str, Look]
    forbidden: dict[str, list[str]]

    def of(self, name: str, host: Host) -> Run:
        return self.runs[name].of(host.name)


def look(hosts: t.Iterable[Host]) -> Look:
    servers = [server for host in hosts for server in host.servers]
    return Look(
        {server.address: server_state(server) for server in servers},
        {server.address: digest_of(server) for server in servers},
        {server.address: digests_below(server) for server in servers},
    )


@pytest.fixture(scope="module")
def story(
    request: pytest.FixtureRequest,
    lasting_bench_of: t.Callable[[ServerKind], Bench],
    tmp_path_factory: pytest.TempPathFactory,
) -> t.Iterator[Story]:
    if not is_root():
        pytest.skip("needs root")
    drawn = draw(int(request.config.getoption("--combinations")))
    kinds = [kind for kind in KINDS if kind.binary]
    hosts = []
    for number in range(0, len(drawn), PER_HOST):
        broken = []
        for position, combination in enumerate(drawn[number : number + PER_HOST]):
            bench = lasting_bench_of(kinds[(number + position) % len(kinds)])
            bench.config.update(RECORDING)
            broken.append(break_all(combination, bench))
        opt_ins = draw_opt_ins(CAN_BE_OPTED_INTO, number // PER_HOST)
        hosts.append(Host(f"host{number // PER_HOST}", opt_ins, broken))
    directory = tmp_path_factory.mktemp("combinations")
    with contextlib.ExitStack() as stack:
        pythons = {host.name: stack.enter_context(machine_of_its_own(directory)) for host in hosts}

        def go(name: str, *arguments: str, playbook: str | None = None, **more: t.Any) -> Run:
            variables = {
                host.name: variables_for(
                    directory / name,
                    host.servers,
                    ansible_python_interpreter=str(pythons[host.name]),
                    **({} if playbook else {"remediate_opt_in": host.opt_ins, **VALUES}),
                    **more,
                )
                for host in hosts
            }
            for server in servers:
                forget_commands(server)
            done = run(directory / name, variables, *arguments, **({"playbook": playbook} if playbook else {}))
            forbidden.update({f"{name}, {server.address}": forbidden_commands(server) for server in servers})
            return done

        servers = [server for host in hosts for server in host.servers]
        forbidden: dict[str, list[str]] = {}
        looks, runs = {"before": look(hosts)}, {}
        for name, arguments, more in (
            ("check", ("--check", "--diff"), {}),
            ("real", (), {}),
            ("back", (), {"playbook": ROLLBACK, "remediate_record_dir": str(directory / "real" / "record")}),
        ):
            runs[name] = go(name, *arguments, **more)
            looks[name] = look(hosts)
        yield Story(hosts, runs, looks, forbidden)


def test_check_mode_changes_nothing(story: Story) -> None:
    wrong = [
        f"{host.name} {one.combination.id} on {one.server.kind.id}: {changes}"
        for host, one in every(story)
        if (changes := changes_of(story, one.server, "before", "check"))
    ]
    assert not wrong, show(wrong)


def test_what_was_announced_is_what_was_made(story: Story) -> None:
    wrong = []
    for host, one in every(story):
        announced, made = (changes_told(story, name, host, one.server) for name in ("check", "real"))
        announced = settled(announced, made)
        SCORE.counts["combined announced"] += len(announced)
        SCORE.counts["combined made"] += len(made)
        differing = announced.symmetric_difference(made)
        with contextlib.suppress(AssertionError), SCORE.noting("combinations", name_of(host, one)):
            assert not differing
        if differing:
            real = story.of("real", host)
            wrong.append(f"{name_of(host, one)}, {host.opt_ins}: {differing}\n{real.story(one.server.address)}")
    assert not wrong, show(wrong)


def test_what_was_made_is_what_differs(story: Story) -> None:
    wrong = []
    for host, one in every(story):
        told = {told_change[1:] for told_change in changes_told(story, "real", host, one.server)}
        observed = changes_of(story, one.server, "check", "real")
        kept = [change for change in observed if ".kept-" in change[1]]
        said = [change for change in told if change[1].startswith("dump kept beside: ")]
        differing = (told - set(said)).symmetric_difference(observed - set(kept))
        if differing or len(kept) != len(said):
            wrong.append(f"{name_of(host, one)}, {host.opt_ins}: {differing}")
    assert not wrong, show(wrong)


def test_no_key_is_lost(story: Story) -> None:
    lost = [
        f"{name_of(host, one)} after {name}: {before} is now {after}"
        for host, one in every(story)
        for name in ("check", "real", "back")
        if (after := story.looks[name].digests[one.server.address])
        != (before := story.looks["before"].digests[one.server.address])
    ]
    SCORE.counts["combined keys lost"] += len(lost)
    assert not lost, show(lost)


def test_no_dump_is_lost(story: Story) -> None:
    """A file that is worth more than what is in memory is at its place, or beside it."""
    lost = {}
    for host, one in every(story):
        files = [story.looks[name].files[one.server.address] for name in ("check", "real", "back")]
        if one.precious and not all(one.precious in digests for digests in files):
            lost[name_of(host, one)] = f"{host.opt_ins}: {story.of('real', host).story(one.server.address)}"
    SCORE.counts["combined dumps lost"] += len(lost)
    assert not lost, show(lost.items())


def test_no_forbidden_command_is_sent(story: Story) -> None:
    sent = {where: words for where, words in story.forbidden.items() if words}
    assert not sent


def every(story: Story) -> t.Iterator[tuple[Host, Broken]]:
    return ((host, one) for host in story.hosts for one in host.broken)


def name_of(host: Host, one: Broken) -> str:
    return f"{one.combination.id} on {one.server.kind.id} ({host.name})"


def changes_of(story: Story, server: Server, first: str, second: str) -> set[Change]:
    """Seen without the code under test."""
    before, after = story.looks[first].states[server.address], story.looks[second].states[server.address]
    return server_changes(server, before, after)


def changes_told(story: Story, name: str, host: Host, server: Server) -> set[tuple[t.Any, ...]]:
    changes: list[Document] = story.of(name, host).changes()
    return {(change["fix"], *key_of(change)) for change in changes if change["address"] == server.address}
