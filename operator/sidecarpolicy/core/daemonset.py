"""DaemonSets: one annotation a revision in the template, so that the owner rolls its Pods.

A DaemonSet runs on nodes that can and on nodes that cannot run a native sidecar, so its
template gets none: each Pod does at its creation, by its node. What is already running
has to be made anew for that, by the DaemonSet's own rolling update. The annotation also
is the record of whom the rollout was for. A revision that failed stays in it, marked as kept
out: that is how its Pods know at their creation, which the DaemonSet's metadata does not reach.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from sidecarpolicy.api.names import ROLLOUT_ANNOTATION
from sidecarpolicy.core.finding import Finding
from sidecarpolicy.core.inject import Action, Injection, Verdict, inject
from sidecarpolicy.core.marker import annotated
from sidecarpolicy.core.ownership import NodeRuleSite

Template = Mapping[str, Any]
_NONE: Mapping[str, str] = {}


def revisions(template: Template) -> dict[str, str]:
    """Revisions by policy key for which the Pods were made anew, or that they were made anew
    without (see `kept_out`); none for what is not ours.
    """
    annotations = (template.get("metadata") or {}).get("annotations") or {}
    try:
        found = json.loads(annotations.get(ROLLOUT_ANNOTATION, "{}"))
    except (ValueError, TypeError, RecursionError):
        return {}
    if not isinstance(found, dict):
        return {}
    return {key: value for key, value in found.items() if isinstance(value, str) and "/" in key}


_OUT = "!"


def kept_out(entry: str) -> str | None:
    """The revision that an entry of the annotation keeps out of the Pods, or None."""
    return entry.removeprefix(_OUT) if entry.startswith(_OUT) else None


def kept(old: Template, new: Template, *, but: frozenset[str]) -> Template:
    """The new template with what only the old one's annotation says: who drops it, as `kubectl
    replace` does, means no rollout. Left out is what it says of the policies `but`.
    """
    after = revisions(new)
    only = {k: v for k, v in revisions(old).items() if k not in after and k not in but}
    return annotated(new, {**only, **after}) if only else new


def mark(
    template: Template, verdicts: Sequence[Verdict], *, failed: Mapping[str, str] = _NONE
) -> Injection:
    """The template with the annotation that the verdicts ask for.

    `failed` are revisions, by policy key, that are to be kept out of the Pods.
    """
    before, obstacles = revisions(template), _obstacles(template, verdicts)
    after = dict(before)
    for verdict in verdicts:
        if verdict.key in failed:
            after[verdict.key] = _OUT + failed[verdict.key]
        elif verdict.action is Action.REMOVE or verdict.key in obstacles:
            after.pop(verdict.key, None)
        elif verdict.action is Action.APPLY and verdict.desired is not None:
            after[verdict.key] = verdict.desired.revision
    wanted = {each.key: each.desired.revision for each in verdicts if each.desired is not None}
    current = frozenset(key for key, revision in wanted.items() if before.get(key) == revision)
    changed = frozenset(key for key in before | after if before.get(key) != after.get(key))
    marked = annotated(template, after) if changed else template
    return Injection(marked, current, changed, obstacles)


def _obstacles(
    template: Template, verdicts: Sequence[Verdict]
) -> Mapping[str, tuple[Finding, ...]]:
    """Why policies cannot adopt in any Pod of the template, which then need not roll for them."""
    adopting = [
        each
        for each in verdicts
        if each.action is Action.APPLY and each.desired is not None and each.desired.adopt
    ]
    return inject(template, adopting, site=NodeRuleSite.AFFINITY).obstacles if adopting else {}
