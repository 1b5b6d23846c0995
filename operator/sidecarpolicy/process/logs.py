"""Logging: one line an event for people, one JSON object a line for collectors.

Objects' bodies are never logged: they may hold what is none of a log's business.
"""

import logging
import sys

from pythonjsonlogger.json import JsonFormatter

_PLAIN = "%(asctime)s %(levelname)-7s %(message)s"
_FIELDS = "{levelname}{name}{message}"


def configure_logging(*, as_json: bool, debug: bool) -> None:
    """Sets up the process's logging, once."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        JsonFormatter(_FIELDS, style="{", timestamp=True) if as_json else logging.Formatter(_PLAIN)
    )
    logging.basicConfig(level=logging.DEBUG if debug else logging.INFO, handlers=[handler])
    if not debug:
        # Kopf reports every handled event, and a node sends one every few minutes.
        logging.getLogger("kopf").setLevel(logging.WARNING)
