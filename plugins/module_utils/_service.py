# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""A systemd service as the one that restarts a server: what it says of itself, and the order to restart."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.redisops.persistence.plugins.module_utils._config_file import split_arguments
from ansible_collections.redisops.persistence.plugins.module_utils._discovery import argument_settings
from ansible_collections.redisops.persistence.plugins.module_utils._system import System, clean_text
from ansible_collections.redisops.persistence.plugins.module_utils._systemd import parse_duration, parse_show

SHOWN = (
    "LoadState",
    "ActiveState",
    "SubState",
    "Result",
    "MainPID",
    "NRestarts",
    "NeedDaemonReload",
    "TimeoutStopUSec",
    "ExecStart",
    "RootDirectory",
    "RootImage",
)
COMMAND_SECONDS = 15.0
RELOAD_SECONDS = 90.0
UNIT_NAME = re.compile(r"[A-Za-z0-9:_.\\@-]+\.service", re.ASCII)


class ServiceError(Exception):
    """systemctl can't do what is asked of it; ``str`` says why. ``uncertain``: it may be done all the same."""

    def __init__(self, message: str, uncertain: bool = False) -> None:
        super().__init__(message)
        self.uncertain = uncertain


class Service:
    """One unit."""

    def __init__(self, system: System, unit: str) -> None:
        self._system = system
        self.unit = unit

    def show(self) -> dict[str, str]:
        """Its properties. Raises :class:`ServiceError`."""
        text = self._run("show", "--no-pager", "--property", ",".join(SHOWN), "--", self.unit)
        blocks = parse_show(text)
        if len(blocks) != 1:
            raise ServiceError(f"systemctl shows nothing of {self.unit}.")
        return blocks[0]

    def reload_manager(self) -> None:
        """Let systemd read its files again. Raises :class:`ServiceError`."""
        self._run("daemon-reload", timeout_seconds=RELOAD_SECONDS)

    def forget_failures(self) -> None:
        """Count earlier starts no more: a start beyond StartLimitBurst is refused after the stop. Never raises."""
        self._system.run(["systemctl", "reset-failed", "--", self.unit], timeout_seconds=COMMAND_SECONDS)

    def restart(self) -> None:
        """Give the order; it is carried out meanwhile. Raises :class:`ServiceError` where it is refused."""
        self._run("restart", "--no-block", "--", self.unit)

    def _run(self, *arguments: str, timeout_seconds: float = COMMAND_SECONDS) -> str:
        result = self._system.run(
            ["systemctl", *arguments],
            environment={"SYSTEMD_COLORS": "0", "SYSTEMD_PAGER": ""},
            timeout_seconds=timeout_seconds,
        )
        if result.rc == 0:
            return result.stdout
        said = clean_text(" ".join((result.stderr or result.stdout).split()))[:300]
        if result.rc == 124:
            said = f"no answer in {timeout_seconds:g} seconds"
        raise ServiceError(f"systemctl {arguments[0]} failed: {said or f'exit code {result.rc}'}.", result.rc == 124)


def main_pid(properties: t.Mapping[str, str]) -> int | None:
    """The pid of the server; None where none runs."""
    text = properties.get("MainPID", "")
    return int(text) if text.isdigit() and text != "0" else None


def stop_seconds(properties: t.Mapping[str, str]) -> float | None:
    """How long systemd waits for the server to stop before it kills it; None: for ever, or unknown."""
    microseconds = parse_duration(properties.get("TimeoutStopUSec"))
    return microseconds / 1e6 if isinstance(microseconds, int) and microseconds > 0 else None


def start_command(properties: t.Mapping[str, str]) -> tuple[str | None, dict[str, str]]:
    """(configuration file, settings) of the command line that the unit starts; (None, {}) where it is not shown.

    ``ExecStart={ path=/usr/bin/redis-server ; argv[]=/usr/bin/redis-server /etc/redis.conf --port 1 ; ... }``
    """
    match = re.search(r"argv\[\]=(.*?) ; ", properties.get("ExecStart", ""))
    arguments = split_arguments(match.group(1)) if match else None
    if not arguments:
        return None, {}
    return argument_settings(arguments)
