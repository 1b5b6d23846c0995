"""The daemons of a lab: started in its namespace, remembered in its state, watched."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from lab import api, namespace, process
from lab.errors import LabError
from lab.layout import Layout

_TAIL = 15


def environment(layout: Layout) -> dict[str, str]:
    """What a daemon gets to see: none of our variables, for a proxy would lead it astray."""
    system = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    return {"PATH": f"{layout.bin}:{system}", "HOME": "/root", "LANG": "C.UTF-8"}


def start(layout: Layout, name: str, argv: Sequence[str]) -> process.Process:
    """Starts `argv` in the lab's network namespace. nsenter executes it, so the pid stays."""
    inside = namespace.command(layout.namespace_path, ("env", "-C", "/", *argv))
    log = layout.logs / f"{name}.log"
    return process.start(
        name, inside, records=layout.processes, log=log, environ=environment(layout)
    )


def find(layout: Layout, name: str) -> process.Process | None:
    """The remembered process, dead or alive."""
    return process.load(layout.processes).get(name)


def alive(layout: Layout, name: str) -> bool:
    """Whether it runs."""
    known = find(layout, name)
    return known is not None and known.alive()


def stop(layout: Layout, name: str) -> None:
    """Kills it at once, as a fault would, and forgets it."""
    known = find(layout, name)
    if known is not None:
        process.end_all(lambda: {known.pid} if known.alive() else set(), name)
    (layout.processes / f"{name}.json").unlink(missing_ok=True)


def last_lines(log: Path, count: int = _TAIL) -> str:
    """The end of a log, or nothing."""
    try:
        return "\n".join(log.read_text(errors="replace").splitlines()[-count:])
    except FileNotFoundError:
        return ""


def wait(
    layout: Layout,
    names: Iterable[str],
    done: Callable[[], bool],
    what: str,
    *,
    seconds: float = 90,
) -> None:
    """Waits until `done`; if a named daemon dies meanwhile, an error with its last words."""
    watched = tuple(names)

    def checked() -> bool:
        for name in watched:
            if not alive(layout, name):
                raise LabError(f"{name} ended: {what}", last_lines(layout.logs / f"{name}.log"))
        return done()

    try:
        api.wait_until(what, checked, seconds=seconds)
    except LabError as error:
        raise LabError(f"{error.message} (logs are in {layout.logs})", error.said) from None
