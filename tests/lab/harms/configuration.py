# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The configuration file: a rewrite must not lose a line, nor make somebody else's value permanent."""

from __future__ import annotations

from ..attempts import Attempt

CONFIGURATION_HARMS: tuple[Attempt, ...] = ()
