"""JSON Schemas as they are meant: patterns are those of JavaScript, whose `$` is the end of a text and nothing before it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from jsonschema import Draft202012Validator, ValidationError, validators


def _pattern(_validator: object, pattern: str, instance: object, _schema: object) -> Iterator[ValidationError]:
    if isinstance(instance, str) and not re.search(
        pattern.removesuffix("$") + (r"\Z" if pattern.endswith("$") else ""), instance
    ):
        yield ValidationError(f"{instance!r} does not match {pattern!r}")


_Validator = validators.extend(Draft202012Validator, {"pattern": _pattern})


def validator(schema: Mapping[str, object]) -> Draft202012Validator:
    """What checks documents by `schema`, which must be one itself."""
    Draft202012Validator.check_schema(schema)
    return _Validator(schema)
