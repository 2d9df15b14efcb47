#!/usr/bin/python

# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: redis_restart
short_description: Restarts a Redis or Valkey server into a rescued file that holds every key
version_added: 0.1.0
description:
  - Restarts the systemd service of a server whose data directory can only be put right by that, with the file of M(redisops.persistence.redis_rescue) in
    the place from which the server loads its dataset.
  - Never without that file. It is checked again, nothing may have been written to the server since it was made, and it is in place before the
    server is told to stop. Otherwise the task fails before anything is done.
  - Writes are held back until the server stops (Redis 6.2 or newer). An old dump is kept beside, under a name with C(before) and the time.
  - Waits until the server has loaded its dataset, and compares the keys.
  - Refused for servers that keep an append-only file or will after a restart, for replicas, and for servers that no systemd service runs.
author:
  - The redisops.persistence contributors (@redisops)
extends_documentation_fragment:
  - redisops.persistence.attributes
  - redisops.persistence.attributes.action_group
  - redisops.persistence.redis
attributes:
  check_mode:
    support: full
    details:
      - Looks at the server, its service and its configuration. The rescued file need not be there yet.
  diff_mode:
    support: full
  idempotent:
    support: none
    details:
      - Each run is a restart.
options:
  pid:
    description:
      - The server's process id on the host. The server at the address given must be this process.
    type: int
    required: true
  started_unix:
    description:
      - When that process started, in seconds since the epoch, so that another one with the same id is told from it.
    type: float
  unit:
    description:
      - The systemd service whose main process the server is.
    type: str
  rescue_file:
    description:
      - The rescued file, RV(redisops.persistence.redis_rescue#module:path). Not needed in check mode.
    type: str
  rescue_sha256:
    description:
      - Its SHA-256, RV(redisops.persistence.redis_rescue#module:sha256). Not needed in check mode.
    type: str
  rescue_keys:
    description:
      - How many keys it holds, RV(redisops.persistence.redis_rescue#module:keys_in_file). Not needed in check mode.
    type: int
  rescue_changes:
    description:
      - Changes since the last save before the file was made, RV(redisops.persistence.redis_rescue#module:offsets.before.changes). Where the server counts
        more now, something was written since, and the task fails. Not needed in check mode.
    type: int
  rescue_offset:
    description:
      - The replication offset after the file was made, RV(redisops.persistence.redis_rescue#module:offsets.after.replication). Compared where the server has
        no replicas; with them it moves without a write.
    type: int
  directory:
    description:
      - The directory that the restarted server will use (C(dir) of its configuration file, or of its command line). An absolute path without
        symbolic links. It must be there, except in check mode.
    type: str
    required: true
  dump_name:
    description:
      - The file that the restarted server will load (C(dbfilename)).
    type: str
    default: dump.rdb
  uid:
    description:
      - Owner of the file in place. Without it the server's own user.
    type: int
  gid:
    description:
      - Group of the file in place. Without it the server's own group.
    type: int
  allowed_dirs:
    description:
      - Directories in which, or below which, O(directory) must lie. A V(*) may stand for a part of the last name. Directories of the system are refused
        whatever stands here.
      - Without it every directory that is none of the system may be named.
    type: list
    elements: str
  daemon_reload:
    description:
      - Let systemd read its files again before the restart. Done without being asked for where systemd says that it needs to.
    type: bool
    default: false
  stop_timeout_seconds:
    description:
      - How long the server may take to stop. Where its service allows more (C(TimeoutStopSec)), that holds, up to ten minutes.
    type: float
    default: 60
  wait_seconds:
    description:
      - How long to wait until the restarted server has loaded its dataset.
    type: float
    default: 600
  check_timeout_seconds:
    description:
      - How long C(redis-check-rdb) may take.
    type: float
    default: 1800
notes:
  - An ACL user needs C(+config|get +config|set +client|pause +client|unpause) beside the rights for reading.
  - A pause of writes that M(redisops.persistence.redis_rescue) left is ended where the restart is refused.
seealso:
  - module: redisops.persistence.redis_rescue
"""

EXAMPLES = r"""
---
- name: Copy every key, and hold writes back
  redisops.persistence.redis_rescue:
    directory: /var/backups/redis
    pause_writes_seconds: 300
  register: rescue

- name: Restart into the copy
  redisops.persistence.redis_restart:
    pid: 4711
    unit: redis-server.service
    rescue_file: "{{ rescue.path }}"
    rescue_sha256: "{{ rescue.sha256 }}"
    rescue_keys: "{{ rescue.keys_in_file }}"
    rescue_changes: "{{ rescue.offsets.before.changes }}"
    rescue_offset: "{{ rescue.offsets.after.replication }}"
    directory: /var/lib/redis
"""

RETURN = r"""
address:
  description: C(host:port), or C(unix:) and a path.
  returned: always
  type: str
  sample: 127.0.0.1:6379
changes:
  description: What was changed, or would be.
  returned: always
  type: list
  elements: dict
  contains:
    what:
      description: What it is.
      returned: always
      type: str
      sample: service redis-server.service
    before:
      description: V(running) for the service. V(absent) or V(kept beside) for the dump.
      returned: always
      type: str
      sample: running
    after:
      description: V(restarted) for the service, V(rescued file) for the dump.
      returned: always
      type: str
      sample: restarted
    reversible:
      description: V(false).
      returned: always
      type: bool
      sample: false
diff:
  description: The same as differences.
  returned: always
  type: list
  elements: dict
  contains:
    before_header:
      description: What it is.
      returned: always
      type: str
      sample: service redis-server.service
    after_header:
      description: The same.
      returned: always
      type: str
      sample: service redis-server.service
    before:
      description: What was.
      returned: always
      type: str
      sample: running
    after:
      description: What is.
      returned: always
      type: str
      sample: restarted
stage:
  description:
    - How far it went. V(looked) and V(checked) - the rescued file was checked - where nothing was changed.
    - V(placed), V(stopping), V(loading) where it went wrong after the file was in place. V(done).
  returned: always
  type: str
  sample: done
keys_before:
  description: Keys of the server before.
  returned: always
  type: int
  sample: 1000000
keys_after:
  description: Keys of the restarted server. V(null) where it was not reached.
  returned: always
  type: int
  sample: 999990
keys_expired:
  description: Keys whose time to live was over at the restart. V(null) where keys are missing.
  returned: always
  type: int
  sample: 10
dump:
  description: The path from which the server loads its dataset.
  returned: always
  type: str
  sample: /var/lib/redis/dump.rdb
previous_dump:
  description: Where the old dump is kept. V(null) where there was none.
  returned: always
  type: str
  sample: /var/lib/redis/dump.rdb.before-20260101T120000Z
pid:
  description: The restarted server's process id. V(null) where there is none.
  returned: always
  type: int
  sample: 4812
seconds:
  description: Seconds from the order to restart until the dataset was loaded.
  returned: always
  type: float
  sample: 3.25
commands:
  description: What to type where it went wrong after the server was told to stop.
  returned: always
  type: list
  elements: str
  sample: []
message:
  description: The outcome in words; where it went wrong, also where the data is. V(null) in check mode.
  returned: always
  type: str
  sample: Restarted with 1000000 keys in 3.25 seconds.
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.redisops.persistence.plugins.module_utils._module_outcome import finish
from ansible_collections.redisops.persistence.plugins.module_utils._options import connection_argument_spec
from ansible_collections.redisops.persistence.plugins.module_utils._restart import restart_server
from ansible_collections.redisops.persistence.plugins.module_utils._runner import module_system


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **connection_argument_spec(),
            "pid": {"type": "int", "required": True},
            "started_unix": {"type": "float"},
            "unit": {"type": "str"},
            "rescue_file": {"type": "str"},
            "rescue_sha256": {"type": "str"},
            "rescue_keys": {"type": "int", "no_log": False},
            "rescue_changes": {"type": "int"},
            "rescue_offset": {"type": "int"},
            "directory": {"type": "str", "required": True},
            "dump_name": {"type": "str", "default": "dump.rdb"},
            "uid": {"type": "int"},
            "gid": {"type": "int"},
            "allowed_dirs": {"type": "list", "elements": "str"},
            "daemon_reload": {"type": "bool", "default": False},
            "stop_timeout_seconds": {"type": "float", "default": 60},
            "wait_seconds": {"type": "float", "default": 600},
            "check_timeout_seconds": {"type": "float", "default": 1800},
        },
        supports_check_mode=True,
    )
    finish(module, restart_server(module.params, module_system(module), module.check_mode))


if __name__ == "__main__":
    main()
