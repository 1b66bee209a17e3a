"""Transfer learning: phases, what is frozen in them, and rates of one's own."""
import keras
import numpy as np
import pytest

import models
from pipelines.errors import UserError
from pipelines.recipe import file as recipe_file
from pipelines.training.optimizers import Optimizer
from pipelines.training.transfer import Phase, Transfer
from tests.conftest import ROOT, TINY


def small():
    inputs = keras.Input((8, 8, 1))
    x = inputs
    for number in range(4):
        x = keras.layers.Conv2D(4, 3, padding="same", name=f"conv{number}")(x)
        x = keras.layers.BatchNormalization(name=f"norm{number}")(x)
    return keras.Model(inputs, keras.layers.Dense(3, name="logits")(keras.layers.Flatten()(x)))


NAMES = [f"{kind}{number}" for number in range(4) for kind in ("conv", "norm")]


def learning(model):
    return [layer.name for layer in model.layers if layer.trainable_variables]


def test_phases_follow_each_other_to_the_last_epoch():
    phases = Transfer(unfreeze={6: 1, 3: 0.5, 40: 1}).phases(10)
    assert phases == [Phase(0, 0, 3, 0), Phase(1, 3, 6, 0.5), Phase(2, 6, 10, 1)]
    assert Transfer(unfreeze={0: 1}).phases(4) == [Phase(0, 0, 4, 1)]


@pytest.mark.parametrize(("share", "batch_norm", "expected"), [
    (0.0, "learn", ["logits"]), (0.5, "learn", ["conv2", "norm2", "conv3", "norm3", "logits"]),
    (0.5, "frozen", ["conv2", "conv3", "logits"]), (1.0, "frozen", ["conv0", "conv1", "conv2", "conv3", "logits"])])
def test_layers_learn_from_the_last_one_down(share, batch_norm, expected):
    model = small()
    Transfer(batch_norm=batch_norm).freeze(model, NAMES, share)
    assert learning(model) == expected


def test_attention_is_frozen_as_a_whole():
    model = models.build("vit_tiny", input_shape=(16, 16, 3), classes=3, patch=8, depth=2, width=0.1)
    names = [layer.name for layer in models.pretrained.weighted(model)][:-1]
    Transfer().freeze(model, names, 0.0)
    assert learning(model) == ["logits"]


def test_rates_fall_in_equal_ratios_with_depth():
    model = small()
    transfer = Transfer(rates=[0.8, 0.1])
    transfer.freeze(model, NAMES, 1.0)
    paths = [variable.path for variable in model.trainable_variables]
    shares = dict(zip(paths, transfer.shares(model, NAMES), strict=True))
    assert shares["conv0/kernel"] == pytest.approx(0.1) and shares["logits/kernel"] == 1.0
    first, second, third, fourth = (shares[f"conv{number}/kernel"] for number in range(4))
    assert second / first == pytest.approx(fourth / third)


@pytest.mark.parametrize("written", ["sgd", "adam", "adamw", "lion"])
def test_a_variable_moves_by_its_share_of_the_rate(written):
    keras.utils.set_random_seed(1)
    first, second = (keras.Variable(np.ones(3, "float32"), name=name) for name in ("one", "two"))
    optimizer = Optimizer.read(written).build(0.01, None, None, [1.0, 0.1])
    optimizer.build([first, second])
    optimizer.apply_gradients([(np.full(3, 0.5, "float32"), first), (np.full(3, 0.5, "float32"), second)])
    moved, slowly = 1 - np.asarray(first), 1 - np.asarray(second)
    decay = 0.01 * 0.01 if written == "adamw" else 0.0
    np.testing.assert_allclose(slowly - decay, 0.1 * (moved - decay), rtol=1e-3)


@pytest.mark.parametrize(("old", "new", "message"), [
    ("train:\n", "train:\n  transfer: {unfreeze: {2: 1}}\n", "model.weights names none"),
    ("  width: 8\n", "  width: 8\n  weights: imagnet\n", "Did you mean imagenet"),
])
def test_a_transfer_that_cannot_be_is_refused(recipe_file_of, old, new, message):
    with pytest.raises(UserError, match=message):
        recipe_file.read(recipe_file_of((old, new)), [])


@pytest.mark.slow
def test_even_digits_teach_odd_ones(tmp_path, monkeypatch, litepress):
    """From one trained model to another with other classes, frozen, unfrozen, and verified on the files that ship."""
    import sklearn.datasets
    import tensorflow as tf

    monkeypatch.chdir(tmp_path)
    digits = sklearn.datasets.load_digits()
    for parity, name in enumerate(("even", "odd")):
        for number, (image, label) in enumerate(zip(digits.images, digits.target, strict=True)):
            if label % 2 == parity:
                folder = tmp_path / name / str(label)
                folder.mkdir(parents=True, exist_ok=True)
                pixels = (image[..., None] * 15.9).astype("uint8")
                (folder / f"{number}.png").write_bytes(tf.io.encode_png(pixels).numpy())
    (tmp_path / "recipe.yaml").write_text(TINY.replace("source: digits", "source: {image_folder: even}"))
    result = litepress("run", "recipe.yaml", "--no-track", "--until", "train")
    assert result.code == 0, result.out + result.err
    odd = (tmp_path / "recipe.yaml").read_text()
    for old, new in (("image_folder: even", "image_folder: odd"), ("name: tiny", "name: odd"),
                     ("batch: 64", "batch: 16"),
                     ("  width: 8\n", "  width: 8\n  weights: {file: runs/tiny/latest/train/model.keras}\n"),
                     ("epochs: 4",
                      "epochs: 6\n  transfer: {unfreeze: {1: 0.5, 2: 1}, rates: [1, 0.5], batch_norm: learn}")):
        assert old in odd
        odd = odd.replace(old, new)
    (tmp_path / "odd.yaml").write_text(odd)
    result = litepress("run", "odd.yaml", "--no-track")
    assert result.code == 0, result.out + result.err
    journal = next((tmp_path / "runs" / "odd").rglob("train/journal.jsonl")).read_text()
    assert "layers start from file weights" in journal


@pytest.mark.slow
def test_the_template_for_ones_own_photos_ends_as_a_bundle(tmp_path, monkeypatch, litepress):
    """Small and with weights that taught it nothing, but with every step that a user's photos take."""
    import sklearn.datasets
    import tensorflow as tf

    monkeypatch.chdir(tmp_path)
    digits = sklearn.datasets.load_digits()
    for number, (image, label) in enumerate(zip(digits.images, digits.target, strict=True)):
        folder = tmp_path / "photos" / f"digit {label}"
        folder.mkdir(parents=True, exist_ok=True)
        pixels = (image[..., None] * 15.9).astype("uint8")
        (folder / f"{number}.jpg").write_bytes(tf.io.encode_jpeg(pixels, quality=95).numpy())
    network = keras.applications.MobileNetV2(include_top=False, alpha=0.35, weights=None)
    network.save_weights(tmp_path / "notop.weights.h5")
    overrides = ["data.image.size=32", "model.skip_halvings=3", "model.alpha=0.35",
                 "model.weights.imagenet=notop.weights.h5",
                 "data.augment=[{shift: 0.05}]", "train.transfer={unfreeze: {1: 1}, rates: [1, 1], batch_norm: learn}"]
    result = litepress("run", ROOT / "recipes/vision/my_photos.yaml", "--no-track",
                     *(part for override in overrides for part in ("--set", override)))
    assert result.code == 0, result.out + result.err
    assert list((tmp_path / "runs" / "my_photos" / "latest" / "package").glob("*.zip"))
