"""What an answer to a dry run says; the messages are those of real API servers (1.31, 1.36)."""

from typing import Any

import pytest

from sidecarpolicy.core.reading import Answer, Reply, read

JSON = dict[str, Any]
QUOTA = 'pods "p" is forbidden: exceeded quota: few, requested: pods=1, used: pods=0, limited: '


def stored(*init_containers: JSON) -> Reply:
    return Reply(201, pod={"spec": {"initContainers": list(init_containers)}})


NATIVE, STRIPPED = {"name": "shipper", "restartPolicy": "Always"}, {"name": "shipper"}


@pytest.mark.parametrize(
    ("reply", "answer"),
    [
        pytest.param(stored(NATIVE), Answer.PRESERVED, id="kept"),
        pytest.param(stored({"name": "other"}, NATIVE), Answer.PRESERVED, id="kept beside others"),
        pytest.param(stored(STRIPPED), Answer.LOST, id="silently stripped"),
        pytest.param(stored(), Answer.LOST, id="taken out altogether"),
        pytest.param(Reply(201), Answer.LOST, id="a Pod without a spec"),
        pytest.param(
            Reply(
                422,
                'Pod "p" is invalid: spec.initContainers[0].lifecycle: Forbidden: may not be set '
                "for init containers without restartPolicy=Always (HTTP 422)",
            ),
            Answer.LOST,
            id="loudly stripped",
        ),
        pytest.param(
            Reply(422, 'Pod "p" is invalid: spec.initContainers[0].resources.requests[cpu]: …'),
            Answer.INVALID,
            id="malformed",
        ),
        pytest.param(
            Reply(400, 'unknown field "spec.initContainers[0].imagePulPolicy"'),
            Answer.INVALID,
            id="a typo",
        ),
        pytest.param(
            Reply(403, 'pods "p" is forbidden: violates PodSecurity "restricted:latest": …'),
            Answer.REFUSED,
            id="Pod Security",
        ),
        pytest.param(
            Reply(
                422,
                "pods \"p\" is forbidden: ValidatingAdmissionPolicy 'nope' with binding 'nope' "
                "denied request: no pods",
            ),
            Answer.REFUSED,
            id="an admission policy, although it says 422",
        ),
        pytest.param(
            Reply(400, 'admission webhook "x.example.com" denied the request: no'),
            Answer.REFUSED,
            id="a validating webhook, although it says 400",
        ),
        pytest.param(Reply(403, QUOTA + "pods=0"), Answer.OVER_QUOTA, id="quota used up"),
        pytest.param(
            Reply(403, 'pods "p" is forbidden: failed quota: cpu: must specify requests.cpu for a'),
            Answer.OVER_QUOTA,
            id="quota asks for requests",
        ),
        pytest.param(
            Reply(403, 'pods is forbidden: User "x" cannot create resource "pods"'),
            Answer.INCONCLUSIVE,
            id="no right",
        ),
        pytest.param(
            Reply(403, "pods \"p\" is forbidden: error looking up service account a/b: …"),
            Answer.INCONCLUSIVE,
            id="a ServiceAccount that is still to come",
        ),
        pytest.param(
            Reply(
                403,
                'pods "p" is forbidden: unable to create new content in namespace shop because it '
                "is being terminated",
            ),
            Answer.INCONCLUSIVE,
            id="a namespace that is about to go",
        ),
        pytest.param(
            Reply(400, 'admission webhook "x" does not support dry run'),
            Answer.INCONCLUSIVE,
            id="a webhook with side effects",
        ),
        pytest.param(
            Reply(500, 'Internal error occurred: failed calling webhook "x": …'),
            Answer.INCONCLUSIVE,
            id="a webhook that is down",
        ),
        pytest.param(Reply(404, 'namespaces "x" not found'), Answer.INCONCLUSIVE, id="gone"),
        pytest.param(Reply(429, "too many requests"), Answer.INCONCLUSIVE, id="overloaded"),
        pytest.param(Reply(0, "ClientError"), Answer.INCONCLUSIVE, id="no answer"),
    ],
)  # fmt: skip
def test_an_answer_says(reply: Reply, answer: Answer) -> None:
    assert read(reply, ["shipper"]).answer is answer


def test_a_refusal_keeps_the_servers_words_and_a_loss_names_the_sidecars() -> None:
    assert read(Reply(403, "no, because"), ["shipper"]).message == "no, because"
    assert read(stored(STRIPPED), ["shipper", "agent"]).message == "agent, shipper"


def test_a_pod_that_should_have_no_sidecar_cannot_lose_any() -> None:
    assert read(stored(), []).answer is Answer.PRESERVED
