"""The lab itself: its pure parts, and one life of a real cluster from `up` to nothing left.

The last test needs root and Linux; where it cannot run it fails with the lab's own message.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from lab import Lab, LabError, Node, build, cgroups, namespace, node_config, process, state, targets
from lab.layout import Layout
from lab.toolchain import parse_version
from tests.support.labs import lab_for
from tests.support.waiting import eventually

POD = """
apiVersion: v1
kind: Pod
metadata: {name: hello}
spec:
  terminationGracePeriodSeconds: 1
  containers:
    - name: main
      image: lab.local/busybox:1
      command: [sh, -c, "echo hello from the pod; exec sleep 1000"]
"""


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout("selftest", tmp_path / "state" / "selftest", tmp_path / "cache")


# Names


@pytest.mark.parametrize("name", ["", "-a", "a-", "A", "a/b", "..", "a b", "a" * 33])
def test_a_name_that_cannot_name_a_namespace_is_refused(name: str) -> None:
    with pytest.raises(LabError, match="lab's name"):
        Layout.of(name, {})


def test_two_labs_share_nothing_but_the_cache() -> None:
    one, two = Layout.of("one", {}), Layout.of("two", {})
    assert one.cache == two.cache
    assert one.namespace_path != two.namespace_path
    assert not one.state.is_relative_to(two.state)


def test_state_and_cache_follow_the_environment(tmp_path: Path) -> None:
    environ = {"SIDECARPOLICY_LAB_STATE": f"{tmp_path}/s", "SIDECARPOLICY_LAB_CACHE": "/c"}
    found = Layout.of("one", environ)
    assert (found.state, found.cache) == (tmp_path / "s" / "one", Path("/c"))


@pytest.mark.parametrize("name", ["../x", "a/b", "a..b", "", "-"])
def test_a_node_name_that_leaves_its_directory_is_refused(layout: Layout, name: str) -> None:
    with pytest.raises(LabError, match="node's name"):
        layout.node(name)


def test_a_state_path_too_long_for_a_socket_is_refused(layout: Layout) -> None:
    deep = replace(layout, state=Path("/" + "d" * 90))
    with pytest.raises(LabError, match="too long"):
        deep.node("new")


# Building


def test_each_tool_of_each_module_is_a_target() -> None:
    found = targets.all_targets()
    assert {"etcd", "containerd", "kwok", "1.36.3/kubectl", "1.26.15/kubelet"} <= set(found)
    assert found["etcd"].package == "go.etcd.io/etcd/server/v3"
    assert "gitVersion=v1.26.15" in found["1.26.15/kubelet"].ldflags


def test_an_unknown_version_is_refused_with_those_there_are() -> None:
    with pytest.raises(LabError, match=r"1\.2\.3/kubelet.*1\.36\.3/kubelet"):
        targets.select(targets.for_node("1.2.3"))


def test_a_binary_is_current_until_module_or_flags_change(tmp_path: Path) -> None:
    module = tmp_path / "module"
    module.mkdir()
    for name in ("go.mod", "go.sum"):
        (module / name).write_text(name)
    target = targets.Target("tool", module, "example/tool", "", "-s")
    (tmp_path / "tool").touch()
    assert not build.is_current(tmp_path, target)
    (tmp_path / "tool.stamp").write_text(target.stamp())
    assert build.is_current(tmp_path, target)
    assert not build.is_current(tmp_path, replace(target, ldflags="-w"))
    (module / "go.sum").write_text("changed")
    assert not build.is_current(tmp_path, target)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("go version go1.26.8 linux/amd64", (1, 26)), ("go version devel", (0, 0)), ("", (0, 0))],
)
def test_the_version_of_go_is_read(text: str, expected: tuple[int, int]) -> None:
    assert parse_version(text) == expected


# Kubelets


@pytest.mark.parametrize("version", ["1.26.15", "1.28.15", "1.31.0", "1.36.3"])
def test_a_kubelet_learns_its_runtime_in_exactly_one_way(layout: Layout, version: str) -> None:
    place, machine = layout.node("n"), node_config.Machine(version, 2)
    endpoint = f"unix://{place.socket}"
    config = node_config.kubelet(layout, place, machine)
    flags = node_config.kubelet_flags(place, machine)
    by_flag = f"--container-runtime-endpoint={endpoint}" in flags
    by_config = config.get("containerRuntimeEndpoint") == endpoint
    assert (by_flag, by_config) == ((True, False) if version == "1.26.15" else (False, True))
    assert ("failCgroupV1" in config) == (version == "1.36.3")


# Processes


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "60"]) as child:
        yield child
        child.kill()


def test_a_stranger_with_a_remembered_pid_is_not_the_process(
    sleeper: subprocess.Popen[bytes],
) -> None:
    begun = process.start_time(sleeper.pid)
    assert begun is not None
    known = process.Process("sleeper", sleeper.pid, begun, process.boot_id())
    assert known.alive()
    assert not replace(known, start=begun - 1).alive()
    assert not replace(known, boot="another").alive()
    process.send_kill(sleeper.pid, begun - 1)
    assert known.alive()


def test_a_daemon_is_remembered_and_ends(tmp_path: Path) -> None:
    log = tmp_path / "log"
    argv = ["sh", "-c", "echo started; exec sleep 60"]
    started = process.start("d", argv, records=tmp_path, log=log, environ=os.environ)
    assert process.load(tmp_path) == {"d": started}
    process.end_all(lambda: {started.pid} if started.alive() else set(), "d")
    assert not started.alive()
    assert process.start_time(started.pid) is None


def test_a_zombie_is_alive_until_its_last_thread_ended() -> None:
    # The first thread alone leaves, by the system call; the other keeps the process, and its files.
    leave = (
        "import ctypes, threading, time as t; threading.Thread(target=t.sleep, args=[60]).start()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", f"{leave}; ctypes.CDLL(None).syscall(60, 0)"]
    ) as it:
        stat = Path(f"/proc/{it.pid}/stat")
        eventually(lambda: stat.read_text().rpartition(")")[2].split()[0], until="Z".__eq__)
        assert process.start_time(it.pid) is not None
        it.kill()
        eventually(lambda: process.start_time(it.pid) is None)


def test_we_and_our_ancestors_are_spared() -> None:
    assert {os.getpid(), os.getppid(), 1} <= process.ourselves()


# State


def test_somebody_elses_directory_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "precious").touch()
    with pytest.raises(LabError, match="left alone"), state.locked(tmp_path):
        pass
    assert [file.name for file in tmp_path.iterdir()] == ["precious"]


def test_a_locked_directory_can_be_removed_and_locked_again(layout: Layout) -> None:
    for _ in range(2):
        with state.locked(layout.state):
            (layout.state / "file").touch()
            state.clear(layout.state)
            state.remove(layout.state)
        assert not layout.state.parent.exists()


def test_cgroup_trees_of_both_versions_are_found(tmp_path: Path) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text("cgroup2 /a cgroup2 rw 0 0\nx /b cgroup rw,cpu 0 0\nproc /proc proc rw 0 0\n")
    assert cgroups.trees(mounts) == [Path("/a"), Path("/b")]


# The command line


def test_an_expected_error_is_one_line_and_exit_code_1() -> None:
    command = [sys.executable, "-m", "lab", "--name", "selftest-none", "exec", "--", "true"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "lab: the lab selftest-none is not up\n")


# A real cluster


@pytest.fixture
def selftest() -> Iterator[Lab]:
    lab = lab_for("selftest")
    lab.down()
    yield lab
    lab.down()


def _pids(lab: Lab) -> dict[str, int]:
    return {known.name: known.pid for known in lab.status().processes}


def _kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def _mounts(lab: Lab) -> list[str]:
    lines = Path("/proc/self/mounts").read_text().splitlines()
    return [x for x in lines if str(lab.layout.state) in x or lab.layout.namespace in x]


def _left(lab: Lab) -> tuple[list[str], list[str], bool, bool]:
    mark = f"{lab.layout.state}/"
    lines = [process.command_line(pid) for pid in process.all_pids()]
    namespaced = lab.layout.namespace_path.exists()
    return [x for x in lines if mark in x], _mounts(lab), namespaced, lab.layout.state.exists()


def test_a_cluster_runs_a_pod_survives_up_again_and_leaves_nothing(selftest: Lab) -> None:
    lab, wanted = selftest, Node("new", "1.36.3", labels={"example.org/disk": "fast"})
    lab.up()
    lab.add_node(wanted)
    lab.kubectl("apply", "-f", "-", input=POD)
    lab.kubectl("wait", "--for=condition=Ready", "pod/hello", "--timeout=30s")
    assert lab.kubectl("logs", "hello") == "hello from the pod\n"
    labels = json.loads(lab.kubectl("get", "node", "new", "-o", "json"))["metadata"]["labels"]
    assert labels["example.org/disk"] == "fast"
    assert '"verb":"create"' in lab.audit_log.read_text()

    before = _pids(lab)
    lab.up()
    lab.add_node(wanted)
    assert _pids(lab) == before
    assert lab.status().state == "running"

    containers = cgroups.pids(lab.layout.node("new").containerd_state)
    assert len(containers) >= 2, "the sandbox and the container"
    _kill(before["new-kubelet"])
    _kill(before["new-containerd"])
    eventually(lambda: lab.status().state == "broken")
    lab.down()
    assert _left(lab) == ([], [], False, False)
    assert [pid for pid in containers if process.start_time(pid) is not None] == []


def test_a_thread_enters_the_network_and_comes_back(selftest: Lab) -> None:
    def network() -> int:
        return Path("/proc/thread-self/ns/net").stat().st_ino

    outside = network()
    with pytest.raises(LabError, match="is the lab up"), selftest.entered():
        pass
    namespace.create(selftest.layout.namespace_path)
    with selftest.entered():
        assert network() == selftest.layout.namespace_path.stat().st_ino
        assert network() != outside
    assert network() == outside
