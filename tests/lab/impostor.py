# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A local user's process that gives itself out for a server, to be told what that user may not know."""

from __future__ import annotations

import os
import subprocess
import typing as t
from pathlib import Path

from .servers import free_port, until

# The tests' own may lie where no other user comes.
SYSTEM_PYTHON = Path("/usr/bin/python3").resolve()

# Python reads the file as a program, the collector reads it as a configuration: that is the lines between the quotes.
PROGRAM = '''#
"""
{lines}
"""
import socket
import threading

INFO = "# Server\\r\\nredis_version:7.0.15\\r\\nrun_id:{run_id}\\r\\n# Persistence\\r\\nloading:0\\r\\n"
INFO += "rdb_last_bgsave_status:err\\r\\nrdb_changes_since_last_save:5\\r\\nrdb_bgsave_in_progress:0\\r\\n"
INFO += "rdb_last_save_time:1700000000\\r\\n# Replication\\r\\nrole:master\\r\\n"


def reply(command):
    word = command.upper()
    if b"AUTH" in word:
        return b"+OK\\r\\n"
    if b"INFO" in word:
        return b"$%d\\r\\n%s\\r\\n" % (len(INFO), INFO.encode())
    if b"CONFIG" in word:
        pairs = {pairs!r}
        parts = [text.encode() for pair in pairs.items() for text in pair]
        return b"*%d\\r\\n" % len(parts) + b"".join(b"$%d\\r\\n%s\\r\\n" % (len(part), part) for part in parts)
    return b"-ERR unknown command\\r\\n"


def serve(connection):
    while True:
        data = connection.recv(65536)
        if not data:
            return
        with open({heard!r}, "ab") as stream:
            stream.write(data)
        connection.sendall(reply(data))


listener = socket.socket()
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.bind(("127.0.0.1", {port}))
listener.listen(16)
while True:
    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
'''


class Impostor:
    """A process called ``redis-server`` with the configuration file ``lines``; it writes down what it is sent."""

    def __init__(
        self,
        base: Path,
        uid: int,
        lines: t.Sequence[str],
        *,
        name: str = "redis-server",
        settings: t.Mapping[str, str] | None = None,
        port: int | None = None,
        groups: t.Sequence[int] = (),
    ) -> None:
        base.mkdir(mode=0o755)
        os.chown(base, uid, uid)
        self.uid = uid
        self.port = port or free_port()
        self.heard_path = base / "heard"
        self.program = base / "program.conf"
        self.directory = base
        pairs = {"dir": str(base), "dbfilename": "dump.rdb", "save": "3600 1", "logfile": "", **(settings or {})}
        text = "\n".join([f"port {self.port}", *lines])
        program = PROGRAM.format(
            lines=text, pairs=pairs, heard=str(self.heard_path), port=self.port, run_id="0123456789" * 4
        )
        self.program.write_text(program)
        os.chown(self.program, uid, uid)
        binary = base / name
        binary.symlink_to(SYSTEM_PYTHON)
        arguments = [str(binary), str(self.program)]
        self.process = subprocess.Popen(
            arguments,
            cwd=base,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            user=uid,
            group=uid,
            extra_groups=list(groups),
        )
        until(self._listens, "the impostor does not listen")

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def _listens(self) -> bool:
        if self.process.poll() is not None:
            raise RuntimeError(f"the impostor ended with {self.process.returncode}")
        wanted = f"0100007F:{self.port:04X} 00000000:0000 0A"
        return wanted in Path("/proc/net/tcp").read_text()

    def heard(self) -> bytes:
        """Everything that it was sent."""
        return self.heard_path.read_bytes() if self.heard_path.exists() else b""

    def stop(self) -> None:
        self.process.kill()
        self.process.wait(10)
