"""Whose a connection is, from what the kernel tells."""

import os
import socket

import pytest

from raythena.payloads.pilot.connection_owner import owner_of, owners_are_known


def test_our_own_connection_is_ours():
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        assert owner_of(client.getsockname(), server.getsockname()) == os.geteuid()
        assert owners_are_known(server.getsockname())
        assert owner_of(("127.0.0.1", 1), server.getsockname()) == -1


@pytest.mark.skipif(os.geteuid() != 0, reason="takes root to be somebody else")
def test_another_user_s_is_his():
    with socket.create_server(("127.0.0.1", 0)) as server:
        os.seteuid(65534)
        try:
            client = socket.create_connection(server.getsockname())
        finally:
            os.seteuid(0)
        with client:
            assert owner_of(client.getsockname(), server.getsockname()) == 65534


def test_where_the_kernel_tells_nothing_nothing_is_known(tmp_path):
    assert owner_of(("127.0.0.1", 1), ("127.0.0.1", 2), tmp_path / "none") is None


def test_a_line_that_was_not_read_is_looked_for_again(tmp_path):
    """As when another connection has gone between two pieces of the table."""

    class Table:
        texts = iter(["head\n", "head\n 0: 0100007F:C350 0100007F:1F90 01 0:0 0:0 0 77 0 5\n"])

        def read_text(self, encoding):
            return next(self.texts)

    assert owner_of(("127.0.0.1", 50000), ("127.0.0.1", 8080), Table()) == 77


def test_it_reads_what_the_kernel_writes(tmp_path):
    table = tmp_path / "tcp"
    table.write_text(
        "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
        "   0: 0100007F:C350 0100007F:1F90 01 00000000:00000000 00:00000000 00000000  1234        0 5 1 0 20 4 30 10 -1\n"
    )
    assert owner_of(("127.0.0.1", 50000), ("127.0.0.1", 8080), table) == 1234
    assert owner_of(("127.0.0.1", 8080), ("127.0.0.1", 50000), table) == -1
