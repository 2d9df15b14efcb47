#!/usr/bin/python

# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: redis_persistence_info
short_description: Says what Redis or Valkey servers tell about their persistence
version_added: 0.1.0
description:
  - Asks one or many servers for C(INFO), for the settings that saving depends on, and for the ACL user in use.
  - A server that does not answer, wants a password, is still loading or is no Redis at all is not a failure of the module. It is an answer,
    in RV(instances[].connection).
  - Servers are asked side by side. One that hangs costs its own time-out and leaves the others alone.
  - Nothing is judged here. M(redisops.persistence.redis_diagnosis_info) does that.
author:
  - The redisops.persistence contributors (@redisops)
extends_documentation_fragment:
  - redisops.persistence.attributes
  - redisops.persistence.attributes.info_module
  - redisops.persistence.attributes.action_group
  - redisops.persistence.redis
  - redisops.persistence.redis.instances
seealso:
  - module: redisops.persistence.redis_host_info
  - module: redisops.persistence.redis_diagnosis_info
  - module: redisops.persistence.redis_bgsave
"""

EXAMPLES = r"""
---
- name: Ask every server that runs on this host
  redisops.persistence.redis_persistence_info:
  register: persistence

- name: Name the servers whose last background save failed
  ansible.builtin.debug:
    msg: "{{ persistence.instances | selectattr('redis') | selectattr('redis.info.rdb_last_bgsave_status', 'eq', 'err') | map(attribute='address') }}"

- name: Ask one server over its Unix socket
  redisops.persistence.redis_persistence_info:
    unix_socket: /run/redis/redis.sock

- name: Ask two servers over TLS as a user that may only look
  redisops.persistence.redis_persistence_info:
    tls: true
    ca_certs: /etc/redis/tls/ca.pem
    login_user: diag
    login_password: "{{ vault_redis_diag_password }}"
    instances:
      - login_port: 6379
      - login_port: 6380

- name: Ask every server of this host, with the password from its own configuration file
  redisops.persistence.redis_persistence_info:
    password_from_config: true
  become: true
