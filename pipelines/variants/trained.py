"""Variants that train on: with the rounding of integers, towards zeros, towards few values, or in smaller layers."""
from __future__ import annotations

import shutil
from collections.abc import Sequence
from typing import Any, Literal

from etils import epy
from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from export.compression import cluster, low_rank, prune, qat
from export.conversion import convert
from export.encodings import ENCODINGS
from pipelines.variants.variant import Calibration, Learning, Variant, VariantContext

with epy.lazy_imports():
    import keras

#: What weights that were trained on can be written as; `qat` trains once more, with the rounding of int8, and keeps
#: what was gained.
Encode = Literal["float32", "float16", "dynamic", "int8", "qat"]


class Qat(Variant, Learning, name="qat", shorthand="epochs"):
    """Quantization-aware training: int8 whose weights have learnt with the rounding (Jacob et al. 2018).

    Args:
        only: names of the layers that round; all others stay float. All where not given.
        keep_float: names of layers that stay float.
        calibration: for the ranges that no layer has learnt.
        io: integer, or float for apps that want float32 in and out.
    """

    learns, explained = True, True
    only: list[str] = Field([])
    keep_float: list[str] = Field([])
    calibration: Calibration | None = None
    io: Literal["integer", "float"] = "integer"

    @property
    def encoding(self) -> str:
        return "mixed" if self.only or self.keep_float else "int8"

    @property
    def summary(self) -> str:
        teacher = ", taught by the float model" if self.distill else ""
        return f"int8, trained with its rounding for {self.epochs} epochs{teacher}"

    def content(self, context: VariantContext) -> bytes:
        model = context.load()
        keep_float = qat.kept(model, self.only, self.keep_float)
        return aware_content(context, model, self, keep_float=keep_float, calibration=self.calibration,
                             integer_io=self.io == "integer")


class Reduced(Variant, Learning):
    """What variants have in common that make the weights fewer.

    Args:
        encode: how the result is written; qat trains once more with the rounding of int8 and keeps zeros and clusters.
        per_channel: int8 weights have a scale per output channel; with one for all of a layer, its shared values stay
            few and zip better.
    """

    learns = True
    encode: Encode = "int8"
    per_channel: bool = True

    @model_validator(mode="after")
    def one_scale_goes_with_int8(self) -> Reduced:
        if not self.per_channel and self.encode != "int8":
            raise PydanticCustomError("combination", "per_channel: false goes with encode: int8, not with {encode}: "
                                      "leave one of them out", {"encode": self.encode})
        return self

    @property
    def encoding(self) -> str:
        return "int8" if self.encode == "qat" else self.encode

    @property
    def reduction(self) -> str:
        """Return what is done to the weights, in a line."""
        raise NotImplementedError

    @property
    def different(self) -> int | None:
        """Return how many different weights a layer has, where they are few."""
        return None

    @property
    def summary(self) -> str:
        written = "int8, trained with its rounding" if self.encode == "qat" else ENCODINGS[self.encoding].summary
        return f"{self.reduction}; {written}"

    def reduce(self, context: VariantContext) -> tuple[keras.Model, str]:
        """Return the reduced model, and what a training that follows must keep: one of
        `export.compression.qat.PRESERVED`."""
        raise NotImplementedError

    def content(self, context: VariantContext) -> bytes:
        model, preserve = self.reduce(context)
        if self.encode == "qat":
            return aware_content(context, model, self, preserve=preserve)
        graph = context.folder / "graph"
        shutil.rmtree(graph, ignore_errors=True)
        calibrated = ENCODINGS[self.encode].calibrated
        convert.float_graph(context.for_integers(model) if calibrated else model, context.functions, graph)
        calibration = context.calibration() if calibrated else None
        sparse = preserve == "sparsity" and self.encode == "float32"
        if self.encode == "int8":
            content = context.int8(graph, calibration or (), per_channel=self.per_channel)
        else:
            content = convert.convert(graph, self.encode, calibration, per_channel=self.per_channel, sparse=sparse)
        return cluster.share_integers(content, self.different) if self.different and not self.per_channel else content


class Pruned(Reduced, name="pruned", shorthand="sparsity"):
    """The smallest weights become zeros while the others learn to do without them (Zhu & Gupta 2017).

    Args:
        sparsity: share of zeros in each convolution (depthwise ones aside) and dense layer.
        schedule: the share rises along a cubic polynomial over the first half of the training, or is there from the
            start.
        pattern: any weights, or two of every four neighbours (2:4), which is a sparsity of 0.5.
        keep_dense: names of layers that keep all weights.
        clusters: afterwards, let each layer have so many different weights, zero among them.
    """

    epochs: int = Field(6, ge=1)
    rate: float = Field(1e-3, gt=0)
    sparsity: float = Field(0.75, gt=0, lt=1)
    schedule: Literal["polynomial", "constant"] = "polynomial"
    pattern: Literal["any", "2:4"] = "any"
    keep_dense: list[str] = Field([])
    clusters: int | None = Field(None, ge=2, le=256)

    @model_validator(mode="before")
    @classmethod
    def half_of_four(cls, settings: Any) -> Any:
        if not isinstance(settings, dict) or settings.get("pattern") != "2:4":
            return settings
        sparsity = settings.get("sparsity", 0.5)
        if sparsity != 0.5:
            raise PydanticCustomError("combination", "two of every four weights are a sparsity of 0.5, not {sparsity}: "
                                      "leave sparsity out", {"sparsity": sparsity})
        return {**settings, "sparsity": sparsity}

    @property
    def reduction(self) -> str:
        share = "2 of every 4" if self.pattern == "2:4" else f"{self.sparsity:.0%} of the"
        clusters = f", {self.clusters} different weights a layer" if self.clusters else ""
        return f"{share} weights are zeros{clusters}"

    @property
    def different(self) -> int | None:
        return self.clusters

    def reduce(self, context: VariantContext) -> tuple[keras.Model, str]:
        model = context.load()
        sparse = prune.prepare(
            model, self.sparsity, steps=context.steps * self.epochs, constant=self.schedule == "constant",
            two_of_four=self.pattern == "2:4", keep_dense=self.keep_dense)
        context.fit(sparse, self, "prune", prune.callbacks())
        prune.take_over(model, sparse)
        context.details["sparsity"] = prune.sparsity(model)
        if self.clusters is None:
            return model, "sparsity"
        _clustered(context, model, self, self.clusters, preserve_sparsity=True)
        return model, "both"


