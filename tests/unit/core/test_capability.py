"""The chain by which nodes are judged, as tables."""

import pytest

from sidecarpolicy.api.reasons import Reason
from sidecarpolicy.core.capability import (
    CHAIN,
    Kubelet,
    NodeTally,
    Rules,
    Strategy,
    Verdict,
    capability,
    gate_decides,
    minor_version,
    tally,
)
from sidecarpolicy.core.featuregate import Gate

ALL = frozenset(Strategy)
ON, OFF, ABSENT = Gate


def rules(*strategies: Strategy, api_server: str = "") -> Rules:
    return Rules(frozenset(strategies) or Rules().strategies, api_server)


@pytest.mark.parametrize(
    ("version", "verdict", "reason"),
    [
        pytest.param("v1.36.3", Verdict.CAPABLE, Reason.GENERALLY_AVAILABLE, id="GA"),
        pytest.param("v1.37.0", Verdict.CAPABLE, Reason.GENERALLY_AVAILABLE, id="no gate any more"),
        pytest.param("v1.33.0", Verdict.CAPABLE, Reason.GENERALLY_AVAILABLE, id="the first GA"),
        pytest.param("v1.32.9", Verdict.CAPABLE, Reason.ON_BY_DEFAULT, id="the last beta"),
        pytest.param("v1.29.0-eks-a5ec690", Verdict.CAPABLE, Reason.ON_BY_DEFAULT, id="EKS"),
        pytest.param(
            "v1.29.0-gke.1", Verdict.CAPABLE, Reason.ON_BY_DEFAULT,
            id="GKE, which semver sorts before 1.29.0",
        ),
        pytest.param("v1.31.2+k3s1", Verdict.CAPABLE, Reason.ON_BY_DEFAULT, id="k3s"),
        pytest.param("v1.31", Verdict.CAPABLE, Reason.ON_BY_DEFAULT, id="no patch version"),
        pytest.param("1.31.0", Verdict.CAPABLE, Reason.ON_BY_DEFAULT, id="no v"),
        pytest.param("v1.29.0-rc.1", Verdict.CAPABLE, Reason.ON_BY_DEFAULT, id="a candidate"),
        pytest.param("v1.28.15", Verdict.REJECTS, Reason.OFF_BY_DEFAULT, id="alpha"),
        pytest.param("v1.27.16", Verdict.IGNORES, Reason.KUBELET_TOO_OLD, id="the last without"),
        pytest.param("v1.2.3", Verdict.IGNORES, Reason.KUBELET_TOO_OLD, id="long ago"),
        pytest.param("v2.0.0", Verdict.UNKNOWN, Reason.VERSION_UNREADABLE, id="another major"),
        pytest.param("", Verdict.UNKNOWN, Reason.VERSION_UNREADABLE, id="no version"),
        pytest.param("vX.Y", Verdict.UNKNOWN, Reason.VERSION_UNREADABLE, id="garbage"),
        pytest.param("v0.0.0-master+$Format:%H$", Verdict.UNKNOWN, Reason.VERSION_UNREADABLE,
                     id="built without a version"),
        pytest.param("v1." + "9" * 5000, Verdict.UNKNOWN, Reason.VERSION_UNREADABLE,
                     id="a number that nobody counts"),
        pytest.param("v1.٣١", Verdict.UNKNOWN, Reason.VERSION_UNREADABLE, id="other digits"),
    ],
)  # fmt: skip
def test_a_kubelet_is_judged_by_its_version(version: str, verdict: Verdict, reason: Reason) -> None:
    found = capability(Kubelet(version))
    assert (found.verdict, found.reason) == (verdict, reason)
    assert version[:20] in found.evidence
    assert len(found.evidence) < 250


def test_only_major_and_minor_are_read() -> None:
    assert [minor_version(text) for text in ("v1.290", "1.29", "v1.2.3.4")] == [290, 29, 2]


