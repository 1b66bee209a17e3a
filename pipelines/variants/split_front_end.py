"""The variant of a model of sound in two files: its front end in real numbers, and the network behind it."""
from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from export.conversion import convert, int8
from export.keras_models import graph
from export.keras_models.split import split
from export.predictors.litert import LiteRTPredictor
from export.signature import DEFAULT, Arrays, Signature
from export.tflite import file as tflite_file
from models import front_end
from pipelines.engine.store import whole
from pipelines.variants.encoded import CALIBRATED, Encoded
from pipelines.variants.record import VariantRecord, zipped_size
from pipelines.variants.variant import VariantContext, default_inputs

if TYPE_CHECKING:
    import keras



class SplitFrontEnd(Encoded, name="split_front_end", shorthand="encode"):
    """A model of sound as two files that are asked one after the other: the front end in float32, from samples to
    features, and the network, from features on. With integers inside and outside, an NPU can take the network, and a
    microcontroller that computes features by other means needs nothing else.

    Args:
        encode: how the network's numbers are written.
        form: how the front end computes its transform: by rfft, or by a convolution, which TensorFlow Lite Micro has
            too; as it was trained where not given.
        calibration: the recordings that ranges are found with; those of compress.calibration where not given.
    """

    split = True
    encode: Literal["float32", "float16", "dynamic", "int8", "int16x8"] = "int8"
    form: front_end.Form | None = None

    @property
    def summary(self) -> str:
        return f"two files: front end in float32; network: {super().summary}"

    def content(self, context: VariantContext) -> bytes:
        """Return the network's file, and leave the front end's in the context's folder. Raises ValueError where the
        model has no front end."""
        if not context.hears:
            raise ValueError(f"split_front_end is for models that take sound, and {context.data.task.entry_name} takes "
                             "none; leave it out")
        parts = split(context.load(), front_end.NAME, **({"form": self.form} if self.form else {}))
        index = context.data.index
        taken = Signature(inputs=tuple(index.inputs.values()), outputs=context.data.task.outputs(index))
        front = context.folder / front_file(self.title)
        content = convert.convert(_graph(context, "front_end", parts.front, parts.of_front(taken)), "float32")
        with whole(front) as beside:
            beside.write_bytes(content)
        context.details["front_end"] = front.name
        if self.encode not in CALIBRATED:
            return convert.convert(_graph(context, "network", parts.network, parts.of_network(taken)), self.encode)
        features = LiteRTPredictor(front).predict(default_inputs(context.calibration(self.calibration)))
        network = context.for_integers(parts.network, every=self.encode == "int16x8")
        return self._integers(context, _graph(context, "network", network, parts.of_network(taken)), features)

    def _integers(self, context: VariantContext, folder: Path, features: Arrays) -> bytes:
        calibration = [(DEFAULT, features)]
        if self.encode == "int16x8":
            return convert.convert(folder, "int16x8", calibration)
        content = int8.quantize(int8.calibrate(folder, calibration, apart=True))  # as the one file is made
        if names := tflite_file.float_operators(content):
            context.details |= {"encoding": "mixed", "stays_float": names}
        return content

    def finished(self, context: VariantContext) -> bytes:
        """Return the network's file: the front end beside it is as exact as it was trained."""
        return self.content(context)

    def make(self, context: VariantContext, path: Path) -> VariantRecord:
        """Write both files; return what was made."""
        record = super().make(context, path)
        content = (context.folder / front_file(self.title)).read_bytes()
        with whole(path.with_name(front_file(self.title))) as beside:
            beside.write_bytes(content)
        return record.model_copy(update={
            "bytes": record.bytes + len(content), "zipped": record.zipped + zipped_size(content)})


def front_file(variant: str) -> str:
    """Return the name of the front end's file of a variant, which lies beside the network's."""
    return f"{variant}.frontend.tflite"


def _graph(context: VariantContext, name: str, model: keras.Model, signature: Signature) -> Path:
    """Write the float graph of one of the two; return its folder."""
    folder = context.folder / name
    shutil.rmtree(folder, ignore_errors=True)

    def functions(written: Any) -> list[Any]:
        return [graph.function(written, signature)]

    convert.float_graph(model, functions, folder)
    return folder
