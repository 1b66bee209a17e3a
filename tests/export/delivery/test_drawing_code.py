"""The code of bundles that makes pictures out of noise: the same in Python, Kotlin and Swift."""
import io
import json
import shutil
import subprocess
import sys

import numpy as np
import PIL.Image
import pytest
import tensorflow as tf
import tree_sitter_kotlin
import tree_sitter_swift

from export.artifacts import Exported
from export.delivery import bundle, drawing
from export.predictors import open_predictor
from export.signature import Signature, Tensor
from export.tflite.metadata import Description
from export.writing import diffusion, noise
from pipelines.tasks.image_generation.diffusion import DiffusionSection
from pipelines.tasks.image_generation.measure import levels
from pipelines.tasks.image_generation.one_step import OneStep
from pipelines.tasks.image_generation.stepwise import Stepwise
from tests.export.delivery.test_snippets import SIGNATURES, parsed
from tests.export.tflite.test_joined import converted

FOLDER, LABELS, KNOWN = drawing.TEMPLATES, ["one", "zwei$"], 40
SECTION = DiffusionSection(sampled=5, guidance=1.5, sampler="dpm_solver")
MIX = np.random.default_rng(0).normal(size=(3, 4 * 4)).astype("float32")
CONDITION = Tensor(name="condition", dtype="float32", shape=(2,))
#: Prints words and normal numbers of seeds, and a picture of a network that is a formula.
PROGRAM = """fun main() {
    for (seed in longArrayOf(SEEDS)) {
        println(Noise.words(seed, 11).joinToString(" "))
        println(Noise.normal(seed, 1001).joinToString(" "))
    }
    for (target in listOf("velocity", "noise", "image")) {
        val picture = Sampler(arrayOf(TABLE), target).picture(Noise.normal(3, 12)) { x, step ->
            val without = FloatArray(x.size) { 0.2f * x[it] }
            Sampler.guided(FloatArray(x.size) { 0.5f * x[it] + 0.01f * step }, without, 1.5f) }
        println(picture.joinToString(" "))
    }
}
"""
SEEDS = [0, 7, 2 ** 32 + 5, 2 ** 63 - 1]


def generator(noise, condition):
    picture = 127.0 + 60 * tf.tensordot(noise, tf.constant(MIX), 1) + 40 * condition[:, :1]
    return {"generated": tf.reshape(picture, (-1, 4, 4, 1))}


def denoiser(noise, step, condition):
    towards = tf.reshape(condition[:, 0] - 0.3 * condition[:, 1], (-1, 1, 1, 1))
    return {"denoised": 0.6 * noise + 0.01 * tf.reshape(step, (-1, 1, 1, 1)) + 0.3 * towards}


@pytest.fixture(scope="module", params=["generator", "diffusion", "whole"])
def packed(request, tmp_path_factory):
    """A bundle of a generator, of a network that denoises, or of a diffusion whose file makes whole pictures, and the
    pictures that it makes of a seed."""
    source = tmp_path_factory.mktemp("source")
    (source / "litert").mkdir()
    steps, shape = request.param == "diffusion", (4, 4, 1) if request.param == "diffusion" else (3,)
    drawn = Tensor(name="noise", dtype="float32", shape=shape, role="noise")
    step = Tensor(name="step", dtype="float32", shape=())
    inputs = (drawn, step, CONDITION) if steps else (drawn, CONDITION)
    output = Tensor(name="denoised" if steps else "generated", dtype="float32", shape=(4, 4, 1))
    specs = [tf.TensorSpec((1, *one.shape), tf.float32, one.name) for one in inputs]
    content = converted(denoiser if steps else generator, *specs)
    (source / "litert/float32.tflite").write_bytes(content)
    making = OneStep() if request.param == "generator" else Stepwise(SECTION, KNOWN)
    about = Description(name="small_digits", task="image_generation", version="1.0.0", labels=LABELS)
    bundle.write(source / "bundle", about=about, signature=Signature(inputs=inputs, outputs=(output,)),
                 exported=[Exported(variant="float32", target="litert", path="litert/float32.tflite", bytes=1,
                                    zipped=1)],
                 source=source, samples=[], card="", recommended={},
                 files={drawing.SAMPLER: json.dumps(making.driver()).encode()})
    predictor = open_predictor(source / "litert/float32.tflite")

    def made(seed, classes, **changes):
        how = making if steps else OneStep()
        if changes:
            how = Stepwise(SECTION.model_copy(update=changes), KNOWN)
        known = {"noise": noise.normal((seed, 0), (len(classes), *shape)),
                 "condition": np.eye(2, dtype="float32")[classes]}
        return levels(how.answer(predictor, known)["generated"])

    return source / "bundle", request.param, made


