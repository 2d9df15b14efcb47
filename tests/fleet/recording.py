# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Evidence of the fleet as replay files beside the lab's: the versions and the sandboxes of Debian 13's packages."""

from __future__ import annotations

import json
import platform
import typing as t

from lab.judging import KERNEL_RELEASE, REPLAY_DIRECTORY, REPLAY_LIMIT_BYTES, expectation

from .machine import Machine
from .services import Kind

HOSTNAME = "fleet-host"
Document = dict[str, t.Any]


def record(kind: Kind, name: str, machine: Machine, evidence: Document, document: Document) -> None:
    """Write one server's evidence, with the diagnosis that the test has just found right."""
    address = document["instance"]["address"]
    instances = [entry for entry in evidence["instances"] if entry["address"] == address]
    replay = {
        "evidence": neutral({**evidence, "instances": instances}, machine),
        "expect": expectation(document),
        "recorded": {
            "kernel": KERNEL_RELEASE,
            "server": kind.name,
            "version": document["instance"]["version"],
            "amended": None,
        },
    }
    text = json.dumps(replay, separators=(",", ":"), sort_keys=True) + "\n"
    assert len(text) < REPLAY_LIMIT_BYTES, f"{name}: {len(text)} bytes are too many for a replay file"
    (REPLAY_DIRECTORY / f"{kind.id}-{name}.json").write_text(text)


def neutral(evidence: Document, machine: Machine) -> Document:
    """Without names of the machine that booted this one. A layer of its root is named by a path of that machine."""
    text = json.dumps(evidence)
    replacements = {str(machine.directory): "/fleet", platform.release(): KERNEL_RELEASE, machine.name: HOSTNAME}
    for old in sorted(replacements, key=len, reverse=True):
        text = text.replace(json.dumps(old)[1:-1], replacements[old])
    copy = t.cast(Document, json.loads(text))
    copy["host"]["hostname"] = HOSTNAME
    return copy
