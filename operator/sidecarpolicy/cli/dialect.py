"""YAML as kubectl has it, for reading and for writing.

PyYAML and kubectl's library (sigs.k8s.io/yaml) disagree on scalars without quotes: `Y`, `08` and
`1e3` are text to the one, and a boolean and numbers to the other; `12:30` is a number of minutes to
the one, and text to the other. What we write is read by kubectl, so kubectl is right. To it, and
here, a date is text too.
"""

import re
from typing import ClassVar

import yaml

_TAG = "tag:yaml.org,2002:"
_PLAIN = {
    "bool": ("yYnNtTfFoO", r"y|Y|yes|Yes|YES|n|N|no|No|NO|on|On|ON|off|Off|OFF"
             r"|true|True|TRUE|false|False|FALSE"),
    "int": ("-+0123456789", r"[-+]?(?:0b[01_]+|0[oO]?[0-7_]+|0x[0-9a-fA-F_]+|0|[1-9][0-9_]*)"),
    "float": ("-+.0123456789",
              r"[-+]?(?:\.[0-9_]+|[0-9][0-9_]*(?:\.[0-9_]*)?)(?:[eE][-+]?[0-9_]+)?"
              r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"),
}  # fmt: skip
"""What a scalar without quotes is: by type, the characters it may start with, and its form."""

_REPLACED = frozenset(_TAG + name for name in (*_PLAIN, "timestamp", "value"))


class Loader(yaml.SafeLoader):
    """Reads each scalar as kubectl reads it."""

    bool_values: ClassVar = {**yaml.SafeLoader.bool_values, "y": True, "n": False}


class Dumper(yaml.SafeDumper):
    """Puts text into quotes that would be something else without them, to kubectl or to PyYAML."""


Loader.yaml_implicit_resolvers = {
    first: [each for each in resolvers if each[0] not in _REPLACED]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
for _name, (_first, _form) in _PLAIN.items():
    for _side in (Loader, Dumper):
        _side.add_implicit_resolver(_TAG + _name, re.compile(f"(?:{_form})$"), list(_first))
