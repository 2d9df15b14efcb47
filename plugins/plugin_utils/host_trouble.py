# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""A host where the module could not run: what is wrong in plain words, what to do, and what a shell can still tell.

A host in trouble is what this collection is for, so it is a finding here, never a bare "unreachable".
"""

from __future__ import annotations

import typing as t

Diagnosis = dict[str, t.Any]
PROBE_LIMIT = 4000
_TEXT_LIMIT = 300
_CHAIN_LIMIT = 10
SECRET_MASK = "********"

# Needs neither Python nor a temporary file. Each part is bounded where the host has `timeout`: df hangs on a dead NFS.
PROBE_COMMAND = (
    'if command -v timeout >/dev/null 2>&1; then bounded="timeout 5"; else bounded=""; fi; '
    "$bounded df -hP / /tmp /var/tmp /dev/shm /var/lib/redis /var/lib/valkey 2>/dev/null; "
    "$bounded df -hPi / /tmp /var/tmp 2>/dev/null; "
    "echo load: $(cat /proc/loadavg 2>/dev/null); uptime 2>/dev/null; true"
)

_TEMPORARY_DIRECTORY = (
    "No directory for temporary files on the host: its root file system is full, out of inodes or read-only.",
    "Free some space there, or point diagnose_tmpdir at a writable directory (default /dev/shm) and leave "
    "ansible_pipelining on.",
)
_TIMED_OUT = ("timed out", "timeout")
# (text in what Ansible or the host said, in lower case; what it means; what to do)
_KNOWN_TROUBLE: tuple[tuple[tuple[str, ...], tuple[str, str]], ...] = (
    (
        (
            "no usable temporary directory",
            "failed to create temporary directory",
            "no space left on device",
            "read-only file system",
            "disk quota exceeded",
        ),
        _TEMPORARY_DIRECTORY,
    ),
    (
        ("module interpreter", "python: not found", "python3: not found", "python: no such", "python3: no such"),
        (
            "There is no usable Python on the host.",
            "Install Python 3.9 or newer there, or name the one to use with ansible_python_interpreter.",
        ),
    ),
    (
        ("minimum of python", "syntaxerror", "unsupported python"),
        (
            "The Python on the host is too old for Ansible.",
            "Install Python 3.9 or newer there, or name the one to use with ansible_python_interpreter.",
        ),
    ),
    (
        ("sudo", "become", "privilege escalation"),
        ("Becoming another user failed on the host.", "Check ansible_become, its user and its password."),
    ),
    (
        ("memoryerror",),
        (
            "The module has reached the bound of its own memory, or the host has none left.",
            "See whether memory is free there; if it is, report this as a defect of redisops.persistence.",
        ),
    ),
    (
        ("cannot allocate memory", "cannot fork", "resource temporarily unavailable"),
        (
            "The host has no memory or no free process left to run anything.",
            "Free memory there first; look at the kernel log for OOM kills.",
        ),
    ),
    (
        ("permission denied (", "authentication", "host key verification"),
        (
            "The host refuses the login.",
            "Check ansible_user, its key or password, and the host's key in known_hosts.",
        ),
    ),
    (
        _TIMED_OUT,
        ("The host does not answer in time.", "Check that it is up and that the network lets ssh through."),
    ),
    (
        ("could not resolve", "name or service not known"),
        ("The host's name can't be resolved.", "Check ansible_host and the name service of the control node."),
    ),
    (
        ("connection refused", "no route to host", "network is unreachable", "connection reset", "connection closed"),
        ("Nothing accepts a login on the host.", "Check that it is up and that its ssh server runs."),
    ),
)
_UNKNOWN_CONNECTION = (
    "No connection to the host.",
    "Try: ansible HOST -m ansible.builtin.raw -a uptime",
)
_UNKNOWN_MODULE = (
    "The module could not run on the host.",
    "Run again with -vvv to see what the host said.",
)


class Trouble(t.NamedTuple):
    """Why the module did not run, in plain words with what to do.

    ``lacks_temporary_directory``: it was for want of a temporary file. ``timed_out``: the host did not answer in time,
    and whoever asks it once more waits as long once more.
    """

    text: str
    lacks_temporary_directory: bool
    timed_out: bool = False


def mask(text: str, secrets: t.Iterable[str]) -> str:
    """``text`` without the secrets, the longest first so that no part of one is left."""
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        text = text.replace(secret, SECRET_MASK)
    return text


def explain_connection(said: str) -> Trouble:
    """Why there is no connection, from the message of Ansible's connection plugin."""
    lowered = said.lower()
    return _explain(said, _UNKNOWN_CONNECTION)._replace(timed_out=any(text in lowered for text in _TIMED_OUT))


