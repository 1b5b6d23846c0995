"""A Job that a classic sidecar keeps open, on a real kubelet, and what `doctor` makes of it."""

import textwrap

from lab import Lab
from sidecarpolicy.core.hanging import PATIENCE_SECONDS
from tests.support.cluster import CRDS, Namespace
from tests.support.doctors import doctor, printed
from tests.support.users import admin
from tests.support.waiting import eventually


def test_doctor_prints_the_policy_that_would_have_kept_a_job_from_hanging(
    kubelets: Lab, hanging: Namespace
) -> None:
    kubelets.kubectl("apply", "-f", str(CRDS))
    kubelets.kubectl("wait", "--for=condition=Established", "-f", str(CRDS), "--timeout=30s")
    code, _, report = eventually(
        lambda: doctor(admin(kubelets), "job/now", "-n", hanging.name),
        until=lambda found: found[0] == 1,
        seconds=PATIENCE_SECONDS + 60,
    )
    (found,) = report["jobs"]
    assert (code, found["owner"], found["ended"]) == (1, "CronJob nightly", ["tests"])
    _, _, output = printed(admin(kubelets), "job/now", "-n", hanging.name)
    text = textwrap.dedent("\n".join(e for e in output.splitlines() if e.startswith("    ")))
    kubelets.kubectl("apply", "-f", "-", input=text)
    stored = hanging.get("scpol", "adopt-nightly")["spec"]
    assert stored["adopt"] == [{"container": "database"}]
    assert stored["selector"] == {"matchLabels": {"app": "nightly", "team": "shop"}}
    assert hanging.get("job", "now")["status"]["active"] == 1
    kubelets.kubectl("delete", "namespace", hanging.name, "--wait=false")
