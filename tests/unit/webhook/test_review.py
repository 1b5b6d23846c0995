"""Reviews that are malformed, hostile or huge are refused, or allowed unchanged; none fails."""

import asyncio
import base64
import json
from typing import Any

import jsonpatch
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecarpolicy.api.names import INJECTED_ANNOTATION
from sidecarpolicy.webhook.review import BadReviewError, Reviewed, review
from tests.support.builders import policy_object
from tests.support.cluster import cron_job, deployment, stateful_set
from tests.support.reviews import memory, request

JSON = dict[str, Any]
TARGETS = [{"kind": kind} for kind in ("Deployment", "StatefulSet", "CronJob", "Job", "Pod")]
VIEW = memory(policy_object(targets=TARGETS, minTerminationGracePeriodSeconds=45))
OWN_USER = "system:serviceaccount:sidecarpolicy-system:sidecarpolicy-controller"


def admission_review(obj: Any, *, kind: str = "Deployment", old: Any = None) -> JSON:
    """As an API server sends it."""
    asked = request(obj, kind=kind, old=old)
    user = {"username": "alice", "groups": ["system:authenticated"]}
    return {
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {"uid": "a-b-c", "userInfo": user, "dryRun": False, **asked},
    }


def answered(sent: Any) -> Reviewed:
    body = sent if isinstance(sent, bytes) else json.dumps(sent).encode()
    return asyncio.run(review(body, VIEW, own_user=OWN_USER))


def response(reviewed: Reviewed) -> JSON:
    document: JSON = json.loads(reviewed.body)
    assert (document["apiVersion"], document["kind"]) == ("admission.k8s.io/v1", "AdmissionReview")
    found: JSON = document["response"]
    return found


def test_a_proper_review_is_answered_with_a_patch_under_its_uid() -> None:
    reviewed = answered(admission_review(deployment()))
    found = response(reviewed)
    assert (found["uid"], found["allowed"], found["patchType"]) == ("a-b-c", True, "JSONPatch")
    assert json.loads(base64.b64decode(found["patch"]))
    assert (reviewed.kind, reviewed.operation, reviewed.result) == (
        "Deployment",
        "CREATE",
        "patched",
    )


def nested(depth: int, inner: str = "1") -> str:
    return '{"a":' * depth + inner + "}" * depth


WITHOUT_REQUEST = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview"}


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"hello", id="text"),
        pytest.param(b"\xff\xfe\x00", id="bytes of no encoding"),
        pytest.param(b"null", id="null"),
        pytest.param(b"[]", id="a list"),
        pytest.param(b'"AdmissionReview"', id="a string"),
        pytest.param(b"9" * 10_000, id="a huge number"),
        pytest.param(nested(100_000).encode(), id="objects, deeply nested"),
        pytest.param(b"[" * 1_000_000, id="lists, deeply nested"),
        pytest.param(json.dumps(WITHOUT_REQUEST).encode(), id="no request"),
        pytest.param(json.dumps({**WITHOUT_REQUEST, "request": None}).encode(), id="request: null"),
        pytest.param(
            json.dumps({**WITHOUT_REQUEST, "request": "x"}).encode(), id="request: a string"
        ),
        pytest.param(
            json.dumps(
                {**admission_review(deployment()), "apiVersion": "admission.k8s.io/v1beta1"}
            ).encode(),
            id="an older version",
        ),
        pytest.param(
            json.dumps({**admission_review(deployment()), "kind": "ConversionReview"}).encode(),
            id="a review of something else",
        ),
        pytest.param(
            json.dumps(admission_review({"metadata": {}, "spec": float("nan")})).encode(),
            id="what only Python calls JSON",
        ),
    ],
)
def test_what_is_no_review_is_refused(body: bytes) -> None:
    with pytest.raises(BadReviewError, match="no AdmissionReview"):
        answered(body)


