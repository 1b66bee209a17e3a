"""Pictures that a page makes of a seed, run by Node.js and held against what Python makes of it."""
import json
import shutil
import subprocess

import numpy as np
import pytest
import tensorflow as tf

from export.delivery import drawing
from export.predictors import open_predictor
from export.targets import web, web_pictures
from export.tflite import signatures
from export.tflite.metadata import Description
from export.writing import noise
from pipelines.tasks.image_generation.diffusion import DiffusionSection
from pipelines.tasks.image_generation.measure import levels
from pipelines.tasks.image_generation.stepwise import Stepwise
from tests.export.delivery.test_drawing_code import KNOWN, SECTION, denoiser, generator
from tests.export.targets.test_web_answers import RUN
from tests.export.tflite.test_joined import GIVEN, converted

pytestmark = pytest.mark.skipif(shutil.which("node") is None, reason="no Node.js")
SEEDS = [0, 7, 2 ** 32 + 5, 2 ** 63 - 1]
MODULE = web_pictures.TEMPLATE.parent.as_uri()
NOISE_SPEC, STEP, CONDITION = (tf.TensorSpec(shape, tf.float32, name) for name, shape in (
    ("noise", (1, 4, 4, 1)), ("step", (1,)), ("condition", (1, 2))))


def printed(script, folder):
    """Return what a script prints, as JSON."""
    (folder / "ask.mjs").write_text(script)
    done = subprocess.run(["node", str(folder / "ask.mjs")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_noise_is_pythons_word_for_word(tmp_path):
    answers = printed(f"""import {{normal, words}} from '{MODULE}/noise.js';
        const seeds = {json.dumps([str(seed) for seed in SEEDS])};
        const of = (seed) => [words(seed, 1001), normal(seed, 1001)].map((numbers) => Array.from(numbers));
        console.log(JSON.stringify(seeds.map(of)));
        """, tmp_path)
    for seed, (words, numbers) in zip(SEEDS, answers, strict=True):
        np.testing.assert_array_equal(np.array(words, np.uint32), noise.words((seed, 0), 1001))
        np.testing.assert_allclose(numbers, noise.normal((seed, 0), (1001,)), rtol=0, atol=5e-6)


@pytest.mark.parametrize("target", ["velocity", "noise", "image"])
def test_a_picture_is_pythons_of_that_number_of_the_seed(target, tmp_path):
    how = Stepwise(SECTION.model_copy(update={"target": target}), KNOWN)
    pixels = printed(f"""import {{made}} from '{MODULE}/pictures.js';
        const ask = async ({{noise, step, condition}}) =>
          noise.map((value) => 0.6 * value + 0.01 * step[0] + 0.3 * (condition[0] - 0.3 * condition[1]));
        const inputs = {{noise: {{shape: [1, 4, 4, 1]}}, step: {{shape: [1]}}, condition: {{shape: [1, 2]}}}};
        console.log(JSON.stringify(Array.from(await made(ask, inputs, {json.dumps(how.driver())}, '7', 2, 1))));
        """, tmp_path)

    class Formula:
        signatures = {}

        def predict(self, inputs):
            return {name: value.numpy() for name, value in denoiser(**inputs).items()}

    expected = how.section.made(Formula(), noise.normal((7, 0), (3, 4, 4, 1))[2:], np.eye(2, dtype="float32")[[1]],
                                KNOWN)
    assert np.abs(np.array(pixels) - levels(expected).ravel()).max() <= 1 and len(set(pixels)) > 5


@pytest.fixture
def page(tmp_path, monkeypatch):
    """A page, without the runtime, and its file."""
    (tmp_path / "runtime").mkdir()
    (tmp_path / "page").mkdir()
    monkeypatch.setattr(web, "runtime", lambda: tmp_path / "runtime")
    content = converted(denoiser, NOISE_SPEC, STEP, CONDITION)
    about = Description(name="digits", labels=["one", "two"])
    return web_pictures.write(tmp_path / "page", about, beside(Stepwise(SECTION, KNOWN).driver()), {"float32": content})


def beside(sampler):
    """Return what a bundle has beside its models."""
    return {drawing.SAMPLER: json.dumps(sampler).encode()}


def test_the_page_is_whole_and_has_the_table(page, tmp_path):
    text = page.read_text()
    script = text[text.index('<script type="module">') + 22:text.index("</script>", text.index('type="module"'))]
    (tmp_path / "page.mjs").write_text(script)
    done = subprocess.run(["node", "--check", str(tmp_path / "page.mjs")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(text.partition("SAMPLER = ")[2].partition(", SIZE")[0])["table"] == SECTION.plan(KNOWN).tolist()
    assert 'LABELS = ["one", "two"]' in text and "SIZE = [4, 4, 1]" in text
    assert all(page.with_name(name).is_file() for name in web_pictures.MODULES)


def test_wide_integers_and_other_inputs_are_refused():
    content = converted(lambda noise: {"generated": tf.cast(noise * 127, tf.int32)}, NOISE_SPEC)
    with pytest.raises(ValueError, match="one takes and gives float32, int32; the page makes pictures of float32"):
        web_pictures.asked("one", content)
    content = converted(lambda noise, mask: {"generated": noise * mask}, NOISE_SPEC,
                        tf.TensorSpec((1, 4, 4, 1), tf.float32, "mask"))
    with pytest.raises(ValueError, match="makes pictures of noise, a step and a class, and two takes"):
        web_pictures.asked("two", content)


def test_numbers_are_stored_as_python_stores_them(tmp_path):
    values = np.concatenate([np.random.default_rng(0).normal(0, 3, 500), np.arange(-9, 9) * 0.025]).astype("float32")
    info = signatures.TensorInfo(name="noise", shape=(1,), dtype="uint8", scale=0.05, zero=120)
    kept = json.dumps({"dtype": "uint8", "scale": 0.05, "zero": 120})
    stored, real = printed(f"""import {{real, stored}} from '{MODULE}/pictures.js';
        const kept = stored(Float32Array.from({json.dumps(values.tolist())}), {kept});
        console.log(JSON.stringify([Array.from(kept), Array.from(real(kept, {kept}))]));
        """, tmp_path)
    expected = info.to_tensor(values)
    np.testing.assert_array_equal(np.array(stored), expected)
    np.testing.assert_allclose(real, info.to_real(expected), atol=1e-6)


def test_a_file_for_the_page_takes_bytes_of_the_same_meaning(tmp_path):
    content = integers()
    taken = web_pictures.with_unsigned(content)
    (old, new) = (signatures.main(one) for one in (content, taken))
    for before, after in ((old.input, new.input), (old.output, new.output)):
        assert (before.dtype, after.dtype, after.scale, after.zero) == (
            "int8", "uint8", before.scale, before.zero + 128)
    for name, one in (("before", content), ("after", taken)):
        (tmp_path / f"{name}.tflite").write_bytes(one)
    answers = [open_predictor(tmp_path / f"{name}.tflite").predict({"x": GIVEN}) for name in ("before", "after")]
    np.testing.assert_array_equal(answers[0]["y"], answers[1]["y"])


def integers():
    kernel = tf.constant(np.random.default_rng(1).normal(size=(6, 4)), tf.float32)
    return converted(lambda x: {"y": x @ kernel}, tf.TensorSpec((1, 6), tf.float32, "x"), integers=True)


def in_node(page, folder):
    """Return a copy of a page's folder in another, in which Node.js finds its modules."""
    whole = folder / "page"
    shutil.copytree(page, whole, dirs_exist_ok=True)
    utilities = whole / "node_modules/@litertjs/wasm-utils"  # as the page's import map names it
    utilities.mkdir(parents=True, exist_ok=True)
    shutil.copy(whole / "litert/wasm-utils.js", utilities / "index.js")
    (utilities / "package.json").write_text('{"type": "module", "exports": "./index.js"}')
    (whole / "package.json").write_text('{"type": "module"}')
    return whole


def of_runtime(page, sampler, file, seed, numbers, folder):
    """Return the pixels that a page makes with LiteRT's web runtime, run by Node.js, a list for each picture.

    Args:
        page: its folder, which is left as it is.
        file: in it.
        numbers: of each picture, and its class.
    """
    whole = in_node(page, folder)
    signature = signatures.main((whole / file).read_bytes())
    inputs = {name: info.model_dump(include=web.END) for name, info in signature.inputs.items()}
    script = RUN[:RUN.index("const {shape, images}")] + f"""
const {{made, real, stored}} = await import(path.join(page, 'pictures.js'));
const model = await loadAndCompile(path.join(page, file), {{accelerator: 'wasm'}}), inputs = {json.dumps(inputs)};
const ask = async (values) => {{
  const pairs = Object.entries(values).map(([name, one]) => [
    name, new Tensor(stored(one, inputs[name]), inputs[name].shape)]);
  const outputs = await model.run({json.dumps(signature.name)}, Object.fromEntries(pairs));
  return real(await Object.values(outputs)[0].data(), {json.dumps(signature.output.model_dump(include=web.END))});
}};
const pictures = [];
for (const [number, label] of {json.dumps(list(numbers))}) {{
  pictures.push(Array.from(await made(ask, inputs, {json.dumps(sampler)}, '{seed}', number, label)));
}}
fs.writeFileSync(output, JSON.stringify(pictures));
process.exit(0);
"""
    (folder / "run.mjs").write_text(script)
    done = subprocess.run(["node", str(folder / "run.mjs"), str(whole), file, "none", str(folder / "out.json")],
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads((folder / "out.json").read_text())


@pytest.mark.slow
@pytest.mark.skipif(web.missing() != "", reason="LiteRT's web runtime cannot be fetched")
@pytest.mark.parametrize("kind", ["generator", "diffusion"])
def test_the_web_runtime_makes_pythons_pictures(kind, tmp_path):
    specs = (tf.TensorSpec((1, 3), tf.float32, "noise"), CONDITION) if kind == "generator" else (
        NOISE_SPEC, STEP, CONDITION)
    content = converted(generator if kind == "generator" else denoiser, *specs)
    (tmp_path / "file.tflite").write_bytes(content)
    (tmp_path / "written").mkdir()
    sampler = {"kind": "generator"} if kind == "generator" else Stepwise(SECTION, KNOWN).driver()
    web_pictures.write(tmp_path / "written", Description(name="digits", labels=["one", "two"]), beside(sampler),
                       {"float32": content})
    (pixels,) = of_runtime(tmp_path / "written", sampler, "float32.tflite", 7, [(2, 1)], tmp_path)
    inputs = {"noise": noise.normal((7, 0), (3, *specs[0].shape[1:]))[2:],
              "condition": np.eye(2, dtype="float32")[[1]]}
    predictor = open_predictor(tmp_path / "file.tflite")
    if kind == "generator":
        expected = predictor.predict(inputs)["generated"]
    else:
        expected = DiffusionSection.made(SECTION, predictor, inputs["noise"], inputs["condition"], KNOWN)
    assert np.abs(np.array(pixels) - levels(expected).ravel()).max() <= 1 and len(np.unique(pixels)) > 5
