# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""The servers of this machine, found in /proc, and where each can be asked."""

from __future__ import annotations

import os
import re
import socket
import struct
import typing as t

from ansible_collections.redisops.persistence.plugins.module_utils._client import ConnectionOptions
from ansible_collections.redisops.persistence.plugins.module_utils._config_file import read_password, read_settings
from ansible_collections.redisops.persistence.plugins.module_utils._proc_text import parse_fields
from ansible_collections.redisops.persistence.plugins.module_utils._read_as import (
    identity_from_status,
    is_readable,
    open_regular,
    reads_as_others,
)
from ansible_collections.redisops.persistence.plugins.module_utils._server_process import (
    CHILD_TITLE,
    Process,
    read_process,
)
from ansible_collections.redisops.persistence.plugins.module_utils._system import Gaps, System, clean_text

SERVER_LIMIT = 4096
DESCRIPTOR_LIMIT = 65536
SOCKET_TABLE_LIMIT_BYTES = 4 * 1024 * 1024
"""Listening sockets come first in /proc/net/tcp (net/ipv4/tcp_ipv4.c:tcp_get_idx), so a cut loses none of them."""

CLUSTER_BUS_OFFSET = 10000
"""cluster.h:CLUSTER_PORT_INCR."""

START_TOLERANCE_SECONDS = 5
DEFAULT_CLOCK_TICKS = 100

CONFIG_FILES = (
    "/etc/redis/redis.conf",
    "/etc/redis/{port}.conf",
    "/etc/redis/redis-{port}.conf",
    "/etc/redis/redis_{port}.conf",
    "/etc/redis.conf",
    "/etc/valkey/valkey.conf",
    "/etc/valkey/valkey-{port}.conf",
    "/etc/valkey.conf",
    "/etc/keydb/keydb.conf",
    "/usr/local/etc/redis/redis.conf",
    "/usr/local/etc/redis.conf",
    "/opt/bitnami/redis/etc/redis.conf",
)
"""Where distributions and images put it. One is believed only where its port is the server's own."""

UNIT_DIRECTORIES = ("/etc/systemd/system", "/run/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system")

Address = tuple


class Sockets(t.NamedTuple):
    """Listening sockets of one network namespace, by inode."""

    tcp: dict[str, tuple[str, int]]
    unix: dict[str, str]


# --- processes ------------------------------------------------------------------------------------------------------


def find_processes(system: System) -> list[Process]:
    """Processes that are servers, by pid. Not their forked children, not the dead."""
    found: dict[int, Process] = {}
    parents: dict[int, int] = {}
    for entry in system.list_directory("/proc"):
        if not entry.isdigit():
            continue
        process = read_process(system, int(entry))
        if process is None:
            continue
        state, parent = _read_state(system, process.pid)
        if state in ("Z", "X"):
            continue
        found[process.pid] = process
        parents[process.pid] = parent
    servers = [
        process
        for pid, process in sorted(found.items())
        if not CHILD_TITLE.match(process.title)
        and not (parents[pid] in found and found[parents[pid]].command == process.command)
    ]
    return servers[:SERVER_LIMIT]


def _read_state(system: System, pid: int) -> tuple[str, int]:
    """(state, parent) of /proc/PID/stat; the name in it may hold spaces and brackets."""
    text = system.try_read_text(f"/proc/{pid}/stat", 4096) or ""
    rest = text.rpartition(")")[2].split()
    if len(rest) < 2 or not rest[1].isdigit():
        return "X", 0
    return rest[0], int(rest[1])


# --- sockets --------------------------------------------------------------------------------------------------------


def parse_tcp_table(text: str) -> dict[str, tuple[str, int]]:
    """Listening sockets of /proc/net/tcp or tcp6: {inode: (address, port)}. State 0A is LISTEN."""
    found = {}
    for line in text.splitlines()[1:]:
        parts = line.split()
        if len(parts) < 10 or parts[3] != "0A":
            continue
        address, _colon, port = parts[1].partition(":")
        try:
            found[parts[9]] = (decode_address(address), int(port, 16))
        except (ValueError, struct.error, OSError):
            continue
    return found


def decode_address(text: str) -> str:
    """``0100007F`` as 127.0.0.1: 32-bit words in the machine's own byte order."""
    words = [int(text[index : index + 8], 16) for index in range(0, len(text), 8)]
    packed = struct.pack(f"={len(words)}I", *words)
    return socket.inet_ntop(socket.AF_INET if len(packed) == 4 else socket.AF_INET6, packed)


