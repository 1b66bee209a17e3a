"""The code that a bundle brings for boxes and masks."""
import shutil
import subprocess

import numpy as np
import pytest
import tree_sitter_kotlin
import tree_sitter_swift

from export.artifacts import Exported
from export.delivery import for_task, snippets
from export.signature import Signature, Tensor
from export.tflite import phone
from export.tflite.metadata import Description
from pipelines.tasks.object_detection import detections, given
from tests.export.delivery import detectors
from tests.export.delivery.test_snippets import SIGNATURES, package, parsed
from tests.export.tflite.test_joined import converted

SIDE = 8
#: What of Android the code draws with.
DRAWING = {
    "bitmap.kt": """package android.graphics
class Bitmap(val width: Int = 1, val height: Int = 1) {
    enum class Config { ARGB_8888 }
    fun copy(config: Config, mutable: Boolean): Bitmap = this
    fun getPixels(pixels: IntArray, offset: Int, stride: Int, x: Int, y: Int, width: Int, height: Int) {}
    companion object {
        fun createScaledBitmap(source: Bitmap, width: Int, height: Int, filter: Boolean): Bitmap = source
        fun createBitmap(width: Int, height: Int, config: Config): Bitmap = Bitmap(width, height)
        fun createBitmap(colors: IntArray, width: Int, height: Int, config: Config): Bitmap = Bitmap()
    }
}
""",
    "canvas.kt": """package android.graphics
class Rect(left: Int, top: Int, right: Int, bottom: Int)
class RectF(val left: Float, val top: Float, val right: Float, val bottom: Float)
class Matrix {
    var given = FloatArray(9)
    fun setValues(values: FloatArray) { given = values }
}
object Color { const val BLACK = 0 }
class Paint(flags: Int = 0) {
    enum class Style { STROKE }
    var color = 0
    var style = Style.STROKE
    var strokeWidth = 1f
    var textSize = 1f
    companion object {
        const val ANTI_ALIAS_FLAG = 1
        const val FILTER_BITMAP_FLAG = 2
    }
}
class Canvas(bitmap: Bitmap) {
    fun drawRect(left: Float, top: Float, right: Float, bottom: Float, paint: Paint) {}
    fun drawCircle(x: Float, y: Float, radius: Float, paint: Paint) {}
    fun drawText(text: String, x: Float, y: Float, paint: Paint) {}
    fun drawColor(color: Int) {}
    fun drawBitmap(bitmap: Bitmap, source: Rect?, target: Rect, paint: Paint) {}
    fun drawBitmap(bitmap: Bitmap, matrix: Matrix, paint: Paint) { drawn = matrix.given }
    fun drawBitmap(bitmap: Bitmap, source: Rect?, target: RectF, paint: Paint) {
        drawn = floatArrayOf(target.left, target.top, target.right, target.bottom)
    }
    companion object { var drawn = FloatArray(0) }
}
"""}


@pytest.fixture(scope="module")
def detector(tmp_path_factory):
    folder = tmp_path_factory.mktemp("detector")
    return folder, detectors.exported(folder)


@pytest.fixture(scope="module")
def segmenter(tmp_path_factory):
    """A file from an image to a mask of three classes, and what is said of it."""
    import tensorflow as tf

    folder = tmp_path_factory.mktemp("segmenter")
    image = Tensor(name="image", dtype="float32", shape=(SIDE, SIDE, 3), role="image")
    logits = Tensor(name="logits", dtype="float32", shape=(SIDE, SIDE, 3), role="logits")
    about = Description(name="pets", task="semantic_segmentation", labels=["background", "cat", "dog"],
                        signature=Signature(inputs=(image,), outputs=(logits,)))
    content = converted(lambda image: {"logits": 2.0 * image}, tf.TensorSpec((1, SIDE, SIDE, 3), tf.float32, "image"))
    (folder / "litert").mkdir()
    (folder / "litert" / "float32.tflite").write_bytes(phone.ready(content, about))
    return folder, about


@pytest.mark.parametrize("variant", ["float32", "int8"])
def test_each_form_of_a_detector_has_its_class(detector, variant, tmp_path):
    folder, exported = detector
    snippets.write(tmp_path / "code", detectors.ABOUT, exported, {"phone_cpu": variant}, folder)
    names = {"litert": "FarmDetector", "boxes": "FarmBoxesDetector", "decoded": "FarmDecodedDetector"}
    for language, ending, grammar in (("kotlin", "kt", tree_sitter_kotlin), ("swift", "swift", tree_sitter_swift)):
        files = {path.stem: path for path in (tmp_path / "code" / language).iterdir()}
        assert set(files) == set(names.values())
        for target, name in names.items():
            text = files[name].read_text()
            assert parsed(files[name], grammar.language()) == [] and files[name].suffix == f".{ending}"
            assert f"{variant}.tflite (from {target}/ of this bundle)" in text
            assert ("suppressed(" in text) == (target != "boxes") and ("BINS" in text.upper()) == (target == "litert")
    network = (tmp_path / "code/kotlin/FarmDetector.kt").read_text()
    assert "LEVELS = listOf(Level(4, 6, 8), Level(2, 3, 16))" in network and "BINS = 4" in network
    assert ("readInt8()" in network) == (variant == "int8")


