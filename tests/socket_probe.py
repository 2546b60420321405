"""What processes listen on, and what a stranger gets there. For tests of security on one machine, and on each node of several.

A stranger knows the protocols (Ray's gRPC, HTTP) and has no token. gRPC is spoken by hand: Ray's own client refuses by itself to
talk without a token, and so shows nothing about the port.
"""

import re
import socket
import struct
from dataclasses import dataclass
from pathlib import Path

METHODS = (
    "/ray.rpc.NodeInfoGcsService/GetAllNodeInfo",
    "/ray.rpc.ActorInfoGcsService/GetAllActorInfo",
    "/ray.rpc.InternalKVGcsService/InternalKVKeys",
    "/ray.rpc.JobInfoGcsService/GetAllJobInfo",
    "/ray.rpc.NodeManagerService/GetNodeStats",
    "/ray.rpc.NodeManagerService/GetSystemConfig",
    "/ray.rpc.CoreWorkerService/GetCoreWorkerStats",
    "/ray.rpc.ObjectManagerService/FreeObjects",
)
"""One or two of every service of Ray's."""
PAGES = ("/", "/api/version", "/api/jobs/", "/metrics", "/logs", "/nodes", "/get_or_create_runtime_env")
_DATA, _HEADERS, _RST_STREAM, _SETTINGS, _GOAWAY = 0, 1, 3, 4, 7
_END_STREAM, _END_HEADERS, _ACK = 1, 4, 1
_EMPTY_MESSAGE = bytes(5)
_LISTENS = "0A"
_PATIENCE_S = 3.0


@dataclass(frozen=True)
class Listening:
    """A TCP socket that a process listens on; `address` is "" for all interfaces."""

    pid: int
    address: str
    port: int


def listening(pids):
    """The TCP sockets on which these processes listen."""
    owners = _owners(pids)
    found = []
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            words = line.split()
            if words[3] == _LISTENS and (pid := owners.get(words[9])):
                address, port = words[1].split(":")
                found.append(Listening(pid, _readable(address), int(port, 16)))
    return sorted(found, key=lambda one: one.port)


def unix_sockets(pids):
    """The paths at which these processes have Unix sockets; abstract ones begin with @."""
    owners = _owners(pids)
    rows = [line.split(maxsplit=7) for line in Path("/proc/net/unix").read_text().splitlines()[1:]]
    return sorted({row[7] for row in rows if len(row) == 8 and row[6] in owners})


def is_private(path):
    """Whether a directory above the path lets nobody but its owner through."""
    return any(place.exists() and place.stat().st_mode & 0o077 == 0 for place in Path(path).parents)


def grpc_answer(host, port, method, token="", patience_s=_PATIENCE_S):
    """Bytes of the messages with which a method of a gRPC service answers an empty request; none when it is refused."""
    headers = {":method": "POST", ":scheme": "http", ":path": method, ":authority": host}
    headers |= {"content-type": "application/grpc", "te": "trailers"}
    if token:
        headers["authorization"] = f"Bearer {token}"
    packed = b"".join(_literal(name, value) for name, value in headers.items())
    request = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + _frame(_SETTINGS, 0, 0, b"")
    request += _frame(_HEADERS, _END_HEADERS, 1, packed) + _frame(_DATA, _END_STREAM, 1, _EMPTY_MESSAGE)
    said = _exchange(host, port, request, _frame(_SETTINGS, _ACK, 0, b""), until=_stream_ended, patience_s=patience_s)
    return b"".join(content for kind, _, content in _frames(said) if kind == _DATA)


def http_answer(host, port, page, method="GET"):
    """Status and body of a page; (0, b"") where no HTTP is spoken."""
    text = f"{method} {page} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    said = _exchange(host, port, text.encode(), until=lambda said: not said.startswith(b"HTTP/"))
    head, _, body = said.partition(b"\r\n\r\n")
    status = re.match(rb"HTTP/1\.\d (\d+)", head)
    return (int(status[1]), body) if status else (0, b"")


def what_a_stranger_gets(host, port):
    """Everything of substance that a port tells without a token, by question."""
    told = {method: answer for method in METHODS if (answer := grpc_answer(host, port, method))}
    for page in PAGES:
        for method in ("GET", "POST"):
            status, body = http_answer(host, port, page, method)
            if 200 <= status < 300:
                told[f"{method} {page}"] = body
    return told


def _owners(pids):
    """The process of each socket, by inode."""
    links = ((pid, _target(path)) for pid in pids for path in _descriptors(pid))
    return {match[1]: pid for pid, link in links if (match := re.fullmatch(r"socket:\[(\d+)\]", link))}


def _descriptors(pid):
    try:
        return list(Path(f"/proc/{pid}/fd").iterdir())
    except OSError:  # it has ended
        return []


def _target(path):
    try:
        return str(path.readlink())
    except OSError:  # it has been closed
        return ""


def _readable(address):
    if len(address) == 8:
        text = socket.inet_ntop(socket.AF_INET, struct.pack("=I", int(address, 16)))
    else:
        text = socket.inet_ntop(socket.AF_INET6, struct.pack("=4I", *(int(address[at : at + 8], 16) for at in range(0, 32, 8))))
    return "" if text in ("0.0.0.0", "::") else text.removeprefix("::ffff:")


def _literal(name, value):
    """A header field that is in no table and must not enter one."""
    return b"\x10" + b"".join(_length(len(word)) + word.encode() for word in (name, value))


def _length(size):
    if size < 127:
        return bytes([size])
    return bytes([127, size - 127]) if size < 255 else bytes([127, 128 | (size - 127) & 127, (size - 127) >> 7])


def _frame(kind, flags, stream, content):
    return struct.pack(">I", len(content))[1:] + struct.pack(">BBI", kind, flags, stream) + content


def _frames(said):
    """Kind, flags and content of each whole frame."""
    while len(said) >= 9 and len(said) >= 9 + (size := int.from_bytes(said[:3], "big")):
        yield said[3], said[4], said[9 : 9 + size]
        said = said[9 + size :]


def _stream_ended(said):
    """Whether a server of HTTP/2 has answered the one request, or has ended the conversation."""
    return any(
        kind in (_RST_STREAM, _GOAWAY) or (kind in (_DATA, _HEADERS) and flags & _END_STREAM) for kind, flags, _ in _frames(said)
    )


def _exchange(host, port, request, then=b"", *, until=bool, patience_s=_PATIENCE_S):
    """What comes back until the other side is silent, or what has come is enough."""
    said = b""
    try:
        with socket.create_connection((host, port), patience_s) as link:
            link.sendall(request)
            while not (said and until(said)) and (piece := link.recv(1 << 16)):
                said += piece
                link.sendall(then)
                then = b""
    except OSError:
        pass
    return said
