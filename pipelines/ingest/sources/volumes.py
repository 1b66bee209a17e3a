"""What sources of medical volumes have in common: folders, patients, slices with their neighbours."""
from __future__ import annotations

import dataclasses
import functools
import hashlib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from etils import epy
from pydantic import Field as Setting
from pydantic import field_validator
from pydantic_core import PydanticCustomError

from export.targets import tools
from pipelines.errors import UserError
from pipelines.features import image_file
from pipelines.features.feature import Feature, Field
from pipelines.ingest.index import Part
from pipelines.ingest.sources import nifti_files, volume
from pipelines.ingest.sources import volume_checks as checks
from pipelines.ingest.sources.part_names import folders_of_parts
from pipelines.ingest.sources.source import LookedAt, Source
from pipelines.ingest.sources.volume import Grid, Plane

with epy.lazy_imports():
    import numpy as np
    import tensorflow as tf

EXTRA = "medical"
PATIENT = "patient"
Millimetres = Annotated[float, Setting(gt=0)]


@dataclasses.dataclass(frozen=True)
class Item:
    """A volume of a source.

    Args:
        name: of its file or folder, from the folder of images on, without ending.
        paths: of its files.
        mask: its NIfTI file.
        label: the number of its class.
    """

    name: str
    paths: tuple[str, ...]
    mask: str | None = None
    label: int | None = None

    @property
    def target(self) -> str:
        """Return what a model can learn to answer of it, in words."""
        return "masks" if self.mask is not None else "folders of classes" if self.label is not None else "no masks"


