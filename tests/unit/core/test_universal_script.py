"""universal.sh under a real static busybox: the very commands that the containers get."""

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from sidecarpolicy.core.universal import SCRIPT, Copies, copies
from tests.support.waiting import eventually

JSON = dict[str, Any]
BUSYBOX = shutil.which("busybox") or "/bin/busybox"
PATH = {"PATH": "/usr/bin:/bin"}
SLEEPS = ["sleep", "1000"]


class Volume:
    """The emptyDir of one sidecar, and the containers that mount it, each a process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def copies(self, *command: str, restart_policy: str = "Always", **fields: Any) -> Copies:
        sidecar = {"name": "x", "image": "x", "command": list(command), **fields}
        return copies(sidecar, "busybox", restart_policy)

    def argv(self, container: Mapping[str, Any]) -> list[str]:
        words = (each.replace("/sidecarpolicy", str(self.folder)) for each in container["command"])
        return [BUSYBOX if word == "/bin/busybox" else word for word in words]

    def run(
        self, container: Mapping[str, Any], env: Mapping[str, str] = PATH
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.argv(container), env=env, capture_output=True, text=True, timeout=60, check=False
        )

    def prepare(self) -> None:
        done = self.run(self.copies().prepare)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")

    @contextmanager
    def running(self, container: Mapping[str, Any]) -> Iterator["subprocess.Popen[str]"]:
        process = subprocess.Popen(
            ["env", "--default-signal", *self.argv(container)],  # a shell may run us in background
            env=PATH,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        with process:
            try:
                yield process
            finally:
                with_all_of(process, signal.SIGKILL)

    @property
    def state(self) -> set[str]:
        return {each.name for each in self.folder.iterdir()} - {"busybox", "universal.sh"}


def with_all_of(process: "subprocess.Popen[str]", number: int) -> bool:
    """Sends a signal to a process and its children; whether there is any."""
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        return False
    return True


def rests(process: "subprocess.Popen[str]") -> bool:
    """Whether a copy sleeps: the shell has a child to wait for."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return any("\0sleep\x0086400\0" in command_of(each) for each in children)


def command_of(pid: str) -> str:
    """The arguments of a process; nothing if it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""


@pytest.fixture
def volume(tmp_path: Path) -> Volume:
    found = Volume(tmp_path / "volume")
    found.folder.mkdir()
    found.prepare()
    return found


def says(text: str) -> list[str]:
    return ["sh", "-c", f"echo {text}"]


def test_there_is_a_static_busybox_to_test_with() -> None:
    assert Path(BUSYBOX).exists(), "install busybox-static"
    listed = subprocess.run([BUSYBOX, "--list"], capture_output=True, text=True, check=True)
    assert {"sh", "cp", "mv", "rm", "chmod", "env", "sleep"} <= set(listed.stdout.split())


def test_a_kubelet_finds_no_variable_in_the_script() -> None:
    assert "$(" not in SCRIPT
    assert "$$" not in SCRIPT


def test_what_is_prepared_is_the_script_and_a_busybox_that_anybody_may_run(volume: Volume) -> None:
    assert (volume.folder / "universal.sh").read_text() == f"{SCRIPT}\n"
    assert stat.S_IMODE((volume.folder / "universal.sh").stat().st_mode) == 0o644
    assert stat.S_IMODE((volume.folder / "busybox").stat().st_mode) == 0o755
    assert volume.state == {"free"}


def test_the_native_copy_ends_once_and_serves_when_it_is_started_again(volume: Volume) -> None:
    native = volume.copies(*says("serving")).native
    first = volume.run(native)
    assert (first.returncode, first.stdout, volume.state) == (0, "", {"free", "started"})
    assert [volume.run(native).stdout for _ in range(3)] == ["serving\n"] * 3
    assert volume.state == {"native", "started"}


@pytest.mark.parametrize("restart_policy", ["Always", "OnFailure", "Never"])
def test_the_ordinary_copy_serves_where_the_native_one_ran_once(
    volume: Volume, restart_policy: str
) -> None:
    made = volume.copies(*says("serving"), restart_policy=restart_policy)
    volume.run(made.native)
    assert [volume.run(made.ordinary).stdout for _ in range(3)] == ["serving\n"] * 3
    assert volume.state == {"ordinary", "started"}


@pytest.mark.parametrize("state", ["native", "ordinary"])
def test_where_pods_never_restart_a_hook_lasts_until_a_copy_serves(
    volume: Volume, state: str
) -> None:
    made = volume.copies(*SLEEPS, restart_policy="Never").native
    with volume.running(made["lifecycle"]["postStart"]["exec"]) as hook:
        eventually(lambda: waits(hook))
        (volume.folder / "free").rename(volume.folder / state)
        assert hook.wait(timeout=30) == 0


def waits(process: "subprocess.Popen[str]") -> bool:
    """Whether a hook looks again and again."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return any("usleep" in command_of(each) for each in children)


