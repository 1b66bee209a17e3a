"""Instances: how they are separated, the metric of the Data Science Bowl by hand, and a run to its end."""
import json

import keras
import numpy as np
import PIL.Image
import pytest
import tensorflow as tf

import models
from export.keras_models import file as keras_file
from export.signature import Tensor
from pipelines.errors import UserError
from pipelines.features.instances import prepared_of
from pipelines.ingest.index import Index
from pipelines.ingest.sources import nuclei
from pipelines.tasks import windows
from pipelines.tasks.instance_segmentation import InstanceSegmentation
from pipelines.tasks.instance_segmentation.measure import THRESHOLDS, found, overlaps, precision
from pipelines.tasks.instance_segmentation.separating import separated
from pipelines.training.losses import Loss
from tests.conftest import run_here

SIZE = (32, 40)


def index_of() -> Index:
    return Index(source="x", digest="", splits={}, learnt={},
                 inputs={"image": Tensor(name="image", dtype="uint8", shape=(*SIZE, 1), role="image")},
                 targets={"instances": Tensor(name="instances", dtype="int32", shape=SIZE, role="mask")})


def discs(*places, radius=6):
    """Return the numbers of discs, those behind over those before."""
    rows, columns = np.indices(SIZE)
    numbers = np.zeros(SIZE, "int32")
    for number, (row, column) in enumerate(places, start=1):
        numbers[(rows - row) ** 2 + (columns - column) ** 2 <= radius**2] = number
    return numbers


def perfect(numbers):
    """Return the logits of a network that says what is true, (height, width, 2)."""
    shares = np.clip(prepared_of(numbers[None])[0], 0.01, 0.99)
    return np.log(shares / (1 - shares))


def separate(logits, **settings):
    return separated(logits, **{"threshold": 0.5, "seed": 0.6, "smallest": 10, **settings})


def test_things_that_touch_are_separated():
    truth = discs((12, 10), (12, 21), (22, 33))
    answer = separate(perfect(truth))
    assert answer.dtype == "int32" and sorted(np.unique(answer)) == [0, 1, 2, 3]
    assert (np.sort(overlaps(truth, answer).max(axis=1)) > 0.95).all()


def test_small_things_are_left_out_and_those_without_a_middle_are_kept():
    truth = discs((12, 10), (22, 33))
    truth[2:4, 30:33] = 7
    logits = perfect(truth)
    assert len(np.unique(separate(logits))) - 1 == 2 and len(np.unique(separate(logits, smallest=6))) - 1 == 3
    logits[..., 1] = np.where(truth == 1, -3.0, logits[..., 1])
    assert len(np.unique(separate(logits))) - 1 == 2
    assert not separate(np.full((*SIZE, 2), -5.0)).any()


def test_overlaps_are_those_of_masks():
    truth, answer = discs((12, 10), (22, 33)), discs((12, 12), (22, 30), (5, 35))
    expected = [[((truth == one) & (answer == other)).sum() / ((truth == one) | (answer == other)).sum()
                 for other in (1, 2, 3)] for one in (1, 2)]
    np.testing.assert_allclose(overlaps(truth, answer), expected)
    full = np.ones(SIZE, "int32")
    np.testing.assert_allclose(overlaps(full, full), [[1.0]])
    assert overlaps(0 * full, full).shape == (0, 1) and overlaps(full, 0 * full).shape == (1, 0)


def test_the_metric_is_the_data_science_bowls():
    """By hand: two of three things are found, with overlaps of 0.72 and 1, and one is made up."""
    counts = found(np.array([[0.72, 0, 0], [0, 1.0, 0], [0, 0, 0.3]]))
    assert counts[0].tolist() == [2, 1, 1] and counts[THRESHOLDS.index(0.75)].tolist() == [1, 2, 2]
    assert precision(counts).mean() == pytest.approx((5 * 2 / 4 + 5 * 1 / 5) / 10)
    assert precision(found(np.zeros((0, 0)))).tolist() == [1.0] * 10
    assert precision(found(np.zeros((0, 2)))).max() == precision(found(np.zeros((2, 0)))).max() == 0.0


