# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from ansible_collections.redisops.persistence.plugins.module_utils._boot_file import HEADER, SHEBANG
from ansible_collections.redisops.persistence.plugins.module_utils._kernel_setting_change import (
    change_kernel_setting,
    check_value,
    find_setting,
)
from ansible_collections.redisops.persistence.plugins.module_utils._module_outcome import Refused
from ansible_collections.redisops.persistence.plugins.module_utils._system import System
from ansible_collections.redisops.persistence.tests.unit.recorded_tree import write_tree

OVERCOMMIT_PATH = "/proc/sys/vm/overcommit_memory"
THP_PATH = "/sys/kernel/mm/transparent_hugepage/enabled"
SYSCTL_FILE = "/etc/sysctl.d/99-zz-redisops-persistence.conf"
TMPFILES_FILE = "/etc/tmpfiles.d/redisops-persistence.conf"
WANTED = "/etc/systemd/system/multi-user.target.wants"
BASE = {
    OVERCOMMIT_PATH: "0\n",
    "/proc/sys/net/core/somaxconn": "4096\n",
    "/proc/sys/net/ipv4/tcp_rmem": "4096\t131072\t6291456\n",
    THP_PATH: "always [madvise] never\n",
    "/proc/self/ns/pid": {"link": "pid:[4026531836]"},
    "/proc/cmdline": "BOOT_IMAGE=/vmlinuz root=/dev/sda1 ro quiet\n",
    "/etc/sysctl.d/README": "",
    "/etc/tmpfiles.d/README": "",
}
SYSTEMD = {**BASE, "/run/systemd/system/.keep": ""}
SYSV = {**BASE, "/etc/init.d/procps": "#!/bin/sh\n", "/etc/rcS.d/S01procps": {"link": "../init.d/procps"}}
TUNED = {
    "/etc/tuned/active_profile": "throughput\n",
    f"{WANTED}/tuned.service": "",
    "/etc/tuned/tuned-main.conf": "",
}


class Machine(System):
    """A recorded tree whose policy of huge pages answers as the kernel does: with all choices."""

    def read_text(self, path, limit_bytes=1024 * 1024):
        text = super().read_text(path, limit_bytes)
        return f"always [{text.strip()}] x\n" if path == THP_PATH and "[" not in text else text


def machine(tmp_path, files):
    return Machine(root=str(write_tree(tmp_path, files)))


def snapshot(root):
    """Everything in a tree: names, types, modes, times and contents."""
    found = {}
    for path in sorted(Path(root).rglob("*")):
        status = path.lstat()
        content = path.read_bytes() if stat.S_ISREG(status.st_mode) else None
        found[str(path)] = (status.st_mode, status.st_ino, status.st_mtime_ns, content)
    return found


def run(system, name="vm.overcommit_memory", value="1", check_mode=False, **options):
    parameters = {"name": name, "value": value, "boot": "present", "running": True, "expected": None, **options}
    return change_kernel_setting(parameters, system, check_mode)


def run_all(system, **options):
    """Check mode, which touches nothing, then for real, then once more: the outcome of the real run."""
    before = snapshot(system.root)
    predicted = run(system, check_mode=True, **options)
    assert snapshot(system.root) == before
    real = run(system, **options)
    assert predicted == real
    assert real.result["changed"] is bool(real.result["changes"])
    again = run(system, **options)
    assert again.result["changes"] == [] and again.result["diff"] == [] and again.result["changed"] is False
    assert again.failure == real.failure
    return real


def text_of(system, path):
    return Path(system.path(path)).read_text()


