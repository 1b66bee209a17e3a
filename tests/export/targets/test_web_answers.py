"""What the page makes of a model's numbers, run by Node.js and held against what Python makes of them."""
import json
import shutil
import subprocess

import numpy as np
import pytest
import tensorflow as tf

from export.predictors import LiteRTPredictor
from export.signature import Signature, Tensor
from export.targets import web
from export.tflite.metadata import Description
from pipelines.tasks.object_detection import detections
from tests.export.delivery import detectors
from tests.export.tflite.test_joined import converted

pytestmark = pytest.mark.skipif(shutil.which("node") is None, reason="no Node.js")
#: LiteRT's web runtime for browsers, as Node.js is brought to load it.
RUN = """
import fs from 'node:fs';
import path from 'node:path';
import vm from 'node:vm';
import {createRequire} from 'node:module';
const [page, file, input, output] = process.argv.slice(2);
const wasm = path.join(page, 'litert', 'wasm') + path.sep, headers = {'Content-Type': 'application/wasm'};
Object.assign(globalThis, {self: globalThis, require: createRequire(import.meta.url), __dirname: wasm,
                           __filename: path.join(wasm, 'x.js')});
globalThis.fetch = async (url) => new Response(fs.readFileSync(String(url)), {headers});
globalThis.importScripts = (...urls) => {
  for (const url of urls) vm.runInThisContext(fs.readFileSync(String(url), 'utf8'));
};
const {loadLiteRt, loadAndCompile, Tensor} = await import(path.join(page, 'litert', 'core.js'));
await loadLiteRt(wasm);
const {shape, images} = JSON.parse(fs.readFileSync(input)), answers = [];
const model = await loadAndCompile(path.join(page, file), {accelerator: 'wasm'});
for (const pixels of images) {
  const type = model.getInputDetails()[0].dtype === 'float32' ? Float32Array : Uint8Array;
  const given = await model.run({image: new Tensor(type.from(pixels), shape)}), answer = {};
  for (const [name, tensor] of Object.entries(given)) answer[name] = Array.from(await tensor.data());
  answers.push(answer);
}
fs.writeFileSync(output, JSON.stringify(answers));
process.exit(0);
"""


