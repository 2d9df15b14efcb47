# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests of remediation share: servers whose every key is held to account, runs, and what a run announces."""

from __future__ import annotations

import dataclasses
import typing as t
from pathlib import Path

from .machine import Machine
from .playbooks import Document, Outcome, Running, run_playbook, start_playbook
from .services import Service

REMEDIATE = "redisops.persistence.remediate"
ROLLBACK = "redisops.persistence.rollback"
RESCUES = "/srv/rescue"
OTHER_DATABASE = 3
# Every type of value; what is small keeps its encoding, and with it the bytes of DUMP, through a dump and a load.
VARIETY = """
redis.call('rpush', 'list', 'a', 'b', 'c')
redis.call('sadd', 'numbers', 3, 1, 2)
redis.call('hset', 'hash', 'field', 'value', 'empty', '')
redis.call('zadd', 'ranking', 1, 'one', 2.5, 'more')
redis.call('xadd', 'stream', '1-1', 'field', 'value')
redis.call('set', 'with spaces and \\255 bytes', 'value', 'px', 10000000)
return redis.call('set', 'empty', '')
"""
# Every key with its type, value and expiry.
DIGEST = """
local keys = redis.call('keys', '*')
table.sort(keys)
local sum = ''
for position, key in ipairs(keys) do
    sum = redis.sha1hex(sum .. key .. '=' .. redis.call('dump', key) .. redis.call('pexpiretime', key))
end
return #keys .. ' ' .. sum
"""


class KeptService(Service):
    """A server with values of every type in two databases, all of which must be there at the end."""

    def configure(self, **settings: str) -> KeptService:
        """With save points that no test meets: a server that saves by itself in between would have its own say."""
        super().configure(**{"save": "86400 1000000", **settings})
        return self

    def fill(self, keys: int = 20, value_bytes: int = 100) -> KeptService:
        super().fill(keys, value_bytes)
        for database in (0, OTHER_DATABASE):
            self.ask("-n", database, "EVAL", VARIETY, 0)
        return self

    def digest(self) -> tuple[str, str]:
        return self.ask("EVAL_RO", DIGEST, 0), self.ask("-n", OTHER_DATABASE, "EVAL_RO", DIGEST, 0)

    @property
    def instance(self) -> Document:
        """The connection options of this server alone, for ``redis_instances``."""
        return {"unix_socket": self.socket} if self.socket else {"login_host": "127.0.0.1", "login_port": self.port}

    def setting(self, name: str) -> str:
        return self.ask("CONFIG", "GET", name).partition("\n")[2]

    def limit(self, name: str) -> str:
        """The soft limit of the running process: a line of /proc/PID/limits."""
        for line in self.machine.read(f"/proc/{self.pid}/limits").splitlines():
            if line.startswith(name):
                return line[len("Max open files            ") :].split()[0]
        raise RuntimeError(f"no limit {name}")

    def group_limit(self, controller: str, first: str, second: str) -> str:
        """A limit of the unit's control group: the file of version 1, else of version 2."""
        group = self.show("ControlGroup")["ControlGroup"]
        for path in (f"{controller}{group}/{first}", f"{group}/{second}"):
            file = self.machine.path("/sys/fs/cgroup") / path.lstrip("/")
            if file.exists():
                return file.read_text().strip()
        raise RuntimeError(f"no {first} in {group}")

    def restart(self) -> KeptService:
        self.machine.run("systemctl", "reset-failed", self.unit, check=False)
        self.machine.run("systemctl", "restart", self.unit)
        return self


def variables(directory: Path, **more: t.Any) -> Document:
    """A run's variables: where its papers go, and what an operator would set on every host."""
    return {
        "remediate_report_dir": str(directory / "reports"),
        "remediate_record_dir": str(directory / "records"),
        "remediate_rescue_dir": RESCUES,
        **more,
    }


def remediate(
    directory: Path, machines: t.Sequence[Machine], *options: str, playbook: str = REMEDIATE, **more: t.Any
) -> Outcome:
    return run_playbook(directory, machines, *options, playbook=playbook, **variables(directory, **more))


def start_remediation(directory: Path, machines: t.Sequence[Machine], *options: str, **more: t.Any) -> Running:
    return start_playbook(directory, machines, *options, playbook=REMEDIATE, **variables(directory, **more))


