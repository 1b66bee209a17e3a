"""The same seed makes the same picture in Keras, by the bundle's driver, behind a server and on the page."""
import io
import json
import shutil
import subprocess
import sys

import numpy as np
import PIL.Image
import pytest
from tensorflow.core.protobuf import saved_model_pb2

from export.artifacts import Exported
from export.conversion import convert
from export.delivery import bundle, drawing
from export.keras_models import file as keras_file
from export.predictors import open_predictor
from export.targets import saved_model, web, web_pictures
from export.tflite import phone
from export.tflite.metadata import Description
from pipelines.tools import sample
from pipelines.tools.predict import Asked
from serving import request_log, warmup
from serving.client import GrpcClient, RestClient
from serving.embedded import serving
from tests.conftest import run_here
from tests.export.targets.test_web_pictures import of_runtime
from tests.pipelines.tasks.image_generation.made import model_of, task_of
from tests.pipelines.tasks.image_generation.test_run import OTHERS, RECIPE

SEED, COUNT, LABELS = 2 ** 33 + 7, 3, [str(number) for number in range(10)]
#: Makes the page's pictures in Node.js: what the network says comes from whoever started it, line by line.
PAGE = """import {{createInterface}} from 'node:readline';
import {{made}} from '{module}';
const lines = createInterface({{input: process.stdin}})[Symbol.asyncIterator]();
const told = async () => JSON.parse((await lines.next()).value);
const {{inputs, sampler, seed, count}} = await told();
const ask = async (values) => {{
  const lists = Object.entries(values).map(([name, one]) => [name, Array.from(one)]);
  console.log(JSON.stringify({{ask: Object.fromEntries(lists)}}));
  return Float32Array.from(await told());
}};
for (let number = 0; number < count; number++) {{
  console.log(JSON.stringify({{pixels: Array.from(await made(ask, inputs, sampler, seed, number, number))}}));
}}
process.exit(0);
"""


@pytest.fixture(scope="module", params=["vae", "ddpm", pytest.param("vqvae", marks=pytest.mark.slow)])
def shipped(request, tmp_path_factory):
    """A folder with a model that nobody trained, as a Keras file and in a bundle, and how it is asked."""
    folder = tmp_path_factory.mktemp("shipped")
    task, data = task_of(request.param)
    model = model_of(request.param, task, data)
    keras_file.save(model, folder / "model.keras")
    convert.float_graph(model, lambda one: task.functions(one, data, "device"), folder / "graph")
    signature = task.signature(data.index)
    about = Description(name="small", task="image_generation", version="1.0.0", labels=LABELS, signature=signature)
    (folder / "litert").mkdir()
    (folder / "litert/float32.tflite").write_bytes(phone.ready(convert.convert(folder / "graph", "float32"), about))
    bundle.write(folder / "bundle", about=about, signature=signature, source=folder, samples=[], card="",
                 exported=[Exported(variant="float32", target="litert", path="litert/float32.tflite", bytes=1,
                                    zipped=1)], recommended={}, files=task.files(data))
    asked = Asked(path=folder / "model.keras", task=task, index=data.index, features=data.features, source=None,
                  is_guessed=False)
    return folder, asked


@pytest.fixture(scope="module", params=["vae", pytest.param("ddpm", marks=pytest.mark.slow)])
def served(request, tmp_path_factory):
    """A folder with a SavedModel of a model that nobody trained, the pictures of its Keras file, and the task."""
    folder = tmp_path_factory.mktemp("served")
    task, data = task_of(request.param)
    model = model_of(request.param, task, data)
    keras_file.save(model, folder / "model.keras")
    saved_model.export(model, folder / "saved_model/1", task.functions(model, data, "server"))
    asked = Asked(path=folder / "model.keras", task=task, index=data.index, features=data.features, source=None,
                  is_guessed=False)
    return folder / "saved_model", pictures_of(asked), task


def pictures_of(asked):
    """Return the pictures of a file, int (pictures, height, width, 1)."""
    return sample.made(asked, sample.Wish(seed=SEED, count=COUNT), range(COUNT)).astype(int)


@pytest.fixture(scope="module")
def expected(shipped):
    """The pictures of Keras, int (pictures, height, width, 1)."""
    pictures = pictures_of(shipped[1])
    assert pictures.std() > 10 and np.abs(pictures[0] - pictures[1]).max() > 10
    return pictures


