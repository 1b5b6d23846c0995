"""Kubernetes quantities ("100m", "1Gi", 0.5) as exact numbers, and back as Kubernetes prints them.

Our own because the client library's parser costs the import of all its models, which the
pure core must not pay for, and because it cannot print. Grammar, rounding and canonical
form: k8s.io/apimachinery resource.Quantity.
"""

import re
from dataclasses import dataclass, field
from decimal import MAX_EMAX, MAX_PREC, MIN_EMIN, ROUND_UP, Context, Decimal
from enum import StrEnum
from typing import Final

_EXACT: Final = Context(prec=MAX_PREC, Emax=MAX_EMAX, Emin=MIN_EMIN, rounding=ROUND_UP)
"""Decimal's own context would round sums to 28 digits."""

_BINARY: Final = ("", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei")
_DECIMAL: Final = {
    "n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18,
}  # fmt: skip
_SUFFIX: Final = {power: suffix for suffix, power in _DECIMAL.items()}
_NANO: Final = Decimal("1e-9")
_MILLI: Final = Decimal("1e-3")
_LARGEST_BINARY: Final = Decimal(2**63 - 1)
_QUANTITY: Final = re.compile(
    r"(?P<number>[+-]?(?:\d+\.?\d*|\.\d+))"
    r"(?:(?P<binary>[KMGTPE]i)|(?P<exponent>[eE][+-]?\d{1,3})|(?P<decimal>[numkMGTPE]?))",
    re.ASCII,
)


class Format(StrEnum):
    """How a quantity was written, which is also how it is printed."""

    DECIMAL = "DecimalSI"
    BINARY = "BinarySI"
    EXPONENT = "DecimalExponent"


@dataclass(frozen=True, order=True)
class Quantity:
    """An exact amount, in cores, bytes or pieces. Equal amounts are equal, however written."""

    amount: Decimal
    format: Format = field(default=Format.DECIMAL, compare=False)

    def __add__(self, other: "Quantity") -> "Quantity":
        """The sum, in the format of the first summand that is not zero."""
        return Quantity(_EXACT.add(self.amount, other.amount), self._format_with(other))

    def __sub__(self, other: "Quantity") -> "Quantity":
        """The difference, which may be negative."""
        return Quantity(_EXACT.subtract(self.amount, other.amount), self._format_with(other))

    def __mul__(self, count: int) -> "Quantity":
        """So many times the amount."""
        return Quantity(_EXACT.multiply(self.amount, Decimal(count)), self.format)

    def __str__(self) -> str:
        """The canonical text: no fraction, and the largest suffix that allows that."""
        binary = _binary_text(self.amount) if self.format is Format.BINARY else None
        return binary or _decimal_text(self.amount, self.format)

    @property
    def in_milli(self) -> "Quantity":
        """Rounded up to thousandths, as the API server stores requests and limits.

        Source: SetDefaults_ResourceList in k8s.io/kubernetes pkg/apis/core/v1.
        """
        return Quantity(_rounded_up(self.amount, _MILLI), self.format)

    def _format_with(self, other: "Quantity") -> Format:
        return self.format if self.amount else other.format


def parse_quantity(text: object) -> Quantity | None:
    """The quantity that a JSON value stands for; None where it stands for none."""
    found = _QUANTITY.fullmatch(str(text).strip())
    if found is None:
        return None
    number = Decimal(found["number"])
    if found["binary"]:
        return _binary(_EXACT.multiply(number, Decimal(1024 ** _BINARY.index(found["binary"]))))
    power = int(found["exponent"][1:]) if found["exponent"] else _DECIMAL[found["decimal"]]
    amount = _rounded_up(_EXACT.scaleb(number, Decimal(power)), _NANO)
    return Quantity(amount, Format.EXPONENT if found["exponent"] else Format.DECIMAL)


def _binary(amount: Decimal) -> Quantity:
    """Limited to 64 bits; what is less than one is printed in thousandths."""
    limited = max(-_LARGEST_BINARY, min(_LARGEST_BINARY, _rounded_up(amount, _NANO)))
    return Quantity(limited, Format.DECIMAL if 0 < limited < 1 else Format.BINARY)


def _rounded_up(amount: Decimal, unit: Decimal) -> Decimal:
    return _EXACT.plus(amount.quantize(unit, context=_EXACT))  # plus: "-0" is "0"


def _binary_text(amount: Decimal) -> str | None:
    """None where Kubernetes prefers the decimal form: fractions, and less than 1Ki."""
    if amount.copy_abs() < 1024 or amount != amount.to_integral_value(context=_EXACT):
        return None
    number, power = int(amount), 0
    while number % 1024 == 0 and power < len(_BINARY) - 1:
        number, power = number // 1024, power + 1
    return f"{number}{_BINARY[power]}"


def _decimal_text(amount: Decimal, form: Format) -> str:
    reduced = amount.normalize(_EXACT)
    power = int(reduced.as_tuple().exponent) // 3 * 3  # suffixes come in steps of a thousand
    if form is Format.EXPONENT:
        suffix = f"e{power}" if power else ""
    else:
        power = min(power, _DECIMAL["E"])
        suffix = _SUFFIX[power]
    return f"{reduced.scaleb(-power, _EXACT):f}{suffix}"
