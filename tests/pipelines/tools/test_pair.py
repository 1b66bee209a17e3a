"""A detector and a model of embeddings as one bundle, and its drivers."""
import json
import shutil
import subprocess
import sys

import keras
import numpy as np
import PIL.Image
import pytest
import tree_sitter_kotlin
import tree_sitter_swift

import models
from export.conversion import convert
from export.keras_models import graph
from export.signature import DEFAULT, Signature, Tensor
from export.tflite import phone
from export.tflite.metadata import Description
from pipelines.errors import UserError
from pipelines.ingest.sources.faces_in_scenes import POINTS, scenes
from pipelines.ingest.sources.lfw_subset import SIDE
from pipelines.tasks.object_detection import detections
from pipelines.tools import gallery, pair
from tests.export.delivery.test_snippets import parsed

PLACES = {name: (y / SIDE, x / SIDE) for name, (y, x) in POINTS.items()}
SIZE = (128, 128)
METRICS = {"threshold_0.1": 0.5, "threshold_0.01": 0.8}


def written(folder, name, model, tensors, described, variant, images):
    """Write a bundle of one file."""
    image = Tensor(name="image", dtype="float32", shape=model.input_shape[1:], role="image")
    signature = Signature(inputs=(image,), outputs=tensors)
    convert.float_graph(model, lambda plain: [graph.function(plain, signature)], folder / "graph")
    (folder / "litert").mkdir()
    content = convert.convert(folder / "graph", variant, [(DEFAULT, {"image": images})])
    path = folder / "litert" / f"{variant}.tflite"
    path.write_bytes(phone.ready(content, Description(name=name, signature=signature)))
    one = {"name": variant, "target": "litert", "path": f"litert/{variant}.tflite", "metrics": METRICS,
           "inputs": [{"name": "image", "shape": [1, *model.input_shape[1:]]}]}
    (folder / "model.json").write_text(json.dumps({"labels": [], **described, "models": [one]}))
    (folder / "manifest.json").write_text(json.dumps({"name": name, "version": "1.0.0", "models": [], "files": [],
                                                      "recommended": {"phone_cpu": variant}}))
    (folder / "MODEL_CARD.md").write_text(f"# {name}\n")
    return folder


@pytest.fixture(scope="module", params=["float32", pytest.param("int8", marks=pytest.mark.slow)])
def bundles(request, tmp_path_factory):
    """Two models that were never trained: what they find and say is as good as any to compare drivers by."""
    keras.utils.set_random_seed(2)
    images, _ = scenes("validation")
    builder = models.builder("blazeface")
    dimensions, settings = {"input_shape": (*SIZE, 3), "classes": 1}, builder.settings()().model_dump()
    model, coding = builder.build(dimensions, settings), builder.coded(dimensions, settings)
    for layer in model.layers[-20:]:  # heads that say something
        if isinstance(layer, keras.layers.Conv2D) and layer.kernel_size == (1, 1) and layer.bias is not None:
            kernel = np.random.default_rng(layer.filters).normal(0, 0.6, layer.kernel.shape)
            layer.set_weights([kernel, np.zeros(layer.filters)])
    driver = detections.driver(coding, most=4, iou=0.3, threshold=0.3, names=list(POINTS))
    heads = tuple(Tensor(name=name, dtype="float32", shape=one.shape) for name, one in coding.outputs(1).items())
    detector = written(tmp_path_factory.mktemp("detector"), "finder", model, heads, {
        "labels": ["face"], "decoding": driver.model_dump(mode="json")}, request.param, images[:20].astype("float32"))
    model = models.build("mobilefacenet", input_shape=(32, 32, 3), width=0.125, size=16, skip_halvings=2)
    embedding = (Tensor(name="embedding", dtype="float32", shape=(16,), role="embedding"),)
    embedder = written(tmp_path_factory.mktemp("embedder"), "namer", model, embedding, {"places": PLACES},
                       request.param, images[:20, :32, :32].astype("float32"))
    return detector, embedder


