"""Pictures made of others: in a graph as in NumPy, and what is asked for that cannot be."""
import json

import numpy as np
import PIL.Image
import pytest
import tensorflow as tf

from pipelines.errors import UserError
from pipelines.features.picture import Picture
from pipelines.tasks.image_generation import revising
from pipelines.tasks.image_generation.diffusion import DiffusionSection
from pipelines.tools import originals, sample
from pipelines.tools.originals import OriginalWish

GENERATOR = np.random.default_rng(0)
KNOWN = 40


def network(noise, step, condition, library):
    """Return what a network says that is a formula, in NumPy or TensorFlow."""
    towards = library.reshape(condition[:, 0] - 0.3 * condition[:, 1], (-1, 1, 1, 1))
    return {"denoised": 0.6 * noise + 0.01 * library.reshape(step, (-1, 1, 1, 1)) + 0.3 * towards}


class Formula:
    def predict(self, inputs):
        return network(inputs["noise"], inputs["step"], inputs["condition"], np)


@pytest.mark.parametrize(("sampler", "target"), [("dpm_solver", "velocity"), ("ddim", "noise"), ("ddim", "image")])
def test_a_graph_makes_the_same_pictures_each_by_its_own_strength(sampler, target):
    section = DiffusionSection(sampled=10, guidance=1.5, sampler=sampler, target=target)
    strengths = np.array([0.0, 0.1, 0.25, 0.5, 0.75, 1.0], "float32")
    noise = GENERATOR.normal(size=(6, 4, 4, 3)).astype("float32")
    inputs = {"original": GENERATOR.integers(0, 256, (6, 4, 4, 3)).astype("uint8"), "strength": strengths,
              "mask": GENERATOR.integers(0, 256, (6, 4, 4, 1)).astype("uint8")}
    condition = np.eye(2, dtype="float32")[[0, 1, 0, 1, 0, 1]]
    asked = {"noise": noise, "condition": condition, "guidance": np.full(6, 1.5, "float32"), **inputs}

    @tf.function
    def graph(tensors):
        return section.in_graph(lambda **own: network(**own, library=tf), tensors, KNOWN)

    result = graph({name: tf.constant(values) for name, values in asked.items()}).numpy()
    for row in range(6):
        own = {name: values[row:row + 1] for name, values in inputs.items()}
        expected = section.made(Formula(), noise[row:row + 1], condition[row:row + 1], KNOWN, revising.original(own))
        np.testing.assert_allclose(result[row], expected[0], atol=2e-3)
    kept = inputs["mask"] < 128
    np.testing.assert_allclose(np.where(kept, result, 0), np.where(kept, inputs["original"], 0), atol=1e-4)
    np.testing.assert_allclose(result[0], inputs["original"][0], atol=1e-4)


@pytest.mark.parametrize("strength", [-0.1, 1.5, float("nan")])
def test_a_graph_refuses_strengths_that_are_no_share(strength):
    section = DiffusionSection(sampled=2)
    tensors = {"noise": tf.zeros((1, 2, 2, 1)), "original": tf.zeros((1, 2, 2, 1), tf.uint8),
               "mask": tf.fill((1, 2, 2, 1), tf.constant(255, tf.uint8)), "strength": tf.constant([strength])}
    with pytest.raises(tf.errors.InvalidArgumentError, match="strength is 0 to 1"):
        section.in_graph(lambda noise, step: {"denoised": noise}, tensors, KNOWN)


def saved(path, shape, value=255):
    PIL.Image.fromarray(np.full(shape, value, np.uint8)).save(path)
    return path


@pytest.mark.parametrize(("wish", "message"), [
    ({"strength": 1.5, "image": "a.png"}, "--strength is 1.5; give 0, which leaves the image as it is, to 1"),
    ({"strength": -0.1, "image": "a.png"}, r"--strength is -0\.1"),
    ({"strength": float("nan"), "image": "a.png"}, "--strength is nan"),
    ({"mask": "m.png"}, "--mask says where an image is made anew, and there is none; add --image FILE"),
    ({"strength": 0.5}, "--strength says how much of an image is made anew, and there is none")])
def test_what_does_not_go_together_is_refused(wish, message):
    with pytest.raises(UserError, match=message):
        sample.check(sample.Wish(original=OriginalWish(**wish)))


def test_an_image_is_brought_to_the_models_size_and_the_line_says_so(tmp_path):
    image, mask = saved(tmp_path / "a.png", (10, 20, 3), 90), saved(tmp_path / "m.png", (10, 20))
    inputs, remark = originals.read(OriginalWish(image, mask), Picture(size=4, channels=1), 3)
    assert remark == f"; {image} was brought from 10 x 20 pixels to 4 x 4"
    assert inputs["original"].shape == inputs["mask"].shape == (3, 4, 4, 1)
    assert (inputs["original"] == 90).all() and (inputs["mask"] == 255).all() and (inputs["strength"] == 1).all()
    same, remark = originals.read(OriginalWish(image, strength=0.25), Picture(size=[10, 20]), 1)
    assert remark == "" and "mask" not in same and same["strength"] == [0.25]
    assert (originals.read(OriginalWish(image), Picture(size=4), 1)[0]["strength"] == np.float32(0.6)).all()
    assert originals.read(OriginalWish(), Picture(size=4), 1) == ({}, "")


def test_files_that_are_no_image_and_mask_are_refused(tmp_path):
    image, small = saved(tmp_path / "a.png", (10, 20)), saved(tmp_path / "s.png", (10, 10))
    black, note = saved(tmp_path / "b.png", (10, 20), 0), tmp_path / "note.txt"
    note.write_text("mine")
    feature = Picture(size=4, channels=1)
    for wish, message in ((OriginalWish(image, small), r"s\.png is 10 x 10 pixels, and --image .*a\.png is 10 x 20"),
                          (OriginalWish(image, black), "nothing of it is white, so nothing is made anew"),
                          (OriginalWish(note), r"note\.txt: "),
                          (OriginalWish(tmp_path / "no.png"), r"no\.png: there is no such image")):
        with pytest.raises(UserError, match=message):
            originals.read(wish, feature, 1)


def test_a_note_says_what_a_picture_was_made_of(tmp_path):
    about = OriginalWish(tmp_path / "a.png", tmp_path / "m.png").about()
    assert json.loads(json.dumps(about)) == {"image": "a.png", "strength": 1.0, "mask": "m.png"}
    assert OriginalWish().about() == {}
