"""Pictures that a page makes of a seed, run by Node.js and held against what Python makes of it."""
import json
import shutil
import subprocess

import numpy as np
import pytest
import tensorflow as tf

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
from tests.export.tflite.test_joined import converted

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
        const shapes = {{noise: [1, 4, 4, 1], step: [1], condition: [1, 2]}};
        console.log(JSON.stringify(Array.from(await made(ask, shapes, {json.dumps(how.driver())}, '7', 2, 1))));
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
    return web_pictures.write(tmp_path / "page", about, Stepwise(SECTION, KNOWN).driver(), {"float32": content})


def test_the_page_is_whole_and_has_the_table(page, tmp_path):
    text = page.read_text()
    script = text[text.index('<script type="module">') + 22:text.index("</script>", text.index('type="module"'))]
    (tmp_path / "page.mjs").write_text(script)
    done = subprocess.run(["node", "--check", str(tmp_path / "page.mjs")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(text.partition("SAMPLER = ")[2].partition(", SIZE")[0])["table"] == SECTION.plan(KNOWN).tolist()
    assert 'LABELS = ["one", "two"]' in text and "SIZE = [4, 4, 1]" in text
    assert all(page.with_name(name).is_file() for name in web_pictures.MODULES)


def test_integers_and_other_inputs_are_refused():
    content = converted(lambda noise: {"generated": tf.cast(noise * 127, tf.int32)}, NOISE_SPEC)
    with pytest.raises(ValueError, match="one takes and gives float32, int32; the page makes pictures of float32"):
        web_pictures.check("one", signatures.main(content))
    content = converted(lambda noise, mask: {"generated": noise * mask}, NOISE_SPEC,
                        tf.TensorSpec((1, 4, 4, 1), tf.float32, "mask"))
    with pytest.raises(ValueError, match="makes pictures of noise, a step and a class, and two takes"):
        web_pictures.check("two", signatures.main(content))


@pytest.mark.slow
@pytest.mark.skipif(web.missing() != "", reason="LiteRT's web runtime cannot be fetched")
@pytest.mark.parametrize("kind", ["generator", "diffusion"])
def test_the_web_runtime_makes_pythons_pictures(kind, tmp_path):
    specs = (tf.TensorSpec((1, 3), tf.float32, "noise"), CONDITION) if kind == "generator" else (
        NOISE_SPEC, STEP, CONDITION)
    content = converted(generator if kind == "generator" else denoiser, *specs)
    (tmp_path / "file.tflite").write_bytes(content)
    (tmp_path / "page").mkdir()
    sampler = {"kind": "generator"} if kind == "generator" else Stepwise(SECTION, KNOWN).driver()
    web_pictures.write(tmp_path / "page", Description(name="digits", labels=["one", "two"]), sampler,
                       {"float32": content})
    utilities = tmp_path / "page/node_modules/@litertjs/wasm-utils"  # as the page's import map names it
    utilities.mkdir(parents=True)
    shutil.copy(tmp_path / "page/litert/wasm-utils.js", utilities / "index.js")
    (utilities / "package.json").write_text('{"type": "module", "exports": "./index.js"}')
    (tmp_path / "page/package.json").write_text('{"type": "module"}')
    shapes = {spec.name: list(spec.shape) for spec in specs}
    script = RUN[:RUN.index("const {shape, images}")] + f"""
const {{made}} = await import(path.join(page, 'pictures.js'));
const model = await loadAndCompile(path.join(page, file), {{accelerator: 'wasm'}}), shapes = {json.dumps(shapes)};
const ask = async (inputs) => {{
  const pairs = Object.entries(inputs).map(([name, one]) => [name, new Tensor(one, shapes[name])]);
  const tensors = Object.fromEntries(pairs);
  return Float32Array.from(await Object.values(await model.run(tensors))[0].data());
}};
const pixels = await made(ask, shapes, {json.dumps(sampler)}, '7', 2, 1);
fs.writeFileSync(output, JSON.stringify(Array.from(pixels)));
process.exit(0);
"""
    (tmp_path / "run.mjs").write_text(script)
    done = subprocess.run(["node", str(tmp_path / "run.mjs"), str(tmp_path / "page"), "float32.tflite", "none",
                           str(tmp_path / "out.json")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    shape = shapes["noise"][1:]
    inputs = {"noise": noise.normal((7, 0), (3, *shape))[2:], "condition": np.eye(2, dtype="float32")[[1]]}
    predictor = open_predictor(tmp_path / "file.tflite")
    if kind == "generator":
        expected = predictor.predict(inputs)["generated"]
    else:
        expected = DiffusionSection.made(SECTION, predictor, inputs["noise"], inputs["condition"], KNOWN)
    pixels = np.array(json.loads((tmp_path / "out.json").read_text()))
    assert np.abs(pixels - levels(expected).ravel()).max() <= 1 and len(np.unique(pixels)) > 5
