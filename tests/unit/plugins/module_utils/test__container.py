# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest
from ansible_collections.redisops.persistence.plugins.module_utils._container import (
    collect_container,
    container_of_path,
)
from ansible_collections.redisops.persistence.plugins.module_utils._system import Gaps
from ansible_collections.redisops.persistence.tests.unit.recorded_tree import made_system

ID = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (f"/docker/{ID}", ("docker", ID)),
        (f"/system.slice/docker-{ID}.scope", ("docker", ID)),
        (f"/machine.slice/libpod-{ID}.scope/container", ("podman", ID)),
        (f"/libpod_parent/libpod-{ID}", ("podman", ID)),
        (f"/system.slice/cache.service/libpod-payload-{ID}", ("podman", ID)),
        (f"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1.slice/crio-{ID}.scope", ("kubernetes", ID)),
        (f"/kubepods/besteffort/pod12-34/{ID}", ("kubernetes", ID)),
        (f"/system.slice/containerd.service/kubepods-pod1.slice:cri-containerd:{ID}", ("kubernetes", ID)),
        (f"/system.slice/nerdctl-{ID}.scope", ("containerd", ID)),
        (f"/default/{ID}", ("containerd", ID)),
        (f"/ecs/task/{ID}", ("unknown", ID)),
        ("/lxc/web/system.slice/redis.service", ("lxc", "web")),
        ("/lxc.payload.web/system.slice/redis.service", ("lxc", "web")),
        ("/machine.slice/systemd-nspawn@web.service/payload/system.slice/redis.service", ("nspawn", "web")),
        (f"/lxc.payload.web/docker/{ID}", ("docker", ID)),
        ("/system.slice/redis-server.service", None),
        ("/machine.slice/machine-qemu\\x2d1\\x2dvm.scope", None),
        ("/user.slice/user-0.slice/session-1.scope", None),
        ("/", None),
        ("/launcher/08db1d1157df83faf5e51b064c66c515", None),
    ],
)
def test_the_container_in_a_path(path, expected):
    assert container_of_path(path) == expected


def machine(tmp_path, cgroup="0::/\n", mounts=2, processes=2, root="/", own_cgroup="0::/init.scope\n", **files):
    return made_system(
        tmp_path,
        {
            "/proc/42/cgroup": cgroup,
            "/proc/self/cgroup": own_cgroup,
            "/proc/42/ns/mnt": {"link": f"mnt:[{mounts}]"},
            "/proc/42/ns/pid": {"link": f"pid:[{processes}]"},
            "/proc/self/ns/mnt": {"link": "mnt:[1]"},
            "/proc/self/ns/pid": {"link": "pid:[1]"},
            "/proc/42/root": {"link": root},
            "/rootfs/etc/hostname": "x",
            **files,
        },
    )


def test_docker_with_its_log(tmp_path):
    log = f"/var/lib/docker/containers/{ID}/{ID}-json.log"
    system = machine(tmp_path, f"0::/system.slice/docker-{ID}.scope\n", root="/rootfs", **{log: "{}"})
    assert collect_container(system, 42, Gaps()) == {
        "runtime": "docker",
        "id": ID,
        "log_path": log,
        "collector_inside": False,
    }


def test_docker_that_keeps_its_data_elsewhere(tmp_path):
    log = f"/srv/docker/containers/{ID}/{ID}-json.log"
    files = {log: "{}", "/etc/docker/daemon.json": '{"data-root": "/srv/docker/"}'}
    system = machine(tmp_path, f"0::/docker/{ID}\n", root="/rootfs", **files)
    assert collect_container(system, 42, Gaps())["log_path"] == log


@pytest.mark.parametrize("content", ["{", "[]", '{"data-root": 3}', ""])
def test_a_broken_configuration_of_docker_is_no_error(tmp_path, content):
    system = machine(tmp_path, f"0::/docker/{ID}\n", root="/rootfs", **{"/etc/docker/daemon.json": content})
    assert collect_container(system, 42, Gaps())["log_path"] is None


def test_kubernetes_log(tmp_path):
    log = f"/var/log/containers/redis-0_default_redis-{ID}.log"
    files = {log: "", "/var/log/containers/other_default_x-ff.log": ""}
    system = machine(tmp_path, f"0::/kubepods/pod1/{ID}\n", root="/rootfs", **files)
    assert collect_container(system, 42, Gaps())["log_path"] == log


def test_a_mark_in_the_root_where_the_group_tells_nothing(tmp_path):
    system = machine(tmp_path, processes=1, root="/rootfs", **{"/rootfs/run/.containerenv": ""})
    found = collect_container(system, 42, Gaps())
    assert (found["runtime"], found["id"]) == ("podman", None)


def test_an_own_root_with_own_processes_is_a_container_of_an_unknown_engine(tmp_path):
    assert collect_container(machine(tmp_path, root="/rootfs"), 42, Gaps())["runtime"] == "unknown"


@pytest.mark.parametrize(
    "change",
    [
        {"mounts": 1, "processes": 1},
        {"mounts": 1, "processes": 1, "cgroup": f"0::/docker/{ID}\n", "own_cgroup": f"0::/docker/{ID}\n"},
        {"mounts": 2, "processes": 1, "cgroup": "0::/system.slice/redis.service\n"},
        {"mounts": 2, "processes": 2},  # PrivatePIDs= of systemd, unshare: the same root
        {"mounts": 2, "processes": 1, "root": "/rootfs"},  # RootDirectory= of systemd
        {"mounts": 2, "cgroup": f"0::/docker/{ID}\n", "own_cgroup": f"0::/docker/{ID}\n"},
    ],
)
def test_what_is_no_container_of_its_own(tmp_path, change):
    # The collector's own machine may be a container: its mark must not count for the server.
    assert collect_container(machine(tmp_path, **change, **{"/.dockerenv": ""}), 42, Gaps()) is None


def without_links(tmp_path, cgroup, their_root_mount):
    return made_system(
        tmp_path,
        {
            "/proc/42/cgroup": cgroup,
            "/proc/self/cgroup": "0::/\n",
            "/proc/42/mountinfo": f"{their_root_mount} 1 254:0 / / rw - ext4 /dev/vda rw\n",
            "/proc/self/mountinfo": "27 1 254:0 / / rw - ext4 /dev/vda rw\n",
        },
    )


def test_without_root_the_mount_tables_tell(tmp_path):
    gaps = Gaps()
    assert collect_container(without_links(tmp_path / "a", f"0::/docker/{ID}\n", 27), 42, gaps) is None
    assert collect_container(without_links(tmp_path / "b", f"0::/docker/{ID}\n", 99), 42, gaps)["id"] == ID
    assert collect_container(without_links(tmp_path / "c", "0::/\n", 27), 42, gaps) is None
    service = "0::/system.slice/redis.service\n"
    assert collect_container(without_links(tmp_path / "d", service, 99), 42, gaps) is None
    assert gaps.entries() == []
    assert collect_container(without_links(tmp_path / "e", "0::/\n", 99), 42, gaps) is None
    assert [gap["what"] for gap in gaps.entries()] == ["whether the server runs in a container"]
