"""The code of bundles that makes pictures by a text: several signatures of a file, the same in Python and Kotlin."""
import json
import re
import shutil
import subprocess

import numpy as np
import pytest
import tensorflow as tf
import tree_sitter_kotlin
import tree_sitter_swift

from export.artifacts import Exported
from export.delivery import bundle, drawing
from export.delivery.snippets import TEMPLATES
from export.predictors import open_predictor
from export.signature import Signature, Tensor
from export.tflite.metadata import Description
from export.writing import noise
from pipelines.features.feature import Field
from pipelines.features.text import Text
from pipelines.features.tokenizers.word import Word
from pipelines.tasks import text_files
from pipelines.tasks.image_generation.latent import Latent
from pipelines.tasks.image_generation.measure import levels
from tests.export.delivery.test_drawing_code import KNOWN, SECTION, compiled, run
from tests.export.delivery.test_snippets import SIGNATURES, parsed
from tests.export.delivery.test_tokenizer_code import JSON, READER, written
from tests.export.tflite.test_joined import converted

LATENT, PICTURE = (2, 2, 3), (4, 4, 1)
NOISE, STEP, TOKENS = (Tensor(name=name, dtype=dtype, shape=shape) for name, dtype, shape in (
    ("noise", "float32", LATENT), ("step", "float32", ()), ("tokens", "int32", (4,))))
TEXT = Text(tokenizer=Word(min_count=1), length=4)
#: What LiteRT does in place of its signatures: the network below, in Kotlin.
RUNS = {
    "fun writeFloat(data: FloatArray) {}": "var values = FloatArray(0)\n"
    "    fun writeFloat(data: FloatArray) { values = data.copyOf() }",
    "fun writeInt(data: IntArray) {}":
    "fun writeInt(data: IntArray) { values = FloatArray(data.size) { data[it].toFloat() } }",
    "fun readFloat(): FloatArray = FloatArray(10)": "fun readFloat(): FloatArray = values",
    "outputs: Map<String, TensorBuffer>, signature: String? = null) {}":
    """outputs: Map<String, TensorBuffer>, signature: String? = null) {
        val of = inputs.mapValues { it.value.values }
        val noise = of["noise"] ?: FloatArray(0)
        val (name, values) = when (signature) {
            "encode_text" -> "condition" to of.getValue("tokens").let { floatArrayOf(0.1f * it[0], 0.02f * it.sum()) }
            "denoise" -> "denoised" to of.getValue("condition").let { asked -> FloatArray(noise.size) {
                0.6f * noise[it] + 0.01f * of.getValue("step")[0] + 0.3f * (asked[0] - 0.3f * asked[1]) } }
            else -> "generated" to FloatArray(16) { 100f + 40f * noise[it % 12] + 3f * it }
        }
        outputs.getValue(name).writeFloat(values)
    }"""}
#: What Kotlin is compiled against.
BESIDE = {**SIGNATURES, "Json.kt": JSON, "assets.kt": """package android.content.res
class AssetManager { fun open(name: String): java.io.InputStream = java.io.ByteArrayInputStream(ByteArray(0)) }
"""}
PROGRAM = """import com.google.ai.edge.litert.CompiledModel
import java.io.File
fun main(files: Array<String>) {
    val pictures = SmallDigitsPictures(CompiledModel(), tokenizerOf(File(files[0]).readLines()))
    for ((number, text) in listOf(0 to "A three", 2 to "the digit four", 1 to "")) {
        println(pictures.make(7, number, text).joinToString(" "))
    }
    println(pictures.make(7, 0, "a three", 1f).joinToString(" "))
    try { pictures.make(7, 0, "rhubarb") } catch (refused: IllegalArgumentException) { println(refused.message) }
}
"""


def text(tokens):
    values = tf.cast(tokens, tf.float32)
    return {"condition": tf.stack([0.1 * values[:, 0], 0.02 * tf.reduce_sum(values, 1)], 1)}


def denoise(noise, step, condition):
    towards = tf.reshape(condition[:, 0] - 0.3 * condition[:, 1], (-1, 1, 1, 1))
    return {"denoised": 0.6 * noise + 0.01 * tf.reshape(step, (-1, 1, 1, 1)) + 0.3 * towards}


def decode(noise):
    flat = tf.reshape(noise, (1, 12))
    return {"generated": tf.reshape(100 + 40 * tf.concat([flat, flat[:, :4]], 1) + 3.0 * tf.range(16.0), (1, *PICTURE))}


