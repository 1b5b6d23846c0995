"""A CronJob whose Job never completes, because one of its two containers serves the other."""

from lab import Lab
from tests.support.cluster import Namespace, cron_job

HANGING = "hanging"
"""Its namespace."""
_IMAGE = "lab.local/busybox:1"
_SERVE = "trap 'exit 0' TERM; sleep infinity & wait"


def leave_hanging(lab: Lab) -> None:
    """Starts it in a namespace of its own; takes a while until anybody calls that hanging."""
    lab.kubectl("create", "namespace", HANGING)
    space = Namespace(lab, HANGING)
    scripts = {"tests": "sleep 1", "database": _SERVE}
    containers = [
        {"name": name, "image": _IMAGE, "command": ["sh", "-c", script]}
        for name, script in scripts.items()
    ]
    space.apply(cron_job(pod={"containers": containers}, labels={"team": "shop"}))
    space.kubectl("create", "job", "now", "--from=cronjob/nightly")
