# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""A conversation with one Redis or Valkey server: through redis-py where it can be imported, else through redis-cli.

Both back ends answer alike and fail alike (:class:`RedisFailure`). A failing server refuses PING, so nothing here sends
PING, and no command but AUTH is ever sent that the caller did not ask for. Protocol RESP2, one connection attempt,
no retries.
"""

from __future__ import annotations

import errno
import os
import re
import stat
import time
import typing as t

from ansible_collections.redisops.persistence.plugins.module_utils._bounded_socket import (
    REPLY_LIMIT_BYTES,
    Allowance,
    bounded_class,
)
from ansible_collections.redisops.persistence.plugins.module_utils._system import CommandResult, System, to_utf8

Reply = t.Union[str, int, list, None]

CLI_NAMES = ("redis-cli", "valkey-cli", "keydb-cli")
CLI_DIRECTORIES = ("/usr/local/bin", "/usr/bin", "/bin", "/usr/local/sbin", "/usr/sbin", "/opt/redis/bin", "/snap/bin")
SERVER_COMMANDS = ("redis-server", "valkey-server", "keydb-server", "redis-sentinel", "valkey-sentinel")
COMMAND_LENGTH = 15
"""Characters of a command's name that the kernel keeps (TASK_COMM_LEN - 1)."""

MASK = "********"

STATE_OF_REPLY = {
    "NOAUTH": "auth_required",
    "WRONGPASS": "auth_required",
    "DENIED": "denied",
    "LOADING": "loading",
    "MASTERDOWN": "masterdown",
    "NOPERM": "not_permitted",
    "UNKNOWN_COMMAND": "not_permitted",
}
"""What the refusal of the first command says about the connection (schema: ``connection.state``)."""

NO_PASSWORD_WANTED = ("no password is set", "without any password configured")
"""AUTH at a server without a password: up to 5.0 ``Client sent AUTH, but no password is set``, since 6.0
``AUTH <password> called without any password configured for the default user``. The connection works all the same."""


class ConnectionOptions(t.NamedTuple):
    """How to reach one server. Names as in the modules' options."""

    login_host: str = "127.0.0.1"
    login_port: int = 6379
    login_user: str | None = None
    login_password: str | None = None
    unix_socket: str | None = None
    tls: bool = False
    ca_certs: str | None = None
    client_cert_file: str | None = None
    client_key_file: str | None = None
    validate_certs: bool = True
    timeout_seconds: float = 5.0
    may_be_told: t.Callable[[t.Any], bool] | None = None
    """Asked right before a password is sent that was read from a server's own configuration: whether that very server
    listens here. Gets the connected socket, or None where another program will connect."""

    @classmethod
    def from_mapping(cls, mapping: t.Mapping[str, t.Any]) -> ConnectionOptions:
        """From a module's parameters: other names are ignored, None means the default."""
        names = [name for name in cls._fields if name != "may_be_told" and mapping.get(name) is not None]
        return cls(**{name: mapping[name] for name in names})

    @property
    def address(self) -> str:
        """``host:port`` or ``unix:/path``, as the evidence document names an instance."""
        if self.unix_socket:
            return f"unix:{self.unix_socket}"
        host = f"[{self.login_host}]" if ":" in self.login_host else self.login_host
        return f"{host}:{self.login_port}"

    @property
    def is_loopback(self) -> bool:
        """Whether the address can't leave this machine (packets are not lost on the way)."""
        host = self.login_host
        return bool(self.unix_socket) or host in ("localhost", "::1") or host.startswith("127.")


class RedisFailure(Exception):
    """A command, or the connection, failed.

    :ivar state: a ``connection.state`` of the evidence document, or ``refused``: the server answered with an error.
    :ivar kind: the error's own code (``NOPERM``, ``ERR``, ``UNKNOWN_COMMAND``), or a name of what went wrong.
    :ivar message: text without secrets.
    :ivar client: the back end that met it.
    """

    def __init__(self, state: str, kind: str, message: str, client: str | None = None) -> None:
        super().__init__(message)
        self.state = state
        self.kind = kind
        self.message = message
        self.client = client


