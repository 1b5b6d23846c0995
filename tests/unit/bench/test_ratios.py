"""The arithmetic of the benchmarks, on numbers that one can check by hand."""

import pytest

from bench.ratios import percentile, ratio, slope, spread, turns

ROUNDS = [{"ours": 3.0, "bare": 2.0}, {"ours": 30.0, "bare": 10.0}, {"ours": 1.0, "bare": 1.0}]


def test_a_ratio_is_the_median_of_the_rounds_and_not_of_the_arms() -> None:
    assert ratio(ROUNDS, "ours", "bare") == 1.5


def test_the_spread_is_that_of_single_rounds() -> None:
    assert spread(ROUNDS, "ours", "bare") == (1.0, 3.0)


@pytest.mark.parametrize(
    ("share", "expected"),
    [
        pytest.param(0.0, 1.0, id="the smallest, at least"),
        pytest.param(0.5, 50.0, id="the median"),
        pytest.param(0.99, 99.0, id="one in a hundred is slower"),
        pytest.param(1.0, 100.0, id="the largest"),
    ],
)
def test_a_percentile_is_a_value_that_was_measured(share: float, expected: float) -> None:
    assert percentile([float(100 - n) for n in range(100)], share) == expected


def test_a_slope_is_per_so_many() -> None:
    assert slope([(0, 50.0), (1000, 50.5), (2000, 51.0)], per=100_000) == pytest.approx(50.0)


def test_each_arm_begins_as_often_as_the_others() -> None:
    assert [turns(["a", "b", "c"], number) for number in range(3)] == [
        ["a", "b", "c"],
        ["b", "c", "a"],
        ["c", "a", "b"],
    ]
