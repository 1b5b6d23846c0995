"""What is measured of the webhook, and the goals that it is held to."""

import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.load import feed
from bench.processes import Arm
from bench.ratios import percentile, ratio, slope, spread, turns
from bench.samples import REVIEW

Arms = Mapping[str, Arm]

_PARALLEL = 8
_CROWD = 200
_SAMPLES = 20
_WARM_UP = 200


@dataclass(frozen=True)
class Size:
    """How much is measured; numbers of reviews are for each arm."""

    rounds: int
    reviews: int
    flood: int
    soak: int


@dataclass(frozen=True)
class Line:
    """One result; `most` is the goal, if there is one, `low` and `high` are single rounds."""

    what: str
    value: float
    most: float | None = None
    low: float | None = None
    high: float | None = None

    @property
    def met(self) -> bool:
        """Whether the goal is reached; what has none is."""
        return self.most is None or self.value <= self.most


async def measure(arms: Arms, size: Size, trust: ssl.SSLContext) -> list[Line]:
    """All measurements, one after the other."""
    for arm in arms.values():
        warm = await feed(arm, REVIEW, reviews=_WARM_UP, concurrency=_PARALLEL, trust=trust)
        _refuse_errors(arm.name, warm.errors)
    return [
        *await _cpu(arms, size, trust),
        *await _latency(arms, size, trust),
        await _flood(arms["ours"], size.flood, trust),
        *await _soak(arms["ours"], size.soak, trust),
    ]


async def _cpu(arms: Arms, size: Size, trust: ssl.SSLContext) -> list[Line]:
    """CPU of the server's process per review."""
    rounds = []
    for number in range(size.rounds):
        spent = {}
        for name in turns(list(arms), number):
            before = arms[name].cpu()
            answers = await feed(
                arms[name], REVIEW, reviews=size.reviews, concurrency=_PARALLEL, trust=trust
            )
            _refuse_errors(name, answers.errors)
            spent[name] = arms[name].cpu() - before
        rounds.append(spent)
    return [
        _line("CPU per review, ours / bare aiohttp", rounds, ("ours", "bare"), 1.6),
        _line("CPU per review, ours / kopf.on.mutate", rounds, ("ours", "kopf"), 0.3),
        _line("CPU per review, 200 policies / one", rounds, ("ours-200", "ours"), 1.2),
    ]


async def _latency(arms: Arms, size: Size, trust: ssl.SSLContext) -> list[Line]:
    """Time from request to answer, one review at a time, as the client sees it."""
    halves, tails = [], []
    for number in range(size.rounds):
        half, tail = {}, {}
        for name in turns(["bare", "ours"], number):
            answers = await feed(
                arms[name], REVIEW, reviews=size.reviews, concurrency=1, trust=trust
            )
            _refuse_errors(name, answers.errors)
            half[name] = percentile(answers.seconds, 0.5)
            tail[name] = percentile(answers.seconds, 0.99)
        halves.append(half)
        tails.append(tail)
    return [
        _line("latency p50, ours / bare aiohttp", halves, ("ours", "bare"), 1.5),
        _line("latency p99, ours / bare aiohttp", tails, ("ours", "bare"), 2.0),
    ]


async def _flood(arm: Arm, reviews: int, trust: ssl.SSLContext) -> Line:
    """Many at one time: none may fail."""
    answers = await feed(arm, REVIEW, reviews=reviews, concurrency=_CROWD, trust=trust)
    return Line(f"errors in {reviews:,} reviews, {_CROWD} at one time", answers.errors, 0)


async def _soak(arm: Arm, reviews: int, trust: ssl.SSLContext) -> list[Line]:
    """Memory after many reviews, and how it grows; the flood has warmed it up."""
    points = []
    for sample in range(_SAMPLES + 1):
        points.append((sample * reviews / _SAMPLES, arm.resident()))
        await feed(arm, REVIEW, reviews=reviews // _SAMPLES, concurrency=_PARALLEL, trust=trust)
    grown = slope(points, per=100_000)
    return [
        Line(f"MiB more per 100,000 reviews, over {reviews:,}", grown, 1.0),
        Line("MiB resident (without a cluster's facts)", points[-1][1], 70.0),
    ]


def _line(
    what: str, rounds: Sequence[Mapping[str, float]], pair: tuple[str, str], most: float
) -> Line:
    low, high = spread(rounds, *pair)
    return Line(what, ratio(rounds, *pair), most, low, high)


def _refuse_errors(name: str, errors: int) -> None:
    if errors:
        raise RuntimeError(f"{name}: {errors} reviews were not answered with a patch")
