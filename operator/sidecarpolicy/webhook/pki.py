"""Keys and certificates of the webhook: makes and reads them.

Decides nothing (see `renewal`) and keeps nothing: keys are in memory here, and in the
Secret. Elliptic keys (ECDSA P-256) make and sign in less than a millisecond.
"""

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

BACKDATE: Final = timedelta(hours=1)
"""How far the clock of an API server may be behind ours."""

_DNS_NAME: Final = re.compile(r"(\*\.)?[a-zA-Z0-9]([-a-zA-Z0-9.]*[a-zA-Z0-9])?")
# What the library raises for bytes that are no certificate or key, or none that it knows.
_UNREADABLE: Final = (ValueError, TypeError, UnsupportedAlgorithm, x509.InvalidVersion)

_AUTHORITY: Final = "sidecarpolicy-webhook-ca"
_SERVER: Final = "sidecarpolicy-webhook"


@dataclass(frozen=True)
class Pair:
    """A certificate and its private key; never printed together."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey = field(repr=False, compare=False)

    @property
    def chain_pem(self) -> bytes:
        """The certificate as PEM."""
        return pem((self.certificate,))

    @property
    def key_pem(self) -> bytes:
        """The private key as PEM, unencrypted: for the Secret and for memory only."""
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def new_authority(*, now: datetime, life: timedelta) -> Pair:
    """A new CA with a key of its own; it signs serving certificates, no further CAs."""
    key = ec.generate_private_key(ec.SECP256R1())
    unsigned = (
        _builder(_AUTHORITY, key.public_key(), now=now, end=now + life)
        .issuer_name(_name(_AUTHORITY))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
    )
    return Pair(unsigned.sign(key, SHA256()), key)


def issue(authority: Pair, names: Iterable[str], *, now: datetime, life: timedelta) -> Pair:
    """A new serving certificate for DNS names and IPs; it never outlives its CA."""
    key, signer = ec.generate_private_key(ec.SECP256R1()), authority.key.public_key()
    end = min(now + life, authority.certificate.not_valid_after_utc)
    server = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
    by = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer)
    unsigned = (
        _builder(_SERVER, key.public_key(), now=now, end=end)
        .issuer_name(authority.certificate.subject)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(server, critical=False)
        .add_extension(by, critical=False)
        .add_extension(_alternative_names(names), critical=False)
    )
    return Pair(unsigned.sign(authority.key, SHA256()), key)


def server_names(*names: str) -> frozenset[str]:
    """DNS names and IPs as certificates have them. Raises ValueError for what is neither."""
    return _values(_alternative_names(names))


def names_of(certificate: x509.Certificate) -> frozenset[str]:
    """The DNS names and IPs that a certificate is for."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except (*_UNREADABLE, x509.ExtensionNotFound, x509.DuplicateExtension):
        return frozenset()
    return _values(found.value)


def signed_by(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    """Whether the CA's own key signed it."""
    try:
        certificate.verify_directly_issued_by(authority)
    except (*_UNREADABLE, InvalidSignature):
        return False
    return True


def pem(certificates: Iterable[x509.Certificate]) -> bytes:
    """Certificates as PEM, one after the other."""
    return b"".join(each.public_bytes(Encoding.PEM) for each in certificates)


def read_certificates(text: bytes) -> tuple[x509.Certificate, ...]:
    """The certificates in a PEM text; none if it cannot be read."""
    try:
        return tuple(x509.load_pem_x509_certificates(text))
    except _UNREADABLE:
        return ()


def read_pair(certificate: bytes, key: bytes) -> Pair | None:
    """A certificate with its key; None if either cannot be read or they do not belong together."""
    found = read_certificates(certificate)
    try:
        private = load_pem_private_key(key, password=None)
        fits = [each.public_key() == private.public_key() for each in found] == [True]
    except _UNREADABLE:
        return None
    if not fits or not isinstance(private, ec.EllipticCurvePrivateKey):
        return None
    return Pair(found[0], private)


def _builder(
    name: str, key: ec.EllipticCurvePublicKey, *, now: datetime, end: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATE)
        .not_valid_after(end)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _alternative_names(names: Iterable[str]) -> x509.SubjectAlternativeName:
    return x509.SubjectAlternativeName([_general_name(name) for name in sorted(names)])


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        if not _DNS_NAME.fullmatch(name):
            raise ValueError(f"{name!r} is neither a DNS name nor an IP address") from None
        return x509.DNSName(name.lower())


def _values(names: x509.SubjectAlternativeName) -> frozenset[str]:
    addresses = (str(each) for each in names.get_values_for_type(x509.IPAddress))
    return frozenset(names.get_values_for_type(x509.DNSName)).union(addresses)
