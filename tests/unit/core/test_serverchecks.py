"""Checks of API server and admission: what the answers of a cluster come to."""

import pytest

from sidecarpolicy.api.reasons import Reason
from sidecarpolicy.core.checkup import Check, Checked, State, Unread
from sidecarpolicy.core.gate import Gate
from sidecarpolicy.core.inquiry import Inquiry, Trial, Verdict, inquire_bare
from sidecarpolicy.core.reading import Answer, Reading
from sidecarpolicy.core.serverchecks import Proof, api_server, dry_run, mutating_webhooks, others
from sidecarpolicy.core.suspects import Hook, Suspect

FORBIDDEN = 'pods is forbidden: User "eve" cannot create resource "pods"'
MESH = Suspect(Hook("mesh", "pods.mesh.dev", None, None), certain=True)
OURS = Suspect(Hook("sidecarpolicy", "pods.sidecarpolicy.dev", None, None), certain=True)
KEEPS, DROPS = "keeps restartPolicy of init containers", "drops restartPolicy of init containers"


@pytest.mark.parametrize(
    ("version", "gate", "state", "said"),
    [
        pytest.param("v1.36.3", Gate.ON, State.FINE, KEEPS, id="one that has the feature"),
        pytest.param("v1.27.1", Gate.OFF, State.PROBLEM, DROPS, id="one that has it not"),
        pytest.param(
            "v1.31.0",
            Gate.UNKNOWN,
            State.UNKNOWN,
            "its metrics did not say so",
            id="one whose gate could not be read",
        ),
        pytest.param(
            Unread("HTTP 403"),
            Gate.UNKNOWN,
            State.UNKNOWN,
            "could not read its version: HTTP 403",
            id="one that does not tell its version",
        ),
    ],
)
def test_an_api_server(version: str | Unread, gate: Gate, state: State, said: str) -> None:
    found = api_server(version, gate)
    assert (found.state, said in found.message) == (state, True)


def proof(
    answer: Answer,
    message: str = "",
    *,
    gate: Gate = Gate.ON,
    spared: bool = False,
    asked: tuple[Suspect, ...] | Unread = (),
) -> Proof:
    return Proof("shop", Verdict(answer, message), gate, spared, asked)


@pytest.mark.parametrize(
    ("found", "state", "reason", "said"),
    [
        pytest.param(
            proof(Answer.PRESERVED), State.FINE, None,
            "a Pod keeps its native sidecar in namespace shop", id="is kept as it is",
        ),
        pytest.param(
            proof(Answer.LOST, gate=Gate.OFF), State.PROBLEM, Reason.API_SERVER_DROPS_FIELD,
            "the API server drops it", id="loses its sidecar to the API server",
        ),
        pytest.param(
            proof(Answer.LOST, asked=(MESH,)), State.PROBLEM, Reason.RESTART_POLICY_STRIPPED,
            "something on the way removes it", id="loses its sidecar to a webhook",
        ),
        pytest.param(
            proof(Answer.LOST, asked=(MESH,), spared=True), State.FINE, None,
            "Pods labelled sidecarpolicy.dev/injected=true keep it",
            id="is spared by a webhook that leaves out injected Pods",
        ),
        pytest.param(
            proof(Answer.REFUSED, "denied the request: no"), State.PROBLEM, Reason.REFUSED,
            "because of its native sidecar: denied the request: no", id="is refused",
        ),
        pytest.param(
            proof(Answer.INCONCLUSIVE, FORBIDDEN), State.UNKNOWN, None,
            f"not tried in namespace shop: {FORBIDDEN}", id="may not be created by who asks",
        ),
        pytest.param(
            proof(Answer.INCONCLUSIVE, "the webhook is down"), State.UNKNOWN, None,
            "it is not known what becomes of a Pod in namespace shop: the webhook is down",
            id="got no answer",
        ),
    ],
)  # fmt: skip
def test_a_pod_that_was_tried(found: Proof, state: State, reason: Reason | None, said: str) -> None:
    checked = dry_run(found)
    assert (checked.state, checked.reason) == (state, reason)
    assert said in checked.message


def test_a_full_quota_is_told_and_is_no_problem() -> None:
    checked = dry_run(Proof("shop", Verdict(Answer.PRESERVED, quota="exceeded quota: small")))
    assert checked.state is State.FINE
    assert checked.details == ("a quota has no room for it now: exceeded quota: small",)


