"""What templates leave to their Pods, on real kubelets, by controller and webhook as installed."""

import pytest

from tests.e2e.test_admission import completed, job, pod_of
from tests.e2e.test_main_job import app, container, placed, sidecar
from tests.support.cluster import JSON, Namespace, policy
from tests.support.waiting import eventually


@pytest.mark.usefixtures("labelled")
def test_pods_run_their_sidecar_and_their_template_is_as_its_owner_wrote_it(
    shop: Namespace,
) -> None:
    shop.apply(app())
    before = shop.pods_template("web")
    shop.apply(policy(sidecars=[sidecar()], injectAt="Pod"))
    shop.wait_status("log-shipper", current=1, seconds=90)
    assert shop.pods_template("web")["spec"] == before["spec"]
    assert placed(shop) == {"new": {"shipper"}}
    nowhere = {"matchLabels": {"app": "none"}}
    shop.patch("scpol", "log-shipper", {"spec": {"selector": nowhere}})
    eventually(lambda: shop.pods_template("web") == before)
    eventually(lambda: {name for names in placed(shop).values() for name in names} == set())
    assert shop.revisions("web") == 2


@pytest.mark.usefixtures("labelled")
def test_a_cron_jobs_job_completes_beside_the_sidecar_that_its_pod_got(shop: Namespace) -> None:
    runs = {"spec": job("", "true")["spec"]}
    nightly: JSON = {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {"name": "nightly"},
        "spec": {"schedule": "0 3 * * *", "suspend": True, "jobTemplate": runs},
    }
    shop.apply(nightly, policy(sidecars=[sidecar()], injectAt="Pod"))
    shop.wait_status("log-shipper", current=1)
    shop.kubectl("create", "job", "run", "--from=cronjob/nightly")
    eventually(lambda: completed(shop, "run"), seconds=60)
    pod = pod_of(shop, "run")
    assert [each["name"] for each in pod["spec"]["initContainers"]] == ["shipper"]
    assert pod["spec"]["nodeName"] == "new"


@pytest.mark.usefixtures("labelled")
def test_pods_keep_to_nodes_that_can_where_git_owns_affinity_and_node_selector(
    shop: Namespace,
) -> None:
    linux = {"key": "kubernetes.io/os", "operator": "In", "values": ["linux"]}
    terms = {"nodeSelectorTerms": [{"matchExpressions": [linux]}]}
    made = app(replicas=3)
    made["spec"]["template"]["spec"] = {
        "containers": [container("web")],
        "terminationGracePeriodSeconds": 1,
        "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}},
        "nodeSelector": {"kubernetes.io/os": "linux"},
    }
    shop.apply(made, server_side=True, manager="kustomize-controller")
    shop.apply(policy(sidecars=[sidecar()]))
    shop.wait_status("log-shipper", current=1, seconds=90)
    assert placed(shop) == {"new": {"shipper"}}
