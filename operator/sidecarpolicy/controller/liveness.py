"""Is this process of any use? Answers the liveness probe, whose only remedy is a restart.

A watch that hears nothing although it is opened anew every half a minute, and a loop that does not
get on with its work, will not heal. Everything else that may be wrong is no reason to restart: an
API server that is away for a moment, a cluster that is not listed yet, another that leads.
"""

from collections.abc import Mapping
from typing import Final

from sidecarpolicy.controller.pulse import Pulse

LIMIT: Final = 300.0
"""Seconds. Ten times what it takes to notice and replace a watch that is dead, far more than
bookmarks of an idle API server are late, and more than any single request may take. After five
minutes without any API server the process is restarted, too, which costs nothing then.
"""


def ailment(*, watch_age: float, loops: Mapping[str, Pulse]) -> str:
    """What is wrong, in one sentence; empty if nothing is. `watch_age` is in seconds."""
    if watch_age > LIMIT:
        return f"a watch has heard nothing of the API server for {watch_age:.0f} seconds"
    for name, pulse in loops.items():
        if pulse.silence > LIMIT:
            return f"the loop over {name} has not got on for {pulse.silence:.0f} seconds"
    return ""
