"""The command line: each command is one call of `Lab`."""

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import click

from lab import control_plane, host, report
from lab.cluster import Lab
from lab.errors import LabError
from lab.layout import TOOLS_VERSION
from lab.node import Node


def _pairs(values: Sequence[str], form: str) -> dict[str, str]:
    """Splits `KEY=VALUE` each; anything else is a usage error that names the form."""
    pairs = [value.partition("=") for value in values]
    if bad := [key for key, equals, value in pairs if not (key and equals and value)]:
        raise click.UsageError(f"{bad[0]!r}: expected {form}")
    return {key: value for key, _, value in pairs}


def _flags(values: Sequence[str]) -> tuple[str, ...]:
    return tuple(value if value.startswith("-") else f"--{value}" for value in values)


def _example(*commands: str) -> str:
    """The end of a help text; the first character keeps click from joining the lines."""
    return "\n".join(["\b", "Example:", *(f"  python -m lab {command}" for command in commands)])


@click.group(
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=_example("up --node new=1.36.3 --node old=1.28.15", "exec -- kubectl get nodes", "down"),
)
@click.option("--name", default="dev", show_default=True, help="Which lab; they do not interfere.")
@click.pass_context
def main(context: click.Context, name: str) -> None:
    """A real Kubernetes cluster on this machine, without Docker."""
    context.obj = Lab(name)


@main.command(epilog=_example("build 1.28.15/kubelet kwok", "build --all"))
@click.argument("targets", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="All targets.")
@click.pass_obj
def build(lab: Lab, targets: tuple[str, ...], everything: bool) -> None:
    """Build binaries; `up` builds what it needs by itself."""
    if bool(targets) == everything:
        raise click.UsageError("name targets, or say --all")
    lab.build(*targets)


@main.command(
    epilog=_example(
        "up --node new=1.36.3 --node old=1.28.15 --fake-nodes 100",
        "up --version 1.31.0 --api-server-flag=feature-gates=SidecarContainers=false",
    )
)
@click.option("--version", default=TOOLS_VERSION, show_default=True, help="Of the control plane.")
@click.option("--api-server-flag", "flags", multiple=True, help="One more flag for kube-apiserver.")
@click.option("--node", "nodes", multiple=True, metavar="NAME=VERSION", help="A real node.")
@click.option("--fake-nodes", default=0, help="How many nodes that are only objects.")
@click.pass_obj
def up(
    lab: Lab, version: str, flags: tuple[str, ...], nodes: tuple[str, ...], fake_nodes: int
) -> None:
    """Start the cluster; one that runs as asked is left as it is."""
    host.check()
    wanted = [Node(name, kubelet) for name, kubelet in _pairs(nodes, "NAME=VERSION").items()]
    lab.build(*(f"{node.kubelet}/kubelet" for node in wanted), "etcd")
    lab.up(version, _flags(flags))
    for node in wanted:
        lab.add_node(node, wait=False)
    lab.wait_nodes()
    if fake_nodes:
        lab.add_fake_nodes(fake_nodes)
    click.echo(report.as_text(lab.status()))


@main.command(epilog=_example("--name test down"))
@click.pass_obj
def down(lab: Lab) -> None:
    """End the cluster and remove all that is left of it, also after a crash."""
    lab.down()


@main.command(epilog=_example("status -o json"))
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text")
@click.pass_obj
def status(lab: Lab, output: str) -> None:
    """Show processes and nodes."""
    found = lab.status()
    click.echo(report.as_text(found) if output == "text" else json.dumps(asdict(found), indent=2))


@main.command(
    "exec",
    context_settings={"ignore_unknown_options": True},
    epilog=_example("exec -- kubectl get pods -A", "exec -- bash"),
)
@click.argument("argv", nargs=-1, required=True, type=click.UNPROCESSED, metavar="-- CMD…")
@click.pass_obj
def exec_(lab: Lab, argv: tuple[str, ...]) -> None:
    """Run a command inside the lab, with its kubeconfig and kubectl."""
    command = lab.command(argv)
    os.execvpe(command[0], command, lab.environment())


@main.command(epilog=_example("logs -f kube-apiserver"))
@click.argument("processes", nargs=-1, metavar="[PROCESS]…")
@click.option("-f", "--follow", is_flag=True, help="Go on as they grow.")
@click.pass_obj
def logs(lab: Lab, processes: tuple[str, ...], follow: bool) -> None:
    """Show the end of the logs of all daemons, or of some."""
    host.check()
    control_plane.require(lab.layout)
    known = {file.stem: file for file in sorted(lab.layout.logs.glob("*.log"))}
    for name in processes:
        if name not in known:
            raise LabError(f"no log of {name}; there are {', '.join(known)}")
    files = [str(known[name]) for name in processes or known]
    lines = "200" if processes else "10"
    os.execvp("tail", ["tail", "-n", lines, *(("-F",) if follow else ()), *files])


@main.group()
def node() -> None:
    """Add and remove real nodes."""


@node.command(
    "add", epilog=_example("node add gated 1.31.0 --flag=--feature-gates=SidecarContainers=false")
)
@click.argument("name")
@click.argument("version")
@click.option("--flag", "flags", multiple=True, help="One more flag for the kubelet.")
@click.option("--label", "labels", multiple=True, metavar="KEY=VALUE", help="A label of the Node.")
@click.pass_obj
def node_add(
    lab: Lab, name: str, version: str, flags: tuple[str, ...], labels: tuple[str, ...]
) -> None:
    """Start a containerd and a kubelet of this version; wait until the node is Ready."""
    lab.add_node(Node(name, version, _flags(flags), _pairs(labels, "KEY=VALUE")))


@node.command("remove", epilog=_example("node remove gated"))
@click.argument("name")
@click.pass_obj
def node_remove(lab: Lab, name: str) -> None:
    """End a node with its containers and delete its Node object."""
    lab.remove_node(name)


@main.group()
def image() -> None:
    """Build and import images; there is no registry."""


@image.command("import", epilog=_example("image import operator.tar"))
@click.argument("tar", type=click.Path(path_type=Path))
@click.option("--node", "node_name", help="Only this node; else all, and those still to come.")
@click.pass_obj
def image_import(lab: Lab, tar: Path, node_name: str | None) -> None:
    """Import an image, as `docker save` writes it, into the real nodes."""
    lab.import_image(tar, node_name)


@image.command(
    "build",
    epilog=_example(
        "image build . --tag lab.local/operator:dev --build-arg BASE=lab.local/python:3.11"
    ),
)
@click.argument("directory", type=click.Path(path_type=Path))
@click.option("--tag", required=True, help="Name of the image.")
@click.option("--build-arg", "arguments", multiple=True, metavar="KEY=VALUE")
@click.pass_obj
def image_build(lab: Lab, directory: Path, tag: str, arguments: tuple[str, ...]) -> None:
    """Build a Dockerfile; prints the path of a tar to import."""
    click.echo(lab.build_image(directory, tag, _pairs(arguments, "KEY=VALUE")))


def run() -> None:
    """The entry point: expected errors without a traceback."""
    try:
        main()
    except LabError as error:
        if error.said:
            print(error.said, file=sys.stderr)
        print(f"lab: {error.message}", file=sys.stderr)
        sys.exit(1)
