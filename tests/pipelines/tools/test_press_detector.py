"""Detectors that were made elsewhere: how their output is understood, and what their files are worth."""
import json

import keras
import numpy as np
import pytest

from export.predictors import LiteRTPredictor
from export.tflite import file as tflite_file
from export.tflite import signatures
from pipelines.errors import UserError
from pipelines.recipe.recipe import Recipe
from pipelines.tasks.object_detection import given
from pipelines.tools import press, press_detector
from pipelines.training.model_section import ImportedModel
from tests.conftest import run_here
from tests.pipelines.ingest.test_annotated_images import as_coco, as_table, as_voc, as_yolo

SIDE, PLACES = 32, 16


def yolo(path, *, rows=False, objectness=False, unit=SIDE):
    """Write a network of a grid of 4 x 4 places, with boxes and scores in one output, as YOLO's are exported."""
    keras.utils.set_random_seed(1)
    image = keras.Input((SIDE, SIDE, 3), name="images")
    x = keras.layers.Conv2D(8, 8, strides=8, activation="relu")(keras.layers.Rescaling(1 / 255)(image))
    boxes = keras.layers.Reshape((PLACES, 4))(keras.layers.Conv2D(4, 1, activation="sigmoid")(x))
    boxes = keras.layers.Rescaling(float(unit))(boxes)
    scores = keras.layers.Reshape((PLACES, 2 + objectness))(
        keras.layers.Conv2D(2 + objectness, 1, activation="sigmoid")(x))
    if rows:
        joined = keras.layers.Concatenate()([boxes, scores])
    else:
        turned = [keras.layers.Permute((2, 1))(one) for one in (boxes, scores)]
        joined = keras.layers.Concatenate(axis=1)(turned)
    model = keras.Model(image, joined)
    if path.suffix:
        model.save(path)
    else:
        model.export(path, verbose=False)
    return model


@pytest.mark.parametrize(("ending", "settings", "read"), [
    (".keras", {}, "16 boxes: centre x, centre y, width and height in pixels, and a score"),
    ("", {"rows": True, "objectness": True, "unit": 1}, "height in shares, how likely there is anything, and a score"),
    pytest.param(".h5", {}, "height in pixels, and a score", marks=pytest.mark.slow)])
def test_an_output_is_understood_by_its_shape_and_its_numbers(ending, settings, read, tmp_path):
    path, source = tmp_path / f"yolo{ending}", press_detector.boxes_of(as_yolo(tmp_path / "data")["yolo"])
    model = yolo(path, **settings)
    looked = press_detector.look(ImportedModel(path=str(path)), source.written())
    assert read in str(looked.head) and looked.image == (SIDE, SIDE, 3)
    section = ImportedModel(path=str(path), head=looked.head)
    content = given.adopted(section, 2, ("boxes", "logits"))
    (tmp_path / "m.tflite").write_bytes(content)
    images = np.random.default_rng(0).integers(0, 256, (3, SIDE, SIDE, 3)).astype("float32")
    files = LiteRTPredictor(tmp_path / "m.tflite").predict({"image": images})
    own = model.predict(images, verbose=0)
    own = own if settings else own.transpose(0, 2, 1)
    expected = own[..., 4:5] * own[..., 5:] if settings else own[..., 4:]
    np.testing.assert_allclose(files["boxes"], own[..., :4], atol=1e-4)
    np.testing.assert_allclose(files["logits"], expected, atol=1e-5)
    assert "SLICE" not in tflite_file.operators(content) or settings, "it is taken apart where it was joined"
    assert set(signatures.main(content).inputs) == {"image"}


def test_boxes_are_read_by_their_centres():
    boxes = np.array([[[8.0, 16.0, 4.0, 8.0]]], "float32")
    for unit, values in (("pixels", boxes), ("shares", boxes / [32, 64, 32, 64])):
        coding = given.Centres((64, 32), 1, unit)
        np.testing.assert_allclose(np.asarray(coding.decode(values.astype("float32"))), [[[12, 6, 20, 10]]], atol=1e-4)


@pytest.mark.parametrize(("write", "kind"), [(as_yolo, "yolo"), (as_coco, "coco"), (as_voc, "voc"),
                                             (as_table, "box_table")])
def test_images_with_boxes_are_known_by_what_lies_there(write, kind, tmp_path):
    written = write(tmp_path)
    assert press_detector.boxes_of(str(written[kind])).entry_name == kind


