"""How commands end where they cannot do their work."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click


@contextmanager
def unusable_input_ends() -> Iterator[None]:
    """Input that cannot be used ends the command with exit code 2, and a sentence why."""
    from sidecarpolicy.cli.manifests import UnusableInputError

    try:
        yield
    except UnusableInputError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(2)