def test_both_values_on_a_host_with_systemd(tmp_path):
    system = machine(tmp_path, SYSTEMD)
    outcome = run_all(system)
    content = f"{HEADER}\nvm.overcommit_memory = 1\n"
    assert text_of(system, SYSCTL_FILE) == content
    assert text_of(system, OVERCOMMIT_PATH) == "1\n"
    assert (outcome.failure, outcome.warnings) == (None, ())
    assert outcome.result["changes"] == [
        {"what": "sysctl vm.overcommit_memory", "before": "0", "after": "1", "reversible": True},
        {"what": f"file {SYSCTL_FILE}", "before": None, "after": content, "reversible": True},
    ]
    assert [entry["after"] for entry in outcome.result["diff"]] == ["1\n", content]
    assert outcome.result["running"] == {"before": "0", "after": "1"}
    boot = outcome.result["boot"]
    assert boot["before"]["value"] is None
    del boot["before"]
    assert boot == {
        "after": "1",
        "file": SYSCTL_FILE,
        "form": "sysctl.d",
        "effective": True,
        "overridden_by": [],
        "reason": None,
    }


def test_taking_it_back(tmp_path):
    system = machine(tmp_path, SYSTEMD)
    before = text_of(system, OVERCOMMIT_PATH), os.listdir(system.path("/etc/sysctl.d"))
    run(system)
    outcome = run_all(system, value="0", boot="absent", expected="1")
    assert (text_of(system, OVERCOMMIT_PATH), os.listdir(system.path("/etc/sysctl.d"))) == before
    assert [entry["after"] for entry in outcome.result["changes"]] == ["0", None]
    assert outcome.result["boot"]["after"] is None
    assert outcome.result["boot"]["file"] is None


def test_what_somebody_else_changed_meanwhile_is_left_alone(tmp_path):
    system = machine(
        tmp_path, {**SYSTEMD, OVERCOMMIT_PATH: "2\n", SYSCTL_FILE: f"{HEADER}\nvm.overcommit_memory = 1\n"}
    )
    outcome = run_all(system, value="0", boot="absent", expected="1")
    assert outcome.result["changes"] == []
    assert "is 2, neither 0 nor 1" in outcome.result["conflict"]
    assert outcome.warnings == (outcome.result["conflict"],)
    assert outcome.result["boot"]["file"] == SYSCTL_FILE


def test_somebody_elses_file_that_says_the_same_is_enough(tmp_path):
    files = {**SYSTEMD, OVERCOMMIT_PATH: "1\n", "/etc/sysctl.d/10-db.conf": "vm.overcommit_memory=1\n"}
    outcome = run_all(machine(tmp_path, files))
    assert outcome.result["changes"] == []
    assert (outcome.result["boot"]["effective"], outcome.result["boot"]["file"]) == (True, None)


def test_a_file_that_ours_comes_after_is_overruled(tmp_path):
    files = {**SYSTEMD, "/etc/sysctl.d/99-sysctl.conf": {"link": "../sysctl.conf"}}
    files["/etc/sysctl.conf"] = "vm.overcommit_memory = 0\n"
    boot = run_all(machine(tmp_path, files)).result["boot"]
    assert (boot["after"], boot["effective"], boot["file"]) == ("1", True, SYSCTL_FILE)


@pytest.mark.parametrize(
    ("files", "source", "value"),
    [
        ({**SYSTEMD, "/usr/lib/sysctl.d/zz-last.conf": "vm.overcommit_memory = 2\n"}, "zz-last.conf:1", "2"),
        ({**SYSV, "/etc/sysctl.conf": "vm.overcommit_memory = 0\n"}, "/etc/sysctl.conf:1", "0"),
        (
            {
                **SYSTEMD,
                "/etc/systemd/system/tune.service": "[Service]\nExecStart=/sbin/sysctl -w vm.overcommit_memory=0\n",
                f"{WANTED}/tune.service": {"link": "../tune.service"},
            },
            "tune.service",
            "0",
        ),
        (
            {
                **SYSTEMD,
                **TUNED,
                "/etc/tuned/tuned-main.conf": "reapply_sysctl = 0\n",
                "/usr/lib/tuned/throughput/tuned.conf": "[sysctl]\nvm.overcommit_memory = 0\n",
            },
            "tuned.conf:2",
            "0",
        ),
    ],
    ids=["later file", "sysctl.conf without systemd", "unit", "TuneD"],
)
def test_where_something_else_has_the_say_no_file_is_written(tmp_path, files, source, value):
    system = machine(tmp_path, files)
    outcome = run_all(system)
    assert text_of(system, OVERCOMMIT_PATH) == "1\n"
    assert not system.exists(SYSCTL_FILE)
    assert [entry["what"] for entry in outcome.result["changes"]] == ["sysctl vm.overcommit_memory"]
    boot = outcome.result["boot"]
    assert (boot["effective"], boot["file"], boot["after"]) == (False, None, value)
    assert len(boot["overridden_by"]) == 1 and boot["overridden_by"][0].endswith(source)
    assert source in boot["reason"]
    assert outcome.failure is None
    assert outcome.warnings == (f"The next boot does not set vm.overcommit_memory to 1: {boot['reason']}",)


