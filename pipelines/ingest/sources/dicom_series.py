"""Series of DICOM files: their slices in order, and what their numbers mean."""
from __future__ import annotations

import dataclasses
import functools
import os
import string
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from etils import epy

from pipelines.errors import UserError
from pipelines.features import image_file
from pipelines.ingest.sources.volume import Grid

with epy.lazy_imports():
    import numpy as np
    import pydicom
    import pydicom.misc
    import pydicom.pixels

if TYPE_CHECKING:
    from pydicom import Dataset

SUFFIXES = {".dcm", ".dicom", ".ima"}
#: The list of a medium's files, which is a DICOM file itself.
LIST = "DICOMDIR"
#: The elements that pixels can be in, and bytes from which on an element is not read before it is asked for.
PIXELS, DEFERRED = ("PixelData", "FloatPixelData", "DoubleFloatPixelData"), 2048
#: Slices may be unevenly apart by so much of their distance, and turned against each other by so much.
UNEVEN, TILT = 0.05, 1e-3


@dataclasses.dataclass(frozen=True)
class Frame:
    """One image of a DICOM file.

    Args:
        path: of the file; `number` counts its frames.
        position, orientation: of its first pixel, and of its rows and columns, in millimetres to the left, the back and
            the head (LPS); None where the file does not say it.
        spacing: of rows and columns in millimetres; None where the file does not say it.
        gantry: degrees by which the scanner was tilted against the table.
    """

    path: str
    number: int
    shape: tuple[int, int]
    position: tuple[float, ...] | None
    orientation: tuple[float, ...] | None
    spacing: tuple[float, ...] | None
    gantry: float = 0.0


@dataclasses.dataclass(frozen=True)
class Header:
    """What a DICOM file says of itself."""

    series: str
    patient: str
    frames: tuple[Frame, ...]


def files(folder: Path) -> list[Path]:
    """Return the DICOM files in a folder and below it, by their names, and by their beginning where these say
    nothing, as numbers with dots do."""
    return sorted(path for path in image_file.files(folder, below=True) if path.name != LIST and (
        path.suffix.lower() in SUFFIXES or (
            not path.suffix.strip("." + string.digits) and pydicom.misc.is_dicom(path))))


def without_ending(path: Path) -> Path:
    """Return the path of a file without its ending; one that is called by numbers with dots has none."""
    return path.with_suffix("") if path.suffix.lower() in SUFFIXES else path


def header(path: Path) -> Header:
    """Return what a file says. Raises UserError where it is no DICOM file, or one without grey pixels."""
    status = os.stat(path)
    return _header(str(path), f"{status.st_size} {status.st_mtime_ns}")


def grid(frames: Sequence[Frame]) -> tuple[Grid, list[Frame]]:
    """Return the voxels of a series, and its frames in the order of its slices: along the axis that they are apart on.

    Raises:
        UserError: they are not parallel, not of one size, unevenly apart, or of a tilted gantry, whose slices are moved
            against each other.
    """
    first = frames[0]
    for one in frames:
        if one.shape != first.shape or one.spacing != first.spacing:
            raise UserError(f"data.source.dicom: {one.path} is {_described(one)}, and {first.path} of the same series "
                            f"{_described(first)}; take one of them out")
    if first.orientation is None or any(one.position is None for one in frames):
        if len(frames) > 1:
            raise UserError(f"data.source.dicom: {first.path} and {len(frames) - 1} more files of its series do not "
                            "say where their slices are; put each into a folder of its own, or take them out")
        spacing = None if first.spacing is None else (1.0, *first.spacing)
        return Grid((1, *first.shape), None, spacing), list(frames)
    across, down = np.array(first.orientation[:3]), np.array(first.orientation[3:])
    tilted = next((one for one in frames if one.orientation is None
                   or np.abs(np.subtract(one.orientation, first.orientation)).max() > TILT), None)
    if tilted is not None:
        raise UserError(f"data.source.dicom: {tilted.path} is turned against {first.path} of the same series; put them "
                        "into folders of their own, with other series numbers, or take one out")
    if len(frames) > 1 and (leaning := next((one for one in frames if one.gantry), None)) is not None:
        raise UserError(f"data.source.dicom: {leaning.path} was taken with a gantry tilted by {leaning.gantry:g} "
                        "degrees (0018,1120), and the slices of its series are moved against each other; correct the "
                        "tilt of the series (dcm2niix does), or take it out")
    normal = np.cross(across, down)
    places = np.array([np.dot(normal, one.position or (0, 0, 0)) for one in frames])
    order = np.argsort(places, kind="stable")
    gap = _gap(places[order], first)
    rows, columns = first.spacing or (1.0, 1.0)
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1], affine[:3, 2] = normal * gap, down * rows, across * columns
    affine[:3, 3] = frames[order[0]].position
    affine[:2] *= -1  # from the left and the back to the right and the front
    known = Grid.of((len(frames), *first.shape), affine)
    return (known if first.spacing is not None else known.without_spacing()), [frames[number] for number in order]


def values(frames: Sequence[Frame]) -> np.ndarray:
    """Return the frames of a series as what their numbers mean, Hounsfield units in computed tomography: rescaled by
    slope and intercept, float32 (slices, rows, columns). Raises UserError where one cannot be decoded."""
    return np.stack([_pixels(one.path, one.number) for one in frames])


