# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json

import pytest
from ansible_collections.redisops.persistence.plugins.module_utils import _host_evidence
from ansible_collections.redisops.persistence.plugins.module_utils._discovery import Survey
from ansible_collections.redisops.persistence.plugins.module_utils._evidence import HOST_BLOCKS, Limits
from ansible_collections.redisops.persistence.plugins.module_utils._host_evidence import (
    Place,
    collect_host_evidence,
    collect_place,
    resolve_places,
)
from ansible_collections.redisops.persistence.plugins.module_utils._system import Gaps
from ansible_collections.redisops.persistence.tests.unit.recorded_tree import recorded_system

REDIS, PID = "redis_6.2_root", 11275
# /proc/net/tcp as it was then: the server listens on 0.0.0.0:26101.
SOCKETS = (
    "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
    "  75: 00000000:65F5 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0 0 16217 1 0 100 0 0 10 0\n"
)
EXTRA = {f"/proc/{PID}/comm": "redis-server\n", "/proc/self/net/tcp": SOCKETS, f"/proc/{PID}/net/tcp": SOCKETS}
PARAMETERS = {"instances": None, "deep": False, "log_limit_bytes": 65536}


def places(system, entries):
    return resolve_places(entries, system, Survey(system), Gaps())


@pytest.fixture
def system(tmp_path):
    return recorded_system(tmp_path, REDIS, EXTRA)


def test_every_server_that_runs_here(system):
    assert places(system, None) == [Place("127.0.0.1:26101", PID, None, {})]


def test_server_named_by_its_pid_gets_its_address(system):
    assert places(system, [{"pid": PID}]) == [Place("127.0.0.1:26101", PID, None, {})]


def test_server_named_by_its_port_gets_its_pid(system):
    assert places(system, [{"login_port": 26101}])[0].pid == PID


def test_pid_goes_before_the_address_that_is_given_with_it(system):
    assert places(system, [{"pid": PID, "login_port": 6379}]) == [Place("127.0.0.1:6379", PID, None, {})]


def test_what_is_not_there_keeps_its_name(system):
    assert places(system, [{"login_port": 1}, {"unix_socket": "/run/r.sock"}, {"pid": 4}, {}]) == [
        Place("127.0.0.1:1", None, None, {}),
        Place("unix:/run/r.sock", None, None, {}),
        Place("process 4", 4, None, {}),
        Place("127.0.0.1:6379", None, None, {}),
    ]


def test_hints_are_settings(system):
    (place,) = places(system, [{"pid": PID, "dir": "/srv", "dbfilename": "d.rdb", "logfile": None}])
    assert place.hints == {"dir": "/srv", "dbfilename": "d.rdb"}


def test_hints_go_before_the_configuration_file(tmp_path, monkeypatch):
    asked = {}

    def collect(system, pid, settings, gaps, limits, config_file):
        asked.update(settings)
        return {}

    monkeypatch.setattr(_host_evidence, "collect_instance_host", collect)
    conf = {f"/proc/{PID}/root/etc/redis.conf": "dir /var/lib/redis\ndbfilename a.rdb\nrequirepass secret\n"}
    system = recorded_system(tmp_path, REDIS, conf)
    collect_place(Place("x", PID, "/etc/redis.conf", {"dbfilename": "b.rdb"}), system, Limits())
    assert asked == {"dir": "/var/lib/redis", "dbfilename": "b.rdb"}


def test_address_without_a_process_is_a_gap(system):
    instance = collect_place(Place("127.0.0.1:1", None, None, {}), system, Limits())
    assert [instance[block] for block in HOST_BLOCKS] == [None] * len(HOST_BLOCKS)
    assert instance["gaps"][0]["what"] == "host evidence"


def test_document(system):
    document = collect_host_evidence(PARAMETERS, system)
    assert set(document) == {"host", "instances", "gaps"}
    (instance,) = document["instances"]
    assert set(instance) == {"address", "gaps", *HOST_BLOCKS}
    assert instance["process"]["pid"] == PID
    assert "kernel_log" in document["host"]
    json.dumps(document).encode("utf-8")


def test_surprise_with_one_server_leaves_the_document_whole(system, monkeypatch):
    def fail(*arguments):
        raise RuntimeError("never foreseen")

    monkeypatch.setattr(_host_evidence, "collect_instance_host", fail)
    (instance,) = collect_host_evidence(PARAMETERS, system)["instances"]
    assert instance["process"] is None
    assert "RuntimeError: never foreseen" in instance["gaps"][0]["why"]
