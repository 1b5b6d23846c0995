"""`python -m bench`: measures the webhook and prints ratios, never absolute times."""

import json
import signal
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import click
import uvloop

from bench.arms import ARMS
from bench.measure import Line, Size, measure
from bench.processes import certificates, serving


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--rounds", default=7, show_default=True, help="Rounds; all arms in turn in each.")
@click.option("--reviews", default=1500, show_default=True, help="Per arm and round.")
@click.option("--flood", default=10_000, show_default=True, help="Reviews, 200 at one time.")
@click.option("--soak", default=20_000, show_default=True, help="Reviews to see memory grow.")
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table")
def main(rounds: int, reviews: int, flood: int, soak: int, output: str) -> None:
    """Compare the admission webhook with others on this machine (about two minutes).

    A goal that is missed ends with status 1.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the arms end with us
    size = Size(rounds=rounds, reviews=reviews, flood=flood, soak=soak)
    with tempfile.TemporaryDirectory() as name:
        trust = certificates(Path(name))
        with serving(ARMS, Path(name)) as arms:
            lines = uvloop.run(measure(arms, size, trust))
    click.echo(as_json(lines) if output == "json" else as_table(lines))
    raise SystemExit(0 if all(line.met for line in lines) else 1)


def as_json(lines: Sequence[Line]) -> str:
    """For programs."""
    return json.dumps([{**asdict(line), "met": line.met} for line in lines], indent=2)


def as_table(lines: Sequence[Line]) -> str:
    """For people."""
    width = max(len(line.what) for line in lines)
    return "\n".join(
        [f"{'':{width}}  median  goal     rounds", *(_row(line, width) for line in lines)]
    )


def _row(line: Line, width: int) -> str:
    goal = "" if line.most is None else f"<= {line.most:g}"
    rounds = "" if line.low is None else f"{line.low:.2f} to {line.high:.2f}"
    row = f"{line.what:{width}}  {line.value:6.2f}  {goal:7}  {rounds}".rstrip()
    return row if line.met else f"{row}  MISSED"


if __name__ == "__main__":
    main()
