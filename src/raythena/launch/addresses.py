"""Which of its addresses a node is known by.

A node of a large machine has several: a management network, the fast one, bridges of containers that are the same on every node
and lead nowhere. The right one is that from which the packets to the other nodes leave; the kernel's routing table knows it, and
is asked by connecting a datagram socket, which sends nothing. A site that knows better names the interface.
"""

from __future__ import annotations

import contextlib
import fcntl
import socket
import struct
from collections import Counter
from collections.abc import Iterable

from raythena.domain.errors import ClusterError, InvalidInput

_SIOCGIFADDR = 0x8915
_ANY_PORT = 9
_LOOPBACK = "127."


def own_address(interface: str, others: Iterable[str]) -> str:
    """The address of this node: that of `interface`, or the one that most of `others` (names or addresses) are reached from.

    Raises InvalidInput for an interface that is not there, ClusterError when nobody can be reached.
    """
    if interface:
        return interface_address(interface)
    others = list(others)
    votes = Counter(address for name in others if (address := source_address(name)))
    if not votes:
        raise ClusterError(f"no address of {socket.gethostname()} leads to {', '.join(others[:3]) or 'any other node'}")
    return votes.most_common(1)[0][0]


def source_address(host: str) -> str:
    """The address that packets to a host leave from; "" when its name is not known, or only this machine itself leads there."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((host, _ANY_PORT))
        address = str(probe.getsockname()[0])
        return "" if address.startswith(_LOOPBACK) else address
    return ""


def interface_address(interface: str) -> str:
    """The IPv4 address of an interface. Raises InvalidInput."""
    request = struct.pack("256s", interface.encode()[:15])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            answer = fcntl.ioctl(probe.fileno(), _SIOCGIFADDR, request)
        except OSError as problem:
            there = ", ".join(sorted(name for _, name in socket.if_nameindex()))
            where = f"{interface!r} on {socket.gethostname()}"
            raise InvalidInput(
                "settings", "launch.interface", f"{where}: {problem.strerror}", expected=f"an interface with an address: {there}"
            ) from problem
    return socket.inet_ntoa(answer[20:24])


def free_port(address: str) -> int:
    """A port nobody listens on at this address, at this moment. Raises OSError."""
    with socket.socket() as probe:
        probe.bind((address, 0))
        port: int = probe.getsockname()[1]
        return port