def parse_unix_table(text: str) -> dict[str, str]:
    """Listening sockets with a path of /proc/net/unix: {inode: path}. The flag 00010000 is __SO_ACCEPTCON."""
    found = {}
    for line in text.splitlines()[1:]:
        parts = line.split(None, 7)
        if len(parts) == 8 and parts[3] == "00010000" and not parts[7].startswith("@"):
            found[parts[6]] = parts[7]
    return found


def read_sockets(system: System, process: str) -> Sockets:
    """The listening sockets of a process's network namespace (``process``: a pid, or ``self``)."""
    tcp: dict[str, tuple[str, int]] = {}
    for name in ("tcp", "tcp6"):
        tcp.update(parse_tcp_table(system.try_read_text(f"/proc/{process}/net/{name}", SOCKET_TABLE_LIMIT_BYTES) or ""))
    unix = parse_unix_table(system.try_read_text(f"/proc/{process}/net/unix", SOCKET_TABLE_LIMIT_BYTES) or "")
    return Sockets(tcp, unix)


def own_inodes(system: System, pid: int) -> set[str] | None:
    """Inodes of a process's sockets; None where we may not look (another user's process)."""
    directory = system.path(f"/proc/{pid}/fd")
    try:
        names = os.listdir(directory)
    except OSError:
        return None
    inodes = set()
    for name in sorted(names, key=lambda text: int(text) if text.isdigit() else 0)[:DESCRIPTOR_LIMIT]:
        try:
            target = system.read_link(f"/proc/{pid}/fd/{name}")
        except OSError:
            continue
        if target.startswith("socket:["):
            inodes.add(target[len("socket:[") : -1])
    return inodes


class Survey:
    """The servers and their sockets, looked at once however many questions are asked about them."""

    def __init__(self, system: System) -> None:
        self.system = system
        self.processes = find_processes(system)
        self.own = read_sockets(system, "self")
        self._own_name = self._namespace("self")
        self._tables: dict[str, Sockets] = {}
        self._inodes: dict[int, set[str] | None] = {}

    def _namespace(self, process: str) -> str | None:
        try:
            return self.system.read_link(f"/proc/{process}/ns/net")
        except OSError:
            return None

    def sockets(self, pid: int) -> tuple[Sockets, bool | None]:
        """(the listening sockets of the process's network namespace, whether it is ours)."""
        name = self._namespace(str(pid))
        if name is None or self._own_name is None:
            return read_sockets(self.system, str(pid)), None
        if name == self._own_name:
            return self.own, True
        if name not in self._tables:
            self._tables[name] = read_sockets(self.system, str(pid))
        return self._tables[name], False

    def inodes(self, pid: int) -> set[str] | None:
        """See :func:`own_inodes`."""
        if pid not in self._inodes:
            self._inodes[pid] = own_inodes(self.system, pid)
        return self._inodes[pid]


# --- where to ask ---------------------------------------------------------------------------------------------------


def title_address(title: str) -> Address | None:
    """The address in a process title: ``redis-server 127.0.0.1:6379 [cluster]``, ``*:6379``, ``unixsocket:/path``."""
    for word in title.split(" ")[1:3]:
        path = word[len("unixsocket:") :] if word.startswith("unixsocket:") else ""
        if path.startswith("/"):
            return ("unix", path)
        match = re.match(r"(\*|\[[0-9A-Fa-f:.]+\]|[0-9A-Fa-f:.]+|-?::\*):(\d{1,5})\Z", word)
        if match and 0 < int(match.group(2)) < 65536:
            return ("tcp", match.group(1).strip("[]"), int(match.group(2)))
    return None


def argument_settings(arguments: t.Sequence[str]) -> tuple[str | None, dict[str, str]]:
    """(configuration file, {parameter: value}) of a command line that was not replaced by a title."""
    config_file = None
    settings: dict[str, str] = {}
    for index, argument in enumerate(arguments[1:], start=1):
        if index == 1 and argument and not argument.startswith("-") and title_address(f"x {argument}") is None:
            # A title has been written over the arguments where the first word holds blanks.
            config_file = argument
        elif argument.startswith("--") and index + 1 < len(arguments):
            settings[argument[2:].lower()] = arguments[index + 1]
    return config_file, settings