class Client:
    """What both back ends offer. ``warnings`` is what went not quite as asked."""

    kind = ""

    def __init__(self, options: ConnectionOptions) -> None:
        self.options = options
        self.warnings: list[str] = []
        self.give_up_at: float | None = None
        """When the whole conversation has to be over, by :func:`time.monotonic`; None: each reply has its own bound."""

    def seconds_for_reply(self) -> float:
        """How long the next reply may take, from its command to its last byte. Raises :class:`RedisFailure`."""
        seconds = self.options.timeout_seconds
        if self.give_up_at is not None:
            seconds = min(seconds, self.give_up_at - time.monotonic())
        if seconds <= 0:
            raise self.failure("timeout", "budget", "The server answers too slowly to be asked more.")
        return seconds

    def command(self, *arguments: str) -> Reply:
        """Send one command. Raises :class:`RedisFailure`; after a state other than ``refused`` the client is dead."""
        raise NotImplementedError

    def close(self) -> None:
        """Forget the connection."""

    def failure(self, state: str, kind: str, message: str) -> RedisFailure:
        """A failure whose text is free of the password."""
        return RedisFailure(state, kind, mask_secret(message, self.options), self.kind)

    def refusal(self, text: str) -> RedisFailure:
        """A failure from the text of an error reply (without its ``-``)."""
        return self.failure("refused", refusal_kind(text), text)


def mask_secret(text: str, options: ConnectionOptions) -> str:
    """The text with the password made unreadable."""
    return text.replace(options.login_password, MASK) if options.login_password else text


def refusal_kind(text: str) -> str:
    """The code of an error reply. Where Redis says only ERR but the meaning is known, a name for the meaning."""
    if re.match(r"ERR unknown (?:sub)?command", text, re.IGNORECASE):
        return "UNKNOWN_COMMAND"
    if text.startswith("ERR invalid password"):  # up to 5.0
        return "WRONGPASS"
    if text.startswith("ERR operation not permitted"):  # up to 2.6
        return "NOAUTH"
    if "max number of clients reached" in text:
        return "MAX_CLIENTS"
    match = re.match(r"[A-Z][A-Z0-9_]*(?=\s|$)", text)
    return match.group() if match else "ERR"


def check_listener(options: ConnectionOptions, connection: t.Any = None) -> None:
    """Raise :class:`RedisFailure` where the password is one server's, and another process would be told it."""
    if options.may_be_told is not None and not options.may_be_told(connection):
        raise RedisFailure(
            "auth_required",
            "other_listener",
            f"The password of the configuration file was not sent: what listens at {options.address} is not shown to "
            "be the server that the file belongs to.",
        )


def connection_failure(failure: RedisFailure) -> RedisFailure:
    """The same failure with the connection's state, where it came from AUTH or from the first command."""
    if failure.state != "refused":
        return failure
    state = STATE_OF_REPLY.get(failure.kind, "error")
    return RedisFailure(state, failure.kind, failure.message, failure.client)


LONGEST_TIMEOUT_SECONDS = 86400.0


def why_unusable(options: ConnectionOptions) -> str | None:
    """What no library takes, in words; None for options that can be tried. ``inf`` and ``nan`` are numbers too."""
    if not options.unix_socket and not 0 < options.login_port < 65536:
        return f"login_port {options.login_port} is no port."
    if not 0 < options.timeout_seconds <= LONGEST_TIMEOUT_SECONDS:
        return f"timeout_seconds {options.timeout_seconds:g} must be a number up to {LONGEST_TIMEOUT_SECONDS:g}."
    return None


def connect(options: ConnectionOptions, system: System, prefer: str | None = None) -> Client:
    """Open a connection and authenticate.

    :param prefer: ``redis-py`` or ``redis-cli`` to allow no other; None: redis-py, else redis-cli or valkey-cli.
    :raises RedisFailure: with a ``connection.state``. redis-cli connects anew with each command, so there the first
        command fails.
    """
    problem = why_unusable(options)
    if problem is not None:
        raise RedisFailure("unreachable", "connect", problem)
    check_listener(options)
    if prefer != "redis-cli":
        library = import_redis_py()
        if library is not None:
            return RedisPyClient.open(options, library)
    if prefer != "redis-py":
        found = find_cli(system)
        if found is not None:
            return CliClient(options, system, found)
    raise RedisFailure(
        "no_client",
        "no_client",
        "Neither the Python library redis (redis-py) for this Python nor redis-cli or valkey-cli was found "
        "(in PATH or beside the executable of a running server); install one of them.",
    )


# --- redis-py -------------------------------------------------------------------------------------------------------


