"""The code that a bundle brings: it compiles where a compiler is, and is whole Kotlin and Swift where none is."""
import shutil
import subprocess

import pytest
import tree_sitter
import tree_sitter_kotlin
import tree_sitter_swift

from export.artifacts import Exported
from export.delivery import snippets
from export.tflite.metadata import Description

TEMPLATES = snippets.TEMPLATES
#: The signatures of LiteRT 2.1's Kotlin API and of Android that the code uses, as their documentation gives them.
SIGNATURES = {
    "litert.kt": """package com.google.ai.edge.litert
enum class Accelerator { CPU, GPU, NPU }
class TensorBuffer {
    fun writeFloat(data: FloatArray) {}
    fun writeInt8(data: ByteArray) {}
    fun readFloat(): FloatArray = FloatArray(10)
    fun readInt8(): ByteArray = ByteArray(10)
}
class CompiledModel : AutoCloseable {
    class Options(vararg val accelerators: Accelerator)
    fun createInputBuffers(): List<TensorBuffer> = listOf(TensorBuffer())
    fun createOutputBuffers(): List<TensorBuffer> = listOf(TensorBuffer())
    fun run(inputs: List<TensorBuffer>, outputs: List<TensorBuffer>) {}
    override fun close() {}
    companion object {
        fun create(assets: android.content.res.AssetManager, name: String, options: Options): CompiledModel = CompiledModel()
    }
}
""",
    "context.kt": "package android.content\nclass Context { val assets = android.content.res.AssetManager() }\n",
    "assets.kt": "package android.content.res\nclass AssetManager\n",
    "bitmap.kt": """package android.graphics
class Bitmap {
    fun getPixels(pixels: IntArray, offset: Int, stride: Int, x: Int, y: Int, width: Int, height: Int) {}
    companion object { fun createScaledBitmap(source: Bitmap, width: Int, height: Int, filter: Boolean): Bitmap = source }
}
"""}


def parsed(path, language):
    """The places of a file where its language's grammar does not go on."""
    def wrong(node):
        return ([node.start_point] if node.type == "ERROR" or node.is_missing else []) + [place for child in node.children
                                                                                          for place in wrong(child)]

    return wrong(tree_sitter.Parser(tree_sitter.Language(language)).parse(path.read_bytes()).root_node)


@pytest.fixture(params=["float32", "int8"])
def code(request, run, tmp_path):
    """The code for the tiny model with hard labels, that loads its float or its integer file, and its Core ML package."""
    labels = ["zero", 'a "quoted" one', "$two", "drei\\", "vier", "fünf", "6", "7", "8", "9"]
    about = Description(name="tiny-model_2", version="1.0.0", labels=labels)
    exported = [Exported(variant=request.param, target="litert", path=f"litert/{request.param}.tflite", bytes=1, zipped=1),
                Exported(variant="float16", target="coreml", path="coreml/TinyModel2_float16.mlpackage", bytes=1, zipped=1)]
    snippets.write(tmp_path / "code", about, exported, {"phone_cpu": request.param}, run / "export")
    return tmp_path / "code"


def test_kotlin_and_swift_are_whole(code):
    assert parsed(code / "kotlin" / "TinyModel2Classifier.kt", tree_sitter_kotlin.language()) == []
    for name in ("TinyModel2Classifier.swift", "TinyModel2ClassifierCoreML.swift"):
        assert parsed(code / "swift" / name, tree_sitter_swift.language()) == []


@pytest.mark.skipif(shutil.which("kotlinc") is None, reason="no Kotlin compiler")
def test_kotlin_compiles(code, tmp_path):
    for name, text in SIGNATURES.items():
        (tmp_path / name).write_text(text)
    done = subprocess.run(["kotlinc", str(code / "kotlin" / "TinyModel2Classifier.kt"), *(str(tmp_path / name) for name in SIGNATURES),
                           "-d", str(tmp_path / "classes")], capture_output=True, text=True)
    assert done.returncode == 0 and "error:" not in done.stderr, done.stderr
    assert (tmp_path / "classes" / "TinyModel2Classifier.class").exists()


def test_the_android_project_is_whole():
    project = TEMPLATES / "android"
    for path in [*project.rglob("*.kt"), *project.rglob("*.kts")]:
        assert parsed(path, tree_sitter_kotlin.language()) == [], path
    build = (project / "app" / "build.gradle.kts").read_text()
    assert "code/kotlin" in build and "typealias Classifier" in build, "it takes the bundle's class"
    assert "-Pbundle=" in (project / "README.md").read_text()


@pytest.mark.parametrize(("name", "expected"), [("my_photos", "MyPhotosClassifier"), ("2-digits", "Model2DigitsClassifier")])
def test_classes_are_named_after_the_recipe(name, expected):
    assert snippets.class_name(name) == expected