def test_a_network_whose_boxes_are_written_in_another_way_gets_code_for_its_tensors(detector, tmp_path):
    folder, exported = detector
    other = detectors.ABOUT.model_copy(update={"decoding": detectors.DRIVER.model_copy(update={"kind": None})})
    snippets.write(tmp_path / "code", other, exported, {}, folder)
    assert {path.stem for path in (tmp_path / "code/kotlin").iterdir()} == {
        "FarmModel", "FarmBoxesDetector", "FarmDecodedDetector"}


@pytest.mark.parametrize("name", detectors.CODINGS)
def test_every_way_to_write_boxes_is_decoded(name, tmp_path):
    coding = detectors.CODINGS[name]
    code = detectors.written(tmp_path, name, coding)
    stem = snippets.class_name(name, "Detector")
    kotlin, swift = code / f"kotlin/{stem}.kt", code / f"swift/{stem}.swift"
    assert parsed(kotlin, tree_sitter_kotlin.language()) == [] and parsed(swift, tree_sitter_swift.language()) == []
    heads = ", ".join(for_task.heads(detections.driver(coding, most=1, iou=0.5, threshold=0.5)))
    assert f"return suppressed(decoded({heads}, threshold))" in kotlin.read_text()
    assert f"return Self.suppressed(Self.decoded({heads}, threshold))" in swift.read_text()
    assert ('"nose", "\\$tail"' in kotlin.read_text()) == (name == "key points") == (
        '"nose", "$tail"' in swift.read_text())


def test_what_a_driver_must_know_of_anchors():
    driver = detections.driver(detectors.CODINGS["key points"], most=1, iou=0.5, threshold=0.5, names=["nose", "tail"])
    assert driver.kind == "anchors" and driver.variances == (0.1, 0.2) and driver.longest == 62.5
    assert driver.key_points == 2 and driver.point_names == ("nose", "tail")
    assert [(one.rows, one.columns, one.stride, one.shapes) for one in driver.levels] == [
        (4, 6, 8, ((10.0, 6.5), (16.0, 16.0))), (2, 3, 16, ((24.0, 30.0),))]
    elsewhere = given.Centres((32, 48), 10, "pixels")
    assert detections.driver(elsewhere, most=1, iou=0.5, threshold=0.5).kind is None
    assert for_task.heads(detections.driver(elsewhere, most=1, iou=0.5, threshold=0.5)) == ()


def test_a_segmenter_paints_its_masks(segmenter, tmp_path):
    folder, about = segmenter
    files = [Exported(variant="float32", target="litert", path="litert/float32.tflite", bytes=1, zipped=1)]
    snippets.write(tmp_path / "code", about, files, {}, folder)
    kotlin, swift = tmp_path / "code/kotlin/PetsSegmenter.kt", tmp_path / "code/swift/PetsSegmenter.swift"
    assert parsed(kotlin, tree_sitter_kotlin.language()) == [] and parsed(swift, tree_sitter_swift.language()) == []
    for text in (kotlin.read_text(), swift.read_text()):
        assert "0, 0x2563EB, 0xEA580C" in text, "the background is not painted"


def test_one_class_alone_is_painted_over_a_background():
    assert for_task.class_names(["tumour"]) == ["background", "tumour"]
    assert for_task.class_colors(["tumour"]) == [None, for_task.COLORS[0]]
    assert for_task.class_colors(["a", "b"]) == list(for_task.COLORS[:2])


@pytest.mark.parametrize("name", detectors.CODINGS)
def test_core_ml_finds_boxes_once_whatever_the_other_files_give(detector, name, tmp_path):
    coding = detectors.CODINGS[name]
    outputs = tuple(Tensor(name=key, dtype="float32", shape=given.shape) for key, given in coding.outputs(3).items())
    about = detectors.ABOUT.model_copy(update={
        "decoding": detections.driver(coding, most=10, iou=0.5, threshold=0.3),
        "signature": Signature(inputs=(detectors.IMAGE,), outputs=outputs)})
    folder, exported = detector
    files = [one for one in exported if one.target == "boxes"]
    snippets.write(tmp_path / "code", about, [*files, package("Farm")], {}, folder)
    core_ml = tmp_path / "code/swift/FarmDetectorCoreML.swift"
    assert [path.name for path in (tmp_path / "code/swift").glob("*CoreML.swift")] == [core_ml.name]
    assert parsed(core_ml, tree_sitter_swift.language()) == []
    numbers = ", ".join(f'try Self.numbers(answer, "{key}")' for key in for_task.heads(about.decoding))
    assert f"return Self.suppressed(Self.decoded({numbers}, threshold))" in core_ml.read_text()
    assert 'forResource: "Farm_float16"' in core_ml.read_text() and "shape: [1, 32, 48, 3]" in core_ml.read_text()
    decoding = (detectors.written(tmp_path, name, coding) / f"swift/{snippets.class_name(name, 'Detector')}.swift"
                ).read_text().split("/// The boxes whose score")[1]
    assert decoding in core_ml.read_text(), "as the class for TFLite decodes"


