"""Who is known to a model of embeddings: enroll and identify, with a bundle's file."""
import json
import shutil

import keras
import numpy as np
import PIL.Image
import pytest
import tensorflow as tf

from export.conversion import convert
from export.keras_models import graph
from export.predictors import open_predictor
from export.signature import Signature, Tensor
from models.embedding import embedding
from pipelines.errors import UserError
from pipelines.features.feature import Learnt
from pipelines.features.image import Image
from pipelines.tools import gallery

SIGNATURE = Signature(inputs=(Tensor(name="image", dtype="float32", shape=(8, 8, 1), role="image"),),
                      outputs=(Tensor(name="embedding", dtype="float32", shape=(16,), role="embedding"),))
METRICS = {"eer": 0.1, "threshold": 0.9, "threshold_0.1": 0.8, "threshold_0.01": 0.9}
#: Where a picture of each is bright: in a corner.
CORNERS = {"Ann": (0, 0), "Ben": (0, 1), "Cy": (1, 0)}


def picture(path, corner, size=8, seed=0):
    pixels = np.random.default_rng(seed).integers(0, 40, (size, size))
    top, left = (place * size // 2 for place in corner)
    pixels[top:top + size // 2, left:left + size // 2] += 180
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.fromarray(pixels.astype("uint8")).save(path)
    return path


def written_bundle(folder, outputs="embedding", metrics=METRICS):
    """Write a bundle of one file, which compares where pictures are bright."""
    image = keras.Input((8, 8, 1), name="image")
    x = keras.layers.Flatten()(keras.layers.AveragePooling2D(2)(image))
    model = keras.Model(image, {"embedding": embedding(x), "logits": x})
    signature = SIGNATURE.model_copy(update={"outputs": (SIGNATURE.outputs[0].model_copy(update={"name": outputs}),)})
    convert.float_graph(model, lambda plain: [graph.function(plain, signature)], folder.parent / "graph")
    (folder / "litert").mkdir(parents=True)
    (folder / "litert" / "float32.tflite").write_bytes(convert.convert(folder.parent / "graph", "float32"))
    one = {"name": "float32", "target": "litert", "path": "litert/float32.tflite",
           "inputs": [{"name": "image", "shape": [1, 8, 8, 1]}], "metrics": metrics}
    (folder / "model.json").write_text(json.dumps({"models": [one]}))
    (folder / "manifest.json").write_text(json.dumps({"recommended": {"phone_cpu": "float32"}}))
    return folder


@pytest.fixture(scope="module")
def shipped(tmp_path_factory):
    return written_bundle(tmp_path_factory.mktemp("gallery") / "bundle")


@pytest.fixture
def people(tmp_path):
    for number, (name, corner) in enumerate(CORNERS.items()):
        if name != "Cy":
            for seed in range(2):
                picture(tmp_path / "people" / name / f"{seed}.png", corner, seed=10 * number + seed)
    picture(tmp_path / "people" / "Cy.png", CORNERS["Cy"])
    return tmp_path / "people"


def test_who_is_enrolled_is_identified_and_who_is_not_is_unknown(shipped, people, tmp_path):
    lines = gallery.enroll(shipped, people, 0.05, tmp_path / "gallery.json")
    assert [line.split() for line in lines[:3]] == [["Ann", "2", "pictures"], ["Ben", "2", "pictures"],
                                                    ["Cy", "1", "picture"]]
    assert "3 people; from a cosine of 0.900 on, at most 0.05 of the pairs" in lines[3]
    written = gallery.read_gallery(tmp_path / "gallery.json")
    assert written.threshold == 0.9 and written.far == 0.05, "the strictest that was measured, of at most 0.05"
    assert "and so at most 0.15 of the pictures of strangers for one of these people" in lines[3]
    for person in written.people:
        assert np.linalg.norm(person.embedding) == pytest.approx(1, abs=1e-6)
    asked = [picture(tmp_path / "ben.png", CORNERS["Ben"], size=30, seed=7),
             picture(tmp_path / "di.png", (1, 1), seed=8)]
    ben, di = gallery.identify(shipped, asked, tmp_path / "gallery.json")
    assert ben.split()[1] == "Ben" and float(ben.split()[2]) > 0.9
    assert di.split()[1] == "unknown" and "nearest is" in di and "below 0.900" in di
    lenient = gallery.enroll(shipped, people, 0.5, tmp_path / "gallery.json")
    assert "a cosine of 0.800" in lenient[-1]


def test_a_file_of_a_bundle_may_be_named(shipped, people, tmp_path):
    gallery.enroll(shipped / "litert" / "float32.tflite", people, 0.1, tmp_path / "gallery.json")
    assert "Ann" in gallery.identify(shipped, [people / "Ann"], tmp_path / "gallery.json")[0]


@pytest.mark.parametrize("fit", ["resize", "pad"])
def test_a_bundles_file_is_asked_about_images_as_they_were_learnt(shipped, tmp_path, fit):
    folder = shutil.copytree(shipped, tmp_path / "bundle")
    written = json.loads((folder / "model.json").read_text())
    if fit == "pad":
        written["models"][0]["inputs"][0]["fit"] = "pad"
    (folder / "model.json").write_text(json.dumps(written))
    large = picture(tmp_path / "large.png", (0, 1), size=30)
    learnt = Image(size=8, channels=1, fit=fit)
    pixels = learnt.load(tf.constant(large.read_bytes()), Learnt()).numpy()[None].astype("float32")
    expected = open_predictor(folder / "litert" / "float32.tflite").predict({"image": pixels})["embedding"]
    np.testing.assert_allclose(gallery.embeddings(gallery.find_embedder(folder), [large], None), expected, atol=1e-6)


def test_a_bundle_that_is_not_whole_is_named_in_a_line(litepress, shipped, people, tmp_path):
    folder = shutil.copytree(shipped, tmp_path / "bundle")
    (folder / "manifest.json").unlink()
    asked = ["--gallery", tmp_path / "gallery.json"]
    assert litepress("enroll", shipped, people, "--far", 0.1, *asked).code == 0
    for command in (("enroll", folder, people), ("identify", folder, people / "Cy.png")):
        said = litepress(*command, *asked)
        assert said.code == 2 and len(said.err.splitlines()) == 1, said.err
        assert "manifest.json: a bundle has this file, and it cannot be read (No such file" in said.err
    said = litepress("predict", folder, people / "Cy.png")
    assert said.code == 2 and len(said.err.splitlines()) == 1 and "is not a model that can be run" in said.err
    for name in ("manifest.json", "model.json"):
        (folder / name).write_text("{}")
        with pytest.raises(UserError, match=rf"{name}: is not what litepress writes into a bundle"):
            gallery.find_embedder(folder)


def test_a_share_that_was_not_measured_is_refused(shipped, people, tmp_path):
    with pytest.raises(UserError, match=r"--far 0\.001: .* too few; the smallest share that they tell is 0\.01"):
        gallery.enroll(shipped, people, 0.001, tmp_path / "gallery.json")


def test_a_gallery_of_another_model_is_refused(shipped, people, tmp_path):
    gallery.enroll(shipped, people, 0.1, tmp_path / "gallery.json")
    text = (tmp_path / "gallery.json").read_text()
    known = gallery.read_gallery(tmp_path / "gallery.json")
    (tmp_path / "gallery.json").write_text(text.replace(known.model, "0" * 64))
    with pytest.raises(UserError, match=r"was made with another model than .*; enroll again"):
        gallery.identify(shipped, [people / "Ann"], tmp_path / "gallery.json")


def test_a_model_without_embeddings_is_refused(people, tmp_path):
    other = written_bundle(tmp_path / "other" / "bundle", outputs="logits")
    with pytest.raises(UserError, match=r"float32\.tflite: gives logits, and no embedding of one image; give a model"):
        gallery.enroll(other, people, 0.1, tmp_path / "gallery.json")


def test_what_cannot_be_enrolled_is_named(shipped, people, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "people" / "Di").mkdir()
    for model, folder, message in (
            (shipped, people, "Di has no images in it"), (shipped, tmp_path / "none", "none is not a folder"),
            (shipped, tmp_path / "empty", "has nobody in it; give a folder of images"),
            (tmp_path / "none", people, "none: there is no such file or folder"),
            (shipped / "model.json", people, r"is not a TFLite file that .* lists")):
        with pytest.raises(UserError, match=message):
            gallery.enroll(model, folder, 0.1, tmp_path / "gallery.json")
    assert not (tmp_path / "gallery.json").exists()


def test_what_cannot_be_identified_is_named(shipped, people, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"no image")
    (tmp_path / "broken.json").write_text("{}")
    gallery.enroll(shipped, people, 0.1, tmp_path / "gallery.json")
    for files, known, message in (
            (people / "Cy.png", "none.json", "none.json: there is no gallery"),
            (people / "Cy.png", "broken.json", "broken.json: is not a gallery"),
            (tmp_path / "broken.png", "gallery.json", "broken.png: "),
            (tmp_path / "x.png", "gallery.json", "x.png: there is no such image")):
        with pytest.raises(UserError, match=message):
            gallery.identify(shipped, [files], tmp_path / known)


def test_a_model_that_finds_nothing_is_no_detector(shipped, people, tmp_path):
    with pytest.raises(UserError, match=r"--detector .*: is not a detector in its run's folder"):
        gallery.enroll(shipped, people, 0.1, tmp_path / "gallery.json", shipped / "litert" / "float32.tflite")


def test_the_commands_say_it_in_lines(litepress, shipped, people, tmp_path):
    said = litepress("enroll", shipped, people, "--gallery", tmp_path / "gallery.json", "--far", 0.1)
    assert said.code == 0 and said.out.splitlines()[0].split() == ["Ann", "2", "pictures"]
    said = litepress("identify", shipped, people / "Cy.png", "--gallery", tmp_path / "gallery.json")
    assert said.code == 0 and said.out.split()[1] == "Cy"
    said = litepress("identify", shipped, people / "none.png", "--gallery", tmp_path / "gallery.json")
    assert said.code == 2 and len(said.err.splitlines()) == 1 and "none.png" in said.err
