# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.redisops.persistence.plugins.module_utils import _info

FIXTURES = Path(__file__).parents[2] / "fixtures" / "client"

DRAGONFLY = "# Server\r\nredis_version:7.4.0\r\ndragonfly_version:df-v1.27.1\r\nredis_mode:standalone\r\n"
KEYDB = "# Server\r\nredis_version:6.3.4\r\nexecutable:/usr/bin/keydb-server\r\n\r\n# KeyDB\r\nmvcc_depth:0\r\n"
KVROCKS = "# Server\r\nredis_version:7.0.0\r\nkvrocks_version:2.9.0\r\n"


def parsed(name: str) -> _info.ParsedInfo:
    # Kept with the line ends of a text file; the protocol has others.
    return _info.parse_info((FIXTURES / name).read_text().replace("\n", "\r\n"))


@pytest.mark.parametrize(
    ("name", "identity", "compatible"),
    [
        ("info_redis_6.2.14.txt", ("redis", "6.2.14"), "6.2.14"),
        ("info_redis_7.0.15.txt", ("redis", "7.0.15"), "7.0.15"),
        ("info_valkey_9.1.2.txt", ("valkey", "9.1.2"), "7.2.4"),
    ],
)
def test_recorded_servers(name: str, identity: tuple[str, str], compatible: str) -> None:
    info = parsed(name)
    assert _info.identify(info) == identity
    assert info.fields["redis_version"] == compatible
    assert _info.mode(info) == "standalone"
    assert _info.role(info) == "master"
    fields = _info.wanted_fields(info)
    assert fields["rdb_last_bgsave_status"] == "err"
    assert isinstance(fields["rdb_last_save_time"], int)
    assert isinstance(fields["mem_fragmentation_ratio"], float)
    assert fields["redis_mode"] == "standalone"
    assert ("rdb_saves" in fields) == (identity[1] != "6.2.14")
    assert fields["key_count"] == 0


def test_only_fields_of_the_schema_are_kept() -> None:
    allowed = _info.WANTED_FIELDS | {"key_count", "keys_by_database", "rejected_calls_misconf"}
    assert set(_info.wanted_fields(parsed("info_valkey_9.1.2.txt"))) <= allowed


def test_valkey_without_compatible_mode_field() -> None:
    info = _info.parse_info(
        "# Server\r\nredis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:8.1.1\r\nserver_mode:cluster\r\n"
    )
    assert _info.identify(info) == ("valkey", "8.1.1")
    assert _info.wanted_fields(info)["redis_mode"] == "cluster"


@pytest.mark.parametrize(
    ("text", "identity"),
    [
        (DRAGONFLY, ("dragonfly", "1.27.1")),
        (KEYDB, ("keydb", "6.3.4")),
        (KVROCKS, ("unknown", "2.9.0")),
        ("# Server\r\nrun_id:1\r\n", ("unknown", None)),
    ],
)
def test_other_servers(text: str, identity: tuple[str, str | None]) -> None:
    assert _info.identify(_info.parse_info(text)) == identity


def test_numbers_and_text() -> None:
    text = (
        "# Persistence\nrdb_last_bgsave_time_sec:-1\nmaster_host:10\ncurrent_fork_perc:12.50\nused_memory:x\n"
        "# Errorstats\nerrorstat_MISCONF:count=3\nerrorstat_ERR:count=1\n# Keyspace\n"
        "db0:keys=5,expires=0,avg_ttl=0\ndb11:keys=2,expires=1,avg_ttl=9\n"
    )
    info = _info.parse_info(text)
    assert _info.wanted_fields(info) == {
        "current_fork_perc": 12.5,
        "key_count": 7,
        "keys_by_database": {"0": 5, "11": 2},
        "master_host": "10",
        "rdb_last_bgsave_time_sec": -1,
        "rejected_calls_misconf": 3,
        "used_memory": "x",
    }
    assert _info.error_statistics(info) == {"MISCONF": 3, "ERR": 1}
    assert _info.number(info, "used_memory") is None


@pytest.mark.parametrize(
    "text", ["9" * 400, "-" + "9" * 400, "9" * 20, str(2**63), "nan", "inf", "1e999", "-", "٣", "1_000", " 1"]
)
def test_what_no_server_counts_to_is_no_number(text: str) -> None:
    assert _info.number(_info.ParsedInfo({"used_memory": text}, frozenset(), []), "used_memory") is None


def test_largest_and_smallest_numbers() -> None:
    assert _info.to_number(str(2**63 - 1)) == 2**63 - 1
    assert _info.to_number("-0") == 0
    counts = _info.parse_info(
        f"# Keyspace\ndb0:keys={'9' * 400}\ndb1:keys=2\n# Errorstats\nerrorstat_X:count={'9' * 50}\n"
    )
    assert _info.key_count(counts) == 2
    assert _info.error_statistics(counts) == {}


def test_lines_names_and_values_are_bounded() -> None:
    long = "x" * 100_000
    info = _info.parse_info(f"os:{long}\n{long}:1\n" + "module:name=a\n" * 1000 + "y:1\n" * 100_000 + "late:1\n")
    assert len(info.fields["os"]) == _info.TEXT_LIMIT_CHARACTERS
    assert set(info.fields) == {"os", "y"}
    assert len(info.modules) == _info.MODULE_LIMIT


def test_absent_sections_say_nothing() -> None:
    assert _info.wanted_fields(_info.parse_info("# Server\nredis_version:5.0.14\n")) == {}


def test_modules_have_one_name_for_many_lines() -> None:
    info = _info.parse_info("# Modules\nmodule:name=bf,ver=20612,api=1,filters=0\nmodule:name=search,ver=20809,api=1\n")
    assert info.modules == [{"name": "bf", "version": "20612"}, {"name": "search", "version": "20809"}]


@pytest.mark.parametrize("text", ["", "OK", "<html>", "redis_version", "NOAUTH Authentication required."])
def test_what_is_no_info(text: str) -> None:
    assert not _info.looks_like_info(text)
