"""What the Secret and the configuration hold, and what is written to them."""

from base64 import b64encode
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from sidecarpolicy.webhook.kept import Kept, bundle_patch, read_secret, secret_patch, trusts
from sidecarpolicy.webhook.pki import Pair, names_of, pem, read_pair, server_names
from tests.support.certificates import HOST, authority, fresh, serving

OLD, NEW = authority(), authority()
ROTATED = Kept(NEW, serving(OLD), (OLD.certificate,))
JSON = dict[str, Any]


def encoded(value: bytes) -> str:
    return b64encode(value).decode()


def ours(kept: Kept, **changes: str | None) -> JSON:
    """The Secret as it is after our write, and after somebody's change of its data."""
    patch = secret_patch(kept, version="7")
    data = {**patch["data"], **{key.replace("_", "."): value for key, value in changes.items()}}
    data = {key: value for key, value in data.items() if value is not None}
    return {"metadata": patch["metadata"], "data": data}


def foreign(secret: JSON) -> JSON:
    return {**secret, "metadata": {"annotations": {"cert-manager.io/issuer-name": "corp"}}}


def configuration(*bundles: str | None) -> JSON:
    clients: list[JSON] = [{"caBundle": each} if each is not None else {} for each in bundles]
    webhooks = [{"clientConfig": {**each, "service": {}}} for each in clients]
    return {"metadata": {"resourceVersion": "12"}, "webhooks": webhooks}


def test_what_is_written_is_read_again() -> None:
    for kept in (fresh(), ROTATED):
        read = read_secret(ours(kept))
        assert read is not None
        assert secret_patch(read, version="7") == secret_patch(kept, version="7")


def test_a_write_is_guarded_by_the_version_and_marks_the_secret_as_ours() -> None:
    patch = secret_patch(fresh(), version="7")
    assert patch["metadata"] == {
        "resourceVersion": "7",
        "annotations": {"sidecarpolicy.dev/certificates": "generated"},
    }
    assert set(patch) == {"metadata", "data"}
    assert sorted(patch["data"]) == ["ca-previous.crt", "ca.crt", "ca.key", "tls.crt", "tls.key"]
    assert patch["data"]["ca-previous.crt"] is None


@pytest.mark.parametrize(
    "secret",
    [
        pytest.param({"metadata": {}}, id="no data"),
        pytest.param({"metadata": {}, "data": None}, id="data is null"),
        pytest.param({"metadata": {}, "data": {"tls.crt": "", "tls.key": ""}}, id="empty values"),
    ],
)
def test_an_empty_secret_is_ours_to_fill(secret: JSON) -> None:
    assert read_secret(secret) == Kept()


@pytest.mark.parametrize(
    "secret",
    [
        pytest.param(foreign(ours(fresh())), id="whole and valid"),
        pytest.param(foreign({"data": {"tls.crt": encoded(b"?")}}), id="unreadable"),
        pytest.param(foreign({"data": {"password": encoded(b"?")}}), id="something else"),
    ],
)
def test_content_without_our_mark_is_somebody_elses(secret: JSON) -> None:
    assert read_secret(secret) is None


NOISE = encoded(b"-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n")


@pytest.mark.parametrize(
    ("secret", "read"),
    [
        pytest.param(ours(ROTATED, ca_crt=NOISE), (False, True, 1), id="the CA is no certificate"),
        pytest.param(
            ours(ROTATED, ca_key=encoded(OLD.key_pem)), (False, True, 2),
            id="the CA's key is another's: what it signed stays trusted",
        ),
        pytest.param(ours(ROTATED, ca_key=None), (False, True, 2), id="the CA's key is missing"),
        pytest.param(ours(ROTATED, tls_key=NOISE), (True, False, 1), id="the key is no key"),
        pytest.param(
            ours(ROTATED, tls_crt=encoded(NEW.chain_pem)), (True, False, 1),
            id="certificate and key do not belong together",
        ),
        pytest.param(
            {**ours(ROTATED), "data": {"ca-previous.crt": NOISE}}, (False, False, 0),
            id="nothing can be read",
        ),
    ],
)  # fmt: skip
def test_of_our_own_content_what_cannot_be_read_is_absent(
    secret: JSON, read: tuple[bool, bool, int]
) -> None:
    kept = read_secret(secret)
    assert kept is not None
    assert (kept.authority is not None, kept.serving is not None, len(kept.previous)) == read


