# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest
from ansible_collections.redisops.persistence.plugins.module_utils._command_line import mask_secrets, parse_title


@pytest.mark.parametrize(
    ("arguments", "masked"),
    [
        (["redis-server", "--requirepass", "pw", "--port", "1"], "redis-server --requirepass ******** --port 1"),
        (["redis-server", "--masterauth", "a", "b"], "redis-server --masterauth ******** ********"),
        (["redis-server", "--REQUIREPASS", "pw"], "redis-server --REQUIREPASS ********"),
        (["redis-server", "--requirepass pw"], "redis-server --requirepass ********"),
        (["redis-server", "--requirepass=pw"], "redis-server --requirepass=********"),
        (["redis-server", "--tls-key-file-pass", "pw"], "redis-server --tls-key-file-pass ********"),
        (["valkey-server", "--primaryauth", "pw"], "valkey-server --primaryauth ********"),
        (["redis-server", "--masteruser", "replica"], "redis-server --masteruser replica"),
        (["redis-cli", "-a", "pw", "info"], "redis-cli -a ******** ********"),
        (["redis-cli", "-u", "redis://me:pw@host:1/0"], "redis-cli -u redis://me:********@host:1/0"),
        (
            ["sh", "-c", "redis-server --requirepass 'p w' --port 1"],
            "sh -c redis-server --requirepass ******** --port 1",
        ),
        (["env", "REDISCLI_AUTH=pw", "redis-cli"], "env REDISCLI_AUTH=******** redis-cli"),
        (
            ["redis-server", "--user", "bob", "on", ">pw", "#9f86", "~*", "+@all"],
            "redis-server --user bob on >******** #******** ~* +@all",
        ),
        (["redis-server", "--user", "bob on >pw ~*"], "redis-server --user bob on >******** ~*"),
        (
            ["redis-sentinel", "--sentinel", "auth-pass", "mymaster", "pw"],
            "redis-sentinel --sentinel auth-pass mymaster ********",
        ),
    ],
)
def test_secrets_are_masked(arguments, masked):
    assert " ".join(mask_secrets(arguments)) == masked


@pytest.mark.parametrize(
    ("command_line", "title"),
    [
        (b"redis-server 127.0.0.1:6379\0\0\0\0", "redis-server 127.0.0.1:6379"),
        (b"redis-rdb-bgsave *:26102" + b" " * 12 + b"\0", "redis-rdb-bgsave *:26102"),
        (b"valkey-rdb-bgsave *:6379\0\0 .", "valkey-rdb-bgsave *:6379"),  # stray bytes of Valkey 9 and Redis 8.6
        (b"redis-rdb-bgsave *:6379      .", "redis-rdb-bgsave *:6379"),
        (b"/usr/bin/redis-server\0--save\0\0--port\x006380\0", "/usr/bin/redis-server --save '' --port 6380"),
        (b"/usr/bin/redis-server\0\0\0", "/usr/bin/redis-server"),
        (b"redis-server --requirepass pw\0", "redis-server --requirepass ********"),
        (b"redis-server\0/etc/\xff.conf\0", "redis-server /etc/\\xff.conf"),
        (b"", ""),
    ],
)
def test_title(command_line, title):
    assert parse_title(command_line) == title


def test_title_is_bounded():
    assert len(parse_title(b"redis-server\0" + b"x" * 100000)) == 1000
