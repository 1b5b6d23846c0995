"""What is read of a kubelet's metrics, and what a node keeps of it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecarpolicy.core.featuregate import Gate, Reading, gate_in, recorded

FAMILY = "kubernetes_feature_enabled"


@pytest.mark.parametrize(
    ("line", "gate"),
    [
        pytest.param(f'{FAMILY}{{name="SidecarContainers",stage="BETA"}} 1', Gate.ON, id="beta"),
        pytest.param(f'{FAMILY}{{name="SidecarContainers",stage="ALPHA"}} 0', Gate.OFF, id="alpha"),
        pytest.param(f'{FAMILY}{{name="SidecarContainers",stage=""}} 1', Gate.ON, id="GA"),
        pytest.param(f'{FAMILY}{{stage="BETA",name="SidecarContainers"}} 1', Gate.ON, id="order"),
        pytest.param(
            f'{FAMILY}{{name="SidecarContainers",stage="BETA"}} 0 1700000000000\r', Gate.OFF,
            id="with a time, from Windows",
        ),
        pytest.param(f'{FAMILY}{{name="SidecarContainers"}} 1e0', Gate.ON, id="another form of 1"),
        pytest.param(f'{FAMILY}{{name="SidecarContainers"}} 2', None, id="neither 0 nor 1"),
        pytest.param(f'{FAMILY}{{name="SidecarContainers"}} NaN', None, id="no number"),
        pytest.param(f'{FAMILY}{{name="SidecarContainers"}} +-1', None, id="two signs"),
        pytest.param(f'{FAMILY}{{name="SidecarContainersV2"}} 0', None, id="a longer name"),
        pytest.param(f'{FAMILY}{{xname="SidecarContainers"}} 0', None, id="another label"),
        pytest.param(f'{FAMILY}_total{{name="SidecarContainers"}} 0', None, id="another metric"),
        pytest.param(f"# HELP {FAMILY} This metric records", None, id="help"),
        pytest.param("", None, id="nothing"),
    ],
)  # fmt: skip
def test_a_line_of_metrics_tells_of_the_gate(line: str, gate: Gate | None) -> None:
    assert gate_in(line.encode()) is gate


@given(st.binary(max_size=200))
def test_any_bytes_are_a_line_that_says_nothing_or_a_value(line: bytes) -> None:
    assert gate_in(b'kubernetes_feature_enabled{name="SidecarContainers"} ' + line) in (*Gate, None)
    assert gate_in(line) is None


@given(st.builds(Reading, st.text(max_size=40), st.text(max_size=40), st.sampled_from(Gate)))
def test_a_reading_survives_in_an_annotation(reading: Reading) -> None:
    assert recorded(reading.text()) == reading


@pytest.mark.parametrize(
    "text",
    [None, "", "{}", "[]", "null", '{"kubelet":"v1","boot":"b","gate":"maybe"}', "[" * 1000,
     '{"kubelet":1,"boot":"b","gate":"on"}', '{"kubelet":"v1","boot":null,"gate":"on"}',
     '{"kubelet":"v1","boot":"b","gate":[]}', " " * 2000],
)  # fmt: skip
def test_an_annotation_that_is_not_ours_is_no_reading(text: str | None) -> None:
    assert recorded(text) is None
