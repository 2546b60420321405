"""What the system refuses a command, by name: a condition of this machine, with an exit code, and no defect of ours."""

from __future__ import annotations

import errno

from raythena.domain.errors import ClusterError, RaythenaError, StorageError

_MACHINE = frozenset((errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.ENOMEM, errno.EADDRINUSE, errno.EADDRNOTAVAIL))
"""Refusals that are no disk's."""


def refusal_of(error: OSError) -> RaythenaError:
    """`error` as an error of ours."""
    place = f": {error.filename}" if error.filename is not None else ""
    text = f"the system refused{place}: {error.strerror or error}"
    if error.errno in _MACHINE:
        return ClusterError(f"{text}; this machine, or what it allows a user, is exhausted (see `ulimit -a`)")
    return StorageError(text)
