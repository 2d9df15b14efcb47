# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest
from ansible_collections.redisops.persistence.plugins.module_utils._system import CommandResult, Gaps, System
from ansible_collections.redisops.persistence.plugins.module_utils._systemd import (
    PROPERTIES,
    collect_systemd,
    parse_duration,
    parse_limit,
    parse_show,
    show_units,
    split_list,
    systemd_path,
    unit_of_path,
)
from ansible_collections.redisops.persistence.tests.unit.recorded_tree import made_system

CONTAINER = "a" * 64


@pytest.mark.parametrize(
    ("path", "unit"),
    [
        ("/system.slice/redis-server.service", "redis-server.service"),
        ("/system.slice/system-redis\\x2dserver.slice/redis-server@6380.service", "redis-server@6380.service"),
        ("/redis.slice/cache.service", "cache.service"),
        ("/system.slice/redis.service/worker", "redis.service"),
        ("/system.slice/_cpu.service", "cpu.service"),
        ("/", None),
        ("/../system.slice/redis.service", None),
        ("/user.slice/user-1000.slice/session-3.scope", None),
        (f"/system.slice/docker-{CONTAINER}.scope", None),
        (f"/docker/{CONTAINER}", None),
        (f"/system.slice/docker.service/{CONTAINER}", None),
        (f"/system.slice/cache.service/libpod-payload-{CONTAINER}", None),
        (f"/kubepods.slice/kubepods-pod1.slice/cri-containerd-{CONTAINER}.scope", None),
        (f"/system.slice/containerd.service/kubepods-besteffort-pod1.slice:cri-containerd:{CONTAINER}", None),
        ("/machine.slice/systemd-nspawn@web.service/payload/system.slice/redis.service", None),
        ("/lxc.payload.web/system.slice/redis.service", None),
    ],
)
def test_the_unit_in_a_path(path, unit):
    assert unit_of_path(path).unit == unit


def test_a_manager_in_a_container_has_its_units_below_its_own_group():
    path = "/lxc.payload.web/system.slice/redis.service"
    assert unit_of_path(path, "/lxc.payload.web/init.scope").unit == "redis.service"
    assert unit_of_path("/system.slice/redis.service", "/init.scope").unit == "redis.service"


def test_a_users_own_manager_is_said():
    found = unit_of_path("/user.slice/user-1000.slice/user@1000.service/app.slice/redis.service")
    assert found.unit is None
    assert "user" in found.reason


def test_systemds_own_hierarchy():
    version_1 = "11:memory:/x\n1:name=systemd:/system.slice/redis.service\n0::/other\n"
    assert systemd_path(version_1) == "/system.slice/redis.service"
    assert systemd_path("0::/system.slice/redis.service\n") == "/system.slice/redis.service"
    assert systemd_path("4:memory:/x\n") is None


@pytest.mark.parametrize(
    ("text", "microseconds"),
    [
        ("1min 30s", 90_000_000),
        ("90", 90_000_000),
        ("2h 5min", 7_500_000_000),
        ("500ms", 500_000),
        ("1.5s", 1_500_000),
        ("infinity", "unlimited"),
        ("18446744073709551615", "unlimited"),
        ("", None),
        ("soon", None),
        (None, None),
    ],
)
def test_durations(text, microseconds):
    assert parse_duration(text) == microseconds


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("infinity", "unlimited"),
        ("18446744073709551615", "unlimited"),
        ("65536", 65536),
        ("-900", -900),
        ("1G", 2**30),
        ("1.5M", 1572864),
        ("1024:2048", 2048),
        ("50%", None),
        ("[not set]", None),
        ("", None),
        (None, None),
    ],
)
def test_limits(text, limit):
    assert parse_limit(text) == limit


def test_lists():
    assert split_list('-/var/lib/redis "/srv/a b" /c\\x20d +/e') == ["-/var/lib/redis", "/srv/a b", "/c d", "+/e"]
    assert split_list("") == []
    assert split_list(None) == []


SHOWN = """\
Id=redis-server.service
LoadState=loaded
ActiveState=active
SubState=running
Type=notify
FragmentPath=/lib/systemd/system/redis-server.service
DropInPaths=/etc/systemd/system/redis-server.service.d/a.conf /run/systemd/system/redis-server.service.d/b.conf
User=redis
Group=redis
Restart=always
NRestarts=3
Result=success
OOMPolicy=stop
StatusText=Ready to accept connections
TimeoutStopUSec=infinity
NeedDaemonReload=no
UnitFileState=enabled
ProtectSystem=strict
ProtectHome=yes
ReadWritePaths=-/var/lib/redis -/var/log/redis
PrivateTmp=yes
UMask=0007
LimitNPROC=63434
LimitFSIZE=infinity
TasksMax=4915
MemoryMax=infinity
MemoryLimit=1073741824
OOMScoreAdjust=-900
"""


class Machine:
    """systemd as a runner: what was asked, and the answer to give."""

    def __init__(self, answer, rc=0):
        self.asked = []
        self.answer = answer
        self.rc = rc

    def __call__(self, argv, environment, timeout_seconds, stdin):
        self.asked.append((argv, timeout_seconds))
        return CommandResult(self.rc, self.answer, "")


