"""`doctor` without a name: is the cluster fit for native sidecars, and does the operator work?

Gathers facts, one request after the other, and has the core judge them. Reads and never writes:
Pods are created as dry runs only. What may not be read is passed on as `Unread`.
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from sidecarpolicy.api.names import (
    GROUP,
    INJECTED_LABEL,
    NAMESPACE_NAME_LABEL,
    VERSION,
    WEBHOOK_CONFIGURATION,
)
from sidecarpolicy.api.reasons import Reason
from sidecarpolicy.cli.doctor import Doctor, Report, Target
from sidecarpolicy.cli.manifests import UnusableInputError
from sidecarpolicy.cli.nodes import UnreadableError, read_nodes
from sidecarpolicy.cluster.api import Api
from sidecarpolicy.cluster.connection import Connection, NoClusterError, connect
from sidecarpolicy.cluster.outcome import Outcome, Result
from sidecarpolicy.cluster.resources import (
    ACCESS_REVIEWS,
    CLUSTER_POLICIES,
    CRDS,
    DEPLOYMENTS,
    ENDPOINT_SLICES,
    NAMESPACES,
    POLICIES,
    WEBHOOK_CONFIGURATIONS,
    Resource,
)
from sidecarpolicy.controller.dryruns import DryRuns
from sidecarpolicy.core import rights
from sidecarpolicy.core.capability import Rules
from sidecarpolicy.core.checkup import Check, Checked, Unread, fine, problem, unread, wrong
from sidecarpolicy.core.facts import RawObject
from sidecarpolicy.core.gate import Gate
from sidecarpolicy.core.inquiry import inquire_bare
from sidecarpolicy.core.nodechecks import node_labels, nodes
from sidecarpolicy.core.operatorchecks import CRDS as OUR_CRDS
from sidecarpolicy.core.operatorchecks import Operator, Part, operator
from sidecarpolicy.core.policychecks import policies
from sidecarpolicy.core.reading import Answer
from sidecarpolicy.core.rights import Right, review
from sidecarpolicy.core.serverchecks import Proof, api_server, dry_run, mutating_webhooks, others
from sidecarpolicy.core.suspects import Scene, hooks_of, suspects

Value = TypeVar("Value")

_IN_FLIGHT: Final = 8
_NAME_LABEL: Final = "app.kubernetes.io/name"
_COMPONENT_LABEL: Final = "app.kubernetes.io/component"


@dataclass(frozen=True)
class Scope:
    """What is looked at: `namespace` is empty for all, `trial` is where a Pod is tried."""

    namespace: str
    trial: str
    operator: str
    rules: Rules


@dataclass(frozen=True)
class Checkup:
    """All checks in the order of their telling, and the Pods, where they could be listed."""

    checked: tuple[Checked, ...]
    pods: Report | None

    @property
    def healthy(self) -> bool:
        """Whether there is no problem; what is not known is none."""
        return not wrong(self.checked)


async def check_up(scope: Scope, *, kubeconfig: str | None = None) -> Checkup:
    """Checks the cluster; UnusableInputError if there is none that would answer."""
    try:
        async with connect(kubeconfig) as connection:
            return await Surveyor(connection, scope).run()
    except NoClusterError as error:
        raise UnusableInputError(str(error)) from error


class Surveyor:
    """One round through a cluster."""

    def __init__(self, connection: Connection, scope: Scope) -> None:
        self._connection = connection
        self._api = Api(connection)
        self._dry_runs = DryRuns(self._api)
        self._scope = scope

    async def run(self) -> Checkup:
        """All checks."""
        version = await self._version()
        gate = Gate.UNKNOWN if isinstance(version, Unread) else await self._dry_runs.gate()
        configurations = await self._list(WEBHOOK_CONFIGURATIONS)
        proof = await self._proof(gate, configurations)
        found = await self._operator(configurations)
        report = await self._pods()
        checked = (
            api_server(version, gate),
            *await self._nodes(),
            dry_run(proof),
            mutating_webhooks(proof),
            *operator(found),
            *await self._policies(found),
            _pods_checked(report),
            _jobs_checked(report),
        )
        return Checkup(checked, None if isinstance(report, Unread) else report)

    async def _version(self) -> str | Unread:
        """The API server's version; UnusableInputError where nobody answers, or knows us."""
        answer = await self._api.server_version()
        if not answer.code and not answer.done:
            raise UnusableInputError(f"the API server does not answer: {answer.message}")
        if answer.code == 401:
            raise UnusableInputError(f"the API server does not know you: {answer.message}")
        return _read(answer, lambda: str(answer.body.get("gitVersion", "")))

    async def _nodes(self) -> tuple[Checked, Checked]:
        try:
            survey = await read_nodes(self._connection, self._scope.rules, ask=False)
        except UnreadableError as error:
            missing = Unread(str(error))
            return nodes(missing), node_labels(missing)
        return nodes(survey.nodes), node_labels(survey.findings)

    async def _proof(self, gate: Gate, configurations: Sequence[RawObject] | Unread) -> Proof:
        space = self._scope.trial
        verdict = await self._dry_runs.carry_out(inquire_bare({}), namespace=space)
        spared = False
        if verdict.answer is Answer.LOST:
            labelled = inquire_bare({INJECTED_LABEL: "true"})
            again = await self._dry_runs.carry_out(labelled, namespace=space)
            spared = again.answer is Answer.PRESERVED
        if isinstance(configurations, Unread):
            return Proof(space, verdict, gate, spared, configurations)
        answer = await self._api.get(NAMESPACES, name=space)
        # Whoever may not read the namespace knows the one label that all have.
        known = {NAMESPACE_NAME_LABEL: space}
        scene = Scene(space, (answer.body.get("metadata") or {}).get("labels") or known, {})
        hooks = [hook for each in configurations for hook in hooks_of(each)]
        return Proof(space, verdict, gate, spared, others(suspects(hooks, scene)))

    async def _operator(self, configurations: Sequence[RawObject] | Unread) -> Operator:
        registration: RawObject | Unread | None
        if isinstance(configurations, Unread):
            registration = configurations
        else:
            named = (e for e in configurations if e["metadata"]["name"] == WEBHOOK_CONFIGURATION)
            registration = next(named, None)
        deployments = await self._list(
            DEPLOYMENTS, namespace=self._scope.operator, labels=f"{_NAME_LABEL}=sidecarpolicy"
        )
        return Operator(
            await self._crds(),
            registration,
            await self._part(deployments, "controller", rights.CONTROLLER),
            await self._part(deployments, "webhook", rights.WEBHOOK),
            await self._endpoints(registration),
            self._scope.operator,
        )

    async def _crds(self) -> Mapping[str, bool] | Unread:
        """By the objects, or, for those who may not read them, by what the API server serves."""
        found = {}
        for name in OUR_CRDS:
            answer = await self._api.get(CRDS, name=name)
            if answer.done:
                found[name] = _established(answer.body)
            elif answer.result is not Result.GONE:
                return await self._served()
        return found

    async def _served(self) -> Mapping[str, bool] | Unread:
        answer = await self._api.served(GROUP, VERSION)
        if answer.code == 404:
            return {}
        plurals = {str(each.get("name")) for each in answer.body.get("resources") or ()}
        return _read(answer, lambda: {e: True for e in OUR_CRDS if e.partition(".")[0] in plurals})

    async def _part(
        self, deployments: Sequence[RawObject] | Unread, component: str, needed: Sequence[Right]
    ) -> Part:
        if isinstance(deployments, Unread):
            return Part(deployments)
        found = (e for e in deployments if _labels(e).get(_COMPONENT_LABEL) == component)
        deployment = next(found, None)
        if deployment is None:
            return Part()
        name = deployment["spec"]["template"]["spec"].get("serviceAccountName", "default")
        return Part(deployment, await self._lacking(f"{self._scope.operator}:{name}", needed))

    async def _lacking(self, account: str, needed: Sequence[Right]) -> Sequence[Right] | Unread:
        """The rights that an account lacks; the first refusal says that we may not ask."""
        slots = asyncio.Semaphore(_IN_FLIGHT)

        async def asked(right: Right) -> Outcome:
            async with slots:
                return await self._api.create(ACCESS_REVIEWS, review(right, account))

        first, *others_needed = needed
        answers = [await asked(first)]
        if answers[0].done:
            answers += await asyncio.gather(*(asked(each) for each in others_needed))
        for each in answers:
            if not each.done:
                return Unread(each.message)
        pairs = zip(needed, answers, strict=True)
        return [right for right, each in pairs if not each.body["status"].get("allowed")]

    async def _endpoints(self, registration: RawObject | Unread | None) -> int | Unread | None:
        """How many addresses of the webhook's Service are ready; None where it has no Service."""
        if registration is None or isinstance(registration, Unread):
            return None
        configs = (e.get("clientConfig") or {} for e in registration.get("webhooks") or ())
        service = next((each["service"] for each in configs if each.get("service")), None)
        if service is None:
            return None
        slices = await self._list(
            ENDPOINT_SLICES,
            namespace=service["namespace"],
            labels=f"kubernetes.io/service-name={service['name']}",
        )
        if isinstance(slices, Unread):
            return slices
        endpoints = [each for one in slices for each in one.get("endpoints") or ()]
        # "A nil value should be interpreted as true" (discovery.k8s.io/v1).
        return sum((e.get("conditions") or {}).get("ready") is not False for e in endpoints)

    async def _policies(self, operator: Operator) -> tuple[Checked, ...]:
        """Policies of both kinds, of which one may be read and the other not; there are none where
        their CRDs are not.
        """
        found: list[RawObject] = []
        missing: list[Checked] = []
        wanted = ((CLUSTER_POLICIES, ""), (POLICIES, self._scope.namespace))
        for resource, namespace in wanted if operator.crds != {} else ():
            listed = await self._list(resource, namespace=namespace or None)
            if isinstance(listed, Unread):
                missing.append(unread(Check.POLICIES, resource.plural, listed))
            else:
                found += ({"kind": resource.kind, **each} for each in listed)
        return (*(policies(found, time.time()) if found or not missing else ()), *missing)

    async def _pods(self) -> Report | Unread:
        try:
            return await Doctor(self._api).many(Target(self._scope.namespace))
        except UnusableInputError as error:
            return Unread(str(error))

    async def _list(
        self, resource: Resource, *, namespace: str | None = None, labels: str = ""
    ) -> Sequence[RawObject] | Unread:
        listed = await self._api.list_all(
            resource, namespace=namespace, labels=labels, keep=lambda obj: obj
        )
        return _read(listed, lambda: listed.items)