@pytest.mark.parametrize("restart_policy", ["OnFailure", "Never"])
def test_where_pods_end_the_ordinary_copy_ends_if_it_is_not_needed(
    volume: Volume, restart_policy: str
) -> None:
    made = volume.copies(*says("serving"), restart_policy=restart_policy)
    volume.run(made.native)
    volume.run(made.native)
    done = volume.run(made.ordinary)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


STOPS = [
    *(signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGUSR1),
    *(signal.SIGUSR2, signal.SIGWINCH, signal.SIGRTMIN + 3),
]


@pytest.mark.parametrize(
    "stop", STOPS, ids=[signal.Signals(each).name if each < 34 else "RTMIN+3" for each in STOPS]
)
def test_a_copy_that_sleeps_ends_at_once_whatever_its_image_is_stopped_with(
    volume: Volume, stop: int
) -> None:
    made = volume.copies(*says("serving"))
    volume.run(made.native)
    volume.run(made.native)
    with volume.running(made.ordinary) as ordinary:
        eventually(lambda: rests(ordinary))
        ordinary.send_signal(stop)
        assert ordinary.wait(timeout=10) == 0


def test_a_copy_that_sleeps_leaves_nothing_behind(volume: Volume) -> None:
    made = volume.copies(*says("serving"))
    volume.run(made.native)
    volume.run(made.native)
    with volume.running(made.ordinary) as ordinary:
        eventually(lambda: rests(ordinary))
        ordinary.terminate()
        eventually(lambda: ordinary.poll() is not None and not with_all_of(ordinary, 0))


def test_a_native_copy_that_comes_too_late_sleeps(volume: Volume) -> None:
    made = volume.copies(*says("serving"))
    volume.run(made.native)
    assert volume.run(made.ordinary).stdout == "serving\n"
    with volume.running(made.native) as native:
        eventually(lambda: rests(native))
        native.terminate()
        assert native.communicate(timeout=10)[0] == ""


def test_of_two_copies_that_start_at_one_time_one_serves(volume: Volume) -> None:
    made = volume.copies(*SLEEPS)
    for _ in range(20):
        volume.prepare()
        volume.run(made.native)
        with volume.running(made.native) as native, volume.running(made.ordinary) as ordinary:
            eventually(lambda: rests(native) != rests(ordinary) and len(volume.state) == 2)
        assert volume.state in ({"started", "native"}, {"started", "ordinary"})


def test_a_new_sandbox_starts_clean(volume: Volume) -> None:
    made = volume.copies(*says("serving"))
    volume.run(made.native)
    volume.run(made.native)
    volume.prepare()
    assert volume.state == {"free"}
    assert volume.run(made.native).stdout == ""
    assert volume.run(made.ordinary).stdout == "serving\n"


def test_a_volume_is_prepared_while_the_busybox_in_it_runs(volume: Volume) -> None:
    made = volume.copies(*says("serving"))
    volume.run(made.native)
    volume.run(made.native)
    with volume.running(made.ordinary) as ordinary:
        eventually(lambda: rests(ordinary))
        volume.prepare()
        assert ordinary.poll() is None


LOOK = """
import json, os, sys
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
fields = ("SigBlk", "SigIgn", "SigCgt", "Umask")
print(json.dumps({
    "pid": os.getpid(),
    "argv": open("/proc/self/cmdline").read().split(chr(0)),
    "environ": sorted(open("/proc/self/environ").read().split(chr(0))),
    "cwd": os.getcwd(),
    "files": sorted(os.listdir("/proc/self/fd")),
    "status": {each: status[each].strip() for each in fields},
}))
"""
ENVIRONMENTS = {
    "an ordinary one": {**PATH, "A": "1", "HOME": "/root", "EMPTY": ""},
    "values with anything in them": {**PATH, "A": 'a\n b=c "$PATH" \\ `id` é', "B": "\n", "C": "="},
    "names that are none for a shell": {**PATH, "a.b": "1\n2", "c-d": "x", "9": "nine", "é": "e"},
    "what a shell sets itself": {
        **PATH,
        "SHLVL": "7",
        "PWD": "/nowhere",
        "OLDPWD": "/x",
        "IFS": "q",
        "PPID": "1",
        "PS1": "$",
        "OPTIND": "9",
        "LINENO": "3",
        "RANDOM": "4",
        "PS4": "+",
        "_": "u",
        "ENV": "/nothing",
    },
    "what the script sets itself": {**PATH, "_sp_dir": "/nowhere", "_sp_busybox": "mine"},
    "without a PATH": {"A": "1"},
    "many": {**PATH, **{f"SERVICE_{number}_HOST": "10.0.0.1" * 4 for number in range(300)}},
}


