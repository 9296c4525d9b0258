"""Unplugs the network cable: names do not resolve and only this machine answers.

Python imports a `sitecustomize` that it finds on its path at its start, so with this folder on
PYTHONPATH every process that a test or a notebook starts is offline too. Each attempt fails at
once, with the error that an unplugged machine gives, rather than after a time-out.
"""

import errno
import ipaddress
import socket

_connect = socket.socket.connect
_connect_ex = socket.socket.connect_ex
_getaddrinfo = socket.getaddrinfo


def _is_here(host):
    """Whether `host` (a name, an address, bytes or None) is this very machine."""
    name = host.decode("ascii", "replace") if isinstance(host, bytes) else host or ""
    if name in ("", "localhost", socket.gethostname()):
        return True
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified or _is_own(address)


def _is_own(address):
    """Whether one of this machine's cards has the address: only then can it be bound. Ray asks."""
    family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((str(address), 0))
        except OSError:
            return False
    return True


def _is_allowed(sock, address):
    remote = sock.family in (socket.AF_INET, socket.AF_INET6)
    return not remote or _is_here(address[0])


def _offline_connect(sock, address):
    if not _is_allowed(sock, address):
        raise OSError(errno.ENETUNREACH, "Network is unreachable (tests run offline)")
    return _connect(sock, address)


def _offline_connect_ex(sock, address):
    return _connect_ex(sock, address) if _is_allowed(sock, address) else errno.ENETUNREACH


def _offline_getaddrinfo(host, *arguments, **options):
    if not _is_here(host):
        raise socket.gaierror(socket.EAI_AGAIN, "Name not resolved (tests run offline)")
    return _getaddrinfo(host, *arguments, **options)


socket.socket.connect = _offline_connect
socket.socket.connect_ex = _offline_connect_ex
socket.getaddrinfo = _offline_getaddrinfo
