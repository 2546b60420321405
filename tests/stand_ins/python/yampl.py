"""A stand-in for yampl in pure Python, for tests: sockets that carry whole messages between processes of one machine.

What Pilot and AthenaMP use of the real module is here, with the same names: `ServerSocket` and `ClientSocket`, made with the name
of a channel and a context, `send_raw`, `recv_raw` and `try_recv_raw`, which answers with size -1 when there is nothing. A server
has any number of clients, and what it sends goes to the client it last received from: that is how AthenaMP's scatterer serves
its workers, and how Pilot serves the scatterer.

Left out: the contexts other than `local` (every context is local here), pickling (`send`, `recv`), peer ids, plug-ins. Different
from the real one: a channel is a Unix socket in `/tmp`, under the name of the real one's pipe, so it is as machine-wide as that,
and what a killed process left is in the next one's way only while a server answers there; a message holds at most some 200
kilobytes and at least one byte; a client whose server is gone gets a ConnectionResetError, where the real one waits for ever.
"""

import contextlib
import select
import socket
import time
from pathlib import Path

CONNECT_LIMIT_S = 30.0
LARGEST_BYTES = 1 << 18
CONTEXTS = ("THREAD", "LOCAL_SHM", "LOCAL_PIPE", "LOCAL", "DISTRIBUTED")


def _address(name, context):
    if context.upper() not in CONTEXTS:
        raise NameError(f"{context} is not a valid context")
    return f"/tmp/fifo_{name}"


def _bind(listener, path):
    """Raises OSError when a server answers there; what a dead one left is removed."""
    try:
        listener.bind(path)
    except OSError:
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as probe:
            if probe.connect_ex(path) == 0:
                raise
        Path(path).unlink()
        listener.bind(path)


class ServerSocket:
    """The end of a channel that many clients talk to."""

    def __init__(self, name, context):
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._listener.setblocking(False)
        _bind(self._listener, _address(name, context))
        self._listener.listen(1024)
        self._poll = select.poll()
        self._poll.register(self._listener, select.POLLIN)
        self._clients = {}
        self._readable = []
        self._last = None

    def send_raw(self, message):
        """Send bytes to the client last received from. When that is gone, they are lost without a word.

        The pilot says "No more events" once more after its payload has ended, and calls the job failed when that raises.
        """
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            if self._last is not None:
                self._last.setblocking(True)
                self._last.send(message)

    def try_recv_raw(self, timeout=0):
        """(size, bytes) of a message that is there, or comes within `timeout` milliseconds; (-1, b"") when there is none."""
        while True:
            while self._readable:
                message = self._receive(self._readable.pop(0))
                if message:
                    return len(message), message
            events = self._poll.poll(timeout)
            if not events:
                return -1, b""
            timeout = None if timeout is None else 0
            for descriptor, _ in events:
                if descriptor == self._listener.fileno():
                    self._accept()
                else:
                    self._readable.append(descriptor)

    def recv_raw(self):
        """(size, bytes) of the next message, however long it takes."""
        return self.try_recv_raw(None)

    def _accept(self):
        with contextlib.suppress(BlockingIOError):
            client, _ = self._listener.accept()
            self._clients[client.fileno()] = client
            self._poll.register(client, select.POLLIN)

    def _receive(self, descriptor):
        client = self._clients[descriptor]
        try:
            message = client.recv(LARGEST_BYTES, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return b""
        except OSError:
            message = None
        if message:
            self._last = client
            return message
        self._poll.unregister(client)
        del self._clients[descriptor]
        if self._last is client:
            self._last = None
        client.close()
        return b""


class ClientSocket:
    """The end of a channel that talks to the one server. Waits for the server to be there."""

    def __init__(self, name, context):
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        deadline = time.monotonic() + CONNECT_LIMIT_S
        while True:
            try:
                self._socket.connect(_address(name, context))
                return
            except (ConnectionRefusedError, FileNotFoundError):
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.005)

    def send_raw(self, message):
        """Send bytes. Raises OSError when the server is gone."""
        self._socket.send(message)

    def recv_raw(self):
        """(size, bytes) of the next message, however long it takes. Raises ConnectionResetError when the server is gone."""
        message = self._socket.recv(LARGEST_BYTES)
        if not message:
            raise ConnectionResetError("the server has closed the channel")
        return len(message), message

    def try_recv_raw(self, timeout=0):
        """(size, bytes) of a message that is there, or comes within `timeout` milliseconds; (-1, b"") when there is none."""
        if not select.select([self._socket], [], [], timeout / 1000)[0]:
            return -1, b""
        return self.recv_raw()
