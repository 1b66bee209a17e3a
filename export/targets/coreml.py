"""Core ML: a trained Keras model as an ML program for Apple's Neural Engine, GPU and CPU."""
from __future__ import annotations

import json
import shutil
import uuid
from pathlib import Path
from typing import Any, Literal

from etils import epy

from export.keras_models import graph
from export.signature import Tensor
from export.tflite.metadata import Description

with epy.lazy_imports():
    import coremltools
    import keras
    import tensorflow as tf

Weights = Literal["float32", "float16", "int8", "palettized"]
SUMMARY = {"float32": "weights and computation in float32",
           "float16": "weights and computation in float16, as the Neural Engine takes",
           "int8": "weights in int8, one scale per channel, computed in float16",
           "palettized": "weights as 16 shared values per layer, computed in float16"}
#: Layers with fewer weights stay as they are: an index table would not make them smaller.
SMALLEST = 512


def convert(model: keras.Model, weights: Weights, about: Description, target: Path) -> None:
    """Write a model as an .mlpackage, for one example at a time.

    Args:
        model: whose inputs are numbers.
        weights: how they are written.
        about: what the model says of itself; without a signature there the inputs and outputs have the model's names.
        target: the package, to be made. Integers go in as int32, all other numbers, raw pixels too, as float32.

    Raises:
        ValueError: a layer has no Core ML form, or an input is text.
    """
    signature = about.signature or graph.signature_of(model)
    inputs = [_real(tensor) for tensor in signature.inputs]
    function = graph.function(model, signature.model_copy(update={"inputs": tuple(inputs)}))
    names = [tensor.name for tensor in signature.outputs]

    def ordered(*values: tf.Tensor) -> list[tf.Tensor]:
        outputs = function.call(**dict(zip((tensor.name for tensor in inputs), values, strict=True)))
        return [outputs[name] for name in names]

    traced = tf.function(ordered, input_signature=function.specs(1), autograph=False)
    precision = coremltools.precision.FLOAT32 if weights == "float32" else coremltools.precision.FLOAT16
    types = [coremltools.TensorType(name=spec.name, shape=tuple(spec.shape), dtype=spec.dtype.as_numpy_dtype)
             for spec in function.specs(1)]
    try:
        converted = coremltools.convert(
            [traced.get_concrete_function()], source="tensorflow", convert_to="mlprogram", inputs=types,
            compute_precision=precision, minimum_deployment_target=coremltools.target.iOS16, skip_model_load=True)
    except Exception as error:
        raise ValueError(f"coremltools cannot convert it: {' '.join(str(error).split())[:200]}") from error
    converted = _compressed(converted, weights)
    converted.short_description = about.description or about.name
    converted.author = about.author
    converted.license = about.license
    converted.version = about.version
    if about.labels:
        converted.user_defined_metadata["labels"] = "\n".join(about.labels)
    shutil.rmtree(target, ignore_errors=True)
    _with_outputs_named(converted, names).save(str(target))
    _name_by_content(target)


def _real(tensor: Tensor) -> Tensor:
    """Return an input in a type that Core ML takes. Raises ValueError at text."""
    if tensor.dtype == "string":
        raise ValueError(f"Core ML takes numbers alone, and {tensor.name} is text")
    return tensor.model_copy(update={"dtype": "int32" if tensor.dtype in ("int32", "int64") else "float32"})


def _with_outputs_named(converted: Any, names: list[str]) -> Any:
    """Return the package with its outputs called so, which are in the order of the traced function's."""
    specification = converted.get_spec()
    for output, name in zip([output.name for output in specification.description.output], names, strict=True):
        coremltools.utils.rename_feature(specification, output, name)
    return coremltools.models.MLModel(specification, weights_dir=converted.weights_dir, skip_model_load=True)


def _compressed(converted: Any, weights: Weights) -> Any:
    from coremltools.optimize import coreml as optimize

    if weights == "int8":
        settings = optimize.OpLinearQuantizerConfig(mode="linear_symmetric", weight_threshold=SMALLEST)
        return optimize.linear_quantize_weights(converted, optimize.OptimizationConfig(global_config=settings))
    if weights == "palettized":
        settings = optimize.OpPalettizerConfig(mode="kmeans", nbits=4, weight_threshold=SMALLEST)
        return optimize.palettize_weights(converted, optimize.OptimizationConfig(global_config=settings))
    return converted


def _name_by_content(package: Path) -> None:
    """Give the parts of a package names that depend on the model alone: coremltools draws them at random."""
    manifest = package / "Manifest.json"
    content = json.loads(manifest.read_bytes())
    entries = content["itemInfoEntries"]
    names = {old: str(uuid.uuid5(uuid.NAMESPACE_URL, entry["path"])).upper() for old, entry in entries.items()}
    content["itemInfoEntries"] = {names[old]: entry for old, entry in entries.items()}
    content["rootModelIdentifier"] = names[content["rootModelIdentifier"]]
    manifest.write_text(json.dumps(content, indent=4, sort_keys=True))
    for path in package.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)


def structure(package: Path) -> dict[str, Any]:
    """Return what a package holds: its inputs and outputs with their shapes, and how often each operation stands in it.

    Raises:
        ValueError: it is not an ML program.
    """
    from coremltools.proto import Model_pb2

    specification = Model_pb2.Model()  # coremltools' own way to read a package rewrites its manifest
    specification.ParseFromString((package / "Data" / "com.apple.CoreML" / "model.mlmodel").read_bytes())
    if specification.WhichOneof("Type") != "mlProgram":
        raise ValueError(f"{package} is not an ML program")
    described = specification.description
    function = next(iter(specification.mlProgram.functions.values()))
    operations: dict[str, int] = {}
    for block in function.block_specializations.values():
        for operation in block.operations:
            operations[operation.type] = operations.get(operation.type, 0) + 1
    shapes = {kind: {one.name: tuple(one.type.multiArrayType.shape) for one in features}
              for kind, features in (("inputs", described.input), ("outputs", described.output))}
    return {**shapes, "operations": operations}
