"""A bundle's golden samples: test examples with what each model must answer, in files that any language can read.

`expected.json` is a list with an entry per sample:

    {"file": "00.png", "label": "7", "expected": {"int8": {"class": "7", "logits": [...]}, ...}}

An input called `image` that is alone stands as `file`. Other inputs stand by name, as numbers or as the file that holds
them:

    {"inputs": {"image": {"file": "00.image.png"}, "age": 41.0}, "label": "7", "expected": {...}}

A missing number, NaN, is null. A word of a vocabulary stands as text too, which is what a server is sent:
{"text": "male", "values": 2}.

More than 4,096 numbers lie in a file of their own, which NumPy reads: {"file": "00.int8.logits.npy"}. A file that wants
a decoder which is not here, a sound for instance, has its numbers beside it: {"file": "00.wave.wav", "values": [...]}.

Of an output that says something of each token of a text, some rows stand for all where all are too many:
{"rows": [0, 85, 170, 255], "file": "00.int8.logits.npy"}.
"""
from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from etils import epy

from export.signature import Arrays

with epy.lazy_imports():
    import numpy as np
    import PIL.Image

#: The folder of a bundle, and the list in it.
FOLDER, NAME = "samples", "expected.json"
#: The input that is called `file` where it is alone.
IMAGE = "image"
#: Arrays of more numbers lie beside the JSON file.
MOST = 4096
#: Of the rows of outputs with more numbers, some stand for all; so many.
MOST_WHOLE, ROWS = 65_536, 8
#: Decimal places of outputs, and digits at least of an array's largest number.
DIGITS = 5
#: Kinds of NumPy's types that are text.
TEXT = "OSU"


@dataclasses.dataclass(frozen=True)
class Sample:
    """A test example with what the models answered to it.

    Args:
        inputs: by name, one example each, without the batch.
        files: input name to ("png", content), for inputs that also go as the file that they are decoded from.
        texts: input name to the text that a server is sent in place of its number.
        targets: what is true of it, in words: {"label": "7"}.
        outputs: artifact name (and "keras") to output name to array, without the batch.
        words: artifact name to what its answer is called: {"class": "7"}.
        rows: output name to the rows that stand for all of them, where all are too many, see `rows_of`.
    """

    inputs: Arrays
    files: Mapping[str, tuple[str, bytes]]
    targets: Mapping[str, str]
    outputs: Mapping[str, Arrays]
    words: Mapping[str, Mapping[str, str]]
    texts: Mapping[str, str] = dataclasses.field(default_factory=dict)
    rows: Mapping[str, Sequence[int]] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Samples:
    """The golden samples of a bundle, as they were read.

    Args:
        inputs: by name, (samples, ...).
        expected: artifact name (and "keras") to output name to (samples, ...).
        encoded: input name to the file of each sample, for inputs that go as files.
        texts: input name to the text of each sample, for inputs that a server is sent as text.
        rows: output name to the rows of what is answered that are expected, where these are not all.
    """

    inputs: dict[str, np.ndarray]
    expected: dict[str, dict[str, np.ndarray]]
    encoded: dict[str, list[Path]]
    texts: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)
    rows: dict[str, list[int]] = dataclasses.field(default_factory=dict)

    @property
    def sent(self) -> dict[str, np.ndarray]:
        """Return the inputs as a server is sent them."""
        return {**self.inputs, **self.texts}

    @property
    def files(self) -> list[Path]:
        """Return all files that inputs are decoded from, in the order of their names."""
        return sorted(path for paths in self.encoded.values() for path in paths)

    def __len__(self) -> int:
        return len(next(iter(self.inputs.values()), ()))


def rows_of(shape: Sequence[int]) -> list[int]:
    """Return the rows that stand for all of an output of tokens, (tokens, classes), from the first to the last; none
    where it is kept as a whole."""
    if len(shape) != 2 or math.prod(shape) <= MOST_WHOLE:
        return []
    return np.unique(np.linspace(0, shape[0] - 1, ROWS).round().astype(int)).tolist()


def write(folder: Path, samples: Sequence[Sample]) -> None:
    """Write samples into a folder, which is made."""
    folder.mkdir()
    entries = [_entry(folder, f"{number:02d}", sample) for number, sample in enumerate(samples)]
    (folder / NAME).write_text(json.dumps(entries, indent=1))


def read(folder: Path) -> Samples:
    """Return the samples of a folder.

    Raises:
        OSError: a file is missing.
        ValueError: they are of several shapes.
    """
    entries = json.loads((folder / NAME).read_bytes())
    if not entries:
        return Samples({}, {}, {})
    inputs = [entry["inputs"] if "inputs" in entry else {IMAGE: {"file": entry["file"]}} for entry in entries]
    answers = [entry["expected"] for entry in entries]
    return Samples(
        inputs={name: np.stack([_array(folder, one[name]) for one in inputs]) for name in inputs[0]},
        expected={artifact: {name: np.stack([_array(folder, one[artifact][name]) for one in answers])
                             for name, value in outputs.items() if not isinstance(value, str)}
                  for artifact, outputs in answers[0].items()},
        encoded={name: [folder / one[name]["file"] for one in inputs]
                 for name, value in inputs[0].items() if _is_encoded(value)},
        texts={name: np.array([one[name]["text"].encode() for one in inputs], object)
               for name, value in inputs[0].items() if isinstance(value, dict) and "text" in value},
        rows={name: value["rows"] for outputs in answers[0].values() for name, value in outputs.items()
              if isinstance(value, dict) and "rows" in value})


