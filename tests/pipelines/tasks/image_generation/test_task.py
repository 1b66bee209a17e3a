"""The task: what it takes and refuses, and what it measures, with a judge that is a line."""
from pathlib import Path

import keras
import numpy as np
import pytest

from export.keras_models import file as keras_file
from pipelines.errors import UserError
from pipelines.features.feature import Field
from pipelines.ingest.index import Index
from pipelines.ingest.section import DataSection
from pipelines.tasks.image_generation import ImageGeneration
from pipelines.tasks.image_generation.judge import Judge, judge_of
from pipelines.tasks.image_generation.measure import Pictures, levels
from pipelines.tools import sample
from pipelines.tools.predict import Asked
from pipelines.training.losses import Loss
from pipelines.training.model_section import ModelSection

NAMES = ["dark", "bright"]


@pytest.fixture
def judge(tmp_path):
    """Return the path of a classifier that calls images bright whose left half is."""
    pixels = keras.Input((4, 4, 1), name="image")
    halves = keras.layers.AveragePooling2D((4, 2))(keras.layers.Rescaling(1 / 255)(pixels))
    logits = keras.layers.Dense(2, name="logits")(keras.layers.Flatten()(halves))
    model = keras.Model(pixels, logits)
    model.get_layer("logits").set_weights([np.array([[-8.0, 8.0], [0.0, 0.0]]), np.array([4.0, -4.0])])
    keras_file.save(model, tmp_path / "judge.keras")
    return tmp_path / "judge.keras"


def index_of(classes=2, size=4):
    task = ImageGeneration(by="class")
    learnt = {name: {"names": [f"class {number}" for number in range(classes)]}
              for name in ("image", "noise", "condition", "label")}
    features = {"image": task.inputs["image"](size=size, channels=1), "noise": task.inputs["noise"](size=3),
                "condition": task.inputs["condition"](), "label": task.targets["label"]()}
    from pipelines.features.feature import Learnt

    known = {name: Learnt(**values) for name, values in learnt.items()}
    tensors = {name: feature.tensor(name, known[name]) for name, feature in features.items()}
    return Index(source="", digest="", splits={}, inputs={name: tensors[name] for name in task.inputs},
                 targets={"label": tensors["label"]}, learnt=known)


def test_what_ships_takes_noise_and_a_class_and_no_image():
    judge = "recipes/vision/digits.yaml"  # which need not be trained to build a model
    task = ImageGeneration(judge=judge, by="class")
    assert [tensor.name for tensor in task.signature(index_of()).inputs] == ["noise", "condition"]
    assert task.labels(index_of()) == ["class 0", "class 1"] and ImageGeneration().labels(index_of()) == []
    assert task.dimensions(index_of()) == {"input_shape": (4, 4, 1), "noise_shape": (3,), "classes": 2}
    assert ImageGeneration(judge=judge).dimensions(index_of())["classes"] == 0


def test_a_loss_that_compares_outputs_is_refused():
    with pytest.raises(UserError, match=r"train\.loss: image_generation learns by .*elbo.*, and not by mse"):
        ImageGeneration().objective(Loss.read("mse"), index_of())


def task_of(builder, **settings):
    return ImageGeneration().of_model(ModelSection.model_validate({"builder": builder, **settings}))


@pytest.mark.parametrize(("builder", "loss", "message"), [
    ("dcgan", "elbo", "dcgan learns by gan or hinge_gan or wasserstein, and not by elbo; leave it out, and it is gan"),
    ("vae", "gan", "vae learns by elbo, and not by gan"), ("vae", "denoising", "vae learns by elbo, and not by"),
    ("vqvae", "elbo", "vqvae learns by quantized, and not by elbo"),
    ("dcgan", "style_gan", "dcgan learns by gan or hinge_gan or wasserstein, and not by style_gan"),
    ("stylegan2", "gan", "stylegan2 learns by style_gan, and not by gan; leave it out, and it is style_gan"),
    ("dcgan", "wasserstein", r"the discriminator normalizes batches; set model\.normalization to none")])
def test_a_loss_of_other_models_is_refused(builder, loss, message):
    with pytest.raises(UserError, match=rf"train\.loss: .*{message}"):
        task_of(builder).objective(Loss.read(loss), index_of())


def test_the_wasserstein_distance_goes_with_a_discriminator_of_single_images():
    for normalization in ("none", "spectral"):
        task_of("dcgan", normalization=normalization).objective(Loss.read("wasserstein"), index_of())


@pytest.mark.parametrize(("section", "classes", "size", "message"), [
    (None, 2, 4, "give its recipe, for instance recipes/vision/digits.yaml"),
    ("no.keras", 2, 4, "there is no file no.keras"),
    ("recipes/vision/digits.yaml", 2, 4, "has not been trained"),
    ("judge", 2, 8, "it sees images of 4 x 4 pixels, and these are 8 x 8"),
    ("judge", 3, 4, "it tells 2 classes apart, and the data have 3")])
def test_a_judge_that_is_not_there_or_does_not_fit_is_named(judge, section, classes, size, message):
    section = str(judge) if section == "judge" else section
    task = ImageGeneration(judge=section)
    with pytest.raises(UserError, match=message):
        judge_of(task.judge, index_of(classes, size), "image")
    if section != "recipes/vision/digits.yaml":
        with pytest.raises(UserError, match=message):
            task.dimensions(index_of(classes, size))


