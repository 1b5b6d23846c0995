"""The controller's metrics: every reason has a value, also while nothing suffers from it."""

from collections import Counter

from sidecarpolicy.api.reasons import Reason
from sidecarpolicy.controller.metrics import Metrics
from sidecarpolicy.core.trouble import REASONS


def test_each_reason_is_counted_when_asked() -> None:
    counted: Counter[Reason] = Counter()
    metrics = Metrics(lambda: counted)
    counted[Reason.CRASH_LOOPING] = 3
    assert 'problem_pods{reason="CrashLooping"} 3.0' in metrics.text().decode()
    counted.clear()
    lines = metrics.text().decode().splitlines()
    values = {line for line in lines if line.startswith("sidecarpolicy")}
    name = "sidecarpolicy_controller_problem_pods"
    assert values == {f'{name}{{reason="{reason}"}} 0.0' for reason in REASONS}
