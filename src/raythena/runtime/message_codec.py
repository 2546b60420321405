"""Values of ours as bytes and back, for messages between processes: msgpack, checked against the type that is expected.

Nothing is ever executed to read a message, as `pickle` would. Rules: what a type does not declare is refused; arrays of NumPy are
of plain numbers, or records of them, and are copied; a number of NumPy is read back as one of Python.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, TypeVar, get_origin

import msgspec
import numpy as np

T = TypeVar("T")


class BadMessage(Exception):
    """These bytes are no value of the type that is expected."""


def encode(value: object) -> bytes:
    """A value of ours, or a tuple of them, as bytes. Raises TypeError for what cannot be told."""
    return _ENCODER.encode(value)


def decoder(kind: type[T]) -> Callable[[bytes | msgspec.Raw], T]:
    """What reads bytes as a `kind`, which may be a `tuple[...]` of types. It raises BadMessage."""
    made = msgspec.msgpack.Decoder(kind, dec_hook=_read)

    def read(content: bytes | msgspec.Raw) -> T:
        try:
            return made.decode(content)
        except (msgspec.MsgspecError, ValueError, TypeError, OverflowError) as problem:
            raise BadMessage(f"no {getattr(kind, '__name__', kind)}: {problem}") from problem

    return read


def to_text(value: object) -> str:
    """A value of ours as JSON, whose whole numbers may be of any size, as those of a user's options may."""
    return json.dumps(msgspec.to_builtins(value, enc_hook=_plain))


def from_text(text: str, kind: type[T]) -> T:
    """What `to_text` wrote. Raises BadMessage."""
    try:
        return msgspec.convert(json.loads(text), kind, dec_hook=_read)
    except (msgspec.MsgspecError, ValueError, TypeError) as problem:
        raise BadMessage(f"no {kind.__name__}: {problem}") from problem


def _plain(value: object) -> object:
    if isinstance(value, np.ndarray):
        return (value.dtype.descr if value.dtype.names else value.dtype.str, value.tobytes())
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} cannot be put into a message")


def _read(kind: type, value: Any) -> object:
    if kind is object:  # a user's options: whatever JSON has
        return value
    if (get_origin(kind) or kind) is not np.ndarray:
        raise TypeError(f"{kind} cannot be read from a message")
    described, content = value
    dtype = np.dtype(described if isinstance(described, str) else [(str(name), str(form)) for name, form in described])
    return np.frombuffer(content, dtype).copy()


_ENCODER = msgspec.msgpack.Encoder(enc_hook=_plain)
