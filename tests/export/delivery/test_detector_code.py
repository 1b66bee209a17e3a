"""The code that a bundle brings for boxes and masks."""
import shutil
import subprocess

import pytest
import tree_sitter_kotlin
import tree_sitter_swift

from export.artifacts import Exported
from export.delivery import for_task, snippets
from export.signature import Signature, Tensor
from export.tflite import phone
from export.tflite.metadata import Description
from tests.export.delivery import detectors
from tests.export.delivery.test_snippets import SIGNATURES, parsed
from tests.export.tflite.test_joined import converted

SIDE = 8
#: What of Android the code draws with.
DRAWING = {
    "bitmap.kt": """package android.graphics
class Bitmap {
    enum class Config { ARGB_8888 }
    val width = 1
    val height = 1
    fun copy(config: Config, mutable: Boolean): Bitmap = this
    fun getPixels(pixels: IntArray, offset: Int, stride: Int, x: Int, y: Int, width: Int, height: Int) {}
    companion object {
        fun createScaledBitmap(source: Bitmap, width: Int, height: Int, filter: Boolean): Bitmap = source
        fun createBitmap(colors: IntArray, width: Int, height: Int, config: Config): Bitmap = Bitmap()
    }
}
""",
    "canvas.kt": """package android.graphics
class Rect(left: Int, top: Int, right: Int, bottom: Int)
class Paint(flags: Int = 0) {
    enum class Style { STROKE }
    var color = 0
    var style = Style.STROKE
    var strokeWidth = 1f
    var textSize = 1f
    companion object { const val ANTI_ALIAS_FLAG = 1 }
}
class Canvas(bitmap: Bitmap) {
    fun drawRect(left: Float, top: Float, right: Float, bottom: Float, paint: Paint) {}
    fun drawText(text: String, x: Float, y: Float, paint: Paint) {}
    fun drawBitmap(bitmap: Bitmap, source: Rect?, target: Rect, paint: Paint) {}
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
    assert "LEVELS = listOf(Triple(4, 6, 8), Triple(2, 3, 16))" in network and "BINS = 4" in network
    assert ("readInt8()" in network) == (variant == "int8")


def test_a_network_whose_boxes_are_written_in_another_way_gets_code_for_its_tensors(detector, tmp_path):
    folder, exported = detector
    other = detectors.ABOUT.model_copy(update={"decoding": detectors.DRIVER.model_copy(update={"levels": ()})})
    snippets.write(tmp_path / "code", other, exported, {}, folder)
    assert {path.stem for path in (tmp_path / "code/kotlin").iterdir()} == {
        "FarmModel", "FarmBoxesDetector", "FarmDecodedDetector"}


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


@pytest.mark.skipif(shutil.which("kotlinc") is None, reason="no Kotlin compiler")
def test_kotlin_compiles(detector, segmenter, tmp_path):
    folder, exported = detector
    snippets.write(tmp_path / "code", detectors.ABOUT, exported, {}, folder)
    mask, about = segmenter
    files = [Exported(variant="float32", target="litert", path="litert/float32.tflite", bytes=1, zipped=1)]
    snippets.write(tmp_path / "code", about, files, {}, mask)
    for name, text in (SIGNATURES | DRAWING).items():
        (tmp_path / name).write_text(text)
    written = [*(tmp_path / "code" / "kotlin").iterdir(), *(tmp_path / name for name in SIGNATURES | DRAWING)]
    done = subprocess.run(["kotlinc", *map(str, written), "-d", str(tmp_path / "classes")], capture_output=True,
                          text=True)
    assert done.returncode == 0 and "error:" not in done.stderr, done.stderr
