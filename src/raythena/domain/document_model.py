"""Documents declared as pydantic models, refused in the words of `document`.

A model declares which keys a mapping has, what each takes and what it means. From that follow the check of a document, its JSON
Schema and its table in the manual, so they cannot say different things. The words of a refusal stay with `FieldPath`: a check is
a function of a place, and what it raises is carried through pydantic with the place it belongs to.

Rules: an empty value (null) counts as left out, as everywhere in documents; a mapping of several shapes is told apart by the one
key only that shape has; a pattern is one that Python and JavaScript read alike, because editors and we must refuse the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, ValidationError, model_validator
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import CoreSchema, ErrorDetails, PydanticCustomError, core_schema

from raythena.domain.document import FieldPath, shown
from raythena.domain.errors import InvalidInput

SCHEMA_DIALECT = "https://json-schema.org/draft/2020-12/schema"

_CONTROL = r"[\x00-\x1f\x7f]"
LINE_SCHEMA: Mapping[str, object] = {"type": "string", "pattern": r"\S", "not": {"pattern": _CONTROL}}
"""What `FieldPath.text` takes."""

_REFUSED = "refused"

Check = Callable[[FieldPath], object]
M = TypeVar("M", bound=BaseModel)


class DocumentModel(BaseModel):
    """A mapping with known keys. A field without default is required; its description is what the manual says."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", use_attribute_docstrings=False)

    stranger: ClassVar[tuple[str, str]] = ("", "")
    """Of a model that is one shape among several: what is said of a key of another shape, and what is expected instead."""

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, value: object) -> object:
        required = [info.alias or name for name, info in cls.model_fields.items() if info.is_required()]
        checked = _carried(lambda place: cls._looked_at(place.mapping(cls.known(), required)), value)
        return {key: entry for key, entry in checked.items() if entry is not None}

    @classmethod
    def known(cls) -> list[str]:
        """The keys of the mapping: fields, or what they are called in documents where that is no name for Python."""
        return [info.alias or name for name, info in cls.model_fields.items()]

    @classmethod
    def _looked_at(cls, place: FieldPath) -> Any:
        cls.check_together(place)
        return place.value

    @classmethod
    def check_together(cls, place: FieldPath) -> None:
        """Refuse keys that do not go with each other. The model says the same in its JSON Schema, by `json_schema_extra`."""


@dataclass(frozen=True, slots=True, eq=False)
class Checked:
    """Annotation of a value that a check of ours accepts or refuses, and its JSON Schema."""

    check: Check
    schema: Mapping[str, object]

    def __get_pydantic_core_schema__(self, _source: object, _handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(lambda value: _carried(self.check, value))

    def __get_pydantic_json_schema__(self, _core: CoreSchema, _handler: object) -> dict[str, Any]:
        return dict(self.schema)


def line(check: Check, pattern: str = r"\S", unwanted: str = _CONTROL, **more: object) -> Checked:
    """A line of text that `check` takes; in the schema, one in which `pattern` is found and `unwanted` is not."""
    return Checked(check, {**LINE_SCHEMA, "pattern": pattern, "not": {"pattern": unwanted}, **more})


def whole_number(maximum: int | None = None, minimum: int = 1) -> Checked:
    """A whole number; 500.0 is one, as in JSON Schema."""
    schema = {"type": "integer", "minimum": minimum} | ({} if maximum is None else {"maximum": maximum})
    return Checked(lambda place: _whole(place).count(minimum=minimum, maximum=maximum), schema)


def _whole(place: FieldPath) -> FieldPath:
    value = place.value
    return FieldPath(place.source, place.field, int(value)) if isinstance(value, float) and value.is_integer() else place


@dataclass(frozen=True, slots=True)
class Entries:
    """Annotation of a tuple that is a list in the document."""

    at_least: int = 0

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        def listed(place: FieldPath) -> object:
            return tuple(item.value for item in place.items(at_least=self.at_least))

        return core_schema.no_info_before_validator_function(lambda value: _carried(listed, value), handler(source))

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: Callable[[CoreSchema], dict[str, Any]]) -> dict[str, Any]:
        return handler(core) | ({"minItems": self.at_least} if self.at_least else {})


@dataclass(frozen=True, slots=True, eq=False)
class ListOr:
    """Annotation of a union of a tuple, which is a list of at least one, and a model, which is a mapping."""

    model: type[DocumentModel]

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        listed = next(each for each in get_args(source) if each is not self.model)
        choices = {
            _tag("list"): handler.generate_schema(Annotated[listed, Entries(at_least=1)]),
            _tag("mapping"): handler.generate_schema(self.model),
        }
        return core_schema.tagged_union_schema(choices, lambda value: _tag("mapping" if isinstance(value, dict) else "list"))