def import_redis_py() -> t.Any | None:
    """The library, or None. Imported only when needed: that takes 0.16 s."""
    try:
        import redis
        import redis.connection
        import redis.exceptions
    except ImportError:
        return None
    return redis


CODE_OF_CLASS = {
    "AuthenticationError": "NOAUTH",
    "BusyLoadingError": "LOADING",
    "ExecAbortError": "EXECABORT",
    "MasterDownError": "MASTERDOWN",
    "NoPermissionError": "NOPERM",
    "NoScriptError": "NOSCRIPT",
    "OutOfMemoryError": "OOM",
    "ReadOnlyError": "READONLY",
}
"""redis-py cuts the code off the text of the errors that it has a class for (``_parsers/base.py:parse_error``)."""


class RedisPyClient(Client):
    """One connection of redis-py (3.4 or newer), used below its command layer: that one would reconnect and convert."""

    kind = "redis-py"

    def __init__(self, options: ConnectionOptions, library: t.Any) -> None:
        super().__init__(options)
        self._library = library
        self._connection: t.Any = None
        self._allowance = Allowance(options.timeout_seconds)

    @classmethod
    def open(cls, options: ConnectionOptions, library: t.Any) -> RedisPyClient:
        """Connect and authenticate. Raises :class:`RedisFailure`."""
        client = cls(options, library)
        client._connect()
        client._authenticate()
        return client

    def _connect(self) -> None:
        self._allowance.renew(self.seconds_for_reply())
        try:
            self._connection = make_connection(self.options, self._library.connection, self._allowance)
            self._connection.connect()
        except (self._library.exceptions.RedisError, OSError, ValueError) as error:
            raise self._connect_failure(error) from None

    def _authenticate(self) -> None:
        options = self.options
        if options.login_password is None and options.login_user is None:
            return
        try:
            check_listener(options, getattr(self._connection, "_sock", None))
        except RedisFailure:
            self.close()
            raise
        credentials = [options.login_password or ""]
        if options.login_user:
            credentials.insert(0, options.login_user)
        try:
            self.command("AUTH", *credentials)
        except RedisFailure as failure:
            if any(text in failure.message for text in NO_PASSWORD_WANTED):
                self.warnings.append("A password was given, but the server wants none.")
                # redis-py hangs up after an error that it has a class of ConnectionError for.
                self.close()
                self._connect()
                return
            self.close()
            if failure.kind == "NOAUTH":  # redis-py has one class for both; AUTH itself can only be answered WRONGPASS
                failure.kind = "WRONGPASS"
            raise connection_failure(failure) from None

    def command(self, *arguments: str) -> Reply:
        if self._connection is None:
            raise self.failure("error", "closed", "The connection is closed.")
        exceptions = self._library.exceptions
        self._allowance.renew(self.seconds_for_reply())
        try:
            self._connection.send_command(*arguments, check_health=False)
            return decode_reply(self._connection.read_response())
        except (exceptions.RedisError, OSError, UnicodeError) as error:
            raise self._command_failure(error) from None
        except (
            RecursionError,
            MemoryError,
            ArithmeticError,
            AttributeError,
            LookupError,
            TypeError,
            ValueError,
        ) as error:
            # Lengths that are none, arrays without end in arrays: the library trusts its server.
            self.close()
            raise garbage_failure(self, f"{type(error).__name__}: {error_text(error)}") from None

    def close(self) -> None:
        if self._connection is not None:
            self._connection.disconnect()
            self._connection = None

    def _command_failure(self, error: Exception) -> RedisFailure:
        exceptions = self._library.exceptions
        if self._allowance.exceeded:
            self.close()
            return long_reply_failure(self)
        text = full_reply_text(error, exceptions)
        code = reply_code(error)
        lost = isinstance(error, (exceptions.ConnectionError, exceptions.TimeoutError, OSError))
        if code or isinstance(error, exceptions.ResponseError) or "max number of clients" in text:
            refusal = self.refusal(text)
            if lost:
                self.close()
            return refusal
        self.close()
        if isinstance(error, exceptions.InvalidResponse) or "Protocol Error" in text:
            return garbage_failure(self, text)
        if isinstance(error, (exceptions.TimeoutError, TimeoutError)):
            return timeout_failure(self)
        return self._lost_failure(error, text)

    def _lost_failure(self, error: Exception, text: str) -> RedisFailure:
        system_error = find_system_error(error)
        if is_tls_error(system_error):
            return self.failure("tls_error", "tls_failed", tls_message(system_error, self.options))
        return closed_failure(self, text)

    def _connect_failure(self, error: Exception) -> RedisFailure:
        """Why no connection came about."""
        exceptions = self._library.exceptions
        self.close()
        text = error_text(error)
        system_error = find_system_error(error)
        if is_tls_error(system_error):
            return self.failure("tls_error", tls_kind(system_error), tls_message(system_error, self.options))
        if isinstance(error, (exceptions.TimeoutError, TimeoutError)) or isinstance(system_error, TimeoutError):
            if self.options.is_loopback:
                return timeout_failure(self)
            return self.failure(
                "unreachable", "connect_timeout", f"No connection in {self.options.timeout_seconds:g} seconds."
            )
        if self.options.tls and isinstance(system_error, FileNotFoundError):
            return self.failure("tls_error", "certificate_file", f"A certificate or key file is missing: {text}")
        if isinstance(error, ValueError) or (not system_error and not isinstance(error, exceptions.ConnectionError)):
            return self.failure("error", "client", text)
        return unreachable_failure(self, system_error, text)


