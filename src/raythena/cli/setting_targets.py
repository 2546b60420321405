"""Where a setting goes: the fields of the configurations that the runtime, the engine and the gateways decide by.

A setting is declared once. What it means, which values it takes and where it goes stands in `cli.settings`; its default stands
in the configuration it goes to, because the engine and the tests use those without any command. So the default is read from
there, and the value is put there, by the same path: nothing is copied by hand, and a path that leads nowhere fails at once.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import MISSING, Field, dataclass, fields, replace
from typing import Any, TypeVar

import pydantic
from pydantic.fields import FieldInfo

C = TypeVar("C")


@dataclass(frozen=True, slots=True)
class Target:
    """A field of a configuration: `path` is dotted, each part but the last names a configuration inside the one before."""

    config: type
    path: str

    @property
    def default(self) -> object:
        """The default of that field. Raises TypeError if there is no such field, or it has no plain default."""
        *parts, last = self.path.split(".")
        holder = self.config
        for part in parts:
            inner: object = _field(holder, part).default_factory
            holder = inner if isinstance(inner, type) else _nothing(holder, part)
        default: object = _field(holder, last).default
        return _nothing(holder, last) if default is MISSING else default


@dataclass(frozen=True, slots=True)
class Purpose:
    """What pydantic keeps for us with a field: where its value goes, and in words what it takes if the bounds do not say it."""

    targets: tuple[Target, ...]
    expected: str = ""

    def __call__(self, schema: dict[str, Any]) -> None:
        """Pydantic asks what to add to the JSON Schema of the field: nothing of this."""


def setting(description: str, *targets: Target, expected: str = "", **constraints: Any) -> Any:
    """Declare a setting that goes to `targets`, all of which must have the same default.

    `expected` says in words what is taken where the bounds among `constraints` (pydantic's) do not. Raises TypeError.
    """
    defaults = {target.default for target in targets}
    if len(defaults) > 1:
        raise TypeError(f"{description}: the targets have different defaults: {sorted(map(str, defaults))}")
    constraints.setdefault("default", next(iter(defaults), ...))
    return pydantic.Field(description=description, json_schema_extra=Purpose(targets, expected), **constraints)


def purpose_of(info: FieldInfo) -> Purpose:
    """What was declared with a field of settings; nothing, for one declared without `setting`."""
    return info.json_schema_extra if isinstance(info.json_schema_extra, Purpose) else Purpose(())


def filled(config: C, values: Iterable[tuple[Target, object]]) -> C:
    """`config` with each value where its target says; targets in configurations of other types are left out."""
    for target, value in values:
        if target.config is type(config):
            config = _placed(config, target.path.split("."), value)
    return config


def _placed(config: Any, path: list[str], value: object) -> Any:
    first, *rest = path
    return replace(config, **{first: _placed(getattr(config, first), rest, value) if rest else value})


def _field(holder: type, name: str) -> Field[object]:
    return next((field for field in fields(holder) if field.name == name), None) or _nothing(holder, name)


def _nothing(holder: type, name: str) -> Any:
    raise TypeError(f"{holder.__name__}.{name} is no field with a default, and no setting can go there")
