"""LoRA: the change of a matrix is learnt as the product of two small ones (Hu et al., "LoRA: Low-Rank Adaptation of
Large Language Models", 2021), beside weights that may be of 8 or 4 bits (Dettmers et al., "QLoRA", 2023)."""
from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from etils import epy
from pydantic import Field

from pipelines.engine.store import whole
from pipelines.training.adapter import Adapter
from pipelines.training.weights import stamp

with epy.lazy_imports():
    import h5py
    import keras as keras_library
    import numpy as np

if TYPE_CHECKING:
    import keras

#: The ending of an adapter's file, as KerasHub has it, and the group inside.
ENDING, GROUP = ".lora.h5", "lora"
#: The two small matrices of a dense layer, and of one of vectors.
DENSE, VECTORS = ("lora_kernel_a", "lora_kernel_b"), ("lora_embeddings_a", "lora_embeddings_b")
#: Inputs of a dense layer that share a scale as 4 bits.
BLOCK = 64


class Lora(Adapter, name="lora", shorthand="rank"):
    """W + alpha / rank A B in place of a layer's W, of which A and B alone learn; B begins with zeros.

    Layers without starting weights, such as a new classifier, learn as a whole. The model that ships has W + alpha /
    rank A B as its weights; A and B are beside it in the train stage's adapter.lora.h5.

    Args:
        rank: columns of A, rows of B.
        alpha: factor of the change, over the rank; the rank where not given.
        layers: the ends of the names of the layers that are changed: query, key, value, output, gate, wide, embedding,
            logits; `all` for every dense layer.
        base: of the dense layers' weights, while the adapter learns: as integers they take a quarter or an eighth of
            the memory, and the model that ships has what these stand for.
        start: an adapter's file that training goes on from.
    """

    rank: int = Field(8, ge=1)
    alpha: float | None = Field(None, gt=0)
    layers: tuple[str, ...] = Field(("query", "value"), min_length=1)
    base: Literal["float32", "int8", "int4"] = "float32"
    start: str | None = Field(None, min_length=1)

    def fingerprint(self) -> str:
        """Return what changes with the file that training goes on from."""
        return stamp(self.start) if self.start else ""

    def adapt(self, model: keras.Model, pretrained: Sequence[str]) -> None:
        chosen = self._chosen(model, pretrained)
        for layer in model.layers:
            if layer.weights and layer.name in pretrained and layer not in chosen:
                layer.trainable = False
        for layer in model.layers:
            if self.base != "float32" and layer.name in pretrained and _is_dense(layer) and layer.name != "logits":
                layer.quantize(self.base, config=self._quantization())
        for layer in chosen:
            layer.enable_lora(self.rank, lora_alpha=self.alpha)
            for variable in layer.weights:  # Keras leaves biases and reverse embeddings to learn on
                variable.trainable = variable.name in (*DENSE, *VECTORS)
        if self.start is not None:
            self._load(model, Path(self.start))

    def frozen(self, model: keras.Model) -> str:
        learning = {id(variable) for variable in model.trainable_variables}
        digest = hashlib.sha256()
        for variable in model.weights:
            if id(variable) not in learning:
                digest.update(np.asarray(variable.numpy()).tobytes())
        return digest.hexdigest()

    def merged(self, model: keras.Model) -> list[np.ndarray]:
        return [np.asarray(weight) for layer in model.layers for weight in _merged(layer)]

    def save(self, model: keras.Model, path: Path) -> None:
        with whole(path) as beside, h5py.File(beside, "w") as file:
            group = file.create_group(GROUP)
            group.attrs["rank"], group.attrs["alpha"] = self.rank, self.alpha or self.rank
            for layer in _adapted(model):
                for name in _matrices(layer):
                    group[f"{layer.name}/{name}"] = getattr(layer, name).numpy()

    def summary(self, model: keras.Model) -> str:
        learning = sum(int(np.prod(variable.shape)) for variable in model.trainable_variables)
        base = "" if self.base == "float32" else f" beside weights of {self.base}"
        return (f"LoRA of rank {self.rank} on {len(list(_adapted(model)))} layers{base}: {learning:,} of "
                f"{model.count_params():,} weights learn")

    def _chosen(self, model: keras.Model, pretrained: Sequence[str]) -> list[Any]:
        """Return the layers that are changed, of those with starting weights. Raises ValueError where a name is that of
        none, or the rank too high."""
        able = [layer for layer in model.layers if hasattr(layer, "enable_lora")]
        chosen: list[Any] = []
        for name in self.layers:
            own = [layer for layer in able if _is_called(layer, name)]
            if not own:
                ends = sorted({layer.name.rpartition("_")[2] for layer in able})
                raise ValueError(f"train.adapter.lora.layers: {model.name} has no layer {name}; it has "
                                 f"{', '.join(ends) or 'none that takes LoRA'}")
            chosen += [layer for layer in own if layer.name in pretrained and layer not in chosen]
        if not chosen:
            raise ValueError(f"train.adapter.lora.layers: none of {', '.join(self.layers)} has starting weights; name "
                             "layers that model.weights has")
        for layer in chosen:
            sides = [int(side) for side in layer.weights[0].shape]
            if self.rank > min(sides):
                raise ValueError(f"train.adapter.lora.rank: {self.rank} is more than {layer.name} has, "
                                 f"{' x '.join(map(str, sides))}; give {min(sides)} at most")
        return chosen

    def _quantization(self) -> Any:
        """Return how weights become integers; what goes into a layer stays a real number, as in QLoRA."""
        quantizers = keras_library.quantizers
        if self.base == "int8":
            return quantizers.Int8QuantizationConfig(activation_quantizer=None)
        return quantizers.Int4QuantizationConfig(block_size=BLOCK)

    def _load(self, model: keras.Model, path: Path) -> None:
        """Take an adapter over. Raises ValueError where it cannot be read, or is of another rank or model."""
        if not path.is_file():
            raise ValueError(f"train.adapter.lora.start: there is no file {path}; give one called *{ENDING}, such as "
                             "adapter.lora.h5 of a run's train folder")
        try:
            with h5py.File(path) as file:
                rank, alpha = (float(file[GROUP].attrs[name]) for name in ("rank", "alpha"))
                known = {layer: {name: values[()] for name, values in group.items()}
                         for layer, group in file[GROUP].items()}
        except (OSError, KeyError):
            raise ValueError(f"train.adapter.lora.start: {path} is not an adapter of LoRA") from None
        if (rank, alpha) != (self.rank, self.alpha or self.rank):
            raise ValueError(f"train.adapter.lora.start: {path} is of rank {rank:g} and alpha {alpha:g}, and the "
                             f"recipe says {self.rank} and {self.alpha or self.rank:g}; give the same")
        own = {layer.name: layer for layer in _adapted(model)}
        if set(own) != set(known):
            odd = sorted(set(own) ^ set(known))[0]
            raise ValueError(f"train.adapter.lora.start: {path} is of another model or of other layers: {odd} is in "
                             "one of the two alone")
        for name, layer in own.items():
            for matrix in _matrices(layer):
                mine, values = getattr(layer, matrix), known[name].get(matrix)
                if values is None or tuple(values.shape) != tuple(mine.shape):
                    theirs = "missing" if values is None else f"{tuple(values.shape)}"
                    raise ValueError(f"train.adapter.lora.start: {path} is of another model: {matrix} of {name} is "
                                     f"{theirs} there and {tuple(mine.shape)} here")
                mine.assign(values)


