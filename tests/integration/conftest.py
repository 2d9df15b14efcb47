# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the live tests share: throwaway servers for the time of a file, each test once for every kind of server."""

from __future__ import annotations

import tempfile
import typing as t
from pathlib import Path

import pytest
from live_servers import SERVERS, Lab


@pytest.fixture(scope="module")
def lab() -> t.Iterator[Lab]:
    # A short path: a Unix socket's has at most 107 bytes.
    made = Lab(Path(tempfile.mkdtemp(prefix="live-")))
    yield made
    made.stop()


@pytest.fixture(params=SERVERS)
def name(request: pytest.FixtureRequest, lab: Lab) -> str:
    """The kind of server that a test is about."""
    if request.param not in lab.binaries:
        pytest.skip(f"no server of the kind {request.param} on this machine")
    return str(request.param)
