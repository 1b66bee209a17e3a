"""What a target is, and what it makes its files from."""
from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from etils import epy
from pydantic import Field

from export.artifacts import Coverage, Exported, artifact_name
from export.targets import tools
from export.tflite.metadata import Description
from pipelines.entries import Entry
from pipelines.ingest import Index, stream
from pipelines.ingest.section import DataSection
from pipelines.variants.record import VariantRecord, zipped_size
from pipelines.variants.variant import Variant

with epy.lazy_imports():
    import numpy as np

#: Held-out pictures that scores are calibrated on, at most.
CALIBRATING = 1000


@dataclasses.dataclass(frozen=True)
class ExportContext:
    """What a target loads its files from, and where it puts them.

    Args:
        model: the trained model's file.
        variants: what compression made, by name.
        files: the folder of the variants' TFLite files.
        about: what the model says of itself, its class names among it.
        data, index: what it has learnt from.
        folder: for all exported files.
    """

    model: Path
    variants: dict[str, VariantRecord]
    files: Path
    about: Description
    data: DataSection
    index: Index
    folder: Path

    def file(self, variant: str) -> Path:
        """The variant's TFLite file."""
        return self.files / f"{variant}.tflite"

    def validation(self) -> tuple[np.ndarray, np.ndarray]:
        """Pictures and labels of the validation split, as many as calibrate well."""
        return stream.arrays(stream.examples(self.data.source, self.index, self.data.image, "validation").take(CALIBRATING))


class Target(Entry):
    """A place where the model must run.

    Args:
        name: what its folder, its rows and its gates are called; the target's own where not given.
    """

    #: The extra of this package that brings its tools, if it needs any.
    extra: ClassVar[str] = ""
    #: Whether what it makes can be run, and so measured, on this machine.
    runs: ClassVar[bool] = True
    #: What its compiler says of each file, by the names that gates ask for.
    estimates: ClassVar[tuple[str, ...]] = ()
    name: str | None = Field(None, pattern=r"^[a-z0-9][a-z0-9_-]*$", max_length=40)

    @property
    def title(self) -> str:
        return self.name or str(self.entry_name)

    @classmethod
    def ready(cls) -> str:
        """What keeps every target of this kind from being made here, and what to install; empty where nothing does."""
        return tools.missing(cls.extra) if cls.extra else ""

    def missing(self) -> str:
        """The same for this one, with its settings."""
        return self.ready()

    def versions(self) -> dict[str, str]:
        """The versions of its tools, as far as they are there: other tools make other files."""
        return tools.versions(self.extra) if self.extra else {}

    def chosen(self, variants: Sequence[Variant]) -> list[str]:
        """The names of the forms that it makes, given the recipe's variants. Raises ValueError where there are none."""
        raise NotImplementedError

    def artifacts(self, variants: Sequence[Variant]) -> list[str]:
        """How gates call what it makes."""
        return [artifact_name(self.title, variant) for variant in self.chosen(variants)]

    def export(self, dock: ExportContext, chosen: Sequence[str]) -> list[Exported]:
        """Makes its files. Raises ValueError where one cannot be made."""
        raise NotImplementedError

    def preflight(self, files: Mapping[str, Path]) -> list[str]:
        """What a model of this architecture has to expect, before it is trained: a line for each thing that does not fit, or one that
        all does. Nothing where the target has no opinion.

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

    #: How the numbers may be written in what it takes, see `export.encodings`; the first two are taken where no variants are named.
    takes: ClassVar[tuple[str, ...]] = ("float32", "int8")
    variants: list[str] | None = Field(None, min_length=1)

    def chosen(self, variants: Sequence[Variant]) -> list[str]:
        kinds = {variant.title: variant.encoding for variant in variants}
        if self.variants is None:
            first = [next((title for title, kind in kinds.items() if kind == wanted), None) for wanted in self.takes[:2]]
            found = [title for title in first if title is not None]
        else:
            for title in self.variants:
                if title not in kinds:
                    raise ValueError(f"compress.variants makes no {title}; it makes {', '.join(kinds)}")
                if kinds[title] not in (*self.takes, "mixed"):
                    raise ValueError(f"{title} is a {kinds[title]} file, and {self.title} takes {' and '.join(self.takes)} ones only")
            found = self.variants
        if not found:
            raise ValueError(f"{self.title} takes {' and '.join(self.takes)} files only: name such a variant in compress.variants, for "
                             f"instance {self.takes[-1]}")
        return found

    def export(self, dock: ExportContext, chosen: Sequence[str]) -> list[Exported]:
        made, folder = [], dock.folder / self.title
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        for variant in chosen:
            if variant in dock.variants:  # else compression has said why not
                made.append(self.export_one(dock, dock.variants[variant], folder))
        return made

    def export_one(self, dock: ExportContext, variant: VariantRecord, folder: Path) -> Exported:
        """Makes its file of one variant, in its own folder."""
        raise NotImplementedError

    def made(self, dock: ExportContext, variant: VariantRecord, path: Path, *beside: Path, summary: str, coverage: Coverage | None = None,
             estimates: dict[str, float] | None = None, notes: Sequence[str] = (), operators: dict[str, int] | None = None) -> Exported:
        """The record of a file, or of a folder, that was made, with others that belong to it."""
        return record(self, dock, variant.name, path, *beside, summary=summary, integer=variant.integer, encoding=variant.encoding,
                      coverage=coverage, estimates=estimates, notes=notes, operators=operators)


def record(target: Target, dock: ExportContext, variant: str, path: Path, *beside: Path, summary: str, integer: bool = False,
           encoding: str = "", coverage: Coverage | None = None, estimates: dict[str, float] | None = None, notes: Sequence[str] = (),
           operators: dict[str, int] | None = None) -> Exported:
    """The record of what a target made: one file or folder, and what belongs to it."""
    files = [file for own in (path, *beside) for file in ([own] if own.is_file() else sorted(own.rglob("*"))) if file.is_file()]
    contents = [file.read_bytes() for file in files]
    return Exported(
        variant=variant, target=target.title, path=str(path.relative_to(dock.folder)), summary=summary, integer=integer,
        encoding=encoding, bytes=sum(map(len, contents)), zipped=sum(map(zipped_size, contents)), runs=target.runs, coverage=coverage,
        estimates=estimates or {}, notes=list(notes), operators=operators or {})
