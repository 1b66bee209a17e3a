"""The grammar of a recipe: sections with known settings, and entries chosen by name.

A *section* is a mapping of settings. An *entry* is one of several named things, each with settings of its own. They
are written in the shortest way that says enough::

    calibration: 500                        # one value, for the section's main setting
    schedule: cosine                        # by name, all settings at their defaults
    augment: [{rotate: 15}]                 # one value, for the entry's main setting
    optimizer: {adamw: {weight_decay: 0.01}}
"""
from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError, core_schema


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Return the known word closest to `word`, or None where none is close."""
    result = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return result[0] if result else None


def unknown_key(key: str, known: Iterable[str]) -> PydanticCustomError:
    known = sorted(known)
    return PydanticCustomError(
        "unknown_key", "{key} is not a setting", {"key": str(key), "nearest": nearest(str(key), known), "known": known})


class Section(BaseModel):
    """A mapping of settings. A key that is not a setting is refused with the nearest one that is."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def refuse_unknown_keys(cls, value: Any) -> Any:
        if isinstance(value, dict) and cls.model_config.get("extra") == "forbid":
            known = {field.alias or name for name, field in cls.model_fields.items()}
            for key in value:
                if key not in known:
                    raise unknown_key(key, known)
        return value


class ShortSection(Section):
    """A section that may be written as one bare value, as in ``calibration: 500``.

    Args (of the class statement):
        shorthand: the setting that the value is.
    """

    shorthand: ClassVar[str]

    @classmethod
    def __init_subclass__(cls, shorthand: str, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.shorthand = shorthand

    @model_validator(mode="before")
    @classmethod
    def read_bare_value(cls, value: Any) -> Any:
        return value if isinstance(value, (dict, cls)) else {cls.shorthand: value}

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: core_schema.CoreSchema, handler: Any) -> dict[str, Any]:
        settings = handler.resolve_ref_schema(handler(schema))
        description = settings.pop("description", "").split("\n")[0]
        return {"description": description, "anyOf": [settings["properties"][cls.shorthand], settings]}


def _is_kind(cls: type[Entry]) -> bool:
    return any("is_root" in vars(base) for base in cls.__bases__)


def inlined(schema: dict[str, Any]) -> dict[str, Any]:
    """Return a JSON Schema with its definitions put where they are referred to."""
    definitions = schema.pop("$defs", {})

    def put(node: Any) -> Any:
        if isinstance(node, list):
            return [put(value) for value in node]
        if isinstance(node, dict):
            if "$ref" in node:
                return {**put(definitions[node["$ref"].rpartition("/")[2]]),
                        **{k: v for k, v in node.items() if k != "$ref"}}
            return {key: put(value) for key, value in node.items()}
        return node

    return put(schema)


class Entry(Section):
    """One of several named choices. ``class Kind(Entry)`` opens a kind; ``class X(Kind, name="x")`` adds a choice to
    it.

    Args (of the class statement):
        name: how recipes call the choice.
        shorthand: the setting meant by a bare value, as ``peak`` in ``{one_cycle: 0.004}``.
    """

    is_root: ClassVar[bool] = True
    kind: ClassVar[str] = ""
    choices: ClassVar[dict[str, type[Entry]]] = {}
    entry_name: ClassVar[str | None] = None
    shorthand: ClassVar[str | None] = None

    @classmethod
    def __init_subclass__(cls, name: str | None = None, shorthand: str | None = None, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if name is None:
            if _is_kind(cls):  # else it is what some choices of a kind have in common
                cls.kind, cls.choices, cls.entry_name = cls.__name__.lower(), {}, None
        else:
            cls.entry_name, cls.shorthand = name, shorthand
            cls.choices[name] = cls

    def written(self) -> dict[str, Any]:
        """Return the entry as a recipe writes it, every setting filled in."""
        return {str(self.entry_name): self.model_dump(by_alias=True)}

    @classmethod
    def read(cls, value: Any) -> Entry:
        """Return the entry that a value stands for: a name, or a mapping of one name to settings.

        Raises:
            PydanticCustomError: the value names none, or has another shape; pydantic collects it.
        """
        if isinstance(value, Entry):
            return value
        name, settings = cls.name_and_settings(value)
        choice = cls.choices.get(name)
        if choice is None:
            raise PydanticCustomError("unknown_entry", "{kind} {entry} is not known", {
                "kind": cls.kind, "entry": name, "nearest": nearest(name, cls.choices), "known": sorted(cls.choices)})
        if settings is None:
            settings = {}
        elif not isinstance(settings, dict):
            if choice.shorthand is None:
                raise PydanticCustomError("entry_shape", "give its settings as a mapping", {"entry": name})
            settings = {choice.shorthand: settings}
        return choice.model_validate(settings)

    @classmethod
    def name_and_settings(cls, value: Any) -> tuple[str, Any]:
        """Return the name and the settings in a value. Kinds with another way of writing override this."""
        if isinstance(value, str):
            return value, None
        if isinstance(value, dict) and len(value) == 1:
            name, settings = next(iter(value.items()))
            return str(name), settings
        raise PydanticCustomError("entry_shape", "give a name, or one name with its settings", {"entry": cls.kind})

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> core_schema.CoreSchema:
        if not _is_kind(cls):
            return handler(source)
        return core_schema.no_info_plain_validator_function(
            cls.read, serialization=core_schema.plain_serializer_function_ser_schema(lambda entry: entry.written()))

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: core_schema.CoreSchema, handler: Any) -> dict[str, Any]:
        if not _is_kind(cls):
            return handler(schema)
        by_name = [name for name, choice in cls.choices.items()
                   if not any(field.is_required() for field in choice.model_fields.values())]
        properties = {}
        for name, choice in sorted(cls.choices.items()):
            settings = inlined(choice.model_json_schema())
            settings["description"] = (choice.__doc__ or "").split("\n")[0]
            if choice.shorthand:
                settings = {"anyOf": [settings["properties"][choice.shorthand], settings]}
            properties[name] = settings
        mapping = {"type": "object", "properties": properties, "minProperties": 1, "maxProperties": 1,
                   "additionalProperties": False}
        return {"anyOf": [{"enum": sorted(by_name)}, mapping]} if by_name else mapping


class Named(Section):
    """What kinds share whose choices a recipe may take several times: a name of one's own.

    Args:
        name: what its file or folder, its rows and its gates are called; the choice's own where not given.
    """

    entry_name: ClassVar[str | None]
    name: str | None = Field(None, pattern=r"^[a-z0-9][a-z0-9_-]*$", max_length=40)

    @property
    def title(self) -> str:
        """Return what tables and gates call it."""
        return self.name or str(self.entry_name)


Several = TypeVar("Several", bound=Named)


def once_each(entries: list[Several], plural: str, suffix: str) -> list[Several]:
    """Return the entries as they are. Raise PydanticCustomError where two have the same title.

    Args:
        plural: what they are called, for the message.
        suffix: of the name that the message proposes.
    """
    titles = [entry.title for entry in entries]
    repeated = next((title for position, title in enumerate(titles) if title in titles[:position]), None)
    if repeated is not None:
        raise PydanticCustomError("combination", "two {plural} are called {title}; give one of them another name, for "
                                  "instance {{title}: {name: {title}{suffix}}}",
                                  {"plural": plural, "title": repeated, "suffix": suffix})
    return entries
