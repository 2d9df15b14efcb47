# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json

import pytest
from ansible_collections.redisops.persistence.plugins.module_utils._boot_settings import (
    Assignment,
    normalize_sysctl_key,
    parse_sysctl_line,
    written_by_command,
)
from ansible_collections.redisops.persistence.plugins.module_utils._kernel_settings import (
    OVERCOMMIT,
    TRANSPARENT_HUGE_PAGES,
    collect_overcommit,
    collect_thp,
    parse_choice,
)
from ansible_collections.redisops.persistence.plugins.module_utils._system import Gaps
from ansible_collections.redisops.persistence.tests.unit.recorded_tree import made_system

HOST = {
    "/proc/sys/vm/overcommit_memory": "0\n",
    "/proc/sys/vm/overcommit_ratio": "50\n",
    "/proc/sys/vm/overcommit_kbytes": "0\n",
    "/proc/sys/vm/admin_reserve_kbytes": "8192\n",
    "/proc/sys/vm/user_reserve_kbytes": "131072\n",
    "/sys/kernel/mm/transparent_hugepage/enabled": "always [madvise] never\n",
    "/sys/kernel/mm/transparent_hugepage/defrag": "always defer defer+madvise [madvise] never\n",
    "/proc/self/ns/pid": {"link": "pid:[4026531836]"},
    "/proc/cmdline": "BOOT_IMAGE=/vmlinuz root=/dev/sda1 ro quiet\n",
    "/run/systemd/system/.keep": "",
}
THP_PATH = "/sys/kernel/mm/transparent_hugepage/enabled"
WANTED = "/etc/systemd/system/multi-user.target.wants"


def overcommit_boot(tmp_path, files):
    return collect_overcommit(made_system(tmp_path, {**HOST, **files}), Gaps())["boot"]


def thp_boot(tmp_path, files):
    return collect_thp(made_system(tmp_path, {**HOST, **files}), Gaps())["boot"]


def without_systemd(files):
    return {**{path: text for path, text in HOST.items() if "systemd" not in path}, **files}


def candidate(boot, source):
    (found,) = [entry for entry in boot["candidates"] if entry["source"] == source]
    return found


def test_running_values(tmp_path):
    gaps = Gaps()
    system = made_system(tmp_path, HOST)
    overcommit = collect_overcommit(system, gaps)
    nothing = {"value": None, "source": None, "candidates": [], "overridden_by": [], "managed_by": None}
    assert overcommit == {
        "mode": 0,
        "ratio": 50,
        "kilobytes": 0,
        "admin_reserve_kilobytes": 8192,
        "user_reserve_kilobytes": 131072,
        "boot": nothing,
    }
    assert collect_thp(system, gaps) == {"policy": "madvise", "defrag": "madvise", "boot": nothing}
    assert gaps.entries() == []


def test_unreadable_values_are_unknown(tmp_path):
    gaps = Gaps()
    system = made_system(tmp_path, {})
    assert collect_overcommit(system, gaps)["mode"] is None
    assert collect_thp(system, gaps)["policy"] is None
    assert gaps.entries()[0]["what"] == "host.overcommit.mode"


def test_boot_of_a_machine_seen_from_a_container_is_a_gap(tmp_path):
    gaps = Gaps()
    system = made_system(tmp_path, {**HOST, "/proc/self/ns/pid": {"link": "pid:[4026532596]"}})
    collect_overcommit(system, gaps)
    assert "container" in gaps.entries()[0]["why"]


@pytest.mark.parametrize(
    ("text", "assignment"),
    [
        ("vm.overcommit_memory = 1", Assignment("explicit", "1")),
        (" vm/overcommit_memory=2 ", Assignment("explicit", "2")),
        ("-vm.overcommit_memory = 1", Assignment("explicit", "1")),
        ("-vm.overcommit_memory", Assignment("exclusion", None)),
        ("vm.overcommit_* = 0", Assignment("glob", "0")),
        ("# vm.overcommit_memory = 1", None),
        ("; vm.overcommit_memory = 1", None),
        ("vm.overcommit_memory", None),
        ("vm.overcommit_ratio = 80", None),
        ("", None),
    ],
)
def test_sysctl_line(text, assignment):
    assert parse_sysctl_line(text, "vm/overcommit_memory") == assignment