def _is_called(layer: Any, name: str) -> bool:
    return (name == "all" and _is_dense(layer)) or layer.name == name or layer.name.endswith(f"_{name}")


def _is_dense(layer: Any) -> bool:
    return isinstance(layer, keras_library.layers.Dense)


def _adapted(model: keras.Model) -> Iterator[Any]:
    return (layer for layer in model.layers if getattr(layer, "lora_enabled", False))


def _matrices(layer: Any) -> tuple[str, str]:
    return DENSE if _is_dense(layer) else VECTORS


def _merged(layer: Any) -> list[Any]:
    """Return the weights of a layer as they are without adapter and integers."""
    if not getattr(layer, "lora_enabled", False) and not getattr(layer, "quantization_mode", None):
        return layer.get_weights()
    if _is_dense(layer):
        kernel = _kernel(layer)
        return [kernel] if layer.bias is None else [kernel, layer.bias.numpy()]
    others = [] if getattr(layer, "tie_weights", True) else [layer.reverse_embeddings.numpy()]
    return [_changed(layer, layer._embeddings), *others]


def _kernel(layer: Any) -> Any:
    """Return W + alpha / rank A B of a dense layer, W being what its integers stand for where it has some."""
    if layer.quantization_mode is None:
        return _changed(layer, layer._kernel)
    ops, scale = keras_library.ops, layer.kernel_scale
    if layer.quantization_mode == "int8":
        return _changed(layer, ops.cast(layer._kernel, "float32") / scale)
    groups = ops.cast(layer.g_idx, "int32")
    integers = ops.cast(keras_library.quantizers.unpack_int4(layer._kernel, layer.units, axis=-1), "float32")
    zeros = ops.cast(ops.take(layer.kernel_zero, groups, axis=0), "float32")
    return _changed(layer, (integers - zeros) * ops.take(scale, groups, axis=0))


def _changed(layer: Any, weights: Any) -> Any:
    """Return W + alpha / rank A B as Keras adds it, in float32."""
    if not layer.lora_enabled:
        return weights
    ops, (first, second) = keras_library.ops, _matrices(layer)
    change = ops.matmul(getattr(layer, first), getattr(layer, second))
    return ops.add(weights, (layer.lora_alpha / layer.lora_rank) * change)
