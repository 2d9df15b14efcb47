# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ways in which a cure could destroy what it is called to save. Each is an :class:`~..attempts.Attempt`.

One file a subject; ``../test_harms.py`` runs all of them on every kind of server, with the default policy and with
everything opted in. Only the first server of a bench is in the list of instances.
"""

from __future__ import annotations

from ..attempts import Attempt
from .configuration import CONFIGURATION_HARMS
from .dumps import DUMP_HARMS
from .memory import MEMORY_HARMS
from .privilege import PRIVILEGE_HARMS
from .reading import READING_HARMS
from .reasons import REASON_HARMS

HARMS: tuple[Attempt, ...] = (
    *DUMP_HARMS,
    *MEMORY_HARMS,
    *PRIVILEGE_HARMS,
    *READING_HARMS,
    *CONFIGURATION_HARMS,
    *REASON_HARMS,
)