def driven(bundled, out, *arguments):
    """Return what the driver of a bundle draws, int (pictures, height, width, 1)."""
    done = subprocess.run([sys.executable, bundled / "code/python/draw.py", "--seed", str(SEED), "--count", str(COUNT),
                           "--out", out, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return np.stack([read((out / f"{number:04}.png").read_bytes()) for number in range(COUNT)])


def wishes(seeds, counts, labels, is_diffusion):
    """Return what `sample` of a server is asked, a row for each seed."""
    inputs = {"seed": np.array(seeds, np.int64), "count": np.array(counts, np.int32),
              "label": np.array(labels, np.int32)}
    if is_diffusion:
        inputs |= {"steps": np.zeros(len(seeds), np.int32), "guidance": np.full(len(seeds), -1, np.float32)}
    return inputs


def read(png):
    return np.asarray(PIL.Image.open(io.BytesIO(png)), int)[..., None]


def test_the_driver_of_a_bundle_makes_the_pictures_of_keras(shipped, expected, tmp_path):
    assert np.abs(driven(shipped[0] / "bundle", tmp_path) - expected).max() <= 1


def test_a_server_makes_the_pictures_of_keras_over_both_protocols(served):
    folder, expected, task = served
    inputs = wishes([SEED, SEED], [COUNT, 1], [-1, 0], task.diffusion is not None)
    with serving(folder, "small") as running:
        for client in (GrpcClient(running.grpc, "small"), RestClient(running.rest, "small")):
            with client:
                answer = client.predict(inputs, "sample")
            images, files = np.asarray(answer["images"], int), answer["png_bytes"]
            assert np.abs(images[0] - expected).max() <= 1 and np.abs(images[1, 0] - expected[0]).max() <= 1
            np.testing.assert_array_equal(np.stack([read(one) for one in files[0]]), images[0])


def test_xla_compiles_nothing_that_a_server_is_asked(served):
    """A graph that XLA compiles draws other normal numbers of the same seed."""
    content = saved_model_pb2.SavedModel.FromString((served[0] / "1/saved_model.pb").read_bytes())
    functions = content.meta_graphs[0].graph_def.library.function
    nodes = [*content.meta_graphs[0].graph_def.node, *(node for one in functions for node in one.node_def)]
    assert "StatelessRandomNormalV2" in {node.op for node in nodes}
    for one in (*nodes, *functions):
        assert not any(one.attr[name].b for name in ("_XlaMustCompile", "_XlaCompile") if name in one.attr), one.name
    assert not any(node.op.startswith("Xla") for node in nodes)


@pytest.mark.skipif(shutil.which("node") is None, reason="no Node.js")
def test_the_page_makes_the_pictures_of_keras(shipped, expected, tmp_path):
    folder, asked = shipped
    if asked.task.codes:
        pytest.skip("the page draws no codes")
    predictor = open_predictor(folder / "bundle/litert/float32.tflite")
    pictures = np.reshape(of_page(predictor, json.loads((folder / "bundle/sampler.json").read_text()), tmp_path),
                          expected.shape)
    assert np.abs(pictures - expected).max() <= 1


def of_page(predictor, sampler, folder):
    """Return the pixels that the page's JavaScript makes with a file that Python runs, a list for each picture."""
    script = folder / "page.mjs"
    script.write_text(PAGE.format(module=web_pictures.TEMPLATE.with_name("pictures.js").as_uri()))
    inputs = {name: {"shape": info.shape} for name, info in predictor.tensors["serving_default"].inputs.items()}
    pictures = []
    with subprocess.Popen(["node", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as page:
        print(json.dumps({"inputs": inputs, "sampler": sampler, "seed": str(SEED), "count": COUNT}), file=page.stdin,
              flush=True)
        for line in page.stdout:
            said = json.loads(line)
            if "pixels" in said:
                pictures.append(said["pixels"])
                continue
            asked = {name: np.reshape(np.array(values, np.float32), inputs[name]["shape"])
                     for name, values in said["ask"].items()}
            (answer,) = predictor.predict(asked).values()
            print(json.dumps(answer.ravel().tolist()), file=page.stdin, flush=True)
    assert page.returncode == 0
    return pictures


@pytest.mark.slow
@pytest.mark.skipif(web.missing() != "", reason="LiteRT's web runtime cannot be fetched")
@pytest.mark.parametrize("name", ["dcgan", "ddpm", "vqvae"])
def test_all_that_a_run_ships_makes_the_same_pictures(name, tiny_run, tmp_path):
    how, noise, model, variants, _ = OTHERS[name]
    recipe = RECIPE.format(name=name, judge=(tiny_run / "runs/tiny/latest").resolve(), how=how, noise=noise, epochs=2,
                           model=model, variants=variants, gates="{}").replace("saved_model]", "saved_model, web]")
    (tmp_path / "recipe.yaml").write_text(recipe)
    said = run_here("run", "recipe.yaml", cwd=tmp_path)
    assert said.code == (2 if name == "vqvae" else 0), said.out + said.err
    assert ("draws codes first; leave web out" in said.out + said.err) == (name == "vqvae")
    run = (tmp_path / "runs" / name / "latest").resolve()
    said = run_here("sample", run / "train/model.keras", "--seed", SEED, "--count", COUNT, "--out", "keras",
                    cwd=tmp_path)
    assert said.code == 0, said.err
    pictures = np.stack([read((tmp_path / f"keras/{number:04}.png").read_bytes()) for number in range(COUNT)])
    bundled = next(run.glob("package/*/model.json")).parent
    served_by_promotion(tmp_path, name, pictures)
    assert np.abs(driven(bundled, tmp_path / "driver", "--model", "float32") - pictures).max() <= 1
    if name == "vqvae":
        return
    sampler, numbers = json.loads((bundled / drawing.SAMPLER).read_text()), [(one, one) for one in range(COUNT)]
    for variant in ("float32", *(["int8"] if "int8" in variants else [])):
        page = of_runtime(bundled / "web", sampler, f"{variant}.tflite", SEED, numbers, tmp_path)
        expected = pictures if variant == "float32" else driven(bundled, tmp_path / variant, "--model", variant)
        assert np.abs(np.reshape(page, pictures.shape) - expected).max() <= 1


def served_by_promotion(folder, name, pictures):
    """Promote a run's SavedModel, serve it, whose warm-up requests are sent to it first, and hold its pictures against
    others."""
    said = run_here("models", "promote", f"runs/{name}/latest", "repository", cwd=folder)
    assert said.code == 0, said.err
    version = folder / "repository" / name / "1"
    logs = list(request_log.read(version / warmup.PLACE))
    asked = {log.predict_log.request.model_spec.signature_name for log in logs}
    assert asked >= {"serving_default", "sample"} and ("generate" in asked) == (name != "dcgan")
    with serving(folder / "repository" / name, name) as running, GrpcClient(running.grpc, name) as client:
        answer = client.predict(wishes([SEED], [COUNT], [-1], name == "ddpm"), "sample")
    assert np.abs(np.stack([read(one) for one in answer["png_bytes"][0]]) - pictures).max() <= 1
