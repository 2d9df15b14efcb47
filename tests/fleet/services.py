# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Servers as Debian's packages run them: the distribution's configuration, units and sandboxes."""

from __future__ import annotations

import dataclasses
import itertools
import typing as t

from .machine import Machine, wait_until

# Writes KEYS[..] without arguments longer than a command line: ARGV = number of keys, bytes in each.
FILL = "for i = 1, ARGV[1] do redis.call('set', 'key:' .. i, string.rep('x', ARGV[2])) end return 'OK'"
TOUCH = "for i = 1, ARGV[1] do redis.call('setrange', 'key:' .. i, 0, 'y') end return 'OK'"
_ports = itertools.count(7001)


@dataclasses.dataclass(frozen=True)
class Kind:
    """A server of Debian 13. ``id`` starts the names of its recordings; ``port``: of its main unit."""

    id: str
    name: str
    version: str
    port: int

    @property
    def program(self) -> str:
        return f"{self.name}-server"


REDIS = Kind("redis-8.0-systemd", "redis", "8.0", 6379)
VALKEY = Kind("valkey-8.1-systemd", "valkey", "8.1", 6380)
KINDS = (REDIS, VALKEY)


class Service:
    """One server: the main unit (``name`` empty) or an instance of the distribution's template unit."""

    def __init__(self, machine: Machine, kind: Kind, name: str = "", directory: str | None = None) -> None:
        self.machine = machine
        self.kind = kind
        self.name = name
        self.unit = f"{kind.program}@{name}.service" if name else f"{kind.program}.service"
        self.port = next(_ports) if name else kind.port
        self.socket: str | None = None
        state = f"/var/lib/{kind.name}"
        self.directory = directory or (f"{state}/{name}" if name else state)
        suffix = f"-{name}" if name else ""
        self.configuration = f"/etc/{kind.name}/{kind.name}{suffix}.conf"
        self.log = f"/var/log/{kind.name}/{kind.program}{suffix}.log"
        self.run_directory = f"/run/{kind.name}{suffix}"

    @property
    def address(self) -> str:
        return f"unix:{self.socket}" if self.socket else f"127.0.0.1:{self.port}"

    def listen_on_socket_only(self) -> None:
        self.socket = f"{self.run_directory}/{self.kind.program}.sock"

    # Setting up

    def configure(self, **settings: str) -> Service:
        """Write the instance's configuration as its unit's comments say: the distribution's, with its own names."""
        own = {
            "port": "0" if self.socket else str(self.port),
            "pidfile": f"{self.run_directory}/{self.kind.program}.pid",
            "logfile": self.log,
            "dir": self.directory,
            **({"unixsocket": self.socket} if self.socket else {}),
            **{name.replace("_", "-"): value for name, value in settings.items()},
        }
        lines = self.machine.read(f"/etc/{self.kind.name}/{self.kind.name}.conf").splitlines()
        kept = [line for line in lines if line.split(" ")[0] not in own]
        text = "\n".join([*kept, *(f"{name} {value}" for name, value in own.items())]) + "\n"
        self.machine.write(self.configuration, text, 0o640)
        user = self.kind.name
        self.machine.shell(
            f"chown {user}:{user} {self.configuration}; mkdir -p {self.directory}; chown {user}:{user} {self.directory}"
        )
        return self

    def drop_in(self, text: str, name: str = "fault.conf") -> str:
        path = f"/etc/systemd/system/{self.unit}.d/{name}"
        self.machine.write(path, text)
        return path

    def start(self) -> Service:
        self.machine.run("systemctl", "daemon-reload")
        self.machine.run("systemctl", "restart", self.unit)
        return self

    def begin(self, **settings: str) -> Service:
        """An instance with some keys in it."""
        return self.configure(**settings).start().fill()

    # Talking to it

    def ask(self, *command: t.Any) -> str:
        where = ["-s", self.socket] if self.socket else ["-p", str(self.port)]
        return self.machine.run(f"{self.kind.name}-cli", *where, *map(str, command)).strip()

    def fill(self, keys: int = 20, value_bytes: int = 100) -> Service:
        self.ask("EVAL", FILL, 0, keys, value_bytes)
        return self

    def info(self, section: str = "persistence") -> dict[str, str]:
        lines = (line.partition(":") for line in self.ask("INFO", section).splitlines())
        return {name: value.strip() for name, separator, value in lines if separator}

    @property
    def pid(self) -> int:
        """As the machine counts."""
        return int(self.info("server")["process_id"])

    def has_restarted(self, before: int) -> bool:
        """Whether another process than that one answers."""
        try:
            return self.pid != before
        except (RuntimeError, KeyError):
            return False

    @property
    def threads(self) -> int:
        for line in self.machine.read(f"/proc/{self.pid}/status").splitlines():
            if line.startswith("Threads:"):
                return int(line.split()[1])
        raise RuntimeError("no line on threads")

    def child(self) -> int:
        """The pid of a child that is saving."""

        def find() -> int | None:
            children = self.machine.run("pgrep", "-P", str(self.pid), check=False).split()
            return int(children[0]) if children else None

        return t.cast(int, wait_until(find, f"{self.unit} has no child"))

    def save(self) -> str:
        """Ask for a save and wait for its end: the status that it leaves."""
        self.ask("BGSAVE")
        return self.wait_for_save()

    def wait_for_save(self) -> str:
        wait_until(lambda: self.info()["rdb_bgsave_in_progress"] == "0", f"{self.unit} goes on saving")
        return self.info()["rdb_last_bgsave_status"]

    def fails(self) -> Service:
        if self.save() != "err":
            raise RuntimeError(f"{self.unit}: the save was to fail and did not")
        return self

    def saves(self) -> Service:
        if self.save() != "ok":
            raise RuntimeError(f"{self.unit}: the save was to succeed and did not")
        return self

    def show(self, *properties: str) -> dict[str, str]:
        """What systemd itself says of the unit."""
        shown = self.machine.run("systemctl", "show", "--property", ",".join(properties), self.unit)
        return dict(line.split("=", 1) for line in shown.splitlines() if "=" in line)