def _entry(folder: Path, stem: str, sample: Sample) -> dict[str, Any]:
    """Return a sample's part of the JSON file; the files that it names are written."""
    alone = list(sample.inputs) == [IMAGE]
    inputs = {name: _input(folder, stem if alone else f"{stem}.{name}", sample, name) for name in sample.inputs}
    expected: dict[str, dict[str, Any]] = {}
    for artifact, outputs in sample.outputs.items():
        answers = {name: _answer(folder, f"{stem}.{artifact}.{name}", value, sample.rows.get(name, []))
                   for name, value in outputs.items()}
        expected[artifact] = {**sample.words.get(artifact, {}), **answers}
    is_image_file = alone and inputs[IMAGE] == {"file": f"{stem}.png"}
    return {**(inputs[IMAGE] if is_image_file else {"inputs": inputs}), **sample.targets, "expected": expected}


def _answer(folder: Path, stem: str, values: np.ndarray, rows: Sequence[int]) -> Any:
    """Return what stands for an output: its numbers, the file that holds them, or either of some of its rows."""
    if not len(rows):
        return _numbers(folder, stem, values, _rounded)
    kept = _numbers(folder, stem, values[list(rows)], _rounded)
    return {"rows": list(rows), **(kept if isinstance(kept, dict) else {"values": kept})}


def _input(folder: Path, stem: str, sample: Sample, name: str) -> Any:
    """Return what stands for an input: its numbers, its file, or both where `read` does not decode the file."""
    if name in sample.texts:
        return {"text": sample.texts[name], "values": _numbers(folder, stem, sample.inputs[name], _exact)}
    if name not in sample.files:
        return _numbers(folder, stem, sample.inputs[name], _exact)
    ending, content = sample.files[name]
    file = f"{stem}.{ending}"
    (folder / file).write_bytes(content)
    if ending == "png":
        return {"file": file}
    return {"file": file, "values": _numbers(folder, stem, sample.inputs[name], _exact)}


def _is_encoded(value: Any) -> bool:
    return isinstance(value, dict) and "file" in value and not value["file"].endswith(".npy")


def _numbers(folder: Path, stem: str, values: Any, listed: Callable[[np.ndarray], Any]) -> Any:
    """Return an array as lists, or the file that it is written to where it is large."""
    array = np.asarray(values)
    if array.size <= MOST or array.dtype.kind in TEXT:
        return listed(array)
    np.save(folder / f"{stem}.npy", array)
    return {"file": f"{stem}.npy"}


def _array(folder: Path, value: Any) -> np.ndarray:
    """Return what a value of the JSON file stands for."""
    if isinstance(value, dict) and "values" in value:
        value = value["values"]
    if not isinstance(value, dict):
        array = np.asarray(value)
        if array.dtype == object:
            return np.asarray(value, "float32")  # null: a missing number
        if array.dtype.kind == "U":
            return np.char.encode(array, "utf-8").astype(object)
        return array.astype("float32") if array.dtype.kind == "f" else array
    path = folder / value["file"]
    if path.suffix == ".npy":
        return np.load(path)
    pixels = np.asarray(PIL.Image.open(path))
    return pixels[..., None] if pixels.ndim == 2 else pixels


def _exact(array: np.ndarray) -> Any:
    """Return an array as lists whose numbers are read as the very same ones."""
    if array.dtype.kind != "f":
        return _plain(array)
    listed = np.array([float(str(number)) for number in array.ravel()]).reshape(array.shape).tolist()
    return _mapped(listed, lambda number: None if math.isnan(number) else number)  # JSON has no NaN


def _rounded(array: np.ndarray) -> Any:
    """Return an array as lists, its numbers as exact as other machines can be expected to agree on."""
    if array.dtype.kind != "f":
        return _plain(array)
    largest = float(np.abs(array).max(initial=0.0))
    places = max(DIGITS, DIGITS - 1 - math.floor(math.log10(largest))) if 0 < largest < math.inf else DIGITS
    return _mapped(array.tolist(), lambda number: round(number, places))


def _plain(array: np.ndarray) -> Any:
    return _mapped(array.tolist(), lambda value: value.decode() if isinstance(value, bytes) else value)


def _mapped(value: Any, function: Callable[[Any], Any]) -> Any:
    return [_mapped(one, function) for one in value] if isinstance(value, list) else function(value)