def changed(path: str, value: Any, *, kind: str = "Deployment", old: bool = False) -> JSON:
    """A proper review in which one value was exchanged."""
    before = deployment(pod={"initContainers": []}) if old else None
    made = admission_review(deployment(), kind=kind, old=before)
    target: Any = made["request"]
    *way, last = path.split(".")
    for step in way:
        target = target[step]
    target[last] = value
    return made


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(changed("object", None), id="no object"),
        pytest.param(changed("object", "x"), id="an object that is a string"),
        pytest.param(changed("object", []), id="an object that is a list"),
        pytest.param(changed("object.metadata", None), id="no metadata"),
        pytest.param(changed("object.metadata", "x"), id="metadata that is a string"),
        pytest.param(changed("object.metadata.ownerReferences", "x"), id="owners in a string"),
        pytest.param(changed("object.metadata.ownerReferences", [7]), id="owners that are numbers"),
        pytest.param(
            changed(
                "object.metadata.managedFields", [{"manager": "argocd-controller", "fieldsV1": 7}]
            ),
            id="a manager of numbers",
        ),
        pytest.param(changed("object.spec", None), id="no spec"),
        pytest.param(changed("object.spec.template", None), id="no template"),
        pytest.param(changed("object.spec.template", "x"), id="a template that is a string"),
        pytest.param(changed("object.spec.template.metadata", "x"), id="metadata in a string"),
        pytest.param(changed("object.spec.template.metadata.labels", "x"), id="labels in a string"),
        pytest.param(changed("object.spec.template.spec", "x"), id="a Pod spec that is a string"),
        pytest.param(
            changed("object.spec.template.spec.containers", "x"), id="containers in a string"
        ),
        pytest.param(
            changed("object.spec.template.spec.containers", [None]), id="a null container"
        ),
        pytest.param(changed("object.spec.template.spec.affinity", 7), id="affinity: a number"),
        pytest.param(changed("oldObject", None, old=True), id="an update of nothing"),
        pytest.param(changed("oldObject", "x", old=True), id="an update of a string"),
        pytest.param(changed("operation", "DELETE"), id="a deletion with an object"),
        pytest.param(changed("userInfo", None), id="nobody's"),
        pytest.param(changed("namespace", None), id="without namespace"),
        pytest.param(changed("namespace", {}), id="in an odd namespace"),
        pytest.param(changed("name", ["web"], kind="Pod"), id="a Pod without Pod spec"),
        pytest.param(changed("kind.kind", "ReplicaSet"), id="a kind that we do not select"),
        pytest.param(changed("kind.kind", "Binding"), id="a kind without template"),
        pytest.param(
            changed("object.spec.template.metadata.annotations", {INJECTED_ANNOTATION: "}{"}),
            id="a record that is no JSON",
        ),
        pytest.param(
            changed(
                "object.spec.template.metadata.annotations",
                {INJECTED_ANNOTATION: nested(100_000)},
            ),
            id="a record that is deeply nested",
        ),
        pytest.param(
            changed("object.spec.template.metadata.annotations", {INJECTED_ANNOTATION: 7}),
            id="a record that is a number",
        ),
    ],
)
def test_what_cannot_be_decided_passes_unchanged(sent: JSON) -> None:
    found = response(answered(sent))
    assert (found["allowed"], found.get("patch")) == (True, None)
    assert found["uid"] == "a-b-c"


@pytest.mark.parametrize("operation", ["DELETE", "CONNECT"])
@pytest.mark.parametrize("kind", ["Deployment", "Pod", "PodExecOptions", "Binding"])
def test_operations_and_kinds_that_are_none_of_ours_pass_without_a_word(
    operation: str, kind: str
) -> None:
    sent = admission_review(deployment(), kind=kind, old=deployment())
    sent["request"] |= {"operation": operation, "object": None}
    reviewed = answered(sent)
    assert response(reviewed) == {"uid": "a-b-c", "allowed": True}
    assert reviewed.result == "unchanged"


def hostile(parts: JSON) -> str:
    """A record that we might have written, with odd parts."""
    policies = {"SidecarPolicy/log-shipper": {"revision": "1", "parts": parts}}
    return json.dumps({"policies": policies, "made": []})


