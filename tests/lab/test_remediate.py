# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every fault that stands beside others, remediated by the playbook: announced, made, proven, made only once, put back.

The servers of one version are the instances of one host, the hosts go through five runs:

1. without being asked for anything: what needs a hand or a word of the operator's is left as it is;
2. in check mode, with every fix asked for: nothing changes, and what would is announced;
3. for real: the faults that have a fix are cured, and what changed is what was announced;
4. again: nothing is left to change;
5. the rollback: all that is reversible is as it was.
"""

from __future__ import annotations

import contextlib
import dataclasses
import re
import typing as t
from pathlib import Path

import pytest

from .bench import Bench, is_root
from .conftest import require_kind
from .remediation import HOST_WIDE, PLAYBOOK, ROLLBACK, Run, key_of, machine_of_its_own, run, settled, variables_for
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


@dataclasses.dataclass(frozen=True)
class Step:
    """One run, and what was before and after it on one host."""

    run: Run
    servers: list[Server]
    hosts: tuple[HostState, HostState]
    states: tuple[dict[str, ServerState], dict[str, ServerState]]
    digests: tuple[dict[str, str | None], dict[str, str | None]]
    commands: dict[str, list[str]]
    forbidden: dict[str, list[str]]

    def observed(self) -> set[Change]:
        return changes_between(self.servers, self.hosts, self.states)


@dataclasses.dataclass(frozen=True)
class Campaign:
    """The five runs against every fault on one kind of server."""

    cases: list[Case]
    steps: dict[str, Step]

    @property
    def to_be_left(self) -> list[Case]:
        return list(filter(must_be_left, self.cases))

    @property
    def to_be_cured(self) -> list[Case]:
        return list(filter(must_be_cured, self.cases))


def must_be_left(case: Case) -> bool:
    """Whether nothing is done about it unless somebody asks."""
    return case.remedy.opt_in is not None or not must_be_cured(case)


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


class Site:
    """The hosts of the campaign: the kinds of server, each with a lock of its own on this machine."""

    def __init__(self, cases: dict[str, list[Case]], pythons: dict[str, Path], directory: Path) -> None:
        self.cases = cases
        self.pythons = pythons
        self.directory = directory

    def step(
        self, name: str, chosen: t.Callable[[Case], bool], *arguments: str, playbook: str = PLAYBOOK, **more: t.Any
    ) -> dict[str, Step]:
        """One run against the chosen servers of every host, with a look at everything before and after it."""
        servers = {host: [case.server for case in cases if chosen(case)] for host, cases in self.cases.items()}
        everyone = [server for some in servers.values() for server in some]
        hosts = {
            host: variables_for(self.directory / name, some, ansible_python_interpreter=str(self.pythons[host]), **more)
            for host, some in servers.items()
        }
        before = {host: look(some) for host, some in servers.items()}
        for server in everyone:
            forget_commands(server)
        done = run(self.directory / name, hosts, *arguments, playbook=playbook)
        sent = {
            host: (
                {server.address: commands_sent(server) for server in some},
                {server.address: forbidden_commands(server) for server in some},
            )
            for host, some in servers.items()
        }
        after = {host: look(some) for host, some in servers.items()}
        return {
            host: Step(done.of(host), some, *zip(before[host], after[host]), *sent[host])  # type: ignore[arg-type]
            for host, some in servers.items()
        }


def look(servers: list[Server]) -> tuple[HostState, dict[str, ServerState], dict[str, str | None]]:
    return host_state(), states_of(servers), {server.address: digest_of(server) for server in servers}


@pytest.fixture(scope="module")
def campaigns(
    lasting_bench_of: t.Callable[[ServerKind], Bench], tmp_path_factory: pytest.TempPathFactory
) -> t.Iterator[dict[str, Campaign]]:
    """By the kind's id."""
    if not is_root():
        pytest.skip("needs root")
    directory = tmp_path_factory.mktemp("campaign")
    cases = {kind.id: broken(kind, lasting_bench_of) for kind in KINDS if kind.binary}
    with contextlib.ExitStack() as stack:
        pythons = {host: stack.enter_context(machine_of_its_own(directory)) for host in cases}
        site = Site(cases, pythons, directory)
        asked: dict[str, t.Any] = {"remediate_opt_in": list(OPT_IN), **VALUES}
        steps = {
            "alone": site.step("alone", must_be_left),
            "check": site.step("check", must_be_cured, "--check", "--diff", **asked),
            "real": site.step("real", must_be_cured, **asked),
            "again": site.step("again", must_be_cured, **asked),
            "back": site.step(
                "back", must_be_cured, playbook=ROLLBACK, remediate_record_dir=str(directory / "real" / "record")
            ),
        }
        yield {host: Campaign(cases[host], {name: step[host] for name, step in steps.items()}) for host in cases}