def test_a_measure_is_the_mean_over_images():
    task, index = InstanceSegmentation(), index_of()
    truth = np.stack([discs((12, 10), (22, 33)), discs((12, 10))])
    answer = np.stack([discs((12, 10)), discs((12, 10), (22, 33))])
    measure = task.measure(index)
    wrong = measure.add({"instances": truth}, {"instances": answer})
    result = measure.result()
    assert list(result.metrics) == [metric.name for metric in task.metrics]
    np.testing.assert_allclose(wrong, 0.5)
    assert result.metrics["ap"] == result.metrics["ap_50"] == 0.5 and result.metrics["count_error"] == 1.0
    assert result.metrics["pixel_dice"] == pytest.approx(2 * 2 / 6, abs=1e-3)
    assert result.tables[0].rows[0] == [0.5, 2, 1, 1, 0.6667, 0.6667, 0.5]
    assert "Of 3 things in the test set 2 are found" in result.limits[0]
    assert "AP is 0.500" in task.sentence(index, result)


def test_the_loss_is_its_closed_form():
    truth = np.stack([discs((12, 10), (22, 33)), discs()])
    targets = prepared_of(truth)
    outputs = np.random.default_rng(0).normal(size=targets.shape).astype("float32")
    scores = 1 / (1 + np.exp(-outputs))
    entropy = -(targets * np.log(scores) + (1 - targets) * np.log(1 - scores)).mean(axis=(1, 2))
    dice = 1 - (2 * (targets * scores)[..., 0].sum((1, 2)) + 1) / ((targets + scores)[..., 0].sum((1, 2)) + 1)
    for written, expected in (("instances", entropy.sum(axis=1) + dice),
                              ({"instances": {"dice": 0, "distance": 2}}, entropy[:, 0] + 2 * entropy[:, 1])):
        objective = InstanceSegmentation().objective(Loss.read(written), index_of())
        value = objective({}, {"instances": tf.constant(targets)}, {"logits": tf.constant(outputs)})
        np.testing.assert_allclose(value, expected, rtol=1e-5)


def test_the_loss_of_the_distance_is_smallest_where_it_is_true():
    numbers = discs((12, 10), (22, 33))
    objective = InstanceSegmentation().objective(Loss.read("instances"), index_of())

    def loss(factor):
        shares = np.clip(prepared_of(numbers[None])[0], 1e-5, 1 - 1e-5)
        logits = np.log(shares / (1 - shares)) * [1, factor]
        return float(objective({}, {"instances": tf.constant(prepared_of(numbers[None]))},
                               {"logits": tf.constant(logits[None], tf.float32)})[0])

    assert loss(1) < loss(0.7) and loss(1) < loss(1.4)


def test_losses_and_tasks_that_do_not_go_together_are_refused():
    with pytest.raises(UserError, match=r"train\.loss: dice is not for instances; leave it out, or give instances"):
        InstanceSegmentation().objective(Loss.read("dice"), index_of())
    with pytest.raises(UserError, match=r"train\.loss: instances is for instance_segmentation alone"):
        Loss.read("instances").build([], "logits")


def test_what_is_watched_is_the_overlap_of_the_inside():
    truth, answer = discs((12, 10)), discs((12, 12))
    watched = InstanceSegmentation().watch(index_of())["inside_iou"]
    value = watched({"instances": tf.constant(prepared_of(truth[None]))},
                    {"logits": tf.constant(perfect(answer)[None])})
    assert float(value[0]) == pytest.approx(((truth > 0) & (answer > 0)).sum() / ((truth > 0) | (answer > 0)).sum())


