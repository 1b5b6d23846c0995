"""What an Event on an owner says of Pods that could not be created."""

import pytest

from sidecarpolicy.core.diagnosis import creation_refused

REFUSAL = (
    'Error creating: Pod "web-749949796c-jhfvb" is invalid: spec.initContainers[0].startupProbe: '
    "Forbidden: may not be set for init containers without restartPolicy=Always"
)


def test_a_pod_that_the_api_server_refuses_tells_of_a_stripped_field() -> None:
    refused = creation_refused(REFUSAL)
    assert refused is not None
    assert (refused.reason.value, refused.seen) == ("RestartPolicyStripped", REFUSAL)


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ('Error creating: pods "web-x7" is forbidden: exceeded quota: q, used: cpu=2',
         "exceeded quota: q, used: cpu=2"),
        ('Error creating: Pod "web-x7" is invalid: spec.os: Forbidden: is not linux.',
         "spec.os: Forbidden: is not linux"),
        ('Error creating: admission webhook "k.io" denied the request: no root', "no root"),
    ],
)  # fmt: skip
def test_a_pod_that_is_refused_for_another_cause_has_it_in_the_servers_words(
    said: str, words: str
) -> None:
    refused = creation_refused(said)
    assert refused is not None
    assert (refused.reason.value, refused.seen) == ("PodNotCreated", said)
    assert refused.message.endswith(f": {words}")


@pytest.mark.parametrize(
    "said",
    [
        "Error creating: etcdserver: request timed out",
        'Error creating: pods "web-x7" is forbidden: unable to create new content in namespace '
        "shop because it is being terminated",
    ],
)
def test_what_passes_by_itself_is_no_cause(said: str) -> None:
    assert creation_refused(said) is None
