#!/usr/bin/python

# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: redis_host_info
short_description: Says what a host knows of the Redis or Valkey servers that run on it
version_added: 0.1.0
description:
  - Reads what the kernel, the file system, systemd and the logs say about one or many servers, and about the machine that they run on.
  - That is memory and its limits, the data directory as the server itself sees it, control groups, the unit and its sandbox, the container, the server's log
    and the kernel's, and which file sets C(vm.overcommit_memory) and transparent huge pages at the next boot.
  - Redis itself is not asked, so this works for a server that hangs, or that nobody has the password of.
  - Needs nothing but Python's standard library. Without root it returns less, and RV(instances[].gaps) says what is missing.
  - Nothing is judged here. M(redisops.persistence.redis_diagnosis_info) does that.
author:
  - The redisops.persistence contributors (@redisops)
extends_documentation_fragment:
  - redisops.persistence.attributes
  - redisops.persistence.attributes.info_module
options:
  instances:
    description:
      - The servers to look at. Each is named by its process id, or by where it listens.
      - Without it, every server that is found on the host.
    type: list
    elements: dict
    suboptions:
      pid:
        description:
          - Process id of the server, as the host numbers it.
        type: int
      login_host:
        description:
          - Address that the server listens on.
          - Defaults to V(127.0.0.1).
        type: str
      login_port:
        description:
          - Port that the server listens on.
          - Defaults to V(6379).
        type: int
      unix_socket:
        description:
          - Unix socket that the server listens on. Used instead of O(instances[].login_host) and O(instances[].login_port).
        type: path
      dir:
        description:
          - The server's setting C(dir), where it is known. What the server really writes to is its working directory; this one is compared with it.
          - Without it the server's configuration file is read.
        type: path
      dbfilename:
        description:
          - The server's setting C(dbfilename), where it is known.
          - Without it the server's configuration file is read.
        type: str
      logfile:
        description:
          - The server's setting C(logfile), where it is known. A relative name is looked up in the data directory.
          - Without it the server's configuration file is read.
        type: path
  deep:
    description:
      - Walk the page tables also of servers larger than 1 GiB, to count the memory that a fork has to account for and the transparent huge pages in use.
      - This holds the server's memory lock for as long as the walk takes, which clients of a large server feel.
    type: bool
    default: false
  log_limit_bytes:
    description:
      - The most that is read from the end of each server's log.
    type: int
    default: 2097152
notes:
  - Not part of the action group C(redis), since it takes no credentials. O(instances[].login_host) and O(instances[].login_port) only name a server.
seealso:
  - module: redisops.persistence.redis_persistence_info
  - module: redisops.persistence.redis_diagnosis_info
"""

EXAMPLES = r"""
---
- name: Look at every server of this host
  redisops.persistence.redis_host_info:
  become: true
  register: host_side

- name: Name the servers that could not make a file in their directory
  ansible.builtin.debug:
    msg: "{{ host_side.instances | selectattr('data_directory') | rejectattr('data_directory.access.writable', 'true') | map(attribute='address') }}"

- name: Look at the server on port 6380, whose settings are known
  redisops.persistence.redis_host_info:
    instances:
      - login_port: 6380
        dir: /srv/redis/6380
        dbfilename: dump-6380.rdb
        logfile: /var/log/redis/6380.log
  become: true

- name: Count what a fork of a large server has to account for
  redisops.persistence.redis_host_info:
    instances:
      - pid: 4711
    deep: true
  become: true
