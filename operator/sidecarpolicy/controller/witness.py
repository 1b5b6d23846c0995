"""Witnesses: the latest time at which a recorded policy is known to have been there.

A CustomResourceDefinition that is deleted takes all policies with it, and when it is created
anew, each of them is as absent as one that somebody deleted. What tells them apart is time, as
the API server writes it: a policy was deleted for itself only if it was there under the
CRD of today, which must therefore not be younger than the witness.

A policy that this process has seen is its own witness, by its creation. Of one that was gone
before, workloads tell: a record was written no earlier than its workload was created, and
mostly by our own last write to it. What such a write was about, nobody knows, so only what
workloads say when the policy is first missed counts, not what we write afterwards.
"""

from collections.abc import Iterable, Mapping

from sidecarpolicy.core.facts import PolicyFacts


class Witnesses:
    """Times, RFC 3339 in UTC so that they sort as text, by namespace and policy key."""

    def __init__(self) -> None:
        self._times: dict[str, Mapping[str, str]] = {}

    def note(
        self, namespace: str, recorded: Mapping[str, str], policies: Iterable[PolicyFacts]
    ) -> None:
        """Takes in what a namespace's workloads say, and which policies are there."""
        before = self._times.pop(namespace, {})
        alive = {policy.key: policy.created for policy in policies}
        times = {
            key: alive[key] if key in alive else before.get(key, told)
            for key, told in recorded.items()
        }
        if times:
            self._times[namespace] = times

    def latest(self, key: str, namespaces: Iterable[str]) -> str:
        """The latest time for a policy in these namespaces; empty if nobody saw it."""
        return max((self._times.get(each, {}).get(key, "") for each in namespaces), default="")
