# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import os
import typing as t
from pathlib import Path

import pytest
from ansible_collections.redisops.persistence.plugins.module_utils import _discovery
from ansible_collections.redisops.persistence.plugins.module_utils._client import ConnectionOptions
from ansible_collections.redisops.persistence.plugins.module_utils._system import Gaps, System

TCP_HEADER = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
UNIX_HEADER = "Num       RefCount Protocol Flags    Type St Inode Path\n"


def tcp_line(address: str, port: int, inode: int, state: str = "0A") -> str:
    counters = "00000000:00000000 00:00000000 00000000     0        0"
    return f"   0: {address}:{port:04X} 00000000:0000 {state} {counters} {inode} 1\n"


def unix_line(inode: int, path: str, flags: str = "00010000") -> str:
    return f"00000000deaebf67: 00000002 00000000 {flags} 0001 01 {inode} {path}\n"


class Machine:
    """A /proc that is written down."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.system = System(root=str(root))
        self.network("self")
        self.write("proc/stat", "cpu  1\nbtime 1000\n")
        self.write(
            "proc/net/fib_trie", "  |-- 192.0.2.2\n     /32 host LOCAL\n  |-- 192.0.2.9\n     /32 link UNICAST\n"
        )

    def write(self, path: str, text: str) -> None:
        place = self.root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text, encoding="utf-8")

    def network(self, process: str, tcp: str = "", tcp6: str = "", unix: str = "", namespace: str = "net:[1]") -> None:
        self.write(f"proc/{process}/net/tcp", TCP_HEADER + tcp)
        self.write(f"proc/{process}/net/tcp6", TCP_HEADER + tcp6)
        self.write(f"proc/{process}/net/unix", UNIX_HEADER + unix)
        link = self.root / f"proc/{process}/ns/net"
        link.parent.mkdir(parents=True, exist_ok=True)
        if not link.is_symlink():
            link.symlink_to(namespace)

    def process(
        self,
        pid: int,
        command: str,
        cmdline: str,
        *,
        parent: int = 1,
        state: str = "S",
        inodes: t.Sequence[int] | None = (),
        namespace: str = "net:[1]",
        namespace_pid: int | None = None,
        start_ticks: int = 0,
    ) -> None:
        self.write(f"proc/{pid}/comm", f"{command}\n")
        self.write(f"proc/{pid}/cmdline", cmdline)
        fields = f"{pid} (a (b) c) {state} {parent} " + " ".join(["0"] * 17) + f" {start_ticks} 0\n"
        self.write(f"proc/{pid}/stat", fields)
        spaces = f"{pid}" if namespace_pid is None else f"{pid}\t{namespace_pid}"
        self.write(
            f"proc/{pid}/status",
            f"Uid:\t999\t999\t999\t999\nGid:\t999\t999\t999\t999\nGroups:\t999 \nNSpid:\t{spaces}\n",
        )
        (self.root / f"proc/{pid}/root").mkdir(exist_ok=True)
        self.network(str(pid), namespace=namespace)
        if inodes is not None:
            (self.root / f"proc/{pid}/fd").mkdir(exist_ok=True)
            for number, inode in enumerate(inodes):
                (self.root / f"proc/{pid}/fd/{number}").symlink_to(f"socket:[{inode}]")


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def found(machine: Machine, gaps: Gaps | None = None) -> list[dict[str, t.Any]]:
    return _discovery.discover(machine.system, gaps or Gaps())


def test_servers_by_name_and_title_without_their_children(machine: Machine) -> None:
    machine.process(10, "redis-server", "/usr/bin/redis-server 127.0.0.1:6379\0\0\0 .")
    machine.process(11, "redis-server", "redis-rdb-bgsave 127.0.0.1:6379\0", parent=10)
    machine.process(12, "redis-server", "/usr/bin/redis-server 127.0.0.1:6379\0", parent=10)  # set-proc-title no
    machine.process(13, "redis-server", "redis-rdb-bgsave 127.0.0.1:6379\0", parent=1)  # its server died
    machine.process(14, "valkey-sentinel", "valkey-sentinel *:26379 [sentinel]\0")
    machine.process(15, "renamed", "/opt/keydb-server *:7000\0")
    machine.process(16, "vim", "vim\0redis-server\0")
    machine.process(17, "redis-server", "redis-server *:1\0", state="Z")
    machine.process(18, "dragonfly", "dragonfly\0--port\x006380\0")
    assert [(entry["pid"], entry["kind"], entry["sentinel"]) for entry in found(machine)] == [
        (10, "redis", False),
        (14, "valkey", True),
        (15, "keydb", False),
        (18, "dragonfly", False),
    ]
    assert found(machine)[0]["title"] == "/usr/bin/redis-server 127.0.0.1:6379"


def test_addresses_of_the_sockets(machine: Machine) -> None:
    machine.network(
        "self",
        tcp=tcp_line("00000000", 6379, 1)
        + tcp_line("00000000", 16379, 2)
        + tcp_line("0100007F", 9, 3)
        + tcp_line("0100007F", 6379, 4, "01"),
        tcp6=tcp_line("0" * 32, 6379, 5),
        unix=unix_line(6, "/run/redis.sock") + unix_line(7, "/run/other.sock") + unix_line(8, "/x", "00000000"),
    )
    machine.process(10, "redis-server", "redis-server *:6379 [cluster]\0", inodes=[1, 2, 4, 5, 6, 8])
    gaps = Gaps()
    assert found(machine, gaps)[0]["addresses"] == [("tcp", "127.0.0.1", 6379), ("unix", "/run/redis.sock")]
    assert gaps.entries() == []


def test_cluster_bus_is_left_out_without_a_title(machine: Machine) -> None:
    machine.network("self", tcp=tcp_line("0100007F", 7000, 1) + tcp_line("0100007F", 17000, 2))
    machine.process(10, "redis-server", "redis-server\0", inodes=[1, 2])
    assert found(machine)[0]["addresses"] == [("tcp", "127.0.0.1", 7000)]


def test_only_a_tls_port(machine: Machine) -> None:
    machine.network("self", tcp=tcp_line("0100007F", 6380, 1))
    machine.process(10, "redis-server", "redis-server\0/etc/redis.conf\0", inodes=[1])
    machine.write("proc/10/root/etc/redis.conf", "port 0\ntls-port 6380\n")
    entry = found(machine)[0]
    assert (entry["addresses"], entry["tls"]) == ([("tcp", "127.0.0.1", 6380)], True)
    assert _discovery.connection_mapping(entry, {})["tls"] is True  # type: ignore[index]


def test_plain_port_comes_before_the_tls_port(machine: Machine) -> None:
    machine.network("self", tcp=tcp_line("0100007F", 6380, 1) + tcp_line("0100007F", 6390, 2))
    machine.process(10, "redis-server", "redis-server\0/etc/redis.conf\0", inodes=[1, 2])
    machine.write("proc/10/root/etc/redis.conf", "port 6390\ntls-port 6380\n")
    entry = found(machine)[0]
    assert (entry["addresses"][0], entry["tls"]) == (("tcp", "127.0.0.1", 6390), False)


@pytest.mark.parametrize(
    ("title", "addresses"),
    [
        ("redis-server 10.0.0.5:6379", [("tcp", "10.0.0.5", 6379)]),
        ("redis-server *:6379", [("tcp", "127.0.0.1", 6379)]),
        ("redis-server [::1]:6379", [("tcp", "::1", 6379)]),
        ("redis-server unixsocket:/run/r.sock", [("unix", "/run/r.sock")]),
        ("redis-server\0--port\x007001", [("tcp", "127.0.0.1", 7001)]),
        ("redis-server", [("tcp", "127.0.0.1", 6379)]),
    ],
)
def test_without_rights_the_title_tells(machine: Machine, title: str, addresses: list[t.Any]) -> None:
    machine.process(10, "redis-server", title + "\0", inodes=None)
    gaps = Gaps()
    assert found(machine, gaps)[0]["addresses"] == addresses
    assert [gap["what"] for gap in gaps.entries()] == ["the sockets of servers of other users"]


def test_many_servers_without_rights_are_one_gap(machine: Machine) -> None:
    for pid in (10, 11, 12):
        machine.process(pid, "redis-server", f"redis-server 127.0.0.1:{7000 + pid}\0", inodes=None)
    gaps = Gaps()
    assert len(found(machine, gaps)) == 3
    assert len(gaps.entries()) == 1


def test_other_network_is_reached_through_a_socket_in_its_root(machine: Machine) -> None:
    machine.process(10, "redis-server", "redis-server *:6379\0", inodes=[1, 2], namespace="net:[2]")
    machine.network("10", tcp=tcp_line("00000000", 6379, 1), unix=unix_line(2, "/run/r.sock"))
    gaps = Gaps()
    entry = found(machine, gaps)[0]
    assert (entry["addresses"], entry["network_is_host"]) == ([], False)
    assert "redis_instances" in gaps.entries()[0]["remedy"]
    machine.write("proc/10/root/run/r.sock", "")
    assert found(machine)[0]["addresses"] == [("unix", "/proc/10/root/run/r.sock")]


def test_config_file_of_the_unit_and_of_the_port(machine: Machine) -> None:
    machine.process(10, "redis-server", "redis-server 127.0.0.1:6379\0")
    machine.process(11, "redis-server", "redis-server 127.0.0.1:7001\0")
    machine.process(12, "redis-server", "redis-server 127.0.0.1:7002\0")
    for pid in (10, 11, 12):
        machine.write(f"proc/{pid}/root/etc/redis/redis.conf", "dir /a\n")
    machine.write("proc/11/cgroup", "0::/system.slice/system-redis.slice/redis-server@one.service\n")
    machine.write(
        "lib/systemd/system/redis-server@.service",
        "[Service]\nExecStart=/usr/bin/redis-server /etc/redis/redis-%i.conf --x\n",
    )
    machine.write("proc/11/root/etc/redis/redis-one.conf", "port 7001\n")
    assert [entry["config_file"] for entry in found(machine)] == [
        "/etc/redis/redis.conf",
        "/etc/redis/redis-one.conf",
        None,
    ]


def test_password_is_taken_only_from_a_file_that_the_server_can_read(machine: Machine) -> None:
    machine.process(10, "redis-server", "redis-server 127.0.0.1:6379\0")
    machine.write("proc/10/root/etc/redis/redis.conf", "requirepass secret\n")
    path = machine.root / "proc/10/root/etc/redis/redis.conf"
    path.chmod(0o644)
    assert _discovery.server_password(machine.system, found(machine)[0]) == "secret"
    path.chmod(0o600)
    if os.geteuid() == 999:
        pytest.skip("runs as the server's own user")
    assert _discovery.server_password(machine.system, found(machine)[0]) is None


# --- which process --------------------------------------------------------------------------------------------------


def test_process_by_the_owner_of_the_socket(machine: Machine) -> None:
    machine.network("self", tcp=tcp_line("0100007F", 6379, 1) + tcp_line("0100007F", 6380, 2))
    machine.process(10, "redis-server", "redis-server 127.0.0.1:6379\0", inodes=[1])
    machine.process(11, "redis-server", "redis-server 127.0.0.1:6380\0", inodes=[2])
    assert _discovery.find_pid(machine.system, ConnectionOptions(login_port=6380), None) == 11
    assert _discovery.find_pid(machine.system, ConnectionOptions(login_host="192.0.2.2", login_port=6379), None) == 10
    assert _discovery.find_pid(machine.system, ConnectionOptions(login_host="192.0.2.9", login_port=6379), None) is None
    assert _discovery.find_pid(machine.system, ConnectionOptions(login_port=1), None) is None


def test_process_in_a_container_by_its_own_pid_and_start(machine: Machine) -> None:
    machine.process(10, "redis-server", "redis-server *:6379\0", namespace_pid=1, start_ticks=0, namespace="net:[2]")
    machine.process(
        11, "redis-server", "redis-server *:6379\0", namespace_pid=1, start_ticks=100_000, namespace="net:[3]"
    )
    facts = {"process_id": 1, "started_unix": 1000 + int(100_000 / os.sysconf("SC_CLK_TCK"))}
    assert _discovery.find_pid(machine.system, ConnectionOptions(login_port=16379), facts) == 11
    assert _discovery.find_pid(machine.system, ConnectionOptions(login_port=16379), {"process_id": 1}) is None
    assert _discovery.find_pid(machine.system, ConnectionOptions(login_port=16379), {"process_id": 7}) is None


def test_owner_that_info_contradicts_is_not_believed(machine: Machine) -> None:
    machine.network("self", tcp=tcp_line("0100007F", 6379, 1))
    machine.process(10, "redis-server", "redis-server 127.0.0.1:6379\0", inodes=[1])
    assert _discovery.find_pid(machine.system, ConnectionOptions(), {"process_id": 4711}) is None


def test_process_of_a_unix_socket(machine: Machine) -> None:
    machine.network("self", unix=unix_line(6, "/run/redis.sock"))
    machine.process(10, "redis-server", "redis-server *:0\0", inodes=[6])
    assert _discovery.find_pid(machine.system, ConnectionOptions(unix_socket="/run/redis.sock"), None) == 10
    assert _discovery.find_pid(machine.system, ConnectionOptions(unix_socket="/proc/10/root/run/r.sock"), None) == 10
    assert _discovery.find_pid(machine.system, ConnectionOptions(unix_socket="/run/none.sock"), None) is None


@pytest.mark.parametrize(
    ("text", "address"),
    [("0100007F", "127.0.0.1"), ("00000000000000000000000001000000", "::1"), ("00000000", "0.0.0.0")],
)
def test_addresses_of_the_kernel_are_decoded(text: str, address: str) -> None:
    assert _discovery.decode_address(text) == address


@pytest.mark.parametrize(
    ("host", "port", "expected"),
    [
        ("127.0.0.1", 6379, True),
        ("127.0.0.1", 6380, False),  # another process has it
        ("127.0.0.1", 6381, False),  # so it has one of two
        ("127.0.0.1", 6382, True),  # another has the port on an address that does not lead there
        ("127.0.0.2", 6382, False),
        ("127.0.0.1", 6383, False),  # nobody listens
    ],
)
def test_a_password_is_for_the_process_that_listens_alone(
    machine: Machine, host: str, port: int, expected: bool
) -> None:
    lines = (("0100007F", 6379, 1), ("0100007F", 6380, 2), ("0100007F", 6381, 3), ("00000000", 6381, 4))
    other = (("0100007F", 6382, 5), ("0200007F", 6382, 6))
    machine.network("self", tcp="".join(tcp_line(*line) for line in (*lines, *other)))
    machine.process(10, "redis-server", "redis-server 127.0.0.1:6379\0", inodes=[1, 3, 5])
    options = ConnectionOptions(login_host=host, login_port=port)
    assert _discovery.listens_alone(machine.system, 10, options) is expected


def test_a_process_whose_sockets_cannot_be_seen_gets_no_password(machine: Machine) -> None:
    machine.network("self", tcp=tcp_line("0100007F", 6379, 1))
    assert not _discovery.listens_alone(machine.system, 99, ConnectionOptions(login_port=6379))
