# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a user may BGSAVE, by what servers answer to questions that change nothing."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.redisops.persistence.plugins.module_utils._client import RedisFailure, refusal_kind
from ansible_collections.redisops.persistence.plugins.module_utils._save_right import is_granted, may_save

NOPERM = "NOPERM User diag has no permissions to run the 'acl|dryrun' command"


def asking(**replies: t.Any) -> t.Callable[..., t.Any]:
    """A server that has these replies by the first two words; a text that begins with an error's code is one."""

    def ask(*arguments: str) -> t.Any:
        reply = replies["_".join(arguments[:2]).lower()]
        if isinstance(reply, str) and reply.startswith(("NOPERM", "ERR")):
            raise RedisFailure("refused", refusal_kind(reply), reply, "redis-py")
        return reply

    return ask


@pytest.mark.parametrize(
    ("reply", "can", "why"),
    [
        ("OK", True, None),
        ("User diag has no permissions to run the 'bgsave' command", False, "ACL SETUSER diag +bgsave"),
        ("This user has no permissions to run the 'bgsave' command", False, "ACL SETUSER diag +bgsave"),
        ("ERR Command 'BGSAVE' not found", False, "renamed or disabled"),
        (NOPERM, None, NOPERM),
        ("ERR unknown command 'ACL', with args beginning with: ", None, "unknown command"),
        (["x"], None, "ACL DRYRUN answered"),
    ],
)
def test_since_7_0_a_dry_run_tells(reply: t.Any, can: bool | None, why: str | None) -> None:
    answer = may_save(asking(acl_dryrun=reply), (7, 0, 15), "diag", True)
    assert answer[0] is can
    assert why is None or why in str(answer[1])


@pytest.mark.parametrize(
    ("rules", "granted"),
    [
        ("+@all", True),
        ("-@all", False),
        ("-@all +info +bgsave", True),
        ("+@all -bgsave", False),
        ("+@all -@dangerous", False),
        ("+@all -@dangerous +bgsave", True),
        ("-@all +@admin", True),
        ("-@all +@read +bgsave|x", False),
        ("", False),
    ],
)
def test_before_that_the_rules_do(rules: str, granted: bool) -> None:
    assert is_granted(rules) is granted
    server = asking(command_info=[["bgsave", -1]], acl_getuser=["flags", ["on"], "commands", rules])
    assert may_save(server, (6, 2, 14), "diag", False)[0] is granted


def test_a_renamed_command_is_in_no_table() -> None:
    assert may_save(asking(command_info=[None]), (6, 2, 14), "default", False)[0] is False
    assert may_save(asking(command_info=[None]), (5, 0, 14), None, False)[0] is False
    assert may_save(asking(command_info=[["bgsave", -1]]), (5, 0, 14), None, False)[0] is True
    assert may_save(asking(command_info=NOPERM, acl_getuser=NOPERM), (6, 2, 14), "diag", False)[0] is None
    assert may_save(asking(), (7, 0, 15), None, True) == (None, None)
