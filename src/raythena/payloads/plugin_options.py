"""Reading a payload's or merger's options: what is there must have the right type, what is unknown is refused.

Every function raises InvalidInput naming the field below `payload.options`.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from raythena.domain.errors import InvalidInput

PREFIX = "payload.options"


def refuse_unknown(options: Mapping[str, Any], known: Sequence[str], source: str, prefix: str = PREFIX) -> None:
    """Refuse option names not in `known`, suggesting the nearest."""
    for name in options:
        if name not in known:
            near = difflib.get_close_matches(str(name), known, n=1)
            hint = f"Did you mean {near[0]}?" if near else ""
            raise InvalidInput(source, f"{prefix}.{name}", "unknown option", expected="one of " + ", ".join(known), hint=hint)


def string_list(options: Mapping[str, Any], name: str, source: str, prefix: str = PREFIX) -> list[str]:
    """A list of strings; empty when absent."""
    value = options.get(name, [])
    if not isinstance(value, list | tuple) or not all(isinstance(word, str) for word in value):
        raise InvalidInput(source, f"{prefix}.{name}", f"{value!r} is not a list of strings", expected="a list of strings")
    if any("\0" in word for word in value):
        raise InvalidInput(source, f"{prefix}.{name}", "a string contains a NUL character")
    return list(value)


def string_map(options: Mapping[str, Any], name: str, source: str, prefix: str = PREFIX) -> dict[str, str]:
    """A mapping of strings to strings; numbers become strings; empty when absent."""
    value = options.get(name, {})
    if not isinstance(value, Mapping):
        raise InvalidInput(source, f"{prefix}.{name}", f"{value!r} is not a mapping", expected="names with their values")
    for key, entry in value.items():
        usable = isinstance(key, str) and key and "=" not in key and isinstance(entry, str | int | float)
        if not usable or isinstance(entry, bool) or "\0" in f"{key}{entry}":
            raise InvalidInput(source, f"{prefix}.{name}.{key}", f"{entry!r} cannot be used", expected="a string or a number")
    return {key: str(entry) for key, entry in value.items()}


def checked_path(options: Mapping[str, Any], name: str, source: str, prefix: str = PREFIX) -> Path | None:
    """A directory; None when absent."""
    value = options.get(name)
    if value is None:
        return None
    if not isinstance(value, str) or not Path(value).is_dir():
        raise InvalidInput(source, f"{prefix}.{name}", f"{value!r} is not a directory", expected="an existing directory")
    return Path(value).absolute()


def function_name(options: Mapping[str, Any], name: str, source: str, prefix: str = PREFIX) -> str:
    """A function written as `package.module:function`; empty when absent."""
    value = options.get(name, "")
    if value == "":
        return ""
    module, colon, function = value.partition(":") if isinstance(value, str) else ("", "", "")
    parts = [*module.split("."), *function.split(".")]
    if not colon or not all(part.isidentifier() for part in parts):
        raise InvalidInput(source, f"{prefix}.{name}", f"{value!r} is not a function's name", expected="package.module:function")
    return str(value)


def max_events(options: Mapping[str, Any], instead_of: str, source: str) -> int | None:
    """The option `max_events`: for the job as PanDA wrote it, so not beside `instead_of`, which replaces that."""
    value, field = options.get("max_events"), f"{PREFIX}.max_events"
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not (value == -1 or value > 0):
        raise InvalidInput(source, field, f"is {value!r}", expected="a number of events, or -1 for all")
    if instead_of in options:
        hint = f"Write --maxEvents into `{instead_of}`"
        raise InvalidInput(source, field, f"is given together with `{instead_of}`, which says itself what to run", hint=hint)
    return value