def unit_config_file(system: System, pid: int) -> str | None:
    """The configuration file in ExecStart of the process's systemd unit (a title hides the command line)."""
    cgroup = system.try_read_text(f"/proc/{pid}/cgroup", 65536) or ""
    match = re.search(r"/([^/\n]+\.service)$", cgroup, re.MULTILINE)
    if match is None:
        return None
    unit = match.group(1)
    instance = re.match(r"(.+)@(.+)\.service\Z", unit)
    names = [unit, f"{instance.group(1)}@.service"] if instance else [unit]
    for directory in UNIT_DIRECTORIES:
        for name in names:
            text = system.try_read_text(f"{directory}/{name}", 65536)
            found = re.search(r"^ExecStart=[-+!:@]*\S+\s+(/\S+)", text or "", re.MULTILINE)
            if found:
                return (
                    found.group(1)
                    .replace("%i", instance.group(2) if instance else "%i")
                    .replace("%I", instance.group(2) if instance else "%I")
                )
    return None


def find_config_file(system: System, process: Process, ports: t.Collection[int]) -> str | None:
    """Which configuration file the server was started with, as the server sees it; None where nothing tells."""
    root = f"/proc/{process.pid}/root"
    from_arguments, _settings = argument_settings(process.arguments)
    if from_arguments is not None:
        if from_arguments.startswith("/"):
            return from_arguments
        # Relative to where it was started; the working directory is another one as soon as `dir` is set.
        return None
    unit_file = unit_config_file(system, process.pid)
    if unit_file is not None and system.exists(root + unit_file):
        return unit_file
    for pattern in (*CONFIG_FILES, *_beside_the_data(system, process.pid)):
        for port in sorted(ports) if "{port}" in pattern else [0]:
            path = pattern.replace("{port}", str(port))
            if system.exists(root + path) and _listens_on(read_settings(system, root + path), ports):
                return path
    return None


def _beside_the_data(system: System, pid: int) -> list[str]:
    """Where the hand-made installation has its configuration: in the working directory, which is the data's."""
    try:
        directory = system.read_link(f"/proc/{pid}/cwd")
    except OSError:
        return []
    root = _link_or_slash(system, f"/proc/{pid}/root")
    if root != "/" and directory.startswith(root):
        directory = directory[len(root) :] or "/"
    return [os.path.join(directory, name) for name in ("redis.conf", "valkey.conf", "keydb.conf")]


def _link_or_slash(system: System, path: str) -> str:
    try:
        return system.read_link(path)
    except OSError:
        return "/"


def _listens_on(settings: dict[str, str], ports: t.Collection[int]) -> bool:
    """Whether a configuration belongs to a server with these ports."""
    wanted = {settings.get("port", "6379"), settings.get("tls-port", "0")} - {"0"}
    return bool(settings) and any(str(port) in wanted for port in ports)


def server_password(system: System, server: dict[str, t.Any]) -> str | None:
    """The password from the server's own configuration file (only where the user opted in).

    Each file must be one that the server's own user can read: else anyone's process that is called redis-server and
    listens on that port would be handed the real server's password.
    """
    path = server.get("config_file")
    if not path:
        return None
    place = f"/proc/{server['pid']}/root{path}"
    if not reads_as_others(system):
        status = parse_fields(system.try_read_text(f"/proc/{server['pid']}/status", 65536) or "")
        try:
            handle = open_regular(system, place)
        except OSError:
            return None
        try:
            identity = identity_from_status(status)
            if identity.uid != 0 and not is_readable(handle, identity):
                return None
        except OSError:
            return None
        finally:
            os.close(handle)
    return read_password(system, place)


def listens_alone(system: System, pid: int, options: ConnectionOptions, connection: t.Any = None) -> bool:
    """Whether an address leads to this process and to nobody else. What can't be seen means no.

    :param connection: a connected socket, where there is one: a Unix socket tells who listens at its other end.
    """
    inodes = own_inodes(system, pid)
    if inodes is None:
        return False
    through_root = re.match(r"/proc/(\d+)/root(/.*)", options.unix_socket or "")
    table = read_sockets(system, str(pid) if through_root else "self")
    if options.unix_socket:
        path = through_root.group(2) if through_root else options.unix_socket
        wanted = {inode for inode, bound in table.unix.items() if bound in (path, os.path.realpath(path))}
        if connection is not None and _peer_pid(connection) != pid:
            return False
    else:
        hosts = {*_addresses_of(options.login_host), "0.0.0.0", "::"}
        wanted = {
            inode
            for inode, (host, port) in table.tcp.items()
            if port == options.login_port and re.sub(r"^::ffff:", "", host) in hosts
        }
    return bool(wanted) and wanted <= inodes