def explain_module(result: t.Mapping[str, t.Any]) -> Trouble:
    """Why the module did not run, from what Ansible made of its output."""
    texts = [
        result.get("msg"),
        *_messages(result.get("exception")),
        result.get("module_stdout"),
        result.get("module_stderr"),
    ]
    said = "\n".join(text for text in texts if isinstance(text, str) and text.strip())
    return _explain(said, _UNKNOWN_MODULE)


def _messages(exception: object) -> list[str]:
    """What an error says: text in core 2.18, from 2.19 on an event and the chain of events that led to it."""
    if isinstance(exception, str):
        return [exception]
    messages: list[str] = []
    event = getattr(exception, "event", None)
    while event is not None and len(messages) < _CHAIN_LIMIT:
        messages.append(str(getattr(event, "msg", "")))
        event = getattr(getattr(event, "chain", None), "event", None)
    return messages


def probe_text(output: str) -> str:
    """What the probe said, bounded, each line once: several paths of it can lie on one file system."""
    return "\n".join(dict.fromkeys(output[:PROBE_LIMIT].strip().splitlines()))


def _explain(said: str, otherwise: tuple[str, str]) -> Trouble:
    explanation, telling = otherwise, ""
    lowered = said.lower()
    for texts, known in _KNOWN_TROUBLE:
        found = next((text for text in texts if text in lowered), None)
        if found is not None:
            explanation, telling = known, found
            break
    meaning, remedy = explanation
    return Trouble(
        f"{meaning} {remedy} (The host said: {_telling_line(said, telling)})", explanation is _TEMPORARY_DIRECTORY
    )


def _telling_line(said: str, telling: str) -> str:
    """The last line with the telling text in it, or the last line at all, bounded."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    matching = [line for line in lines if telling in line.lower()]
    return (matching or lines or ["nothing"])[-1][:_TEXT_LIMIT]


def address_of(instance: t.Mapping[str, t.Any]) -> str:
    """The address of a named instance, as evidence spells it."""
    if instance.get("unix_socket"):
        return f"unix:{instance['unix_socket']}"
    return f"{instance.get('login_host') or '127.0.0.1'}:{instance.get('login_port') or 6379}"


def unseen(instances: t.Iterable[t.Mapping[str, t.Any]], error: str) -> list[Diagnosis]:
    """A diagnosis for each named server of a host that could not be examined: nothing is known, and why."""
    return [_unseen_instance(address_of(instance), error) for instance in instances]


def _unseen_instance(address: str, error: str) -> Diagnosis:
    nothing = dict.fromkeys(("server", "version", "role", "pid", "uid", "unit", "config_file", "dir", "dbfilename"))
    return {
        "schema_version": 1,
        "instance": {"address": address, **nothing},
        "status": "unknown",
        "state": "unreachable",
        "writes_blocked": None,
        "recovery": {"will_retry": None, "reason": None},
        "cause": None,
        "causes": [],
        "path": [],
        "risks": [],
        "forecast": {"answer": "unknown", "cause": None, "missing": ["the host"], "signals": {}},
        "exposure": {"changes_at_risk": None, "seconds_since_last_save": None, "since_start": None},
        "dump": {
            **dict.fromkeys(("bytes", "saved_unix", "keys_at_least", "much_larger")),
            "owner": "unknown",
            "why": error,
        },
        "fixes": [],
        "unknowns": [{"what": "the host", "why": error, "remedy": "Put the host right, then diagnose again."}],
    }
