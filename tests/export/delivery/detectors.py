"""Files of detectors that were never trained, in the three forms in which they ship."""
import dataclasses
from pathlib import Path

import numpy as np
import tensorflow as tf

from export.artifacts import Exported
from export.delivery import snippets
from export.signature import Signature, Tensor
from export.tflite import detection, phone
from export.tflite.metadata import Description
from models.anchors import AnchorCells, Anchors
from models.box_coding import BoxCoding, Points
from models.regions import Regions
from pipelines.tasks.object_detection import detections
from tests.export.tflite.test_joined import converted

NAMES = ["cat", 'a "quoted" one', "$cow"]
SIZE = (32, 48)
CODING = Points(SIZE, (8, 16), 4)
IMAGE = Tensor(name="image", dtype="float32", shape=(*SIZE, 3), role="image")
DRIVER = detections.driver(CODING, most=10, iou=0.5, threshold=0.3)
BEHIND = detection.PostProcessing(
    DRIVER, lambda outputs: (detections.shares(CODING, outputs), CODING.scores(outputs)),
    {"boxes": (CODING.count, CODING.width), "logits": (CODING.count, 3)}, CODING.count, 3, detections.tensors(10),
    score=0.1)
HEADS = (Tensor(name="boxes", dtype="float32", shape=(CODING.count, CODING.width)),
         Tensor(name="logits", dtype="float32", shape=(CODING.count, 3), role="logits"))
ABOUT = Description(name="farm", task="object_detection", version="1.0.0", labels=NAMES, decoding=DRIVER,
                    signature=Signature(inputs=(IMAGE,), outputs=HEADS))
ANCHORS = Anchors(SIZE, (8, 16), (((10.0, 6.5), (16.0, 16.0)), ((24.0, 30.0),)), (0.1, 0.2))
#: A coding of each kind that an app's code reads, and of the kinds with more than one form each form.
CODINGS: dict[str, BoxCoding] = {
    "points": CODING, "distances": Points(SIZE, (8, 16), 1), "anchors": ANCHORS,
    "key points": dataclasses.replace(ANCHORS, key_points=2),
    "cells": AnchorCells(SIZE, (8, 16), (((10.0, 6.5), (16.0, 16.0)), ((24.0, 30.0),))),
    "regions": Regions(SIZE, dataclasses.replace(ANCHORS, variances=(1.0, 1.0)), 30)}
IMAGES = np.random.default_rng(1).integers(0, 256, (20, *SIZE, 3)).astype("float32")


def network(integers: bool) -> bytes:
    """Return a file from images to what a detector's network gives, a layer for each of its outputs."""
    generator = np.random.default_rng(2)
    grid = CODING.grids[0]
    kernels = [tf.constant(generator.normal(0, 0.004, (8, 8, 3, width)), tf.float32) for width in (CODING.width, 3)]
    offsets = [tf.constant(generator.normal(0, 1.5, (1, CODING.count, width)), tf.float32)
               for width in (CODING.width, 3)]

    def call(image):
        outputs = []
        for kernel, offset in zip(kernels, offsets, strict=True):
            maps = tf.reshape(tf.nn.conv2d(image, kernel, 8, "VALID"), (1, grid[0] * grid[1], -1))
            outputs.append(tf.concat([maps, maps[:, :CODING.count - grid[0] * grid[1]]], axis=1) + offset)
        return {"boxes": outputs[0], "logits": outputs[1]}

    module = tf.Module()
    module.call = tf.function(call, input_signature=[tf.TensorSpec((1, *SIZE, 3), tf.float32, "image")])
    made = tf.lite.TFLiteConverter.from_concrete_functions([module.call.get_concrete_function()], module)
    if integers:
        made.optimizations = [tf.lite.Optimize.DEFAULT]
        made.representative_dataset = lambda: ([one[None]] for one in IMAGES)
        made.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        made.inference_input_type, made.inference_output_type = tf.uint8, tf.int8
    return made.convert()


def exported(folder: Path) -> list[Exported]:
    """Write float32 and int8 files of each form; return what export says of them."""
    behind = {"litert": None, "boxes": BEHIND, "decoded": dataclasses.replace(BEHIND, form="decoded")}
    listed = []
    for variant in ("float32", "int8"):
        content = network(variant == "int8")
        for target, one in behind.items():
            signature = Signature(inputs=(IMAGE,), outputs=HEADS if one is None else tuple(one.outputs))
            whole = content if one is None else detection.with_post_processing(content, one)
            path = folder / target / f"{variant}.tflite"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(phone.ready(whole, ABOUT.model_copy(update={"signature": signature})))
            listed.append(Exported(variant=variant, target=target, path=f"{target}/{variant}.tflite", bytes=1,
                                   zipped=1))
    return listed


def outputs_of(coding: BoxCoding) -> dict[str, np.ndarray]:
    """Return what a network that was never trained gives of one image, (1, places, …): the first box would be endless
    and is far outside, and the last regions are none."""
    generator = np.random.default_rng(4)
    outputs = {name: generator.normal(0, 2, (1, *given.shape)).astype("float32")
               for name, given in coding.outputs(len(NAMES)).items()}
    if isinstance(coding, Anchors | Regions):
        first = 4 if isinstance(coding, Regions) else 0  # behind the background's
        outputs["boxes"][0, 0, first:first + 4] = -400, 0, 100, 0
        outputs["logits"][0, 0, first // 4] = 9
    if isinstance(coding, Regions):
        corners = generator.uniform(0, SIZE, (coding.count, 2, 2))
        outputs["proposals"][0] = np.concatenate([corners.min(axis=1), corners.max(axis=1) + 4], axis=1)
        outputs["proposals"][0, -3:] = 0
        outputs["logits"][0, -3:] = 0, 9, 9, 9
    return outputs


def written(folder: Path, name: str, coding: BoxCoding) -> Path:
    """Write a file that gives `outputs_of` a coding, and its code; return the folder of the code."""
    outputs = outputs_of(coding)
    content = converted(lambda image: {key: value + 1e-9 * tf.reduce_mean(image) for key, value in outputs.items()},
                        tf.TensorSpec((1, *SIZE, 3), tf.float32, "image"))
    heads = tuple(Tensor(name=key, dtype="float32", shape=value.shape[1:]) for key, value in outputs.items())
    about = ABOUT.model_copy(update={
        "name": name, "signature": Signature(inputs=(IMAGE,), outputs=heads),
        "decoding": detections.driver(coding, most=10, iou=0.5, threshold=0.3, names=["nose", "$tail"])})
    path = folder / name / "litert" / "float32.tflite"
    path.parent.mkdir(parents=True)
    path.write_bytes(phone.ready(content, about))
    listed = [Exported(variant="float32", target="litert", path="litert/float32.tflite", bytes=1, zipped=1)]
    snippets.write(folder / name / "code", about, listed, {}, folder / name)
    return folder / name / "code"
