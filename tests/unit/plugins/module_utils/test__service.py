# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""systemctl's answers, and what is not asked of it."""

from __future__ import annotations

import pytest
from ansible_collections.redisops.persistence.plugins.module_utils._service import (
    UNIT_NAME,
    Service,
    ServiceError,
    main_pid,
    start_command,
    stop_seconds,
)
from ansible_collections.redisops.persistence.plugins.module_utils._system import CommandResult, System

DEBIAN = (
    "{ path=/usr/bin/redis-server ; argv[]=/usr/bin/redis-server /etc/redis/redis.conf --supervised systemd "
    '--daemonize no --save "" ; ignore_errors=no ; start_time=[n/a] ; pid=0 ; code=(null) ; status=0/0 }'
)


def test_the_command_line_that_a_unit_starts() -> None:
    file, settings = start_command({"ExecStart": DEBIAN})
    assert file == "/etc/redis/redis.conf"
    assert settings == {"supervised": "systemd", "daemonize": "no", "save": ""}
    assert start_command({}) == (None, {})


def test_numbers() -> None:
    assert main_pid({"MainPID": "12"}) == 12 and main_pid({"MainPID": "0"}) is None and main_pid({}) is None
    assert stop_seconds({"TimeoutStopUSec": "1min 30s"}) == 90.0
    assert stop_seconds({"TimeoutStopUSec": "infinity"}) is None and stop_seconds({}) is None


@pytest.mark.parametrize("name", ["redis.service", "redis-server@a.service", "a\\x2db.service"])
def test_names_of_services(name: str) -> None:
    assert UNIT_NAME.fullmatch(name)


@pytest.mark.parametrize("name", ["", "redis", "../x.service", "a b.service", "--x", "x.timer", "a.service\n"])
def test_what_is_no_name_of_a_service(name: str) -> None:
    assert not UNIT_NAME.fullmatch(name)


def test_a_refused_order_and_one_without_answer() -> None:
    def answering(result: CommandResult) -> Service:
        return Service(System(runner=lambda *_arguments: result), "redis.service")

    with pytest.raises(ServiceError, match="not been booted with systemd") as refused:
        answering(CommandResult(1, "", "System has not been booted with systemd\n")).restart()
    assert refused.value.uncertain is False
    with pytest.raises(ServiceError, match="no answer") as silent:
        answering(CommandResult(124, "", "")).restart()
    assert silent.value.uncertain is True
    assert answering(CommandResult(0, "MainPID=5\nActiveState=active\n", "")).show()["MainPID"] == "5"
