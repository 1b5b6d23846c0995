"""Manifests: objects from YAML or JSON files, directories and standard input, and back."""

import difflib
import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from sidecarpolicy.cli.dialect import Dumper, Loader

JSON = dict[str, Any]


class UnusableInputError(Exception):
    """The input cannot be worked with; the text names file, line and cause."""


@dataclass(frozen=True)
class Manifest:
    """One object and where it came from."""

    source: str
    line: int
    obj: JSON

    @property
    def where(self) -> str:
        """File and line, for messages."""
        return f"{self.source}:{self.line}"


def read_manifests(paths: Iterable[str]) -> list[Manifest]:
    """All objects in files and directories; "-" is standard input. A List is taken apart."""
    return [
        manifest
        for path in paths
        for source, text in _texts(path)
        for manifest in _parse(source, text)
    ]


def _texts(path: str) -> Iterator[tuple[str, str]]:
    if path == "-":
        yield "<stdin>", sys.stdin.read()
        return
    try:
        place = Path(path)
        files = sorted(place.rglob("*")) if place.is_dir() else [place]
        for file in files:
            if file == place or file.suffix in (".yaml", ".yml", ".json"):
                yield str(file), file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise UnusableInputError(f"{path}: {error}") from error


def _parse(source: str, text: str) -> Iterator[Manifest]:
    loader = Loader(text)
    try:
        while loader.check_node():
            node = loader.get_node()
            line = node.start_mark.line + 1 if node else 1
            yield from _objects(source, line, loader.construct_document(node))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark else 1
        raise UnusableInputError(f"{source}:{line}: no YAML: {error}") from error
    finally:
        loader.dispose()


def _objects(source: str, line: int, document: Any) -> Iterator[Manifest]:
    if document is None:
        return
    if not isinstance(document, dict) or not isinstance(document.get("kind"), str):
        raise UnusableInputError(f"{source}:{line}: not a Kubernetes object: it has no kind")
    if str(document.get("apiVersion")).startswith("kustomize.config.k8s.io/"):
        return  # a build file beside the objects of a directory
    if document["kind"] == "List":
        items = document.get("items") or []
        if not isinstance(items, list):
            raise UnusableInputError(f"{source}:{line}: the items of a List are no list")
        for item in items:
            yield from _objects(source, line, item)
        return
    metadata = document.get("metadata")
    if not isinstance(metadata, dict) or not isinstance(metadata.get("name"), str):
        raise UnusableInputError(f"{source}:{line}: {document['kind']} has no metadata.name")
    yield Manifest(source, line, document)


def as_yaml(objects: Iterable[JSON]) -> str:
    """Documents in YAML, fields in the order in which they were written."""
    return yaml.dump_all(objects, None, Dumper, sort_keys=False, allow_unicode=True, width=100)


def as_json(objects: Iterable[JSON]) -> str:
    """One v1 List in JSON."""
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)}, indent=2) + "\n"


def as_diff(pairs: Iterable[tuple[Manifest, JSON]]) -> str:
    """What changes, as a unified diff of each object."""
    lines: list[str] = []
    for manifest, new in pairs:
        before = as_yaml([manifest.obj]).splitlines(keepends=True)
        after = as_yaml([new]).splitlines(keepends=True)
        name = f"{manifest.obj['kind']}/{manifest.obj['metadata']['name']}"
        lines += difflib.unified_diff(
            before, after, f"{manifest.source} {name}", f"{name} injected"
        )
    return "".join(lines)
