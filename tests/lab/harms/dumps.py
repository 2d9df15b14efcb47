# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The file in the dump's place (rule 10): a save must not replace the last good copy of anything."""

from __future__ import annotations

from ..attempts import Attempt

DUMP_HARMS: tuple[Attempt, ...] = ()
