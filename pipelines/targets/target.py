"""What a target is, and what it makes its files from."""
from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar, TypedDict

from etils import epy
from pydantic import Field

from export.artifacts import Exported, artifact_name
from export.targets import tools
from export.tflite.metadata import Description
from pipelines.entries import Entry, Named
from pipelines.ingest.data import Data
from pipelines.variants.record import VariantRecord, zipped_size
from pipelines.variants.variant import Variant

with epy.lazy_imports():
    import numpy as np

#: Held-out examples that scores are calibrated on, at most.
CALIBRATING = 1000


@dataclasses.dataclass(frozen=True)
class ExportContext:
    """What a target loads its files from, and where it puts them.

    Args:
        model: the trained model's file.
        variants: what compression made, by name.
        files: the folder of the variants' TFLite files.
        about: what the model says of itself, its class names and its signature too.
        data: what it has learnt from, and the task.
        folder: for all exported files.
    """

    model: Path
    variants: dict[str, VariantRecord]
    files: Path
    about: Description
    data: Data
    folder: Path

    def file(self, variant: str) -> Path:
        """Return the variant's TFLite file."""
        return self.files / f"{variant}.tflite"

    def relative(self, path: Path) -> str:
        """Return an exported file's path as records have it."""
        return path.relative_to(self.folder).as_posix()

    def validation(self) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """Return inputs and targets of the validation split, as many as calibrate well."""
        examples = self.data.index.splits["validation"].examples
        return self.data.arrays("validation", min(examples, CALIBRATING))


class Target(Named, Entry):
    """A place where the model must run."""

    #: The extra of this package that brings its tools, if it needs any.
    extra: ClassVar[str] = ""
    #: Whether what it makes can be run, and so measured, on this machine.
    runs: ClassVar[bool] = True
    #: What its compiler says of each file, by the names that gates ask for.
    estimates: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def ready(cls) -> str:
        """Return what keeps every target of this kind from being made here, and what to install; empty where nothing
        does."""
        return tools.missing(cls.extra) if cls.extra else ""

    def missing(self) -> str:
        """Return the same for this one, with its settings."""
        return self.ready()

    def versions(self) -> dict[str, str]:
        """Return the versions of its tools, if they are there: other tools make other files."""
        return tools.versions(self.extra) if self.extra else {}

    def chosen(self, variants: Sequence[Variant]) -> list[str]:
        """Return the names of the forms that it makes of the recipe's variants. Raises ValueError where there are
        none."""
        raise NotImplementedError

    def artifacts(self, variants: Sequence[Variant]) -> list[str]:
        """Return how gates call what it makes."""
        return [artifact_name(self.title, variant) for variant in self.chosen(variants)]

    def export(self, context: ExportContext, chosen: Sequence[str]) -> list[Exported]:
        """Make its files; return what was made. Raises ValueError where one cannot be made, or the target cannot take
        the task's signature."""
        raise NotImplementedError

    def preflight(self, files: Mapping[str, Path]) -> list[str]:
        """Return what a model of this architecture has to expect, before it is trained: a line for each thing that does
        not fit, or one that all does. Nothing where the target has no opinion.

        Args:
            files: variant's name to its TFLite file, of a model that has learnt next to nothing.

        Raises:
            ValueError: the architecture is refused.
        """
        return []


class FromVariants(Target):
    """What targets have in common that take the variants' TFLite files.

    Args:
        variants: the files to take, by their names; where not given, of each kind that the target takes the first.
    """

    #: How the numbers may be written in what it takes, see `export.encodings`; the first two are taken where no
    #: variants are named.
    takes: ClassVar[tuple[str, ...]] = ("float32", "int8")
    #: And those that it takes where they are named.
    takes_named: ClassVar[tuple[str, ...]] = ()
    #: Whether it takes what is two files, where they are named.
    takes_split: ClassVar[bool] = False
    variants: list[str] | None = Field(None, min_length=1)

    def chosen(self, variants: Sequence[Variant]) -> list[str]:
        encodings = {variant.title: variant.encoding for variant in variants}
        if self.variants is None:
            whole = [variant for variant in variants if not (variant.streams or variant.split)]
            first = {variant.encoding: variant.title for variant in reversed(whole)}
            chosen = [first[encoding] for encoding in self.takes[:2] if encoding in first]
        else:
            self._check_named(encodings, [variant.title for variant in variants if variant.split])
            chosen = self.variants
        if not chosen:
            raise ValueError(f"{self.title} takes {' and '.join(self.takes)} files only: name such a variant in "
                             f"compress.variants, for instance {self.takes[-1]}")
        return chosen

    def _check_named(self, encodings: Mapping[str, str], split: Sequence[str]) -> None:
        """Raise ValueError where a named variant is not made, or is written in a way that the target does not take.

        Args:
            split: titles of those that are two files.
        """
        for title in self.variants or []:
            if title not in encodings:
                raise ValueError(f"compress.variants makes no {title}; it makes {', '.join(encodings)}")
            if title in split and not self.takes_split:
                raise ValueError(f"{title} is two files, and {self.title} takes one; name another variant, or leave "
                                 "variants out")
            if encodings[title] not in (taken := (*self.takes, *self.takes_named)) + ("mixed",):
                raise ValueError(f"{title} is a {encodings[title]} file, and {self.title} takes "
                                 f"{' and '.join(taken)} ones only")

    def export(self, context: ExportContext, chosen: Sequence[str]) -> list[Exported]:
        folder = fresh(context.folder / self.title)
        # of those that are missing compression has said why
        return [self.export_one(context, context.variants[name], folder) for name in chosen if name in context.variants]

    def export_one(self, context: ExportContext, variant: VariantRecord, folder: Path) -> Exported:
        """Make its file of one variant, in its own folder."""
        raise NotImplementedError


def fresh(folder: Path) -> Path:
    """Return the folder, made and empty."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


class Sizes(TypedDict):
    """What `Exported` says of the bytes of what was made."""

    bytes: int
    zipped: int


def sizes(*paths: Path) -> Sizes:
    """Return the bytes of files, and of all files below folders, together."""
    files = [file for path in paths for file in (path, *sorted(path.rglob("*"))) if file.is_file()]
    contents = [file.read_bytes() for file in files]
    return Sizes(bytes=sum(map(len, contents)), zipped=sum(map(zipped_size, contents)))