def test_what_is_no_such_detector_is_refused(tmp_path):
    data = press_detector.boxes_of(as_yolo(tmp_path / "data")["yolo"]).written()
    image = keras.Input((SIDE, SIDE, 3), name="images")
    x = keras.layers.Conv2D(9, 8, strides=8)(image)
    keras.Model(image, keras.layers.Reshape((PLACES, 9))(x)).save(tmp_path / "nine.keras")
    with pytest.raises(UserError, match=r"gives \(1, 16, 9\), and the data have 2 classes: a box must have 4 numbers"):
        press_detector.look(ImportedModel(path=str(tmp_path / "nine.keras")), data)
    two = [keras.layers.Reshape((PLACES, width), name=name)(keras.layers.Conv2D(width, 8, strides=8)(image))
           for width, name in ((4, "bbox_regression"), (2, "cls_logits"))]
    keras.Model(image, two).save(tmp_path / "retina.keras")
    with pytest.raises(UserError, match=r"output_0 \(16, 4\) and output_1 \(16, 2\) look like offsets from anchors"):
        press_detector.look(ImportedModel(path=str(tmp_path / "retina.keras")), data)
    with pytest.raises(UserError, match=r"it has no boxes; give a data\.yaml"):
        press_detector.boxes_of(str(tmp_path / "nine.keras"))
    with pytest.raises(UserError, match="there is no such file, folder or source"):
        press_detector.boxes_of("nothing")


def test_press_writes_a_recipe_that_says_how_the_output_is_read(tmp_path):
    yolo(tmp_path / "yolo.keras")
    data = as_yolo(tmp_path / "data")["yolo"]
    recipe = press.recipe_for(press.PressSettings(tmp_path / "yolo.keras", data, tmp_path, task="object_detection"))
    assert recipe.model.imported.head.model_dump() == {"boxes": "pixels", "places": PLACES, "objectness": False}
    assert Recipe.model_validate(recipe.written()).written() == recipe.written()
    assert [variant.title for variant in recipe.compress.variants] == ["float32", "float16", "dynamic", "int8"]


@pytest.mark.slow
def test_a_pressed_detector_is_measured_by_its_boxes(tmp_path):
    """A network that knows where bright squares are: by the colour of each of its places."""
    generator = np.random.default_rng(0)
    import PIL.Image

    (tmp_path / "data/images/train").mkdir(parents=True)
    (tmp_path / "data/labels/train").mkdir(parents=True)
    (tmp_path / "data/data.yaml").write_text("train: images/train\nnames: [red, green]\n")
    for number in range(60):
        pixels, lines = np.full((SIDE, SIDE, 3), 20, "uint8"), []
        for place in generator.choice(PLACES, 3, replace=False):
            row, column, label = place // 4, place % 4, int(generator.integers(2))
            pixels[8 * row:8 * row + 8, 8 * column:8 * column + 8, label] = generator.integers(120, 250)
            lines.append(f"{label} {(column + 0.5) / 4} {(row + 0.5) / 4} 0.25 0.25\n")
        PIL.Image.fromarray(pixels).save(tmp_path / f"data/images/train/{number}.png")
        (tmp_path / f"data/labels/train/{number}.txt").write_text("".join(lines))
    image = keras.Input((SIDE, SIDE, 3), name="images")
    mean = keras.layers.AveragePooling2D(8)(image)
    score = keras.layers.Conv2D(2, 1, activation="sigmoid")
    scores = keras.layers.Reshape((PLACES, 2))(score(mean))
    score.set_weights([np.array([[[[0.06, 0], [0, 0.06], [0, 0]]]], "float32"), np.array([-4.0, -4.0], "float32")])
    places = np.array([[8 * column + 4, 8 * row + 4, 8, 8] for row in range(4) for column in range(4)], "float32")
    still = keras.layers.Conv2D(4, 1)
    boxes = keras.layers.Reshape((PLACES, 4))(still(mean))
    still.set_weights([np.zeros((1, 1, 3, 4), "float32"), np.zeros(4, "float32")])
    boxes = keras.ops.add(boxes, places)
    joined = keras.ops.concatenate([boxes, scores], -1)
    keras.Model(image, keras.ops.transpose(joined, (0, 2, 1))).save(tmp_path / "squares.keras")
    done = run_here("press", "squares.keras", "--data", "data", "--task", "object_detection", "--variants",
                    "float32,int8", "--no-track", "--json", "r.json", cwd=tmp_path)
    assert done.code == 0, done.out + done.err
    assert "its output is read as 16 boxes: centre x, centre y, width and height in pixels" in done.out
    result = json.loads((tmp_path / "r.json").read_text())
    of = {one["variant"]: one["metrics"] for one in result["artifacts"]}
    assert result["reference"]["metrics"]["map"] > 0.95
    assert of["float32"]["map"] == pytest.approx(result["reference"]["metrics"]["map"], abs=1e-6)
    assert of["int8"]["map"] > result["reference"]["metrics"]["map"] - 0.02
