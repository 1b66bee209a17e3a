"""A language model of characters with large random weights, as a bundle brings it: its text varies."""
from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

import models
from export.artifacts import Exported
from export.conversion import convert
from export.delivery import bundle
from export.signature import Signature
from export.targets import litert_lm
from export.tflite.metadata import Description
from models.chunks import ChunkedDecoder
from pipelines.ingest.data import Data
from pipelines.tasks.language_model import LanguageModel
from tests.pipelines.tasks.small_data import data_of

LINES = ["In the beginning", "was the word,", "and the word was été", "and again the <END>"]
LENGTH = 40


class Bundled(NamedTuple):
    """A bundle, the data that its vocabulary is of, and the trained model's file."""

    folder: Path
    data: Data
    keras: Path

    @property
    def file(self) -> Path:
        return self.folder / "litert_lm" / "float32.tflite"


def bundled(folder: Path) -> Bundled:
    """Return the bundle of such a model."""
    (folder / "lines.txt").write_text("\n".join(LINES * 4))
    task = LanguageModel()
    data = data_of(task, source={"text_lines": {"path": str(folder / "lines.txt")}}, tokens={
        "tokenizer": "character", "length": LENGTH, "ends": True})
    model = models.build("llama", **task.dimensions(data.index), depth=1, units=16, heads=4, groups=2)
    generator = np.random.default_rng(5)
    for weight in model.weights:
        weight.assign((1 if weight.name == "scale" else 0) + 0.5 * generator.normal(size=weight.shape))
    model.save(folder / "model.keras")
    convert.float_graph(model, lambda one: litert_lm.functions(ChunkedDecoder(one), (4, 16)), folder / "graph")
    source = folder / "exported"
    (source / "litert_lm").mkdir(parents=True)
    (source / "litert_lm" / "float32.tflite").write_bytes(convert.convert(folder / "graph", "float32"))
    exported = [Exported(variant="float32", target="litert_lm", path="litert_lm/float32.litertlm", bytes=1, zipped=1)]
    signature = Signature(inputs=tuple(data.index.inputs.values()), outputs=task.outputs(data.index))
    about = Description(name="few_words", task="language_model", version="1.0.0", labels=[], signature=signature)
    bundle.write(folder / "bundle", about=about, signature=signature, exported=exported, source=source, samples=[],
                 card="", recommended={}, files=task.files(data))
    return Bundled(folder / "bundle", data, folder / "model.keras")