def system(tmp_path, runner=None, running=True, **files):
    files = {
        "/proc/42/cgroup": "0::/system.slice/redis-server.service\n",
        "/proc/1/cgroup": "0::/init.scope\n",
        **files,
    }
    if running:
        files["/run/systemd/system/.keep"] = ""
    made = made_system(tmp_path, files)
    return System(root=made.root, runner=runner) if runner else made


def test_asked_of_systemd(tmp_path):
    runner = Machine(SHOWN)
    gaps = Gaps()
    found = collect_systemd(system(tmp_path, runner), 42, gaps)
    assert runner.asked[0][0][:2] == ["systemctl", "show"]
    assert runner.asked[0][0][-2:] == ["--", "redis-server.service"]
    assert runner.asked[0][1] == 5.0
    assert found["source"] == "systemctl"
    assert found["unit"] == "redis-server.service"
    assert (found["type"], found["user"], found["restart"], found["restart_count"]) == ("notify", "redis", "always", 3)
    assert found["timeout_stop_usec"] == "unlimited"
    assert found["need_daemon_reload"] is False
    assert len(found["drop_in_paths"]) == 2
    assert found["sandbox"]["ProtectSystem"] == "strict"
    assert found["sandbox"]["ReadWritePaths"] == ["-/var/lib/redis", "-/var/log/redis"]
    assert found["sandbox"]["ReadOnlyPaths"] == []
    assert found["limits"]["LimitNPROC"] == 63434
    assert found["limits"]["LimitFSIZE"] == "unlimited"
    assert found["limits"]["MemoryMax"] == 1073741824, "cgroup version 1 calls it MemoryLimit"
    assert found["limits"]["OOMScoreAdjust"] == -900
    assert gaps.entries() == []


def test_one_question_for_many_units(tmp_path):
    runner = Machine("Id=a.service\nUser=a\n\nId=b.service\nUser=b\n")
    shown = show_units(system(tmp_path, runner), ["a.service", "b.service"])
    assert len(runner.asked) == 1
    assert {unit: properties["User"] for unit, properties in shown.items()} == {"a.service": "a", "b.service": "b"}
    found = collect_systemd(system(tmp_path / "x", runner), 42, Gaps(), {"redis-server.service": {"User": "given"}})
    assert found["user"] == "given"
    assert len(runner.asked) == 1


def test_an_answer_that_does_not_fit_is_none(tmp_path):
    assert show_units(system(tmp_path, Machine("Id=a.service\n")), ["a.service", "b.service"]) is None


def test_values_may_hold_equals_signs():
    assert parse_show("StatusText=a=b\nX=\n") == [{"StatusText": "a=b", "X": ""}]
    assert parse_show("") == []


UNIT_FILE = """\
[Service]
Type=notify
User=redis
ProtectSystem=true
ProtectHome=1
UMask=007
ReadWriteDirectories=-/var/lib/redis
TimeoutStopSec=0
LimitNOFILE=65535
MemoryMax=2G
"""


@pytest.mark.parametrize(("running", "rc"), [(False, 0), (True, 1), (True, 124)])
def test_without_systemd_the_files_speak(tmp_path, running, rc):
    gaps = Gaps()
    files = {"/lib/systemd/system/redis-server.service": UNIT_FILE}
    found = collect_systemd(system(tmp_path, Machine("", rc), running, **files), 42, gaps)
    assert found["source"] == "files"
    assert found["fragment_path"] == "/lib/systemd/system/redis-server.service"
    assert found["sandbox"]["ProtectSystem"] == "yes"
    assert found["sandbox"]["ProtectHome"] == "yes"
    assert found["sandbox"]["PrivateTmp"] == "no"
    assert found["sandbox"]["UMask"] == "0007"
    assert found["sandbox"]["ReadWritePaths"] == ["-/var/lib/redis"]
    assert found["timeout_stop_usec"] == "unlimited"
    assert found["limits"]["LimitNOFILE"] == 65535
    assert found["limits"]["MemoryMax"] == 2**31
    assert found["active_state"] is None
    assert found["need_daemon_reload"] is None
    assert len(gaps.entries()) == 1


def test_a_unit_of_which_nothing_is_known(tmp_path):
    found = collect_systemd(system(tmp_path, running=False), 42, Gaps())
    assert found["unit"] == "redis-server.service"
    assert found["sandbox"]["ProtectSystem"] is None
    assert found["sandbox"]["ReadWritePaths"] is None
    assert found["limits"]["LimitNPROC"] is None


def test_a_server_outside_of_any_service(tmp_path):
    gaps = Gaps()
    found = collect_systemd(system(tmp_path, **{"/proc/42/cgroup": "0::/user.slice/session-1.scope\n"}), 42, gaps)
    assert found is None
    assert gaps.entries() == []
    assert collect_systemd(system(tmp_path / "x"), 43, gaps) is None


def test_every_documented_setting_is_asked_for():
    for name in (
        "ProtectSystem",
        "ReadWritePaths",
        "BindPaths",
        "LimitFSIZE",
        "TasksMax",
        "OOMScoreAdjust",
        "NRestarts",
    ):
        assert name in PROPERTIES
