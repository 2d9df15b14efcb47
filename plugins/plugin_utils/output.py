# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""The way to the operator's terminal, from a worker process too."""

from __future__ import annotations

from ansible import constants as C
from ansible.errors import AnsibleActionFail
from ansible.utils.display import Display

_MACHINE_CALLBACKS = ("json", "jsonl")


def say(text: str) -> None:
    """Print ``text`` in one piece; to standard error where a program reads standard output (a JSON callback)."""
    callback = str(C.config.get_config_value("DEFAULT_STDOUT_CALLBACK"))
    Display().display(text, stderr=callback.rsplit(".", 1)[-1] in _MACHINE_CALLBACKS)


def warn(text: str) -> None:
    """Print a warning."""
    Display().warning(text)


def refusal(text: str) -> AnsibleActionFail:
    """An error whose text says everything: core 2.18 would add the traceback of whatever led to it."""
    error = AnsibleActionFail(text)
    if isinstance(getattr(error, "result", None), dict):
        error.result.pop("exception", None)
    return error
