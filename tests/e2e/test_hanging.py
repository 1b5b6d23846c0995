"""A Job that a classic sidecar keeps open, on a real kubelet, and what `doctor` makes of it."""

import textwrap

from lab import Lab
from sidecarpolicy.core.hanging import PATIENCE_SECONDS
from tests.e2e.test_main_job import container
from tests.support.cluster import CRDS, Namespace, cron_job
from tests.support.doctors import doctor, printed
from tests.support.users import admin
from tests.support.waiting import eventually

ENDS = {**container("tests"), "command": ["sh", "-c", "sleep 1"]}


def test_doctor_prints_the_policy_that_would_have_kept_a_job_from_hanging(kubelets: Lab) -> None:
    kubelets.kubectl("apply", "-f", str(CRDS))
    kubelets.kubectl("wait", "--for=condition=Established", "-f", str(CRDS), "--timeout=30s")
    kubelets.kubectl("create", "namespace", "hanging")
    space = Namespace(kubelets, "hanging")
    pod = {"containers": [ENDS, container("database")]}
    space.apply(cron_job(pod=pod, labels={"team": "shop"}))
    space.kubectl("create", "job", "now", "--from=cronjob/nightly")
    code, _, report = eventually(
        lambda: doctor(admin(kubelets), "job/now", "-n", space.name),
        until=lambda found: found[0] == 1,
        seconds=PATIENCE_SECONDS + 60,
    )
    (found,) = report["jobs"]
    assert (code, found["owner"], found["ended"]) == (1, "CronJob nightly", ["tests"])
    _, _, output = printed(admin(kubelets), "job/now", "-n", space.name)
    text = textwrap.dedent("\n".join(e for e in output.splitlines() if e.startswith("    ")))
    kubelets.kubectl("apply", "-f", "-", input=text)
    stored = space.get("scpol", "adopt-nightly")["spec"]
    assert stored["adopt"] == [{"container": "database"}]
    assert stored["selector"] == {"matchLabels": {"app": "nightly", "team": "shop"}}
    assert space.get("job", "now")["status"]["active"] == 1
    kubelets.kubectl("delete", "namespace", space.name, "--wait=false")
