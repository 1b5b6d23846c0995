"""Whether a MutatingWebhookConfiguration has the API server ask about new Pods.

What only the webhook can do must not be relied on where it is not installed: a Pod whose
template leaves its sidecars or its node rule to the webhook would run without them. It may
be away all the same, for it fails open; the Pods that it then misses are found.
"""

from collections.abc import Mapping
from typing import Any

from sidecarpolicy.core.suspects import about_new_pods

RawObject = Mapping[str, Any]


def sees_pods(configuration: RawObject) -> bool:
    """Whether a webhook for new Pods is there, and whom to trust is known.

    The caBundle is empty until a webhook process, or somebody for it, has filled it in;
    before that no review can succeed.
    """
    return any(
        bool((webhook.get("clientConfig") or {}).get("caBundle"))
        and any(about_new_pods(rule) for rule in webhook.get("rules") or ())
        for webhook in configuration.get("webhooks") or ()
    )
