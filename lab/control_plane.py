"""etcd, API server, controller manager and scheduler: their files, arguments and order of start."""

import json
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace

from lab import api, daemon, namespace, pki
from lab.errors import LabError
from lab.layout import Layout
from lab.process import write_atomically

ETCD, API_SERVER, MANAGER, SCHEDULER = (
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
)
PROGRAMS = (ETCD, API_SERVER, MANAGER, SCHEDULER)
_ETCD_URL = "http://127.0.0.1:2379"
_AUDIT_POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [
        {"level": "Metadata", "verbs": ["create", "update", "patch", "delete", "deletecollection"]},
        {"level": "None"},
    ],
}


@dataclass(frozen=True)
class Cluster:
    """What `up` was asked for; a lab that was asked for something else is another lab."""

    version: str
    api_server_flags: tuple[str, ...] = ()
    many_nodes: bool = False


def save(layout: Layout, cluster: Cluster) -> None:
    """Remembers it in the state."""
    write_atomically(layout.cluster, json.dumps(asdict(cluster)))


def load(layout: Layout) -> Cluster | None:
    """What this lab was started as; None if it never was."""
    try:
        data = json.loads(layout.cluster.read_text())
    except FileNotFoundError:
        return None
    return Cluster(data["version"], tuple(data["api_server_flags"]), data["many_nodes"])


def require(layout: Layout) -> Cluster:
    """The same, where a lab that is not up is an error."""
    cluster = load(layout)
    if cluster is None:
        raise LabError(f"the lab {layout.name} is not up")
    return cluster


def write_kubeconfig(layout: Layout, user: str) -> None:
    """A kubeconfig for the identity whose certificate is `<user>.crt`."""
    cluster = {"server": "https://127.0.0.1:443", "certificate-authority": f"{layout.pki}/ca.crt"}
    login = {
        "client-certificate": f"{layout.pki}/{user}.crt",
        "client-key": f"{layout.pki}/{user}.key",
    }
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": layout.name, "cluster": cluster}],
        "users": [{"name": user, "user": login}],
        "contexts": [{"name": layout.name, "context": {"cluster": layout.name, "user": user}}],
        "current-context": layout.name,
    }
    write_atomically(layout.kubeconfig(user), json.dumps(config, indent=1))


def prepare(layout: Layout) -> None:
    """Certificates, kubeconfigs and the audit policy."""
    hosts = ("127.0.0.1", namespace.CONTROL_PLANE_ADDRESS, namespace.SERVICE_ADDRESS, "localhost")
    names = ("kubernetes", "kubernetes.default", "kubernetes.default.svc")
    pki.create_authority(layout.pki)
    identities = (
        pki.Identity(API_SERVER, API_SERVER, hosts=(*hosts, *names)),
        pki.Identity("kubelet-client", "kube-apiserver-kubelet-client", "system:masters"),
        pki.Identity("admin", "admin", "system:masters"),
        pki.Identity(MANAGER, f"system:{MANAGER}"),
        pki.Identity(SCHEDULER, f"system:{SCHEDULER}"),
    )
    for identity in identities:
        pki.issue(layout.pki, identity)
    for user in ("admin", MANAGER, SCHEDULER):
        write_kubeconfig(layout, user)
    write_atomically(layout.audit_policy, json.dumps(_AUDIT_POLICY))


def _flags(values: dict[str, object]) -> Iterable[str]:
    return (f"--{name}={value}" for name, value in values.items())


def _etcd(layout: Layout) -> tuple[str, ...]:
    values = {
        "data-dir": layout.state / "etcd",
        "listen-client-urls": _ETCD_URL,
        "advertise-client-urls": _ETCD_URL,
        "listen-peer-urls": "http://127.0.0.1:2380",
        "unsafe-no-fsync": "true",  # nothing here outlives the machine anyway
        "log-level": "warn",
    }
    return (str(layout.bin / ETCD), *_flags(values))


