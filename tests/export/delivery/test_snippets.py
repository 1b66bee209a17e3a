"""The code that a bundle brings: it compiles where a compiler is, and is whole Kotlin and Swift where none is."""
import shutil
import subprocess

import pytest
import tree_sitter
import tree_sitter_kotlin
import tree_sitter_swift

from export.artifacts import Exported
from export.delivery import snippets
from export.tflite import signatures

TEMPLATES = snippets.TEMPLATES
#: The signatures of LiteRT 2.1's Kotlin API and of Android that the code uses, as their documentation gives them.
SIGNATURES = {
    "litert.kt": """package com.google.ai.edge.litert
enum class Accelerator { CPU, GPU, NPU }
class TensorBuffer {
    fun writeFloat(data: FloatArray) {}
    fun writeInt8(data: ByteArray) {}
    fun writeInt(data: IntArray) {}
    fun writeLong(data: LongArray) {}
    fun writeBoolean(data: BooleanArray) {}
    fun readFloat(): FloatArray = FloatArray(10)
    fun readInt8(): ByteArray = ByteArray(10)
    fun readInt(): IntArray = IntArray(10)
    fun readLong(): LongArray = LongArray(10)
    fun readBoolean(): BooleanArray = BooleanArray(10)
}
class CompiledModel : AutoCloseable {
    class Options(vararg val accelerators: Accelerator)
    fun createInputBuffers(): List<TensorBuffer> = listOf(TensorBuffer())
    fun createOutputBuffers(): List<TensorBuffer> = listOf(TensorBuffer())
    fun createInputBuffer(inputName: String, signature: String? = null): TensorBuffer = TensorBuffer()
    fun createOutputBuffer(outputName: String, signature: String? = null): TensorBuffer = TensorBuffer()
    fun run(inputs: List<TensorBuffer>, outputs: List<TensorBuffer>) {}
    fun run(inputs: Map<String, TensorBuffer>, outputs: Map<String, TensorBuffer>, signature: String? = null) {}
    override fun close() {}
    companion object {
        fun create(assets: android.content.res.AssetManager, name: String, options: Options) = CompiledModel()
    }
}
""",
    "context.kt": "package android.content\nclass Context { val assets = android.content.res.AssetManager() }\n",
    "assets.kt": "package android.content.res\nclass AssetManager\n",
    "bitmap.kt": """package android.graphics
class Bitmap {
    fun getPixels(pixels: IntArray, offset: Int, stride: Int, x: Int, y: Int, width: Int, height: Int) {}
    companion object {
        fun createScaledBitmap(source: Bitmap, width: Int, height: Int, filter: Boolean): Bitmap = source
    }
}
"""}


def parsed(path, language):
    """Return the positions of a file where its language's grammar does not go on."""
    def wrong(node):
        own = [node.start_point] if node.type == "ERROR" or node.is_missing else []
        return own + [position for child in node.children for position in wrong(child)]

    return wrong(tree_sitter.Parser(tree_sitter.Language(language)).parse(path.read_bytes()).root_node)


def package(name):
    return Exported(variant="float16", target="coreml", path=f"coreml/{name}_float16.mlpackage", bytes=1, zipped=1)


@pytest.fixture(params=["float32", "int8"])
def code(request, classified, tmp_path):
    """The code for a model with hard labels, that loads its float or its integer file, and its Core ML package."""
    about = classified.about.model_copy(update={"name": "tiny-model_2", "labels": [
        "zero", 'a "quoted" one', "$two", "drei\\", "vier", "fünf", "6", "7", "8", "9"]})
    file = Exported(variant=request.param, target="litert", path=f"litert/{request.param}.tflite", bytes=1, zipped=1)
    exported = [file, package("TinyModel2")]
    snippets.write(tmp_path / "code", about, exported, {"phone_cpu": request.param}, classified.source)
    return tmp_path / "code"


def test_kotlin_and_swift_are_whole(code):
    assert parsed(code / "kotlin" / "TinyModel2Classifier.kt", tree_sitter_kotlin.language()) == []
    for name in ("TinyModel2Classifier.swift", "TinyModel2ClassifierCoreML.swift"):
        assert parsed(code / "swift" / name, tree_sitter_swift.language()) == []
    core_ml = (code / "swift" / "TinyModel2ClassifierCoreML.swift").read_text()
    assert 'forResource: "TinyModel2_float16"' in core_ml and "[1, 32, 32, 3]" in core_ml


def test_core_ml_takes_grey_images_where_the_phones_file_takes_rgb(classified, tmp_path):
    signature = classified.signature
    grey = signature.model_copy(update={"inputs": (signature.inputs[0].model_copy(update={"shape": (32, 32, 1)}),)})
    about = classified.about.model_copy(update={"signature": grey})
    snippets.write(tmp_path / "code", about, [*classified.exported, package("Tiny")], {}, classified.source)
    assert "[1, 32, 32, 1]" in (tmp_path / "code" / "swift" / "TinyClassifierCoreML.swift").read_text()
    assert "pixels.size * 3" in (tmp_path / "code" / "kotlin" / "TinyClassifier.kt").read_text()