@dataclass(frozen=True, slots=True, eq=False)
class Shapes:
    """Annotation of a union: a mapping with exactly one of these keys, each with the model that has it; or `text`."""

    models: Mapping[str, type[DocumentModel]]
    text: Checked | None = None

    def __get_pydantic_core_schema__(self, _source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        choices = {_tag(key): handler.generate_schema(model) for key, model in self.models.items()}
        if self.text is not None:
            choices[_tag("")] = handler.generate_schema(Annotated[str, self.text])
        union = core_schema.tagged_union_schema(choices, discriminator=self._shape)
        return core_schema.no_info_before_validator_function(lambda value: _carried(self._check, value), union)

    def _shape(self, value: object) -> str:
        return _tag(next(key for key in self.models if value.get(key) is not None) if isinstance(value, dict) else "")

    def _check(self, place: FieldPath) -> object:
        """Refuse what is none of the shapes, or two at once."""
        if self.text is not None and isinstance(place.value, str):
            return place.value
        place.mapping(list(dict.fromkeys([*self.models, *(key for model in self.models.values() for key in model.known())])))
        given = [key for key in self.models if place.entry(key).given]
        if len(given) != 1:
            raise self._undecided(place, given)
        model = self.models[given[0]]
        for key in place.value:
            if key not in model.known():
                problem, expected = model.stranger
                problem = problem or f"does not go with {given[0]}"
                raise place.entry(key).refuse(problem, expected=expected or "only " + ", ".join(model.known()))
        return place.value

    def _undecided(self, place: FieldPath, given: list[str]) -> InvalidInput:
        keys, pair = list(self.models), len(self.models) == 2
        if given:
            problem = f"has {'both ' if len(given) == 2 else ''}" + " and ".join(given)
        else:
            problem = f"has neither {keys[0]} nor {keys[1]}" if pair else "has none of " + ", ".join(keys)
        among = {2: "two", 3: "three"}.get(len(given or keys), "keys")
        hint = f"{'Keep' if given else 'Give'} one of the {among}"
        return place.refuse(problem, expected="one of " + ", ".join(keys), hint=hint)


def _tag(key: str) -> str:
    """The name of a shape among pydantic's places: one that stands before a key, where a document has none of that name."""
    return f"<{key}>"


def _carried(check: Callable[[FieldPath], Any], value: object) -> Any:
    """What `check` makes of `value`; its refusal in the envelope pydantic hands on."""
    try:
        return check(FieldPath("", "", value))
    except InvalidInput as refusal:
        raise PydanticCustomError(_REFUSED, "{text}", {"text": str(refusal), "refusal": refusal}) from refusal


def parsed(model: type[M], place: FieldPath) -> M:
    """The document at `place` as `model`. Raises InvalidInput for the first thing wrong in it."""
    try:
        return model.model_validate(place.value)
    except ValidationError as error:
        raise _refusal(error.errors(include_url=False)[0], place) from None


def _refusal(details: ErrorDetails, place: FieldPath) -> InvalidInput:
    """The refusal at its place in the document. Tags of shapes are no part of it."""
    refusal = details.get("ctx", {}).get("refusal")
    if not isinstance(refusal, InvalidInput):  # nothing of ours: pydantic's own words are better than none
        refusal = InvalidInput("", "", f"is {shown(details['input'])}", expected=details["msg"])
    field_path = place.field
    for part in details["loc"]:
        if isinstance(part, int):
            field_path += f"[{part}]"
        elif not (part.startswith("<") and part.endswith(">")):
            field_path = _below(field_path, part)
    if refusal.field:
        field_path = _below(field_path, refusal.field)
    return InvalidInput(place.source, field_path, refusal.problem, expected=refusal.expected, hint=refusal.hint)


def _below(field_path: str, part: str) -> str:
    return f"{field_path}.{part}" if field_path and not part.startswith("[") else field_path + part


class _Schema(GenerateJsonSchema):
    """Without titles, which say no more than the key."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


def json_schema(model: type[BaseModel], title: str) -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a model."""
    schema = model.model_json_schema(schema_generator=_Schema)
    for part in (schema, *schema.get("$defs", {}).values()):
        part.pop("title", None)
    return {"$schema": SCHEMA_DIALECT, "title": title, **schema}