"""

RETURN = r"""
host:
  description: The machine that the servers run on.
  returned: success
  type: dict
  contains:
    hostname:
      description: Its name.
      returned: always
      type: str
      sample: cache-7
    kernel_release:
      description: As C(uname -r) says.
      returned: always
      type: str
      sample: 6.1.0-13-amd64
    kernel_version:
      description: The first two numbers of the release.
      returned: always
      type: list
      elements: int
      sample: [6, 1]
    architecture:
      description: As C(uname -m) says.
      returned: always
      type: str
      sample: x86_64
    os:
      description: From C(os-release).
      returned: always
      type: dict
      contains:
        id:
          description: The distribution.
          returned: always
          type: str
          sample: debian
        version_id:
          description: Its version. V(null) for a rolling release.
          returned: always
          type: str
          sample: "12"
        name:
          description: Its name for people.
          returned: always
          type: str
          sample: Debian GNU/Linux 12 (bookworm)
    boot_unix:
      description: When the machine started.
      returned: always
      type: int
      sample: 1795380257
    collector:
      description: With what rights, and from where, this was gathered.
      returned: always
      type: dict
      contains:
        uid:
          description: The effective user id.
          returned: always
          type: int
          sample: 0
        root:
          description: Whether that is root.
          returned: always
          type: bool
          sample: true
        capabilities_effective:
          description: The capabilities in force.
          returned: always
          type: list
          elements: str
          sample: [CAP_CHOWN, CAP_DAC_OVERRIDE]
        in_container:
          description: Whether the module ran in a container.
          returned: always
          type: bool
          sample: false
    page_size_bytes:
      description: Size of a memory page.
      returned: always
      type: int
      sample: 4096
    memory:
      description: From C(/proc/meminfo).
      returned: always
      type: dict
      contains:
        total_bytes:
          description: RAM.
          returned: always
          type: int
          sample: 25276063744
        available_bytes:
          description: What can be had without swapping.
          returned: always
          type: int
          sample: 24823173120
        free_bytes:
          description: What is not used for anything.
          returned: always
          type: int
          sample: 24493715456
        swap_total_bytes:
          description: Swap space.
          returned: always
          type: int
          sample: 0
        swap_free_bytes:
          description: Swap space that is free.
          returned: always
          type: int
          sample: 0
        commit_limit_bytes:
          description: What overcommit mode 2 allows in all.
          returned: always
          type: int
          sample: 12638031872
        committed_bytes:
          description: What is accounted for now.
          returned: always
          type: int
          sample: 260907008
        anonymous_huge_pages_bytes:
          description: Transparent huge pages in use.
          returned: always
          type: int
          sample: 0
        huge_pages_reserved_bytes:
          description: Memory set aside for the pools of huge pages.
          returned: always
          type: int
          sample: 0
    overcommit:
      description: How the kernel decides whether memory may be promised.
      returned: always
      type: dict
      contains:
        mode:
          description: C(vm.overcommit_memory).
          returned: always
          type: int
          sample: 0
        ratio:
          description: C(vm.overcommit_ratio), in per cent.
          returned: always
          type: int
          sample: 50
        kilobytes:
          description: C(vm.overcommit_kbytes); it counts instead of the ratio where it is not V(0).
          returned: always
          type: int
          sample: 0
        admin_reserve_kilobytes:
          description: C(vm.admin_reserve_kbytes).
          returned: always
          type: int
          sample: 8192
        user_reserve_kilobytes:
          description: C(vm.user_reserve_kbytes).
          returned: always
          type: int
          sample: 131072
        boot:
          description: What the next boot would make of it.
          returned: always
          type: dict
          contains:
            value:
              description: The value. V(null) where nothing sets it and the kernel's default holds.
              returned: always
              type: str
              sample: "1"
            source:
              description: The file and line that has the last word, a unit's name, or V(kernel command line).
              returned: always
              type: str
              sample: "/etc/sysctl.d/50-redis.conf:1"
            candidates:
              description: Every place that names it, in the order in which a boot applies them.
              returned: always
              type: list
              elements: dict
              contains:
                source:
                  description: File and line, a unit's name, or V(kernel command line).
                  returned: always
                  type: str
                  sample: "/etc/sysctl.d/50-redis.conf:1"
                line:
                  description: The line.
                  returned: always
                  type: str
                  sample: vm.overcommit_memory = 1
                value:
                  description: Its value.
                  returned: always
                  type: str
                  sample: "1"
                effective:
                  description: Whether it has the last word.
                  returned: always
                  type: bool
                  sample: true
                note:
                  description: Why it has not, or what else there is to say.
                  returned: always
                  type: str
                  sample: overridden by /etc/sysctl.d/99-local.conf:3
            overridden_by:
              description: What wins over a place that a boot applies earlier.
              returned: always
              type: list
              elements: str
              sample: []
            managed_by:
              description: C(tuned:) and the profile, where TuneD sets it.
              returned: always
              type: str
              sample: "tuned:throughput-performance"
            truncated:
              description: Whether the oldest candidates were left out.
              returned: when they were
              type: bool
              sample: true
    thp:
      description: Transparent huge pages.
      returned: always
      type: dict
      contains:
        policy:
          description: V(always), V(madvise) or V(never). V(null) on a kernel without them.
          returned: always
          type: str
          sample: madvise
        defrag:
          description: When the kernel makes room for them.
          returned: always
          type: str
          sample: madvise
        boot:
          description: What the next boot would make of it.
          returned: always
          type: dict
          contains:
            value:
              description: The value. V(null) where nothing sets it and the kernel's default holds.
              returned: always
              type: str
              sample: "1"
            source:
              description: The file and line that has the last word, a unit's name, or V(kernel command line).
              returned: always
              type: str
              sample: "/etc/sysctl.d/50-redis.conf:1"
            candidates:
              description: Every place that names it, in the order in which a boot applies them.
              returned: always
              type: list
              elements: dict
              contains:
                source:
                  description: File and line, a unit's name, or V(kernel command line).
                  returned: always
                  type: str
                  sample: "/etc/sysctl.d/50-redis.conf:1"
                line:
                  description: The line.
                  returned: always
                  type: str
                  sample: vm.overcommit_memory = 1
                value:
                  description: Its value.
                  returned: always
                  type: str
                  sample: "1"
                effective:
                  description: Whether it has the last word.
                  returned: always
                  type: bool
                  sample: true
                note:
                  description: Why it has not, or what else there is to say.
                  returned: always
                  type: str
                  sample: overridden by /etc/sysctl.d/99-local.conf:3
            overridden_by:
              description: What wins over a place that a boot applies earlier.
              returned: always
              type: list
              elements: str
              sample: []
            managed_by:
              description: C(tuned:) and the profile, where TuneD sets it.
              returned: always
              type: str
              sample: "tuned:throughput-performance"
            truncated:
              description: Whether the oldest candidates were left out.
              returned: when they were
              type: bool
              sample: true
    limits:
      description: Limits of the whole machine.
      returned: always
      type: dict
      contains:
        pid_max:
          description: The largest process id.
          returned: always
          type: int
          sample: 32768
        threads_max:
          description: The most threads.
          returned: always
          type: int
          sample: 192729
        threads:
          description: Threads there are.
          returned: always
          type: int
          sample: 417
        files_max:
          description: The most open files.
          returned: always
          type: int
          sample: 9223372036854775807
        files_open:
          description: Files that are open.
          returned: always
          type: int
          sample: 487
    numa:
      description: Nodes of memory.
      returned: always
      type: dict
      contains:
        node_count:
          description: How many there are. V(null) on a kernel without NUMA.
          returned: always
          type: int
          sample: 1
        nodes:
          description: The nodes.
          returned: always
          type: list
          elements: dict
          contains:
            id:
              description: Number of the node.
              returned: always
              type: int
              sample: 0
            total_bytes:
              description: Its memory.
              returned: always
              type: int
              sample: 25276063744
            free_bytes:
              description: What of it is not used for anything.
              returned: always
              type: int
              sample: 24493715456
    lsm:
      description: Security modules.
      returned: always
      type: dict
      contains:
        selinux:
          description: V(enforcing), V(permissive), V(disabled) or V(absent).
          returned: always
          type: str
          sample: absent
        apparmor:
          description: Whether AppArmor is on.
          returned: always
          type: bool
          sample: true
    kernel_log:
      description: What the kernel's log says about memory, disks and refused access.
      returned: always
      type: dict
      contains:
        available:
          description: Whether it could be read.
          returned: always
          type: bool
          sample: true
        source:
          description: V(kmsg), V(journal), V(file) or V(none).
          returned: always
          type: str
          sample: kmsg
        path:
          description: The file that was read.
          returned: always
          type: str
          sample: /dev/kmsg
        reason:
          description: Why it could not be read.
          returned: always
          type: str
          sample: Operation not permitted
        oldest_unix:
          description: Time of the oldest line.
          returned: always
          type: float
          sample: 1795380257.5
        newest_unix:
          description: Time of the newest line.
          returned: always
          type: float
          sample: 1795382257.5
        truncated:
          description: Whether older lines were left out.
          returned: always
          type: bool
          sample: false
        events:
          description: The lines that matter, oldest first.
          returned: always
          type: list
          elements: dict
          contains:
            time_unix:
              description: When it happened.
              returned: always
              type: float
              sample: 1795382257.5
            event:
              description: >-
                V(oom_kill), V(commit_refused), V(io_error), V(filesystem_error), V(remounted_read_only), V(access_denied), V(seccomp_kill),
                V(segfault), V(fork_rejected) or V(hung_task).
              returned: always
              type: str
              sample: oom_kill
            text:
              description: The line.
              returned: always
              type: str
              sample: "Out of memory: Killed process 4711 (redis-server)"
            pid:
              description: The process, as the host numbers it.
              returned: for events of a process
              type: int
              sample: 4711
            command:
              description: Its command.
              returned: for events of a process
              type: str
              sample: redis-server
            uid:
              description: Its user.
              returned: for V(oom_kill)
              type: int
              sample: 106
            constraint:
              description: V(host), V(cgroup), V(cpuset) or V(nodes).
              returned: for V(oom_kill)
              type: str
              sample: cgroup
            oom_cgroup:
              description: The group whose limit was met.
              returned: for V(oom_kill)
              type: str
              sample: /redis.slice
            task_cgroup:
              description: The group of the process.
              returned: for V(oom_kill)
              type: str
              sample: /redis.slice/cache.service
            anonymous_bytes:
              description: Its memory.
              returned: for V(oom_kill)
              type: int
              sample: 1073741824
            oom_score_adj:
              description: Its adjustment.
              returned: for V(oom_kill)
              type: int
              sample: 0
            global:
              description: Whether the whole machine was out of memory.
              returned: for V(oom_kill)
              type: bool
              sample: false
            bytes:
              description: How much was asked for.
              returned: for V(commit_refused)
              type: int
              sample: 1073741824
            device:
              description: The device.
              returned: for events of a disk
              type: str
              sample: sda1
            filesystem:
              description: The type of the file system.
              returned: for V(filesystem_error)
              type: str
              sample: ext4
            detail:
              description: What the kernel adds.
              returned: for events of a disk, and for V(segfault)
              type: str
              sample: Buffer I/O error
            system:
              description: V(selinux) or V(apparmor).
              returned: for V(access_denied)
              type: str
              sample: apparmor
            operation:
              description: What was refused.
              returned: for V(access_denied)
              type: str
              sample: open
            path:
              description: On which file.
              returned: for V(access_denied)
              type: str
              sample: /var/lib/redis/temp-4711.rdb
            profile:
              description: Under which profile.
              returned: for V(access_denied)
              type: str
              sample: /usr/bin/redis-server
            syscall:
              description: Number of the system call.
              returned: for V(seccomp_kill)
              type: int
              sample: 277
            cgroup:
              description: The control group.
              returned: for V(fork_rejected)
              type: str
              sample: /redis.slice