@pytest.fixture(scope="module")
def made(bundles, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pair") / "people"
    return folder, pair.write(*bundles, folder, 0.05)


def test_a_pair_has_two_files_and_a_driver_in_each_language(made):
    folder, lines = made
    assert "from a cosine of 0.800 on" in lines[0] and str(folder) in lines[2]
    listed = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert listed == {
        "pair.json", "SHA256SUMS", "MODEL_CARD_detector.md", "MODEL_CARD_embedder.md",
        "models/finder_detector.tflite", "models/namer_embedder.tflite", "code/python/faces.py",
        *(f"code/{language}/People{name}.{ending}" for language, ending in (("kotlin", "kt"), ("swift", "swift"))
          for name in ("Detector", "Embedder", "Faces"))}
    for path in (folder / "code").rglob("*.kt"):
        assert parsed(path, tree_sitter_kotlin.language()) == []
    for path in (folder / "code").rglob("*.swift"):
        assert parsed(path, tree_sitter_swift.language()) == []
    text = (folder / "code/kotlin/PeopleFaces.kt").read_text()
    assert "PeopleDetector(context, accelerator), PeopleEmbedder(context, accelerator)" in text
    assert "THRESHOLD = 0.8f" in text and "POINTS = intArrayOf(0, 1, 2, 3, 4, 5)" in text
    assert '"finder_detector.tflite"' in (folder / "code/kotlin/PeopleDetector.kt").read_text()


ASK = """
import json, sys
sys.path.insert(0, sys.argv[1])
import faces, PIL.Image
found = faces.Faces()
print(json.dumps([[[one.score, one.box.tolist(), list(one.points.values()), one.embedding.tolist()]
                   for one in found.find(PIL.Image.open(path))] for path in sys.argv[2:]]))
"""


def test_the_driver_in_python_says_what_litepress_does(made, tmp_path):
    """On scenes in their own size, as the models see them: no picture is resized before it is looked at. Of scores
    alike either may be the first."""
    folder, _ = made
    images, _ = scenes("validation")
    files = [tmp_path / f"{number}.png" for number in range(6)]
    for file, image in zip(files, images, strict=False):
        PIL.Image.fromarray(image).save(file)
    done = subprocess.run([sys.executable, "-c", ASK, str(folder / "code/python"), *map(str, files)],
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    said = json.loads(done.stdout)
    finder, embedder = gallery._detector(folder, None), gallery.find_embedder(folder)
    found = finder.find(files)
    for answers, (boxes, scores, _), points in zip(said, detections.of_images(found), found[detections.KEY_POINTS],
                                                   strict=True):
        assert len(answers) == len(scores) > 0
        for box, score, own in zip(boxes, scores, points, strict=False):
            given, = (one for one in answers if np.abs(np.array(one[1]) - box).max() < 1e-5)
            assert given[0] == pytest.approx(score, abs=1e-5)
            np.testing.assert_allclose(given[2], own, atol=1e-5)
    surest = [next(one[3] for one in answers if np.abs(np.array(one[1]) - boxes[0]).max() < 1e-5)
              for answers, (boxes, _, _) in zip(said, detections.of_images(found), strict=True)]
    vectors = gallery.embeddings(embedder, files, finder)
    assert (np.sum(vectors * np.array(surest), axis=1) > 0.9999).all()


def test_people_are_enrolled_and_identified_with_a_pair(made, tmp_path, litepress):
    folder, _ = made
    images, _ = scenes("validation")
    for number in range(3):
        (tmp_path / "people").mkdir(exist_ok=True)
        PIL.Image.fromarray(images[number]).save(tmp_path / f"people/P{number}.png")
    said = litepress("enroll", folder, tmp_path / "people", "--gallery", tmp_path / "g.json", "--far", 0.1)
    assert said.code == 0, said.err
    said = litepress("identify", folder, tmp_path / "people/P1.png", "--gallery", tmp_path / "g.json")
    assert said.code == 0 and "P1" in said.out.split() and "1.000" in said.out
    with pytest.raises(UserError, match="has a detector of its own; leave it out"):
        gallery.identify(folder, [tmp_path / "people/P1.png"], tmp_path / "g.json", folder)


def test_a_gallery_is_of_faces_that_were_found_alike(made, bundles, tmp_path):
    folder, _ = made
    images, _ = scenes("validation")
    (tmp_path / "people").mkdir()
    PIL.Image.fromarray(images[0]).save(tmp_path / "people/A.png")
    gallery.enroll(folder, tmp_path / "people", 0.1, tmp_path / "g.json")
    with pytest.raises(UserError, match=r"faces of .*g\.json were found by the detector whose file has the SHA-256"):
        gallery.identify(bundles[1], [tmp_path / "people/A.png"], tmp_path / "g.json")


def test_what_is_no_pair_is_refused(bundles, made, tmp_path):
    detector, embedder = bundles
    folder, _ = made
    for one, other, far, expected in (
            (embedder, embedder, 0.1, "is no detector that gives what its network does"),
            (detector, detector, 0.1, "and no embedding of one image; give a run of face_recognition"),
            (embedder, detector, 0.001, "is no detector that gives what its network does"),
            (detector, embedder, 0.001, "^pair: --far 0.001: the test pairs of .* are too few"),
            (tmp_path, embedder, 0.1, "there is no bundle; give a run's folder")):
        with pytest.raises(UserError, match=expected):
            pair.write(one, other, tmp_path / "new", far)
        assert not list(tmp_path.glob(".*")) and not (tmp_path / "new").exists(), "nothing half-written stays behind"
    with pytest.raises(UserError, match="is there already; give a new folder"):
        pair.write(detector, embedder, folder, 0.1)
    with pytest.raises(UserError, match="the pair is called PeopleAtWork, and code after it: give small letters"):
        pair.write(detector, embedder, tmp_path / "PeopleAtWork", 0.1)
    old, content = shutil.copytree(detector, tmp_path / "old"), json.loads((detector / "model.json").read_text())
    del content["decoding"]["kind"]
    (old / "model.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"model\.json is of another version of litepress; package its run again"):
        pair.write(old, embedder, tmp_path / "new", 0.1)
    padded, content = shutil.copytree(embedder, tmp_path / "padded"), json.loads((embedder / "model.json").read_text())
    content["models"][0]["inputs"][0]["fit"] = "pad"
    (padded / "model.json").write_text(json.dumps({**content, "places": {}}))
    with pytest.raises(UserError, match=r"has learnt on padded images, and the drivers resize what they cut out"):
        pair.write(detector, padded, tmp_path / "new", 0.1)


@pytest.mark.parametrize("content", ["{", '{"name": "x", "embedder": {}}'])
def test_a_damaged_pair_is_named_in_a_line(tmp_path, content):
    (tmp_path / "pair.json").write_text(content)
    with pytest.raises(UserError, match=r"pair\.json: is not what this litepress writes into a pair"):
        gallery.find_embedder(tmp_path)
