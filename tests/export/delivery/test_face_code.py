"""The code that a bundle brings for embeddings of faces, and for finding faces and embedding them."""
import re
import shutil
import subprocess

import jinja2
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
from tests.export.delivery import detectors
from tests.export.delivery.test_detector_code import DRAWING
from tests.export.delivery.test_snippets import SIGNATURES, parsed

SIDE, LENGTH = 8, 4
FILES = {variant: Exported(variant=variant, target="litert", path=f"litert/{variant}.tflite", bytes=1, zipped=1)
         for variant in ("float32", "int8")}

#: Two key points of the detector and where they lie in an aligned picture.
PLACES = [{"point": 1, "y": 0.25, "x": 0.25}, {"point": 0, "y": 0.25, "x": 0.75}]


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


def pair(folder, places, threshold=0.4):
    """Write the code of a detector with an embedder: of key points as a class, and of boxes as another."""
    values = {"class_name": "PeopleFaces" if places else "PeopleBoxes", "detector_class": "KeyPointsDetector",
              "embedder_class": "PeopleEmbedder", "about": described(), "height": 40, "width": 20, "places": places,
              "score": 0.5, "threshold": threshold}
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True,
                                     keep_trailing_newline=True, loader=jinja2.FileSystemLoader(snippets.TEMPLATES))
    paths = []
    for ending in ("kt", "swift"):
        paths.append(folder / f"{values['class_name']}.{ending}")
        paths[-1].write_text(environment.get_template(f"pair/Faces.{ending}.j2").render(**values))
    return paths


@pytest.mark.parametrize("places", [PLACES, []])
@pytest.mark.parametrize("threshold", [0.4, None])
def test_a_pair_is_whole(places, threshold, tmp_path):
    kotlin, swift = pair(tmp_path, places, threshold)
    assert parsed(kotlin, tree_sitter_kotlin.language()) == [] and parsed(swift, tree_sitter_swift.language()) == []
    for text in (kotlin.read_text(), swift.read_text()):
        assert ("similarity(" in text) == bool(places) == ("10.0f, 5.0f" in text or "10.0, 5.0, 10.0, 15.0" in text)
        assert ("same(" in text) == (threshold is not None)


def test_core_graphics_gets_the_same_similarity_with_rows_from_the_bottom(tmp_path):
    """The expressions of the Swift code, which are those of Python too, are computed."""
    _, swift = pair(tmp_path, PLACES)
    known = {"a": 0.5, "b": 0.25, "tx": 3.0, "ty": -2.0, "rows": 100.0, "height": 40.0}
    expressions = re.search(r"return CGAffineTransform\((.*)\)\n", swift.read_text()).group(1)
    values = [eval(one.split(": ")[1].replace("CGFloat(height)", "height"), known) for one in expressions.split(", ")]
    x, y = 30.0, 70.0
    across = values[0] * x + values[2] * (known["rows"] - y) + values[4]
    down = known["height"] - (values[1] * x + values[3] * (known["rows"] - y) + values[5])
    assert (across, down) == pytest.approx((0.5 * x - 0.25 * y + 3, 0.25 * x + 0.5 * y - 2))


def umeyama(points, places):
    """Return a, b, tx and ty by a singular value decomposition (Umeyama 1991, equations 40 to 43), of y and x."""
    source, target = points[:, ::-1] - points[:, ::-1].mean(axis=0), places[:, ::-1] - places[:, ::-1].mean(axis=0)
    left, sizes, right = np.linalg.svd(target.T @ source)
    signs = np.array([1.0, np.sign(np.linalg.det(left) * np.linalg.det(right))])
    turn = (sizes * signs).sum() / (source**2).sum() * left @ np.diag(signs) @ right
    shift = places[:, ::-1].mean(axis=0) - turn @ points[:, ::-1].mean(axis=0)
    return [turn[0, 0], turn[1, 0], *shift]


PROGRAM = """fun main() {
    val a = PeopleEmbedder.normalized(floatArrayOf(3f, 0f, 0f, 4f))
    println(a.joinToString(";"))
    println(PeopleEmbedder.cosine(a, PeopleEmbedder.normalized(floatArrayOf(0f, 0f, 0f, -2f))))
    val similar = PeopleFaces.similarity(floatArrayOf(%s), floatArrayOf(%s))
    println(listOf(similar.a, similar.b, similar.tx, similar.ty).joinToString(";"))
    val context = android.content.Context()
    val image = android.graphics.Bitmap(200, 100)
    val points = listOf(KeyPointsDetector.Point(0.4f, 0.5f), KeyPointsDetector.Point(0.3f, 0.2f))
    val found = KeyPointsDetector.Found(0, 0.9f, 0.25f, 0.5f, 0.75f, 0.75f, points)
    PeopleFaces(context).aligned(image, found)
    println(android.graphics.Canvas.drawn.joinToString(";"))
    PeopleBoxes(context).aligned(image, found)
    println(android.graphics.Canvas.drawn.joinToString(";"))
}
"""


@pytest.mark.skipif(shutil.which("kotlinc") is None, reason="no Kotlin compiler")
def test_kotlin_compiles_and_computes(tmp_path):
    code = written(tmp_path, "int8")
    detector = detectors.written(tmp_path, "key points", detectors.CODINGS["key points"])
    generator = np.random.default_rng(3)
    points, places = generator.uniform(0, 1000, (5, 2)), generator.uniform(0, 100, (5, 2))
    given = [", ".join(f"{number}f" for number in numbers.ravel()) for numbers in (points, places)]
    texts = SIGNATURES | DRAWING | {"main.kt": PROGRAM % tuple(given)}
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    files = [code / "kotlin/PeopleEmbedder.kt", detector / "kotlin/KeyPointsDetector.kt",
             pair(tmp_path, PLACES)[0], pair(tmp_path, [])[0], *(tmp_path / name for name in texts)]
    done = subprocess.run(["kotlinc", *map(str, files), "-include-runtime", "-d", str(tmp_path / "app.jar")],
                          capture_output=True, text=True)
    assert done.returncode == 0 and "error:" not in done.stderr, done.stderr
    printed = subprocess.run(["java", "-cp", "app.jar", "MainKt"], cwd=tmp_path, capture_output=True, text=True,
                             check=True).stdout.split()
    unit, cosine, similar, matrix, box = (np.array(line.split(";"), float) for line in printed)
    assert unit == pytest.approx([0.6, 0, 0, 0.8]) and cosine == pytest.approx([-0.8])
    assert similar == pytest.approx(umeyama(points, places), rel=1e-3, abs=1e-3)
    moved = matrix.reshape(3, 3) @ np.array([[100, 40], [40, 30], [1, 1]])  # x and y of the two key points in pixels
    assert moved[:2].T.ravel() == pytest.approx([15, 10, 5, 10], abs=1e-4)
    assert box == pytest.approx([-40, -20, 40, 60]), "left, top, right and bottom of the whole image"