def in_parts(folder):
    """Return a TFLite file of a network by text, in the signatures that those of latent diffusion have."""
    calls = {"serving_default": (lambda noise, step, tokens: denoise(noise, step, text(tokens)["condition"]), (
                 NOISE, STEP, TOKENS)),
             "encode_text": (text, (TOKENS,)), "decode": (decode, (NOISE,)),
             "denoise": (denoise, (NOISE, STEP, Tensor(name="condition", dtype="float32", shape=(2,))))}
    functions = {name: tf.function(call, input_signature=[
        tf.TensorSpec((1, *one.shape), one.dtype, one.name) for one in taken]).get_concrete_function()
        for name, (call, taken) in calls.items()}
    tf.saved_model.save(tf.Module(), str(folder), signatures=functions)
    return tf.lite.TFLiteConverter.from_saved_model(str(folder), signature_keys=list(calls)).convert()


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    """A bundle of a network by text, what its text is cut by, and the pictures that it makes of a seed."""
    source = tmp_path_factory.mktemp("source")
    (source / "litert").mkdir()
    (source / "litert/float32.tflite").write_bytes(in_parts(source / "saved"))
    learnt = TEXT.learn(Field(kind="text"), [b"a three", b"the digit four"])
    said = TEXT.described(learnt)
    code = {f"code/{language}/{file}": (TEMPLATES / "text" / file).read_bytes()
            for language, file in text_files.CODE.items()}
    output = Tensor(name="denoised", dtype="float32", shape=LATENT)
    one = Exported(variant="float32", target="litert", path="litert/float32.tflite", bytes=1, zipped=1)
    bundle.write(source / "bundle", about=Description(name="small_digits", task="image_generation", version="1.0.0"),
                 signature=Signature(inputs=(NOISE, STEP, TOKENS), outputs=(output,)), exported=[one], source=source,
                 samples=[], card="", recommended={}, files={
                     **code, text_files.TOKENIZER: json.dumps(said).encode(),
                     drawing.SAMPLER: json.dumps(Latent(SECTION, KNOWN).driver()).encode()})
    predictor = open_predictor(source / "litert/float32.tflite")

    def made(seed, number, asked, **changes):
        tokens = TEXT.decode(tf.constant(asked), learnt).numpy()[None] if asked else np.zeros((1, 4), "int32")
        known = {"noise": noise.normal((seed, 0), (number + 1, *LATENT))[number:], "tokens": tokens}
        return levels(Latent(SECTION.model_copy(update=changes), KNOWN).made(predictor, known))[0]

    return source / "bundle", said, made


def test_python_makes_the_same_pictures(packed, tmp_path):
    folder, _, made = packed
    pictures = run(folder, tmp_path / "three", "--seed", 7, "--count", 2, "--text", "A three")
    np.testing.assert_array_equal(pictures, [made(7, 0, "a three"), made(7, 1, "a three")])
    np.testing.assert_array_equal(run(folder, tmp_path / "none", "--seed", 7, "--count", 1)[0], made(7, 0, ""))
    assert (made(7, 0, "") != made(7, 0, "a three")).any() and len(np.unique(pictures)) > 5


def test_kotlin_and_swift_are_whole(packed):
    for ending, language, folder in (("kt", tree_sitter_kotlin, "kotlin"), ("swift", tree_sitter_swift, "swift")):
        files = {path.name: path for path in (packed[0] / "code" / folder).iterdir()}
        assert set(files) == {f"{name}.{ending}" for name in (
            "Noise", "Sampler", "Tokenizer", "SmallDigitsModel", "SmallDigitsPictures")}
        assert all(parsed(path, language.language()) == [] for path in files.values())
        code = files[f"SmallDigitsPictures.{ending}"].read_text()
        assert all(", ".join(map(str, row)) in code for row in SECTION.plan(KNOWN).tolist())


def test_swift_has_arguments_in_the_order_in_which_they_are_called(packed):
    code = (packed[0] / "code/swift/SmallDigitsPictures.swift").read_text()
    for function, arguments in drawing.FUNCTIONS.values():
        listed = [re.findall(r"(\w+): ", one) for one in re.findall(rf"\b{function}\(([^)]*)\)", code)]
        assert len(listed) > 1 and all(one == list(arguments) for one in listed), "defined and called"


def test_a_file_of_other_signatures_is_refused():
    content = converted(lambda noise: {"denoised": 2 * noise}, tf.TensorSpec((1, *LATENT), tf.float32, "noise"))
    with pytest.raises(ValueError, match="encode_text takes tokens and gives one tensor; this one has serving_default"):
        drawing.asked_by_text(content)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("kotlinc") is None, reason="no Kotlin compiler")
def test_kotlin_compiles(packed, tmp_path):
    for name, content in BESIDE.items():
        (tmp_path / name).write_text(content)
    compiled([*(packed[0] / "code/kotlin").iterdir(), *BESIDE], tmp_path)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("kotlinc") is None, reason="no Kotlin compiler")
def test_kotlin_makes_the_same_pictures(packed, tmp_path):
    folder, said, made = packed
    runtime = BESIDE["litert.kt"]
    for signature, body in RUNS.items():
        assert signature in runtime
        runtime = runtime.replace(signature, body)
    beside = {**BESIDE, "litert.kt": runtime, "Main.kt": PROGRAM + READER}
    for name, content in beside.items():
        (tmp_path / name).write_text(content)
    (tmp_path / "tokenizer.txt").write_text(written(said, []))
    compiled([*(folder / "code/kotlin").iterdir(), *beside], tmp_path)
    *lines, refused = subprocess.run(["java", "-cp", "app.jar", "MainKt", "tokenizer.txt"], cwd=tmp_path, check=True,
                                     capture_output=True, text=True).stdout.splitlines()
    expected = [made(7, 0, "a three"), made(7, 2, "the digit four"), made(7, 1, ""), made(7, 0, "a three", guidance=1)]
    assert refused == "the model has learnt no word of the text" and len(lines) == len(expected)
    for line, picture in zip(lines, expected, strict=True):
        assert np.abs(np.array(line.split(" "), int) - picture.ravel()).max() <= 1
