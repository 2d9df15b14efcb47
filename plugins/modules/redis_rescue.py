#!/usr/bin/python

# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: redis_rescue
short_description: Copies every key of a Redis or Valkey server to a checked file, whatever its own directory is like
version_added: 0.1.0
description:
  - Takes a full copy of the dataset over the replication link, as a replica would, and writes it to a file on the host that the module runs on.
  - Works while the server's own directory can't be written, is full or was deleted, for nothing is written there.
  - The file is checked with the server's own C(redis-check-rdb), and its keys are counted and compared with the server's. It gets its name only
    when it holds every key; otherwise nothing is left.
  - The server forks a child process for it, as for C(BGSAVE). Where fork is impossible, so is a copy.
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
      - Looks at the server, the directory and its free space. Asks for no copy.
  diff_mode:
    support: full
  idempotent:
    support: none
    details:
      - Each run makes another copy.
options:
  directory:
    description:
      - Directory for the file, an absolute path without symbolic links. What is missing of it is made with mode C(0700).
      - Not a place of the system such as C(/etc) or C(/usr), and not the server's own data directory.
    type: str
    required: true
  name:
    description:
      - Name of the file. There must be none of that name.
      - Without it the server's address and the time in UTC make one.
    type: str
  pause_writes_seconds:
    description:
      - Hold writes back (C(CLIENT PAUSE ... WRITE), Redis 6.2 or newer) from before the transfer until this long after it, so that the copy holds
        exactly what the server holds. Readers are served.
      - Where the copy fails, writes are let through at once; where the module dies, after this time.
      - An older server is copied all the same, with a warning and RV(writes_paused=false).
    type: float
    default: 0
  minimum_free_bytes:
    description:
      - Free space that the file must leave. Tested before the transfer and during it. In a file system in memory, such as C(/dev/shm), the memory
        that is available counts.
    type: int
    default: 67108864
  expected_bytes:
    description:
      - How large the file is expected to be, for the test of the free space before the transfer.
      - Without it, half of the dataset's memory.
    type: int
  maximum_bytes:
    description:
      - Give up where the file gets larger than this.
    type: int
  idle_timeout_seconds:
    description:
      - Give up where nothing comes for so long. A server gives a sign of life every C(repl-ping-replica-period) seconds while it prepares the copy.
    type: float
    default: 60
  transfer_timeout_seconds:
    description:
      - Give up where the transfer takes longer than this in all.
    type: float
    default: 3600
  check_timeout_seconds:
    description:
      - How long C(redis-check-rdb) may take.
    type: float
    default: 1800
  require_check:
    description:
      - Whether a file that could not be checked is thrown away. Its keys are then not known either, and RV(complete) is V(null).
      - The program is the server's own where that one is installed on this host; otherwise C(redis-check-rdb) or C(valkey-check-rdb) from C(PATH).
    type: bool
    default: true
notes:
  - An ACL user needs C(+psync +sync +replconf) beside the rights for reading, C(+client|pause +client|unpause) for O(pause_writes_seconds), and
    C(+config|set) where the server sends its dataset by way of its disk.
  - Where C(repl-diskless-sync) is V(no), the default up to Redis 6.2, it is V(yes) for the time of the transfer and put back in the end, also where
    the module is told to end. RV(diskless_set) says so.
  - The server lists the connection among its replicas while the transfer lasts.
seealso:
  - module: redisops.persistence.redis_restart
  - module: redisops.persistence.redis_bgsave
"""

EXAMPLES = r"""
---
- name: Copy every key to another file system
  redisops.persistence.redis_rescue:
    directory: /var/backups/redis

- name: Copy every key, and hold writes back for five minutes more
  redisops.persistence.redis_rescue:
    unix_socket: /run/redis/redis.sock
    directory: /dev/shm/rescue
    pause_writes_seconds: 300
  register: rescue

- name: Show where it is
  ansible.builtin.debug:
    msg: "{{ rescue.keys_in_file }} keys in {{ rescue.path }}"
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
      sample: rescue file in /var/backups/redis
    before:
      description: V(null).
      returned: always
      type: str
    after:
      description: V(every key).
      returned: always
      type: str
      sample: every key
    reversible:
      description: V(false).
      returned: always
      type: bool
      sample: false
diff:
  description: The same as a difference.
  returned: always
  type: list
  elements: dict
  contains:
    before_header:
      description: What it is.
      returned: always
      type: str
      sample: rescue file in /var/backups/redis
    after_header:
      description: The same.
      returned: always
      type: str
      sample: rescue file in /var/backups/redis
    before:
      description: Nothing.
      returned: always
      type: str
      sample: ""
    after:
      description: V(every key).
      returned: always
      type: str
      sample: every key
path:
  description: The file; in check mode the one that would be made. V(null) where the copy failed.
  returned: always
  type: str
  sample: /var/backups/redis/127.0.0.1-6379-20260101T120000Z.rdb