def test_tuned_applies_our_file_again_after_its_own_values(tmp_path):
    files = {**SYSTEMD, **TUNED, "/usr/lib/tuned/throughput/tuned.conf": "[sysctl]\nvm.overcommit_memory = 0\n"}
    boot = run_all(machine(tmp_path, files)).result["boot"]
    assert (boot["effective"], boot["file"]) == (True, SYSCTL_FILE)


def test_a_value_that_only_tuned_knows_is_unknown(tmp_path):
    files = {
        **SYSTEMD,
        **TUNED,
        "/usr/lib/tuned/throughput/tuned.conf": "[vm]\ntransparent_hugepages=${thp}\n",
    }
    outcome = run_all(machine(tmp_path, files), name="transparent_hugepage", value="never")
    assert outcome.result["boot"]["effective"] is None
    assert "tuned:throughput" in outcome.result["boot"]["reason"]
    assert "can't be told" in outcome.warnings[0]


def test_a_masked_service_reads_nothing(tmp_path):
    files = {**SYSTEMD, "/etc/systemd/system/systemd-sysctl.service": {"link": "/dev/null"}}
    system = machine(tmp_path, files)
    boot = run_all(system).result["boot"]
    assert (boot["form"], boot["file"]) == ("none", None)
    assert "masked" in boot["reason"]
    assert not system.exists(SYSCTL_FILE)


def test_exclusion_of_the_key_leaves_our_line_without_force(tmp_path):
    files = {**SYSTEMD, "/etc/sysctl.d/99-zzz.conf": "-vm.overcommit_memory\n"}
    system = machine(tmp_path, files)
    boot = run_all(system).result["boot"]
    assert (boot["effective"], boot["overridden_by"]) == (False, [])
    assert "99-zzz.conf" in boot["reason"]
    assert not system.exists(SYSCTL_FILE)


def test_without_systemd_an_init_script_reads_the_file(tmp_path):
    boot = run_all(machine(tmp_path, SYSV)).result["boot"]
    assert (boot["form"], boot["effective"], boot["reason"]) == ("sysctl.d", True, None)


def test_without_anything_that_reads_the_file_it_is_written_and_doubted(tmp_path):
    system = machine(tmp_path, BASE)
    outcome = run_all(system)
    assert system.exists(SYSCTL_FILE)
    assert outcome.result["boot"]["effective"] is None
    assert "no init script was found" in outcome.warnings[0]


def test_several_settings_share_the_file_in_order(tmp_path):
    system = machine(tmp_path, SYSTEMD)
    run_all(system)
    run_all(system, name="net.core.somaxconn", value="8192")
    run_all(system, name="net/ipv4/tcp_rmem", value="4096 \t 87380  6291456")
    assert text_of(system, SYSCTL_FILE) == (
        f"{HEADER}\nnet.core.somaxconn = 8192\nnet.ipv4.tcp_rmem = 4096 87380 6291456\nvm.overcommit_memory = 1\n"
    )
    outcome = run_all(system, name="net.core.somaxconn", value="4096", boot="absent")
    assert text_of(system, SYSCTL_FILE) == (
        f"{HEADER}\nnet.ipv4.tcp_rmem = 4096 87380 6291456\nvm.overcommit_memory = 1\n"
    )
    assert outcome.result["boot"]["file"] == SYSCTL_FILE


