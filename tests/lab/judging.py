# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From a broken server to what was said about it: evidence, diagnosis, and the recorded file."""

from __future__ import annotations

import functools
import json
import os
import platform
import re
import subprocess
import typing as t
from pathlib import Path

from ansible_collections.redisops.persistence.plugins.module_utils._evidence import collect_evidence
from ansible_collections.redisops.persistence.plugins.module_utils._system import CommandResult, System
from ansible_collections.redisops.persistence.plugins.plugin_utils.diagnosis import diagnose
from ansible_collections.redisops.persistence.plugins.plugin_utils.rules import Rules, load_rules

from .bench import Bench
from .servers import Server

Document = dict[str, t.Any]

REPOSITORY = Path(__file__).resolve().parent.parent.parent
REPLAY_DIRECTORY = REPOSITORY / "tests" / "unit" / "fixtures" / "replay"
REPLAY_LIMIT_BYTES = 40 * 1024
OTHER_EVENTS = 6
KERNEL_RELEASE = platform.release().partition("-")[0]
HOSTNAME = "lab-host"
CONFIDENCE = ("possible", "probable", "confirmed")


def run_command(
    argv: list[str], environment: dict[str, str], timeout_seconds: float, stdin: str | None
) -> CommandResult:
    """The runner of this machine."""
    try:
        done = subprocess.run(
            argv,
            env={**os.environ, "LC_ALL": "C", **environment},
            input=None if stdin is None else stdin.encode(),
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            timeout=timeout_seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return CommandResult(124, "", "timed out")
    except OSError as error:
        return CommandResult(127, "", str(error))
    return CommandResult(
        done.returncode,
        done.stdout.decode("utf-8", "backslashreplace"),
        done.stderr.decode("utf-8", "backslashreplace"),
    )


def system_of(bench: Bench) -> System:
    """This machine; with the bench's own journal, where it has one."""
    if bench.journal is None:
        return System(runner=run_command)

    def run(argv: list[str], environment: dict[str, str], timeout_seconds: float, stdin: str | None) -> CommandResult:
        if argv[0] == "journalctl":
            argv = ["nsenter", f"--target={bench.journal}", "--mount", "--", *argv]
        return run_command(argv, environment, timeout_seconds, stdin)

    return System(runner=run)


@functools.lru_cache(maxsize=1)
def rules() -> Rules:
    return load_rules()


def instance_of(server: Server, **options: t.Any) -> dict[str, t.Any]:
    return {"login_host": "127.0.0.1", "login_port": server.port, **options}


def gather(
    servers: t.Iterable[Server], options: dict[str, t.Any] | None = None, system: System | None = None
) -> Document:
    """The evidence about these servers, gathered as the module gathers it."""
    instances = [instance_of(server, **(options or {})) for server in servers]
    evidence = collect_evidence(system or System(runner=run_command), {"instances": instances})
    return t.cast(Document, json.loads(json.dumps(evidence)))


def judge(evidence: Document) -> list[Document]:
    return diagnose(evidence, rules())


def gather_as(uid: int, servers: list[Server], options: dict[str, t.Any] | None = None) -> Document:
    """The same from a process of another user."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(reader)
            os.setgroups([])
            os.setgid(uid)
            os.setuid(uid)
            os.chdir("/")
            with os.fdopen(writer, "w") as stream:
                json.dump(gather(servers, options), stream)
            os._exit(0)
        except BaseException as error:
            os.write(2, f"collecting as {uid}: {error!r}\n".encode())
            os._exit(1)
    os.close(writer)
    with os.fdopen(reader) as stream:
        text = stream.read()
    _pid, status = os.waitpid(child, 0)
    assert status == 0, "the collectors failed as an ordinary user"
    return t.cast(Document, json.loads(text))


def cause_ids(document: Document) -> list[str]:
    """Every cause that a diagnosis names, the verdict first."""
    return [cause["id"] for cause in document["causes"]]


def explain(document: Document) -> str:
    """A diagnosis in short, for the message of a failed test."""
    kept = ("state", "status", "cause", "path", "unknowns")
    short = {name: document.get(name) for name in kept}
    short["causes"] = cause_ids(document)
    short["fixes"] = {fix["id"]: fix["decision"] for fix in document["fixes"]}
    return json.dumps(short, indent=1, default=str)


def at_least(confidence: str, least: str) -> bool:
    return CONFIDENCE.index(confidence) >= CONFIDENCE.index(least)


def offered_fixes(document: Document) -> set[str]:
    """What the diagnosis would do, or let the operator do; not what it refuses."""
    return {fix["id"] for fix in document["fixes"] if fix["decision"] != "refuse"}


# Recording


def expectation(document: Document, **more: t.Any) -> Document:
    """What a replay must say: the diagnosis that the test has just found right, without its texts."""
    cause = document["cause"]
    return {
        "state": document["state"],
        "cause": cause and cause["id"],
        "causes": cause_ids(document),
        "confidence": cause and cause["confidence"],
        "still_present": cause and cause["still_present"],
        "writes_blocked": document["writes_blocked"],
        "will_retry": document["recovery"]["will_retry"],
        "forecast": document["forecast"]["answer"],
        **more,
    }


def record(name: str, bench: Bench, evidence: Document, expect: Document, amended: str | None) -> None:
    """Write a replay file: the evidence, what must be said about it, and where it is from."""
    REPLAY_DIRECTORY.mkdir(parents=True, exist_ok=True)
    replay = {
        "evidence": neutral(trimmed(evidence), bench),
        "expect": expect,
        "recorded": {
            "kernel": KERNEL_RELEASE,
            "server": bench.kind.server,
            "version": evidence_version(evidence) or ".".join(map(str, bench.kind.version)),
            "amended": amended,
        },
    }
    text = json.dumps(replay, separators=(",", ":"), sort_keys=True) + "\n"
    assert len(text) < REPLAY_LIMIT_BYTES, f"{name}: {len(text)} bytes are too many for a replay file"
    (REPLAY_DIRECTORY / f"{bench.kind.id}-{name}.json").write_text(text)


def evidence_version(evidence: Document) -> str | None:
    redis = evidence["instances"][0]["redis"]
    return redis["version"] if redis else None


def trimmed(evidence: Document) -> Document:
    """Without what the kernel said of other tests: what it said of these servers, and a few records of others."""
    copy = t.cast(Document, json.loads(json.dumps(evidence)))
    log = copy["host"]["kernel_log"]
    pids = {event.get("pid") for event in copy["instances"][0]["redis_log"]["events"]} if log_of(copy) else set()
    pids |= {(instance["process"] or {}).get("pid") for instance in copy["instances"]}
    uids = {((instance["process"] or {}).get("uid") or {}).get("effective") for instance in copy["instances"]}
    groups = {
        memory["path"] for instance in copy["instances"] for memory in (instance["cgroups"] or {}).get("memory", [])
    } - {"/"}
    own = [
        event
        for event in log["events"]
        if event.get("pid") in pids or event.get("uid") in uids or event.get("oom_cgroup") in groups
    ]
    others = [event for event in log["events"] if event not in own]
    kept = own[-20:] + others[-OTHER_EVENTS:]
    log["events"] = [event for event in log["events"] if event in kept]
    return copy


def log_of(evidence: Document) -> t.Any:
    return evidence["instances"][0]["redis_log"]


def neutral_groups(cgroup_text: str) -> dict[str, str]:
    """Other names for the control groups that the lab itself runs in, from /proc/self/cgroup (cgroups(7))."""
    names: dict[str, str] = {}
    for line in cgroup_text.splitlines():
        parts = Path(line.split(":", 2)[2]).parts[1:]
        for depth in range(1, len(parts) + 1):
            names["/" + "/".join(parts[:depth])] = "".join(f"/group-{number}" for number in range(1, depth + 1))
    return names


def neutral(evidence: Document, bench: Bench) -> Document:
    """Without names of this machine, its users or its directories."""
    text = json.dumps(evidence)
    replacements = {
        str(bench.base.parent): "/tmp/lab",
        str(bench.binary.parent): "/usr/bin",
        str(bench.binary.resolve()): f"/usr/bin/{bench.kind.name}",
        str(REPOSITORY): "/srv/checkout",
        bench.base.name: "case",
        platform.release(): KERNEL_RELEASE,
    }
    replacements.update(neutral_groups(Path("/proc/self/cgroup").read_text()))
    for old in sorted(replacements, key=len, reverse=True):
        text = text.replace(json.dumps(old)[1:-1], replacements[old])
    text = re.sub(r"redisops-lab-\d+-case-(\d+)", r"lab-group-\1", text)
    text = re.sub(r"redisops-lab-\d+-\w+-(\d+)", r"another-group-\1", text)
    copy = t.cast(Document, json.loads(text))
    copy["host"]["hostname"] = HOSTNAME
    return copy