def make_connection(options: ConnectionOptions, connection_module: t.Any, allowance: Allowance) -> t.Any:
    """A connection of redis-py, whatever its version: each set of arguments is what one generation knows.

    It gets no credentials: AUTH is sent by us, so that its refusal is seen as it is. ``driver_info=None`` (8.0+) and
    ``lib_name=None`` (5.0+) keep it from sending CLIENT SETINFO.
    """
    arguments: dict[str, t.Any] = {
        "socket_timeout": options.timeout_seconds,
        "socket_connect_timeout": options.timeout_seconds,
        "retry_on_timeout": False,
        "health_check_interval": 0,
    }
    if options.unix_socket:
        connection_class = connection_module.UnixDomainSocketConnection
        arguments["path"] = options.unix_socket
    else:
        arguments.update(host=options.login_host, port=options.login_port)
        connection_class = connection_module.SSLConnection if options.tls else connection_module.Connection
        if options.tls:
            arguments.update(
                ssl_keyfile=options.client_key_file,
                ssl_certfile=options.client_cert_file,
                ssl_ca_certs=options.ca_certs,
                ssl_cert_reqs="required" if options.validate_certs else "none",
                ssl_check_hostname=options.validate_certs,
            )
    connection_class = bounded_class(connection_class, allowance)
    generations: list[dict[str, t.Any]] = [
        {"protocol": 2, "driver_info": None},
        {"protocol": 2, "lib_name": None, "lib_version": None},
        {},
    ]
    for extra in generations:
        try:
            return connection_class(**arguments, **extra)
        except TypeError:
            continue
    # Before 4.0 a Unix socket has no connect time-out of its own.
    arguments.pop("socket_connect_timeout")
    return connection_class(**arguments)


def decode_reply(reply: t.Any) -> Reply:
    """Bytes as text that JSON can carry; an error inside an array as its text."""
    if isinstance(reply, bytes):
        return to_utf8(reply)
    if isinstance(reply, (list, tuple)):
        return [decode_reply(part) for part in reply]
    if isinstance(reply, bool) or reply is None or isinstance(reply, (int, str)):
        return reply
    return str(reply)


def error_text(error: Exception) -> str:
    """An exception as text that JSON can carry."""
    return to_utf8(str(error).encode("utf-8", errors="surrogateescape")) or type(error).__name__


def reply_code(error: Exception) -> str | None:
    """The code that redis-py cut off: kept in ``status_code`` since 8.0, before that only told by the class."""
    return getattr(error, "status_code", None) or CODE_OF_CLASS.get(type(error).__name__)


def full_reply_text(error: Exception, exceptions: t.Any) -> str:
    """An error reply as the server sent it. A bare ``-ERR`` (a failed fork) reaches us without any text."""
    text = str(error)
    code = reply_code(error)
    if code is None and error.__class__ is exceptions.ResponseError and not re.match(r"[A-Z][A-Z0-9_]+(?: |$)", text):
        code = "ERR"
    if code is not None and text != code and not text.startswith(f"{code} "):
        text = f"{code} {text}".strip()
    return to_utf8((text or type(error).__name__).encode("utf-8", errors="surrogateescape"))