@pytest.mark.parametrize(
    ("gate", "asked", "next_step"),
    [
        pytest.param(Gate.ON, (MESH,), "See the mutating webhooks below", id="the webhooks"),
        pytest.param(Gate.ON, (), "Look for a MutatingAdmissionPolicy", id="other admission"),
        pytest.param(Gate.UNKNOWN, (), "No webhook is asked, so", id="the API server after all"),
        pytest.param(Gate.ON, Unread("HTTP 403"), "Ask somebody who may list", id="those who see"),
    ],
)
def test_where_to_look_for_what_strips(
    gate: Gate, asked: tuple[Suspect, ...] | Unread, next_step: str
) -> None:
    assert dry_run(proof(Answer.LOST, gate=gate, asked=asked)).next_step.startswith(next_step)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        pytest.param(
            proof(Answer.PRESERVED, asked=(MESH,)),
            Checked(
                Check.MUTATING_WEBHOOKS, State.FINE,
                "1 webhook of others may be asked about such a Pod", details=(str(MESH.hook),),
            ),
            id="that did nothing is named",
        ),
        pytest.param(
            proof(Answer.PRESERVED, asked=Unread("HTTP 403")),
            Checked(
                Check.MUTATING_WEBHOOKS, State.UNKNOWN,
                "could not read who is asked about such a Pod: HTTP 403",
            ),
            id="that nobody may see is unknown",
        ),
        pytest.param(
            proof(Answer.LOST, asked=()),
            Checked(
                Check.MUTATING_WEBHOOKS, State.FINE,
                "no webhook of others is asked about such a Pod",
            ),
            id="that is not there is no suspect",
        ),
        pytest.param(
            proof(Answer.LOST, gate=Gate.OFF, asked=(MESH,)),
            Checked(
                Check.MUTATING_WEBHOOKS, State.FINE,
                "1 webhook of others may be asked about such a Pod", details=(str(MESH.hook),),
            ),
            id="is no suspect where the API server itself drops the field",
        ),
    ],
)  # fmt: skip
def test_a_webhook_of_others(found: Proof, expected: Checked) -> None:
    assert mutating_webhooks(found) == expected


def test_where_a_sidecar_was_stripped_every_webhook_is_a_suspect_but_ours() -> None:
    assert others((OURS, MESH)) == (MESH,)
    checked = mutating_webhooks(proof(Answer.LOST, asked=(MESH,)))
    assert (checked.state, checked.reason) == (State.PROBLEM, Reason.STRIPPED_BY_WEBHOOK)
    assert checked.details == ("MutatingWebhookConfiguration mesh (webhook pods.mesh.dev)",)


def carried_out(inquiry: Inquiry, *answers: Answer) -> tuple[list[Trial], Verdict]:
    """The Pods that were tried, and what came of it."""
    trials = [next(inquiry)]
    for answer in answers:
        try:
            trials.append(inquiry.send(Reading(answer, answer.value)))
        except StopIteration as end:
            return trials, end.value
    raise AssertionError("it asks on")


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        pytest.param([Answer.PRESERVED], Answer.PRESERVED, id="taken"),
        pytest.param([Answer.REFUSED, Answer.LOST], Answer.LOST, id="stripped, then refused"),
        pytest.param(
            [Answer.REFUSED, Answer.REFUSED, Answer.PRESERVED], Answer.REFUSED,
            id="refused for its sidecar",
        ),
        pytest.param(
            [Answer.REFUSED, Answer.REFUSED, Answer.REFUSED], Answer.INCONCLUSIVE,
            id="refused with and without a sidecar",
        ),
    ],
)  # fmt: skip
def test_a_bare_pod_is(answers: list[Answer], expected: Answer) -> None:
    trials, verdict = carried_out(inquire_bare({"team": "a"}), *answers)
    assert verdict.answer is expected
    (sidecar,) = trials[0].pod["spec"]["initContainers"]
    assert (sidecar["name"], sidecar["restartPolicy"]) == (trials[0].sidecars[0], "Always")
    for each in trials:
        assert each.pod["metadata"]["labels"] == {"team": "a"}
        assert each.pod["metadata"]["annotations"] == {"sidecarpolicy.dev/inject": "false"}