@pytest.mark.parametrize(
    "parts",
    [
        {"gracePeriod": "x"},
        {"gracePeriod": "45:" + "9" * 5000},
        {"gracePeriod": ":"},
        {"volume/../../x": ""},
        {"env/web:" + "x" * 5000: ""},
        {"nodeTerm/Sometimes": ""},
        {"container/web": ""},
        {"volumeMount/nobody:/x": "0"},
    ],
    ids=str,
)
@pytest.mark.parametrize("where", ["object", "oldObject"])
def test_a_hostile_record_keeps_nobody_from_working(parts: JSON, where: str) -> None:
    before, after = deployment(), deployment(pod={"initContainers": []})
    odd = {"annotations": {INJECTED_ANNOTATION: hostile(parts)}}
    for obj in (after,) if where == "object" else (before,):
        obj["spec"]["template"]["metadata"] |= odd
    found = response(answered(admission_review(after, old=before)))
    assert found["allowed"] is True


def test_a_failure_is_logged_without_the_object(caplog: pytest.LogCaptureFixture) -> None:
    secret = {"name": "PASSWORD", "value": "hunter2"}
    obj = deployment(pod={"containers": [{"name": "web", "env": [secret]}, None]})
    assert answered(admission_review(obj)).result == "failed"
    assert "a-b-c" in caplog.text
    assert "hunter2" not in caplog.text


# Whatever is sent: an answer, or a refusal.

odd = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=5)
    | st.sampled_from(["9" * 40, "CREATE", "\x00", "~1/~0", "false"]),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2)
    ),
    max_leaves=5,
)


def paths(value: Any, way: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The ways to all values inside."""
    inner = value.items() if isinstance(value, dict) else enumerate(value)
    found = [way] if way else []
    if isinstance(value, (dict, list)):
        for key, each in inner:
            found += paths(each, (*way, key)) if isinstance(each, (dict, list)) else [(*way, key)]
    return found


def pods() -> JSON:
    return {"metadata": {"name": "p", "labels": {"app": "web"}}, **deployment()["spec"]["template"]}


def injected(obj: JSON) -> JSON:
    patch = base64.b64decode(response(answered(admission_review(obj)))["patch"])
    made: JSON = jsonpatch.apply_patch(obj, json.loads(patch))
    return made


REAL = [
    admission_review(deployment()),
    admission_review(deployment(), old=injected(deployment())),
    admission_review(injected(deployment()), old=injected(stateful_set("web"))),
    admission_review(stateful_set(), kind="StatefulSet"),
    admission_review(cron_job(), kind="CronJob"),
    admission_review(pods(), kind="Pod"),
]


@given(st.data())
def test_any_change_to_a_real_review_is_answered_or_refused(data: st.DataObject) -> None:
    sent = json.loads(json.dumps(data.draw(st.sampled_from(REAL))))
    for _ in range(data.draw(st.integers(1, 3))):
        *way, last = data.draw(st.sampled_from(paths(sent)))
        target: Any = sent
        for step in way:
            target = target[step]
        if data.draw(st.booleans()):
            target[last] = data.draw(odd)
        else:
            del target[last]
    try:
        found = response(answered(sent))
    except BadReviewError:
        return
    assert found["allowed"] is True
    assert found["uid"] == sent["request"]["uid"]


@given(st.binary(max_size=200) | odd.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_are_refused(body: bytes) -> None:
    with pytest.raises(BadReviewError):
        answered(body)


def test_an_object_that_is_faster_than_its_new_namespace_waits_for_it() -> None:
    view = memory(policy_object(targets=TARGETS))
    (known,) = view.namespaces.held.values()
    view.namespaces.forget(known)

    async def asked() -> Reviewed:
        body = json.dumps(admission_review(deployment())).encode()
        asyncio.get_running_loop().call_later(0.1, view.namespaces.store, known)
        return await review(body, view, own_user=OWN_USER)

    assert asyncio.run(asked()).result == "patched"


def test_in_a_namespace_that_stays_unknown_nothing_is_changed() -> None:
    view = memory(policy_object(targets=TARGETS))
    view.namespaces.replace([])
    body = json.dumps(admission_review(deployment())).encode()
    assert asyncio.run(review(body, view, own_user=OWN_USER)).result == "unchanged"