def asked(call, *values, folder):
    """Return what a function of the page's module gives."""
    (folder / "values.json").write_text(json.dumps(values))
    script = folder / "ask.mjs"
    script.write_text(f"import {{readFileSync}} from 'node:fs';\nimport * as answers from "
                      f"'{web.TEMPLATE.with_name(web.ANSWERS).as_uri()}';\n"
                      f"const values = JSON.parse(readFileSync('{folder / 'values.json'}'));\n"
                      f"const given = answers.{call}(...values);\n"
                      "console.log(JSON.stringify(ArrayBuffer.isView(given) ? Array.from(given) : given));\n")
    done = subprocess.run(["node", str(script)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def found_in_python(boxes, scores):
    """Return the same as TensorFlow suppresses them, (1, most, ...) each."""
    driver = detectors.DRIVER
    boxes, scores, classes, count = tf.image.combined_non_max_suppression(
        boxes[None, :, None], scores[None], driver.most, driver.most, driver.iou, driver.threshold, clip_boxes=False)
    return {"detection_boxes": boxes.numpy(), "detection_scores": scores.numpy(),
            "detection_classes": classes.numpy(), "num_detections": count.numpy()}


def compared(answer, expected):
    """Hold the page's boxes against Python's; which of two of the same score is the first is left open."""
    sides = [[one[side] for side in ("top", "left", "bottom", "right")] for one in answer]
    given = {"detection_boxes": np.reshape(sides, (1, -1, 4)), "num_detections": np.array([len(answer)]),
             "detection_scores": np.array([[one["score"] for one in answer]]),
             "detection_classes": np.array([[one["number"] for one in answer]])}
    assert given["num_detections"] == expected["num_detections"]
    driver = detectors.DRIVER
    paired = detections.paired(given, expected, iou=driver.iou, score=driver.threshold)
    for name, values in paired.items():
        np.testing.assert_allclose(values, expected[name], atol=1e-5)


@pytest.mark.parametrize("seed", [0, 1])
def test_boxes_are_suppressed_as_python_does(seed, tmp_path):
    generator = np.random.default_rng(seed)
    centres, sides = generator.uniform(0.3, 0.7, (60, 2)), generator.uniform(0.2, 0.5, (60, 2))
    location = np.concatenate([centres, sides], axis=1).astype("float32")
    score = generator.uniform(0, 1, (60, 3)).astype("float32")
    settings = detectors.DRIVER.model_dump(include={"iou", "most", "threshold"})
    answer = asked("boxes", location.ravel().tolist(), score.ravel().tolist(), 3, settings, folder=tmp_path)
    assert 5 < len(answer) <= detectors.DRIVER.most
    halves = location[:, 2:] / 2
    compared(answer, found_in_python(np.concatenate([location[:, :2] - halves, location[:, :2] + halves], axis=1),
                                     score))


def test_masks_and_probabilities_are_pythons(tmp_path):
    logits = np.random.default_rng(0).normal(size=(6, 5)).astype("float32")
    assert asked("classes", logits.ravel().tolist(), 5, folder=tmp_path) == logits.argmax(axis=1).tolist()
    assert asked("classes", [0.5, -0.5, 0.0], 1, folder=tmp_path) == [1, 0, 0]
    np.testing.assert_allclose(asked("probabilities", logits[0].tolist(), folder=tmp_path), tf.nn.softmax(logits[0]),
                               atol=1e-6)


@pytest.fixture(params=["boxes", "mask"])
def page(request, tmp_path, monkeypatch):
    """A page that shows boxes, or masks, without the runtime."""
    (tmp_path / "runtime").mkdir()
    (tmp_path / "page").mkdir()
    monkeypatch.setattr(web, "runtime", lambda: tmp_path / "runtime")
    if request.param == "boxes":
        files = {one.variant: (tmp_path / one.path).read_bytes() for one in detectors.exported(tmp_path)
                 if one.target == "decoded"}
        return request.param, web.write(tmp_path / "page", detectors.ABOUT, files)
    image = Tensor(name="image", dtype="float32", shape=(8, 8, 3), role="image")
    logits = Tensor(name="logits", dtype="float32", shape=(8, 8, 1), role="logits")
    content = converted(lambda image: {"logits": image[..., :1] - 9.0},
                        tf.TensorSpec((1, 8, 8, 3), tf.float32, "image"))
    about = Description(name="one", labels=["tumour"], signature=Signature(inputs=(image,), outputs=(logits,)))
    return request.param, web.write(tmp_path / "page", about, {"float32": content})


def test_the_page_is_whole_and_knows_what_it_shows(page, tmp_path):
    kind, path = page
    text = path.read_text()
    script = text[text.index('<script type="module">') + 22:text.index("</script>", text.index('type="module"'))]
    (tmp_path / "page.mjs").write_text(script)
    done = subprocess.run(["node", "--check", str(tmp_path / "page.mjs")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert f'KIND = "{kind}"' in text and path.with_name(web.ANSWERS).is_file() and 'id="check"' not in text
    if kind == "boxes":
        assert '"iou": 0.5' in text and '"location"' in text and "boxes" not in json.loads(
            text.partition("MODELS = ")[2].partition(", SIZE")[0])[0]["outputs"]
    else:
        assert 'LABELS = ["background", "tumour"]' in text and 'COLORS = [null, "2563EB"]' in text


@pytest.mark.slow
@pytest.mark.skipif(web.missing() != "", reason="LiteRT's web runtime cannot be fetched")
@pytest.mark.parametrize("variant", ["float32", "int8"])
def test_the_web_runtime_and_the_page_find_what_python_finds(variant, tmp_path):
    files = {one.variant: (tmp_path / one.path) for one in detectors.exported(tmp_path) if one.target == "decoded"}
    (tmp_path / "page").mkdir()
    web.write(tmp_path / "page", detectors.ABOUT, {name: path.read_bytes() for name, path in files.items()})
    utilities = tmp_path / "page/node_modules/@litertjs/wasm-utils"  # as the page's import map names it
    utilities.mkdir(parents=True)
    shutil.copy(tmp_path / "page/litert/wasm-utils.js", utilities / "index.js")
    (utilities / "package.json").write_text('{"type": "module", "exports": "./index.js"}')
    images = detectors.IMAGES[:5]
    (tmp_path / "run.mjs").write_text(RUN)
    (tmp_path / "in.json").write_text(json.dumps({"shape": [1, *images.shape[1:]],
                                                  "images": images.reshape(5, -1).tolist()}))
    done = subprocess.run(["node", str(tmp_path / "run.mjs"), str(tmp_path / "page"), f"{variant}.tflite",
                           str(tmp_path / "in.json"), str(tmp_path / "out.json")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    expected = LiteRTPredictor(files[variant]).predict({"image": images})
    settings = detectors.DRIVER.model_dump(include={"iou", "most", "threshold"})
    for number, given in enumerate(json.loads((tmp_path / "out.json").read_text())):
        location, score = (expected[name][number] for name in ("location", "score"))
        np.testing.assert_allclose(given["location"], location.ravel(), atol=1e-5)
        answer = asked("boxes", given["location"], given["score"], 3, settings, folder=tmp_path)
        halves = location[:, 2:] / 2
        compared(answer, found_in_python(np.concatenate([location[:, :2] - halves, location[:, :2] + halves], axis=1),
                                         score))
