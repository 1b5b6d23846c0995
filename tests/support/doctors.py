"""`sidecarpolicy doctor` as somebody runs it, and what it says."""

import json
import sys

from tests.support.cluster import JSON
from tests.support.users import User


def printed(user: User, *arguments: str) -> tuple[int, str, str]:
    """Exit code, what was said of errors, and what was printed."""
    argv = [sys.executable, "-m", "sidecarpolicy", "doctor", *arguments]
    done = user.lab.run(argv, check=False, env={"KUBECONFIG": str(user.kubeconfig)})
    return done.returncode, done.stderr, done.stdout


def doctor(user: User, *arguments: str) -> tuple[int, str, JSON]:
    """Exit code, what was said of errors, and the report."""
    code, error, output = printed(user, *arguments, "-o", "json")
    return code, error, json.loads(output or "{}")


def states(report: JSON) -> dict[str, str]:
    """What the checks of a cluster came to."""
    return {each["check"]: each["state"] for each in report["checks"]}


def said(report: JSON, check: str) -> JSON:
    """What one check came to, where that is one thing only."""
    (found,) = (each for each in report["checks"] if each["check"] == check)
    return dict(found)
