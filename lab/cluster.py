"""A real Kubernetes cluster on this machine: the one class that tests, demo and command line use.

Every method that changes the lab holds its lock, and may be called again: it makes true what it
says, whatever was there before.
"""

import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from lab import (
    api,
    build,
    builder_image,
    control_plane,
    daemon,
    fake_nodes,
    host,
    images,
    namespace,
    node,
    pki,
    report,
    state,
    targets,
    teardown,
)
from lab.errors import LabError
from lab.layout import TOOLS_VERSION, Layout
from lab.node import Node


class Lab:
    """One lab, by name. Making the object does nothing; `up` starts the cluster."""

    def __init__(self, name: str = "dev", environ: Mapping[str, str] = os.environ) -> None:
        self.layout = Layout.of(name, environ)

    @property
    def kubeconfig(self) -> Path:
        """Kubeconfig of the administrator; it works inside the namespace only."""
        return self.layout.kubeconfig("admin")

    @property
    def audit_log(self) -> Path:
        """Every write the API server answered, one JSON event a line."""
        return self.layout.audit_log

    def build(self, *names: str) -> None:
        """Builds these targets, or all of them, as far as they are not current."""
        chosen = names or tuple(targets.all_targets())
        build.ensure(self.layout.cache, targets.select(chosen))

    def is_built(self, *names: str) -> bool:
        """Whether these targets are current, so that building them takes no time."""
        directory = self.layout.bin
        return all(build.is_current(directory, target) for target in targets.select(names))

    def up(self, version: str = TOOLS_VERSION, api_server_flags: Sequence[str] = ()) -> None:
        """Starts the control plane; one that runs just so is left as it is, any other replaced."""
        host.check()
        self.build(*targets.for_control_plane(version))
        host.ensure(host.RUN)
        wanted = control_plane.Cluster(version, tuple(api_server_flags))
        with self._locked():
            if not control_plane.healthy(self.layout, wanted):
                teardown.end_lab(self.layout)
                self._create(wanted)

    def down(self) -> None:
        """Ends and removes all of it, in whatever state it is."""
        host.check()
        with self._locked():
            teardown.end_lab(self.layout)
            state.remove(self.layout.state)

    def add_node(self, wanted: Node, *, wait: bool = True) -> None:
        """Starts a real node; one that runs just so is left as it is, any other replaced."""
        host.check()
        self.build(*targets.for_node(wanted.kubelet))
        with self._existing():
            place = self.layout.node(wanted.name)
            known = node.load(place)
            same = known is not None and known.node == wanted
            if known is None or not same or not node.running(self.layout, place):
                self._end_node(wanted.name, keep_record=True)
                known = node.allocate(self.layout, wanted)
                node.start(self.layout, known)
        if wait:
            node.wait_ready(self.layout, known)

    def wait_nodes(self) -> None:
        """Waits until every real node is Ready."""
        for record in node.load_all(self.layout):
            node.wait_ready(self.layout, record)

    def restart_kubelet(self, name: str, *flags: str, kubelet: str = "") -> None:
        """Restarts the kubelet of a real node with these flags, as an administrator would.

        `kubelet` is a version that replaces it, while its containers run on.
        """
        with self._existing():
            known = node.load(self.layout.node(name))
            if known is None:
                raise LabError(f"no node {name}")
            changed = replace(known.node, flags=flags, kubelet=kubelet or known.node.kubelet)
            self.build(*targets.for_node(changed.kubelet))
            node.restart_kubelet(self.layout, replace(known, node=changed))

    def remove_node(self, name: str) -> None:
        """Ends a real node with its containers and deletes its Node object."""
        with self._existing():
            self._end_node(name, keep_record=False)

    def add_fake_nodes(
        self,
        count: int,
        kubelet: str = TOOLS_VERSION,
        *,
        labels: Mapping[str, str] | None = None,
        prefix: str = "fake",
    ) -> None:
        """Has `<prefix>-0` up to `count` exist, as objects only; existing ones are not changed."""
        self.build(fake_nodes.KWOK)
        names = (f"{prefix}-{number}" for number in range(count))
        with self._existing():
            fakes = [fake_nodes.node_object(name, kubelet, labels or {}) for name in names]
            fake_nodes.add(self.layout, fakes)

    def add_user(self, name: str) -> Path:
        """Kubeconfig of a person with a certificate of their own, who may do nothing yet."""
        user = f"user-{name}"
        with self._existing():
            pki.issue(self.layout.pki, pki.Identity(user, name))
            control_plane.write_kubeconfig(self.layout, user)
        return self.layout.kubeconfig(user)

    def import_image(self, tar: Path, node_name: str | None = None) -> None:
        """Gives an image to one real node, or to all and to those still to come."""
        with self._existing():
            known = [record.node.name for record in node.load_all(self.layout)]
            if node_name is not None and node_name not in known:
                raise LabError(f"no node {node_name}; there are {', '.join(known) or 'none'}")
            kept = tar if node_name else images.remember(self.layout, tar)
            for name in [node_name] if node_name else known:
                images.import_image(self.layout, self.layout.node(name), kept)

    def build_image(
        self, context: Path, tag: str, build_args: Mapping[str, str] | None = None
    ) -> Path:
        """Builds the Dockerfile of a directory; returns a tar for `import_image`."""
        host.ensure(host.IMAGES)
        return builder_image.build(self.layout.cache, context, tag, build_args or {})

    def start_process(self, name: str, argv: Sequence[str]) -> None:
        """Starts a program of the caller's beside the cluster; `down` ends it like any other."""
        with self._existing():
            daemon.stop(self.layout, name)
            daemon.start(self.layout, name, argv)

    def stop_api_server(self) -> None:
        """Kills it, as a fault would."""
        with self._existing():
            daemon.stop(self.layout, control_plane.API_SERVER)

    def start_api_server(self) -> None:
        """Starts it again and waits until it is ready."""
        with self._existing():
            control_plane.start_api_server(self.layout)

    def restart_api_server(self, *, flags: Sequence[str] | None = None) -> None:
        """Stops it, then starts it; with these flags from now on, if any are given."""
        self.stop_api_server()
        if flags is not None:
            with self._existing():
                known = control_plane.require(self.layout)
                changed = replace(known, api_server_flags=tuple(flags))
                control_plane.save(self.layout, changed)
        self.start_api_server()

    def restart_etcd(self) -> None:
        """Kills it, as a fault would, and starts it again with its data."""
        with self._existing():
            daemon.stop(self.layout, control_plane.ETCD)
            control_plane.start_etcd(self.layout)

    @contextmanager
    def entered(self) -> Iterator[None]:
        """The calling thread, and what it starts, is inside the lab's network while this lasts."""
        with namespace.entered(self.layout.namespace_path):
            yield

    def environment(self) -> dict[str, str]:
        """Our environment, with the lab's kubeconfig and its own kubectl first."""
        path = f"{self.layout.kubectl.parent}:{os.environ.get('PATH', os.defpath)}"
        # kubectl caches what an address serves, and every lab has the same address.
        discovery = {"KUBECACHEDIR": str(self.layout.state / "kubectl-cache")}
        return {**os.environ, **discovery, "KUBECONFIG": str(self.kubeconfig), "PATH": path}

    def command(self, argv: Sequence[str]) -> list[str]:
        """The command line that runs `argv` inside the lab's network."""
        host.check()
        control_plane.require(self.layout)
        return namespace.command(self.layout.namespace_path, tuple(argv))

    def run(
        self,
        argv: Sequence[str],
        *,
        check: bool = True,
        input: str | None = None,  # noqa: A002 - as in subprocess.run
        timeout: float | None = None,
        env: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Runs a command inside and captures its output; a failure is a LabError if `check`."""
        environ = self.environment() | dict(env or {})
        done = subprocess.run(
            self.command(argv),
            env=environ,
            input=input,
            timeout=timeout,
            capture_output=True,
            text=True,
            check=False,
        )
        if check and done.returncode:
            said = done.stderr.strip() or done.stdout.strip()
            raise LabError(f"`{' '.join(argv)}` failed with {done.returncode}: {said}")
        return done

    def kubectl(self, *args: str, input: str | None = None) -> str:  # noqa: A002
        """Output of a kubectl command, as administrator."""
        return self.run([str(self.layout.kubectl), *args], input=input).stdout

    def status(self) -> report.Status:
        """What runs and which nodes there are."""
        host.check()
        return report.gather(self.layout)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with state.locked(self.layout.state):
            yield

    @contextmanager
    def _existing(self) -> Iterator[None]:
        host.check()
        control_plane.require(self.layout)
        with self._locked():
            yield

    def _create(self, wanted: control_plane.Cluster) -> None:
        place = self.layout
        for directory in (place.logs, place.pki, place.processes, place.nodes, place.images):
            directory.mkdir()
        control_plane.save(place, wanted)
        namespace.create(place.namespace_path)
        images.write_busybox_image(place.images / "busybox.tar")
        control_plane.prepare(place)
        control_plane.start(place)

    def _end_node(self, name: str, *, keep_record: bool) -> None:
        teardown.end_node(self.layout, self.layout.node(name), keep_record=keep_record)
        answer = api.request(self.layout, "DELETE", f"/api/v1/nodes/{name}")
        if answer.status not in {200, 404}:
            raise LabError(f"deleting node {name}: {answer.status} {answer.body.decode()}")
