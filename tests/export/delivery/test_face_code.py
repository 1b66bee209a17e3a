"""The code that a bundle brings for embeddings of faces."""
import shutil
import subprocess

import numpy as np
import pytest
import tensorflow as tf
import tree_sitter_kotlin
import tree_sitter_swift

from export.artifacts import Exported
from export.delivery import snippets
from export.signature import Signature, Tensor
from export.tflite import phone
from export.tflite.metadata import Description
from tests.export.delivery.test_detector_code import DRAWING
from tests.export.delivery.test_snippets import SIGNATURES, parsed

SIDE, LENGTH = 8, 4
FILES = {variant: Exported(variant=variant, target="litert", path=f"litert/{variant}.tflite", bytes=1, zipped=1)
         for variant in ("float32", "int8")}


def described(output="embedding"):
    image = Tensor(name="image", dtype="float32", shape=(SIDE, SIDE, 3), role="image")
    embedding = Tensor(name=output, dtype="float32", shape=(LENGTH,), role="embedding")
    return Description(name="people", task="face_recognition", version="1.0.0",
                       signature=Signature(inputs=(image,), outputs=(embedding,)))


def embedder(integers, output="embedding"):
    """Return a file from images to embeddings of length 1."""
    kernel = tf.constant(np.random.default_rng(1).normal(0, 0.01, (SIDE * SIDE * 3, LENGTH)), tf.float32)

    @tf.function(input_signature=[tf.TensorSpec((1, SIDE, SIDE, 3), tf.float32, "image")])
    def call(image):
        return {output: tf.math.l2_normalize(tf.reshape(image, (1, -1)) @ kernel, axis=-1)}

    module = tf.Module()
    module.call = call
    made = tf.lite.TFLiteConverter.from_concrete_functions([call.get_concrete_function()], module)
    if integers:
        images = np.random.default_rng(2).integers(0, 256, (20, 1, SIDE, SIDE, 3)).astype("float32")
        made.optimizations = [tf.lite.Optimize.DEFAULT]
        made.representative_dataset = lambda: ([one] for one in images)
        made.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        made.inference_input_type, made.inference_output_type = tf.uint8, tf.int8
    return made.convert()


def written(folder, variant="float32", output="embedding"):
    """Write a file and its code; return the folder of the code."""
    about = described(output)
    path = folder / "litert" / f"{variant}.tflite"
    path.parent.mkdir()
    path.write_bytes(phone.ready(embedder(variant == "int8", output), about))
    snippets.write(folder / "code", about, [FILES[variant]], {}, folder)
    return folder / "code"


@pytest.mark.parametrize("variant", FILES)
def test_an_embedder_has_its_class(variant, tmp_path):
    code = written(tmp_path, variant)
    kotlin, swift = code / "kotlin/PeopleEmbedder.kt", code / "swift/PeopleEmbedder.swift"
    assert parsed(kotlin, tree_sitter_kotlin.language()) == [] and parsed(swift, tree_sitter_swift.language()) == []
    for text in (kotlin.read_text(), swift.read_text()):
        assert f"{variant}.tflite (from litert/ of this bundle)" in text and "embeddings of 4 numbers" in text
    assert "fun embed(image: Bitmap): FloatArray" in kotlin.read_text()
    assert ("readInt8()" in kotlin.read_text()) == (variant == "int8")


def test_a_file_that_gives_something_else_gets_code_for_its_tensors(tmp_path):
    code = written(tmp_path, output="features")
    assert [path.name for path in sorted(code.rglob("*.*t"))] == ["PeopleModel.kt", "PeopleModel.swift"]


PROGRAM = """fun main() {
    val a = PeopleEmbedder.normalized(floatArrayOf(3f, 0f, 0f, 4f))
    println(a.joinToString(";"))
    println(PeopleEmbedder.cosine(a, PeopleEmbedder.normalized(floatArrayOf(0f, 0f, 0f, -2f))))
}
"""


@pytest.mark.skipif(shutil.which("kotlinc") is None, reason="no Kotlin compiler")
def test_kotlin_compiles_and_computes(tmp_path):
    code = written(tmp_path, "int8")
    for name, text in (SIGNATURES | DRAWING | {"main.kt": PROGRAM}).items():
        (tmp_path / name).write_text(text)
    files = [code / "kotlin/PeopleEmbedder.kt", *(tmp_path / name for name in SIGNATURES | DRAWING | {"main.kt": ""})]
    done = subprocess.run(["kotlinc", *map(str, files), "-include-runtime", "-d", str(tmp_path / "app.jar")],
                          capture_output=True, text=True)
    assert done.returncode == 0 and "error:" not in done.stderr, done.stderr
    printed = subprocess.run(["java", "-cp", "app.jar", "MainKt"], cwd=tmp_path, capture_output=True, text=True,
                             check=True).stdout.split()
    assert np.array(printed[0].split(";"), float) == pytest.approx([0.6, 0, 0, 0.8])
    assert float(printed[1]) == pytest.approx(-0.8)
