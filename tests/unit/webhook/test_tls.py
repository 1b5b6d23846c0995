"""Certificates are exchanged while they are served, and served from files that others manage."""

import asyncio
import logging
import os
import ssl
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from sidecarpolicy.webhook.files import Files
from sidecarpolicy.webhook.pki import Pair, pem
from sidecarpolicy.webhook.tls import ServingContext
from tests.support.certificates import Handshake, authority, client, handshake, serving

NOW = datetime.now(UTC)
CA = authority(NOW)
ONE, TWO = serving(CA, NOW), serving(CA, NOW)
TRUST = client([CA.certificate])


def presenting(pair: Pair) -> ServingContext:
    made = ServingContext()
    assert made.present(pair.chain_pem, pair.key_pem) == ""
    return made


def place(directory: Path, chain: bytes, key: bytes) -> None:
    """Exchanges both files at once, as a kubelet does: the link ..data moves."""
    version = directory / f"..{len(list(directory.iterdir()))}"
    version.mkdir()
    (version / "tls.crt").write_bytes(chain)
    (version / "tls.key").write_bytes(key)
    (directory / "..new").symlink_to(version.name)
    os.replace(directory / "..new", directory / "..data")
    for name in ("tls.crt", "tls.key"):
        if not (directory / name).is_symlink():
            (directory / name).symlink_to(f"..data/{name}")


async def until(wanted: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not wanted():  # noqa: ASYNC110 - files and handshakes tell nobody when they change
            await asyncio.sleep(0.005)


def test_new_handshakes_present_the_new_certificate_and_old_connections_go_on() -> None:
    server = presenting(ONE)
    old = Handshake(server.context, TRUST)
    old.hello()
    assert old.finish() == ONE.certificate
    server.present(TWO.chain_pem, TWO.key_pem)
    assert handshake(server.context, TRUST) == TWO.certificate
    assert old.echo(b"still here") == b"still here"


def test_a_handshake_that_is_under_way_ends_with_the_certificate_it_began_with() -> None:
    server = presenting(ONE)
    started = Handshake(server.context, TRUST)
    started.hello()
    server.present(TWO.chain_pem, TWO.key_pem)
    assert started.finish() == ONE.certificate


def encrypted(pair: Pair) -> bytes:
    with_password = BestAvailableEncryption(b"secret")
    return pair.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, with_password)


@pytest.mark.parametrize(
    ("chain", "key", "why"),
    [
        pytest.param(ONE.chain_pem, TWO.key_pem, "KEY_VALUES_MISMATCH", id="of two pairs"),
        pytest.param(TWO.chain_pem, encrypted(TWO), "encrypted", id="an encrypted key"),
        pytest.param(TWO.chain_pem, b"", "not both PEM", id="no key"),
        pytest.param(b"?", TWO.key_pem, "not both PEM", id="no certificate"),
        pytest.param(b"", b"", "not both PEM", id="nothing"),
    ],
)
def test_what_cannot_be_used_is_named_and_changes_nothing(
    chain: bytes, key: bytes, why: str
) -> None:
    server = presenting(ONE)
    assert why in server.present(chain, key)
    assert handshake(server.context, TRUST) == ONE.certificate
    fresh = ServingContext()
    fresh.present(chain, key)
    assert not fresh.loaded


def test_tls_before_1_2_is_refused() -> None:
    old = client([CA.certificate])
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        old.maximum_version = ssl.TLSVersion.TLSv1_1
    started = Handshake(presenting(ONE).context, old)
    with pytest.raises(ssl.SSLError):
        started.hello()


def test_files_are_followed_when_the_kubelet_exchanges_them(tmp_path: Path) -> None:
    place(tmp_path, ONE.chain_pem, ONE.key_pem)
    files = Files(tmp_path)
    context = asyncio.run(files.prepare())
    assert handshake(context, TRUST) == ONE.certificate
    place(tmp_path, TWO.chain_pem, TWO.key_pem)
    assert files.refresh() == ""
    assert handshake(context, TRUST) == TWO.certificate


def test_files_that_are_not_there_yet_are_waited_for(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def late() -> ssl.SSLContext:
        waiting = asyncio.ensure_future(Files(tmp_path, every=0.01).prepare())
        await asyncio.sleep(0)
        assert not waiting.done()
        place(tmp_path, ONE.chain_pem, ONE.key_pem)
        return await waiting

    assert handshake(asyncio.run(late()), TRUST) == ONE.certificate
    assert "tls.crt: No such file or directory" in caplog.text


def test_files_are_followed_for_ever_and_a_fault_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)

    async def through_a_fault() -> None:
        place(tmp_path, ONE.chain_pem, ONE.key_pem)
        files = Files(tmp_path, every=0.001)
        context = await files.prepare()
        running = asyncio.ensure_future(files.run())
        place(tmp_path, TWO.chain_pem, ONE.key_pem)
        await until(lambda: "cannot be used" in caplog.text)
        assert handshake(context, TRUST) == ONE.certificate
        place(tmp_path, TWO.chain_pem, TWO.key_pem)
        await until(lambda: handshake(context, TRUST) == TWO.certificate)
        running.cancel()

    asyncio.run(through_a_fault())
    assert caplog.text.count("KEY_VALUES_MISMATCH") == 1
    assert "in order again" in caplog.text
    assert "PRIVATE" not in caplog.text


def test_files_may_hold_an_rsa_key_and_a_chain(tmp_path: Path) -> None:
    # What cert-manager makes unless it is told otherwise.
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    text = key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    leaf = x509.CertificateBuilder(
        ONE.certificate.issuer,
        ONE.certificate.subject,
        key.public_key(),
        x509.random_serial_number(),
        ONE.certificate.not_valid_before_utc,
        ONE.certificate.not_valid_after_utc,
        list(ONE.certificate.extensions),
    ).sign(CA.key, SHA256())
    place(tmp_path, pem((leaf, CA.certificate)), text)
    context = asyncio.run(Files(tmp_path).prepare())
    assert handshake(context, TRUST) == leaf