def _read(answer: Outcome, value: Callable[[], Value]) -> Value | Unread:
    return value() if answer.done else Unread(answer.message)


def _established(crd: RawObject) -> bool:
    conditions: Sequence[RawObject] = (crd.get("status") or {}).get("conditions") or ()
    return any((e.get("type"), e.get("status")) == ("Established", "True") for e in conditions)


def _labels(obj: RawObject) -> Mapping[str, Any]:
    return obj["metadata"].get("labels") or {}


def _pods_checked(report: Report | Unread) -> Checked:
    """The Pods in one line; what is wrong with each is told below it."""
    if isinstance(report, Unread):
        return unread(Check.PODS, "Pods", report)
    number = report.counted
    ill = sum(each.diagnosis is not None for each in report.pods)
    if not ill and not report.refused:
        return fine(Check.PODS, f"{number}, nothing wrong")
    refused = f"; {len(report.refused)} owners cannot create theirs" if report.refused else ""
    return problem(
        Check.PODS, f"{number}, something is wrong with {ill}{refused}", next_step="See each"
    )


def _jobs_checked(report: Report | Unread) -> Checked:
    """The Jobs in one line; those that hang are told below it."""
    if isinstance(report, Unread):
        return unread(Check.JOBS, "Pods of Jobs", report)
    hanging = report.hanging
    if hanging.unread is not None:
        return unread(Check.JOBS, "Pods of Jobs", hanging.unread)
    if not hanging.jobs:
        return fine(Check.JOBS, "no container keeps one open after the others ended")
    return problem(
        Check.JOBS,
        f"{hanging.counted} stay open, because a container runs on after the others ended",
        next_step="See each",
        reason=Reason.JOB_KEPT_OPEN,
    )