def test_a_judge_must_be_a_classifier(tmp_path):
    pixels = keras.Input((4, 4, 1), name="image")
    keras_file.save(keras.Model(pixels, keras.layers.Conv2D(1, 1, name="mask")(pixels)), tmp_path / "other.keras")
    with pytest.raises(UserError, match="is not a classifier of images"):
        Judge(tmp_path / "other.keras", (4, 4, 1))


def test_a_judge_of_colours_sees_grey_images_in_all_three(tmp_path):
    pixels = keras.Input((2, 2, 3), name="image")
    flat = keras.layers.Flatten()(pixels)
    keras_file.save(keras.Model(pixels, keras.layers.Dense(2, name="logits")(flat)), tmp_path / "rgb.keras")
    seen = Judge(tmp_path / "rgb.keras", (2, 2, 1)).look(np.array([[[[1], [2]], [[3], [4]]]], np.uint8))
    assert seen.features.tolist() == [[1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4]]


def test_pictures_are_measured_by_their_features_and_classes(judge, tmp_path):
    generator = np.random.default_rng(0)
    real = np.repeat(generator.integers(0, 256, (40, 1, 2, 1)), 4, axis=1).repeat(2, axis=2).astype("uint8")
    made = np.clip(real.astype(float) + 10, 0, 255)
    asked = np.eye(2)[(real[:, 0, 0, 0] > 127).astype(int)]
    measure = Pictures(lambda: Judge(judge, (4, 4, 1)), NAMES)
    for rows in (slice(0, 25), slice(25, 40)):
        wrong = measure.add({}, {"generated": made[rows], "image": real[rows], "condition": asked[rows]})
    result = measure.result(tmp_path)
    assert [figure.file for figure in result.figures] == ["generated.png", "unsure.png"]
    assert all((tmp_path / figure.file).stat().st_size for figure in result.figures)
    assert len(measure.unsure) == 20 and measure.unsure[0][0] >= max(wrong) - 1e-6
    left, right = (levels(made)[:, 0, place, 0] / 255 for place in (0, 2))
    features = np.stack([left, right], 1)
    others = np.stack([real[:, 0, place, 0] / 255 for place in (0, 2)], 1)
    one, other = np.cov(features, rowvar=False), np.cov(others, rowvar=False)
    from scipy.linalg import sqrtm

    expected = ((features.mean(0) - others.mean(0)) ** 2).sum() + np.trace(one + other - 2 * sqrtm(one @ other).real)
    assert result.metrics["fid_classifier"] == pytest.approx(expected, abs=1e-5)
    shares = [float((left < 0.5).mean()), float((left > 0.5).mean())]
    assert [row[1] for row in result.tables[0].rows] == pytest.approx(shares)
    assert result.metrics["least_class"] == pytest.approx(min(shares))
    assert result.metrics["class_accuracy"] == pytest.approx(((left > 0.5) == (asked[:, 1] > 0)).mean())
    assert "40 pictures" in result.tables[0].title, "how many is written beside"
    assert (wrong > 0).tolist() == ((left > 0.5) != (asked[:, 1] > 0))[25:].tolist()


@pytest.mark.parametrize(("wish", "message"), [
    (sample.Wish(seed=-1), "--seed is -1; give 0 to 9223372036854775807"),
    (sample.Wish(seed=2 ** 63), "--seed is 9223372036854775808"),
    (sample.Wish(count=0), "--count is 0; give 1 to 1,024"),
    (sample.Wish(count=1025), "--count is 1025")])
def test_a_seed_or_a_count_out_of_range_is_refused(wish, message):
    with pytest.raises(UserError, match=message):
        sample.check(wish)


def test_a_text_is_for_models_that_take_one():
    asked = Asked(Path("float32.tflite"), ImageGeneration(by="class"), index_of(), {})
    with pytest.raises(UserError, match=r"float32\.tflite makes pictures of no text; leave --text out"):
        sample.check_text(asked, sample.Wish(text="a three"))
    sample.check_text(asked, sample.Wish())


def test_pictures_do_not_go_into_a_file(tmp_path):
    (tmp_path / "note.txt").write_text("mine")
    with pytest.raises(UserError, match=r"--out: .*note\.txt is not a folder"):
        sample.sample(tmp_path, sample.Wish(), tmp_path / "note.txt")
    assert (tmp_path / "note.txt").read_text() == "mine"


@pytest.mark.parametrize(("diffusion", "calls"), [
    (None, 1), ({"sampled": 12}, 12), ({"sampled": 12, "guidance": 1.5}, 24), ({"sampled": 3, "guidance": 0}, 6)])
def test_a_picture_takes_a_call_of_the_network_for_each_step_and_two_with_guidance(diffusion, calls):
    assert ImageGeneration(by="class", diffusion=diffusion).calls == calls


def test_pictures_without_classes_are_learnt_and_divided_at_random():
    section = DataSection(source="digits", image={"size": 4}, noise={"size": 3})
    fields = {"image": Field(kind="bytes"), "text": Field(kind="text")}
    for by, inputs in ((None, {"image", "noise"}), ("text", {"image", "noise", "tokens"})):
        task = ImageGeneration(by=by)
        assert task.split == "stratified"
        given, targets = task.features_of(section, fields)
        assert set(given) == inputs and not targets and task.split == "random"
    task = ImageGeneration(by="class")
    assert set(task.features_of(section, fields)[1]) == {"label"} and task.split == "stratified"
