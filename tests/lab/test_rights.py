# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rights that the documentation asks for are enough, and are no more than it says."""

from __future__ import annotations

import re
import shlex

import pytest

from . import faults
from .bench import Bench
from .judging import REPOSITORY, cause_ids, explain, gather, gather_as, judge
from .resp import Connection, ReplyError
from .test_faults import require

pytestmark = pytest.mark.lab

PASSWORD = "the-labs-own-secret"
DOCUMENTS = ("README.md", "docs/least-rights.md")


def documented_lines(name: str) -> list[list[str]]:
    """The ``ACL SETUSER`` commands of a document, split into arguments."""
    text = (REPOSITORY / name).read_text()
    return [shlex.split(line) for line in re.findall(r"^\s*(ACL SETUSER .*?)\s*$", text, re.MULTILINE)]


def login(bench: Bench, arguments: list[str]) -> dict[str, str]:
    """Make the user as the document says, with a password of the lab's."""
    given = [f">{PASSWORD}" if argument.startswith(">") else argument for argument in arguments]
    bench.server.call(*given)
    return {"login_user": given[2], "login_password": PASSWORD}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_documented_user_is_enough(name: str, bench: Bench) -> None:
    lines = documented_lines(name)
    assert lines, f"{name} names no user"
    faults.break_destination_directory(bench)
    full = judge(gather([bench.server]))[0]
    for arguments in lines:
        evidence = gather([bench.server], login(bench, arguments))
        document = judge(evidence)[0]
        assert cause_ids(document) == cause_ids(full) == ["destination_is_directory"], explain(document)
        assert document["cause"]["confidence"] == "confirmed"
        assert evidence["instances"][0]["redis"]["config_state"] == "ok", evidence["instances"][0]["gaps"]
        assert PASSWORD not in str(evidence)


@pytest.mark.parametrize("name", DOCUMENTS)
@pytest.mark.parametrize(
    "command",
    ["SET key:1 changed", "GET key:1", "BGSAVE", "SAVE", "CONFIG SET save 1", "CONFIG REWRITE", "SHUTDOWN", "FLUSHALL"],
)
def test_documented_user_can_do_nothing_else(name: str, command: str, bench: Bench) -> None:
    faults.make_healthy(bench)
    for arguments in documented_lines(name):
        options = login(bench, arguments)
        if any(argument in arguments for argument in ("+bgsave", "+config|set")):
            continue
        connection = Connection(bench.server.port)
        try:
            connection.call("AUTH", options["login_user"], PASSWORD)
            with pytest.raises(ReplyError, match="NOPERM"):
                connection.call(*command.split())
        finally:
            connection.close()


def test_stranger_guesses_nothing(bench: Bench) -> None:
    """A user who may read neither the log nor the server's process says less, and nothing wrong."""
    require(("root",))
    faults.break_destination_directory(bench)
    log = bench.server.log_directory
    log.chmod(0o700)
    bench.server.directory.chmod(0o700)
    evidence = gather_as(65_534, [bench.server])
    (document,) = judge(evidence)
    assert cause_ids(document) == ["no_evidence"], explain(document)
    assert document["unknowns"]
    remedies = [unknown["remedy"] for unknown in document["unknowns"]]
    assert all(remedies), document["unknowns"]


def test_secret_in_no_evidence(bench: Bench) -> None:
    """A password in the configuration file, in CONFIG and on the command line of nobody."""
    server = bench.start(config={"requirepass": PASSWORD, "masterauth": PASSWORD}, keys=0)
    evidence = gather([server], {"login_password": PASSWORD})
    assert evidence["instances"][0]["connection"]["state"] == "ok"
    assert evidence["instances"][0]["redis"]["password_set"] is True
    assert PASSWORD not in str(evidence) + str(judge(evidence))
