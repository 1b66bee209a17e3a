"""Variants that train on: with the rounding of integers, towards zeros, towards few values, or in smaller layers."""
from __future__ import annotations

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

#: What weights that were trained on can be written as; `qat` trains once more, with the rounding of int8, and keeps what was gained.
Encode = Literal["float32", "float16", "dynamic", "int8", "qat"]


class Qat(Variant, Learning, name="qat", shorthand="epochs"):
    """Quantization-aware training: int8 whose weights have learnt with the rounding (Jacob et al. 2018).

    Args:
        only: names of the layers that round; all others stay float. All where not given.
        keep_float: names of layers that stay float.
        calibration: for the ranges that no layer has learnt.
        ends: integer, or float for apps that want float32 in and out.
    """

    learns, explained = True, True
    only: list[str] = Field([])
    keep_float: list[str] = Field([])
    calibration: Calibration | None = None
    ends: Literal["integer", "float"] = "integer"

    @property
    def encoding(self) -> str:
        return "mixed" if self.only or self.keep_float else "int8"

    @property
    def summary(self) -> str:
        taught = ", taught by the float model" if self.distill else ""
        return f"int8, trained with its rounding for {self.epochs} epochs{taught}"

    def content(self, shop: VariantContext) -> bytes:
        model = shop.load()
        return aware_content(shop, model, self, keep_float=qat.kept(model, self.only, self.keep_float), calibration=self.calibration,
                             integer_ends=self.ends == "integer")


class Reduced(Variant, Learning):
    """What variants have in common that make the weights fewer.

    Args:
        encode: how the result is written; qat trains once more with the rounding of int8 and keeps zeros and clusters.
        per_channel: int8 weights have a scale per output channel; with one for all of a layer, its shared values stay few and zip better.
    """

    learns = True
    encode: Encode = "int8"
    per_channel: bool = True

    @model_validator(mode="after")
    def one_scale_goes_with_int8(self) -> Reduced:
        if not self.per_channel and self.encode != "int8":
            raise PydanticCustomError("combination", "per_channel: false goes with encode: int8, not with {encode}: leave one of them out",
                                      {"encode": self.encode})
        return self

    @property
    def encoding(self) -> str:
        return "int8" if self.encode == "qat" else self.encode

    @property
    def reduction(self) -> str:
        """What is done to the weights, in a line."""
        raise NotImplementedError

    @property
    def different(self) -> int | None:
        """How many different weights a layer has, where they are few."""
        return None

    @property
    def summary(self) -> str:
        written = "int8, trained with its rounding" if self.encode == "qat" else ENCODINGS[self.encoding].summary
        return f"{self.reduction}; {written}"

    def reduce(self, shop: VariantContext) -> tuple[keras.Model, str]:
        """The reduced model, and what a training that follows must keep: one of `export.compression.qat.PRESERVED`."""
        raise NotImplementedError

    def content(self, shop: VariantContext) -> bytes:
        model, preserve = self.reduce(shop)
        if self.encode == "qat":
            return aware_content(shop, model, self, preserve=preserve)
        graph = shop.folder / "graph"
        convert.float_graph(model, graph)
        pictures = shop.pictures() if ENCODINGS[self.encode].calibrated else None
        content = convert.convert(graph, self.encode, pictures, per_channel=self.per_channel,
                                 sparse=preserve == "sparsity" and self.encode == "float32")
        return cluster.share_integers(content, self.different) if self.different and not self.per_channel else content


class Pruned(Reduced, name="pruned", shorthand="sparsity"):
    """The smallest weights become zeros while the others learn to do without them (Zhu & Gupta 2017, "To prune, or not to prune").

    Args:
        sparsity: share of zeros in each convolution (depthwise ones aside) and dense layer.
        schedule: the share rises along a cubic polynomial over the first half of the training, or is there from the start.
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
    def half_of_four(cls, given: Any) -> Any:
        if isinstance(given, dict) and given.get("pattern") == "2:4" and given.setdefault("sparsity", 0.5) != 0.5:
            raise PydanticCustomError("combination", "two of every four weights are a sparsity of 0.5, not {given}: leave sparsity out",
                                      {"given": given["sparsity"]})
        return given

    @property
    def reduction(self) -> str:
        share = "2 of every 4 weights are zeros" if self.pattern == "2:4" else f"{self.sparsity:.0%} of the weights are zeros"
        return share + (f", {self.clusters} different weights a layer" if self.clusters else "")

    @property
    def different(self) -> int | None:
        return self.clusters

    def reduce(self, shop: VariantContext) -> tuple[keras.Model, str]:
        model = shop.load()
        sparse = prune.prepare(model, self.sparsity, steps=shop.steps * self.epochs, constant=self.schedule == "constant",
                               two_of_four=self.pattern == "2:4", keep_dense=self.keep_dense)
        shop.fit(sparse, self, "prune", prune.callbacks())
        prune.take_over(model, sparse)
        shop.details["sparsity"] = prune.sparsity(model)
        if self.clusters is None:
            return model, "sparsity"
        _clustered(shop, model, self, self.clusters, preserve_sparsity=True)
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

    def reduce(self, shop: VariantContext) -> tuple[keras.Model, str]:
        model = shop.load()
        _clustered(shop, model, self, self.clusters, start=self.start)
        return model, "clusters"


class LowRank(Reduced, name="low_rank", shorthand="keep"):
    """Convolutions and dense layers as two thin ones in a row, by singular value decomposition (Tai et al. 2016).

    Args:
        keep: share of the energy, the sum of squared singular values, that each layer keeps; what would not become smaller stays.
    """

    epochs: int = Field(6, ge=1)
    rate: float = Field(1e-3, gt=0)
    keep: float = Field(0.9, gt=0, lt=1)

    @property
    def reduction(self) -> str:
        return f"layers of low rank that keep {self.keep:.0%} of their energy"

    def reduce(self, shop: VariantContext) -> tuple[keras.Model, str]:
        model = shop.load()
        thin = low_rank.factorized(model, self.keep)
        shop.details["weights"] = {"before": model.count_params(), "after": thin.count_params()}
        shop.fit(thin, self, "low_rank")
        return thin, ""


def _clustered(shop: VariantContext, model: Any, learning: Learning, clusters: int, *, start: str = "kmeans++", preserve_sparsity: bool = False,
               ) -> None:
    """Clusters a model's weights and trains them, in place."""
    grouped = cluster.prepare(model, clusters, start, preserve_sparsity)
    shop.fit(grouped, learning, "cluster")
    cluster.take_over(model, grouped)
    shop.details["different_weights"] = cluster.different_weights(model)


def aware_content(shop: VariantContext, model: Any, learning: Learning, *, keep_float: list[str] | None = None, preserve: str = "",
                  calibration: Calibration | None = None, integer_ends: bool = True, part: str = "qat") -> bytes:
    """Trains a model with the rounding of int8 and writes it. `part` names the training among the variant's."""
    graph = shop.folder / f"{part}_graph"
    aware = qat.prepare(model, keep_float or [], preserve)
    shop.fit(aware, learning, part)
    qat.float_graph(aware, graph)
    return convert.convert(graph, "int8", shop.pictures(calibration), integer_ends=integer_ends, all_integer=not keep_float)