@pytest.mark.parametrize(
    ("version", "gate", "verdict", "reason"),
    [
        pytest.param("v1.28.15", ON, Verdict.CAPABLE, Reason.FEATURE_GATE_ON, id="1.28, on"),
        pytest.param("v1.28.15", OFF, Verdict.REJECTS, Reason.FEATURE_GATE_OFF, id="1.28, off"),
        pytest.param("v1.28.15", ABSENT, Verdict.REJECTS, Reason.OFF_BY_DEFAULT, id="1.28, absent"),
        pytest.param("v1.31.0", ON, Verdict.CAPABLE, Reason.FEATURE_GATE_ON, id="1.31, on"),
        pytest.param("v1.31.0", OFF, Verdict.REJECTS, Reason.FEATURE_GATE_OFF, id="1.31, off"),
        pytest.param("v1.31.0", ABSENT, Verdict.CAPABLE, Reason.ON_BY_DEFAULT, id="1.31, absent"),
        pytest.param("v1.33.0", OFF, Verdict.CAPABLE, Reason.GENERALLY_AVAILABLE, id="GA"),
        pytest.param("v1.26.15", OFF, Verdict.IGNORES, Reason.KUBELET_TOO_OLD, id="too old, off"),
        pytest.param("v1.26.15", ON, Verdict.IGNORES, Reason.KUBELET_TOO_OLD, id="too old, on"),
        pytest.param("nonsense", OFF, Verdict.UNKNOWN, Reason.VERSION_UNREADABLE, id="garbage"),
    ],
)
def test_what_was_read_of_the_gate_counts_where_a_version_can_have_it_either_way(
    version: str, gate: Gate, verdict: Verdict, reason: Reason
) -> None:
    found = capability(Kubelet(version, gate=gate))
    assert (found.verdict, found.reason) == (verdict, reason)


@pytest.mark.parametrize("version", ["v1.36.3", "v1.31.0", "v1.28.15", "v1.26.15", "nonsense"])
@pytest.mark.parametrize("value", [Verdict.CAPABLE, Verdict.IGNORES, Verdict.REJECTS])
def test_an_override_wins_over_everything(version: str, value: Verdict) -> None:
    found = capability(Kubelet(version, override=value.value, gate=OFF), Rules(ALL, "v1.36.3"))
    assert (found.verdict, found.reason) == (value, Reason.OVERRIDDEN)
    assert "native-sidecars-override" in found.evidence


@pytest.mark.parametrize("value", ["yes", "", "True", "unknown", "x" * 9999])
def test_an_override_that_is_none_is_ignored_and_named(value: str) -> None:
    found = capability(Kubelet("v1.36.3", override=value))
    assert (found.verdict, found.reason) == (Verdict.CAPABLE, Reason.GENERALLY_AVAILABLE)
    assert found.evidence.endswith("which is none of true, false, rejects, and is ignored")
    assert repr(value)[:60] in found.evidence
    assert len(found.evidence) < 300


@pytest.mark.parametrize(
    ("api_server", "verdict"),
    [
        pytest.param("v1.36.3", Verdict.CAPABLE, id="none older than 1.33"),
        pytest.param("v1.32.0", Verdict.CAPABLE, id="none older than 1.29"),
        pytest.param("v1.31.9-gke.1", Verdict.UNKNOWN, id="1.28 is possible"),
        pytest.param("", Verdict.UNKNOWN, id="not known"),
        pytest.param("nonsense", Verdict.UNKNOWN, id="unreadable too"),
    ],
)
def test_the_api_servers_version_rules_old_kubelets_out_where_that_is_switched_on(
    api_server: str, verdict: Verdict
) -> None:
    assert capability(Kubelet("nonsense"), Rules(ALL, api_server)).verdict is verdict
    assert capability(Kubelet("nonsense"), rules(api_server=api_server)).verdict is Verdict.UNKNOWN


def test_the_api_servers_version_says_nothing_of_a_kubelet_whose_version_is_known() -> None:
    found = capability(Kubelet("v1.28.15"), Rules(ALL, "v1.36.3"))
    assert found.reason is Reason.OFF_BY_DEFAULT


