#!/usr/bin/python

# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: redis_bgsave
short_description: Saves a Redis or Valkey server's dataset in the background and waits for the outcome
version_added: 0.1.0
description:
  - Sends C(BGSAVE), waits until the child process has ended, and says whether the save succeeded and, if not, where and why it failed.
  - Success means that the server's last save has another time than before. The status alone can hide a save that was stopped.
  - A save replaces the file in the dump's place. Right before it, the file is judged - whether this server wrote or loaded it, and whether
    it holds much more than the memory does. Where it is not the server's own, none is started unless O(accept) says so, and then the file is
    kept beside first, under RV(kept_dump.path). What is kept is never removed by this collection; remove it when nobody needs it any more.
  - Sent to a server with little free memory or disk, a save is load. M(redisops.persistence.redis_diagnosis_info) foretells whether it will succeed.
    None is started where it would probably take the server down, and none where that is unknown, unless O(accept) says so.
  - Runs on the server's own host, as root or as the server's user. A file that can't be looked at can't be kept.
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
      - Never sends C(BGSAVE), and keeps no file. Predicts whether a save would be started, and which file would be kept.
  diff_mode:
    support: none
  idempotent:
    support: none
    details:
      - Each run makes another save.
options:
  wait_timeout_seconds:
    description:
      - How long to wait in all, for another child process to end and for the save itself. The save goes on when this time is over.
    type: float
    default: 600
  poll_interval_seconds:
    description:
      - How long to wait between two questions. The first questions follow each other faster.
    type: float
    default: 1
  if_running:
    description:
      - What to do where a save or another child process of the server, such as an AOF rewrite, is running already.
    type: str
    default: wait
    choices:
      wait: Wait for its end, then start a save.
      fail: Start none, and report RV(state=refused) for a save and RV(state=delayed) for another child.
  accept:
    description:
      - What may stand against the save without keeping it from being started. See RV(objections).
      - Whatever is accepted, no save is started where it would probably take the server down (V(memory_short)), in a place that intruders use
        (V(hijacked_place)), or where the file in the dump's place would have to be kept and can't be (V(cannot_keep)).
    type: list
    elements: str
    default: []
    choices:
      dump_foreign: The file is not what this server saved or loaded. It is kept beside.
      dump_unknown: Whether it is, is unknown. It is kept beside.
      dump_much_larger: The file holds much more than the memory does, or that can't be compared. It is kept beside.
      dump_shared: Another running server may write the same file. It is kept beside.
      no_dump_wanted: The server's save points are empty, so it is told to keep no dump. A file that is there is kept beside.
      memory_unknown: Whether there is memory enough for the save is unknown.
    version_added: 0.1.0
  fail_on_error:
    description:
      - Whether the task fails where RV(state) is neither V(succeeded) nor V(skipped). All return values are there either way.
    type: bool
    default: true
seealso:
  - module: redisops.persistence.redis_persistence_info
  - module: redisops.persistence.redis_diagnosis_info
"""

EXAMPLES = r"""
---
- name: Save the server on the usual port
  redisops.persistence.redis_bgsave:

- name: Prove that saving works again, and say why where it does not
  redisops.persistence.redis_bgsave:
    unix_socket: /run/redis/redis.sock
    wait_timeout_seconds: 3600
    fail_on_error: false
  register: save

- name: Save although a restored backup lies in the dump's place, which is kept beside
  redisops.persistence.redis_bgsave:
    accept: [dump_foreign, dump_unknown]

- name: Show the outcome
  ansible.builtin.debug:
    msg: "{{ save.state }} {{ save.attempt.stage | default('') }} {{ save.attempt.errno | default('') }}"
