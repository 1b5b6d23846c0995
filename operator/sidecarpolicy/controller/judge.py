"""The controller's judgement of nodes: the rules, and what kubelets said of their feature gate.

What a Node's annotation keeps of an earlier reading counts only until this process has read
for itself, and only where metrics are read at all.
"""

from dataclasses import dataclass, replace

from sidecarpolicy.core.capability import RULES, Rules, Strategy, capability
from sidecarpolicy.core.facts import NodeFacts, RawObject, node_facts
from sidecarpolicy.core.featuregate import Reading


@dataclass(frozen=True)
class Heard:
    """What one kubelet of one version said last, or why it said nothing."""

    uid: str
    kubelet: str
    reading: Reading | None
    unread: str = ""

    def of(self, node: NodeFacts) -> bool:
        """Whether it is about the kubelet that the node has now."""
        return (self.uid, self.kubelet) == (node.uid, node.kubelet.version)


class Judge:
    """Makes facts of Nodes. Lives in one event loop."""

    def __init__(self, rules: Rules = RULES) -> None:
        self.rules = rules
        self._heard: dict[str, Heard] = {}

    def facts(self, obj: RawObject) -> NodeFacts:
        """Facts of a raw Node."""
        return self.again(node_facts(obj, self.rules))

    def again(self, node: NodeFacts) -> NodeFacts:
        """The same facts, judged by what is known now."""
        reading, unread = node.reading, ""
        heard = self._heard.get(node.name)
        if Strategy.METRICS not in self.rules.strategies:
            reading = None
        elif heard is not None and heard.of(node):
            reading = heard.reading or reading
            unread = "" if reading else heard.unread
        gate = reading.gate if reading else None
        kubelet = replace(node.kubelet, gate=gate, unread=unread)
        judged = capability(kubelet, self.rules)
        return replace(node, reading=reading, kubelet=kubelet, capability=judged)

    def hear(self, node: NodeFacts, reading: Reading | None, unread: str = "") -> None:
        """Takes in an answer; a failure leaves an earlier reading of the kubelet as it is."""
        known = self._heard.get(node.name)
        if reading is None and known is not None and known.of(node):
            reading = known.reading
        self._heard[node.name] = Heard(node.uid, node.kubelet.version, reading, unread)

    def forget(self, name: str) -> None:
        """Drops what a node said that is gone, or that is not asked any more."""
        self._heard.pop(name, None)