def test_several_words_are_compared_as_the_kernel_takes_them(tmp_path):
    files = {**SYSTEMD, "/etc/sysctl.d/10.conf": "net.ipv4.tcp_rmem = 4096  131072\t6291456\n"}
    outcome = run_all(machine(tmp_path, files), name="net.ipv4.tcp_rmem", value="4096 131072 6291456")
    assert outcome.result["changes"] == []


def test_an_older_value_in_our_file_is_replaced(tmp_path):
    files = {**SYSTEMD, SYSCTL_FILE: f"{HEADER}\nvm.overcommit_memory = 2\n", OVERCOMMIT_PATH: "1\n"}
    system = machine(tmp_path, files)
    outcome = run_all(system)
    assert [entry["what"] for entry in outcome.result["changes"]] == [f"file {SYSCTL_FILE}"]
    assert text_of(system, SYSCTL_FILE) == f"{HEADER}\nvm.overcommit_memory = 1\n"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("vm.overcommit_memory = 0\n", "not a file that this module wrote"),
        (f"{HEADER}\nvm.overcommit_memory = 0\n# kept by hand\n", "a line that this module did not write"),
        (f"{HEADER}\n-vm.overcommit_memory\n", "a line that this module did not write"),
    ],
)
def test_a_file_that_is_not_ours_alone_is_kept_and_the_task_fails(tmp_path, text, problem):
    system = machine(tmp_path, {**SYSTEMD, SYSCTL_FILE: text})
    outcome = run(system, check_mode=True)
    assert outcome == run(system)
    assert problem in outcome.failure and "set to 1 now" in outcome.failure
    assert [entry["what"] for entry in outcome.result["changes"]] == ["sysctl vm.overcommit_memory"]
    assert outcome.result["changed"] is True
    assert outcome.result["boot"]["effective"] is None
    assert text_of(system, SYSCTL_FILE) == text


def test_removal_keeps_a_file_that_is_not_ours(tmp_path):
    text = "vm.overcommit_memory = 1\n"
    system = machine(tmp_path, {**SYSTEMD, SYSCTL_FILE: text})
    outcome = run_all(system, value="0", boot="absent")
    assert text_of(system, SYSCTL_FILE) == text
    assert outcome.result["boot"]["after"] == "1"


def test_a_directory_that_is_missing_is_made_and_told(tmp_path):
    files = {path: text for path, text in SYSTEMD.items() if not path.startswith("/etc/sysctl.d")}
    outcome = run_all(machine(tmp_path, files))
    assert [entry["what"] for entry in outcome.result["changes"]][1:] == [
        "directory /etc/sysctl.d",
        f"file {SYSCTL_FILE}",
    ]


def test_a_directory_that_others_may_write_is_not_trusted(tmp_path):
    system = machine(tmp_path, SYSTEMD)
    os.chmod(system.path("/etc/sysctl.d"), 0o777)
    predicted = run(system, check_mode=True)
    outcome = run(system)
    assert predicted == outcome
    assert "mode 0777" in outcome.failure
    assert not system.exists(SYSCTL_FILE)


def test_a_write_that_fails_tells_what_was_done(tmp_path, monkeypatch):
    system = machine(tmp_path, SYSTEMD)

    def disk_is_full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", disk_is_full)
    outcome = run(system)
    assert "set to 1 now" in outcome.failure and "No space left on device" in outcome.failure
    assert [entry["what"] for entry in outcome.result["changes"]] == ["sysctl vm.overcommit_memory"]
    assert outcome.result["boot"]["file"] is None
    assert sorted(os.listdir(system.path("/etc/sysctl.d"))) == ["README"]


def test_in_a_container_no_file_is_written(tmp_path):
    system = machine(tmp_path, {**SYSTEMD, "/proc/self/ns/pid": {"link": "pid:[4026532596]"}})
    outcome = run_all(system)
    assert not system.exists(SYSCTL_FILE)
    assert (outcome.result["boot"]["form"], outcome.result["boot"]["effective"]) == ("none", None)
    assert "container" in outcome.result["boot"]["reason"]


