"""Markers: what a Pod template promises its Pods instead of carrying it (`injectAt: Pod`).

One annotation of the template holds, by policy, the revision and the very parts that belong
to it. A Pod gets what its template promises, not what the policy says by then: all Pods of
a ReplicaSet are alike, a revision that was stopped does not spread with Pods that are moved,
and `kubectl rollout undo` undoes the parts as well. Shape:

    {"SidecarPolicy/log-shipper": {"revision": "7f3a9c12", "spec": {"sidecars": [...]}}}

A DaemonSet's template has the same annotation, with revisions only (see core.daemonset):
there it starts the rollout, and promises nothing, because each node decides.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any

from sidecarpolicy.api.models import Mode, Placement, SidecarPolicySpec
from sidecarpolicy.api.names import ROLLOUT_ANNOTATION
from sidecarpolicy.api.shapes import too_deep
from sidecarpolicy.core.desired import Desired, desired, names
from sidecarpolicy.core.inject import Action, Verdict, inject
from sidecarpolicy.core.ownership import NodeRuleSite

JSON = dict[str, Any]
Template = Mapping[str, Any]

_REMEMBERED = 256


def has_marker(template: Template) -> bool:
    """Whether a template carries the annotation, readable or not."""
    return _text(template) is not None


def read_markers(template: Template) -> Mapping[str, Desired]:
    """What a template promises, by policy key; what this program did not write is none."""
    text = _text(template)
    return _parsed(text) if isinstance(text, str) else {}


def with_markers(template: Template, wanted: Mapping[str, Desired]) -> Template:
    """The template with exactly these markers."""
    return annotated(template, {key: _written(wish) for key, wish in wanted.items()})


def annotated(template: Template, content: Mapping[str, Any]) -> Template:
    """The template with this content in the annotation; without any, as it was before us."""
    bare = _unmarked(template)
    if not content:
        return bare
    made = _to_make(bare)
    text = _dumped(content if made == _USUALLY_MADE else {**content, "made": made})
    metadata = bare.get("metadata") or {}
    annotations = {**(metadata.get("annotations") or {}), ROLLOUT_ANNOTATION: text}
    return {**bare, "metadata": {**metadata, "annotations": annotations}}


def _unmarked(template: Template) -> Template:
    """The template without the annotation, and without what was made for it and is empty now."""
    text = _text(template)
    if text is None:
        return template
    made = _made_for(text)
    metadata = {**template["metadata"], "annotations": {**template["metadata"]["annotations"]}}
    del metadata["annotations"][ROLLOUT_ANNOTATION]
    if not metadata["annotations"] and "metadata.annotations" in made:
        del metadata["annotations"]
    if not metadata and "metadata" in made:
        return {key: value for key, value in template.items() if key != "metadata"}
    return {**template, "metadata": metadata}


_USUALLY_MADE = ["metadata.annotations"]
"""What is made for the annotation on an API server, which keeps no empty annotations and has
metadata always. Only where it is not so, in manifests, the annotation says what was.
"""


def _to_make(template: Template) -> list[str]:
    if template.get("metadata") is None:
        return ["metadata", "metadata.annotations"]
    return [] if template["metadata"].get("annotations") == {} else _USUALLY_MADE


def _made_for(text: Any) -> Any:
    try:
        return json.loads(text).get("made", _USUALLY_MADE)
    except (ValueError, TypeError, AttributeError, RecursionError):
        return _USUALLY_MADE


def as_pods_are(template: Template, *, claims: frozenset[str] = frozenset()) -> Template:
    """The template with all that it promises, which is how its Pods are; itself if that is nothing.

    `claims` are volumes that a StatefulSet makes beside the template.
    """
    verdicts = [Verdict(key, Action.APPLY, wish) for key, wish in read_markers(template).items()]
    if not verdicts:
        return template
    return inject(template, verdicts, site=NodeRuleSite.AFFINITY, claims=claims).template


def promised(marker: Desired | None, wish: Desired) -> bool:
    """Whether a marker promises just this. Both are compared as they read back, so a difference
    that writing makes cannot make a workload roll for ever.
    """
    return marker == _parsed(_dumped({wish.key: _written(wish)})).get(wish.key)


def size(wish: Desired) -> int:
    """How many bytes the marker for a wish takes."""
    return len(_dumped(_written(wish)).encode())


def _text(template: Template) -> Any:
    return ((template.get("metadata") or {}).get("annotations") or {}).get(ROLLOUT_ANNOTATION)


def _dumped(content: Mapping[str, Any]) -> str:
    return json.dumps(content, sort_keys=True, separators=(",", ":"))


def _written(wish: Desired) -> JSON:
    dropped = {"fieldDropped": True} if wish.field_dropped else {}
    return {"revision": wish.revision, "spec": _spec(wish), **dropped}


def _spec(wish: Desired) -> JSON:
    """A wish in the words of a policy's spec; what is empty or the default is left out."""
    app = {
        "names": sorted(wish.app_containers),
        "volumeMounts": list(wish.app_mounts),
        "env": list(wish.app_env),
    }
    fields = {
        "sidecars": list(wish.sidecars),
        "volumes": list(wish.volumes),
        "imagePullSecrets": list(wish.image_pull_secrets),
        "nodeRule": wish.node_rule.value,
        "placement": "" if wish.placement is Placement.FIRST else wish.placement.value,
        "order": list(_order(wish)),
        "adopt": [each.model_dump(by_alias=True, exclude_none=True) for each in wish.adopt],
        "appContainers": {key: value for key, value in app.items() if value},
        "minTerminationGracePeriodSeconds": wish.min_grace_seconds,
        "mode": "" if wish.mode is Mode.NATIVE else wish.mode.value,
        "universal": {"image": wish.universal_image} if wish.universal_image else {},
    }
    return {key: value for key, value in fields.items() if value}


def _order(wish: Desired) -> Iterator[JSON]:
    own = {*names(wish.sidecars), *(each.container for each in wish.adopt)}
    for earlier, later in wish.order:
        if later in own:
            yield {"sidecar": later, "after": [earlier]}
        else:
            yield {"sidecar": earlier, "before": [later]}


@lru_cache(maxsize=_REMEMBERED)
def _parsed(text: str) -> Mapping[str, Desired]:
    try:
        document = json.loads(text)
        entries = document.items()
    except (ValueError, AttributeError, RecursionError):
        return {}
    found = {key: _understood(key, entry) for key, entry in entries}
    return {key: wish for key, wish in found.items() if wish is not None}


def _understood(key: str, entry: Any) -> Desired | None:
    """The wish in one entry; None for what we did not write, such as a DaemonSet's revision."""
    try:
        revision = entry["revision"]
        if too_deep(entry):
            return None
        spec = SidecarPolicySpec.model_validate({"selector": {}, **entry["spec"]})
        dropped = entry.get("fieldDropped") is True
        wish = replace(desired(key, spec, field_dropped=dropped), revision=revision)
        items = (*wish.pod_items(), *wish.app_items)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None
    if not wish.sidecars and not wish.adopt:
        return None
    texts = (key.partition("/")[2], revision, *(each.name for each in items))
    return wish if all(isinstance(each, str) and each for each in texts) else None