class Volumes(Source):
    """Volumes as slices: each is an example, with its neighbours as further channels."""

    grouped_by: ClassVar[str | None] = PATIENT
    reads_folders: ClassVar[bool] = True
    medical: ClassVar[bool] = True
    path: str = Setting(min_length=1)
    images: str = Setting("images", min_length=1)
    masks: str = Setting("masks", min_length=1)
    neighbours: int = Setting(0, ge=0, le=15)
    plane: Literal["acquired", "axial", "coronal", "sagittal"] = "acquired"
    spacing: tuple[float, float, float] | None = Setting(None)
    patient: str | None = Setting(None, min_length=1)

    @field_validator("spacing", mode="before",
                     json_schema_input_type=Millimetres | tuple[Millimetres, Millimetres, Millimetres] | None)
    @classmethod
    def read_spacing(cls, value: Any) -> Any:
        sides = [value] * 3 if isinstance(value, (int, float)) else value
        if sides is not None and (not isinstance(sides, (list, tuple)) or len(sides) != 3 or not all(
                isinstance(side, (int, float)) and side > 0 for side in sides)):
            raise PydanticCustomError("spacing", "give millimetres, for instance 1.5, or [3, 1, 1] for slices, rows "
                                                 "and columns")
        return sides

    @field_validator("patient")
    @classmethod
    def must_be_an_expression(cls, value: str | None) -> str | None:
        try:
            re.compile(value or "")
        except re.error as error:
            raise PydanticCustomError("patient", "is no regular expression: {reason}", {"reason": str(error)}) from None
        return value

    # What a kind of file must say

    def found(self, folder: Path) -> list[Item]:
        """Return the volumes in a folder and below it, sorted by name. Raises UserError."""
        raise NotImplementedError

    def grid_of(self, item: Item) -> Grid:
        """Return the voxels of a volume as its files have them. Raises UserError."""
        raise NotImplementedError

    def values_of(self, item: Item) -> np.ndarray:
        """Return the values of a volume as its files have them, float32 (slices, rows, columns). Raises UserError."""
        raise NotImplementedError

    def patient_in(self, item: Item) -> str:
        """Return the patient that a volume's files name; an empty text where they name none."""
        return ""

    # What follows from it

    def fingerprint(self) -> str:
        if absent := tools.missing(EXTRA):
            raise UserError(f"data.source: {self.entry_name} is read by the extra {EXTRA}: {absent}")
        digest = hashlib.sha256(str(self.model_dump()).encode())
        for part in self.parts():
            for item in self.items(part):
                for path in filter(None, (*item.paths, item.mask)):
                    status = os.stat(path)
                    digest.update(f"{part} {path} {item.label} {status.st_size} {status.st_mtime_ns}\n".encode())
        return digest.hexdigest()

    def prepare(self) -> None:
        """Raise UserError where volumes do not go together: planes, spacings, one that has no neighbours."""
        if absent := tools.missing(EXTRA):
            raise UserError(f"data.source: {self.entry_name} is read by the extra {EXTRA}: {absent}")
        named = self._named()
        grids = [(name, self.grid_of(item)) for name, item in named]
        if self.neighbours:
            for name, item in named:
                if self.shape(item)[0] == 1:
                    raise UserError(f"{self._setting}: {name} has one slice, and neighbours is {self.neighbours}: "
                                    "a slice alone has none. Take it out, or leave neighbours out")
        checks.check_planes(self._setting, [(name, self._plane(grid)) for name, grid in grids])
        if self.spacing is not None:
            checks.check_spacing_is_known(self._setting, grids)
        else:
            axes = slice(0 if self.neighbours else 1, 3)  # what is between slices matters where they go in together
            turned = [(name, grid.turned(self._plane(grid))) for name, grid in grids]
            checks.check_spacings(self._setting, turned, axes)
        for (name, item), (_, grid) in zip(named, grids, strict=True):
            if item.mask is not None:
                checks.check_mask(name, Path(item.mask), grid, self._plane(grid))

    def fields(self) -> dict[str, Field]:
        fields = {"image": Field(kind="array", shape=(None, None, 1 + 2 * self.neighbours), dtype="float32"),
                  PATIENT: Field(kind="text")}
        items = self.items("train")
        if items[0].mask is not None:
            fields["mask"] = Field(kind="array", shape=(None, None), dtype="int32")
        if items[0].label is not None:
            fields["label"] = Field(kind="class", names=self._classes(self._root("train")))
        return fields

    def parts(self) -> list[Part]:
        known = set(folders_of_parts(self._folders(Path(self.path))).values())
        if known and "train" not in known:
            raise UserError(f"{self._setting}.path: {self.path} has {' and '.join(sorted(known))} but no train folder")
        return [part for part in ("train", "validation", "test") if part in known] or ["train"]

    def size(self, part: Part) -> int | None:
        return sum(self.shape(item)[0] for item in self.items(part))

    def items(self, part: Part) -> list[Item]:
        """Return the volumes of a part. Raises UserError where there is none, an image lacks its mask, or the training
        part has other targets."""
        root, learnt = self._root(part), self._root("train")
        items = _items(self, str(root), _version(root))
        if root != learnt:
            first = _items(self, str(learnt), _version(learnt))[0]
            if (own := items[0].target) != first.target:
                raise UserError(f"{self._setting}: {learnt} has {first.target}, and {root} {own}; give both the same")
        return list(items)

    def groups(self, part: Part, name: str, positions: Sequence[int]) -> list[str] | None:
        if name != PATIENT:
            return super().groups(part, name, positions)
        known = [self.patient_of(item) for item in self.items(part) for _ in range(self.shape(item)[0])]
        return [known[position] for position in positions]

    def patient_of(self, item: Item) -> str:
        """Return whom a volume is of: what `patient` finds in its name, what its files say, or its folder or file.
        Raises UserError where `patient` finds nothing."""
        if self.patient is None:
            below = item.name.split("/")[0 if item.label is None else 1:]  # the class is no patient
            return self.patient_in(item) or below[0]
        match = re.search(self.patient, item.name)
        if match is None:
            raise UserError(f"{self._setting}.patient: {self.patient} finds nothing in {item.name}; it must find the "
                            "patient in every name")
        return match[match.lastindex or 0]

    def shape(self, item: Item) -> tuple[int, ...]:
        """Return how many slices, rows and columns a volume has as the model sees it."""
        grid = self.grid_of(item)
        return grid.turned(self._plane(grid)).resampled(self.spacing).shape

    def examples(self, part: Part, positions: Sequence[int] | None = None) -> tf.data.Dataset:
        """Return the slices of a part, volume by volume; an example's id is "patient1 slice 0" and so on."""
        items, fields = self.items(part), self.fields()
        places = [(item, number) for item in items for number in range(self.shape(item)[0])]
        chosen = places if positions is None else [places[position] for position in positions]
        kinds = {"image": tf.float32, "mask": tf.int32, "label": tf.int64, PATIENT: tf.string}
        signature = {name: tf.TensorSpec(field.shape or (), kinds[name]) for name, field in fields.items()}
        return tf.data.Dataset.from_generator(
            lambda: self._slices(chosen), output_signature={**signature, "id": tf.TensorSpec((), tf.string)})

    def examples_in(self, path: Path) -> tuple[list[str], list[np.ndarray]]:
        if not path.exists():
            raise UserError(f"{path}: there is no such file or folder")
        items = self.found(path) if path.is_dir() else [Item(path.name, (str(path),))]
        if not items:
            raise UserError(f"{path}: has no {self.entry_name} files in it")
        names, images = [], []
        for item in items:
            if self.spacing is not None:
                checks.check_spacing_is_known(self._setting, [(item.name, self.grid_of(item))])
            values = self._seen(item)
            titles = [str(path) if len(items) == 1 else f"{path}/{item.name}"]
            names += [f"{titles[0]} slice {number}" if len(values) > 1 else titles[0] for number in range(len(values))]
            images += [volume.stacked(values, number, self.neighbours) for number in range(len(values))]
        return names, images

    def looked_at(self, features: Mapping[str, Feature]) -> LookedAt | None:
        """Return how many volumes do not say how far their pixels are apart; None where all do."""
        named = self._named()
        unknown = [name for name, item in named if self.grid_of(item).spacing is None]
        if not unknown:
            return None
        slices = sum(self.shape(item)[0] for _, item in named)
        return LookedAt(f"{len(named):,} volumes of {slices:,} slices", examples=slices, faulty=0, first=unknown[0],
                        faults=[f"{len(unknown):,} without the distance of their pixels, which counts as 1, the first "
                                f"{unknown[0]}"])

    def diagnose(self, part: Part, error: Exception) -> str:
        """Return what a reader said, which TensorFlow hands on among lines of its own."""
        said = re.search(r"UserError: (.*)", str(error))
        return said[1] if said else super().diagnose(part, error)

    @property
    def _setting(self) -> str:
        return f"data.source.{self.entry_name}"

    def _slices(self, places: Sequence[tuple[Item, int]]) -> Iterator[dict[str, Any]]:
        current: Item | None = None
        for item, number in places:
            if item is not current:
                current, values = item, self._seen(item)
                mask = self._mask(item) if item.mask is not None else None
                patient = self.patient_of(item)
            example = {"image": volume.stacked(values, number, self.neighbours), PATIENT: patient,
                       "id": f"{item.name} slice {number}"}
            if mask is not None:
                example["mask"] = mask[number]
            if item.label is not None:
                example["label"] = item.label
            yield example

    def _seen(self, item: Item) -> np.ndarray:
        """Return the values of a volume as the model sees them, upright and in the source's spacing."""
        grid = self.grid_of(item)
        values = volume.turned(self.values_of(item), grid, self._plane(grid))
        return volume.resampled(values, self.shape(item), is_mask=False)

    def _mask(self, item: Item) -> np.ndarray:
        """Return the mask of a volume as the model sees that, int32. Raises UserError where it has other numbers."""
        path = Path(str(item.mask))
        plane = self._plane(self.grid_of(item))
        values = volume.turned(nifti_files.values(path), nifti_files.grid(path), plane)
        if (odd := values[values != np.floor(values)]).size:
            raise UserError(f"data: {path} has the value {odd[0]:g}; masks are whole numbers, the class of each voxel")
        return volume.resampled(values.astype("int32"), self.shape(item), is_mask=True)

    def _plane(self, grid: Grid) -> Plane | None:
        return grid.plane if self.plane == "acquired" else self.plane

    def _named(self) -> list[tuple[str, Item]]:
        """Return all volumes with their names, which say the part where there are several."""
        parts = self.parts()
        return [(item.name if len(parts) == 1 else f"{part}/{item.name}", item)
                for part in parts for item in self.items(part)]

    def _root(self, part: Part) -> Path:
        base = Path(self.path)
        folders = folders_of_parts(self._folders(base))
        return next((base / name for name, of in folders.items() if of == part), base)

    def _classes(self, root: Path) -> list[str]:
        return self._folders(root)

    def _folders(self, folder: Path) -> list[str]:
        if not folder.is_dir():
            reason = "not a folder" if folder.exists() else "not there"
            raise UserError(f"{self._setting}.path: {folder} is {reason}; give a folder with the folders {self.images} "
                            f"and {self.masks} in it, or with one folder per class")
        return [child.name for child in image_file.folders(folder)]


