# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""All signals of a server: what the rules need and JMESPath can't compute."""

from __future__ import annotations

import typing as t

from ansible_collections.redisops.persistence.plugins.plugin_utils.case import Case
from ansible_collections.redisops.persistence.plugins.plugin_utils.signals_attempt import attempt_signals
from ansible_collections.redisops.persistence.plugins.plugin_utils.signals_dump import dump_signals, judged_dump
from ansible_collections.redisops.persistence.plugins.plugin_utils.signals_memory import memory_signals
from ansible_collections.redisops.persistence.plugins.plugin_utils.signals_privilege import privilege_signals
from ansible_collections.redisops.persistence.plugins.plugin_utils.signals_saves import save_signals
from ansible_collections.redisops.persistence.plugins.plugin_utils.signals_storage import storage_signals


def compute_signals(case: Case) -> dict[str, t.Any]:
    """Every signal by name (``signal_names.SIGNALS`` describes them); null where an input is unknown."""
    return {
        **save_signals(case),
        **memory_signals(case),
        **storage_signals(case),
        **dump_signals(case, judged_dump(case)),
        **privilege_signals(case),
        **attempt_signals(case),
    }
