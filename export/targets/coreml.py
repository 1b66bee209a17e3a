"""Core ML: a trained Keras model as an ML program for Apple's Neural Engine, GPU and CPU."""
from __future__ import annotations

import json
import shutil
import uuid
from pathlib import Path
from typing import Any, Literal

from etils import epy

from export.tflite.metadata import Description

with epy.lazy_imports():
    import coremltools
    import keras
    import tensorflow as tf

Weights = Literal["float32", "float16", "int8", "palettized"]
SUMMARY = {"float32": "weights and computation in float32", "float16": "weights and computation in float16, as the Neural Engine takes",
           "int8": "weights in int8, one scale per channel, computed in float16",
           "palettized": "weights as 16 shared values per layer, computed in float16"}
#: Layers with fewer weights stay as they are: an index table would not make them smaller.
SMALLEST = 512


def convert(model: keras.Model, weights: Weights, about: Description, target: Path) -> None:
    """Writes a model as an .mlpackage.

    Args:
        model: from raw pixels (batch, height, width, channels) to logits (batch, classes).
        weights: how they are written.
        about: what the model says of itself.
        target: the package, to be made. It takes `image`, raw pixels as float32 (1, height, width, channels), and gives `logits`.

    Raises:
        ValueError: a layer has no Core ML form.
    """
    shape = (1, *model.input_shape[1:])
    specification = tf.TensorSpec(shape, tf.float32, "image")
    traced = tf.function(lambda image: {"logits": model(image, training=False)}, input_signature=[specification])
    precision = coremltools.precision.FLOAT32 if weights == "float32" else coremltools.precision.FLOAT16
    try:
        made = coremltools.convert(
            [traced.get_concrete_function()], source="tensorflow", convert_to="mlprogram", compute_precision=precision,
            minimum_deployment_target=coremltools.target.iOS16, inputs=[coremltools.TensorType(name="image", shape=shape)],
            skip_model_load=True)
    except Exception as error:
        raise ValueError(f"coremltools cannot convert it: {' '.join(str(error).split())[:200]}") from error
    made = _compressed(made, weights)
    made.short_description, made.author = about.description or about.name, about.author
    made.license, made.version = about.license, about.version
    made.user_defined_metadata["labels"] = "\n".join(about.labels)
    shutil.rmtree(target, ignore_errors=True)
    _with_output_named(made, "logits").save(str(target))
    _name_by_content(target)


def _with_output_named(made: Any, name: str) -> Any:
    specification = made.get_spec()
    coremltools.utils.rename_feature(specification, specification.description.output[0].name, name)
    return coremltools.models.MLModel(specification, weights_dir=made.weights_dir, skip_model_load=True)


def _compressed(made: Any, weights: Weights) -> Any:
    from coremltools.optimize import coreml as optimize

    if weights == "int8":
        settings = optimize.OpLinearQuantizerConfig(mode="linear_symmetric", weight_threshold=SMALLEST)
        return optimize.linear_quantize_weights(made, optimize.OptimizationConfig(global_config=settings))
    if weights == "palettized":
        settings = optimize.OpPalettizerConfig(mode="kmeans", nbits=4, weight_threshold=SMALLEST)
        return optimize.palettize_weights(made, optimize.OptimizationConfig(global_config=settings))
    return made


def _name_by_content(package: Path) -> None:
    """Gives the parts of a package names that depend on the model alone: coremltools draws them at random."""
    manifest = package / "Manifest.json"
    content = json.loads(manifest.read_bytes())
    names = {old: str(uuid.uuid5(uuid.NAMESPACE_URL, entry["path"])).upper() for old, entry in content["itemInfoEntries"].items()}
    content["itemInfoEntries"] = {names[old]: entry for old, entry in content["itemInfoEntries"].items()}
    content["rootModelIdentifier"] = names[content["rootModelIdentifier"]]
    manifest.write_text(json.dumps(content, indent=4, sort_keys=True))
    for path in package.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)


def structure(package: Path) -> dict[str, Any]:
    """What a package holds: its inputs and outputs with their shapes, and how often each operation stands in it.

    Raises:
        ValueError: it is no ML program.
    """
    from coremltools.proto import Model_pb2

    specification = Model_pb2.Model()  # coremltools' own way to read a package writes its manifest anew
    specification.ParseFromString((package / "Data" / "com.apple.CoreML" / "model.mlmodel").read_bytes())
    if specification.WhichOneof("Type") != "mlProgram":
        raise ValueError(f"{package} is no ML program")
    described = specification.description
    function = next(iter(specification.mlProgram.functions.values()))
    operations: dict[str, int] = {}
    for block in function.block_specializations.values():
        for operation in block.operations:
            operations[operation.type] = operations.get(operation.type, 0) + 1
    return {"inputs": {one.name: tuple(one.type.multiArrayType.shape) for one in described.input},
            "outputs": {one.name: tuple(one.type.multiArrayType.shape) for one in described.output}, "operations": operations}
