# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The connection options that all modules share, for one server and for a list of servers.

ansible-test reads these texts without running the file, so each is written out; a test holds the two against each
other.
"""

from __future__ import annotations


class ModuleDocFragment:
    """``redisops.persistence.redis``: one server. ``redisops.persistence.redis.instances``: a list of them."""

    DOCUMENTATION = r"""
options:
  login_host:
    description:
      - Host name or address of the server.
      - Defaults to V(127.0.0.1) where another option names a server.
    type: str
  login_port:
    description:
      - Port of the server.
      - Defaults to V(6379).
    type: int
  login_user:
    description:
      - ACL user to log in as (Redis 6.0 or newer).
      - 'The least rights that a user needs for reading: C(-@all +info +config|get +ping +lastsave).'
    type: str
  login_password:
    description:
      - Password of the ACL user or of the server.
      - It is never put on a command line, and never returned.
    type: str
  unix_socket:
    description:
      - Path of the server's Unix socket. Used instead of O(login_host) and O(login_port).
    type: path
  tls:
    description:
      - Whether to speak TLS.
      - Defaults to V(false).
    type: bool
  ca_certs:
    description:
      - File with the certificates of the authorities to trust. Without it the system's are trusted.
    type: path
  client_cert_file:
    description:
      - File with the client's certificate.
    type: path
  client_key_file:
    description:
      - File with the client's private key.
    type: path
  validate_certs:
    description:
      - Whether the server's certificate must be signed by a trusted authority.
      - With the Python library redis the certificate must also name the host; C(redis-cli) does not check the name.
      - Defaults to V(true).
    type: bool
  timeout_seconds:
    description:
      - How long to wait for the connection, and for the answer to one command. A server that does not answer costs
        this time once. All questions to one server together get twice as long.
      - Defaults to V(5).
    type: float
  password_from_config:
    description:
      - Whether to read the default user's password from the server's own configuration file on the host, where
        O(login_password) is not given. Needs the right to read that file.
      - The file and what it includes are read as the user that runs the server (as root in a process of that user,
        its groups and its root directory); what that one can't read is not used.
      - The password is sent to no other process than the server whose file it is, by the owner of the listening
        socket. A port that is forwarded (a published port of a container) shows no such owner.
      - Defaults to V(false).
    type: bool

requirements:
  - >-
    On the target, either the Python library redis (redis-py, 3.4 or newer) or one of the command line clients
    C(redis-cli) and C(valkey-cli), in PATH or beside the executable of a running server.
notes:
  - Redis 5.0 to 8.x and Valkey 7.2 to 9.x. KeyDB and Dragonfly are recognised and named as such.
  - The first command is C(INFO). C(PING) is never sent, since a server that can't save refuses it.
"""

    INSTANCES = r"""
options:
  instances:
    description:
      - The servers to ask. Each entry has the connection options of this module; what it leaves out is taken from
        the module's own options.
      - Without it the one server that O(login_host), O(login_port) or O(unix_socket) name is asked, and without these
        every server that is found on the host.
    type: list
    elements: dict
    suboptions:
      login_host:
        description:
          - Host name or address of the server.
          - Defaults to V(127.0.0.1) where another option names a server.
        type: str
      login_port:
        description:
          - Port of the server.
          - Defaults to V(6379).
        type: int
      login_user:
        description:
          - ACL user to log in as (Redis 6.0 or newer).
          - 'The least rights that a user needs for reading: C(-@all +info +config|get +ping +lastsave).'
        type: str
      login_password:
        description:
          - Password of the ACL user or of the server.
          - It is never put on a command line, and never returned.
        type: str
      unix_socket:
        description:
          - Path of the server's Unix socket. Used instead of O(instances[].login_host) and O(instances[].login_port).
        type: path
      tls:
        description:
          - Whether to speak TLS.
          - Defaults to V(false).
        type: bool
      ca_certs:
        description:
          - File with the certificates of the authorities to trust. Without it the system's are trusted.
        type: path
      client_cert_file:
        description:
          - File with the client's certificate.
        type: path
      client_key_file:
        description:
          - File with the client's private key.
        type: path
      validate_certs:
        description:
          - Whether the server's certificate must be signed by a trusted authority.
          - With the Python library redis the certificate must also name the host; C(redis-cli) does not check the name.
          - Defaults to V(true).
        type: bool
      timeout_seconds:
        description:
          - How long to wait for the connection, and for the answer to one command. A server that does not answer costs
            this time once. All questions to one server together get twice as long.
          - Defaults to V(5).
        type: float
      password_from_config:
        description:
          - Whether to read the default user's password from the server's own configuration file on the host, where
            O(instances[].login_password) is not given. Needs the right to read that file.
          - The file and what it includes are read as the user that runs the server (as root in a process of that user,
            its groups and its root directory); what that one can't read is not used.
          - The password is sent to no other process than the server whose file it is, by the owner of the listening
            socket. A port that is forwarded (a published port of a container) shows no such owner.
          - Defaults to V(false).
        type: bool

  discover:
    description:
      - Whether to look for the host's servers in C(/proc) where no option names one. If V(false), the server at
        V(127.0.0.1), port V(6379), is asked then.
    type: bool
    default: true
"""
