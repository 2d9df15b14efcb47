# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""The half of ``redis_diagnosis_info`` that runs on the target: gather, and save under observation where asked."""

from __future__ import annotations

import typing as t

from ansible_collections.redisops.persistence.plugins.module_utils._evidence import (
    Limits,
    Observer,
    collect_evidence,
)
from ansible_collections.redisops.persistence.plugins.module_utils._instances import Target
from ansible_collections.redisops.persistence.plugins.module_utils._runner import module_system
from ansible_collections.redisops.persistence.plugins.module_utils._system import Gaps, System

if t.TYPE_CHECKING:  # pragma: no cover
    from ansible.module_utils.basic import AnsibleModule


def observer(addresses: list[str] | None, observed: list[str]) -> Observer:
    """What makes the servers at ``addresses`` save (None: all of them), and notes in ``observed`` which of them did."""
    # Imported where it is needed: a target compiles what a module imports each time, and most runs don't save.
    from ansible_collections.redisops.persistence.plugins.module_utils._observed_save import observe_save

    def observe(target: Target, redis: dict[str, t.Any], system: System, gaps: Gaps) -> dict[str, t.Any] | None:
        if target.options is None or (addresses is not None and target.address not in addresses):
            return None
        attempt = observe_save(target.options, redis, system, gaps)
        if attempt is not None:
            observed.append(target.address)
        return attempt

    return observe


def run_module(module: AnsibleModule) -> t.NoReturn:
    """Gather, and exit with ``{changed, evidence}``."""
    parameters = module.params
    if parameters["log_limit_bytes"] <= 0:
        module.fail_json(msg=f"log_limit_bytes is {parameters['log_limit_bytes']}; it must be more than 0.")
    observed: list[str] = []
    observe = None
    if parameters["reproduce"] and not module.check_mode:
        observe = observer(parameters["reproduce_addresses"], observed)
    evidence = collect_evidence(
        module_system(module),
        parameters,
        limits=Limits(log_limit_bytes=parameters["log_limit_bytes"], deep=parameters["deep"]),
        observe=observe,
    )
    module.exit_json(changed=bool(observed), evidence=evidence)