def test_answers_in_words_and_in_numbers():
    task = InstanceSegmentation()
    outputs = {"logits": np.stack([perfect(discs((12, 10), (22, 33))), np.full((*SIZE, 2), -4.0)])}
    answers = {**outputs, "instances": task.separate(outputs["logits"])}
    assert task.in_words(answers, index_of()) == ["2 things, 113 pixels in the middle", "nothing"]
    assert task.decision(outputs).tolist() == task.decision(answers).tolist() == [2, 0]
    assert task.expected({name: values[:1] for name, values in outputs.items()}, index_of()) == {"things": "2"}


def test_instances_of_another_size_than_their_images_are_refused():
    example = {"image": np.zeros((4, 5, 1), "uint8"), "instances": np.zeros((8, 8), "uint8")}
    assert InstanceSegmentation().fault(example) == (
        "has instances of 8 x 8 pixels and an image of 4 x 5; give instances of their images' size")


RECIPE = """\
name: small
task: {instance_segmentation: {windows: 0.25}}
data:
  source: nuclei
  image: {size: 64, channels: 1}
  augment: [flip, {rotate: 20}]
  batch: 16
model: {builder: unet, width: 4, depth: 2, batch_norm: true}
train: {epochs: 3, schedule: {cosine: 0.02}}
compress: {variants: [float32, int8]}
verify: {runs: 10}
gates: {pixel_dice: ">= 0.4", float32.max_error: "<= 1e-4"}
"""


@pytest.mark.slow
def test_nuclei_end_as_verified_files(tmp_path):
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    done = run_here("run", "recipe.yaml", "--no-track", "--json", "r.json", cwd=tmp_path)
    assert done.code == 0, done.out + done.err
    assert "AP at 0.5" in done.out and "count error" in done.out
    results = json.loads((tmp_path / "r.json").read_text())
    assert {one["variant"] for one in results["artifacts"] if one["target"] == "litert"} == {"float32", "int8"}
    run = tmp_path / "runs" / "small" / "latest"
    assert (run / "evaluate" / "worst.png").exists() and (run / "ingest" / "samples_augmented.png").exists()
    evaluation = json.loads((run / "evaluate" / "evaluation.json").read_text())
    assert [row[0] for row in evaluation["tables"][0]["rows"]] == list(THRESHOLDS)
    card = (run / "package" / "bundle" / "MODEL_CARD.md").read_text()
    assert "separates things in grey images of 64 x 64 pixels" in card and "not a medical device" in card
    whole_picture_in_windows(tmp_path, run)


def whole_picture_in_windows(folder, run):
    """A picture of 512 x 512 is seen in windows of 64 x 64, here and by a server alike."""
    picture = nuclei.FOLDER / "image.png"
    said = run_here("predict", str(run), str(picture), "--out", "drawn", cwd=folder)
    assert said.code == 0 and " things, " in said.out, said.out + said.err
    numbers = np.asarray(PIL.Image.open(folder / "drawn" / "image_mask.png"))
    assert numbers.shape == (512, 512) and f" {numbers.max()} things" in said.out and numbers.max() > 20
    assert PIL.Image.open(folder / "drawn" / "image.png").size == (512, 512)
    served = tf.saved_model.load(run / "export" / "saved_model" / "1").signatures["serving_windows"]
    pixels = np.asarray(PIL.Image.open(picture))[None, ..., None]
    logits = served(image=tf.constant(pixels))["logits"].numpy()
    assert logits.shape == (1, 512, 512, 2)
    model = keras_file.load(run / "train" / "model.keras")

    def ask(parts):
        return {"logits": np.asarray(model(parts.astype("float32"), training=False))}

    expected = windows.slid(ask, pixels, (64, 64), 0.25)["logits"]
    np.testing.assert_allclose(logits, expected, atol=1e-3)


def test_a_network_has_two_numbers_for_each_pixel():
    dimensions = InstanceSegmentation().dimensions(index_of())
    model = models.build("unet", **dimensions, width=2, depth=2)
    assert isinstance(model, keras.Model) and model.output.shape == (None, *SIZE, 2)
    assert models.named_outputs(model).keys() == {tensor.name for tensor in InstanceSegmentation().outputs(index_of())}