def _version(root: Path) -> str:
    """Return what changes when files come or go."""
    return hashlib.sha256(str(sorted(map(str, image_file.files(root, below=True)))).encode()).hexdigest()


@functools.lru_cache(maxsize=8)
def _items(source: Volumes, root: str, version: str) -> list[Item]:
    """Return the volumes below a folder, kept until its files change. Raises UserError."""
    base = Path(root)
    if (base / source.images).is_dir():
        return _with_masks(source, base)
    classes = source._classes(base)
    if len(classes) < 2:
        raise UserError(f"{source._setting}.path: {base} has no folder {source.images}, and no folders of classes, at "
                        f"least two; its folders: {', '.join(classes) or 'none'}")
    known = {name: label for label, name in enumerate(source._classes(source._root("train")))}
    if unknown := [name for name in classes if name not in known]:
        raise UserError(f"{source._setting}.path: {base} has classes that the training part lacks: "
                        f"{', '.join(unknown)}")
    items = [dataclasses.replace(item, name=f"{name}/{item.name}", label=known[name])
             for name in classes for item in source.found(base / name)]
    empty = next((name for name in classes if all(item.label != known[name] for item in items)), None)
    if empty is not None:
        raise UserError(f"{source._setting}.path: class {empty} has no {source.entry_name} files in {base / empty}")
    return items


def _with_masks(source: Volumes, base: Path) -> list[Item]:
    items = source.found(base / source.images)
    if not items:
        raise UserError(f"{source._setting}.path: {base / source.images} has no {source.entry_name} files")
    if not (base / source.masks).is_dir():
        return items
    masks = {str(path.relative_to(base / source.masks).with_name(nifti_files.stem(path))): path
             for path in nifti_files.files(base / source.masks)}
    lacking = next((item for item in items if item.name not in masks), None)
    if lacking is not None:
        raise UserError(f"{source._setting}: {lacking.name} has no mask in {base / source.masks}; it would be "
                        f"{base / source.masks / lacking.name}.nii.gz")
    return [dataclasses.replace(item, mask=str(masks[item.name])) for item in items]
