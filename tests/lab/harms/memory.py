# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Memory (rule 4): a save must not take the server down."""

from __future__ import annotations

from ..attempts import Attempt

MEMORY_HARMS: tuple[Attempt, ...] = ()