@pytest.mark.parametrize("env", ENVIRONMENTS.values(), ids=ENVIRONMENTS)
def test_a_command_runs_as_if_the_kubelet_had_started_it(
    volume: Volume, env: Mapping[str, str]
) -> None:
    command = [sys.executable, "-I", "-c", LOOK, "a b", "", "$HOME", "-n", "*"]
    made = volume.copies(*command)
    volume.run(made.native)
    for copy in (made.native, made.ordinary):
        assert seen(volume.argv(copy), env) == seen(command, env)
        volume.prepare()


def seen(argv: list[str], env: Mapping[str, str]) -> JSON:
    """What a program finds when it is started so; its process is the one that was started."""
    with subprocess.Popen(argv, env=env, stdout=subprocess.PIPE, text=True) as process:
        found: JSON = json.loads(process.communicate(timeout=60)[0])
    assert found.pop("pid") == process.pid
    return found


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """A folder for PATH with a program that has the name of an applet of busybox."""
    folder = tmp_path / "tools"
    folder.mkdir()
    program = folder / "sleep"
    program.write_text(
        '#!/bin/sh\ntr "\\0" "\\n" </proc/self/environ | grep -q a.b\necho mine "$@"\n'
    )
    program.chmod(0o755)
    (folder / "mv").write_text("not to be run")
    return folder


@pytest.mark.parametrize("more", [{}, {"a.b": "1"}], ids=["plain", "with an odd variable"])
def test_a_command_is_looked_up_in_path_and_not_among_busyboxs_own(
    volume: Volume, tools: Path, more: Mapping[str, str]
) -> None:
    env = {"PATH": f"/nowhere:{tools}:/usr/bin:/bin", **more}
    assert volume.run(volume.copies("sleep", "1").ordinary, env).stdout == "mine 1\n"


def test_a_command_from_path_keeps_its_name(volume: Volume) -> None:
    made = volume.copies("sh", "-c", "tr '\\0' ' ' </proc/self/cmdline | cut -d ' ' -f 1; echo $0")
    assert volume.run(made.ordinary).stdout == "tr\nsh\n"


def test_a_command_that_is_nowhere_says_so(volume: Volume) -> None:
    done = volume.run(volume.copies("no-such-command").ordinary)
    assert (done.returncode, done.stderr) == (127, "exec: no-such-command: not found in PATH\n")


@pytest.mark.parametrize("code", [0, 1, 42, 143])
def test_the_exit_code_is_the_commands(volume: Volume, code: int) -> None:
    assert volume.run(volume.copies("sh", "-c", f"exit {code}").ordinary).returncode == code


def test_a_command_dies_of_the_signals_that_it_does_not_handle(volume: Volume) -> None:
    with volume.running(volume.copies(*SLEEPS).ordinary) as process:
        eventually(lambda: Path(f"/proc/{process.pid}/comm").read_text() == "sleep\n")
        process.send_signal(signal.SIGQUIT)
        assert process.wait(timeout=10) == -signal.SIGQUIT


FAILS = {"exec": {"command": ["sh", "-c", "exit 3"]}}


@pytest.mark.parametrize(
    ("state", "native", "ordinary"),
    [
        pytest.param("free", 1, 1, id="nobody serves yet"),
        pytest.param("native", 3, 0, id="the native copy serves"),
        pytest.param("ordinary", 0, 3, id="the ordinary copy serves"),
    ],
)
@pytest.mark.parametrize("probe", ["startupProbe", "livenessProbe", "readinessProbe"])
def test_probes_are_about_the_copy_that_serves(
    volume: Volume, state: str, native: int, ordinary: int, *, probe: str
) -> None:
    (volume.folder / "free").rename(volume.folder / state)
    fields: JSON = {probe: FAILS}
    made = volume.copies("x", **fields)
    codes = [volume.run(each[probe]["exec"]).returncode for each in (made.native, made.ordinary)]
    assert codes == [native, ordinary]


@pytest.mark.parametrize(("state", "code"), [("free", 1), ("native", 0), ("ordinary", 0)], ids=str)
def test_what_comes_later_waits_until_one_copy_serves(
    volume: Volume, state: str, code: int
) -> None:
    (volume.folder / "free").rename(volume.folder / state)
    probe = volume.copies("x").native["startupProbe"]
    assert volume.run(probe["exec"]).returncode == code


@pytest.mark.parametrize(
    ("state", "expected"),
    [("free", ["", ""]), ("native", ["bye\n", ""]), ("ordinary", ["", "bye\n"])],
)
def test_hooks_act_in_the_copy_that_serves(volume: Volume, state: str, expected: list[str]) -> None:
    (volume.folder / "free").rename(volume.folder / state)
    made = volume.copies("x", lifecycle={"preStop": {"exec": {"command": says("bye")}}})
    hooks = [each["lifecycle"]["preStop"]["exec"] for each in (made.native, made.ordinary)]
    results = [volume.run(each) for each in hooks]
    assert [each.stdout for each in results] == expected
    assert [each.returncode for each in results] == [0, 0]
