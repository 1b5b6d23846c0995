"""Certificates as tests see them: a time to start from, and handshakes without a network."""

import ssl
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from cryptography import x509

from sidecarpolicy.webhook.kept import Kept
from sidecarpolicy.webhook.pki import Pair, issue, new_authority, pem

HOST = "webhook.shop.svc"
START = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
MINUTE = timedelta(minutes=1)


def authority(start: datetime = START) -> Pair:
    """A CA for a year."""
    return new_authority(now=start, life=365 * DAY)


def serving(by: Pair, start: datetime = START, *, names: Iterable[str] = (HOST,)) -> Pair:
    """A serving certificate for 90 days."""
    return issue(by, names, now=start, life=90 * DAY)


def fresh(start: datetime = START) -> Kept:
    """A CA and a serving certificate, both of the same moment."""
    made = authority(start)
    return Kept(made, serving(made, start))


def client(trusted: Iterable[x509.Certificate]) -> ssl.SSLContext:
    """What verifies a server as an API server does: by these CAs and no others."""
    return ssl.create_default_context(cadata=pem(trusted).decode())


class Handshake:
    """One TLS connection in memory; it can be made step by step."""

    def __init__(self, server: ssl.SSLContext, client: ssl.SSLContext, *, host: str = HOST) -> None:
        up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.server = server.wrap_bio(up, down, server_side=True)
        self.client = client.wrap_bio(down, up, server_hostname=host)

    def hello(self) -> None:
        """The client begins and the server answers; neither is done."""
        for side in (self.client, self.server):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
            raise AssertionError("a handshake of one message")

    def finish(self) -> x509.Certificate:
        """Completes it; the certificate that the client verified. Raises ssl.SSLError if not."""
        self.client.do_handshake()
        self.server.do_handshake()
        presented = self.client.getpeercert(binary_form=True)
        assert presented is not None
        return x509.load_der_x509_certificate(presented)

    def echo(self, text: bytes) -> bytes:
        """What the server reads of what the client sends."""
        self.client.write(text)
        return self.server.read()


def handshake(server: ssl.SSLContext, client: ssl.SSLContext) -> x509.Certificate:
    """A whole handshake; the certificate that the client verified."""
    started = Handshake(server, client)
    started.hello()
    return started.finish()