instances:
  description: One entry for each server, in the order of O(instances) or by process id.
  returned: success
  type: list
  elements: dict
  contains:
    address:
      description: C(host:port), or C(unix:) and a path; C(process) and its pid for one that listens nowhere.
      returned: always
      type: str
      sample: "127.0.0.1:6379"
    process:
      description: The server's process. V(null) where there is none.
      returned: always
      type: dict
      contains:
        pid:
          description: Its number on the host.
          returned: always
          type: int
          sample: 4711
        pid_in_namespace:
          description: Its number in its own pid namespace, which is what Redis calls itself.
          returned: always
          type: int
          sample: 1
        parent_pid:
          description: Its parent.
          returned: always
          type: int
          sample: 1
        command:
          description: The name of the executable, at most 15 characters.
          returned: always
          type: str
          sample: redis-server
        title:
          description: Its title or command line, secrets masked.
          returned: always
          type: str
          sample: "/usr/bin/redis-server 127.0.0.1:6379"
        started_unix:
          description: When it started.
          returned: always
          type: float
          sample: 1795381780.16
        state:
          description: V(R), V(S), V(D), V(T) and so on, as C(ps) has them.
          returned: always
          type: str
          sample: S
        uid:
          description: Its user.
          returned: always
          type: dict
          contains:
            real:
              description: Whose processes are counted against the limit.
              returned: always
              type: int
              sample: 106
            effective:
              description: With whose rights it writes.
              returned: always
              type: int
              sample: 106
        gid:
          description: Its group.
          returned: always
          type: dict
          contains:
            real:
              description: The real one.
              returned: always
              type: int
              sample: 110
            effective:
              description: The one with whose rights it writes.
              returned: always
              type: int
              sample: 110
        groups:
          description: Its supplementary groups.
          returned: always
          type: list
          elements: int
          sample: [110]
        user:
          description: The name of the effective user, as the server's own root directory knows it.
          returned: always
          type: str
          sample: redis
        capabilities_effective:
          description: Capabilities in force.
          returned: always
          type: list
          elements: str
          sample: []
        no_new_privileges:
          description: Whether it has given up gaining privileges.
          returned: always
          type: bool
          sample: true
        seccomp_mode:
          description: V(0) none, V(1) strict, V(2) filter.
          returned: always
          type: int
          sample: 2
        security_label:
          description: Its label or profile.
          returned: always
          type: str
          sample: unconfined
        thp_enabled:
          description: V(false) where the process has switched transparent huge pages off for itself.
          returned: always
          type: bool
          sample: false
        anonymous_huge_pages_bytes:
          description: Transparent huge pages that it uses. V(null) where its page tables were not walked, see O(deep).
          returned: always
          type: int
          sample: 0
        resident_bytes:
          description: Its memory in RAM.
          returned: always
          type: int
          sample: 4112384
        swapped_bytes:
          description: Its memory in swap.
          returned: always
          type: int
          sample: 0
        virtual_bytes:
          description: Its address space.
          returned: always
          type: int
          sample: 31289344
        data_bytes:
          description: Its private data.
          returned: always
          type: int
          sample: 26529792
        page_tables_bytes:
          description: Its page tables, which a fork copies.
          returned: always
          type: int
          sample: 61440
        private_writable_bytes:
          description: All mappings that a fork may be charged for.
          returned: always
          type: int
          sample: 26664960
        accounted_bytes:
          description: Those that a fork is charged for. V(null) where its page tables were not walked, see O(deep).
          returned: always
          type: int
          sample: 26710016
        largest_private_mapping_bytes:
          description: The largest of the mappings that a fork may be charged for.
          returned: always
          type: int
          sample: 8388608
        memory_detail:
          description: V(smaps) where the page tables were walked, else V(maps).
          returned: always
          type: str
          sample: smaps
        threads:
          description: Its threads.
          returned: always
          type: int
          sample: 6
        uid_threads:
          description: Threads of its real user, as the kernel counts them against the process limit.
          returned: always
          type: int
          sample: 7
        open_files:
          description: Its open files.
          returned: always
          type: int
          sample: 12
        limits:
          description: Its resource limits.
          returned: always
          type: dict
          contains:
            nproc:
              description: Processes and threads of the user.
              returned: always
              type: dict
              contains:
                soft:
                  description: What is in force; a number, or V(unlimited).
                  returned: always
                  type: raw
                  sample: 96364
                hard:
                  description: What it may be raised to.
                  returned: always
                  type: raw
                  sample: 96364
            fsize:
              description: Size of a file.
              returned: always
              type: dict
              contains:
                soft:
                  description: What is in force; a number, or V(unlimited).
                  returned: always
                  type: raw
                  sample: unlimited
                hard:
                  description: What it may be raised to.
                  returned: always
                  type: raw
                  sample: unlimited
            nofile:
              description: Open files.
              returned: always
              type: dict
              contains:
                soft:
                  description: What is in force; a number, or V(unlimited).
                  returned: always
                  type: raw
                  sample: 65535
                hard:
                  description: What it may be raised to.
                  returned: always
                  type: raw
                  sample: 65535
            cpu:
              description: Processor time, in seconds.
              returned: always
              type: dict
              contains:
                soft:
                  description: What is in force; a number, or V(unlimited).
                  returned: always
                  type: raw
                  sample: unlimited
                hard:
                  description: What it may be raised to.
                  returned: always
                  type: raw
                  sample: unlimited
            as:
              description: Address space.
              returned: always
              type: dict
              contains:
                soft:
                  description: What is in force; a number, or V(unlimited).
                  returned: always
                  type: raw
                  sample: unlimited
                hard:
                  description: What it may be raised to.
                  returned: always
                  type: raw
                  sample: unlimited
            data:
              description: Data.
              returned: always
              type: dict
              contains:
                soft:
                  description: What is in force; a number, or V(unlimited).
                  returned: always
                  type: raw
                  sample: unlimited
                hard:
                  description: What it may be raised to.
                  returned: always
                  type: raw
                  sample: unlimited
            memlock:
              description: Locked memory.
              returned: always
              type: dict
              contains:
                soft:
                  description: What is in force; a number, or V(unlimited).
                  returned: always
                  type: raw
                  sample: 8388608
                hard:
                  description: What it may be raised to.
                  returned: always
                  type: raw
                  sample: 8388608
            core:
              description: Core files.
              returned: always
              type: dict
              contains:
                soft:
                  description: What is in force; a number, or V(unlimited).
                  returned: always
                  type: raw
                  sample: 0
                hard:
                  description: What it may be raised to.
                  returned: always
                  type: raw
                  sample: 0
        oom_score_adj:
          description: Its adjustment for the out-of-memory killer.
          returned: always
          type: int
          sample: 0
        oom_score:
          description: How likely the out-of-memory killer is to choose it.
          returned: always
          type: int
          sample: 666
        numa:
          description: Where its memory may lie.
          returned: always
          type: dict
          contains:
            policy:
              description: V(default), V(bind), V(interleave), V(prefer) or V(local). V(null) where its page tables were not walked.
              returned: always
              type: str
              sample: default
            memory_nodes_allowed:
              description: Nodes it may use.
              returned: always
              type: str
              sample: "0-1"
            cpus_allowed:
              description: Processors it may use.
              returned: always
              type: str
              sample: "0-7"
        namespaces:
          description: Its namespaces.
          returned: always
          type: dict
          contains:
            mount:
              description: The mount namespace.
              returned: always
              type: dict
              contains:
                inode:
                  description: Its number.
                  returned: always
                  type: int
                  sample: 4026531840
                is_host:
                  description: Whether it is that of the machine's first process.
                  returned: always
                  type: bool
                  sample: true
            pid:
              description: The pid namespace.
              returned: always
              type: dict
              contains:
                inode:
                  description: Its number.
                  returned: always
                  type: int
                  sample: 4026531840
                is_host:
                  description: Whether it is that of the machine's first process.
                  returned: always
                  type: bool
                  sample: true
            user:
              description: The user namespace.
              returned: always
              type: dict
              contains:
                inode:
                  description: Its number.
                  returned: always
                  type: int
                  sample: 4026531840
                is_host:
                  description: Whether it is that of the machine's first process.
                  returned: always
                  type: bool
                  sample: true
            network:
              description: The network namespace.
              returned: always
              type: dict
              contains:
                inode:
                  description: Its number.
                  returned: always
                  type: int
                  sample: 4026531840
                is_host:
                  description: Whether it is that of the machine's first process.
                  returned: always
                  type: bool
                  sample: true
            cgroup:
              description: The cgroup namespace.
              returned: always
              type: dict
              contains:
                inode:
                  description: Its number.
                  returned: always
                  type: int
                  sample: 4026531840
                is_host:
                  description: Whether it is that of the machine's first process.
                  returned: always
                  type: bool
                  sample: true
        children:
          description: Its children.
          returned: always
          type: list
          elements: dict
          contains:
            pid:
              description: Number on the host.
              returned: always
              type: int
              sample: 4799
            pid_in_namespace:
              description: Number in its own pid namespace, which is what the log says.
              returned: always
              type: int
              sample: 5
            command:
              description: Its command, that of the server.
              returned: always
              type: str
              sample: redis-server
            title:
              description: Its title.
              returned: always
              type: str
              sample: "redis-rdb-bgsave 127.0.0.1:6379"
            state:
              description: As of the server.
              returned: always
              type: str
              sample: D
            started_unix:
              description: When it was forked.
              returned: always
              type: float
              sample: 1795382171.43
            kind:
              description: V(rdb_save), V(rdb_to_replicas), V(aof_rewrite), V(module_fork), or V(unknown) where the title does not tell.
              returned: always
              type: str
              sample: rdb_save
            oom_score_adj:
              description: Its adjustment for the out-of-memory killer.
              returned: always
              type: int
              sample: 800
            cpu_seconds:
              description: Processor time that it has used.
              returned: always
              type: float
              sample: 1.52
            wait_channel:
              description: What it waits for in the kernel.
              returned: always
              type: str
              sample: folio_wait_bit_common
            kernel_stack:
              description: Always V(null) for now.
              returned: always
              type: str
            written_bytes:
              description: What it has written.
              returned: always
              type: int
              sample: 73400320
        timezone:
          description: Its C(TZ). V(null) where it has none, or where it can't be read.
          returned: always
          type: str
          sample: Europe/Berlin
        trust:
          description: Whether only root decides what this server is and where it works.
          returned: always
          type: dict
          contains:
            trusted:
              description: Whether that is so. V(null) where it can't be told.
              returned: always
              type: bool
              sample: true
            by:
              description: >-
                V(unit) for the main process of a system unit, V(container) for the first process of a container of the system's own engine,
                V(files) for one that root has started, with program and configuration file of root's. V(null) where it is not trusted.
              returned: always
              type: str
              sample: unit
            why:
              description: Why, in words.
              returned: always
              type: str
              sample: it is the main process of redis.service, whose files only root can write
    cgroups:
      description: Its control groups. V(null) where the kernel has none.
      returned: always
      type: dict
      contains:
        version:
          description: V(1), V(2) or V(hybrid).
          returned: always
          type: raw
          sample: 2
        path:
          description: Its group.
          returned: always
          type: str
          sample: /system.slice/redis-server.service
        memory:
          description: Memory limits of its own group, then of each ancestor.
          returned: always
          type: list
          elements: dict
          contains:
            path:
              description: The group.
              returned: always
              type: str
              sample: /system.slice
            limit_bytes:
              description: Bytes, or V(unlimited).
              returned: always
              type: raw
              sample: unlimited
            soft_limit_bytes:
              description: C(memory.high), or the soft limit of version 1; bytes, or V(unlimited).
              returned: always
              type: raw
              sample: unlimited
            usage_bytes:
              description: What is used.
              returned: always
              type: int
              sample: 1044480
            swap_limit_bytes:
              description: Swap alone; bytes, or V(unlimited).
              returned: always
              type: raw
              sample: 0
            oom_kill_count:
              description: Processes that the kernel has killed in it; with version 2, in the groups below it too.
              returned: always
              type: int
              sample: 0
            oom_event_count:
              description: How often it ran out of memory (version 2).
              returned: always
              type: int
              sample: 0
            max_event_count:
              description: How often it met its limit.
              returned: always
              type: int
              sample: 12
            anonymous_bytes:
              description: Memory of its processes.
              returned: always
              type: int
              sample: 696320
            file_bytes:
              description: Page cache.
              returned: always
              type: int
              sample: 28672
            shared_memory_bytes:
              description: The part of it that lies on a tmpfs or is shared memory, which is not given back.
              returned: always
              type: int
              sample: 0
            oom_group:
              description: Whether all its processes are killed together (version 2).
              returned: always
              type: bool
              sample: false
        pids:
          description: Limits on processes and threads of its own group, then of each ancestor.
          returned: always
          type: list
          elements: dict
          contains:
            path:
              description: The group.
              returned: always
              type: str
              sample: /system.slice
            limit:
              description: A number, or V(unlimited).
              returned: always
              type: raw
              sample: 4915
            current:
              description: Processes and threads there are.
              returned: always
              type: int
              sample: 7
            max_event_count:
              description: How often a fork was refused.
              returned: always
              type: int
              sample: 0
        truncated_at_namespace:
          description: Whether there may be ancestors that can't be seen from here.
          returned: always
          type: bool
          sample: false
    data_directory:
      description: The directory that the server writes to.
      returned: always
      type: dict
      contains:
        path:
          description: As the process sees it, its working directory.
          returned: always
          type: str
          sample: /var/lib/redis
        deleted:
          description: Whether it was removed while the server runs.
          returned: always
          type: bool
          sample: false
        configured:
          description: The setting C(dir), where it is known.
          returned: always
          type: str
          sample: /var/lib/redis
        root:
          description: The process's root directory.
          returned: always
          type: str
          sample: /
        process_view:
          description: The file system that the server really writes to.
          returned: always
          type: dict
          contains:
            device:
              description: Device number.
              returned: always
              type: str
              sample: "254:1"
            inode:
              description: Number of the directory.
              returned: always
              type: int
              sample: 131073
            mount_point:
              description: Where it is mounted.
              returned: always
              type: str
              sample: /
            mount_options:
              description: Options of this mount.
              returned: always
              type: list
              elements: str
              sample: [rw, relatime]
            super_options:
              description: Options of the file system.
              returned: always
              type: list
              elements: str
              sample: [rw]
            type:
              description: Its type.
              returned: always
              type: str
              sample: ext4
            source:
              description: What is mounted.
              returned: always
              type: str
              sample: /dev/vda1
            read_only:
              description: Whether this mount is read-only.
              returned: always
              type: bool
              sample: false
            super_read_only:
              description: Whether the whole file system is read-only.
              returned: always
              type: bool
              sample: false
            total_bytes:
              description: Its size.
              returned: always
              type: int
              sample: 21003583488
            free_bytes:
              description: What is free, the reserve included.
              returned: always
              type: int
              sample: 10501791744
            available_bytes:
              description: What an ordinary user can have.
              returned: always
              type: int
              sample: 9428049920
            usable_bytes:
              description: What the server's user can have.
              returned: always
              type: int
              sample: 9428049920
            inodes_total:
              description: Number of inodes. V(null) where there is no such number.
              returned: always
              type: int
              sample: 1310720
            inodes_free:
              description: Inodes that are free.
              returned: always
              type: int
              sample: 1250000
            inodes_usable:
              description: Inodes that the server's user can have.
              returned: always
              type: int
              sample: 1250000
            is_root_volume:
              description: Whether the host's root directory lies on it.
              returned: always
              type: bool
              sample: true
            holds_logs:
              description: Whether C(/var/log) lies on it.
              returned: always
              type: bool
              sample: true
        host_view:
          description: What lies at that path now, as the host sees it.
          returned: always
          type: dict
          contains:
            device:
              description: Device number.
              returned: always
              type: str
              sample: "254:1"
            inode:
              description: Number of the directory.
              returned: always
              type: int
              sample: 131073
            mount_point:
              description: Where it is mounted.
              returned: always
              type: str
              sample: /
            mount_options:
              description: Options of this mount.
              returned: always
              type: list
              elements: str
              sample: [rw, relatime]
            super_options:
              description: Options of the file system.
              returned: always
              type: list
              elements: str
              sample: [rw]
            type:
              description: Its type.
              returned: always
              type: str
              sample: ext4
            source:
              description: What is mounted.
              returned: always
              type: str
              sample: /dev/vda1
            read_only:
              description: Whether this mount is read-only.
              returned: always
              type: bool
              sample: false
            super_read_only:
              description: Whether the whole file system is read-only.
              returned: always
              type: bool
              sample: false
            total_bytes:
              description: Its size.
              returned: always
              type: int
              sample: 21003583488
            free_bytes:
              description: What is free, the reserve included.
              returned: always
              type: int
              sample: 10501791744
            available_bytes:
              description: What an ordinary user can have.
              returned: always
              type: int
              sample: 9428049920
            usable_bytes:
              description: What the server's user can have.
              returned: always
              type: int
              sample: 9428049920
            inodes_total:
              description: Number of inodes. V(null) where there is no such number.
              returned: always
              type: int
              sample: 1310720
            inodes_free:
              description: Inodes that are free.
              returned: always
              type: int
              sample: 1250000
            inodes_usable:
              description: Inodes that the server's user can have.
              returned: always
              type: int
              sample: 1250000
            is_root_volume:
              description: Whether the host's root directory lies on it.
              returned: always
              type: bool
              sample: true
            holds_logs:
              description: Whether C(/var/log) lies on it.
              returned: always
              type: bool
              sample: true
        lookup_view:
          description: What lies at that path now, as the server would find it.
          returned: always
          type: dict
          contains:
            device:
              description: Device number.
              returned: always
              type: str
              sample: "254:1"
            inode:
              description: Number of the directory.
              returned: always
              type: int
              sample: 131073
            mount_point:
              description: Where it is mounted.
              returned: always
              type: str
              sample: /
            mount_options:
              description: Options of this mount.
              returned: always
              type: list
              elements: str
              sample: [rw, relatime]
            super_options:
              description: Options of the file system.
              returned: always
              type: list
              elements: str
              sample: [rw]
            type:
              description: Its type.
              returned: always
              type: str
              sample: ext4
            source:
              description: What is mounted.
              returned: always
              type: str
              sample: /dev/vda1
            read_only:
              description: Whether this mount is read-only.
              returned: always
              type: bool
              sample: false
            super_read_only:
              description: Whether the whole file system is read-only.
              returned: always
              type: bool
              sample: false
            total_bytes:
              description: Its size.
              returned: always
              type: int
              sample: 21003583488
            free_bytes:
              description: What is free, the reserve included.
              returned: always
              type: int
              sample: 10501791744
            available_bytes:
              description: What an ordinary user can have.
              returned: always
              type: int
              sample: 9428049920
            usable_bytes:
              description: What the server's user can have.
              returned: always
              type: int
              sample: 9428049920
            inodes_total:
              description: Number of inodes. V(null) where there is no such number.
              returned: always
              type: int
              sample: 1310720
            inodes_free:
              description: Inodes that are free.
              returned: always
              type: int
              sample: 1250000
            inodes_usable:
              description: Inodes that the server's user can have.
              returned: always
              type: int
              sample: 1250000
            is_root_volume:
              description: Whether the host's root directory lies on it.
              returned: always
              type: bool
              sample: true
            holds_logs:
              description: Whether C(/var/log) lies on it.
              returned: always
              type: bool
              sample: true
        same_directory:
          description: Whether the server would find the directory that it writes to.
          returned: always
          type: bool
          sample: true
        owner:
          description: Whose directory it is.
          returned: always
          type: dict
          contains:
            uid:
              description: User id.
              returned: always
              type: int
              sample: 106
            gid:
              description: Group id.
              returned: always
              type: int
              sample: 110
            mode:
              description: Permissions.
              returned: always
              type: str
              sample: "0750"
            user:
              description: Name of the user.
              returned: always
              type: str
              sample: redis
            group:
              description: Name of the group.
              returned: always
              type: str
              sample: redis
            changed_unix:
              description: When its owner, its mode, its access control list, its label or an entry in it was last changed.
              returned: always
              type: float
              sample: 1795381262.286
        access_acl:
          description: Whether it has an access control list.
          returned: always
          type: bool
          sample: false
        permission_chain:
          description: From the root directory to it.
          returned: always
          type: list
          elements: dict
          contains:
            path:
              description: One directory.
              returned: always
              type: str
              sample: /var/lib
            uid:
              description: Its user.
              returned: always
              type: int
              sample: 0
            gid:
              description: Its group.
              returned: always
              type: int
              sample: 0
            mode:
              description: Its permissions.
              returned: always
              type: str
              sample: "0755"
            access_acl:
              description: Whether it has an access control list.
              returned: always
              type: bool
              sample: false
            search_allowed:
              description: Whether the server may pass through it.
              returned: always
              type: bool
              sample: true
        access:
          description: What classic permissions and access control lists allow the server.
          returned: always
          type: dict
          contains:
            writable:
              description: Whether it may make files.
              returned: always
              type: bool
              sample: true
            searchable:
              description: Whether it may reach files.
              returned: always
              type: bool
              sample: true
            blocked_by:
              description: The first directory that refuses.
              returned: always
              type: str
              sample: /var/lib
            reason:
              description: Why it does.
              returned: always
              type: str
              sample: mode 0700 of root
        sticky:
          description: Whether only owners may replace files.
          returned: always
          type: bool
          sample: false
        attributes:
          description: Attributes of the directory.
          returned: always
          type: dict
          contains:
            immutable:
              description: C(chattr +i).
              returned: always
              type: bool
              sample: false
            append_only:
              description: C(chattr +a).
              returned: always
              type: bool
              sample: false
        dump:
          description: The file that a save replaces.
          returned: always
          type: dict
          contains:
            name:
              description: Its name.
              returned: always
              type: str
              sample: dump.rdb
            exists:
              description: Whether it is there.
              returned: always
              type: bool
              sample: true
            type:
              description: V(file), V(directory), V(symlink) or V(other).
              returned: always
              type: str
              sample: file
            size_bytes:
              description: Its size.
              returned: always
              type: int
              sample: 1048576
            modified_unix:
              description: When it was last replaced.
              returned: always
              type: float
              sample: 1795382171.43
            uid:
              description: Its user.
              returned: always
              type: int
              sample: 106
            gid:
              description: Its group.
              returned: always
              type: int
              sample: 110
            mode:
              description: Its permissions.
              returned: always
              type: str
              sample: "0660"
            is_mount_point:
              description: Whether something is mounted on it.
              returned: always
              type: bool
              sample: false
            directory_empty:
              description: For a directory, whether it is empty.
              returned: always
              type: bool
              sample: false
            attributes:
              description: Its attributes.
              returned: always
              type: dict
              contains:
                immutable:
                  description: C(chattr +i).
                  returned: always
                  type: bool
                  sample: false
                append_only:
                  description: C(chattr +a).
                  returned: always
                  type: bool
                  sample: false
            changed_unix:
              description: When its owner, mode, name or links were last changed.
              returned: always
              type: float
              sample: 1795382171.43
            device:
              description: Its device.
              returned: always
              type: str
              sample: "253:1"
            inode:
              description: Its inode.
              returned: always
              type: int
              sample: 131074
            link_count:
              description: How many names it has.
              returned: always
              type: int
              sample: 1
            header:
              description: >-
                What its first bytes say. V(null) where it is no RDB, could not be read, or belongs to neither the
                server's user nor root.
              returned: always
              type: dict
              contains:
                rdb_version:
                  description: Version of the format.
                  returned: always
                  type: int
                  sample: 10
                server_version:
                  description: Version of the server that wrote it.
                  returned: always
                  type: str
                  sample: 7.0.15
                created_unix:
                  description: When the save that wrote it began.
                  returned: always
                  type: int
                  sample: 1795382170
                used_memory_bytes:
                  description: Memory of that server then.
                  returned: always
                  type: int
                  sample: 1048576
                keys_at_least:
                  description: Keys of its first database. V(0) where it has none at all.
                  returned: always
                  type: int
                  sample: 20
                database:
                  description: Number of that database. V(null) where it has none.
                  returned: always
                  type: int
                  sample: 0
        users:
          description: Who else uses the directory, among all processes of the host.
          returned: always
          type: dict
          contains:
            complete:
              description: Whether all were looked at. V(null) where some could not be looked into.
              returned: always
              type: bool
              sample: true
            processes:
              description: Processes that work there or below, or hold files open there. The server and its children are none of them.
              returned: always
              type: list
              elements: dict
              contains:
                pid:
                  description: Its number.
                  returned: always
                  type: int
                  sample: 5120
                uid:
                  description: Its effective user.
                  returned: always
                  type: int
                  sample: 4242
                command:
                  description: Its name.
                  returned: always
                  type: str
                  sample: redis-server
                is_server:
                  description: Whether it is a Redis or Valkey server with data. A Sentinel is none.
                  returned: always
                  type: bool
                  sample: true
                how:
                  description: V(cwd) where it works there, V(open_file) where it holds a file open.
                  returned: always
                  type: str
                  sample: cwd
                below:
                  description: Whether that is in something that lies in the directory.
                  returned: always
                  type: bool
                  sample: false
        foreign_files:
          description: What lies in the directory and belongs neither to root nor to the server's user.
          returned: always
          type: dict
          contains:
            complete:
              description: Whether all entries were looked at. V(null) where that could not be done.
              returned: always
              type: bool
              sample: true
            count:
              description: How many there are.
              returned: always
              type: int
              sample: 1
            examples:
              description: The first ones by name.
              returned: always
              type: list
              elements: dict
              contains:
                name:
                  description: Its name.
                  returned: always
                  type: str
                  sample: ibdata1
                uid:
                  description: Its user.
                  returned: always
                  type: int
                  sample: 999
        temp_files:
          description: Temporary files of saves.
          returned: always
          type: list
          elements: dict
          contains:
            name:
              description: Its name.
              returned: always
              type: str
              sample: temp-4799.rdb
            kind:
              description: V(rdb_child), V(rdb_replica_sync) or V(aof_rewrite).
              returned: always
              type: str
              sample: rdb_child
            pid:
              description: The number in its name.
              returned: always
              type: int
              sample: 4799
            size_bytes:
              description: Its size.
              returned: always
              type: int
              sample: 73400320
            modified_unix:
              description: When it was last written to.
              returned: always
              type: float
              sample: 1795382175.0
            uid:
              description: Its user.
              returned: always
              type: int
              sample: 106
            holder:
              description: V(live_child), V(server), V(other_process), V(none) or V(unknown).
              returned: always
              type: str
              sample: none
            open:
              description: Whether a process has it open.
              returned: always
              type: bool
              sample: false
        temp_files_bytes:
          description: Their size in all.
          returned: always
          type: int
          sample: 73400320
        temp_files_truncated:
          description: Whether there are more than are listed.
          returned: always
          type: bool
          sample: false
        entries_truncated:
          description: Whether the directory has more entries than were looked at.
          returned: always
          type: bool
          sample: false
        aof:
          description: The append only file. V(null) where it is not in use or not known.
          returned: always
          type: dict
          contains:
            exists:
              description: Whether it is there.
              returned: always
              type: bool
              sample: false
            size_bytes:
              description: Its size.
              returned: always
              type: int
              sample: 0
    systemd:
      description: The unit that runs the server. V(null) where none does.
      returned: always
      type: dict
      contains:
        unit:
          description: Its name.
          returned: always
          type: str
          sample: redis-server.service
        load_state:
          description: As C(systemctl show) has it.
          returned: always
          type: str
          sample: loaded
        active_state:
          description: As C(systemctl show) has it.
          returned: always
          type: str
          sample: active
        sub_state:
          description: As C(systemctl show) has it.
          returned: always
          type: str
          sample: running
        type:
          description: How it starts.
          returned: always
          type: str
          sample: notify
        fragment_path:
          description: The unit file.
          returned: always
          type: str
          sample: /lib/systemd/system/redis-server.service
        drop_in_paths:
          description: The drop-ins.
          returned: always
          type: list
          elements: str
          sample: []
        user:
          description: C(User).
          returned: always
          type: str
          sample: redis
        group:
          description: C(Group).
          returned: always
          type: str
          sample: redis
        restart:
          description: C(Restart).
          returned: always
          type: str
          sample: always
        restart_count:
          description: How often it was restarted.
          returned: always
          type: int
          sample: 0
        result:
          description: How it ended last.
          returned: always
          type: str
          sample: success
        oom_policy:
          description: C(OOMPolicy).
          returned: always
          type: str
          sample: stop
        status_text:
          description: What the server told systemd.
          returned: always
          type: str
          sample: Ready to accept connections
        timeout_stop_usec:
          description: How long a stop may take, in microseconds, or V(infinity).
          returned: always
          type: raw
          sample: 90000000
        need_daemon_reload:
          description: Whether the files changed since systemd read them.
          returned: always
          type: bool
          sample: false
        sandbox:
          description: What it is shut off from.
          returned: always
          type: dict
          contains:
            ProtectSystem:
              description: As in the unit.
              returned: always
              type: str
              sample: strict
            ProtectHome:
              description: As in the unit.
              returned: always
              type: str
              sample: "yes"
            ReadWritePaths:
              description: As in the unit.
              returned: always
              type: list
              elements: str
              sample: [/var/lib/redis]
            ReadOnlyPaths:
              description: As in the unit.
              returned: always
              type: list
              elements: str
              sample: []
            InaccessiblePaths:
              description: As in the unit.
              returned: always
              type: list
              elements: str
              sample: []
            BindPaths:
              description: As in the unit.
              returned: always
              type: list
              elements: str
              sample: []
            TemporaryFileSystem:
              description: As in the unit.
              returned: always
              type: list
              elements: str
              sample: []
            PrivateTmp:
              description: As in the unit.
              returned: always
              type: raw
              sample: true
            PrivateUsers:
              description: As in the unit.
              returned: always
              type: raw
              sample: true
            PrivateDevices:
              description: As in the unit.
              returned: always
              type: raw
              sample: true
            StateDirectory:
              description: As in the unit.
              returned: always
              type: raw
              sample: redis
            RootDirectory:
              description: As in the unit.
              returned: always
              type: str
              sample: ""
            SystemCallFilter:
              description: As in the unit.
              returned: always
              type: str
              sample: "@system-service"
            RestrictNamespaces:
              description: As in the unit.
              returned: always
              type: raw
              sample: true
            UMask:
              description: As in the unit.
              returned: always
              type: str
              sample: "0007"
        limits:
          description: Its limits.
          returned: always
          type: dict
          contains:
            LimitNPROC:
              description: A number, or V(unlimited).
              returned: always
              type: raw
              sample: 96364
            LimitFSIZE:
              description: Bytes, or V(unlimited).
              returned: always
              type: raw
              sample: unlimited
            LimitNOFILE:
              description: A number, or V(unlimited).
              returned: always
              type: raw
              sample: 65535
            LimitCPU:
              description: Time, or V(unlimited).
              returned: always
              type: raw
              sample: unlimited
            TasksMax:
              description: A number, or V(unlimited).
              returned: always
              type: raw
              sample: 4915
            MemoryMax:
              description: Bytes, or V(unlimited).
              returned: always
              type: raw
              sample: unlimited
            MemoryHigh:
              description: Bytes, or V(unlimited).
              returned: always
              type: raw
              sample: unlimited
            OOMScoreAdjust:
              description: A number.
              returned: always
              type: raw
              sample: -900
        source:
          description: V(systemctl) has what is in force; V(files) what the files say.
          returned: always
          type: str
          sample: systemctl
    container:
      description: The container that the server runs in. V(null) where it is in none of its own.
      returned: always
      type: dict
      contains:
        runtime:
          description: V(docker), V(podman), V(containerd), V(crio), V(lxc), V(nspawn), V(kubernetes) or V(unknown).
          returned: always
          type: str
          sample: docker
        id:
          description: Its id.
          returned: always
          type: str
          sample: 4f3c8a1b2d5e
        log_path:
          description: Where its output is kept.
          returned: always
          type: str
          sample: /var/lib/docker/containers/4f3c8a1b2d5e/4f3c8a1b2d5e-json.log
        collector_inside:
          description: Whether the module ran in it.
          returned: always
          type: bool
          sample: false
    redis_log:
      description: What the server's log says.
      returned: always
      type: dict
      contains:
        available:
          description: Whether it could be read.
          returned: always
          type: bool
          sample: true
        source:
          description: V(file), V(journal), V(syslog), V(container) or V(none).
          returned: always
          type: str
          sample: file
        path:
          description: The file that was read.
          returned: always
          type: str
          sample: /var/log/redis/redis-server.log
        format:
          description: V(legacy), V(logfmt) or V(json).
          returned: always
          type: str
          sample: legacy
        reason:
          description: Why it could not be read.
          returned: always
          type: str
          sample: Permission denied
        size_bytes:
          description: Its size.
          returned: always
          type: int
          sample: 10240
        read_bytes:
          description: How much of its end was read.
          returned: always
          type: int
          sample: 10240
        truncated:
          description: Whether older lines were left out.
          returned: always
          type: bool
          sample: false
        oldest_unix:
          description: Time of the oldest line.
          returned: always
          type: float
          sample: 1795380257.5
        newest_unix:
          description: Time of the newest line.
          returned: always
          type: float
          sample: 1795382257.5
        kept:
          description: V(false) where the log goes to C(/dev/null) or nowhere.
          returned: always
          type: bool
          sample: true
        events:
          description: The lines that matter, oldest first.
          returned: always
          type: list
          elements: dict
          contains:
            time_unix:
              description: When it was written.
              returned: always
              type: float
              sample: 1795382257.5
            pid:
              description: The process that wrote it, in the server's own pid namespace.
              returned: always
              type: int
              sample: 4799
            role:
              description: V(M) master, V(S) replica, V(C) child, V(X) Sentinel.
              returned: always
              type: str
              sample: C
            event:
              description: >-
                What it says, such as V(save_started), V(fork_failed), V(open_failed), V(write_failed), V(rename_failed), V(save_failed),
                V(save_signalled) or V(save_succeeded).
              returned: always
              type: str
              sample: write_failed
            text:
              description: The line, at most 400 characters.
              returned: always
              type: str
              sample: "Write error while saving DB to the disk(rdbSaveRio): No space left on device"
            changes:
              description: Changes that were waiting.
              returned: for V(save_points_met)
              type: int
              sample: 100
            seconds:
              description: Within which time.
              returned: for V(save_points_met)
              type: int
              sample: 300
            child_pid:
              description: The child.
              returned: for V(save_started) and V(aof_rewrite_started)
              type: int
              sample: 4799
            errno:
              description: The name of the error. V(null) where the text is not a known one.
              returned: for failures
              type: str
              sample: ENOSPC
            errno_text:
              description: The text of the error.
              returned: for failures
              type: str
              sample: No space left on device
            operation:
              description: What failed.
              returned: for V(write_failed)
              type: str
              sample: rdbSaveRio
            file:
              description: The file.
              returned: for V(open_failed) and V(rename_failed)
              type: str
              sample: temp-4799.rdb
            directory:
              description: The server's directory.
              returned: for V(open_failed) and V(rename_failed)
              type: str
              sample: /var/lib/redis
            destination:
              description: The name that the file was to get.
              returned: for V(rename_failed)
              type: str
              sample: dump.rdb
            bytes:
              description: An amount of memory.
              returned: for V(copy_on_write) and V(out_of_memory_handler)
              type: int
              sample: 1048576
            peak_bytes:
              description: The most that was copied.
              returned: for V(copy_on_write)
              type: int
              sample: 1048576
            average_bytes:
              description: What was copied on the average.
              returned: for V(copy_on_write)
              type: int
              sample: 1048576
            signal:
              description: The signal.
              returned: for signals
              type: int
              sample: 9
            target:
              description: V(disk) or V(replicas).
              returned: for V(replica_sync_started)
              type: str
              sample: disk
            module:
              description: The module that the stack shows.
              returned: for V(crash_stack)
              type: str
              sample: redisbloom
            replica_disk:
              description: Whether a replica gave up since it could not write.
              returned: for V(panic)
              type: bool
              sample: true
    gaps:
      description: What could not be read about this server.
      returned: always
      type: list
      elements: dict
      contains:
        what:
          description: What it is.
          returned: always
          type: str
          sample: "process: open files"
        why:
          description: The reason of the operating system.
          returned: always
          type: str
          sample: "Permission denied: the process is another user's"
        remedy:
          description: What would make it readable.
          returned: always
          type: str
          sample: "Run as root (become: true)."
gaps:
  description: What could not be read.
  returned: success
  type: list
  elements: dict
  contains:
    what:
      description: What it is.
      returned: always
      type: str
      sample: "process: open files"
    why:
      description: The reason of the operating system.
      returned: always
      type: str
      sample: "Permission denied: the process is another user's"
    remedy:
      description: What would make it readable.
      returned: always
      type: str
      sample: "Run as root (become: true)."
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.redisops.persistence.plugins.module_utils._host_evidence import (
    argument_spec,
    collect_host_evidence,
)
from ansible_collections.redisops.persistence.plugins.module_utils._runner import module_system


def main() -> None:
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True)
    module.exit_json(changed=False, **collect_host_evidence(module.params, module_system(module)))


if __name__ == "__main__":
    main()
