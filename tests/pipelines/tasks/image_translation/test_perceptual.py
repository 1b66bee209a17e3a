"""How unlike images are in a classifier's layers: against the paper's formula, and judges that do not fit."""
import keras
import numpy as np
import pytest
from pydantic import ValidationError

from export.keras_models import file as keras_file
from pipelines.errors import UserError
from pipelines.tasks.image_translation import ImageTranslation
from pipelines.tasks.image_translation.measure import Likeness
from pipelines.tasks.image_translation.perceptual import Perceptual, layers

GENERATOR = np.random.default_rng(0)
IMAGES = GENERATOR.integers(0, 256, (3, 12, 12, 3)).astype("uint8")
OTHERS = GENERATOR.integers(0, 256, (3, 12, 12, 3)).astype("uint8")


@pytest.fixture
def classifier(tmp_path):
    """Return a small classifier and its file."""
    keras.utils.set_random_seed(0)
    pixels = keras.Input((12, 12, 3), name="image")
    x = keras.layers.Rescaling(1 / 127.5, offset=-1)(pixels)
    x = keras.layers.Conv2D(4, 3, padding="same")(x)
    fine = keras.layers.ReLU(name="fine")(x)
    x = keras.layers.MaxPooling2D()(fine)
    coarse = keras.layers.Conv2D(6, 3, padding="same", activation="relu", name="coarse")(x)
    x = keras.layers.MaxPooling2D(3, name="pooled")(coarse)
    x = keras.layers.Dense(2, name="logits")(keras.layers.Flatten()(x))
    model = keras.Model(pixels, x)
    keras_file.save(model, tmp_path / "judge.keras")
    return model, tmp_path / "judge.keras"


def test_the_distance_is_the_papers_in_the_last_layer_of_each_resolution(classifier):
    model, path = classifier
    assert [layer.name for layer in layers(model)] == ["fine", "coarse"]
    expected = np.zeros(3)
    for name in ("fine", "coarse"):
        part = keras.Model(model.input, model.get_layer(name).output)
        one, other = (part(values.astype("float32")).numpy().astype(float) for values in (IMAGES, OTHERS))
        for number in range(3):
            places = 0.0
            for row, column in np.ndindex(*one.shape[1:3]):
                first, second = one[number, row, column], other[number, row, column]
                first, second = (seen / max(np.linalg.norm(seen), 1e-10) for seen in (first, second))
                places += ((first - second) ** 2).sum()
            expected[number] += places / (one.shape[1] * one.shape[2])
    judge = Perceptual(path, (12, 12, 3))
    np.testing.assert_allclose(judge.distance(IMAGES, OTHERS), expected, rtol=1e-4)
    assert judge.distance(IMAGES, IMAGES).max() == 0


def test_it_is_measured_beside_what_needs_no_judge(classifier):
    likeness = Likeness(unlike=lambda: Perceptual(classifier[1], (12, 12, 3)))
    likeness.add({"target": OTHERS}, {"generated": IMAGES.astype("float32")})
    found = likeness.result().metrics
    judge = Perceptual(classifier[1], (12, 12, 3))
    assert found["lpips_classifier"] == pytest.approx(judge.distance(IMAGES, OTHERS).mean(), abs=1e-5)
    assert set(found) == {"ssim", "psnr", "lpips_classifier"}
    assert [one.name for one in ImageTranslation(judge="a.keras").metrics] == ["ssim", "psnr", "lpips_classifier",
                                                                              "cycle_error"]


def test_a_judge_of_colours_sees_grey_images(classifier):
    judge = Perceptual(classifier[1], (12, 12, 1))
    grey, other = IMAGES[..., :1], OTHERS[..., :1]
    np.testing.assert_allclose(judge.distance(grey, other), judge.distance(np.repeat(grey, 3, -1), np.repeat(
        other, 3, -1)))


def test_judges_that_do_not_fit_are_named(classifier, tmp_path):
    with pytest.raises(UserError, match=r"task\.image_translation\.judge: there is no file .*none\.keras"):
        Perceptual(tmp_path / "none.keras", (12, 12, 3))
    with pytest.raises(UserError, match="it sees images of 12 x 12 pixels, and these are 16 x 16"):
        Perceptual(classifier[1], (16, 16, 3))
    values = keras.Input((12, 12, 3), name="image")
    logits = keras.layers.Dense(2, name="logits")(keras.layers.Flatten()(values))
    keras_file.save(keras.Model(values, logits), tmp_path / "flat.keras")
    with pytest.raises(UserError, match="is not a classifier of images with convolutions"):
        Perceptual(tmp_path / "flat.keras", (12, 12, 3))
    masks = keras.layers.Conv2D(2, 3, name="logits")(values)
    keras_file.save(keras.Model(values, masks), tmp_path / "masks.keras")
    with pytest.raises(UserError, match=r"masks\.keras is not a classifier of images; give a recipe"):
        Perceptual(tmp_path / "masks.keras", (12, 12, 3))
    table = keras.Input((20,))
    keras_file.save(keras.Model(table, keras.layers.Dense(2, name="logits")(table)), tmp_path / "table.keras")
    with pytest.raises(UserError, match=r"table\.keras is not a classifier of images; give a recipe"):
        Perceptual(tmp_path / "table.keras", (12, 12, 3))
    with pytest.raises(UserError, match="has not been trained; litepress run trains it first"):
        ImageTranslation(judge="recipes/vision/digits.yaml")._unlike(None)


@pytest.mark.parametrize(("settings", "message"), [
    ({"judge": "inception"}, "is a classifier, in whose layers"),
    ({"judge": "a.keras", "test": "cycles"}, "compares with targets, and cycles have none; leave it out")])
def test_a_judge_that_could_not_compare_is_refused(settings, message):
    with pytest.raises(ValidationError, match=message):
        ImageTranslation(**settings)
