# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""The real machine as a :class:`System`: commands run through ``AnsibleModule.run_command``, bounded in time."""

from __future__ import annotations

import threading
import time
import typing as t

from ansible_collections.redisops.persistence.plugins.module_utils._system import CommandResult, System, to_utf8

if t.TYPE_CHECKING:  # pragma: no cover
    from ansible.module_utils.basic import AnsibleModule

TIMED_OUT = 124
NOT_INSTALLED = 127
KILLED_BY_TIMEOUT = (137, -9)
"""``timeout -k`` ends with 128 + 9 when it had to send SIGKILL (coreutils manual, "timeout invocation"), or of that
signal itself, since it sends it to its whole process group."""


class ModuleRunner:
    """Runs commands through a module; safe to use from several threads.

    ``run_command`` has no time-out of its own, so the command runs below coreutils' ``timeout``. What it keeps in the
    module object between its start and the start of the process is not shared between threads: that moment is
    serialised, the wait for the command is not.
    """

    def __init__(self, module: AnsibleModule) -> None:
        self._module = module
        self._starting = threading.Lock()
        self._timeout_command = module.get_bin_path("timeout")

    def __call__(
        self, argv: list[str], environment: dict[str, str], timeout_seconds: float, stdin: str | None
    ) -> CommandResult:
        if self._timeout_command is None:
            return CommandResult(NOT_INSTALLED, "", "timeout: not installed (coreutils), commands can't be bounded")
        bounded = [self._timeout_command, "-k", "1", f"{max(timeout_seconds, 0.1):g}", *argv]
        began = time.monotonic()
        try:
            rc, stdout, stderr = self._run(bounded, environment, stdin)
        except OSError as error:
            return CommandResult(NOT_INSTALLED, "", f"{argv[0]}: {error.strerror or error}")
        if rc in KILLED_BY_TIMEOUT and time.monotonic() - began >= timeout_seconds:
            rc = TIMED_OUT
        return CommandResult(rc, to_utf8(stdout), to_utf8(stderr))

    def _run(self, argv: list[str], environment: dict[str, str], stdin: str | None) -> tuple[int, bytes, bytes]:
        """Start under the lock, wait without it. Raises OSError."""
        lock = _Once(self._starting)
        try:
            return self._module.run_command(
                argv,
                environ_update={"LC_ALL": "C", **environment},
                data=stdin.encode("utf-8", errors="surrogateescape") if stdin else None,
                binary_data=True,
                encoding=None,
                expand_user_and_vars=False,
                handle_exceptions=False,
                before_communicate_callback=lambda _process: lock.release(),
            )
        finally:
            lock.release()


class _Once:
    """A lock that is held from the start and can be released more than once."""

    def __init__(self, lock: threading.Lock) -> None:
        self._lock = lock
        self._held = lock.acquire()

    def release(self) -> None:
        if self._held:
            self._held = False
            self._lock.release()


def module_system(module: AnsibleModule) -> System:
    """The machine that the module runs on."""
    return System(runner=ModuleRunner(module))