@pytest.mark.parametrize(
    ("strategy", "kubelet"),
    [
        (Strategy.OVERRIDE, Kubelet("v1.31.0", override="false", gate=ON)),
        (Strategy.VERSION, Kubelet("v1.33.0")),
        (Strategy.METRICS, Kubelet("v1.31.0", gate=OFF)),
        (Strategy.APISERVER_SKEW, Kubelet("nonsense")),
    ],
)
def test_a_strategy_that_is_off_has_no_say(strategy: Strategy, kubelet: Kubelet) -> None:
    alone = capability(kubelet, Rules(frozenset({strategy}), "v1.36.3"))
    without = capability(kubelet, Rules(ALL - {strategy}, "v1.36.3"))
    assert alone.verdict is not Verdict.UNKNOWN
    assert without.reason is not alone.reason


def test_where_no_strategy_has_an_answer_a_node_is_unknown() -> None:
    found = capability(Kubelet("v1.36.3"), rules(Strategy.METRICS))
    assert (found.verdict, found.reason) == (Verdict.UNKNOWN, Reason.UNDECIDED)


def test_unknown_is_labelled_as_unfit() -> None:
    labels = {each: each.label for each in Verdict}
    assert labels[Verdict.UNKNOWN] == labels[Verdict.IGNORES] == "false"
    assert (labels[Verdict.CAPABLE], labels[Verdict.REJECTS]) == ("true", "rejects")


@pytest.mark.parametrize(
    ("kubelet", "said"),
    [
        pytest.param(Kubelet("v1.31.0"), "its feature gate was not read", id="nobody asked"),
        pytest.param(
            Kubelet("v1.31.0", unread="no connection: refused"),
            "its feature gate could not be read: no connection: refused",
            id="it did not answer",
        ),
        pytest.param(
            Kubelet("v1.28.1", gate=ABSENT), "its metrics do not name the feature gate", id="absent"
        ),
    ],
)
def test_evidence_says_what_a_default_leaves_open(kubelet: Kubelet, said: str) -> None:
    assert capability(kubelet).evidence.endswith(f"; {said}")


@pytest.mark.parametrize(
    ("kubelet", "decides"),
    [
        (Kubelet("v1.27.9"), False),
        (Kubelet("v1.28.0"), True),
        (Kubelet("v1.32.1", gate=ON), True),
        (Kubelet("v1.33.0"), False),
        (Kubelet("nonsense"), False),
        (Kubelet("v1.31.0", override="true"), False),
        (Kubelet("v1.31.0", override="perhaps"), True),
    ],
)
def test_a_gate_is_asked_for_only_where_it_decides(kubelet: Kubelet, decides: bool) -> None:
    assert gate_decides(kubelet, Rules()) is decides
    assert not gate_decides(kubelet, Rules(ALL - {Strategy.METRICS}))


def test_the_chain_reads_as_documented() -> None:
    assert [(each.strategy.value, each.name) for each in CHAIN] == [
        ("override", "an annotation overrides"),
        ("version", "kubelet 1.33 or newer"),
        ("metrics", "its feature gate, where it was read"),
        ("version", "kubelet 1.29 to 1.32"),
        ("version", "kubelet 1.28"),
        ("version", "an older kubelet"),
        ("apiserver-skew", "a version that the API server rules out"),
    ]


def test_only_capable_nodes_count_as_capable() -> None:
    versions = ("v1.36.3", "v1.31.0", "v1.28.15", "v1.26.15", "nonsense")
    counted = tally(capability(Kubelet(each)) for each in versions)
    assert (counted.capable, counted.total) == (2, 5)
    assert (counted.ignoring, counted.rejecting) == (2, 1)


def test_a_tally_that_follows_changes_is_the_tally_of_what_is_there() -> None:
    old, new, unknown = (capability(Kubelet(each)) for each in ("v1.26.15", "v1.36.3", "?"))
    counted = NodeTally()
    for before, after in ((None, old), (None, new), (old, new), (new, unknown), (None, new)):
        counted = counted.changed(before, after)
    assert counted == tally([new, unknown, new])
    assert counted.changed(new, None).changed(unknown, None) == tally([new])