@pytest.mark.parametrize(
    ("key", "normal"),
    [
        ("net.ipv4.conf.eth0/100.forwarding", "net/ipv4/conf/eth0.100/forwarding"),
        ("net/ipv4/conf/eth0.100/forwarding", "net/ipv4/conf/eth0.100/forwarding"),
    ],
)
def test_the_first_separator_tells_which_it_is(key, normal):
    assert normalize_sysctl_key(key) == normal


def test_last_file_by_name_wins_wherever_it_lies(tmp_path):
    boot = overcommit_boot(
        tmp_path,
        {
            "/etc/sysctl.d/10-redis.conf": "# for Redis\nvm.overcommit_memory = 1\n",
            "/usr/lib/sysctl.d/90-vendor.conf": "vm.overcommit_memory=0\n",
        },
    )
    assert boot["value"] == "0"
    assert boot["source"] == "/usr/lib/sysctl.d/90-vendor.conf:1"
    assert boot["overridden_by"] == ["/usr/lib/sysctl.d/90-vendor.conf:1"]
    loser = candidate(boot, "/etc/sysctl.d/10-redis.conf:2")
    assert loser == {
        "source": "/etc/sysctl.d/10-redis.conf:2",
        "line": "vm.overcommit_memory = 1",
        "value": "1",
        "effective": False,
        "note": "overridden by /usr/lib/sysctl.d/90-vendor.conf:1",
    }
    assert candidate(boot, "/usr/lib/sysctl.d/90-vendor.conf:1")["effective"] is True


def test_file_of_the_same_name_in_etc_hides_the_vendors(tmp_path):
    boot = overcommit_boot(
        tmp_path,
        {
            "/etc/sysctl.d/50-vm.conf": "vm.overcommit_memory = 1\n",
            "/usr/lib/sysctl.d/50-vm.conf": "vm.overcommit_memory = 2\n",
        },
    )
    assert (boot["value"], boot["overridden_by"]) == ("1", [])
    assert "read instead" in candidate(boot, "/usr/lib/sysctl.d/50-vm.conf:1")["note"]


def test_link_to_dev_null_masks_a_file(tmp_path):
    boot = overcommit_boot(
        tmp_path,
        {
            "/etc/sysctl.d/50-vm.conf": {"link": "/dev/null"},
            "/usr/lib/sysctl.d/50-vm.conf": "vm.overcommit_memory = 2\n",
        },
    )
    assert (boot["value"], boot["source"]) == (None, None)


def test_sysctl_conf_counts_through_the_link_of_debian_12(tmp_path):
    files = {
        "/etc/sysctl.conf": "vm.overcommit_memory = 1\n",
        "/etc/sysctl.d/99-sysctl.conf": {"link": "../sysctl.conf"},
    }
    boot = overcommit_boot(tmp_path, files)
    assert (boot["value"], boot["source"]) == ("1", "/etc/sysctl.conf:1")
    assert boot["candidates"][0]["note"] == "read through /etc/sysctl.d/99-sysctl.conf"


def test_sysctl_conf_is_not_read_by_debian_13(tmp_path):
    boot = overcommit_boot(tmp_path, {"/etc/sysctl.conf": "vm.overcommit_memory = 1\n"})
    assert boot["value"] is None
    assert boot["candidates"][0]["effective"] is False
    assert "systemd does not read this file" in boot["candidates"][0]["note"]


def test_sysctl_conf_is_read_last_without_systemd(tmp_path):
    files = {"/etc/sysctl.conf": "vm.overcommit_memory = 1\n", "/etc/sysctl.d/zz.conf": "vm.overcommit_memory = 0\n"}
    boot = collect_overcommit(made_system(tmp_path, without_systemd(files)), Gaps())["boot"]
    assert (boot["value"], boot["source"]) == ("1", "/etc/sysctl.conf:1")


def test_pattern_gives_way_to_the_keys_own_line_even_before_it(tmp_path):
    boot = overcommit_boot(
        tmp_path,
        {
            "/etc/sysctl.d/10-own.conf": "vm.overcommit_memory = 1\n",
            "/etc/sysctl.d/20-pattern.conf": "vm.overcommit_m* = 2\n",
        },
    )
    assert (boot["value"], boot["source"]) == ("1", "/etc/sysctl.d/10-own.conf:1")


