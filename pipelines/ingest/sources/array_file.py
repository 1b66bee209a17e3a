"""Examples in NumPy files."""
from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from etils import epy
from pydantic import Field as Setting

from pipelines.errors import UserError
from pipelines.features.feature import Field
from pipelines.ingest.index import Part
from pipelines.ingest.sources import class_labels, npz, stored_array
from pipelines.ingest.sources.class_labels import Classes
from pipelines.ingest.sources.npz import Header
from pipelines.ingest.sources.part_names import PARTS
from pipelines.ingest.sources.source import Source
from pipelines.ingest.sources.stored_array import StoredArray

with epy.lazy_imports():
    import numpy as np
    import tensorflow as tf

#: What the images and the labels of each part may be called in an .npz file.
NAMES: dict[Part, tuple[tuple[str, str], ...]] = {
    "train": (("x_train", "y_train"), ("train_images", "train_labels"), ("images", "labels"), (npz.ALONE, "y")),
    "validation": (("x_val", "y_val"), ("val_images", "val_labels")),
    "test": (("x_test", "y_test"), ("test_images", "test_labels"))}
#: What is read at once of the entries of arrays: so many of them, and so many bytes of the largest, at most.
MOST_ROWS, BLOCK_BYTES = 256, 2**20
#: What a position is called beside the fields.
POSITION = "/position"
#: NumPy's letters for text.
WORDS = "US"
#: The class of images without labels.
UNLABELLED = "unlabelled"

Headers = dict[str, Header]
#: Part, then field, to the name of the array.
Layout = dict[Part, dict[str, str]]