class Clustered(Reduced, name="clustered", shorthand="clusters"):
    """Each layer's weights become a few shared values, which zip well (Han et al. 2016, "Deep Compression").

    Args:
        clusters: different weights of a layer.
        start: where the values begin.
    """

    clusters: int = Field(16, ge=2, le=256)
    start: Literal["kmeans++", "linear", "density", "random"] = "kmeans++"

    @property
    def reduction(self) -> str:
        return f"{self.clusters} different weights a layer"

    @property
    def different(self) -> int | None:
        return self.clusters

    def reduce(self, context: VariantContext) -> tuple[keras.Model, str]:
        model = context.load()
        _clustered(context, model, self, self.clusters, start=self.start)
        return model, "clusters"


class LowRank(Reduced, name="low_rank", shorthand="keep"):
    """Convolutions and dense layers as two thin ones in a row, by singular value decomposition (Tai et al. 2016).

    Args:
        keep: share of the energy, the sum of squared singular values, that each layer keeps; what would not become
            smaller stays.
    """

    epochs: int = Field(6, ge=1)
    rate: float = Field(1e-3, gt=0)
    keep: float = Field(0.9, gt=0, lt=1)

    @property
    def reduction(self) -> str:
        return f"layers of low rank that keep {self.keep:.0%} of their energy"

    def reduce(self, context: VariantContext) -> tuple[keras.Model, str]:
        model = context.load()
        thin = low_rank.factorized(model, self.keep)
        context.details["weights"] = {"before": model.count_params(), "after": thin.count_params()}
        context.fit(thin, self, "low_rank")
        return thin, ""


def _clustered(context: VariantContext, model: Any, learning: Learning, clusters: int, *, start: str = "kmeans++",
               preserve_sparsity: bool = False) -> None:
    """Cluster a model's weights and train them, in place."""
    grouped = cluster.prepare(model, clusters, start, preserve_sparsity)
    context.fit(grouped, learning, "cluster")
    cluster.take_over(model, grouped)
    context.details["different_weights"] = cluster.different_weights(model)


def aware_content(context: VariantContext, model: Any, learning: Learning, *, keep_float: Sequence[str] = (),
                  preserve: str = "", calibration: Calibration | None = None, integer_io: bool = True,
                  part: str = "qat") -> bytes:
    """Train a model with the rounding of int8 and return its file. Recurrent layers learn without it, and where inputs
    are real numbers so does what comes before the first weights and behind the last.

    Args:
        keep_float: names of layers that stay float.
        preserve: what the training must keep, one of `export.compression.qat.PRESERVED`.
        calibration: for the ranges that no layer has learnt.
        part: names the training among the variant's.

    Raises:
        ValueError: the task's inputs are columns of a table, which this training would round, or layers are to stay
            float in a file whose ranges are all calibrated.
    """
    real = context.data.real_inputs
    if real and any(not tensor.shape for tensor in context.data.index.inputs.values()):
        raise ValueError(f"a training with the rounding of int8 rounds its inputs too, and those of "
                         f"{context.data.task.entry_name} are real numbers, words, or missing; use int8 or auto")
    recurrent = qat.recurrent(model)
    calibrates = real or bool(recurrent) or not all(map(qat.is_float, model.inputs))
    if calibrates and keep_float:
        kind = f"recurrent layers, such as {recurrent[0]}" if recurrent else "inputs that stay as they are"
        raise ValueError(f"layers that stay float are not for a model with {kind}: leave only and keep_float out, or "
                         "use int8")
    aware = qat.prepare(model, (*keep_float, *recurrent), preserve, real_ends=real)
    if preserve:  # what was made zero, or alike, without rounding would not stay so
        for layer in aware.layers:
            layer.trainable = layer.trainable and layer.name not in recurrent
    context.fit(aware, learning, part)
    graph = context.folder / f"{part}_graph"
    shutil.rmtree(graph, ignore_errors=True)
    # the converter makes no integers of an LSTM among learnt ranges, nor of what stays real: all ranges are calibrated
    if calibrates:
        qat.taken_over(model, aware)
        convert.float_graph(context.for_integers(model), context.functions, graph)
    else:
        qat.float_graph(aware, context.functions, graph)
    return context.int8(graph, context.calibration(calibration), integer_io=integer_io,
                        all_integer=False if keep_float else None)