def test_exclusion_takes_the_key_out_of_patterns_and_of_earlier_lines(tmp_path):
    boot = overcommit_boot(
        tmp_path,
        {"/etc/sysctl.d/10.conf": "vm.overcommit_* = 2\nvm.overcommit_memory = 1\n-vm.overcommit_memory\n"},
    )
    assert boot["value"] is None
    assert [entry["effective"] for entry in boot["candidates"]] == [False, False, False]
    assert candidate(boot, "/etc/sysctl.d/10.conf:2")["note"] == "excluded by /etc/sysctl.d/10.conf:3"


def test_masked_service_applies_no_file(tmp_path):
    boot = overcommit_boot(
        tmp_path,
        {
            "/etc/sysctl.d/10.conf": "vm.overcommit_memory = 1\n",
            "/etc/systemd/system/systemd-sysctl.service": {"link": "/dev/null"},
        },
    )
    assert boot["value"] is None
    assert boot["candidates"][0]["note"] == "systemd-sysctl.service is masked"


def test_files_come_after_the_kernel_command_line(tmp_path):
    files = {"/proc/cmdline": "ro sysctl.vm.overcommit_memory=1\n"}
    boot = overcommit_boot(tmp_path / "alone", files)
    assert (boot["value"], boot["source"]) == ("1", "kernel command line")
    boot = overcommit_boot(tmp_path / "both", {**files, "/etc/sysctl.d/x.conf": "vm.overcommit_memory=0\n"})
    assert (boot["value"], boot["source"]) == ("0", "/etc/sysctl.d/x.conf:1")
    assert boot["overridden_by"] == ["/etc/sysctl.d/x.conf:1"]


TUNED = {
    "/etc/tuned/active_profile": "database\n",
    "/etc/tuned/profiles/database/tuned.conf": "[main]\ninclude=throughput-performance\n[sysctl]\nvm.swappiness=1\n",
    "/usr/lib/tuned/throughput-performance/tuned.conf": "[sysctl]\nvm.overcommit_memory = 2\n"
    "[vm]\ntransparent_hugepages=always\n",
    f"{WANTED}/tuned.service": "",
}


def test_tuned_comes_after_vendor_files_and_is_named(tmp_path):
    boot = overcommit_boot(tmp_path, {**TUNED, "/usr/lib/sysctl.d/50.conf": "vm.overcommit_memory=1\n"})
    assert boot["value"] == "2"
    assert boot["source"] == "/usr/lib/tuned/throughput-performance/tuned.conf:2"
    assert boot["managed_by"] == "tuned:database"
    assert boot["overridden_by"] == [boot["source"]]


def test_tuned_applies_the_administrators_files_again(tmp_path):
    files = {**TUNED, "/etc/sysctl.d/50.conf": "vm.overcommit_memory=1\n"}
    boot = overcommit_boot(tmp_path / "default", files)
    assert (boot["value"], boot["source"]) == ("1", "/etc/sysctl.d/50.conf:1")
    assert boot["managed_by"] == "tuned:database"
    boot = overcommit_boot(tmp_path / "off", {**files, "/etc/tuned/tuned-main.conf": "reapply_sysctl = 0\n"})
    assert boot["value"] == "2"


def test_tuned_that_is_not_enabled_sets_nothing(tmp_path):
    files = {path: text for path, text in TUNED.items() if path != f"{WANTED}/tuned.service"}
    boot = overcommit_boot(tmp_path, files)
    assert (boot["value"], boot["managed_by"]) == (None, None)
    assert boot["candidates"][0]["note"] == "tuned.service is not enabled"


def test_tuned_profile_overrides_what_it_includes(tmp_path):
    own = "[main]\ninclude=throughput-performance\n[vm]\ntransparent_hugepages=never\n"
    boot = thp_boot(tmp_path / "own", {**TUNED, "/etc/tuned/profiles/database/tuned.conf": own})
    assert (boot["value"], boot["source"]) == ("never", "/etc/tuned/profiles/database/tuned.conf:4")
    off = "[main]\ninclude=throughput-performance\n[vm]\nenabled=false\n"
    boot = thp_boot(tmp_path / "off", {**TUNED, "/etc/tuned/profiles/database/tuned.conf": off})
    assert boot["value"] is None
    variable = "[vm]\ntransparent_hugepages=${thp}\n"
    boot = thp_boot(tmp_path / "variable", {**TUNED, "/etc/tuned/profiles/database/tuned.conf": variable})
    assert boot["value"] is None
    assert "variable" in boot["candidates"][-1]["note"]