def test_a_classifier_of_scans_gets_no_code_for_bitmaps(classified, tmp_path):
    """Its values are not those of a bitmap: the code is that of any task."""
    signature = classified.signature
    scans = signature.model_copy(update={"inputs": (signature.inputs[0].model_copy(update={"role": "values"}),)})
    about = classified.about.model_copy(update={"signature": scans, "name": "tiny"})
    snippets.write(tmp_path / "code", about, classified.exported, {}, classified.source)
    assert [path.name for path in sorted((tmp_path / "code").rglob("*.*t"))] == ["TinyModel.kt", "TinyModel.swift"]
    assert "Bitmap" not in (tmp_path / "code" / "kotlin" / "TinyModel.kt").read_text()


@pytest.mark.parametrize("variant", ["float32", "int8"])
def test_a_task_without_templates_gets_code_that_names_every_tensor(dense, tmp_path, variant):
    snippets.write(tmp_path / "code", dense.about, dense.exported, {"phone_cpu": variant}, dense.source)
    kotlin = tmp_path / "code" / "kotlin" / "SeaFloorModel.kt"
    swift = tmp_path / "code" / "swift" / "SeaFloorModel.swift"
    assert parsed(kotlin, tree_sitter_kotlin.language()) == [] and parsed(swift, tree_sitter_swift.language()) == []
    file = signatures.main((dense.source / "litert" / f"{variant}.tflite").read_bytes())
    for text in (kotlin.read_text(), swift.read_text()):
        assert f"{variant}.tflite" in text and "serving_default" in text
        for name, info in (file.inputs | file.outputs).items():
            described = f"{info.dtype} ({', '.join(map(str, info.shape))})"
            if info.scale and not info.stores_values:
                described += f", stored as value / {info.scale:g} + {info.zero}"
            assert name in text and described in text
    assert "metres below the surface" in kotlin.read_text()
    image = {"float32": "FloatArray", "int8": "ByteArray"}[variant]
    assert "depth: FloatArray" in kotlin.read_text() and f"image: {image}" in kotlin.read_text()
    assert ("writeInt8(ByteArray(depth.size)" in kotlin.read_text()) == (variant == "int8")


def test_what_writes_down_speech_brings_its_decoding(dense, tmp_path):
    about = dense.about.model_copy(update={"task": "speech_recognition", "labels": ["(blank)", " ", "a", "b", '"']})
    snippets.write(tmp_path / "code", about, dense.exported, {}, dense.source)
    kotlin = tmp_path / "code" / "kotlin" / "SeaFloorModel.kt"
    swift = tmp_path / "code" / "swift" / "SeaFloorModel.swift"
    assert parsed(kotlin, tree_sitter_kotlin.language()) == [] and parsed(swift, tree_sitter_swift.language()) == []
    assert "fun text(logits: FloatArray): String" in kotlin.read_text()
    assert "static func text(_ logits: [Float32]) -> String" in swift.read_text()


def test_names_and_types_that_a_language_does_not_have(tmp_path):
    port = snippets.Port(name="in", shape=(1, -1), dtype="int32", meaning="ends a */ comment\nand a line")
    assert port.identifier == "in_" and port.comment == "int32 (1, ?): ends a * / comment and a line"
    assert snippets.Port(name="2nd layer:0", shape=(1,), dtype="float32").identifier == "_2nd_layer_0"


@pytest.mark.skipif(shutil.which("kotlinc") is None, reason="no Kotlin compiler")
def test_kotlin_compiles(code, dense, tmp_path):
    for name, text in SIGNATURES.items():
        (tmp_path / name).write_text(text)
    snippets.write(tmp_path / "generic", dense.about, dense.exported, {}, dense.source)
    written = [code / "kotlin" / "TinyModel2Classifier.kt", tmp_path / "generic" / "kotlin" / "SeaFloorModel.kt"]
    done = subprocess.run(["kotlinc", *map(str, written), *(str(tmp_path / name) for name in SIGNATURES),
                           "-d", str(tmp_path / "classes")], capture_output=True, text=True)
    assert done.returncode == 0 and "error:" not in done.stderr, done.stderr
    assert {path.stem for path in (tmp_path / "classes").glob("*.class")} >= {"TinyModel2Classifier", "SeaFloorModel"}


def test_the_android_project_is_whole():
    project = TEMPLATES / "android"
    for path in [*project.rglob("*.kt"), *project.rglob("*.kts")]:
        assert parsed(path, tree_sitter_kotlin.language()) == [], path
    build = (project / "app" / "build.gradle.kts").read_text()
    assert "code/kotlin" in build and "typealias Classifier" in build, "it takes the bundle's class"
    assert "-Pbundle=" in (project / "README.md").read_text()


@pytest.mark.parametrize(("name", "expected"), [
    ("my_photos", "MyPhotosClassifier"), ("2-digits", "Model2DigitsClassifier")])
def test_classes_are_named_after_the_recipe(name, expected):
    assert snippets.class_name(name) == expected
