# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The failure tree for evidence that is already there."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError
from ansible_collections.redisops.persistence.plugins.plugin_utils import evidence_files
from ansible_collections.redisops.persistence.plugins.plugin_utils.diagnosis import diagnose
from ansible_collections.redisops.persistence.plugins.plugin_utils.rules import RuleError, load_rules

RuleList = "list[dict[str, t.Any]] | None"


def diagnose_filter(
    evidence: object,
    extra_nodes: RuleList = None,
    extra_outcomes: RuleList = None,
    extra_risks: RuleList = None,
) -> list[dict[str, t.Any]]:
    """One diagnosis for each server in the evidence."""
    try:
        document = evidence_files.check(evidence, "diagnose")
        rules = load_rules(extra_nodes, extra_outcomes, extra_risks)
        return diagnose(document, rules)
    except evidence_files.EvidenceError as error:
        raise AnsibleFilterError(str(error)) from None
    except RuleError as error:
        raise AnsibleFilterError(f"diagnose: a rule of the failure tree is broken: {error}") from None
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise AnsibleFilterError(
            f"diagnose: this evidence can't be diagnosed ({type(error).__name__}: {error}). Is it complete?"
        ) from None


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"diagnose": diagnose_filter}