class Arrays(Source, name="arrays", shorthand="path"):
    """A .npz file with images and labels, or a .npy file with images alone.

    They are called x_train and y_train, x_test and y_test; images and labels; or x and y. Images are uint8
    (examples, height, width) or (examples, height, width, channels), raw pixels 0..255; labels are words, whole
    numbers or one-hot, see `class_labels.classes_of`. They are the fields `image` and `label`.

    Every other array of numbers with an entry per example is a field too, for tasks that take other things. It is named
    after its part and the field: train_age and test_age, or age_train and age_test, are a field `age`; a name without a
    part belongs to the training part. What is called like images or labels and is neither, say x_train of shape
    (examples, 13) and y_train of prices, is a field `x` or `y`; a recipe then says
    `data: {columns: {field: x}, price: {field: y}}`, where columns and price are what the task calls them.

    Args:
        path: the file.
        class_names: in the order of the labels; the words or numbers that they are where not given.
    """

    path: str = Setting(min_length=1)
    class_names: list[str] | None = Setting(None, min_length=2)

    def fingerprint(self) -> str:
        if not Path(self.path).is_file():
            raise UserError(f"data.source.arrays.path: there is no file {self.path}")
        status = Path(self.path).stat()
        version = f"{self.path} {status.st_size} {status.st_mtime_ns} {self.class_names}"
        return hashlib.sha256(version.encode()).hexdigest()

    @property
    def labelled(self) -> bool:
        """Return whether the images have labels. Raises UserError where there are no images."""
        if "image" not in self._layout()["train"]:
            raise UserError(self.without("image"))
        return _pair(npz.headers(self.path), "train")[1] is not None

    def of_model(self, classes: int) -> Arrays:
        names = self._layout()["train"]
        if self.class_names is not None or "label" not in names:
            return self
        return self.model_copy(update={"class_names": class_labels.names_for(self._labels(names["label"]), classes)})

    def parts(self) -> list[Part]:
        return _parts(self._layout())

    def fields(self) -> dict[str, Field]:
        headers, layout = npz.headers(self.path), self._layout()
        fields = {}
        for field, name in layout["train"].items():
            shape = headers[name].shape[1:]
            if field == "image":
                fields[field] = Field(kind="bytes", shape=(*shape[:2], shape[2] if len(shape) == 3 else 1))
            elif field == "label":
                fields[field] = Field(kind="class", names=self._classes().names)
            elif _is_whole(field, layout, headers):
                fields[field] = Field(kind="array" if shape else "number", shape=shape or None,
                                      dtype=str(headers[name].dtype))
        if "image" in fields and not self.labelled:
            fields["label"] = Field(kind="class", names=[UNLABELLED])
        return fields

    def size(self, part: Part) -> int | None:
        names = self._layout()[part]
        return npz.headers(self.path)[names.get("image") or next(iter(names.values()))].shape[0]

    def examples(self, part: Part, positions: Sequence[int] | None = None) -> tf.data.Dataset:
        """Return the examples of a part, images as PNG; an example's id is train#0 and so on."""
        values = {field: self._values(part, field) for field in self.fields()}
        sizes = {field: len(array) for field, array in values.items()}
        if "image" in sizes and sizes["image"] != sizes.get("label", sizes["image"]):
            raise UserError(f"data: {self.path} has {sizes['image']:,} images of the {part} part and "
                            f"{sizes['label']:,} labels")
        if len(set(sizes.values())) > 1:
            listed = ", ".join(f"{size:,} of {field}" for field, size in sizes.items())
            raise UserError(f"data: {self.path} has not as many of each in the {part} part: {listed}")

        def encoded(example: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
            image = {"image": tf.io.encode_png(example["image"], compression=0)} if "image" in example else {}
            position = example.pop(POSITION)
            return {**example, **image, "id": tf.strings.join([f"{part}#", tf.strings.as_string(position)])}

        examples = _rows(values, range(next(iter(sizes.values()))) if positions is None else positions)
        return examples.map(encoded, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)

    def without(self, field: str) -> str | None:
        headers = npz.headers(self.path)
        images, labels = _pair(headers, "train")
        if field in self._layout()["train"]:
            return (f"data: {self.path} has {field} for some examples only; give every part as many as it has of the "
                    f"others, and call them train_{field} and test_{field}")
        if field == "image":
            if images is None:
                return self._lacks_images()
            return (f"data: {images} in {self.path} has the shape {headers[images].shape}; give images (examples, "
                    "height, width), or (examples, height, width, 1 or 3 channels)")
        if field == "label" and labels is not None:
            array = npz.array(self.path, labels)
            return (f"data: {labels} in {self.path} has the shape {array.shape} and type {array.dtype}; give one word "
                    "or whole number per image, or one-hot rows")
        return None

    def _lacks_images(self) -> str:
        names = ", ".join(sorted(npz.headers(self.path))) or "nothing"
        return (f"data: {self.path} has no images; it has {names}. Call them x_train and y_train, images and labels, "
                "or x and y")

    def _layout(self) -> Layout:
        """Return the names of the arrays of each field. Raises UserError where none are to train on."""
        headers = npz.headers(self.path)
        layout: Layout = {}
        for part in NAMES:
            images, labels = _pair(headers, part)
            if images is not None and _are_images(headers[images]):
                layout.setdefault(part, {})["image"] = images
            if labels is not None and self._are_labels(labels, headers[labels]):
                layout.setdefault(part, {})["label"] = labels
        taken = {name for fields in layout.values() for name in fields.values()}
        for name, header in headers.items():
            if name not in taken and header.shape and header.is_numeric:
                part, field = _part_and_field(name)
                layout.setdefault(part, {}).setdefault(field, name)
        if "train" not in layout:
            raise UserError(self._lacks_images())
        return layout

    def _classes(self) -> Classes:
        return class_labels.classes_of(self._labels(self._layout()["train"]["label"]), self.class_names)

    def _values(self, part: Part, field: str) -> np.ndarray | StoredArray:
        """Return a field's values, (examples, ...), in memory or where they lie."""
        names = self._layout()[part]
        if field == "image":
            return self._images(names[field])
        if field == "label" and "image" in names and not self.labelled:
            return np.zeros(self.size(part) or 0, "int64")
        if field not in names:
            raise UserError(f"data: {self.path} has no {field} of the {part} part; it has "
                            f"{', '.join(sorted(npz.headers(self.path)))}")
        if field == "label":
            labels = class_labels.flat(self._labels(names[field]))
            return self._classes().numbers(labels, f"{names[field]} in {self.path}")
        return stored_array.find(self.path, names[field]) or npz.array(self.path, names[field])

    def _images(self, name: str) -> np.ndarray | StoredArray:
        """Return raw pixels, uint8 (examples, height, width, channels)."""
        stored = stored_array.find(self.path, name)
        if stored is not None and stored.dtype == np.uint8:
            return stored if len(stored.shape) == 4 else stored.with_channel()
        images = npz.array(self.path, name)
        if not len(images):
            raise UserError(f"data: {name} in {self.path} is empty; give at least one image")
        if images.dtype != np.uint8:
            low, high = float(np.min(images)), float(np.max(images))
            whole = np.issubdtype(images.dtype, np.integer) or bool(np.all(images == np.round(images)))
            if not whole or low < 0 or high > 255:
                raise UserError(f"data: {name} in {self.path} holds values from {low:g} to {high:g}; give raw pixels, "
                                "whole numbers 0..255, and say with --pixels what the model wants")
            images = images.astype(np.uint8)
        return images if images.ndim == 4 else images[..., None]

    def _labels(self, name: str) -> np.ndarray:
        """Return labels as they are written. Raises UserError where there are none."""
        labels = npz.array(self.path, name)
        if not len(labels):
            raise UserError(f"data: {name} in {self.path} is empty; give at least one image with its label")
        return labels

    def _are_labels(self, name: str, header: Header) -> bool:
        """Return whether an array has one class per example: words, whole numbers, or rows whose largest tells it."""
        if not 1 <= len(header.shape) <= 2:
            return False
        if header.kind in WORDS:
            return len(header.shape) == 1 or header.shape[1] == 1
        if not header.is_numeric:
            return False
        if header.kind != "f" or (len(header.shape) == 2 and header.shape[1] > 1):
            return True
        labels = npz.array(self.path, name)
        return bool(np.all(labels == np.round(labels)))


def _rows(values: Mapping[str, np.ndarray | StoredArray], positions: Sequence[int]) -> tf.data.Dataset:
    """Return the entries of arrays at some positions, with the positions.

    They are read in blocks from where they lie: a dataset that is made of arrays holds them several times.
    """
    arrays: dict[str, np.ndarray | StoredArray] = {**values, POSITION: np.arange(max(positions, default=-1) + 1)}
    order = np.asarray(positions, np.int64)
    largest = max(array[:1].nbytes for array in arrays.values())
    block = max(1, min(MOST_ROWS, BLOCK_BYTES // max(1, largest)))

    def read(start: np.ndarray) -> list[np.ndarray]:
        return [array[order[start:start + block]] for array in arrays.values()]

    def rows(start: tf.Tensor) -> dict[str, tf.Tensor]:
        tensors = tf.numpy_function(read, [start], [array.dtype for array in arrays.values()], stateful=False)
        for tensor, array in zip(tensors, arrays.values(), strict=True):
            tensor.set_shape((None, *array.shape[1:]))
        return dict(zip(arrays, tensors, strict=True))

    return tf.data.Dataset.range(0, len(order), block).map(rows).unbatch()


def _pair(headers: Headers, part: Part) -> tuple[str | None, str | None]:
    """Return the names of a part's images and labels: the first pair whose images there are, else whose labels."""
    for images, labels in NAMES[part]:
        if images in headers:
            return images, labels if labels in headers else None
    return None, next((labels for _, labels in NAMES[part] if labels in headers), None)


def _parts(layout: Layout) -> list[Part]:
    """Return the parts that have images, or, where there are none, any field of the training part."""
    fields = {"image"} if "image" in layout["train"] else set(layout["train"])
    return [part for part in NAMES if fields & set(layout.get(part, {}))]


def _is_whole(field: str, layout: Layout, headers: Headers) -> bool:
    """Return whether every part has the field, with an entry for each image where there are images."""
    for part in _parts(layout):
        names = layout[part]
        if field not in names:
            return False
        if "image" in names and headers[names[field]].shape[0] != headers[names["image"]].shape[0]:
            return False
    return True


def _are_images(header: Header) -> bool:
    shape = header.shape
    return header.is_numeric and (len(shape) == 3 or (len(shape) == 4 and shape[-1] in (1, 3, 4)))


def _part_and_field(name: str) -> tuple[Part, str]:
    """Return what an array's name says: the part, before the field or behind it."""
    first, _, rest = name.partition("_")
    if first in PARTS and rest:
        return PARTS[first], rest
    rest, _, last = name.rpartition("_")
    if last in PARTS and rest:
        return PARTS[last], rest
    return "train", name
