"""Addresses of schedulers: tcp://HOST:PORT, or tls://HOST:PORT."""

import socket
import time
from urllib.parse import urlsplit

from gramdyn._errors import InputError


def check_address(address: str) -> tuple[str, str, int]:
    """Scheme, host and port of an address; a host in brackets stays so.

    Raises:
        InputError: if it is not one.
    """
    try:
        parts = urlsplit(address)
        scheme, host, port = parts.scheme, parts.hostname, parts.port
    except ValueError:
        scheme, host, port = "", None, None
    plain = scheme in ("tcp", "tls") and address.count("/") == 2
    if not plain or not host or not port:
        raise InputError(f"An address must be tcp://HOST:PORT, but this is {address!r}.")
    return scheme, f"[{host}]" if ":" in host else host, port


def check_free(address: str, host: str, port: int) -> None:
    """Refuse an address that this machine cannot listen at.

    Raises:
        InputError: if it is another machine's, or taken.
    """
    bare = host.strip("[]")
    try:
        family, *_, place = socket.getaddrinfo(bare, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, socket.SOCK_STREAM) as own:
            own.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            own.bind(place)  # no more: a worker that waits would take who listens for a scheduler
    except OSError as error:
        raise InputError(f"Cannot listen at {address}: {error.strerror or error}.") from None


def wait_until_open(address: str, host: str, port: int, seconds: float) -> None:
    """Wait until something listens at an address.

    Raises:
        InputError: if nothing does in that time.
    """
    until = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection((host.strip("[]"), port), timeout=5).close()
            return
        except OSError as error:
            if time.monotonic() >= until or isinstance(error, socket.gaierror):
                told = error.strerror or error
                raise InputError(f"Nothing answers at {address}: {told}.") from None
        time.sleep(0.2)
