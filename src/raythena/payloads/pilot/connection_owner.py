"""Whose connection it is: the user behind the other end of a TCP connection within this machine.

A pilot cannot be given a secret that others would not see: its server's address stands on its command line. But the kernel
knows the owner of every socket of the machine, and tells everybody in `/proc/net/tcp`.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Literal

_TABLE = Path("/proc/net/tcp")
_LOOKS = 5
"""The table is read piece by piece, and while others open and close connections a line may slip between two pieces."""


def owner_of(client: tuple[str, int], server: tuple[str, int], table: Path = _TABLE) -> int | None:
    """User id of the client's end of a connection over IPv4; None when it cannot be known, -1 when there is no such one."""
    ends = [_as_in_table(*client), _as_in_table(*server)]
    for _ in range(_LOOKS):
        try:
            lines = table.read_text(encoding="ascii").splitlines()[1:]
        except OSError:
            return None
        for words in map(str.split, lines):
            if words[1:3] == ends:
                return int(words[7])
    return -1


def owners_are_known(server: tuple[str, int]) -> bool:
    """Whether this kernel tells whose a connection to `server` is, which listens already: tried with one of our own."""
    with socket.create_connection(server) as ours:
        return owner_of(ours.getsockname(), server) == os.geteuid()


def _as_in_table(host: str, port: int) -> str:
    """As the kernel writes it: the address in the machine's own order of bytes."""
    return f"{int.from_bytes(socket.inet_aton(host), _byte_order()):08X}:{port:04X}"


def _byte_order() -> Literal["little", "big"]:
    return "little" if socket.htonl(1) != 1 else "big"
