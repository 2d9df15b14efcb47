#!/usr/bin/python

# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: redis_temp_files
short_description: Removes temporary files of dead saves
version_added: 0.1.0
description:
  - A child process of Redis or Valkey that is killed while it saves leaves its temporary file behind. Nobody will ever use it.
  - Removes the files that are named, each only where it is proven at that moment that it is nobody's. No process has it open, and the process in its name
    is gone, or is a later one that came to be after the file was last written.
  - A file that does not belong to the server's own user stays.
  - Root removes something only for a server of which only root decides what it is and where it works, from a directory that only that server uses,
    see O(accept). The server's own user needs no such leave.
  - Where not every process can be seen, and on network file systems, whose other clients can't be seen, nothing is removed.
author:
  - The redisops.persistence contributors (@redisops)
extends_documentation_fragment:
  - redisops.persistence.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  pid:
    description:
      - The server's process as the host counts it.
    type: int
    required: true
  started_unix:
    description:
      - When that process was started, in seconds since the epoch. Another process that has its pid now is refused.
    type: float
  path:
    description:
      - The data directory as the server sees it, absolute, with no link on the way.
    type: str
    required: true
  device:
    description:
      - The device that it was diagnosed on, such as V(253:1). Another one is refused.
    type: str
  inode:
    description:
      - The inode that it was diagnosed as. Another one is refused.
    type: int
  names:
    description:
      - The names of the files, such as RV(redisops.persistence.redis_host_info#module:instances[].data_directory.temp_files[].name).
      - Names that the server gives no temporary file are kept.
    type: list
    elements: str
    required: true
  allowed_dirs:
    description:
      - Where something may be removed. The directory must be one of these or lie in one.
      - V(*) stands for anything within the last part of an entry.
    type: list
    elements: str
    required: true
  config_file:
    description:
      - The server's configuration file as the server itself names it, and empty where it has none.
        A server that no system unit runs is trusted only where root has started it and only root can write its program and this file.
      - Not needed for the main process of a system unit.
    type: str
  accept:
    description:
      - What is accepted although it stands against the change. Everything else is refused, by the names that stand here.
      - A running server of another user that works in the directory is refused whatever stands here.
    type: list
    elements: str
    default: []
    choices:
      untrusted_server: Any local user may have started this server to be given the directory, or that is not known.
      shared_directory: Other processes use the directory, or that is not known.
      foreign_files: Files of other users lie in the directory, or that is not known.
seealso:
  - module: redisops.persistence.redis_diagnosis_info
  - module: redisops.persistence.redis_data_directory
"""

EXAMPLES = r"""
---
- name: Remove what a killed save left
  redisops.persistence.redis_temp_files:
    pid: 4711
    started_unix: 1760000000.25
    path: /var/lib/redis
    names: [temp-4800.rdb]
    allowed_dirs: [/var/lib/redis]
  register: removal

- name: Show what stays and why
  ansible.builtin.debug:
    var: removal.kept
"""

RETURN = r"""
path_real:
  description: Where the directory lies in the server's mount namespace. V(null) where it was not reached.
  returned: always
  type: str
  sample: /var/lib/redis
removed:
  description: The files that were removed, or in check mode would be.
  returned: always
  type: list
  elements: dict
  contains:
    name:
      description: The name.
      returned: always
      type: str
      sample: temp-4800.rdb
    size_bytes:
      description: The size.
      returned: always
      type: int
      sample: 1048576
kept:
  description: The files that stay.
  returned: always
  type: list
  elements: dict
  contains:
    name:
      description: The name.
      returned: always
      type: str
      sample: temp-4900.rdb
    reason:
      description: Why.
      returned: always
      type: str
      sample: a child of the server is writing it
absent:
  description: The names that there is no file of.
  returned: always
  type: list
  elements: str
  sample: []
freed_bytes:
  description: The sizes of RV(removed), added up.
  returned: always
  type: int
  sample: 1048576
changes:
  description: RV(removed) in the form that all modules of this collection have for changes.
  returned: always
  type: list
  elements: dict
  contains:
    what:
      description: The file.
      returned: always
      type: str
      sample: temporary file /var/lib/redis/temp-4800.rdb
    before:
      description: Its size in bytes.
      returned: always
      type: int
      sample: 1048576
    after:
      description: V(null).
      returned: always
      type: int
    reversible:
      description: V(false).
      returned: always
      type: bool
      sample: false
diff:
  description: RV(changes) as a difference.
  returned: always
  type: list
  elements: dict
  contains:
    before_header:
      description: O(path).
      returned: always
      type: str
      sample: /var/lib/redis
    after_header:
      description: O(path).
      returned: always
      type: str
      sample: /var/lib/redis
    before:
      description: A line with the size of each file.
      returned: always
      type: str
      sample: "temporary file /var/lib/redis/temp-4800.rdb: 1048576\n"
    after:
      description: A line for each file.
      returned: always
      type: str
      sample: "temporary file /var/lib/redis/temp-4800.rdb: absent\n"
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.redisops.persistence.plugins.module_utils._runner import module_system
from ansible_collections.redisops.persistence.plugins.module_utils._temp_files_removal import (
    RemovalFailed,
    argument_spec,
    remove_temp_files,
)


def main() -> None:
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True)
    try:
        result = remove_temp_files(module.params, module_system(module), module.check_mode)
    except RemovalFailed as error:
        module.fail_json(msg=str(error), **error.result)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