def find_system_error(error: BaseException | None) -> OSError | None:
    """The operating system's error that redis-py wrapped."""
    for _depth in range(8):
        if error is None:
            return None
        # redis-py's own TimeoutError and ConnectionError are no OSErrors.
        if isinstance(error, OSError):
            return error
        error = error.__cause__ or error.__context__
    return None


def is_tls_error(error: OSError | None) -> bool:
    """Whether TLS itself went wrong (ssl.SSLError, without importing ssl)."""
    return error is not None and any(base.__name__ == "SSLError" for base in type(error).__mro__)


def tls_kind(error: OSError | None) -> str:
    return "certificate" if error is not None and "CERTIFICATE_VERIFY_FAILED" in str(error) else "tls_failed"


def tls_message(error: OSError | None, options: ConnectionOptions) -> str:
    text = str(error)
    if "WRONG_VERSION_NUMBER" in text or "RECORD_LAYER_FAILURE" in text:
        return f"The port does not speak TLS ({text})."
    if "CERTIFICATE_VERIFY_FAILED" in text:
        return f"The server's certificate was not accepted ({text})."
    if "ALERT" in text.upper():
        hint = "" if options.client_cert_file else " It may want a client certificate."
        return f"The server ended the TLS handshake ({text}).{hint}"
    return f"TLS failed ({text})."


# --- what both back ends say ----------------------------------------------------------------------------------------


def timeout_failure(client: Client) -> RedisFailure:
    seconds = f"{client.options.timeout_seconds:g} seconds"
    if client.options.tls:
        return client.failure(
            "timeout", "timeout", f"No answer in {seconds}: stopped, hung, or the port does not speak TLS."
        )
    return client.failure("timeout", "timeout", f"No answer in {seconds}: the server is stopped or hung.")


def long_reply_failure(client: Client) -> RedisFailure:
    return client.failure(
        "not_redis",
        "reply_too_long",
        f"The answer is longer than {REPLY_LIMIT_BYTES // 1024**2} MiB, which no Redis or Valkey says to this.",
    )


def garbage_failure(client: Client, text: str) -> RedisFailure:
    """Something that is no Redis answered. A TLS record of an alert begins with 0x15 0x03."""
    if not client.options.tls and re.search(r"\\x15\\x03|\x15\x03", text):
        return client.failure("tls_error", "tls_wanted", "The port speaks TLS: set tls.")
    return client.failure("not_redis", "protocol", f"What answers on the port is no Redis or Valkey: {text[:200]}")


def closed_failure(client: Client, text: str) -> RedisFailure:
    """The connection came about, and was closed without an answer."""
    if client.options.tls:
        hint = "" if client.options.client_cert_file else " It may want a client certificate."
        return client.failure("tls_error", "tls_failed", f"The server ended the TLS connection ({text[:200]}).{hint}")
    if not client.options.unix_socket and speaks_tls(client.options):
        return client.failure("tls_error", "tls_wanted", "The port speaks TLS: set tls.")
    return client.failure("not_redis", "closed", f"The connection was closed without an answer ({text[:200]}).")


def speaks_tls(options: ConnectionOptions) -> bool:
    """Whether a port that closed a plain connection greets a TLS one. Nothing is sent but the handshake."""
    import socket
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    address = (options.login_host, options.login_port)
    try:
        with socket.create_connection(address, timeout=options.timeout_seconds) as plain, context.wrap_socket(plain):
            return True
    except ssl.SSLError as error:
        # A refusal for want of a client certificate is spoken in TLS, too.
        return "ALERT" in str(error).upper()
    except OSError:
        return False


UNREACHABLE_KINDS = {
    errno.ECONNREFUSED: "connection_refused",
    errno.ENOENT: "no_such_socket",
    errno.EACCES: "permission_denied",
    errno.EPERM: "permission_denied",
    errno.EHOSTUNREACH: "no_route",
    errno.ENETUNREACH: "no_route",
    errno.ECONNRESET: "connection_reset",
    errno.EPIPE: "connection_reset",
}


def unreachable_failure(client: Client, error: OSError | None, text: str) -> RedisFailure:
    number = error.errno if error is not None else None
    if number == errno.EAGAIN:  # the queue of a Unix socket is full: nobody accepts
        return timeout_failure(client)
    kind = UNREACHABLE_KINDS.get(number or 0)
    if kind is None:
        kind = "no_such_host" if error is not None and type(error).__name__ == "gaierror" else "connection_failed"
    return client.failure(
        "unreachable", kind, f"Can't connect to {client.options.address}: {plain_reason(error, text)}"
    )


