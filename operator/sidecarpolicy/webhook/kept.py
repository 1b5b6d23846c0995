"""What is kept of the webhook's certificates: the Secret that replicas share, and the caBundle.

Translates between raw objects and certificates; neither reads nor writes the cluster, and
leaves alone what somebody else put into the Secret.
"""

from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from cryptography.x509 import Certificate

from sidecarpolicy.api.names import CERTIFICATES_ANNOTATION
from sidecarpolicy.webhook.pki import Pair, pem, read_certificates, read_pair

RawObject = Mapping[str, Any]
Patch = list[dict[str, Any]]

GENERATED: Final = "generated"
"""Value of the annotation on a Secret whose content is ours to replace."""

_PREVIOUS: Final = "ca-previous.crt"


@dataclass(frozen=True)
class Kept:
    """What the Secret holds; what cannot be read is absent."""

    authority: Pair | None = None
    """The CA that signs from now on."""
    serving: Pair | None = None
    previous: tuple[Certificate, ...] = ()
    """Earlier CAs that are still trusted. Their keys are gone: they sign nothing more."""

    @property
    def trusted(self) -> tuple[Certificate, ...]:
        """The CAs that the caBundle is to have, the newest first."""
        newest = (self.authority.certificate,) if self.authority else ()
        return (*newest, *self.previous)


def read_secret(secret: RawObject) -> Kept | None:
    """What a raw Secret holds; None if its content is not ours."""
    content = secret.get("data") or {}
    if not any(content.values()):
        return Kept()
    annotations = secret["metadata"].get("annotations") or {}
    if annotations.get(CERTIFICATES_ANNOTATION) != GENERATED:
        return None
    data = {key: _decoded(value) for key, value in content.items()}
    authority = read_pair(data.get("ca.crt", b""), data.get("ca.key", b""))
    # A CA without its key still makes what it signed trusted.
    orphans = () if authority else read_certificates(data.get("ca.crt", b""))
    return Kept(
        authority=authority,
        serving=read_pair(data.get("tls.crt", b""), data.get("tls.key", b"")),
        previous=orphans + read_certificates(data.get(_PREVIOUS, b"")),
    )


def secret_patch(kept: Kept, *, version: str) -> RawObject:
    """The merge patch that makes a Secret of this resource version hold it, and ours."""
    values = {
        "ca.crt": kept.authority and kept.authority.chain_pem,
        "ca.key": kept.authority and kept.authority.key_pem,
        "tls.crt": kept.serving and kept.serving.chain_pem,
        "tls.key": kept.serving and kept.serving.key_pem,
        _PREVIOUS: pem(kept.previous),
    }
    return {
        "metadata": {
            "resourceVersion": version,
            "annotations": {CERTIFICATES_ANNOTATION: GENERATED},
        },
        "data": {key: _encoded(value) if value else None for key, value in values.items()},
    }


def trusts(configuration: RawObject, authority: Certificate) -> bool:
    """Whether every webhook of a configuration trusts what this CA signs."""
    bundles = [_decoded(each) for each in _bundles(configuration)]
    return bool(bundles) and all(pem((authority,)) in bundle for bundle in bundles)


def bundle_patch(configuration: RawObject, kept: Kept) -> Patch:
    """The JSON patch that gives every webhook the caBundle, guarded by the version that was read;
    empty if all have it, or if there is nothing to trust.
    """
    wanted = _encoded(pem(kept.trusted))
    changes = [
        {"op": "add", "path": f"/webhooks/{index}/clientConfig/caBundle", "value": wanted}
        for index, bundle in enumerate(_bundles(configuration))
        if wanted and bundle != wanted
    ]
    version = configuration["metadata"]["resourceVersion"]
    guard = {"op": "test", "path": "/metadata/resourceVersion", "value": version}
    return [guard, *changes] if changes else []


def _bundles(configuration: RawObject) -> list[str]:
    webhooks = configuration.get("webhooks") or ()
    return [each["clientConfig"].get("caBundle") or "" for each in webhooks]


def _encoded(value: bytes) -> str:
    return b64encode(value).decode()


def _decoded(value: str) -> bytes:
    # The API server keeps both fields as bytes, so what it answers is valid base64.
    return b64decode(value)
