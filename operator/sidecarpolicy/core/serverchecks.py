"""Checks of the way that a native sidecar takes into the cluster: API server and admission.

A dry run proves it; the gate and the webhooks that are asked only say who is to blame if it fails.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sidecarpolicy.api.names import INJECTED_LABEL, WEBHOOK_CONFIGURATION
from sidecarpolicy.api.reasons import Reason
from sidecarpolicy.core.checkup import (
    Check,
    Checked,
    Unread,
    fine,
    problem,
    shortened,
    unknown,
    unread,
)
from sidecarpolicy.core.featuregate import GATE
from sidecarpolicy.core.gate import Gate
from sidecarpolicy.core.inquiry import Verdict
from sidecarpolicy.core.reading import Answer, lacks_right
from sidecarpolicy.core.suspects import Suspect

_UPGRADE: Final = f"Turn its feature gate {GATE} on, or upgrade it to 1.29 or later"


@dataclass(frozen=True)
class Proof:
    """What became of a Pod with a native sidecar that was created as a dry run.

    `spared`: it was lost, but a Pod with the label of injected Pods keeps its sidecar.
    `asked`: the webhooks of others that may have been asked about it, the likeliest suspects first.
    """

    namespace: str
    verdict: Verdict
    gate: Gate = Gate.UNKNOWN
    spared: bool = False
    asked: Sequence[Suspect] | Unread = ()

    @property
    def stripped(self) -> bool:
        """Whether something on the way, and not the API server itself, removes the field."""
        return self.verdict.answer is Answer.LOST and self.gate is not Gate.OFF


def api_server(version: str | Unread, gate: Gate) -> Checked:
    """Whether the API server itself knows native sidecars, by version and its own metrics."""
    if isinstance(version, Unread):
        return unread(Check.API_SERVER, "its version", version)
    if gate is Gate.ON:
        return fine(Check.API_SERVER, f"{version} keeps restartPolicy of init containers")
    if gate is Gate.OFF:
        return problem(
            Check.API_SERVER,
            f"{version} drops restartPolicy of init containers: its feature gate {GATE} is off, "
            "or it does not know it",
            next_step=_UPGRADE,
            reason=Reason.API_SERVER_DROPS_FIELD,
        )
    return unknown(
        Check.API_SERVER,
        f"{version} keeps restartPolicy of init containers only if its feature gate {GATE} is on, "
        "and its metrics did not say so",
        next_step="See what the dry run says, or ask with a right to get /metrics",
    )


def dry_run(proof: Proof) -> Checked:
    """Whether a native sidecar survives its creation, as far as a dry run could tell."""
    verdict, where = proof.verdict, f"in namespace {proof.namespace}"
    match verdict.answer:
        case Answer.PRESERVED:
            quota = [f"a quota has no room for it now: {verdict.quota}"] if verdict.quota else []
            kept = f"a Pod keeps its native sidecar {where}"
            return fine(Check.DRY_RUN, kept, details=quota)
        case Answer.LOST:
            return _lost(proof, where)
        case Answer.REFUSED | Answer.INVALID:
            return problem(
                Check.DRY_RUN,
                f"a Pod is refused {where} because of its native sidecar: {verdict.message}",
                next_step="Change the admission policy or webhook that the message names",
                reason=Reason.REFUSED,
            )
    if lacks_right(verdict.message):
        return unknown(Check.DRY_RUN, f"not tried {where}: {verdict.message}")
    return unknown(
        Check.DRY_RUN, f"it is not known what becomes of a Pod {where}: {verdict.message}"
    )


def _lost(proof: Proof, where: str) -> Checked:
    lost = f"a native sidecar loses its restartPolicy {where}, so its Pod would hang in Init"
    if proof.spared:
        return fine(Check.DRY_RUN, f"{lost}; Pods labelled {INJECTED_LABEL}=true keep it")
    if not proof.stripped:
        return problem(
            Check.DRY_RUN,
            f"{lost}: the API server drops it",
            next_step=_UPGRADE,
            reason=Reason.API_SERVER_DROPS_FIELD,
        )
    return problem(
        Check.DRY_RUN,
        f"{lost}: something on the way removes it",
        next_step=_next(proof),
        reason=Reason.RESTART_POLICY_STRIPPED,
    )


def _next(proof: Proof) -> str:
    if isinstance(proof.asked, Unread):
        return "Ask somebody who may list mutatingwebhookconfigurations"
    if proof.asked:
        return "See the mutating webhooks below"
    if proof.gate is Gate.UNKNOWN:
        return f"No webhook is asked, so it is likely the API server. {_UPGRADE}"
    return "Look for a MutatingAdmissionPolicy, or for a proxy before the API server"


def mutating_webhooks(proof: Proof) -> Checked:
    """Which webhooks of others see such a Pod; suspects only where its sidecar was lost."""
    asked = proof.asked
    if isinstance(asked, Unread):
        return unread(Check.MUTATING_WEBHOOKS, "who is asked about such a Pod", asked)
    if not asked:
        return fine(Check.MUTATING_WEBHOOKS, "no webhook of others is asked about such a Pod")
    named = shortened([str(each.hook) for each in asked])
    if proof.stripped and not proof.spared:
        return problem(
            Check.MUTATING_WEBHOOKS,
            "one of these may remove restartPolicy, the likeliest first",
            next_step="Upgrade it, or have its objectSelector leave out Pods labelled "
            f"{INJECTED_LABEL}=true, and those with native sidecars of your own",
            reason=Reason.STRIPPED_BY_WEBHOOK,
            details=named,
        )
    number = f"{len(asked)} webhook{'s' * (len(asked) > 1)} of others"
    return fine(Check.MUTATING_WEBHOOKS, f"{number} may be asked about such a Pod", details=named)


def others(found: Sequence[Suspect]) -> tuple[Suspect, ...]:
    """Without our own webhook, which only adds."""
    return tuple(each for each in found if each.hook.configuration != WEBHOOK_CONFIGURATION)