def plain_reason(error: OSError | None, text: str) -> str:
    return (error.strerror or str(error)) if error is not None else text


# --- redis-cli ------------------------------------------------------------------------------------------------------


class CliClient(Client):
    """The command line client that ships with the server; one process and one connection for each command.

    The password is in the environment (REDISCLI_AUTH since 4.0.10, VALKEYCLI_AUTH since Valkey 9), never on the
    command line.
    """

    def __init__(self, options: ConnectionOptions, system: System, executable: str) -> None:
        super().__init__(options)
        self._system = system
        self._executable = executable
        self._password_unwanted = False
        self.kind = "valkey-cli" if os.path.basename(executable) == "valkey-cli" else "redis-cli"

    def command(self, *arguments: str) -> Reply:
        result = self._run(arguments)
        said = self._check_authentication(result)
        if self._password_unwanted and result.rc != 0 and not said.strip():
            # redis-cli 6.2 goes no further (7.0 and newer do).
            result = self._run(arguments)
            said = result.stdout
        self._raise_process_failure(result)
        text = said.rstrip("\n")
        if arguments[0].upper() == "INFO" and not text.startswith("(error) "):
            return self._raw_reply(text)
        try:
            reply = parse_cli_reply(text)
        except (ValueError, RecursionError):
            raise self.failure("error", "client", f"{self.kind} printed what can't be read: {text[:200]}") from None
        except CliError as error:
            raise self._refusal(error.text) from None
        return reply

    def _run(self, arguments: tuple[str, ...]) -> CommandResult:
        """Run the client. Raises where it ran out of time or can't be run at all."""
        # INFO is printed as it is whatever the option says (redis-cli.c:cliSendCommand, output_raw).
        argv = [self._executable, "--no-raw", *cli_options(self.options), *arguments]
        environment = {}
        if self.options.login_password is not None and not self._password_unwanted:
            check_listener(self.options)
            environment = {"REDISCLI_AUTH": self.options.login_password, "VALKEYCLI_AUTH": self.options.login_password}
        result = self._system.run(argv, environment, self.seconds_for_reply())
        if result.rc == 124:
            raise timeout_failure(self)
        # What is printed has marks of its own, and four characters for a byte that is none.
        if result.rc == 125 or len(result.stdout) > 4 * REPLY_LIMIT_BYTES:
            raise long_reply_failure(self)
        if result.rc in (126, 127):
            raise self.failure("no_client", "no_client", result.stderr.strip() or "The client can't be run.")
        return result

    def _raw_reply(self, text: str) -> str:
        """INFO; an error to it is printed raw, too: one line that begins with a code."""
        first = text.lstrip("\n").split("\n", 1)[0]
        if re.match(r"(?:ERR|[A-Z]{4,}) \S", first) and ":" not in first.split(" ", 1)[0]:
            raise self._refusal(first.strip())
        return text

    def _refusal(self, text: str) -> RedisFailure:
        if text.startswith("NOAUTH") and self.options.login_password is not None:
            text = "WRONGPASS invalid username-password pair or user is disabled."
        return self.refusal(text)

    def _check_authentication(self, result: CommandResult) -> str:
        """What was printed, without complaints about AUTH; these are failures, or warnings where it went on.

        ``AUTH failed: <error>`` since 6.2, ``Warning: AUTH failed`` before (redis-cli.c:cliAuth).
        """
        match = re.search(r"^(?:\(error\) )?AUTH failed: (.*)$", f"{result.stderr}\n{result.stdout}", re.MULTILINE)
        if match:
            if any(text in match.group(1) for text in NO_PASSWORD_WANTED):
                self.warnings = ["A password was given, but the server wants none."]
                self._password_unwanted = True
            else:
                raise self.refusal(match.group(1).strip())
        complaint = (
            r"^(?:(?:\(error\) )?AUTH failed: .*|Warning: .*|\(error\) ERR (?:Client sent AUTH|AUTH <password>).*)\n"
        )
        return re.sub(complaint, "", result.stdout, flags=re.MULTILINE)

    def _raise_process_failure(self, result: CommandResult) -> None:
        """Raise where the client could not do its work."""
        said = f"{result.stderr}\n{result.stdout}".strip()
        match = re.search(r"^Could not connect to \w+ at (.*)$", said, re.MULTILINE)
        if match:
            raise cli_connect_failure(self, match.group(1), said)
        match = re.search(r"^Error: (.*)$", result.stderr, re.MULTILINE)
        if match:
            raise cli_lost_failure(self, match.group(1))
        if result.rc != 0 and not result.stdout.strip():
            raise self.failure("error", "client", f"{self.kind} failed (exit code {result.rc}): {said[:300]}")