def run(folder, out, *arguments):
    """Return what the driver writes, uint8 (pictures, height, width, channels)."""
    driver = folder / "code/python" / drawing.DRIVER
    done = subprocess.run([sys.executable, driver, "--out", out, *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    paths = sorted(out.iterdir())
    return np.stack([np.asarray(PIL.Image.open(io.BytesIO(path.read_bytes()))) for path in paths])[..., None]


def test_python_makes_the_same_pictures(packed, tmp_path):
    folder, kind, made = packed
    np.testing.assert_array_equal(run(folder, tmp_path / "turns", "--seed", 7, "--count", 3), made(7, [0, 1, 0]))
    more = ["--steps", 9, "--guidance", 2] if kind == "diffusion" else []
    expected = made(2 ** 40, [1, 1], **({"sampled": 9, "guidance": 2.0} if more else {}))
    pictures = run(folder, tmp_path / "one", "--seed", 2 ** 40, "--count", 2, "--class", "zwei$", *more)
    np.testing.assert_array_equal(pictures, expected)
    assert len(np.unique(expected)) > 5


def test_what_is_asked_for_in_vain_is_said(packed, tmp_path):
    folder, kind, _ = packed
    driver = folder / "code/python" / drawing.DRIVER
    wrong = ["--steps", "41"] if kind == "diffusion" else ["--steps", "3"]
    said = "--steps is 1 to 40" if kind == "diffusion" else "--steps is of a file that is asked step by step; leave it"
    done = subprocess.run([sys.executable, driver, *wrong], capture_output=True, text=True)
    assert done.returncode == 2 and said in " ".join(done.stderr.split())


def test_drivers_import_nothing_of_this_package(packed):
    for path in (packed[0] / "code/python").glob("*.py"):
        assert "export." not in path.read_text() and "pipelines" not in path.read_text(), path


def test_kotlin_and_swift_are_whole(packed):
    for ending, language, folder in (("kt", tree_sitter_kotlin, "kotlin"), ("swift", tree_sitter_swift, "swift")):
        for name in ("Noise", "Sampler", "SmallDigitsPictures", "SmallDigitsModel"):
            path = packed[0] / "code" / folder / f"{name}.{ending}"
            assert parsed(path, language.language()) == [], path
        code = (packed[0] / "code" / folder / f"SmallDigitsPictures.{ending}").read_text()
        for row in SECTION.plan(KNOWN).tolist():
            assert (", ".join(map(str, row)) in code) == (packed[1] == "diffusion")


def test_without_what_says_how_nothing_is_written(packed, tmp_path):
    one = Exported(variant="float32", target="litert", path="litert/float32.tflite", bytes=1, zipped=1)
    drawing.write(tmp_path / "code", Description(name="small"), [one], {}, packed[0])
    assert not (tmp_path / "code").exists()


def compiled(paths, folder):
    done = subprocess.run(["kotlinc", *map(str, paths), "-include-runtime", "-d", "app.jar"], cwd=folder,
                          capture_output=True, text=True)
    assert done.returncode == 0 and "error:" not in done.stderr, done.stderr


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("kotlinc") is None, reason="no Kotlin compiler")
def test_kotlin_draws_the_same_noise_and_the_same_pictures(tmp_path):
    table = SECTION.plan(KNOWN)
    rows = ", ".join(f"doubleArrayOf({', '.join(map(str, row))})" for row in table.tolist())
    (tmp_path / "Main.kt").write_text(PROGRAM.replace("SEEDS", ", ".join(f"{seed}L" for seed in SEEDS)).replace(
        "TABLE", rows))
    compiled([FOLDER / "Noise.kt", FOLDER / "Sampler.kt", "Main.kt"], tmp_path)
    printed = subprocess.run(["java", "-cp", "app.jar", "MainKt"], cwd=tmp_path, capture_output=True, text=True,
                             check=True).stdout.splitlines()
    lines = [np.array(line.split(" "), float) for line in printed]
    for number, seed in enumerate(SEEDS):
        np.testing.assert_array_equal(lines[2 * number], noise.words((seed, 0), 11))
        np.testing.assert_allclose(lines[2 * number + 1], noise.normal((seed, 0), (1001,)), rtol=0, atol=5e-6)
    for line, target in zip(lines[2 * len(SEEDS):], ("velocity", "noise", "image"), strict=True):
        expected = diffusion.sampled(lambda x, step: diffusion.guided(0.5 * x + 0.01 * step, 0.2 * x, 1.5),
                                     noise.normal((3, 0), (1, 12)), table, target)
        np.testing.assert_allclose(line, expected[0], atol=1e-4)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("kotlinc") is None, reason="no Kotlin compiler")
def test_kotlin_compiles(packed, tmp_path):
    for name, text in SIGNATURES.items():
        (tmp_path / name).write_text(text)
    compiled([*(packed[0] / "code/kotlin").iterdir(), *SIGNATURES], tmp_path)