"""

RETURN = r"""
instances:
  description: One entry for each server, in the order of O(instances) or by process id.
  returned: success
  type: list
  elements: dict
  contains:
    address:
      description: C(host:port), or C(unix:) and a path.
      returned: always
      type: str
      sample: 127.0.0.1:6379
    connection:
      description: How the server could be reached.
      returned: always
      type: dict
      contains:
        state:
          description:
            - V(ok), or V(loading) where the server answers while it loads its dataset.
            - V(unreachable) - closed port, no such host or socket, or another network namespace.
            - V(timeout) - it accepts and never answers (stopped or hung).
            - V(auth_required) - it wants a password, or another one.
            - V(denied) - protected mode.
            - V(masterdown) - a replica without its master that serves nothing.
            - V(not_permitted) - the user may not run C(INFO).
            - V(not_redis) - something else answers on the port.
            - V(tls_error) - TLS failed, or is wanted.
            - V(no_client) - the target has neither redis-py nor a command line client.
            - V(error) - anything else.
          returned: always
          type: str
          sample: ok
        client:
          description: V(redis-py), V(redis-cli) or V(valkey-cli). V(null) where no connection came about.
          returned: always
          type: str
          sample: redis-py
        error:
          description: What went wrong. V(null) where nothing did.
          returned: always
          type: dict
          contains:
            kind:
              description:
                - The code of the server's own error (such as V(NOAUTH), V(WRONGPASS), V(NOPERM), V(DENIED)), or one word for what happened
                  (such as V(connection_refused), V(no_such_host), V(timeout), V(certificate), V(tls_wanted)).
              returned: always
              type: str
              sample: NOAUTH
            message:
              description: The text of the error. Passwords in it are masked.
              returned: always
              type: str
              sample: NOAUTH Authentication required.
        seconds:
          description: How long it took.
          returned: always
          type: float
          sample: 0.012
    redis:
      description: What the server says about itself. V(null) where it could not be asked.
      returned: always
      type: dict
      contains:
        server:
          description: V(redis), V(valkey), V(keydb), V(dragonfly) or V(unknown).
          returned: always
          type: str
          sample: redis
        version:
          description: The server's own version.
          returned: always
          type: str
          sample: 7.0.15
        compatible_version:
          description: The version of Redis that the server says it is compatible with.
          returned: always
          type: str
          sample: 7.2.4
        mode:
          description: V(standalone), V(cluster) or V(sentinel).
          returned: always
          type: str
          sample: standalone
        role:
          description: V(master) or V(replica). V(null) for a Sentinel.
          returned: always
          type: str
          sample: master
        process_id:
          description: The server's process id in its own pid namespace.
          returned: always
          type: int
          sample: 1
        config_file:
          description: The configuration file as the server sees it. Empty where it was started without one.
          returned: always
          type: str
          sample: /etc/redis/redis.conf
        executable:
          description: The server's program, as it was called.
          returned: always
          type: str
          sample: /usr/bin/redis-server
        uptime_seconds:
          description: Seconds since the start of the server.
          returned: always
          type: int
          sample: 86400
        started_unix:
          description: When the server started, in seconds since the epoch.
          returned: always
          type: int
          sample: 1760000000
        user:
          description: The ACL user of the connection. V(null) before Redis 6.0, or where the server had to be asked and refused.
          returned: always
          type: str
          sample: default
        info:
          description:
            - The fields of C(INFO) that matter to saving, named as the server names them, numbers as numbers. Only fields that this version has.
            - C(key_count) is the sum over all databases, C(rejected_calls_misconf) the number of commands refused with C(MISCONF).
          returned: always
          type: dict
          sample:
            rdb_last_bgsave_status: err
            rdb_changes_since_last_save: 42
        errorstats:
          description: How often each error was answered (Redis 6.2 or newer).
          returned: always
          type: dict
          sample:
            MISCONF: 3
        config_state:
          description:
            - V(ok), V(partial) (the essential ones are hidden), V(forbidden) (by ACL), V(renamed) (or disabled), or V(unavailable).
          returned: always
          type: str
          sample: ok
        config:
          description: The settings in force that saving depends on, as C(CONFIG GET) spells them. Never a secret.
          returned: always
          type: dict
          sample:
            dir: /var/lib/redis
            dbfilename: dump.rdb
        can_bgsave:
          description:
            - Whether this user may C(BGSAVE), by C(ACL DRYRUN), C(ACL GETUSER) or C(COMMAND INFO).
            - V(null) where the last save did not fail, as then it is not asked, and where the answer was refused.
          returned: always
          type: bool
          sample: true
        why_no_bgsave:
          description: Why it may not. V(null) otherwise.
          returned: always
          type: str
          sample: The user may not BGSAVE, so no save can prove anything (ACL SETUSER deploy +bgsave).
        password_set:
          description: Whether the default user needs a password. V(null) where that can't be told.
          returned: always
          type: bool
          sample: true
        config_file_settings:
          description:
            - The same settings as the configuration file has them, spelled like C(config). V(null) where the file can't be read or there is none.
          returned: always
          type: dict
          sample:
            dir: /var/lib/redis
        emergency_unblock:
          description:
            - The unblock of M(redisops.persistence.redis_emergency_unblock) that this process of the server is under. V(null) where none stands.
          returned: always
          type: dict
          sample: null
          contains:
            since_unix:
              description: When it began, in seconds since the epoch.
              returned: always
              type: float
              sample: 1760000000.5
            deadline_unix:
              description: When it is to end.
              returned: always
              type: float
              sample: 1760000900.5
            value_before:
              description: What C(stop-writes-on-bgsave-error) was before, and is to be again.
              returned: always
              type: str
              sample: 'yes'
            watched:
              description: Whether the process that puts it back still runs. Where it does not, nobody puts it back.
              returned: always
              type: bool
              sample: true
        modules:
          description: The modules that the server has loaded.
          returned: always
          type: list
          elements: dict
          contains:
            name:
              description: The module's name.
              returned: always
              type: str
              sample: search
            version:
              description: The module's version.
              returned: always
              type: str
              sample: '20612'
    gaps:
      description: What could not be asked of this server.
      returned: always
      type: list
      elements: dict
      contains: &gap
        what:
          description: What is missing.
          returned: always
          type: str
          sample: redis.config
        why:
          description: The server's or the operating system's reason.
          returned: always
          type: str
          sample: NOPERM User diag has no permissions to run the 'config|get' command
        remedy:
          description: What would make it readable.
          returned: always
          type: str
          sample: ACL SETUSER diag +config|get
gaps:
  description: What could not be seen while looking for servers.
  returned: success
  type: list
  elements: dict
  contains: *gap
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.redisops.persistence.plugins.module_utils._instances import collect_instances
from ansible_collections.redisops.persistence.plugins.module_utils._options import instances_argument_spec
from ansible_collections.redisops.persistence.plugins.module_utils._runner import module_system


def main() -> None:
    module = AnsibleModule(argument_spec=instances_argument_spec(), supports_check_mode=True)
    module.exit_json(changed=False, **collect_instances(module.params, module_system(module)))


if __name__ == "__main__":
    main()