def cli_options(options: ConnectionOptions) -> list[str]:
    """The connection's options; never the password."""
    argv = (
        ["-s", options.unix_socket]
        if options.unix_socket
        else ["-h", options.login_host, "-p", str(options.login_port)]
    )
    if options.login_user:
        argv += ["--user", options.login_user]
    if options.tls and not options.unix_socket:
        argv.append("--tls")
        argv += ["--cacert", options.ca_certs] if options.ca_certs else []
        argv += ["--cert", options.client_cert_file] if options.client_cert_file else []
        argv += ["--key", options.client_key_file] if options.client_key_file else []
        argv += [] if options.validate_certs else ["--insecure"]
    return argv


CLI_CONNECT_ERRORS = (
    ("Connection refused", "connection_refused"),
    ("No such file or directory", "no_such_socket"),
    ("Permission denied", "permission_denied"),
    ("Operation not permitted", "permission_denied"),
    ("No route to host", "no_route"),
    ("Network is unreachable", "no_route"),
    ("Name or service not known", "no_such_host"),
    ("No address associated", "no_such_host"),
    ("Temporary failure in name resolution", "no_such_host"),
    ("Connection reset by peer", "connection_reset"),
)


def cli_connect_failure(client: Client, reason: str, said: str) -> RedisFailure:
    """``Could not connect to Redis at 127.0.0.1:6379: Connection refused`` and its TLS relatives."""
    if "SSL" in reason or "certificate" in reason.lower() or ("TLS" in reason and client.options.tls):
        kind = "certificate" if "certificate verify failed" in said else "tls_failed"
        return client.failure("tls_error", kind, f"TLS failed ({reason}).")
    if "Resource temporarily unavailable" in reason:
        return timeout_failure(client)
    for text, kind in CLI_CONNECT_ERRORS:
        if text in reason:
            return client.failure("unreachable", kind, f"Can't connect to {client.options.address}: {text}")
    return client.failure("unreachable", "connection_failed", f"Can't connect to {reason}")


def cli_lost_failure(client: Client, reason: str) -> RedisFailure:
    """``Error: Server closed the connection`` and ``Error: Protocol error, got "H" as reply type byte`` (hiredis)."""
    if reason.startswith("Out of memory"):
        return long_reply_failure(client)
    if reason.startswith("Protocol error"):
        return garbage_failure(client, reason)
    if "SSL" in reason or "certificate" in reason.lower() or "alert" in reason.lower():
        return client.failure("tls_error", "tls_failed", f"The server ended the TLS connection ({reason}).")
    if "Resource temporarily unavailable" in reason or "timed out" in reason.lower():
        return timeout_failure(client)
    return closed_failure(client, reason)


class CliError(Exception):
    """An error reply that redis-cli printed."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


_INDEX = re.compile(r" *\d+\) ")
_EMPTY = re.compile(r"\(empty (?:array|list or set|list|set|hash)\)\Z")
_ESCAPES = {"n": b"\n", "r": b"\r", "t": b"\t", "a": b"\a", "b": b"\b", "\\": b"\\", '"': b'"'}


def parse_cli_reply(text: str) -> Reply:
    """What ``redis-cli --no-raw`` prints for a RESP2 reply (redis-cli.c:cliFormatReplyTTY).

    Every element is one line: text is quoted and escaped, nested arrays begin on the line of their own index and go on
    indented. Raises :class:`CliError` for an error reply, ValueError for anything else.
    """
    lines = [line for line in text.split("\n") if line.strip()]
    if not lines:
        raise ValueError("nothing printed")
    if not _INDEX.match(lines[0]):
        if len(lines) > 1:
            raise ValueError("more than one line")
        if lines[0].startswith("(error) "):
            raise CliError(lines[0][len("(error) ") :].strip())
        return _parse_leaf(lines[0])
    top: list[Reply] = []
    # Open arrays, outermost first: (the column in which the elements begin, the array).
    open_arrays: list[tuple[int, list[Reply]]] = []
    for line in lines:
        _parse_line(line, top, open_arrays)
    return top


def _parse_line(line: str, top: list[Reply], open_arrays: list[tuple[int, list[Reply]]]) -> None:
    """Add one line's element where it belongs."""
    position = 0
    first = True
    while True:
        match = _INDEX.match(line, position)
        if match is None:
            break
        position = match.end()
        if first:
            # Elements of one array begin in one column: deeper arrays end here.
            while open_arrays and open_arrays[-1][0] > position:
                open_arrays.pop()
        if not open_arrays:
            open_arrays.append((position, top))
        elif open_arrays[-1][0] < position:
            inner: list[Reply] = []
            open_arrays[-1][1].append(inner)
            open_arrays.append((position, inner))
        first = False
    if first:
        raise ValueError("a line without an index")
    open_arrays[-1][1].append(_parse_leaf(line[position:]))


