# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""Names of errors from the texts that strerror(3) gives in a server's log.

The texts of glibc and of musl (Alpine images) are both here, whatever C library this Python runs on: a log
in a container comes from the container's library. Redis never sets LC_MESSAGES, so that the texts are English.
Sources: glibc ``sysdeps/gnu/errlist.h``, musl ``src/errno/__strerror.h``.
"""

from __future__ import annotations

TEXTS_BY_NAME: dict[str, tuple[str, ...]] = {
    "E2BIG": ("Argument list too long",),
    "EACCES": ("Permission denied",),
    "EAGAIN": ("Resource temporarily unavailable",),
    "EBADF": ("Bad file descriptor",),
    "EBUSY": ("Device or resource busy", "Resource busy"),
    "ECANCELED": ("Operation canceled",),
    "ECHILD": ("No child processes", "No child process"),
    "ECONNREFUSED": ("Connection refused",),
    "ECONNRESET": ("Connection reset by peer",),
    "EDEADLK": ("Resource deadlock avoided", "Resource deadlock would occur"),
    "EDQUOT": ("Disk quota exceeded", "Quota exceeded"),
    "EEXIST": ("File exists",),
    "EFAULT": ("Bad address",),
    "EFBIG": ("File too large",),
    "EHOSTDOWN": ("Host is down",),
    "EHOSTUNREACH": ("No route to host", "Host is unreachable"),
    "EINTR": ("Interrupted system call",),
    "EINVAL": ("Invalid argument",),
    "EIO": ("Input/output error", "I/O error"),
    "EISDIR": ("Is a directory",),
    "EKEYEXPIRED": ("Key has expired",),
    "ELOOP": ("Too many levels of symbolic links", "Symbolic link loop"),
    "EMFILE": ("Too many open files", "No file descriptors available"),
    "EMLINK": ("Too many links",),
    "ENAMETOOLONG": ("File name too long", "Filename too long"),
    "ENFILE": ("Too many open files in system",),
    "ENODATA": ("No data available",),
    "ENODEV": ("No such device",),
    "ENOENT": ("No such file or directory",),
    "ENOKEY": ("Required key not available",),
    "ENOLCK": ("No locks available",),
    "ENOLINK": ("Link has been severed",),
    "ENOMEDIUM": ("No medium found",),
    "ENOMEM": ("Cannot allocate memory", "Out of memory"),
    "ENOSPC": ("No space left on device",),
    "ENOSYS": ("Function not implemented",),
    "ENOTCONN": ("Transport endpoint is not connected", "Socket not connected"),
    "ENOTDIR": ("Not a directory",),
    "ENOTEMPTY": ("Directory not empty",),
    "ENXIO": ("No such device or address",),
    "EOPNOTSUPP": ("Operation not supported", "Not supported"),
    "EOVERFLOW": ("Value too large for defined data type", "Value too large for data type"),
    "EPERM": ("Operation not permitted",),
    "EPIPE": ("Broken pipe",),
    "EPROTO": ("Protocol error",),
    "EREMOTEIO": ("Remote I/O error",),
    "EROFS": ("Read-only file system",),
    "ESRCH": ("No such process",),
    "ESTALE": ("Stale file handle", "Stale NFS file handle"),
    "ETIMEDOUT": ("Connection timed out", "Operation timed out"),
    "ETXTBSY": ("Text file busy",),
    "EUCLEAN": ("Structure needs cleaning",),
    "EXDEV": ("Invalid cross-device link", "Cross-device link"),
}

NAMES_BY_TEXT: dict[str, str] = {text: name for name, texts in TEXTS_BY_NAME.items() for text in texts}


def errno_name(text: str | None) -> str | None:
    """The name (``ENOSPC``) of an error text, or None for one that is not known.

    ``Success`` (glibc) and ``No error information`` (musl) name no error: a module or an inner layer
    reported a failure without an errno.
    """
    if text is None:
        return None
    return NAMES_BY_TEXT.get(text.strip())