@pytest.fixture(params=KINDS, ids=lambda kind: kind.id)
def campaign(request: pytest.FixtureRequest, campaigns: dict[str, Campaign]) -> Campaign:
    require_kind(request.param)
    return campaigns[request.param.id]


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
    seen = campaign.steps["alone"]

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
    documents = campaign.steps["alone"].run.documents

    def check(case: Case) -> str | None:
        document = documents[case.server.address]
        expected = "refused" if case.remedy.opt_in else case.remedy.expected(case.bench.kind)
        if document["result"] != expected or not document["reason"]:
            return f"not {expected}: {campaign.steps['alone'].run.story(case.server.address)}"
        if case.remedy.opt_in and case.remedy.servers(case.bench.kind) is None:
            decisions = {fix["id"]: fix["decision"] for fix in document["plan"]}
            if decisions.get(case.remedy.opt_in) != "opt_in":
                return f"no offer: {decisions}"
        return None

    wrong = wrong_ones(campaign.to_be_left, check, "refusals")
    assert not wrong, show(wrong)


# 2. Check mode


def test_check_mode_changes_nothing(campaign: Campaign) -> None:
    seen = campaign.steps["check"]

    def check(case: Case) -> list[str]:
        address = case.server.address
        return untouched(case.server, seen.states[0][address], seen.states[1][address])

    wrong = wrong_ones(campaign.to_be_cured, check)
    assert not wrong, show(wrong)
    assert not only_reads(seen)
    assert not host_changes(*seen.hosts)
    assert not (seen.run.directory / "record").exists()


def test_check_mode_succeeds_and_shows_what_it_would_do(campaign: Campaign) -> None:
    done = campaign.steps["check"].run
    assert done.code == 0, done.output[-4000:]
    missing = [change["what"] for change in done.changes() if change["what"] not in done.output]
    assert not missing
    assert "--- before" in done.output
    assert all(document["proof"] is None for document in done.documents.values())


# 3. For real


def test_every_fault_with_a_fix_is_cured(campaign: Campaign) -> None:
    seen = campaign.steps["real"]

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
    announced = {(change["fix"], *key_of(change)) for change in campaign.steps["check"].run.changes()}
    made = {(change["fix"], *key_of(change)) for change in campaign.steps["real"].run.changes()}
    SCORE.counts["announced"] += len(announced)
    SCORE.counts["made"] += len(made)
    announced = settled(announced, made)
    assert not announced - made, show(announced - made)
    assert not made - announced, show(made - announced)
    assert made


def test_what_was_made_is_what_differs(campaign: Campaign) -> None:
    """Seen without the code under test: no change was kept quiet, and none was made up."""
    observed, told = campaign.steps["real"].observed(), campaign.steps["real"].run.change_set()
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
    seen = campaign.steps["again"]
    SCORE.counts["second-run changes"] += len(seen.run.changes())
    assert seen.run.changes() == []
    assert seen.run.changed_tasks() == 0, seen.run.output[-4000:]
    assert seen.run.code == 0, seen.run.output[-4000:]
    assert not seen.observed()
    assert not only_reads(seen)


# 5. Back


def test_rollback_puts_back_what_is_reversible(campaign: Campaign) -> None:
    """Between the start and the end stands only what was called irreversible, or what it is refused to put back."""
    real, back = campaign.steps["real"], campaign.steps["back"]
    stay = {case.server.address: case.remedy.fixes for case in campaign.to_be_cured if case.remedy.stays}
    too_tight = groups_that_use_more(back.run.output)
    servers = {case.server.address for case in campaign.to_be_cured}
    for address in too_tight & servers:
        stay[address] = (*stay.get(address, ()), "cgroup_memory")
    left = changes_between(real.servers, (real.hosts[0], back.hosts[1]), (real.states[0], back.states[1]))
    expected = {
        key_of(change)
        for change in real.run.changes()
        if not change["reversible"] or change["fix"] in stay.get(change["address"], ())
    }
    assert not left - expected, show(left - expected)
    assert not expected - left, show(expected - left)
    said = [
        *re.findall(r"(?:Stays|Left alone) +(\w+)", back.run.output),
        *back.run.output.partition("Not put back")[2].split(),
    ]
    assert not [fix for fixes in stay.values() for fix in fixes if fix not in said], said
    assert (back.run.code != 0) is bool(too_tight & servers), back.run.output[-4000:]


def groups_that_use_more(output: str) -> set[str]:
    """Servers whose control group uses more by now than its limit was: a limit below that would have the kernel kill.

    Whether it does depends on what the kernel keeps in its cache.
    """
    return set(re.findall(r"cgroup_memory of (\S+): [^:]+: it must not be limited to", output))


def test_host_wide_fixes_were_left_out_here(campaign: Campaign) -> None:
    """The lab keeps to its own servers; the table's machine-wide faults are remediated elsewhere."""
    assert not {change["fix"] for change in campaign.steps["real"].run.changes()} & set(HOST_WIDE)
