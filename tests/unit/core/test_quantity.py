"""Quantities: read, added and printed as Kubernetes does it."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecarpolicy.core.quantity import Quantity, parse_quantity


def quantity(text: object) -> Quantity:
    found = parse_quantity(text)
    assert found is not None
    return found


def is_quantity(text: str) -> bool:
    return parse_quantity(text) is not None


_suffixes = st.sampled_from(
    ["", "n", "u", "m", "k", "M", "G", "T", "P", "Ki", "Mi", "Gi", "Ti", "e2", "E-1", "e12"]
)
texts = st.builds(
    lambda number, suffix: f"{number}{suffix}", st.decimals(0, 10**9, places=3), _suffixes
)
quantities = texts.map(quantity)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("100m", "0.1"), ("1", "1"), (0.5, "0.5"), (2, "2"), ("1Gi", str(2**30)), ("1e3", "1000"),
        ("1E", str(10**18)), ("12E2", "1200"), (".5", "0.5"), ("5.", "5"), ("-1", "-1"),
        ("5u", "0.000005"), (" 1 ", "1"), ("1" * 40 + ".5k", "1" * 40 + "500"),
    ],
)  # fmt: skip
def test_a_quantity_is_read_exactly(text: object, number: str) -> None:
    assert quantity(text).amount == Decimal(number)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1 Gi",
        "Gi",
        "1KI",
        "one",
        None,
        True,
        "1mm",
        "1e",
        "1e3Ki",
        "1e3m",
        "1_0",
        "\u0661",
        [],
        {},
    ],
)
def test_what_is_no_quantity_is_none(text: object) -> None:
    assert parse_quantity(text) is None


@pytest.mark.parametrize(
    ("text", "number"),
    [
        pytest.param("0.1n", "1e-9", id="finer than a nano"),
        pytest.param("8Ei", str(2**63 - 1), id="more bytes than 64 bits count"),
        pytest.param("-8Ei", str(1 - 2**63), id="fewer bytes than 64 bits count"),
    ],
)
def test_what_kubernetes_cannot_hold_is_rounded_as_it_does(text: str, number: str) -> None:
    assert quantity(text).amount == Decimal(number)


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        pytest.param("50m", "50m", id="thousandths"),
        pytest.param("1.5", "1500m", id="no fraction"),
        pytest.param("1500m", "1500m", id="more than one core"),
        pytest.param("2000m", "2", id="whole cores"),
        pytest.param("2000", "2k", id="thousands"),
        pytest.param("150000", "150k", id="many thousands"),
        pytest.param("64Mi", "64Mi", id="bytes"),
        pytest.param("1920Mi", "1920Mi", id="bytes that are no whole Gi"),
        pytest.param("1024Mi", "1Gi", id="bytes that are a whole Gi"),
        pytest.param("1.5Gi", "1536Mi", id="bytes with a fraction"),
        pytest.param("0.5Ki", "512", id="bytes, less than 1Ki"),
        pytest.param("0.1Ki", "102400m", id="a fraction of a byte"),
        pytest.param("0.0005Ki", "512m", id="less than a byte"),
        pytest.param("100M", "100M", id="decimal bytes"),
        pytest.param("1048576", "1048576", id="bytes without a suffix"),
        pytest.param("12E6", "12e6", id="an exponent"),
        pytest.param("10e1", "100", id="an exponent that is no multiple of three"),
        pytest.param("1.5e-2", "15e-3", id="a negative exponent"),
        pytest.param("0.1m", "100u", id="millionths"),
        pytest.param("100n", "100n", id="billionths"),
        pytest.param("0", "0", id="zero"),
        pytest.param("0Gi", "0", id="zero bytes"),
        pytest.param("-0", "0", id="negative zero"),
        pytest.param("-1536Mi", "-1536Mi", id="a negative amount of bytes"),
        pytest.param("-1.5", "-1500m", id="a negative amount"),
        pytest.param("+3M", "3M", id="a sign that says nothing"),
        pytest.param("5000E", "5000E", id="more than there are suffixes for"),
    ],
)
def test_the_canonical_text_is_that_of_kubernetes_for(text: str, printed: str) -> None:
    assert str(quantity(text)) == printed


@pytest.mark.parametrize(
    ("summands", "printed"),
    [
        pytest.param(["50m", "950m"], "1", id="cores"),
        pytest.param(["512Mi", "512Mi"], "1Gi", id="bytes"),
        pytest.param(["64Mi", "100M"], "167108864", id="binary and decimal bytes"),
        pytest.param(["1Ki", "1"], "1025", id="a byte more"),
        pytest.param(["1Mi", "1048576"], "2Mi", id="binary bytes first"),
        pytest.param(["1048576", "1Mi"], "2097152", id="plain bytes first"),
        pytest.param(["0", "64Mi"], "64Mi", id="zero has no format of its own"),
        pytest.param(["1024Ei", "1n"], "9223372036854775807000000001n", id="29 digits"),
    ],
)
def test_a_sum_is_exact_and_in_the_format_of_its_first_summand(
    summands: list[str], printed: str
) -> None:
    total = Quantity(Decimal(0))
    for each in summands:
        total += quantity(each)
    assert str(total) == printed


def test_so_many_times_an_amount_is_printed_in_its_format() -> None:
    assert [str(quantity(each) * 30) for each in ("50m", "64Mi", "0")] == ["1500m", "1920Mi", "0"]


@pytest.mark.parametrize(
    ("text", "stored"), [("100u", "1m"), ("0.3333Gi", "357878149940m"), ("1500m", "1500m")]
)
def test_requests_are_rounded_up_to_thousandths_as_the_api_server_stores_them(
    text: str, stored: str
) -> None:
    assert str(quantity(text).in_milli) == stored


@given(quantities)
def test_what_is_printed_is_read_as_the_same(one: Quantity) -> None:
    assert quantity(str(one)) == one


@given(quantities)
def test_printing_what_was_printed_changes_nothing(one: Quantity) -> None:
    assert str(quantity(str(one))) == str(one)


@given(quantities, quantities, quantities)
def test_the_order_of_summands_does_not_matter(
    one: Quantity, two: Quantity, three: Quantity
) -> None:
    assert one + two + three == three + (two + one)


@given(quantities, quantities)
def test_taking_back_what_was_added_gives_the_same(one: Quantity, two: Quantity) -> None:
    assert one + two - two == one


@given(
    st.from_regex(r"\s*[+-]?[0-9.]+[eEinumkKMGTP]*[-+]?[0-9]*\s*", fullmatch=True).filter(
        is_quantity
    )
)
def test_every_quantity_can_be_printed_and_read(text: str) -> None:
    assert quantity(str(quantity(text))) == quantity(text)
