"""Which webhooks of others are asked about new Pods: a mirror of their configurations."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from sidecarpolicy.api.names import WEBHOOK_CONFIGURATION
from sidecarpolicy.core.facts import RawObject
from sidecarpolicy.core.registration import sees_pods
from sidecarpolicy.core.suspects import Hook, hooks_of


@dataclass(frozen=True)
class Configuration:
    """What is kept of a MutatingWebhookConfiguration: no CA, which is renewed again and again."""

    name: str
    hooks: tuple[Hook, ...]
    sees_pods: bool = False
    """Whether it has new Pods reviewed by somebody whom the API server can trust."""


class WebhookMirror:
    """Feeds MutatingWebhookConfigurations from a reflector."""

    def __init__(self, registered: Callable[[bool], None] = lambda _: None) -> None:
        """`registered` is told whether our own webhook is asked about new Pods, at each change."""
        self._registered = registered
        self._held: dict[str, Configuration] = {}
        self.hooks: tuple[Hook, ...] = ()
        """All webhooks that are asked about new Pods, in the order of their names."""
        self.changed: Callable[[], None] = lambda: None
        """Called after a change that may matter to Pods."""

    def facts(self, obj: RawObject) -> Configuration:
        """What is kept of a raw object."""
        return Configuration(obj["metadata"]["name"], hooks_of(obj), sees_pods(obj))

    def replace(self, configurations: Iterable[Configuration]) -> None:
        """Takes in a complete list."""
        self._held = {each.name: each for each in configurations}
        self._collect()

    def store(self, configuration: Configuration) -> None:
        """Takes in one configuration."""
        self._held[configuration.name] = configuration
        self._collect()

    def forget(self, configuration: Configuration) -> None:
        """Drops one configuration."""
        self._held.pop(configuration.name, None)
        self._collect()

    def _collect(self) -> None:
        ours = self._held.get(WEBHOOK_CONFIGURATION)
        self._registered(ours is not None and ours.sees_pods)
        before = self.hooks
        self.hooks = tuple(hook for name in sorted(self._held) for hook in self._held[name].hooks)
        if self.hooks != before:
            self.changed()
