"""What `--data` of `litepress press` and `litepress explain` names: a folder of images, a table of them, a NumPy file,
or a source."""
from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from etils import epy
from pydantic import ValidationError

from pipelines.errors import UserError
from pipelines.features import image_file
from pipelines.features.feature import Learnt
from pipelines.features.image import Image
from pipelines.ingest import Source
from pipelines.ingest.sources.array_file import Arrays
from pipelines.ingest.sources.image_folder import ImageFolder
from pipelines.ingest.sources.image_table import ImageTable

with epy.lazy_imports():
    import numpy as np

NUMPY, TABLES = (".npz", ".npy"), (".csv", ".tsv")
#: Field of sources of images.
IMAGE = "image"


def source_of(data: str) -> Source:
    """Return the source that `--data` names: a folder, a .csv, .npz or .npy file, or what data.source takes by name.

    Raises:
        UserError: there is no such folder, file or source.
    """
    path = Path(data)
    if path.suffix in NUMPY:
        return Arrays(path=data)
    if path.suffix.lower() in TABLES:
        return ImageTable(path=data)
    if path.is_dir():
        return ImageFolder(path=data)
    if path.exists() or "/" in data:
        reason = "no folder and no .csv, .npz or .npy file" if path.exists() else "there is no such file or folder"
        raise UserError(f"--data {data}: {reason}")
    try:
        return Source.read(data)  # type: ignore[return-value]
    except (ValidationError, ValueError):
        names = ", ".join(sorted(Source.choices))
        raise UserError(f"--data {data}: there is no such folder or file, and no source is called so. Give a folder of "
                        f"images, a .csv, .npz or .npy file, tfds:NAME, or one of {names}") from None


def is_unlabelled(data: str) -> bool:
    """Return whether data are images without labels: an array alone, or a folder of images without folders in it."""
    path = Path(data)
    if path.suffix in NUMPY:
        source = Arrays(path=data)
        source.fingerprint()
        return not source.labelled
    return path.is_dir() and not image_file.folders(path) and bool(image_file.images(path))


def images_of(data: str, shape: tuple[int, ...]) -> np.ndarray:
    """Return all images of a NumPy file, or in a folder and below it, as raw pixels, uint8 (examples, height, width,
    channels).

    Args:
        shape: that the images are brought to, (height, width, channels).

    Raises:
        UserError: an image cannot be read, or there is none.
    """
    path = Path(data)
    image = Image(size=shape[:2], channels=shape[2])  # type: ignore[arg-type]
    if path.is_dir():
        files = image_file.images(path, below=True)
        if not files:
            raise UserError(f"--data {data}: there is no image in it")
        return _read(files, image)
    examples = Arrays(path=data).examples("train")
    return np.stack([image.load(example[IMAGE], Learnt()).numpy() for example in examples])


def _read(files: Sequence[Path], image: Image) -> np.ndarray:
    tensor = image.tensor(IMAGE, Learnt())
    images: list[np.ndarray] = []
    refused: list[str] = []
    for file in files:
        try:
            images.append(image.from_file(file, tensor))
        except UserError as error:
            refused.append(str(error))
    if refused:
        raise UserError(f"{len(refused):,} of {len(files):,} images cannot be read, the first {refused[0]}. Convert "
                        "them, or take them out")
    return np.stack(images)
