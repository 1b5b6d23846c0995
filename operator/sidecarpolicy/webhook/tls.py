"""What the webhook serves TLS with: a context whose certificate is exchanged while it serves."""

import logging
import os
import ssl
from typing import Final

from sidecarpolicy.webhook.pki import read_certificates

log = logging.getLogger(__name__)

_NO_PEM: Final = "they are not both PEM, or the key is encrypted"


class ServingContext:
    """An SSLContext for a server, and the certificate that its next handshakes present."""

    def __init__(self) -> None:
        self.context = _context()
        self._presented: bytes | None = None

    @property
    def loaded(self) -> bool:
        """Whether there is a certificate to serve with."""
        return self._presented is not None

    def present(self, chain: bytes, key: bytes) -> str:
        """Has new handshakes present this PEM chain; why it cannot be, or nothing.

        Connections that exist go on with what they have. What cannot be used changes nothing.
        """
        wanted = chain + key
        if wanted == self._presented:
            return ""
        try:
            # A live context that refuses a key has lost its certificate: another one tries first.
            _load(_context(), wanted)
            _load(self.context, wanted)
        except ssl.SSLError as error:
            return f"certificate and key cannot be used: {error.reason or _NO_PEM}"
        self._presented = wanted
        for leaf in read_certificates(chain)[:1]:
            log.info("A new certificate is served; it ends on %s", leaf.not_valid_after_utc.date())
        return ""


def _context() -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)  # TLS 1.2 and newer
    context.set_alpn_protocols(["http/1.1"])
    return context


def _load(context: ssl.SSLContext, chain_and_key: bytes) -> None:
    """OpenSSL reads files only, so the key is in one that is nowhere but in memory."""
    with open(os.memfd_create("tls"), "wb", buffering=0) as file:
        file.write(chain_and_key)
        # A password, because OpenSSL would ask the terminal for that of an encrypted key.
        context.load_cert_chain(f"/proc/self/fd/{file.fileno()}", password="")