def _parse_leaf(text: str) -> Reply:
    """One element: quoted text, an integer, nil, an empty array, a status."""
    if text.startswith('"'):
        return _unquote(text)
    if text.startswith("(integer) "):
        return int(text[len("(integer) ") :])
    if text == "(nil)":
        return None
    if _EMPTY.match(text):
        return []
    if text.startswith("(error) "):
        return text[len("(error) ") :]
    return text.rstrip("\r")


def _unquote(text: str) -> str:
    """Undo sds.c:sdscatrepr: ``\\n \\r \\t \\a \\b \\\\ \\"`` and ``\\xNN``."""
    if len(text) < 2 or not text.endswith('"'):
        raise ValueError("no closing quote")
    body = text[1:-1]
    out = bytearray()
    position = 0
    while position < len(body):
        character = body[position]
        if character != "\\":
            out += character.encode("utf-8", errors="surrogateescape")
            position += 1
        elif body[position + 1 : position + 2] == "x":
            out.append(int(body[position + 2 : position + 4], 16))
            position += 4
        else:
            escaped = body[position + 1 : position + 2]
            if escaped not in _ESCAPES:
                raise ValueError("unknown escape")
            out += _ESCAPES[escaped]
            position += 2
    return to_utf8(bytes(out))


def find_cli(system: System) -> str | None:
    """redis-cli or valkey-cli: in PATH, in the usual directories, else beside the executable of a running server."""
    directories = [entry for entry in os.environ.get("PATH", "").split(":") if entry.startswith("/")]
    directories += [entry for entry in CLI_DIRECTORIES if entry not in directories]
    for directory in directories:
        for name in CLI_NAMES:
            path = os.path.join(directory, name)
            if is_executable(system, path):
                return path
    for directory in server_directories(system):
        for name in CLI_NAMES:
            path = os.path.join(directory, name)
            if is_executable(system, path) and is_trustworthy(system, path):
                return path
    return None


def is_executable(system: System, path: str) -> bool:
    place = system.path(path)
    return os.path.isfile(place) and os.access(place, os.X_OK)


def server_directories(system: System) -> list[str]:
    """Directories of the executables of running servers (at most 64 of them)."""
    wanted = {command[:COMMAND_LENGTH] for command in SERVER_COMMANDS}
    found: list[str] = []
    for entry in system.list_directory("/proc"):
        if not entry.isdigit() or (system.try_read_text(f"/proc/{entry}/comm", 64) or "").strip() not in wanted:
            continue
        try:
            directory = os.path.dirname(system.read_link(f"/proc/{entry}/exe"))
        except OSError:
            continue
        if directory and directory not in found and len(found) < 64:
            found.append(directory)
    return found


def is_trustworthy(system: System, path: str) -> bool:
    """Whether nobody but root and ourselves could have put this file there.

    Anyone can run a process that is called redis-server and lay a program beside it; it must not be run as root.
    """
    trusted = {0, os.geteuid()}
    place = os.path.realpath(system.path(path))
    while True:
        try:
            status = os.stat(place)
        except OSError:
            return False
        shared = status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
        sticky_directory = stat.S_ISDIR(status.st_mode) and status.st_mode & stat.S_ISVTX
        if status.st_uid not in trusted or (shared and not sticky_directory):
            return False
        parent = os.path.dirname(place)
        if parent == place:
            return True
        place = parent
