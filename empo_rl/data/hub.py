"""Whether the hub answers, asked once: without a network each data set would be tried for half a minute, in vain."""

from __future__ import annotations

import os
import socket
from urllib.parse import urlsplit

_SECONDS = 5
_PROXIES = ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")


def stay_off_if_unreachable() -> str | None:
    """Tell Hugging Face's libraries, before they are imported, to read their cache alone; gives a line that says so.

    None: the hub answers, or its user said already that it must not be asked, or a proxy stands before it.
    """
    if os.environ.get("HF_HUB_OFFLINE") or any(os.environ.get(name) for name in _PROXIES):
        return None
    address = urlsplit(os.environ.get("HF_ENDPOINT", "https://huggingface.co"))
    host, port = address.hostname or "", address.port or (80 if address.scheme == "http" else 443)
    try:
        socket.create_connection((host, port), timeout=_SECONDS).close()
    except OSError as error:
        os.environ.update(HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1")
        return (
            f"{host} does not answer ({error.strerror or error}): only data sets in the local cache and files given in "
            "their place can be read"
        )
    return None