def test_tuned_leaves_thp_to_the_kernel_command_line(tmp_path):
    boot = thp_boot(tmp_path, {**TUNED, "/proc/cmdline": "ro transparent_hugepage=never\n"})
    assert (boot["value"], boot["source"], boot["managed_by"]) == ("never", "kernel command line", None)


def test_thp_of_tmpfiles_where_the_first_file_counts(tmp_path):
    boot = thp_boot(
        tmp_path,
        {
            "/etc/tmpfiles.d/10-thp.conf": f"# type path\nw {THP_PATH} - - - - never\n",
            "/usr/lib/tmpfiles.d/50-thp.conf": f"w! {THP_PATH} - - - - always\n",
            "/usr/lib/tmpfiles.d/other.conf": "d /run/redis 0755 redis redis - -\n",
        },
    )
    assert (boot["value"], boot["source"]) == ("never", "/etc/tmpfiles.d/10-thp.conf:2")
    assert "names the same path first" in candidate(boot, "/usr/lib/tmpfiles.d/50-thp.conf:1")["note"]


def unit(command):
    return f"[Unit]\nDescription=Disable THP\n[Service]\nType=oneshot\nExecStart={command}\n[Install]\n"


@pytest.mark.parametrize(
    "command",
    [
        f"/bin/sh -c 'echo never > {THP_PATH}'",
        f"/bin/sh -c \"echo 'never' > {THP_PATH} && echo never > /sys/kernel/mm/transparent_hugepage/defrag\"",
        f"/bin/bash -c 'echo never | tee {THP_PATH} > /dev/null'",
        f"/bin/sh -c 'echo never \\\n  > {THP_PATH}'",
        "/usr/local/sbin/disable-thp.sh",
        "-/bin/bash /usr/local/sbin/disable-thp.sh",
    ],
)
def test_thp_of_a_unit(tmp_path, command):
    files = {
        "/etc/systemd/system/disable-thp.service": unit(command),
        "/usr/local/sbin/disable-thp.sh": f"#!/bin/sh\nif test -f {THP_PATH}; then\n  echo never > {THP_PATH}\nfi\n",
    }
    boot = thp_boot(tmp_path / "off", files)
    assert boot["value"] is None
    assert "not enabled" in boot["candidates"][0]["note"]
    boot = thp_boot(tmp_path / "on", {**files, f"{WANTED}/disable-thp.service": {"link": "../disable-thp.service"}})
    assert (boot["value"], boot["source"]) == ("never", "disable-thp.service")


def test_thp_of_a_drop_in_and_of_a_vendors_unit(tmp_path):
    drop_in = f"[Service]\nExecStartPre=+/bin/sh -c 'echo never > {THP_PATH}'\n"
    wanted = {f"{WANTED}/redis-server.service": {"link": "/usr/lib/systemd/system/redis-server.service"}}
    boot = thp_boot(tmp_path / "1", {"/etc/systemd/system/redis-server.service.d/thp.conf": drop_in, **wanted})
    assert (boot["value"], boot["source"]) == ("never", "redis-server.service")
    assert "/etc/systemd/system/redis-server.service.d/thp.conf:2" in boot["candidates"][0]["note"]
    vendor = {"/usr/lib/systemd/system/redis-server.service": unit(f"/bin/sh -c 'echo madvise > {THP_PATH}'")}
    boot = thp_boot(tmp_path / "2", {**vendor, **wanted})
    assert boot["value"] == "madvise"


def test_unit_in_etc_replaces_the_vendors(tmp_path):
    boot = thp_boot(
        tmp_path,
        {
            "/etc/systemd/system/thp.service": unit(f"/bin/sh -c 'echo never > {THP_PATH}'"),
            "/usr/lib/systemd/system/thp.service": unit(f"/bin/sh -c 'echo always > {THP_PATH}'"),
            f"{WANTED}/thp.service": {"link": "../thp.service"},
        },
    )
    assert [entry["value"] for entry in boot["candidates"]] == ["never"]