def test_a_setting_that_the_kernel_does_not_have(tmp_path):
    system = machine(tmp_path, SYSTEMD)
    before = snapshot(tmp_path)
    outcome = run(system, name="vm.no_such_thing")
    assert "this kernel does not have it" in outcome.failure
    assert snapshot(tmp_path) == before


def test_only_the_next_boot(tmp_path):
    system = machine(tmp_path, SYSTEMD)
    outcome = run_all(system, running=False)
    assert text_of(system, OVERCOMMIT_PATH) == "0\n"
    assert [entry["what"] for entry in outcome.result["changes"]] == [f"file {SYSCTL_FILE}"]


def test_only_the_running_value(tmp_path):
    system = machine(tmp_path, SYSTEMD)
    outcome = run_all(system, boot="unchanged")
    assert [entry["what"] for entry in outcome.result["changes"]] == ["sysctl vm.overcommit_memory"]
    assert outcome.warnings == ()


# --- transparent huge pages ----------------------------------------------------------------------------------------


def never(system, **options):
    return run_all(system, name="transparent_hugepage", value="never", **options)


def test_huge_pages_with_systemd(tmp_path):
    system = machine(tmp_path, SYSTEMD)
    outcome = never(system)
    assert text_of(system, TMPFILES_FILE) == f"{HEADER}\nw {THP_PATH} - - - - never\n"
    assert [entry["what"] for entry in outcome.result["changes"]] == [
        "sysfs transparent_hugepage",
        f"file {TMPFILES_FILE}",
    ]
    assert outcome.result["running"] == {"before": "madvise", "after": "never"}
    assert (outcome.result["boot"]["form"], outcome.result["boot"]["effective"]) == ("tmpfiles.d", True)
    back = run_all(system, name="transparent_hugepage", value="madvise", boot="absent")
    assert [entry["after"] for entry in back.result["changes"]] == ["madvise", None]
    assert not system.exists(TMPFILES_FILE)


@pytest.mark.parametrize(
    ("files", "source"),
    [
        ({"/usr/lib/tmpfiles.d/a-vendor.conf": f"w {THP_PATH} - - - - always\n"}, "a-vendor.conf:1"),
        (
            {
                "/etc/systemd/system/thp.service": f"[Service]\nExecStart=/bin/sh -c 'echo always > {THP_PATH}'\n",
                f"{WANTED}/thp.service": {"link": "../thp.service"},
            },
            "thp.service",
        ),
        ({**TUNED, "/usr/lib/tuned/throughput/tuned.conf": "[vm]\ntransparent_hugepages=always\n"}, "tuned.conf:2"),
    ],
    ids=["earlier tmpfiles line", "unit", "TuneD"],
)
def test_huge_pages_where_something_else_has_the_say(tmp_path, files, source):
    system = machine(tmp_path, {**SYSTEMD, **files})
    outcome = never(system)
    assert not system.exists(TMPFILES_FILE)
    boot = outcome.result["boot"]
    assert boot["effective"] is False and boot["overridden_by"][0].endswith(source)
    assert text_of(system, THP_PATH).strip() == "never"


def test_huge_pages_on_the_kernel_command_line_already(tmp_path):
    files = {**SYSTEMD, "/proc/cmdline": "quiet transparent_hugepage=never\n", THP_PATH: "always madvise [never]\n"}
    assert never(machine(tmp_path, files)).result["changes"] == []


def test_huge_pages_and_a_kernel_command_line_that_is_overruled_by_our_file(tmp_path):
    files = {**SYSTEMD, "/proc/cmdline": "quiet transparent_hugepage=always\n"}
    assert never(machine(tmp_path, files)).result["boot"]["effective"] is True