"""

RETURN = r"""
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
      description: As RV(redisops.persistence.redis_persistence_info#module:instances[].connection.state).
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
          description: The code of the server's own error, or one word for what happened.
          returned: always
          type: str
          sample: NOAUTH
        message:
          description: The text of the error. Passwords in it are masked.
          returned: always
          type: str
          sample: NOAUTH Authentication required.
    seconds:
      description: How long the connection and the first questions took.
      returned: always
      type: float
      sample: 0.012
state:
  description:
    - V(succeeded).
    - V(failed) - the child process could not be started, or did not write the dump, or was stopped, or the server went away.
    - V(timeout) - the save is still running.
    - V(delayed) - another child process was running all the time, and no save was started.
    - V(refused) - something in RV(objections) is not accepted, or the server can't be reached, is loading, is a replica without its master, or
      the user may not save.
    - V(skipped) - check mode.
  returned: always
  type: str
  sample: succeeded
message:
  description: RV(state) in words. V(null) where the save succeeded, unless another one that followed it failed.
  returned: always
  type: str
  sample: The server could not start the child process (fork failed).
reply:
  description: The server's answer to C(BGSAVE). A bare V(ERR) means that fork failed. V(null) where it was not sent.
  returned: always
  type: str
  sample: Background saving started
started_unix:
  description: When C(BGSAVE) was sent, in seconds since the epoch. V(null) where no save was started.
  returned: always
  type: float
  sample: 1760000000.25
ended_unix:
  description: When the end of the save was seen. V(null) where it was not.
  returned: always
  type: float
  sample: 1760000004.5
duration_seconds:
  description: Seconds from C(BGSAVE) to its end, or to the end of the wait.
  returned: always
  type: float
  sample: 4.25
status_before:
  description: C(rdb_last_bgsave_status) before.
  returned: always
  type: str
  sample: err
status_after:
  description: C(rdb_last_bgsave_status) after.
  returned: always
  type: str
  sample: ok
last_save_before_unix:
  description: C(rdb_last_save_time) before.
  returned: always
  type: int
  sample: 1759990000
last_save_after_unix:
  description: C(rdb_last_save_time) after.
  returned: always
  type: int
  sample: 1760000004
last_save_advanced:
  description: Whether C(rdb_last_save_time) is another than it was. A clock that was set back makes it an earlier one.
  returned: always
  type: bool
  sample: true
keys_before:
  description: Keys in memory right before the save, all databases together.
  returned: always
  type: int
  sample: 1000
keys_after:
  description: Keys in memory at its end. V(null) where no save was started.
  returned: always
  type: int
  sample: 1000
objections:
  description: What stands against the save, accepted or not. Empty where nothing does.
  returned: always
  type: list
  elements: dict
  contains:
    id:
      description: One of the choices of O(accept), or V(memory_short), V(hijacked_place) or V(cannot_keep).
      returned: always
      type: str
      sample: dump_foreign
    reason:
      description: The same in words, with what would be replaced by what.
      returned: always
      type: str
      sample: The file dump.rdb in /var/lib/redis (39.1 KiB) is not what this server saved or loaded.
    acceptable:
      description: Whether O(accept) may name it.
      returned: always
      type: bool
      sample: true
    opt_in:
      description: Whether a remediation may accept it where V(verify) is opted in.
      returned: always
      type: bool
      sample: true
dump_before:
  description: The file in the dump's place right before the save. V(null) where no server answered.
  returned: always
  type: dict
  contains: &dump
    owner:
      description: V(own), V(foreign), V(unknown), or V(none) where there is no file that a save could replace.
      returned: always
      type: str
      sample: own
    bytes:
      description: Its size.
      returned: always
      type: int
      sample: 40000
    keys_at_least:
      description: Keys of its first database, by its header.
      returned: always
      type: int
      sample: 1000
    saved_unix:
      description: When it was written.
      returned: always
      type: float
      sample: 1759990000
dump_after:
  description: The same after the save. V(null) where none was started.
  returned: always
  type: dict
  contains:
    <<: *dump
    inode:
      description: What tells it from a later one.
      returned: always
      type: int
      sample: 131075
kept_dump:
  description: The file that was kept beside. V(null) where none had to be, or nothing was replaced and it was removed again.
  returned: always
  type: dict
  contains:
    path:
      description: Where it is, as the server sees it. V(null) in check mode, as the name has the time of the run.
      returned: always
      type: str
      sample: /var/lib/redis/dump.rdb.kept-20261125T170000Z-4711
    method:
      description: V(link) (a second name of the same file) or V(copy). V(null) in check mode.
      returned: always
      type: str
      sample: link
    device:
      description: The device of the kept file. V(null) in check mode.
      returned: always
      type: str
      sample: "253:1"
    inode:
      description: Its inode there. V(null) in check mode.
      returned: always
      type: int
      sample: 131074
    bytes:
      description: Its size.
      returned: always
      type: int
      sample: 40000
    keys_at_least:
      description: Keys of its first database, by its header.
      returned: always
      type: int
      sample: 1000
    saved_unix:
      description: When it was written.
      returned: always
      type: float
      sample: 1759990000
shield:
  description:
    - What was done so that the child process dies, rather than the server, where memory runs out during the save. C(oom-score-adj) is set for
      the moment of the fork, as a child keeps the score that it was forked with.
    - V(null) where nothing was to be done, as the setting is on or not known to the server, or memory is plainly ample.
    - Where the module is killed in that moment, the setting stays on until this module saves the same server again, which puts it back.
  returned: always
  type: dict
  contains:
    before:
      description: C(oom-score-adj) before.
      returned: always
      type: str
      sample: 'no'
    during:
      description: C(oom-score-adj) during the fork. V(null) where it could not be set.
      returned: always
      type: str
      sample: 'yes'
    restored:
      description: Whether it was put back, and the server's own score with it. V(null) in check mode, and where it was not set.
      returned: always
      type: bool
      sample: true
    problem:
      description: Why it could not be set or put back. V(null) where nothing went wrong.
      returned: always
      type: str
      sample: NOPERM this user has no permissions to run the 'config|set' command
peak_copy_on_write_bytes:
  description:
    - The most memory that was seen copied for the save. Seen by asking from time to time while it ran (Redis 6.2 or newer), and at the end
      of a save that succeeded.
  returned: always
  type: int
  sample: 4194304
progress:
  description: How far the save was where RV(state=timeout) (Redis 6.2 or newer). V(null) otherwise.
  returned: always
  type: dict
  contains:
    keys_processed:
      description: Keys written.
      returned: always
      type: int
      sample: 50000
    keys_total:
      description: Keys to write.
      returned: always
      type: int
      sample: 100000
    percent:
      description: The share that is written. V(null) where there are no keys.
      returned: always
      type: float
      sample: 50.0
attempt:
  description: The save as an attempt, with what the server's log and the kernel's log say about it. V(null) where no save was started.
  returned: always
  type: dict
  contains:
    child_pid:
      description: The child process in the server's pid namespace.
      returned: always
      type: int
      sample: 4711
    host_pid:
      description: The child process on the host.
      returned: always
      type: int
      sample: 4711
    server_pid:
      description: The process id on the server's own lines of the log.
      returned: always
      type: int
      sample: 4700
    before_restart:
      description: V(false).
      returned: always
      type: bool
      sample: false
    foreground:
      description: V(false).
      returned: always
      type: bool
      sample: false
    target:
      description: V(disk).
      returned: always
      type: str
      sample: disk
    trigger:
      description: V(command).
      returned: always
      type: str
      sample: command
    started_unix:
      description: When C(BGSAVE) was sent.
      returned: always
      type: float
      sample: 1760000000.25
    ended_unix:
      description: When the end was seen.
      returned: always
      type: float
      sample: 1760000004.5
    outcome:
      description: V(succeeded), V(failed), V(aborted), V(running) or V(unknown).
      returned: always
      type: str
      sample: failed
    stage:
      description: Where it ended, one of V(fork), V(open), V(write), V(dir_fsync), V(rename), V(child), V(done). V(null) where that is unknown.
      returned: always
      type: str
      sample: open
    errno:
      description: The name of the error.
      returned: always
      type: str
      sample: EACCES
    errno_text:
      description: The error as the log has it.
      returned: always
      type: str
      sample: Permission denied
    operation:
      description: The operation that failed while writing.
      returned: always
      type: str
      sample: fsync
    signal:
      description: The signal that ended the child process.
      returned: always
      type: int
      sample: 9
    file:
      description: The file that could not be opened or renamed.
      returned: always
      type: str
      sample: temp-4711.rdb
    directory:
      description: The directory of that file as the server sees it.
      returned: always
      type: str
      sample: /var/lib/redis
    destination:
      description: The file that the dump was to become.
      returned: always
      type: str
      sample: dump.rdb
    killer:
      description: Who killed the child process, and what proves it.
      returned: always
      type: dict
      sample:
        kind: oom_cgroup
    kernel_events:
      description: What the kernel logged about the child process.
      returned: always
      type: list
      elements: dict
      sample: []
    crash:
      description: The crash of the child process, and the module that was at work.
      returned: always
      type: dict
      sample:
        signal: 11
        module: search
    silent:
      description: Whether the child process failed without a line in the log. V(null) where no log could be read.
      returned: always
      type: bool
      sample: false
    lines:
      description: The lines of the log about this save.
      returned: always
      type: list
      elements: str
      sample: []
    source:
      description: V(observed).
      returned: always
      type: str
      sample: observed
gaps:
  description: What could not be read.
  returned: always
  type: list
  elements: dict
  contains:
    what:
      description: What is missing.
      returned: always
      type: str
      sample: redis_log
    why:
      description: The reason.
      returned: always
      type: str
      sample: Permission denied
    remedy:
      description: What would make it readable.
      returned: always
      type: str
      sample: Run as root (become).
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.redisops.persistence.plugins.module_utils._interruption import Interrupted, signals_raise
from ansible_collections.redisops.persistence.plugins.module_utils._observed_save import save_one_server
from ansible_collections.redisops.persistence.plugins.module_utils._options import connection_argument_spec
from ansible_collections.redisops.persistence.plugins.module_utils._runner import module_system
from ansible_collections.redisops.persistence.plugins.module_utils._save_guard import ACCEPTABLE


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **connection_argument_spec(),
            "wait_timeout_seconds": {"type": "float", "default": 600},
            "poll_interval_seconds": {"type": "float", "default": 1},
            "if_running": {"type": "str", "default": "wait", "choices": ["wait", "fail"]},
            "accept": {"type": "list", "elements": "str", "default": [], "choices": list(ACCEPTABLE)},
            "fail_on_error": {"type": "bool", "default": True},
        },
        supports_check_mode=True,
    )
    try:
        # What was changed for the moment of the fork is put back when the module is told to end.
        with signals_raise():
            result = save_one_server(module.params, module_system(module), module.check_mode)
    except Interrupted as interruption:
        module.fail_json(msg=f"{interruption} A save that was started goes on, and a file that was kept stays.")
    if module.params["fail_on_error"] and result["state"] not in ("succeeded", "skipped"):
        module.fail_json(msg=f"{result['address']}: {result['message']}", **result)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
