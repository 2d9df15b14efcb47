# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""Evidence saved on the control node, one file a host, and read again later."""

from __future__ import annotations

import hashlib
import os
import typing as t
import urllib.parse

from ansible_collections.redisops.persistence.plugins.plugin_utils import files

SCHEMA_VERSION = 1
SUFFIX = ".json"
# Characters of an inventory name that a file name can carry as they are. A slash is not one of them.
_SAFE_CHARACTERS = " @+,=[]:()"
_NAME_LIMIT = 200
Evidence = dict[str, t.Any]


class EvidenceError(Exception):
    """A file that holds no evidence; the text names it."""


def file_name(host: str) -> str:
    """The file of a host: its inventory name, percent-encoded where a path could be made of it."""
    name = urllib.parse.quote(host, safe=_SAFE_CHARACTERS)
    if name.startswith("."):
        name = "%2E" + name[1:]
    if len(name) > _NAME_LIMIT:
        name = f"{name[:_NAME_LIMIT]}-{hashlib.sha256(host.encode()).hexdigest()[:16]}"
    return (name or "%") + SUFFIX


def host_name(path: str) -> str:
    """The inventory name that a file was made for."""
    name = os.path.basename(path)
    stem = name[: -len(SUFFIX)] if name.endswith(SUFFIX) else name
    return urllib.parse.unquote(stem)


def save(directory: str, host: str, evidence: Evidence) -> str:
    """Save the evidence of one host. Returns the path. Raises OSError."""
    return files.write_json(directory, file_name(host), evidence)


def load(path: str) -> list[tuple[str, Evidence]]:
    """``[(host name, evidence), ..]`` of a file, or of every ``.json`` file of a directory. Raises EvidenceError."""
    path = os.path.abspath(os.path.expanduser(path))
    if not os.path.isdir(path):
        return [(host_name(path), _load_file(path))]
    try:
        names = sorted(name for name in os.listdir(path) if name.endswith(SUFFIX) and not name.startswith("."))
    except OSError as error:
        raise EvidenceError(f"{path}: {error.strerror}") from None
    if not names:
        raise EvidenceError(f"{path}: there is no evidence file (*{SUFFIX}) in this directory")
    return [(host_name(name), _load_file(os.path.join(path, name))) for name in names]


def _load_file(path: str) -> Evidence:
    try:
        document = files.read_json(path, "an evidence file")
    except files.NotReadable as error:
        raise EvidenceError(str(error)) from None
    return check(document, path)


def check(document: object, name: str) -> Evidence:
    """The document, where it is an evidence document of a known version. Raises EvidenceError."""
    if not isinstance(document, dict):
        raise EvidenceError(f"{name}: not an evidence document: it holds a {type(document).__name__}, not a mapping")
    if isinstance(document.get("hosts"), dict) and "summary" in document:
        raise EvidenceError(f"{name}: this is a report; diagnose the files that evidence_dir saved")
    if document.get("schema_version") != SCHEMA_VERSION:
        raise EvidenceError(
            f"{name}: not an evidence document of schema_version {SCHEMA_VERSION}"
            f" (schema_version is {document.get('schema_version')!r})"
        )
    for key, kind in (("host", dict), ("instances", list)):
        if not isinstance(document.get(key), kind):
            raise EvidenceError(f"{name}: not an evidence document: {key} is missing or not a {kind.__name__}")
    if not all(isinstance(instance, dict) for instance in document["instances"]):
        raise EvidenceError(f"{name}: not an evidence document: instances holds something else than mappings")
    return document