def _api_server(layout: Layout, cluster: Cluster) -> tuple[str, ...]:
    keys = layout.pki
    values = {
        "etcd-servers": _ETCD_URL,
        "bind-address": "0.0.0.0",
        # There is no default route to find an address by.
        "advertise-address": namespace.CONTROL_PLANE_ADDRESS,
        "secure-port": 443,  # that of the Service, whose address is on `lo` here: no proxy needed
        "tls-cert-file": keys / f"{API_SERVER}.crt",
        "tls-private-key-file": keys / f"{API_SERVER}.key",
        "client-ca-file": keys / "ca.crt",
        "service-account-key-file": keys / "sa.key",
        "service-account-signing-key-file": keys / "sa.key",
        "service-account-issuer": "https://kubernetes.default.svc",
        "authorization-mode": "Node,RBAC",
        "enable-admission-plugins": "NodeRestriction",
        "service-cluster-ip-range": namespace.SERVICE_RANGE,
        "kubelet-client-certificate": keys / "kubelet-client.crt",
        "kubelet-client-key": keys / "kubelet-client.key",
        "kubelet-preferred-address-types": "InternalIP",
        "enable-aggregator-routing": "true",  # webhooks at their endpoints, without a Service proxy
        "allow-privileged": "true",
        "audit-policy-file": layout.audit_policy,
        "audit-log-path": layout.audit_log,
        "audit-log-maxsize": 4096,  # MB; whoever counts writes wants one file
    }
    program = layout.bin / cluster.version / API_SERVER
    return (str(program), *_flags(values), *cluster.api_server_flags)


def _manager(layout: Layout, cluster: Cluster) -> tuple[str, ...]:
    values: dict[str, object] = {
        "kubeconfig": layout.kubeconfig(MANAGER),
        "bind-address": "127.0.0.1",
        "service-account-private-key-file": layout.pki / "sa.key",
        "root-ca-file": layout.pki / "ca.crt",
        "use-service-account-credentials": "true",
        "leader-elect": "false",
    }
    if cluster.many_nodes:
        # Fake nodes renew their leases rarely, else thousands of them would write all the time.
        values["node-monitor-grace-period"] = "3600s"
    return (str(layout.bin / cluster.version / MANAGER), *_flags(values))


def _scheduler(layout: Layout, cluster: Cluster) -> tuple[str, ...]:
    values = {
        "kubeconfig": layout.kubeconfig(SCHEDULER),
        "bind-address": "127.0.0.1",
        "leader-elect": "false",
    }
    return (str(layout.bin / cluster.version / SCHEDULER), *_flags(values))


def answers(layout: Layout) -> bool:
    """Whether the API server says that it is ready."""
    return api.request(layout, "GET", "/readyz").status == 200


def start_etcd(layout: Layout) -> None:
    """Starts it; nothing waits for it but the API server."""
    daemon.start(layout, ETCD, _etcd(layout))


def start_api_server(layout: Layout) -> None:
    """Starts it if it does not run, and waits until it is ready."""
    argv = _api_server(layout, require(layout))
    if not daemon.alive(layout, API_SERVER):
        daemon.start(layout, API_SERVER, argv)
    daemon.wait(
        layout,
        (ETCD, API_SERVER),
        lambda: answers(layout),
        "the API server is not ready",
    )


def _start_manager(layout: Layout, cluster: Cluster) -> None:
    daemon.start(layout, MANAGER, _manager(layout, cluster))


def start(layout: Layout) -> None:
    """All of it; returns when a Pod could be created, which takes the default ServiceAccount."""
    cluster = require(layout)
    start_etcd(layout)
    start_api_server(layout)
    _start_manager(layout, cluster)
    daemon.start(layout, SCHEDULER, _scheduler(layout, cluster))
    account = "/api/v1/namespaces/default/serviceaccounts/default"
    daemon.wait(
        layout,
        PROGRAMS,
        lambda: api.request(layout, "GET", account).status == 200,
        "the controller manager makes no default ServiceAccount",
    )


def allow_many_nodes(layout: Layout) -> None:
    """Restarts the controller manager, once, such that rare leases do not make nodes unready."""
    cluster = require(layout)
    if cluster.many_nodes:
        return
    cluster = replace(cluster, many_nodes=True)
    save(layout, cluster)
    daemon.stop(layout, MANAGER)
    _start_manager(layout, cluster)


def healthy(layout: Layout, wanted: Cluster) -> bool:
    """Whether the lab runs just as wanted; waits a little for one that is only just starting."""
    actual = load(layout)
    if actual is None or replace(actual, many_nodes=False) != wanted:
        return False
    deadline = time.monotonic() + 3
    while all(daemon.alive(layout, name) for name in PROGRAMS):
        if answers(layout):
            return True
        if time.monotonic() > deadline:
            return False
        time.sleep(0.2)
    return False
