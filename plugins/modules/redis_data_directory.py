#!/usr/bin/python

# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: redis_data_directory
short_description: Changes owner, mode and attributes of a server's data directory, safely
version_added: 0.1.0
description:
  - Changes the one directory that a running Redis or Valkey server saves to, as the server itself meets it, in its own mount namespace too.
  - Other than M(ansible.builtin.file) it takes no path at its word. It opens the server's working directory, or the path part by part without
    following a link, compares device and inode with those that were diagnosed, and changes what it has opened. Nothing is recursive.
  - Places of the system, of SSH keys, of cron and of web servers are refused by whatever path, link or bind mount they are reached,
    whatever O(allowed_dirs) says. A mode that lets everybody write is never set. A file system that is read-only stays so.
  - Root changes it only for a server of which only root decides what it is and where it works, in a directory that only that server uses,
    see O(accept). The server's own user needs no such leave.
  - A directory that is missing can be made (O(create)).
  - What stands where the dump belongs can be removed where it is an empty directory (O(destination)).
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
      - The server's process as the host counts it. The directory is looked for in its root and mount namespace.
      - May be left out with O(create) alone.
    type: int
  started_unix:
    description:
      - When that process was started, in seconds since the epoch. Another process that has its pid now is refused.
    type: float
  path:
    description:
      - The directory as the server sees it, absolute, with no link on the way.
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
  state:
    description:
      - V(present) is all there is. A data directory is never removed.
    type: str
    default: present
    choices: [present]
  create:
    description:
      - Whether to make the directory where it is missing. Its parent must be there, belong to root or to the server, and not be open to everybody.
      - Needs O(uid), O(gid) and O(mode).
    type: bool
    default: false
  uid:
    description:
      - The owner, as the host counts. Left alone where not given.
    type: int
  gid:
    description:
      - The group, as the host counts. Left alone where not given.
    type: int
  mode:
    description:
      - The permission bits as an octal text, such as V('0750'). Left alone where not given.
      - Write access for everybody and the set-user-id bit are refused.
    type: str
  attributes_add:
    description:
      - Attributes of C(chattr) to set on the directory, V(i) (immutable) and V(a) (append-only). Done last.
    type: list
    elements: str
    choices: [i, a]
    default: []
  attributes_remove:
    description:
      - Attributes to take from the directory. Done first, for nothing else can be changed before.
    type: list
    elements: str
    choices: [i, a]
    default: []
  dump_name:
    description:
      - The name of the dump in the directory (C(dbfilename)). Names that intruders use are refused.
    type: str
  dump_attributes_add:
    description:
      - Attributes to set on the dump. Nothing is done where there is no dump.
    type: list
    elements: str
    choices: [i, a]
    default: []
  dump_attributes_remove:
    description:
      - Attributes to take from the dump. It must be a regular file with one name.
    type: list
    elements: str
    choices: [i, a]
    default: []
  destination:
    description:
      - What to do about a directory that has the dump's name.
    type: str
    default: unchanged
    choices:
      unchanged: Nothing.
      absent: Remove it where it is empty and no mount point, and fail where it is not. A file is left alone.
      directory: Make it, to undo V(absent). A file that has the name meanwhile is left alone and noted in RV(conflicts).
  destination_uid:
    description:
      - The owner of the directory that O(destination=directory) makes.
    type: int
  destination_gid:
    description:
      - The group of the directory that O(destination=directory) makes.
    type: int
  destination_mode:
    description:
      - The mode of the directory that O(destination=directory) makes, as O(mode).
    type: str
  put_back:
    description:
      - A file that M(redisops.persistence.redis_bgsave) has kept beside (RV(redisops.persistence.redis_bgsave#module:kept_dump)), to be put
        into the dump's place again. It keeps its own name as well.
      - Done only where the file in place is still the one that the save wrote. That one is kept beside in its turn (RV(replaced_as)).
      - The server's memory stays as it is, and its next save replaces the file again. It is meant for right before a restart.
    type: dict
    suboptions:
      name:
        description:
          - The name of the kept file in the directory.
        type: str
        required: true
      bytes:
        description:
          - Its size.
        type: int
      inode:
        description:
          - Its inode.
        type: int
      saved_unix:
        description:
          - When it was written, by its header.
        type: float
      replaced:
        description:
          - The file that the save wrote.
        type: dict
        required: true
        suboptions:
          bytes:
            description:
              - Its size.
            type: int
          inode:
            description:
              - Its inode.
            type: int
          saved_unix:
            description:
              - When it was written, by its header.
            type: float
  allowed_dirs:
    description:
      - Where something may be changed. The directory must be one of these or lie in one.
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
  expected:
    description:
      - What owner, group and mode must be now (or be already as wanted). One that is something else is left alone and noted in RV(conflicts).
      - Meant for undoing a change that somebody may have changed again since.
    type: dict
    suboptions:
      uid:
        description:
          - The owner.
        type: int
      gid:
        description:
          - The group.
        type: int
      mode:
        description:
          - The mode, as O(mode).
        type: str
seealso:
  - module: redisops.persistence.redis_diagnosis_info
  - module: redisops.persistence.redis_temp_files
"""

EXAMPLES = r"""
---
- name: Let the server write to its directory
  redisops.persistence.redis_data_directory:
    pid: 4711
    started_unix: 1760000000.25
    path: /var/lib/redis
    device: "253:1"
    inode: 131074
    uid: 999
    gid: 999
    mode: "0750"
    allowed_dirs: [/var/lib/redis*]

- name: Make the directory that somebody deleted
  redisops.persistence.redis_data_directory:
    path: /var/lib/redis
    create: true
    uid: 999
    gid: 999
    mode: "0750"
    allowed_dirs: [/var/lib/redis*]

- name: Let the dump be replaced again
  redisops.persistence.redis_data_directory:
    pid: 4711
    path: /var/lib/redis
    attributes_remove: [i, a]
    dump_name: dump.rdb
    dump_attributes_remove: [i, a]
    destination: absent
    allowed_dirs: [/var/lib/redis*]
"""

RETURN = r"""
path_real:
  description: Where the directory lies in the server's mount namespace. Another path than O(path) for a server in a chroot. V(null) where it was not reached.
  returned: always
  type: str
  sample: /var/lib/redis
changes:
  description: What was changed, or in check mode would be. Where the task fails, what was changed before that.
  returned: always
  type: list
  elements: dict
  contains:
    what:
      description: What was changed.
      returned: always
      type: str
      sample: owner of /var/lib/redis
    before:
      description: Its value before. V(null) where there was none.
      returned: always
      type: str
      sample: "0:0"
    after:
      description: Its value now. V(null) where it is gone.
      returned: always
      type: str
      sample: "999:999"
    reversible:
      description: Whether the value before can be put back.
      returned: always
      type: bool
      sample: true
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
      description: The values before, a line each.
      returned: always
      type: str
      sample: "owner of /var/lib/redis: 0:0\n"
    after:
      description: The values after, a line each.
      returned: always
      type: str
      sample: "owner of /var/lib/redis: 999:999\n"
acl_left:
  description: Whether the directory has an access control list, which owner and mode do not replace. Its mask follows the group's bits.
  returned: always
  type: bool
  sample: false
destination_before:
  description: Owner, group and mode of the empty directory that was removed. V(null) where none was.
  returned: always
  type: dict
  contains:
    uid:
      description: The owner.
      returned: always
      type: int
      sample: 0
    gid:
      description: The group.
      returned: always
      type: int
      sample: 0
    mode:
      description: The mode.
      returned: always
      type: str
      sample: "0755"
replaced_as:
  description: The name under which O(put_back) has kept the file that was in the dump's place. V(null) where none was replaced.
  returned: always
  type: str
  sample: dump.rdb.kept-20261125T170000Z-4711
conflicts:
  description: What was left alone because somebody has changed it since.
  returned: always
  type: list
  elements: str
  sample: []
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.redisops.persistence.plugins.module_utils._data_directory_change import (
    ChangeFailed,
    argument_spec,
    change_data_directory,
)
from ansible_collections.redisops.persistence.plugins.module_utils._runner import module_system


def main() -> None:
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True)
    try:
        result = change_data_directory(module.params, module_system(module), module.check_mode)
    except ChangeFailed as error:
        module.fail_json(msg=str(error), **error.result)
    for warning in result.pop("warnings"):
        module.warn(warning)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
