"""`uninstall`: takes everything back, in the order in which nothing undoes it again.

What would put parts in goes first (the webhook's registration, the operator's processes, the
policies), then the parts themselves, then what Pods with parts still need (the nodes'
labels), and what the manifests installed at last. Everything is derived from what the cluster
shows, so a run that was cut off is simply run again. Stops where going on would do harm.
"""

from collections.abc import Callable

from sidecarpolicy.api.names import WEBHOOK_CONFIGURATION
from sidecarpolicy.cli.manifests import UnusableInputError
from sidecarpolicy.cli.uninstall_objects import Objects, StoppedError
from sidecarpolicy.cli.uninstall_steps import (
    CRD_NAMES,
    OPERATORS,
    Action,
    State,
    Step,
    Wish,
    needed,
    self_review,
)
from sidecarpolicy.cli.uninstall_traces import Traces
from sidecarpolicy.cli.uninstall_workloads import Pace, Workloads
from sidecarpolicy.cluster.api import Api
from sidecarpolicy.cluster.connection import NoClusterError, connect
from sidecarpolicy.cluster.resources import (
    ADMISSION_BINDINGS,
    ADMISSION_POLICIES,
    CLUSTER_POLICIES,
    CLUSTER_ROLE_BINDINGS,
    CLUSTER_ROLES,
    CRDS,
    DEPLOYMENTS,
    NAMESPACES,
    PODS,
    POLICIES,
    SELF_ACCESS_REVIEWS,
    WEBHOOK_CONFIGURATIONS,
    Resource,
)

_AT_MOST = 60.0
"""Seconds for the operator's Pods to end; they are given 30 themselves."""

_IN_IT = "all,serviceaccount,role,rolebinding,secret,poddisruptionbudget"

Told = Callable[[Step], None]


async def uninstall(wish: Wish, tell: Told, *, kubeconfig: str | None = None) -> list[Step]:
    """All steps, each told when it is done; UnusableInputError if it cannot begin."""
    try:
        async with connect(kubeconfig) as connection:
            api = Api(connection)
            await _insist_on_rights(api, wish)
            return await Uninstaller(api, wish, tell).run()
    except NoClusterError as error:
        raise UnusableInputError(str(error)) from error


async def _insist_on_rights(api: Api, wish: Wish) -> None:
    """Nothing is begun that could not be brought to its end."""
    rights = needed(dry_run=wish.dry_run)
    answers = [await api.create(SELF_ACCESS_REVIEWS, self_review(each)) for each in rights]
    for each in answers:
        if not each.done:
            raise UnusableInputError(f"cannot ask what you may do: {each.message}")
    pairs = zip(rights, answers, strict=True)
    lacking = [str(right) for right, each in pairs if not each.body["status"].get("allowed")]
    if lacking:
        raise UnusableInputError(
            f"nothing was changed, because you may not: {'; '.join(lacking)} (in all namespaces)"
        )


class Uninstaller:
    """One uninstallation."""

    def __init__(self, api: Api, wish: Wish, tell: Told) -> None:
        self._wish = wish
        self._steps: list[Step] = []
        self._tell = tell
        self._objects = Objects(api, self._told, dry_run=wish.dry_run)
        self._traces = Traces(self._objects, node_labels=not wish.keep_node_labels)
        self._workloads = Workloads(api, Pace(wish.max_concurrent, wish.timeout), self._told)

    async def run(self) -> list[Step]:
        """Stage by stage; the first in which a step failed is the last."""
        stages = (
            self._registration,
            self._operator,
            self._policies,
            self._templates,
            self._traces.clean,
            self._manifests,
            self._proof,
        )
        for stage in stages:
            try:
                await stage()
            except StoppedError as error:
                self._told(error.step)
            if any(each.state is State.FAILED for each in self._steps):
                break
        return self._steps

    def _told(self, step: Step) -> None:
        self._steps.append(step)
        self._tell(step)

    async def _registration(self) -> None:
        """From here on, nothing new gets a sidecar, and nothing that is taken out is restored."""
        await self._objects.delete_named(WEBHOOK_CONFIGURATIONS, WEBHOOK_CONFIGURATION)

    async def _operator(self) -> None:
        """Ends the operator, which would label nodes again."""
        space = self._wish.operator
        if not await self._objects.delete_labelled(DEPLOYMENTS, OPERATORS, namespace=space):
            return
        still = await self._objects.wait_until_none(
            PODS, OPERATORS, namespace=space, seconds=min(self._wish.timeout, _AT_MOST)
        )
        for name in still:
            message = "it has not ended; what it writes on is found out at the end"
            self._told(Step(State.UNFINISHED, Action.NONE, PODS.kind, name, space, message))

    async def _policies(self) -> None:
        """Policies of both kinds; a controller elsewhere then goes the same way as we do."""
        for kind in (POLICIES, CLUSTER_POLICIES):
            await self._objects.delete_labelled(kind, "")

    async def _templates(self) -> None:
        found = await self._traces.templates()
        if self._wish.dry_run:
            for each in found:
                self._told(each.planned)
        else:
            await self._workloads.free([each.ref for each in found])
        for step in await self._traces.what_ends_by_itself():
            self._told(step)

    async def _manifests(self) -> None:
        """What the root kustomization installed, the CRDs last."""
        kinds = (ADMISSION_BINDINGS, ADMISSION_POLICIES, CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES)
        for kind in kinds:
            await self._objects.delete_labelled(kind, OPERATORS)
        waited = await self._namespace()
        for name in CRD_NAMES:
            if await self._objects.delete_named(CRDS, name):
                waited.append((CRDS, name))
        for kind, name in waited:
            if not await self._objects.wait_until_gone(kind, name, seconds=self._wish.timeout):
                message = f"it is not gone after {self._wish.timeout:.0f} s"
                self._told(Step(State.UNFINISHED, Action.DELETE, kind.kind, name, "", message))

    async def _namespace(self) -> list[tuple[Resource, str]]:
        """The operator's namespace, if the manifests made it; somebody else's stays."""
        name = self._wish.operator
        found = await self._objects.get(NAMESPACES, name)
        if found is None:
            return []
        key, _, value = OPERATORS.partition("=")
        if (found["metadata"].get("labels") or {}).get(key) == value:
            await self._objects.delete_named(NAMESPACES, name)
            return [(NAMESPACES, name)]
        command = f"kubectl -n {name} delete {_IN_IT} -l {OPERATORS}"
        message = f"it is not the operator's alone, so it stays; {command}"
        self._told(Step(State.STAYS, Action.NONE, NAMESPACES.kind, name, "", message))
        return []

    async def _proof(self) -> None:
        """Looks once more: what is back again is written by somebody who still runs."""
        if not self._wish.dry_run:
            for step in await self._traces.returned():
                self._told(step)
        for step in await self._traces.of_users():
            self._told(step)