def roll_back(directory: Path, machines: t.Sequence[Machine], records: Path, *options: str) -> Outcome:
    """Put back what the runs did that left these records."""
    return run_playbook(directory, machines, *options, playbook=ROLLBACK, remediate_record_dir=str(records))


def make_rescue_directory(machine: Machine) -> None:
    machine.run("install", "--directory", "--mode=0700", RESCUES)


def all_documents(outcome: Outcome, machines: t.Iterable[Machine]) -> list[Document]:
    return [document for machine in machines for document in outcome.documents(machine).values()]


def changes(outcome: Outcome, machine: Machine) -> set[tuple[str, ...]]:
    """What a run changed or announces: address (or host), fix, what, before, after."""
    found = set()
    for address, document in outcome.documents(machine).items():
        for change in document["changes"]:
            owner = change.get("address", address) or "host"
            values = (repr(change[name]) for name in ("before", "after"))
            found.add((owner, change["fix"], change["what"], *values))
    return found


def decisions(document: Document) -> dict[str, str]:
    return {fix["id"]: fix["decision"] for fix in document["plan"]}


def tell(document: Document) -> str:
    """A remediation in short, for the message of a failed test."""
    lines = [f"{document['instance']['address']}: {document['result']}: {document['reason']}"]
    lines += [f"  {fix['id']}: {fix['decision']}: {fix['reason']}" for fix in document["plan"]]
    lines += [f"  changed {change['fix']}: {change['what']}" for change in document["changes"]]
    left = ", ".join(fix["id"] for fix in document["left"])
    proof = document["proof"] and {name: document["proof"][name] for name in ("status", "save")}
    return "\n".join([*lines, f"  left: {left}", f"  proof: {proof}"])


# What a run left as it was

# Where a module unpacks itself, only what stays is told: the directory's own times change.
TREE = "find {} ! -path /tmp ! -path /dev/shm -printf '%p %y %m %u:%g %s %T@ %C@ %l\\n' 2>/dev/null | sort"
PLACES = (
    "/etc", "/var/lib/redis", "/var/lib/valkey", "/data", "/srv", "/home", "/root", "/tmp", "/dev/shm",
    "/run/systemd/system", "/run/redisops-persistence",
)  # fmt: skip
PROPERTIES = (
    "DropInPaths", "NeedDaemonReload", "LimitNPROC", "LimitFSIZE", "TasksMax", "MemoryMax", "ReadWritePaths",
    "NRestarts",
)  # fmt: skip
# Commands that change something, start something, or copy everything.
FORBIDDEN = (
    "bgsave", "save", "bgrewriteaof", "config|set", "config|rewrite", "config|resetstat", "psync", "sync", "replconf",
    "client|pause", "client|kill", "debug", "shutdown", "flushall", "flushdb", "set", "eval",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """All that a check run must not touch; two are compared with ``==``."""

    files: tuple[str, ...]
    servers: dict[str, Document]


def snapshot(machine: Machine, services: t.Iterable[KeptService]) -> Snapshot:
    files = machine.shell(TREE.format(" ".join(PLACES)), check=False).splitlines()
    return Snapshot(tuple(files), {service.address: server_state(service) for service in services})


def server_state(service: KeptService) -> Document:
    pid = service.pid
    calls = service.info("commandstats")
    persistence = service.info()
    config = service.ask("CONFIG", "GET", "*").split("\n")
    return {
        "pid": pid,
        "limits": service.machine.read(f"/proc/{pid}/limits"),
        **service.show(*PROPERTIES),
        **{f"config {name}": value for name, value in zip(config[::2], config[1::2])},
        **{f"calls of {name}": calls.get(f"cmdstat_{name}", "").partition(",")[0] for name in FORBIDDEN},
        **{name: persistence.get(name) for name in ("rdb_saves", "rdb_last_save_time", "rdb_last_bgsave_status")},
    }


def differences(before: Snapshot, after: Snapshot) -> list[str]:
    """For the message of a failed test."""
    lines = [f"- {line}" for line in sorted(set(before.files) - set(after.files))]
    lines += [f"+ {line}" for line in sorted(set(after.files) - set(before.files))]
    for address, state in before.servers.items():
        now = after.servers.get(address, {})
        lines += [
            f"{address} {name}: {state[name]} -> {now.get(name)}" for name in state if state[name] != now.get(name)
        ]
    return lines