def _peer_pid(connection: t.Any) -> int | None:
    """Who called listen(2) for the other end of a Unix socket (SO_PEERCRED, unix(7))."""
    try:
        return int(struct.unpack("=3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0])
    except (OSError, AttributeError, struct.error):
        return None


def _addresses_of(host: str) -> set[str]:
    """The addresses that a host name may lead to."""
    try:
        return {host, *(str(entry[4][0]) for entry in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM))}
    except (OSError, UnicodeError):
        return {host}


def discover(system: System, gaps: Gaps, survey: Survey | None = None) -> list[dict[str, t.Any]]:
    """The servers of this machine, by pid.

    ``[{pid, command, title, kind, sentinel, addresses, config_file, network_is_host, tls}]``: ``addresses`` best first,
    each ``("tcp", host, port)`` or ``("unix", path)``; empty (with a gap) where the server can't be reached from here.
    ``tls``: the first address is known to speak TLS.
    """
    seen = survey or Survey(system)
    return [_describe_or_name(system, gaps, seen, process) for process in seen.processes]


def _describe_or_name(system: System, gaps: Gaps, survey: Survey, process: Process) -> dict[str, t.Any]:
    """The rim of one server: it is named at least, and leaves the others alone."""
    try:
        return _describe(system, gaps, survey, process)
    except Exception as error:
        why = f"{type(error).__name__}: {error}"
        gaps.add(f"address of process {process.pid}", why, "Report this as a defect of redisops.persistence.")
        nothing = {"addresses": [], "config_file": None, "network_is_host": None, "tls": False}
        return {**process._asdict(), **nothing}


def _describe(system: System, gaps: Gaps, survey: Survey, process: Process) -> dict[str, t.Any]:
    table, is_host = survey.sockets(process.pid)
    inodes = survey.inodes(process.pid)
    _from_arguments, arguments = argument_settings(process.arguments)
    titled = title_address(process.title)
    listening: list[tuple[str, int]] = []
    paths: list[str] = []
    if inodes is not None:
        listening = [address for inode, address in table.tcp.items() if inode in inodes]
        paths = [path for inode, path in table.unix.items() if inode in inodes]
        if is_host is None and listening:
            is_host = any(inode in survey.own.tcp for inode in inodes if inode in table.tcp)
    ports = {port for _host, port in listening}
    if titled is not None and titled[0] == "tcp":
        ports.add(titled[2])
    config_file = find_config_file(system, process, ports)
    settings = read_settings(system, f"/proc/{process.pid}/root{config_file}") if config_file else {}
    settings.update(arguments)
    if inodes is None:
        gaps.add(
            "the sockets of servers of other users",
            "Permission denied",
            "Run as root (become: true); each address is taken from the process title or the configuration.",
        )
        listening, paths = _configured_addresses(titled, settings)
    addresses, speaks_tls = _order(listening, paths, titled, settings)
    if is_host is False:
        addresses, speaks_tls = _reachable_from_outside(system, gaps, process, addresses), False
    return {
        "pid": process.pid,
        "command": process.command,
        "title": process.title,
        "kind": process.kind,
        "sentinel": process.sentinel,
        "addresses": addresses,
        "config_file": clean_text(config_file) if config_file else None,
        "network_is_host": is_host,
        "tls": speaks_tls,
    }


def _configured_addresses(titled: Address | None, settings: dict[str, str]) -> tuple[list[tuple[str, int]], list[str]]:
    """What the title and the configuration say, where the sockets can't be seen."""
    listening: list[tuple[str, int]] = []
    paths = [settings["unixsocket"]] if settings.get("unixsocket", "").startswith("/") else []
    if titled is not None and titled[0] == "tcp":
        listening.append((titled[1], titled[2]))
    elif titled is not None:
        paths.insert(0, titled[1])
    elif settings or not paths:
        host = (settings.get("bind", "").split() or ["*"])[0].lstrip("-")
        for name, default in (("port", "6379"), ("tls-port", "0")):
            port = settings.get(name, default)
            if port.isdigit() and int(port):
                listening.append((host, int(port)))
    return listening, list(dict.fromkeys(paths))


WILDCARDS = {"*": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "127.0.0.1", "::*": "127.0.0.1"}
"""Where a server that listens everywhere is asked. ``::`` takes IPv4 too, unless it is alone with bindv6only."""


def _order(
    listening: t.Sequence[tuple[str, int]], paths: t.Sequence[str], titled: Address | None, settings: dict[str, str]
) -> tuple[list[Address], bool]:
    """(addresses best first, whether the first one speaks TLS).

    Loopback first (protected mode refuses the others), then a Unix socket (which needs no certificates), then the rest,
    TLS last. The cluster bus is no address: by its offset from another port, or where the main port is known.
    """
    ports = {port for _host, port in listening}
    tls_port = _port(settings.get("tls-port"))
    plain_port = _port(settings.get("port"))
    known = {port for port in (plain_port, tls_port) if port}
    if titled is not None and titled[0] == "tcp":
        known.add(titled[2])
    known &= ports
    wanted = known or {port for port in ports if port - CLUSTER_BUS_OFFSET not in ports}
    has_ipv4 = any(":" not in host for host, _port_number in listening)
    ranked: list[tuple[int, Address]] = []
    for host, port in listening:
        if port not in wanted:
            continue
        target = WILDCARDS.get(host, host)
        if host == "::1" and has_ipv4 and ("127.0.0.1", port) in listening:
            continue
        loopback = target == "::1" or target.startswith("127.")
        secure = port == tls_port and port != plain_port
        ranked.append(((3 if secure else 0 if loopback else 2), ("tcp", target, port)))
    ranked += [(1, ("unix", path)) for path in paths]
    ranked.sort(key=lambda entry: (entry[0], str(entry[1])))
    addresses = list(dict.fromkeys(address for _rank, address in ranked))
    return addresses, bool(ranked) and ranked[0][0] == 3


def _port(text: str | None) -> int | None:
    return int(text) if text and text.isdigit() and int(text) else None


def _reachable_from_outside(
    system: System, gaps: Gaps, process: Process, addresses: t.Sequence[Address]
) -> list[Address]:
    """For a server in another network namespace: its Unix sockets, through the process's root."""
    reachable: list[Address] = []
    for address in addresses:
        path = f"/proc/{process.pid}/root{address[1]}"
        if address[0] == "unix" and address[1].startswith("/") and system.exists(path):
            reachable.append(("unix", path))
    if not reachable:
        inside = ", ".join(f"{address[1]}:{address[2]}" for address in addresses if address[0] == "tcp") or "none seen"
        gaps.add(
            f"address of process {process.pid}",
            f"It runs in another network namespace (a container); its addresses there: {inside}.",
            "Name an address that reaches it (a published port) in redis_instances.",
        )
    return reachable


def connection_mapping(server: dict[str, t.Any], defaults: t.Mapping[str, t.Any]) -> dict[str, t.Any] | None:
    """Connection options for a discovered server over the user's defaults; None where no address reaches it."""
    if not server["addresses"]:
        return None
    mapping = dict(defaults)
    address = server["addresses"][0]
    if address[0] == "unix":
        mapping.update(unix_socket=address[1], tls=False)
    else:
        mapping.update(unix_socket=None, login_host=address[1], login_port=address[2])
        mapping["tls"] = bool(server["tls"] or mapping.get("tls"))
    return mapping


def server_address(server: dict[str, t.Any]) -> str:
    """What a discovered server that can't be reached is called: the address in its title, else its process."""
    titled = title_address(server["title"])
    if titled is None:
        return f"process {server['pid']}"
    return f"unix:{titled[1]}" if titled[0] == "unix" else f"{titled[1]}:{titled[2]}"


# --- which process is it --------------------------------------------------------------------------------------------


def find_pid(
    system: System,
    options: ConnectionOptions,
    redis_facts: t.Mapping[str, t.Any] | None,
    survey: Survey | None = None,
) -> int | None:
    """The process behind an address on this machine; None for a remote server, and where nothing proves one.

    By the owner of the listening socket, cross-checked with INFO process_id (which counts in the server's own pid
    namespace); by process_id alone where sockets can't be read or belong to a port forwarder.
    """
    through_root = re.match(r"/proc/(\d+)/root/", options.unix_socket or "")
    seen = survey or Survey(system)
    processes = seen.processes
    said = (redis_facts or {}).get("process_id")
    if through_root:
        pid = int(through_root.group(1))
        return pid if any(process.pid == pid for process in processes) else None
    if not options.unix_socket and not is_local_host(system, options.login_host):
        return None
    owner = _socket_owner(seen, options)
    if owner is not None and (said is None or namespace_pid(system, owner) in (said, None)):
        return owner
    if said is None:
        return None if options.unix_socket else _by_title(processes, options.login_port)
    return _by_process_id(system, processes, redis_facts or {}, int(said))


def _socket_owner(survey: Survey, options: ConnectionOptions) -> int | None:
    table = survey.own
    if options.unix_socket:
        real = os.path.realpath(options.unix_socket)
        wanted = {inode for inode, path in table.unix.items() if path in (options.unix_socket, real)}
    else:
        wanted = {inode for inode, (_host, port) in table.tcp.items() if port == options.login_port}
    owners = [process.pid for process in survey.processes if wanted & (survey.inodes(process.pid) or set())]
    if len(owners) > 1 and not options.unix_socket:
        # Several servers on one port, each on an address of its own.
        host = "127.0.0.1" if options.login_host == "localhost" else options.login_host
        exact = {inode for inode in wanted if table.tcp[inode][0] == host}
        owners = [pid for pid in owners if exact & (survey.inodes(pid) or set())]
    return owners[0] if len(owners) == 1 else None


def _by_title(processes: t.Sequence[Process], port: int) -> int | None:
    """The one process whose title says the port."""
    found = []
    for process in processes:
        titled = title_address(process.title)
        if titled is not None and titled[0] == "tcp" and titled[2] == port:
            found.append(process.pid)
    return found[0] if len(found) == 1 else None


def _by_process_id(
    system: System, processes: t.Sequence[Process], redis_facts: t.Mapping[str, t.Any], said: int
) -> int | None:
    """The one process with that pid in its own namespace which started when the server says that it did."""
    found = []
    for process in processes:
        if namespace_pid(system, process.pid) != said:
            continue
        started = started_unix(system, process.pid)
        told = redis_facts.get("started_unix")
        if started is None or told is None or abs(started - told) <= START_TOLERANCE_SECONDS:
            found.append(process.pid)
    return found[0] if len(found) == 1 else None


def namespace_pid(system: System, pid: int) -> int | None:
    """The pid in the process's innermost namespace (NSpid of /proc/PID/status, Linux 4.1)."""
    match = re.search(r"^NSpid:\s*(.*)$", system.try_read_text(f"/proc/{pid}/status", 65536) or "", re.MULTILINE)
    numbers = match.group(1).split() if match else []
    return int(numbers[-1]) if numbers and numbers[-1].isdigit() else None


def started_unix(system: System, pid: int) -> float | None:
    """When a process started: field 22 of /proc/PID/stat, in ticks since boot."""
    boot = re.search(r"^btime (\d+)$", system.try_read_text("/proc/stat", SOCKET_TABLE_LIMIT_BYTES) or "", re.MULTILINE)
    rest = (system.try_read_text(f"/proc/{pid}/stat", 4096) or "").rpartition(")")[2].split()
    if boot is None or len(rest) < 20 or not rest[19].isdigit():
        return None
    try:
        ticks = os.sysconf("SC_CLK_TCK")
    except (ValueError, OSError):
        ticks = DEFAULT_CLOCK_TICKS
    return int(boot.group(1)) + int(rest[19]) / ticks


def is_local_host(system: System, host: str) -> bool:
    """Whether a host name or address is this machine's own."""
    if host in ("localhost", "0.0.0.0", "::", "::1") or host.startswith("127."):
        return True
    own = local_addresses(system)
    if host in own:
        return True
    try:
        found = {str(entry[4][0]) for entry in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)}
    except (OSError, UnicodeError):
        return False
    return any(address in own or address == "::1" or address.startswith("127.") for address in found)


def local_addresses(system: System) -> set[str]:
    """This machine's addresses: ``host LOCAL`` entries of /proc/net/fib_trie, and /proc/net/if_inet6."""
    found = set()
    last = ""
    for line in (system.try_read_text("/proc/net/fib_trie") or "").splitlines():
        match = re.match(r"\s*\|-- (\S+)$", line)
        if match:
            last = match.group(1)
        elif "/32 host LOCAL" in line:
            found.add(last)
    for line in (system.try_read_text("/proc/net/if_inet6") or "").splitlines():
        text = line.split(" ", 1)[0]
        if len(text) == 32:
            found.add(socket.inet_ntop(socket.AF_INET6, bytes.fromhex(text)))
    return found
