# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import struct

import pytest
from ansible_collections.redisops.persistence.plugins.module_utils._access import (
    READ,
    SEARCH,
    WRITE,
    AclEntry,
    Credentials,
    Decision,
    FileModes,
    IdRange,
    format_mode,
    may_access_directory,
    parse_acl,
    parse_id_map,
    trust_decision,
)

USER_OBJECT, USER, GROUP_OBJECT, GROUP, MASK, OTHER = 1, 2, 4, 8, 16, 32
ANY = 0xFFFFFFFF


def server(uid=999, gid=999, groups=(), capabilities=(), **ranges):
    held = None if capabilities is None else frozenset(capabilities)
    return Credentials(uid, gid, frozenset(groups), held, **ranges)


def acl(*entries):
    return [AclEntry(*entry) for entry in entries]


def allowed(credentials, uid, gid, mode, entries=(), wanted=WRITE | SEARCH):
    return may_access_directory(credentials, FileModes(uid, gid, mode, list(entries)), wanted).allowed


@pytest.mark.parametrize(
    ("credentials", "uid", "gid", "mode", "expected"),
    [
        (server(), 999, 0, 0o700, True),
        (server(), 999, 999, 0o077, False),  # the owner's bits alone count for the owner
        (server(), 0, 999, 0o770, True),
        (server(), 0, 999, 0o707, False),  # and the group's for the group
        (server(groups=(5,)), 0, 5, 0o770, True),
        (server(), 0, 0, 0o777, True),
        (server(), 0, 0, 0o775, False),
        (server(), 999, 999, 0o600, False),  # write without search creates nothing
    ],
)
def test_mode_bits(credentials, uid, gid, mode, expected):
    assert allowed(credentials, uid, gid, mode) is expected


@pytest.mark.parametrize(
    ("capabilities", "wanted", "expected"),
    [
        (("CAP_DAC_OVERRIDE",), WRITE | SEARCH, True),
        (("CAP_DAC_READ_SEARCH",), WRITE | SEARCH, False),
        (("CAP_DAC_READ_SEARCH",), SEARCH, True),
        (("CAP_DAC_READ_SEARCH",), READ | SEARCH, True),
        (("CAP_CHOWN",), SEARCH, False),
        (None, WRITE | SEARCH, None),
    ],
)
def test_capabilities(capabilities, wanted, expected):
    assert allowed(server(0, 0, capabilities=capabilities), 1000, 1000, 0o700, wanted=wanted) is expected


def test_unknown_capabilities_do_not_matter_where_the_bits_allow():
    assert allowed(server(capabilities=None), 999, 999, 0o755) is True


def test_root_of_a_user_namespace_overrides_only_for_owners_that_it_knows():
    known = server(100000, 100000, capabilities=("CAP_DAC_OVERRIDE",), uid_ranges=[IdRange(100000, 65536)])
    known = known._replace(gid_ranges=[IdRange(100000, 65536)])
    assert allowed(known, 100999, 100999, 0o700) is True
    decision = may_access_directory(known, FileModes(0, 0, 0o755, []), WRITE | SEARCH)
    assert decision.allowed is False
    assert "does not map the owner" in decision.reason


FULL_ACL = acl(
    (USER_OBJECT, 7, ANY), (USER, 7, 999), (GROUP_OBJECT, 5, ANY), (GROUP, 7, 5), (MASK, 7, ANY), (OTHER, 0, ANY)
)


def with_mask(bits):
    return [entry._replace(permissions=bits) if entry.tag == MASK else entry for entry in FULL_ACL]


@pytest.mark.parametrize(
    ("credentials", "mode", "entries", "expected"),
    [
        (server(), 0o770, FULL_ACL, True),
        (server(), 0o750, with_mask(5), False),
        (server(1000, 1000), 0o777, FULL_ACL, False),  # others: the entry, here with nothing
        (server(1000, 5), 0o770, FULL_ACL, True),
        (server(1000, 0, groups=(5,)), 0o770, FULL_ACL, True),  # any group entry that has it all will do
        (server(1000, 0), 0o770, FULL_ACL, False),
        (server(0, 0), 0o700, FULL_ACL, True),  # the owner never meets the mask
    ],
)
def test_acl(credentials, mode, entries, expected):
    assert allowed(credentials, 0, 0, mode, entries) is expected


def test_a_group_entry_that_grants_nothing_keeps_from_others():
    entries = acl((USER_OBJECT, 7, ANY), (GROUP_OBJECT, 0, ANY), (GROUP, 1, 5), (MASK, 7, ANY), (OTHER, 7, ANY))
    assert allowed(server(1000, 5), 0, 0, 0o777, entries) is False
    assert allowed(server(1000, 6), 0, 0, 0o777, entries) is True


def test_an_acl_behind_empty_group_bits_is_not_consulted():
    entries = with_mask(0)
    entries = [entry._replace(permissions=7) if entry.tag == OTHER else entry for entry in entries]
    assert allowed(server(), 0, 0, 0o707, entries) is True


def test_the_reason_names_what_blocks():
    decision = may_access_directory(server(), FileModes(0, 0, 0o750, with_mask(5)), WRITE | SEARCH)
    assert decision.reason == (
        "uid 999, gid 999 has r-x by the ACL entry of user 999, cut by the ACL mask r-x of owner 0:0 mode 0750;"
        " -wx is needed"
    )


def test_parse_acl():
    value = struct.pack("<I", 2) + struct.pack("<HHI", USER, 7, 999) + struct.pack("<HHI", MASK, 5, ANY)
    assert parse_acl(value) == acl((USER, 7, 999), (MASK, 5, ANY))
    assert parse_acl(value + b"\0\0\0") == acl((USER, 7, 999), (MASK, 5, ANY))
    assert parse_acl(b"\x03\0\0\0" + value[4:]) == []
    assert parse_acl(b"") == []


def test_id_maps():
    assert parse_id_map("         0          0 4294967295\n", 1) is None
    text = "0 100000 1000\n1000 1000 1\n"
    assert parse_id_map(text, 1) == [IdRange(100000, 1000), IdRange(1000, 1)]
    assert parse_id_map(text, 0) == [IdRange(0, 1000), IdRange(1000, 1)]
    assert parse_id_map("", 1) == []


@pytest.mark.parametrize(
    ("file_system_type", "uid", "decision", "expected"),
    [
        ("ext4", 0, Decision(True, "x", True), True),
        ("nfs4", 0, Decision(True, "x"), None),
        ("nfs4", 999, Decision(True, "x"), True),
        ("nfs4", 999, Decision(True, "x", True), None),
        ("nfs4", 999, Decision(False, "x"), False),
        ("fuse.sshfs", 999, Decision(True, "x"), None),
        ("fuse.sshfs", 999, Decision(False, "x"), None),
        (None, 0, Decision(True, "x", True), True),
    ],
)
def test_another_machine_may_have_the_last_word(file_system_type, uid, decision, expected):
    assert trust_decision(decision, file_system_type, server(uid)).allowed is expected


def test_format_mode():
    assert format_mode(0o41777) == "1777"
    assert format_mode(0o40000) == "0000"