def test_core_ml_paints_masks(segmenter, tmp_path):
    folder, about = segmenter
    files = [Exported(variant="float32", target="litert", path="litert/float32.tflite", bytes=1, zipped=1)]
    snippets.write(tmp_path / "code", about, [*files, package("Pets")], {}, folder)
    core_ml, other = (tmp_path / f"code/swift/PetsSegmenter{end}.swift" for end in ("CoreML", ""))
    assert parsed(core_ml, tree_sitter_swift.language()) == []
    assert 'Self.numbers(try answer(image), "logits")' in core_ml.read_text()
    assert core_ml.read_text().endswith(other.read_text().split("/// An image with its mask over it")[1])


#: A program that prints what each class finds in numbers beside it.
PROGRAM = """import java.io.File
fun numbers(name: String) = File(name).readText().split(" ").map { it.toFloat() }.toFloatArray()
fun main() {
%s
}
"""
LINE = """    for (one in {cls}.suppressed({cls}.decoded({numbers}, 0.3f))) {{
        val sides = listOf(one.top, one.left, one.bottom, one.right)
        val points = one.points.flatMap {{ listOf(it.y, it.x) }}
        println((listOf("{name}", one.number, one.score) + sides + points).joinToString(";"))
    }}
"""


@pytest.mark.skipif(shutil.which("kotlinc") is None, reason="no Kotlin compiler")
def test_kotlin_compiles_and_finds_the_same_boxes(detector, segmenter, tmp_path):
    folder, exported = detector
    snippets.write(tmp_path / "code", detectors.ABOUT, exported, {}, folder)
    mask, about = segmenter
    files = [Exported(variant="float32", target="litert", path="litert/float32.tflite", bytes=1, zipped=1)]
    snippets.write(tmp_path / "code", about, files, {}, mask)
    lines, expected = [], []
    for name, coding in detectors.CODINGS.items():
        shutil.copytree(detectors.written(tmp_path, name, coding), tmp_path / "code", dirs_exist_ok=True)
        outputs = detectors.outputs_of(coding)
        for key, value in outputs.items():
            (tmp_path / f"{name}.{key}").write_text(" ".join(map(str, value.ravel())))
        heads = for_task.heads(detections.driver(coding, most=1, iou=0.5, threshold=0.3))
        lines.append(LINE.format(name=name, cls=snippets.class_name(name, "Detector"),
                                 numbers=", ".join(f'numbers("{name}.{key}")' for key in heads)))
        found = detections.found(coding, outputs, most=10, iou=0.5, score=0.3)
        points = found.get(detections.KEY_POINTS, np.zeros((1, 10, 0)))
        expected += [[name, number, score, *sides, *np.ravel(places)] for number, score, sides, places in zip(
            *(np.array(found[key])[0, :int(found["num_detections"][0])] for key in (
                "detection_classes", "detection_scores", "detection_boxes")), np.array(points)[0], strict=False)]
    for name, text in (SIGNATURES | DRAWING | {"main.kt": PROGRAM % "".join(lines)}).items():
        (tmp_path / name).write_text(text)
    written = [*(tmp_path / "code" / "kotlin").iterdir(), *(tmp_path / name for name in SIGNATURES | DRAWING),
               tmp_path / "main.kt"]
    done = subprocess.run(["kotlinc", *map(str, written), "-include-runtime", "-d", str(tmp_path / "app.jar")],
                          capture_output=True, text=True)
    assert done.returncode == 0 and "error:" not in done.stderr, done.stderr
    printed = subprocess.run(["java", "-cp", "app.jar", "MainKt"], cwd=tmp_path, capture_output=True, text=True,
                             check=True).stdout.splitlines()
    assert len(printed) == len(expected) > 50
    for line, (name, number, *numbers) in zip(printed, expected, strict=True):
        own, own_number, *own_numbers = line.split(";")
        assert (own, int(own_number)) == (name, number)
        np.testing.assert_allclose(np.array(own_numbers, float), np.array(numbers, float), atol=1e-4)