def test_huge_pages_with_sysfsutils(tmp_path):
    files = {**SYSV, "/etc/init.d/sysfsutils": "#!/bin/sh\n", "/etc/rcS.d/S02sysfsutils": "", "/etc/sysfs.d/README": ""}
    system = machine(tmp_path, files)
    outcome = never(system)
    path = "/etc/sysfs.d/99-zz-redisops-persistence.conf"
    assert text_of(system, path) == f"{HEADER}\nkernel/mm/transparent_hugepage/enabled = never\n"
    assert (outcome.result["boot"]["form"], outcome.result["boot"]["effective"]) == ("sysfs.d", True)


def test_huge_pages_with_openrc(tmp_path):
    files = {
        **BASE,
        "/etc/init.d/local": "#!/sbin/openrc-run\n",
        "/etc/runlevels/default/local": {"link": "/etc/init.d/local"},
        "/etc/local.d/README": "",
    }
    system = machine(tmp_path, files)
    outcome = never(system)
    path = "/etc/local.d/zz-redisops-persistence.start"
    assert text_of(system, path) == f"{SHEBANG}\n{HEADER}\necho never > {THP_PATH}\n"
    assert os.access(system.path(path), os.X_OK)
    assert (outcome.result["boot"]["form"], outcome.result["boot"]["effective"]) == ("local.d", True)
    assert "may have started already" in outcome.result["boot"]["reason"]


@pytest.mark.parametrize(
    "files", [SYSV, {**SYSTEMD, "/etc/systemd/system/systemd-tmpfiles-setup.service": {"link": "/dev/null"}}]
)
def test_huge_pages_where_no_boot_reads_anything(tmp_path, files):
    outcome = never(machine(tmp_path, files))
    assert [entry["what"] for entry in outcome.result["changes"]] == ["sysfs transparent_hugepage"]
    boot = outcome.result["boot"]
    assert (boot["form"], boot["file"], boot["effective"]) == ("none", None, None)
    assert "transparent_hugepage=never" in boot["reason"] and "kernel command line" in boot["reason"]
    assert len(outcome.warnings) == 1


# --- options -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "", "vm", "/vm/overcommit_memory", "vm/../vm/overcommit_memory", "vm..overcommit_memory", "../vm.swappiness",
        "vm/overcommit_memory/", "net/ipv4/conf/../../vm/swappiness", "vm.overcommit memory", "vm.over*",
        "-vm.swappiness", "vm.swappiness\n", "vm.swappiness=1", "vm.swap\0piness", "a." + "b" * 300, "net/..",
        "./vm/swappiness", "{{ x }}.y",
    ],
)  # fmt: skip
def test_names_that_lead_elsewhere_are_refused(name):
    with pytest.raises(Refused):
        find_setting(name)


@pytest.mark.parametrize(
    ("name", "path", "spelled"),
    [
        ("vm.overcommit_memory", OVERCOMMIT_PATH, "vm.overcommit_memory"),
        ("vm/overcommit_memory", OVERCOMMIT_PATH, "vm.overcommit_memory"),
        ("net.core.somaxconn", "/proc/sys/net/core/somaxconn", "net.core.somaxconn"),
        (
            "net.ipv4.conf.eth0/100.forwarding",
            "/proc/sys/net/ipv4/conf/eth0.100/forwarding",
            "net/ipv4/conf/eth0.100/forwarding",
        ),
    ],
)
def test_names(name, path, spelled):
    setting = find_setting(name)
    assert (setting.path, setting.name) == (path, spelled)


@pytest.mark.parametrize("value", ["", " ", "1\n2", "1\0", "é", "x" * 2000, "1\x1b[0m", "1\rkernel.panic=1"])
def test_values_that_are_not_one_line_are_refused(value):
    with pytest.raises(Refused):
        check_value(find_setting("net.core.somaxconn"), value)


@pytest.mark.parametrize(
    ("name", "value"), [("vm.overcommit_memory", "3"), ("transparent_hugepage", "off"), ("vm.overcommit_memory", "1 1")]
)
def test_values_that_a_known_setting_does_not_take_are_refused(tmp_path, name, value):
    system = machine(tmp_path, SYSTEMD)
    before = snapshot(tmp_path)
    assert "is no value for" in run(system, name=name, value=value).failure
    assert snapshot(tmp_path) == before
