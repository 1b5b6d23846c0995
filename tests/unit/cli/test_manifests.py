"""Manifests in YAML: what kubectl reads, and nothing else.

The tables were measured with kubectl 1.36.3: `kubectl annotate --local -o json`.
"""

from pathlib import Path
from typing import Any

import pytest
import yaml

from sidecarpolicy.cli.manifests import as_yaml, read_manifests

JSON = dict[str, Any]

NO_TEXT_WITHOUT_QUOTES = [
    "Y", "y", "n", "N", "yes", "on", "~", "08", "012345678901", "1e3", "1E+3", "123e4", "+.5",
    ".1e2", "1.e3", "0o17", "0O17", "-0o17", "017", "0x1f", "0b11", "1_000", "08_1", ".inf",
    "2026-01-01",
]  # fmt: skip
TEXT_WITHOUT_QUOTES = ["10m", "1.5Gi", "127.0.0.1", "tRUE", "0x", "1.2.3", "Yes, sir"]


def read(value: str, tmp_path: Path) -> Any:
    """What a field is read as whose value stands in a file just so."""
    file = tmp_path / "obj.yaml"
    file.write_text(f"kind: Thing\nmetadata: {{name: x}}\nvalue: {value}\n")
    (manifest,) = read_manifests([str(file)])
    return manifest.obj["value"]


@pytest.mark.parametrize("text", NO_TEXT_WITHOUT_QUOTES)
def test_text_that_kubectl_takes_for_something_else_is_quoted(text: str) -> None:
    assert as_yaml([{"value": text}]).strip() in (f"value: '{text}'", f'value: "{text}"')


@pytest.mark.parametrize("text", TEXT_WITHOUT_QUOTES)
def test_other_text_is_not_quoted(text: str) -> None:
    assert as_yaml([{"value": text}]) == f"value: {text}\n"


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("Y", True), ("n", False), ("on", True), ("08", 8), ("012345678901", 12345678901),
        ("1e3", 1000), ("+.5", 0.5), ("0o17", 15), ("017", 15), ("1_000", 1000), ("5.", 5),
    ],
)  # fmt: skip
def test_numbers_and_booleans_are_read_as_kubectl_reads_them(
    written: str, meant: Any, tmp_path: Path
) -> None:
    assert read(written, tmp_path) == meant


@pytest.mark.parametrize("text", [*TEXT_WITHOUT_QUOTES, "12:30", "190:20:30.15", "2026-01-01", "="])
def test_text_is_read_as_text(text: str, tmp_path: Path) -> None:
    assert read(text, tmp_path) == text


@pytest.mark.parametrize("value", [True, None, 8080, 0.5, 1e20, ["Y", {"08": "1e3"}]])
def test_what_is_written_is_read_back(value: Any, tmp_path: Path) -> None:
    file = tmp_path / "obj.yaml"
    obj: JSON = {"kind": "Thing", "metadata": {"name": "x"}, "value": value}
    file.write_text(as_yaml([obj]))
    (manifest,) = read_manifests([str(file)])
    assert manifest.obj == obj
    assert yaml.safe_load(file.read_text()) == obj
