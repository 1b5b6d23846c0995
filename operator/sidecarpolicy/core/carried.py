"""Carried: which policies' revisions a Pod template has, by record or by annotation."""

from collections.abc import Mapping
from typing import Any

from sidecarpolicy.api.models import TargetKind
from sidecarpolicy.core import daemonset
from sidecarpolicy.core.marker import read_markers
from sidecarpolicy.core.podtime import MARKED_KINDS
from sidecarpolicy.core.record import Record, read_record


def revisions_of(kind: str, template: Mapping[str, Any]) -> Mapping[str, str]:
    """The revision of each policy that a workload's template carries, by its key."""
    if kind == TargetKind.DAEMON_SET:
        return daemonset.revisions(template)
    record = read_record(template)
    policies = record.policies if isinstance(record, Record) else {}
    done = {key: each.revision for key, each in policies.items()}
    if kind not in MARKED_KINDS:
        return done
    return {key: each.revision for key, each in read_markers(template).items()} | done