def test_rc_local_counts_where_it_is_executable(tmp_path):
    text = f"#!/bin/sh\n# echo always > {THP_PATH}\necho never > {THP_PATH}\nsysctl -w vm.overcommit_memory=1\nexit 0\n"
    system = made_system(tmp_path, {**HOST, "/etc/rc.local": text})
    assert collect_thp(system, Gaps())["boot"]["value"] is None
    (tmp_path / "etc/rc.local").chmod(0o755)
    boot = collect_thp(system, Gaps())["boot"]
    assert (boot["value"], boot["source"]) == ("never", "/etc/rc.local:3")
    assert collect_overcommit(system, Gaps())["boot"]["source"] == "/etc/rc.local:4"


def test_init_script_of_a_run_level(tmp_path):
    script = {
        "/etc/init.d/disable-thp": "#!/bin/sh\n### BEGIN INIT INFO\n"
        "thp_path=/sys/kernel/mm/transparent_hugepage\necho 'never' > ${thp_path}/enabled\n"
        "echo 'never' > ${thp_path}/defrag\n"
    }
    assert thp_boot(tmp_path / "off", script)["value"] is None
    boot = thp_boot(tmp_path / "on", {**script, "/etc/rc2.d/S01disable-thp": {"link": "../init.d/disable-thp"}})
    assert (boot["value"], boot["source"]) == ("never", "/etc/init.d/disable-thp:4")


def test_sysfs_conf_needs_sysfsutils(tmp_path):
    conf = {"/etc/sysfs.conf": "kernel/mm/transparent_hugepage/enabled = never\n"}
    assert thp_boot(tmp_path / "without", conf)["value"] is None
    boot = thp_boot(tmp_path / "with", {**conf, "/etc/init.d/sysfsutils": "#!/bin/sh\n"})
    assert (boot["value"], boot["source"]) == ("never", "/etc/sysfs.conf:1")


@pytest.mark.parametrize(
    ("command", "value"),
    [
        ("sysctl -w vm.overcommit_memory=1", "1"),
        ("/sbin/sysctl -q vm/overcommit_memory = 2", "2"),
        ("echo 1 > /proc/sys/vm/overcommit_memory", "1"),
        ("printf '1\\n' | sudo tee /proc/sys/vm/overcommit_memory", "1"),
        ("echo 0 >/proc/sys/vm/overcommit_memory; echo 1 >/proc/sys/vm/overcommit_memory", "1"),
        ("echo 1 > /proc/sys/vm/overcommit_memory_other", None),
        ("sysctl vm.overcommit_memory", None),
        ("sysctl -w vm.overcommit_ratio=1", None),
        ("echo 15 > /proc/sys/vm/overcommit_memory", None),
    ],
)
def test_value_written_by_a_command(command, value):
    assert written_by_command(command, OVERCOMMIT) == value


def test_defrag_is_another_setting():
    assert written_by_command("echo never > /sys/kernel/mm/transparent_hugepage/defrag", TRANSPARENT_HUGE_PAGES) is None
    assert written_by_command("echo never > ${thp}/defrag", TRANSPARENT_HUGE_PAGES) is None


def test_candidates_are_bounded_and_lines_cut(tmp_path):
    files = {f"/etc/sysctl.d/{n:03}.conf": f"vm.overcommit_memory = 1{' ' * 1000}\n" for n in range(80)}
    boot = overcommit_boot(tmp_path, files)
    assert len(boot["candidates"]) == 50
    assert boot["truncated"] is True
    assert boot["source"] == "/etc/sysctl.d/079.conf:1"
    assert len(json.dumps(boot)) < 20000


def test_file_names_that_are_no_text(tmp_path):
    system = made_system(tmp_path, HOST)
    directory = tmp_path / "etc/sysctl.d"
    directory.mkdir(parents=True)
    (directory / "a\udcff.conf").write_text("vm.overcommit_memory = 1\n")
    boot = collect_overcommit(system, Gaps())["boot"]
    assert boot["source"] == "/etc/sysctl.d/a\\xff.conf:1"
    json.dumps(boot).encode("utf-8")


def test_parse_choice():
    assert parse_choice("always defer [defer+madvise] madvise never\n") == "defer+madvise"
    assert parse_choice("") is None
