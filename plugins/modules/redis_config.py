#!/usr/bin/python

# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: redis_config
short_description: Sets parameters of a running Redis or Valkey server, all or none
version_added: 0.1.0
description:
  - Sets several parameters with C(CONFIG SET), where they differ from what is running. Values are compared as the server compares them, so
    C(1gb) is 1073741824, and save points may be written in any order.
  - Either all parameters are set or none. What the server would refuse is refused before anything is sent, as far as that can be known.
    Servers older than Redis 7.0 take one parameter at a time. If they refuse one of several, the ones before are put back.
  - Optionally keeps the running values in the configuration file (C(CONFIG REWRITE)).
extends_documentation_fragment:
  - redisops.persistence.attributes
  - redisops.persistence.attributes.action_group
  - redisops.persistence.redis
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
author:
  - The redisops.persistence contributors (@redisops)
options:
  parameters:
    description:
      - The parameters and the values that they shall have.
      - Passwords (C(requirepass), C(masterauth) and others) are refused, since the values are returned and shown.
      - A C(maxmemory) below what is in use, or a C(maxmemory-policy) that would evict at once, is refused, because keys would be lost or writes
        refused.
      - C(dir) and C(dbfilename) are refused for places and names that intruders use, such as C(/etc/cron.d) or C(authorized_keys). For those
        that may be an operator's own, such as C(/root), the configuration file must have the same value.
    type: dict
    default: {}
  expected:
    description:
      - For parameters in it, the value that is expected to be running. If neither that nor the wanted value is, the parameter is left alone,
        and listed in RV(conflicts).
    type: dict
    default: {}
  rewrite:
    description: Whether to write the running values to the configuration file.
    type: str
    default: 'no'
    choices:
      'no': Don't.
      'yes': >-
        Do, if the file differs from the running values. The task fails where that is not possible, or where something would be lost (see
        the notes).
      if_only_drift: >-
        Do, if the only parameters that differ are those in O(parameters) and O(own_parameters), and no ACL user and no module was added at
        run time. Otherwise RV(rewrite_reason) says what is in the way. A rewrite makes all running values permanent, also those that
        somebody else has set.
  own_parameters:
    description: Further parameters that may differ from the file for O(rewrite=if_only_drift), since they were set on purpose before.
    type: list
    elements: str
    default: []
  assumed:
    description:
      - Values that earlier tasks of the same run have set, or in check mode would have set, by now. In check mode O(rewrite) is foretold as if
        they ran.
      - Otherwise a parameter that has another value by now was set by somebody else, and the file is not rewritten.
    type: dict
    default: {}
  expected_in_file:
    description:
      - For parameters in it, the value that the configuration file is expected to have before it is rewritten. Where it has another one,
        somebody has edited it, and it is not rewritten.
    type: dict
    default: {}
notes:
  - The user needs C(+info +config|get +config|set), for O(rewrite) also C(+config|rewrite), and for O(rewrite=if_only_drift) also C(+acl|list)
    and, where modules are loaded, C(+module|list).
  - While an emergency unblock of M(redisops.persistence.redis_emergency_unblock) stands, the configuration file is not rewritten.
  - The file is never rewritten where a line of it would be lost or undone, or a value would become permanent that nobody has put into a
    file. That is where the running C(dir) is empty (a deleted or unmounted directory), where the file was changed after the start of the
    server and differs from it in more than what this module was told to keep, where it includes other files, where it is a link, where
    passwords in it would become readable for others, and where a master, a password, an ACL user or a module was set at run time.
  - After a rewrite the file is compared with what it was. Where more has changed than was meant to, the old file is put back, and the task
    fails.
  - To compare the configuration file, the module must run on the server's host, with the right to read it.
seealso:
  - module: redisops.persistence.redis_persistence_info
  - module: redisops.persistence.redis_emergency_unblock
"""

EXAMPLES = r"""
---
- name: Let a failed save show at once
  redisops.persistence.redis_config:
    parameters:
      stop-writes-on-bgsave-error: true
    rewrite: if_only_drift

- name: Limit the memory and save every quarter of an hour
  redisops.persistence.redis_config:
    unix_socket: /run/redis/redis.sock
    parameters:
      maxmemory: 4gb
      save: 900 1 300 100

- name: Put a value back, unless somebody has changed it since
  redisops.persistence.redis_config:
    parameters:
      maxmemory: 0
    expected:
      maxmemory: 4gb
"""

RETURN = r"""
address:
  description: C(host:port), or C(unix:) and a path.
  returned: always
  type: str
  sample: 127.0.0.1:6379
changes:
  description: What differs afterwards, or would in check mode.
  returned: always
  type: list
  elements: dict
  contains:
    what:
      description: The parameter, or the configuration file.
      returned: always
      type: str
      sample: config maxmemory
    before:
      description: The value before, as C(CONFIG GET) spells it.
      returned: always
      type: str
      sample: '0'
    after:
      description: The value after.
      returned: always
      type: str
      sample: '4294967296'
    reversible:
      description: V(true).
      returned: always
      type: bool
      sample: true
diff:
  description: The same for C(--diff).
  returned: always
  type: list
  elements: dict
  contains:
    before_header:
      description: What is changed on which server.
      returned: always
      type: str
      sample: config maxmemory of 127.0.0.1:6379
    after_header:
      description: The same.
      returned: always
      type: str
      sample: config maxmemory of 127.0.0.1:6379
    before:
      description: The value before, or the lines of the configuration file.
      returned: always
      type: str
      sample: "0\n"
    after:
      description: The value after, or the lines of the configuration file. Of parameters that O(parameters) and O(own_parameters) don't name, only the name.
      returned: always
      type: str
      sample: "4294967296\n"
parameters:
  description: For each parameter of O(parameters), its value before (RV(ignore:before)) and after (RV(ignore:after)).
  returned: always
  type: dict
  sample:
    maxmemory:
      before: '0'
      after: '4294967296'
conflicts:
  description: Parameters that were left alone because of O(expected), each with the values RV(ignore:running), RV(ignore:wanted) and RV(ignore:expected).
  returned: always
  type: dict
  sample: {}
refused:
  description: Parameters that are or would be refused, each with the reason. The task fails, and nothing is set.
  returned: always
  type: dict
  sample:
    dir: it is protected (enable-protected-configs no, which takes a restart to change)
rewritten:
  description: Whether C(CONFIG REWRITE) was sent and succeeded, or would be in check mode.
  returned: always
  type: bool
  sample: false
rewrite_reason:
  description: Why not. V(null) where it was, or was not asked for.
  returned: always
  type: str
  sample: The server is running without a configuration file.
rewrite_refused:
  description: Whether the file was left as it is although it differs from the running values, since a rewrite is not safe.
  returned: always
  type: bool
  sample: false
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.redisops.persistence.plugins.module_utils._config_change import change_configuration
from ansible_collections.redisops.persistence.plugins.module_utils._options import connection_argument_spec
from ansible_collections.redisops.persistence.plugins.module_utils._runner import module_system


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **connection_argument_spec(),
            "parameters": {"type": "dict", "default": {}},
            "expected": {"type": "dict", "default": {}},
            "rewrite": {"type": "str", "default": "no", "choices": ["no", "yes", "if_only_drift"]},
            "own_parameters": {"type": "list", "elements": "str", "default": []},
            "assumed": {"type": "dict", "default": {}},
            "expected_in_file": {"type": "dict", "default": {}},
        },
        supports_check_mode=True,
    )
    result = change_configuration(module.params, module_system(module), module.check_mode)
    if result.pop("failed", False):
        module.fail_json(**result)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
