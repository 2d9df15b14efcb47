# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""A file that is there under its name only when it is whole, written without taking a file system's last bytes.

Where the file system can, the file has no name at all until then (O_TMPFILE), so that not even SIGKILL leaves one.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import typing as t

from ansible_collections.redisops.persistence.plugins.module_utils._replication import TransferFailed
from ansible_collections.redisops.persistence.plugins.module_utils._rescue_place import Place, free_bytes
from ansible_collections.redisops.persistence.plugins.module_utils._system import System, clean_text

SPACE_CHECK_BYTES = 8 * 1024 * 1024
FILE_MODE = 0o600
READ_BYTES = 1024 * 1024


class NewFile:
    """A file in the making. ``size_bytes`` and ``sha256`` are of what was written."""

    def __init__(self, system: System, place: Place, name: str, reserve_bytes: int, maximum_bytes: int | None) -> None:
        self._system = system
        self._place = place
        self._name = name
        self._reserve = reserve_bytes
        self._maximum = maximum_bytes
        self._hash = hashlib.sha256()
        self._checked_at = 0
        self._partial: str | None = None
        self.size_bytes = 0
        self.handle = self._create()

    def _create(self) -> int:
        """Raises OSError."""
        flags = os.O_RDWR | os.O_CLOEXEC
        try:
            return os.open(".", flags | os.O_TMPFILE, FILE_MODE, dir_fd=self._place.handle)
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EISDIR, errno.ENOENT, errno.EINVAL):
                raise
        partial = f".{self._name}.partial"
        handle = os.open(partial, flags | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, FILE_MODE, dir_fd=self._place.handle)
        self._partial = partial
        return handle

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()

    @property
    def path(self) -> str:
        """A path for programs that we start."""
        return f"/proc/{os.getpid()}/fd/{self.handle}"

    def write(self, data: bytes) -> None:
        """Append. Raises :class:`TransferFailed` where the space runs out."""
        if self._maximum is not None and self.size_bytes + len(data) > self._maximum:
            raise TransferFailed("too_large", f"The file would be larger than {self._maximum} bytes (maximum_bytes).")
        if self.size_bytes - self._checked_at >= SPACE_CHECK_BYTES or not self.size_bytes:
            self._checked_at = self.size_bytes
            free = free_bytes(self._system, self._place.handle)
            if free < self._reserve + SPACE_CHECK_BYTES:
                raise TransferFailed(
                    "no_space",
                    f"{clean_text(self._place.path)} has {free} bytes left after {self.size_bytes} bytes of the file: "
                    f"the last {self._reserve} bytes (minimum_free_bytes) are not touched.",
                )
        try:
            self._write_all(data)
        except OSError as error:
            raise TransferFailed(
                "no_space" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "write",
                f"Writing to {clean_text(self._place.path)} failed after {self.size_bytes} bytes: {error.strerror}.",
            ) from None

    def _write_all(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            written = os.write(self.handle, view)
            self._hash.update(view[:written])
            self.size_bytes += written
            view = view[written:]

    def flush(self) -> None:
        """On the disk when this returns. Raises :class:`TransferFailed`."""
        try:
            os.fsync(self.handle)
        except OSError as error:
            message = f"Writing to {clean_text(self._place.path)} failed: {error.strerror}."
            raise TransferFailed("write", message) from None

    def publish(self) -> None:
        """Give the file its name, unless there is one of that name. Raises OSError (FileExistsError)."""
        self.publish_as(self._name)

    def publish_as(self, name: str) -> None:
        """Give the file another name. Raises OSError (FileExistsError)."""
        directory = self._place.handle
        if self._partial is None:
            os.link(f"/proc/self/fd/{self.handle}", name, dst_dir_fd=directory)
        else:
            os.link(self._partial, name, src_dir_fd=directory, dst_dir_fd=directory, follow_symlinks=False)
            os.unlink(self._partial, dir_fd=directory)
            self._partial = None
        os.fsync(directory)

    def close(self) -> None:
        """Let go. What was not published is gone."""
        if self._partial is not None:
            with contextlib.suppress(OSError):
                os.unlink(self._partial, dir_fd=self._place.handle)
            self._partial = None
        if self.handle >= 0:
            os.close(self.handle)
            self.handle = -1

    def __enter__(self) -> NewFile:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()


def hash_of(handle: int) -> tuple[str, int]:
    """(SHA-256, bytes) of an open file, from its start. Raises OSError."""
    digest = hashlib.sha256()
    size = 0
    while True:
        data = os.pread(handle, READ_BYTES, size)
        if not data:
            return digest.hexdigest(), size
        digest.update(data)
        size += len(data)


def copy_bytes(source: int, write: t.Callable[[bytes], None]) -> None:
    """Hand an open file to a writer, from its start. Raises OSError."""
    offset = 0
    while True:
        data = os.pread(source, READ_BYTES, offset)
        if not data:
            return
        write(data)
        offset += len(data)
