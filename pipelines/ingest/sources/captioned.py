"""The examples of another source, each with a text about it that is made of its class."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from etils import epy
from pydantic import Field as Setting
from pydantic import field_validator
from pydantic_core import PydanticCustomError

from pipelines.errors import UserError
from pipelines.features.feature import Field
from pipelines.ingest.index import Part
from pipelines.ingest.sources.source import Source

with epy.lazy_imports():
    import numpy as np
    import tensorflow as tf

SETTING = "data.source.captioned"
#: What examples have more than the other source's, and where its class is put in a template.
TEXT, CLASS = "text", "{class}"
#: How classes are said whose names are digits.
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
TEMPLATES = ("a {class}", "the {class}", "{class}", "an image of a {class}", "a picture of a {class}")
#: Words that begin with a vowel and are not said so, by how they begin.
CONSONANTS = ("one", "uni", "eu", "use")


class Captioned(Source, name="captioned", shorthand="of"):
    """The examples of another source with a field `text`: one of some texts about their class.

    Which text an example has is drawn by its name, so that it is always the same.

    Args:
        of: the other source, as a recipe writes it; its examples have a class.
        templates: texts, in which {class} stands for the class; "a" before it becomes "an" where the class begins with
            a vowel.
        words: what classes are called, by their names; digits are called zero to nine, and others by their names, with
            spaces for underscores, where not given.
        label: the field of the classes.
    """

    of: str | dict[str, Any]
    templates: tuple[Annotated[str, Setting(min_length=1)], ...] = Setting(TEMPLATES, min_length=1)
    words: dict[str, str] = {}
    label: str = Setting("label", min_length=1)

    @field_validator("templates")
    @classmethod
    def must_name_the_class(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        without = next((one for one in value if CLASS not in one), None)
        if without is not None:
            raise PydanticCustomError("template", "says nothing of the class: {template}; put {{class}} into it",
                                      {"template": without})
        return value

    @field_validator("of")
    @classmethod
    def must_be_a_source(cls, value: Any) -> Any:
        Source.read(value)
        return value

    @property
    def source(self) -> Source:
        """Return the source of the examples."""
        return Source.read(self.of)  # type: ignore[return-value]

    def fingerprint(self) -> str:
        return f"captioned {self.templates} {self.words} {self.label} {self.source.entry_name} " \
               f"{self.source.fingerprint()}"

    def prepare(self) -> None:
        self.source.prepare()

    def ready(self) -> bool:
        return self.source.ready()

    def fields(self) -> dict[str, Field]:
        known = self.source.fields()
        if TEXT in known:
            raise UserError(f"{SETTING}: {self.source.entry_name} has texts of its own; take it as it is")
        if self.label not in known or known[self.label].kind != "class":
            classes = [name for name, field in known.items() if field.kind == "class"]
            raise UserError(f"{SETTING}.label: {self.source.entry_name} has no classes called {self.label}; "
                            f"{'give one of ' + ', '.join(classes) if classes else 'give a source of classes'}")
        names = known[self.label].names or []
        if other := next((name for name in self.words if name not in names), None):
            raise UserError(f"{SETTING}.words: there is no class {other}; there are {', '.join(names)}")
        return {**known, TEXT: Field(kind="text")}

    def parts(self) -> list[Part]:
        return self.source.parts()

    def size(self, part: Part) -> int | None:
        return self.source.size(part)

    def column(self, part: Part, field: str, positions: Sequence[int] | None = None) -> np.ndarray | None:
        return None if field == TEXT else self.source.column(part, field, positions)

    def examples(self, part: Part, positions: Sequence[int] | None = None) -> tf.data.Dataset:
        table = tf.constant(captions(self.source.fields()[self.label].names or [], self.templates, self.words))

        def with_text(example: dict[str, Any]) -> dict[str, Any]:
            known = tf.gather(table, tf.cast(example[self.label], tf.int32))
            return {**example, TEXT: known[tf.strings.to_hash_bucket_fast(example["id"], len(self.templates))]}

        return self.source.examples(part, positions).map(with_text, num_parallel_calls=tf.data.AUTOTUNE)


def captions(names: Sequence[str], templates: Sequence[str], words: dict[str, str]) -> list[list[str]]:
    """Return the texts about each class, a list for each.

    Args:
        names: of the classes.
        words: what classes are called in them, by their names.
    """
    return [[_written(template, words.get(name) or _said(name)) for template in templates] for name in names]


def _said(name: str) -> str:
    is_digit = len(name) == 1 and name in "0123456789"
    return DIGITS[int(name)] if is_digit else name.replace("_", " ")


def _written(template: str, word: str) -> str:
    begins = word.lower().startswith(tuple("aeiou")) and not word.lower().startswith(CONSONANTS)
    text = f" {template}".replace(f" a {CLASS}", f" an {CLASS}") if begins else f" {template}"
    return text[1:].replace(CLASS, word)