def test_the_bundle_has_all_trusted_cas_in_every_webhook() -> None:
    raw = configuration(None, "Cg==")
    wanted = encoded(NEW.chain_pem + OLD.chain_pem)
    assert bundle_patch(raw, ROTATED) == [
        {"op": "test", "path": "/metadata/resourceVersion", "value": "12"},
        {"op": "add", "path": "/webhooks/0/clientConfig/caBundle", "value": wanted},
        {"op": "add", "path": "/webhooks/1/clientConfig/caBundle", "value": wanted},
    ]


def test_only_the_webhooks_that_differ_are_patched() -> None:
    right = encoded(pem(ROTATED.trusted))
    paths = [each["path"] for each in bundle_patch(configuration(right, None), ROTATED)]
    assert paths == ["/metadata/resourceVersion", "/webhooks/1/clientConfig/caBundle"]


@pytest.mark.parametrize(
    ("raw", "kept"),
    [
        pytest.param(configuration(encoded(pem(ROTATED.trusted))), ROTATED, id="all have it"),
        pytest.param(configuration(), ROTATED, id="there is no webhook"),
        pytest.param({"metadata": {"resourceVersion": "1"}}, ROTATED, id="nor a list of them"),
        pytest.param(configuration("Cg=="), Kept(), id="there is nothing to trust yet"),
    ],
)
def test_nothing_is_patched_where(raw: JSON, kept: Kept) -> None:
    assert bundle_patch(raw, kept) == []


BOTH, ONE = encoded(pem(ROTATED.trusted)), encoded(OLD.chain_pem)


@pytest.mark.parametrize(
    ("raw", "trusted"),
    [
        pytest.param(configuration(BOTH, BOTH), True, id="every webhook has it"),
        pytest.param(configuration(BOTH, ONE), False, id="one webhook lacks it"),
        pytest.param(configuration(BOTH, None), False, id="one webhook has no bundle"),
        pytest.param(configuration(), False, id="there is no webhook"),
    ],
)
def test_a_configuration_trusts_a_ca_if(raw: JSON, trusted: bool) -> None:
    assert trusts(raw, NEW.certificate) is trusted


def test_names_are_compared_as_certificates_have_them() -> None:
    names = server_names("Webhook.Example.COM", "*.shop.svc", "127.0.0.1", "0:0:0:0:0:0:0:1")
    assert names == {"webhook.example.com", "*.shop.svc", "127.0.0.1", "::1"}
    assert names_of(serving(OLD, names=names).certificate) == names


def pem_of(kind: str, der: bytes) -> bytes:
    return f"-----BEGIN {kind}-----\n{encoded(der)}\n-----END {kind}-----\n".encode()


CERTIFICATE = OLD.certificate.public_bytes(Encoding.DER)
KEY = OLD.key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
P256, NO_CURVE = bytes.fromhex("06082a8648ce3d030107"), bytes.fromhex("06082a8648ce3d030177")
VERSION_3, VERSION_6 = b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x05"


@pytest.mark.parametrize(
    ("certificate", "key"),
    [
        pytest.param(CERTIFICATE.replace(VERSION_3, VERSION_6), KEY, id="a version of the future"),
        pytest.param(CERTIFICATE.replace(P256, NO_CURVE), KEY, id="a certificate of no curve"),
        pytest.param(CERTIFICATE, KEY.replace(P256, NO_CURVE), id="a key of no curve"),
        pytest.param(CERTIFICATE[:99], KEY, id="half a certificate"),
        pytest.param(CERTIFICATE, KEY[:99], id="half a key"),
        pytest.param(b"", b"", id="nothing"),
    ],
)
def test_what_the_library_cannot_read_is_no_pair(certificate: bytes, key: bytes) -> None:
    assert read_pair(pem_of("CERTIFICATE", CERTIFICATE), pem_of("PRIVATE KEY", KEY)) == OLD
    found = read_pair(pem_of("CERTIFICATE", certificate), pem_of("PRIVATE KEY", key))
    assert found is None


@pytest.mark.parametrize("name", ["", "a b", "bücher.example", "https://a", "a:443", "-a", "a/b"])
def test_what_is_no_name_is_refused_with_its_text(name: str) -> None:
    with pytest.raises(ValueError, match="neither a DNS name nor an IP address"):
        server_names(HOST, name)


def test_no_key_shows_in_what_is_printed() -> None:
    shown = repr((OLD, ROTATED, read_pair(b"?", b"?")))
    assert "Certificate(subject=" in shown
    assert "key" not in shown.replace("PrivateKey", "key").lower()


def test_a_ca_signs_no_further_ca(  # a stolen serving key must not become one
) -> None:
    pair: Pair = serving(OLD)
    kinds = {each.oid._name: each.value for each in pair.certificate.extensions}
    assert kinds["basicConstraints"].ca is False
    assert kinds["keyUsage"].key_cert_sign is False