uid:
  description: Owner of the file, as Ansible adds it for every RV(path).
  returned: when the file is there
  type: int
  sample: 0
gid:
  description: Group of the file.
  returned: when the file is there
  type: int
  sample: 0
owner:
  description: Name of the owner.
  returned: when the file is there
  type: str
  sample: root
group:
  description: Name of the group.
  returned: when the file is there
  type: str
  sample: root
mode:
  description: Permissions of the file.
  returned: when the file is there
  type: str
  sample: "0600"
size:
  description: Its size in bytes.
  returned: when the file is there
  type: int
  sample: 734003200
secontext:
  description: Its SELinux context.
  returned: when the file is there, and the host has SELinux
  type: str
  sample: unconfined_u:object_r:var_t:s0
state:
  description: V(file), or V(absent) in check mode. Ansible adds it.
  returned: when RV(path) is not V(null)
  type: str
  sample: file
size_bytes:
  description: Bytes that came.
  returned: always
  type: int
  sample: 734003200
sha256:
  description: SHA-256 of what came.
  returned: always
  type: str
  sample: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855
keys_in_file:
  description: Keys in the file, as C(redis-check-rdb) counted them.
  returned: always
  type: int
  sample: 1000000
expires_in_file:
  description: Those among them that have a time to live.
  returned: always
  type: int
  sample: 5000
expired_in_file:
  description: Those among them whose time was over when the file was checked. They are dropped when it is loaded.
  returned: always
  type: int
  sample: 0
keys_in_server:
  description: Keys of all databases of the server.
  returned: always
  type: dict
  contains:
    before:
      description: Before the transfer.
      returned: always
      type: int
      sample: 1000000
    after:
      description: After it.
      returned: always
      type: int
      sample: 1000000
complete:
  description: Whether the file holds as many keys as the server had during the transfer. V(null) where it was not checked.
  returned: always
  type: bool
  sample: true
consistent:
  description: Whether nothing was written to the server during the transfer, so that the file is what the server holds after it.
  returned: always
  type: bool
  sample: true
checked:
  description: Whether the file was checked.
  returned: always
  type: bool
  sample: true
checker:
  description: The program that checked it.
  returned: always
  type: str
  sample: /usr/bin/redis-server as redis-check-rdb
diskless:
  description: Whether the server sent its dataset without a file of its own.
  returned: always
  type: bool
  sample: true
diskless_set:
  description: Whether C(repl-diskless-sync) was V(yes) for the time of the transfer and was V(no) before.
  returned: always
  type: bool
  sample: false
offsets:
  description: By what can be told whether anything was written to the server.
  returned: always
  type: dict
  contains:
    before:
      description: Before the transfer.
      returned: always
      type: dict
      contains:
        replication:
          description: C(master_repl_offset).
          returned: always
          type: int
          sample: 0
        changes:
          description: C(rdb_changes_since_last_save). Hand it to O(redisops.persistence.redis_restart#module:rescue_changes).
          returned: always
          type: int
          sample: 4711
    after:
      description: After it.
      returned: always
      type: dict
      contains:
        replication:
          description: C(master_repl_offset). Hand it to O(redisops.persistence.redis_restart#module:rescue_offset).
          returned: always
          type: int
          sample: 0
        changes:
          description: C(rdb_changes_since_last_save).
          returned: always
          type: int
          sample: 4711
writes_paused:
  description: Whether writes are still held back.
  returned: always
  type: bool
  sample: false
writes_paused_until_unix:
  description: Until when, in seconds since the epoch. V(null) where they are not.
  returned: always
  type: float
  sample: 1760000300.5
free_bytes_before:
  description: Free bytes of O(directory) before the transfer.
  returned: always
  type: int
  sample: 53687091200
seconds:
  description: How long it took, with the check.
  returned: always
  type: float
  sample: 12.5
message:
  description: The outcome in words.
  returned: always
  type: str
  sample: Every key is in the copy (1000000).
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.redisops.persistence.plugins.module_utils._module_outcome import finish
from ansible_collections.redisops.persistence.plugins.module_utils._options import connection_argument_spec
from ansible_collections.redisops.persistence.plugins.module_utils._rescue import rescue_server
from ansible_collections.redisops.persistence.plugins.module_utils._runner import module_system


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **connection_argument_spec(),
            "directory": {"type": "str", "required": True},
            "name": {"type": "str"},
            "pause_writes_seconds": {"type": "float", "default": 0},
            "minimum_free_bytes": {"type": "int", "default": 64 * 1024 * 1024},
            "expected_bytes": {"type": "int"},
            "maximum_bytes": {"type": "int"},
            "idle_timeout_seconds": {"type": "float", "default": 60},
            "transfer_timeout_seconds": {"type": "float", "default": 3600},
            "check_timeout_seconds": {"type": "float", "default": 1800},
            "require_check": {"type": "bool", "default": True},
        },
        supports_check_mode=True,
    )
    finish(module, rescue_server(module.params, module_system(module), module.check_mode))


if __name__ == "__main__":
    main()
