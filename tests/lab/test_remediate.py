# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every fault that stands beside others, remediated by the playbook: announced, made, proven, made only once, put back.

The servers of one version are the instances of one host, and go through five runs:

1. without being asked for anything: what needs a hand or a word of the operator's is left as it is;
2. in check mode, with every fix asked for: nothing changes, and what would is announced;
3. for real: the faults that have a fix are cured, and what changed is what was announced;
4. again: nothing is left to change;
5. the rollback: all that is reversible is as it was.
"""

from __future__ import annotations

import dataclasses
import typing as t
from pathlib import Path

import pytest

from .bench import Bench, is_root
from .remediation import HOST_WIDE, ROLLBACK, Run, remediate, run, variables_for
from .remedies import BY_FAULT, OPT_IN, REMEDIES, VALUES, Case, fits
from .score import SCORE
from .servers import KINDS, Server, ServerKind
from .snapshot import (
    READING,
    RECORDING,
    Change,
    HostState,
    ServerState,
    changes_between,
    commands_sent,
    digest_of,
    forbidden_commands,
    forget_commands,
    host_changes,
    host_state,
    states_of,
    untouched,
)
from .test_faults import check_real

pytestmark = pytest.mark.lab


@dataclasses.dataclass
class Step:
    """One run, and what was before and after it."""

    run: Run
    servers: list[Server]
    hosts: tuple[HostState, HostState]
    states: tuple[dict[str, ServerState], dict[str, ServerState]]
    digests: tuple[dict[str, str | None], dict[str, str | None]]
    commands: dict[str, list[str]]
    forbidden: dict[str, list[str]]

    def observed(self) -> set[Change]:
        return changes_between(self.servers, self.hosts, self.states)


def step(servers: list[Server], act: t.Callable[[], Run]) -> Step:
    """A run with a look at everything before and after it."""
    hosts, states = [host_state()], [states_of(servers)]
    digests = [{server.address: digest_of(server) for server in servers}]
    for server in servers:
        forget_commands(server)
    done = act()
    commands = {server.address: commands_sent(server) for server in servers}
    forbidden = {server.address: forbidden_commands(server) for server in servers}
    hosts.append(host_state())
    states.append(states_of(servers))
    digests.append({server.address: digest_of(server) for server in servers})
    return Step(done, servers, tuple(hosts), tuple(states), tuple(digests), commands, forbidden)  # type: ignore[arg-type]


@dataclasses.dataclass
class Campaign:
    """The five runs against every fault on one kind of server."""

    cases: list[Case]
    alone: Step
    check: Step
    real: Step
    again: Step
    back: Step

    @property
    def to_be_left(self) -> list[Case]:
        return [case for case in self.cases if must_be_left(case)]

    @property
    def to_be_cured(self) -> list[Case]:
        return [case for case in self.cases if must_be_cured(case)]

    @property
    def steps(self) -> dict[str, Step]:
        return {name: getattr(self, name) for name in ("alone", "check", "real", "again", "back")}


def must_be_left(case: Case) -> bool:
    """Whether nothing is done about it unless somebody asks."""
    return case.remedy.opt_in is not None or not case.remedy.helps(case.bench.kind)


def must_be_cured(case: Case) -> bool:
    return case.remedy.helps(case.bench.kind)


def broken(kind: ServerKind, bench_of: t.Callable[[ServerKind], Bench]) -> list[Case]:
    """One server a fault, each really broken."""
    cases = []
    for remedy in REMEDIES:
        if fits(remedy, kind):
            bench, fault = bench_of(kind), BY_FAULT[remedy.fault]
            bench.config.update(RECORDING)
            if kind.at_least(7):
                bench.config["enable-debug-command"] = "local"
            fault.break_it(bench)
            check_real(fault, bench)
            cases.append(Case(remedy, fault, bench))
    return cases


@pytest.fixture(scope="module", params=KINDS, ids=lambda kind: kind.id)
def campaign(
    request: pytest.FixtureRequest,
    lasting_bench_of: t.Callable[[ServerKind], Bench],
    tmp_path_factory: pytest.TempPathFactory,
) -> Campaign:
    if not is_root():
        pytest.skip("needs root")
    directory = tmp_path_factory.mktemp("campaign")
    cases = broken(request.param, lasting_bench_of)
    left = [case.server for case in cases if must_be_left(case)]
    cured = [case.server for case in cases if must_be_cured(case)]

    def asked(name: str, *arguments: str) -> Step:
        return step(
            cured, lambda: remediate(directory / name, cured, *arguments, remediate_opt_in=list(OPT_IN), **VALUES)
        )

    alone = step(left, lambda: remediate(directory / "alone", left))
    check, real, again = asked("check", "--check", "--diff"), asked("real"), asked("again")
    back = step(cured, lambda: roll_back(directory, directory / "real", cured))
    return Campaign(cases, alone, check, real, again, back)


def roll_back(directory: Path, made_in: Path, servers: list[Server]) -> Run:
    variables = variables_for(directory / "back", servers, remediate_record_dir=str(made_in / "record"))
    return run(directory / "back", variables, playbook=ROLLBACK)


def wrong_ones(cases: list[Case], check: t.Callable[[Case], t.Any], group: str | None = None) -> list[str]:
    """What is wrong, a line a case, so that one run tells of all. ``check`` raises, or returns what is wrong."""
    wrong = []
    for case in cases:
        try:
            said = check(case)
        except (AssertionError, KeyError) as error:
            said = f"{type(error).__name__} {error}"
        if group:
            SCORE.note(group, case.name, not said)
        if said:
            wrong.append(f"{case.name}: {said}")
    return wrong


def show(wrong: t.Collection[t.Any]) -> str:
    return "\n".join(map(str, wrong))


def only_reads(campaign_step: Step) -> list[str]:
    """Servers that were sent another command than one that reads."""
    return [
        f"{address}: {sorted(set(sent) - READING)}"
        for address, sent in campaign_step.commands.items()
        if set(sent) - READING
    ]


# 1. Left alone


def test_what_nobody_asked_for_is_left_alone(campaign: Campaign) -> None:
    """No file, no value, no save; and the run says by its exit code that servers are left broken."""
    seen = campaign.alone

    def check(case: Case) -> list[str]:
        address = case.server.address
        return untouched(case.server, seen.states[0][address], seen.states[1][address])

    wrong = wrong_ones(campaign.to_be_left, check)
    assert not wrong, show(wrong)
    assert not only_reads(seen)
    assert not host_changes(*seen.hosts)
    assert seen.run.changes() == []
    assert seen.run.code != 0
    assert seen.run.changed_tasks() == 0


def test_why_it_is_left_alone_is_said(campaign: Campaign) -> None:
    documents = campaign.alone.run.documents

    def check(case: Case) -> str | None:
        document = documents[case.server.address]
        expected = "refused" if case.remedy.opt_in else case.remedy.expected(case.bench.kind)
        if document["result"] != expected or not document["reason"]:
            return f"not {expected}: {campaign.alone.run.story(case.server.address)}"
        if case.remedy.opt_in and case.remedy.servers(case.bench.kind) is None:
            decisions = {fix["id"]: fix["decision"] for fix in document["plan"]}
            if decisions.get(case.remedy.opt_in) != "opt_in":
                return f"no offer: {decisions}"
        return None

    wrong = wrong_ones(campaign.to_be_left, check, "refusals")
    assert not wrong, show(wrong)


# 2. Check mode


def test_check_mode_changes_nothing(campaign: Campaign) -> None:
    seen = campaign.check

    def check(case: Case) -> list[str]:
        address = case.server.address
        return untouched(case.server, seen.states[0][address], seen.states[1][address])

    wrong = wrong_ones(campaign.to_be_cured, check)
    assert not wrong, show(wrong)
    assert not only_reads(seen)
    assert not host_changes(*seen.hosts)
    assert not (seen.run.directory / "record").exists()


def test_check_mode_succeeds_and_shows_what_it_would_do(campaign: Campaign) -> None:
    done = campaign.check.run
    assert done.code == 0, done.output[-4000:]
    missing = [change["what"] for change in done.changes() if change["what"] not in done.output]
    assert not missing
    assert "--- before" in done.output
    assert all(document["proof"] is None for document in done.documents.values())


# 3. For real


def test_every_fault_with_a_fix_is_cured(campaign: Campaign) -> None:
    seen = campaign.real

    def check(case: Case) -> str | None:
        address = case.server.address
        document, story = seen.run.documents[address], seen.run.story(address)
        assert document["result"] == case.remedy.result, story
        assert case.server.status() == "ok", story
        proof = document["proof"]
        assert proof["status"] == "ok", story
        assert proof["keys_before"] == proof["keys_after"] == case.server.call("DBSIZE"), story
        assert proof["diagnosis_after"]["cause"] is None, story
        made = seen.run.fixes(address) - {"verify", "rewrite_config"}
        assert made >= set(case.remedy.fixes), story
        return None

    wrong = wrong_ones(campaign.to_be_cured, check, "remedies")
    assert not wrong, show(wrong)
    assert seen.run.code == 0, seen.run.output[-4000:]


def test_no_key_is_lost(campaign: Campaign) -> None:
    lost = []
    for name, seen in campaign.steps.items():
        for address, before in seen.digests[0].items():
            if seen.digests[1][address] != before:
                lost.append(f"{name} {address}: {before} is now {seen.digests[1][address]}")
    SCORE.counts["keys lost"] += len(lost)
    assert not lost, show(lost)


def test_what_was_announced_is_what_was_made(campaign: Campaign) -> None:
    announced = {(change["fix"], *key(change)) for change in campaign.check.run.changes()}
    made = {(change["fix"], *key(change)) for change in campaign.real.run.changes()}
    SCORE.counts["announced"] += len(announced)
    SCORE.counts["made"] += len(made)
    assert not announced - made, show(announced - made)
    assert not made - announced, show(made - announced)
    assert made


def key(change: dict[str, t.Any]) -> Change:
    return change["address"], change["what"], change["before"], change["after"]


def test_what_was_made_is_what_differs(campaign: Campaign) -> None:
    """Seen without the code under test: no change was kept quiet, and none was made up."""
    observed, told = campaign.real.observed(), campaign.real.run.change_set()
    assert not observed - told, show(observed - told)
    assert not told - observed, show(told - observed)


def test_no_command_is_sent_that_never_may_be(campaign: Campaign) -> None:
    sent = {
        (name, address): words
        for name, seen in campaign.steps.items()
        for address, words in seen.forbidden.items()
        if words
    }
    assert not sent


# 4. Again


def test_a_second_run_changes_nothing(campaign: Campaign) -> None:
    seen = campaign.again
    SCORE.counts["second-run changes"] += len(seen.run.changes())
    assert seen.run.changes() == []
    assert seen.run.changed_tasks() == 0, seen.run.output[-4000:]
    assert seen.run.code == 0, seen.run.output[-4000:]
    assert not seen.observed()
    assert not only_reads(seen)


# 5. Back


def test_rollback_puts_back_what_is_reversible(campaign: Campaign) -> None:
    """Between the start and the end stands only what was called irreversible."""
    assert campaign.back.run.code == 0, campaign.back.run.output[-4000:]
    left = changes_between(
        campaign.real.servers,
        (campaign.real.hosts[0], campaign.back.hosts[1]),
        (campaign.real.states[0], campaign.back.states[1]),
    )
    irreversible = {key(change) for change in campaign.real.run.changes() if not change["reversible"]}
    assert not left - irreversible, show(left - irreversible)
    assert not irreversible - left, show(irreversible - left)


def test_host_wide_fixes_were_left_out_here(campaign: Campaign) -> None:
    """The lab keeps to its own servers; the table's machine-wide faults are remediated elsewhere."""
    assert not {change["fix"] for change in campaign.real.run.changes()} & set(HOST_WIDE)
