"""Files of detectors that were never trained, in the three forms in which they ship."""
import dataclasses
from pathlib import Path

import numpy as np
import tensorflow as tf

from export.artifacts import Exported
from export.signature import Signature, Tensor
from export.tflite import detection, phone
from export.tflite.metadata import Description
from models.box_coding import Points
from pipelines.tasks.object_detection import detections

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
