#!/usr/bin/python

# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: redis_diagnosis_info
short_description: Says why a Redis or Valkey server can't save
version_added: 0.1.0
description:
  - Gathers everything that Redis and its host say about persistence in one execution on the target, whatever the number of servers there, and walks the failure tree
    over it on the control node.
  - The answer for each server is one diagnosis - what state it is in, why the last background save failed, how sure that is, whether it still stands, whether
    the next save will succeed, and what puts it right.
  - Changes nothing, unless O(reproduce) is set.
author:
  - The redisops.persistence contributors (@redisops)
extends_documentation_fragment:
  - redisops.persistence.attributes
  - redisops.persistence.attributes.info_module
  - redisops.persistence.attributes.action_group
  - redisops.persistence.redis
  - redisops.persistence.redis.instances
options:
  reproduce:
    description:
      - Where the verdict is not V(confirmed), start a C(BGSAVE), watch it fail or succeed, and judge again.
      - Refused in check mode, and for a server that the forecast says the save would take down.
    type: bool
    default: false
  reproduce_addresses:
    description:
      - Limits O(reproduce) to these servers, named as RV(diagnoses[].instance.address) names them.
    type: list
    elements: str
  deep:
    description:
      - Walk the page tables also of servers larger than 1 GiB, to count the memory that a fork has to account for and the transparent huge pages in use.
      - This holds the server's memory lock for as long as the walk takes, which clients of a large server feel.
    type: bool
    default: false
  log_limit_bytes:
    description:
      - The most that is read from the end of each log.
    type: int
    default: 2097152
  show:
    description:
      - Print each server's diagnosis as a screen of plain text while the playbook runs.
    type: bool
    default: false
  return_evidence:
    description:
      - Return RV(evidence), on which RV(diagnoses) rest. It is some tens of kilobytes a server.
    type: bool
    default: false
  evidence_dir:
    description:
      - A directory on the control node. The evidence of each host is saved there as C(HOST.json) and can be diagnosed later with O(evidence_file).
    type: path
  evidence_file:
    description:
      - Diagnose this saved evidence, a file on the control node, instead of asking the host. No connection is made.
    type: path
  extra_nodes:
    description:
      - Nodes of the failure tree that are added to the shipped ones, or replace those of the same id.
    type: list
    elements: dict
  extra_outcomes:
    description:
      - Outcomes of the failure tree that are added to the shipped ones, or replace those of the same id.
    type: list
    elements: dict
  extra_risks:
    description:
      - Risk rules that are added to the shipped ones, or replace those of the same id.
    type: list
    elements: dict
seealso:
  - module: redisops.persistence.redis_persistence_info
  - module: redisops.persistence.redis_host_info
  - module: redisops.persistence.redis_bgsave
  - plugin: redisops.persistence.diagnose
    plugin_type: filter
"""

EXAMPLES = r"""
---
- name: Say why the servers of this host can't save
  redisops.persistence.redis_diagnosis_info:
    show: true
  register: diagnosis

- name: Diagnose one server over TLS with a user that may only look
  redisops.persistence.redis_diagnosis_info:
    instances:
      - login_host: 127.0.0.1
        login_port: 6380
        tls: true
        ca_certs: /etc/redis/tls/ca.pem
        login_user: diag
        login_password: "{{ vault_redis_diag_password }}"
  register: diagnosis

- name: Stop the play where writes are refused
  ansible.builtin.assert:
    that:
      - diagnosis.diagnoses | selectattr('writes_blocked', 'true') | length == 0
"""

RETURN = r"""
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.redisops.persistence.plugins.module_utils._diagnosis_evidence import (
    argument_spec,
    run_module,
)


def main() -> None:
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True)
    run_module(module)


if __name__ == "__main__":
    main()
