"""Kubernetes quantities ("100m", "1Gi", 0.5) as exact numbers.

Our own because the client library's parser costs the import of all its models,
which the pure core must not pay for. Grammar: k8s.io/apimachinery resource.Quantity.
"""

import re
from decimal import Decimal

_SCALE = {
    **{
        suffix: Decimal(1024) ** power
        for power, suffix in enumerate(("", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"))
    },
    **{
        suffix: Decimal(10) ** power
        for suffix, power in {
            "n": -9,
            "u": -6,
            "m": -3,
            "k": 3,
            "M": 6,
            "G": 9,
            "T": 12,
            "P": 15,
            "E": 18,
        }.items()
    },
}
_QUANTITY = re.compile(
    r"(?P<number>[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,3})?)(?P<suffix>[KMGTPE]i|[numkMGTPE]?)"
)


def parse_quantity(text: object) -> Decimal | None:
    """The number that a quantity stands for; None where it is no quantity."""
    found = _QUANTITY.fullmatch(str(text).strip())
    if found is None:
        return None
    return Decimal(found["number"]) * _SCALE[found["suffix"]]
