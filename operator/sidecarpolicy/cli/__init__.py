"""The command `sidecarpolicy`, also installed as `kubectl-sidecarpolicy`."""

from sidecarpolicy.cli.main import main

__all__ = ["main"]