@functools.lru_cache(maxsize=100_000)
def _header(path: str, version: str) -> Header:
    dataset = _read(path, defer_size=DEFERRED)
    if not any(name in dataset for name in PIXELS) or "Rows" not in dataset:
        raise UserError(f"data.source.dicom: {path} has no pixels, it is {_kind(dataset)}; take it out")
    if dataset.get("SamplesPerPixel", 1) != 1 or not str(dataset.get("PhotometricInterpretation")).startswith("MONO"):
        raise UserError(f"data.source.dicom: {path} is in colours ({dataset.get('PhotometricInterpretation')}); scans "
                        "are grey. Take it out, or save it as a PNG for image_folder")
    frames = []
    for number in range(int(dataset.get("NumberOfFrames") or 1)):
        groups = _groups(dataset, number)
        position = _of(dataset, groups, "PlanePositionSequence", "ImagePositionPatient")
        orientation = _of(dataset, groups, "PlaneOrientationSequence", "ImageOrientationPatient")
        spacing = (_of(dataset, groups, "PixelMeasuresSequence", "PixelSpacing")
                   or _numbers(dataset.get("ImagerPixelSpacing")))
        frames.append(Frame(path, number, (int(dataset.Rows), int(dataset.Columns)), position, orientation, spacing,
                            float(dataset.get("GantryDetectorTilt") or 0)))
    return Header(str(dataset.get("SeriesInstanceUID", path)), str(dataset.get("PatientID") or ""), tuple(frames))


@functools.lru_cache(maxsize=4)
def _decoded(path: str) -> np.ndarray:
    """Return all frames of a file, float32 (frames, rows, columns)."""
    dataset = _read(path)
    try:
        stored = dataset.pixel_array
    except Exception as error:  # of many classes, the decoders' own among them
        name = getattr(dataset.file_meta.get("TransferSyntaxUID"), "name", "of an unknown kind")
        raise UserError(f"data.source.dicom: {path} ({name}) cannot be decoded: {str(error).splitlines()[0]}. Install "
                        "what pydicom names, or save it uncompressed") from error
    if dataset.get("PhotometricInterpretation") == "MONOCHROME1":  # in which what is large is dark
        stored = (2 ** int(dataset.BitsStored) - 1 if dataset.get("PixelRepresentation", 0) == 0 else -1) - stored
    frames = stored.reshape(-1, *stored.shape[-2:])
    if "RescaleSlope" in dataset or "ModalityLUTSequence" in dataset:
        return np.asarray(pydicom.pixels.apply_modality_lut(frames, dataset), "float32")
    slopes, intercepts = np.array([_rescaling(dataset, number) for number in range(len(frames))]).T[..., None, None]
    return np.asarray(frames * slopes + intercepts, "float32")


def _pixels(path: str, number: int) -> np.ndarray:
    return _decoded(path)[number]


def _rescaling(dataset: Dataset, number: int) -> tuple[float, float]:
    """Return slope and intercept of a frame: its own, else those that all have in common, else none."""
    for groups in _groups(dataset, number):
        rescaling = _first(groups, "PixelValueTransformationSequence")
        if rescaling is not None:
            return float(rescaling.RescaleSlope), float(rescaling.RescaleIntercept)
    return 1.0, 0.0


def _groups(dataset: Dataset, number: int) -> list[Dataset]:
    """Return the functional groups of a frame, its own before those of all."""
    each = dataset.get("PerFrameFunctionalGroupsSequence") or []
    own = [each[number]] if number < len(each) else []
    shared = _first(dataset, "SharedFunctionalGroupsSequence")
    return own if shared is None else [*own, shared]


def _read(path: str, **settings: Any) -> Dataset:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of values that are not as the standard wants them
            return pydicom.dcmread(path, **settings)
    except Exception as error:  # a damaged file can end in anything
        raise UserError(f"data.source.dicom: {path} is not a DICOM file, or is damaged: {str(error).splitlines()[0]}. "
                        "Take it out") from error


def _gap(places: np.ndarray, first: Frame) -> float:
    """Return how far the slices are apart, in millimetres, 1 where there is one alone. Raises UserError where they are
    unevenly so."""
    if len(places) == 1:
        return 1.0
    gaps = np.diff(places)
    gap = float(np.median(gaps))
    if gaps.min() <= 0 or np.abs(gaps - gap).max() > max(UNEVEN * gap, 1e-3):
        raise UserError(f"data.source.dicom: the slices of the series of {first.path} are {gaps.min():.2f} to "
                        f"{gaps.max():.2f} mm apart: one is missing, there twice, or of another series. Put the whole "
                        "series, and it alone, into its folder")
    return gap


def _of(dataset: Dataset, groups: Sequence[Any], sequence: str, name: str) -> tuple[float, ...] | None:
    """Return numbers out of the groups of a frame, or of the file."""
    for group in groups:
        item = _first(group, sequence)
        if item is not None and item.get(name) is not None:
            return _numbers(item.get(name))
    return _numbers(dataset.get(name))


def _first(dataset: Any, sequence: str) -> Any:
    items = dataset.get(sequence) if dataset is not None else None
    return items[0] if items else None


def _numbers(value: Any) -> tuple[float, ...] | None:
    return tuple(float(one) for one in value) if value is not None and len(value) else None


def _kind(dataset: Dataset) -> str:
    name = getattr(dataset.get("SOPClassUID"), "name", None) or "of an unknown kind"
    return f"a file of {name}" if dataset.get("SOPClassUID") else f"a file {name}"


def _described(frame: Frame) -> str:
    spacing = "" if frame.spacing is None else f" of {' x '.join(f'{side:g}' for side in frame.spacing)} mm"
    return f"{' x '.join(map(str, frame.shape))} pixels{spacing}"
