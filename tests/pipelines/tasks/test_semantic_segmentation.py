"""Segmentation's metrics against scikit-learn and closed forms, its answers, and a run to its end."""
import json
import pathlib
import re
import shutil

import keras
import numpy as np
import PIL.Image
import pytest
import tensorflow as tf
from sklearn import metrics

from export.keras_models import graph
from export.signature import Function, Signature, Tensor
from export.targets import saved_model
from pipelines.errors import UserError
from pipelines.features import Learnt
from pipelines.ingest.index import Index, Split
from pipelines.tasks import drawn_masks, semantic_segmentation
from pipelines.tasks.semantic_segmentation import SemanticSegmentation
from pipelines.tools import drift
from tests.conftest import run_here
from tests.pipelines.ingest.conftest import data_of

NAMES = ["background", "cat", "dog"]
VOID = 255


def index_of(names=NAMES, mask=(4, 5), image=(4, 5, 1)) -> Index:
    return Index(source="x", digest="", splits={"test": Split(part="test", positions=None, examples=1)},
                 inputs={"image": Tensor(name="image", dtype="uint8", shape=image, role="image")},
                 targets={"mask": Tensor(name="mask", dtype="uint8", shape=mask, role="mask")},
                 learnt={"mask": Learnt(names=list(names))})


def logits_of(masks, classes=3):
    """Return logits whose largest is the mask's class."""
    return np.eye(classes, dtype="float32")[masks] * 4 - 1


@pytest.fixture(scope="module")
def answers():
    """Return masks of 30 examples with a tenth of the pixels void, and answers that are right on two thirds."""
    generator = np.random.default_rng(0)
    truth = generator.choice(3, (30, 8, 9), p=[0.6, 0.3, 0.1])
    answer = np.where(generator.random(truth.shape) < 0.3, generator.integers(0, 3, truth.shape), truth)
    return np.where(generator.random(truth.shape) < 0.1, VOID, truth).astype("uint8"), answer


def measured(truth, answer, names=NAMES, batches=1, folder=None):
    measure = SemanticSegmentation().measure(index_of(names))
    for some, given in zip(np.array_split(truth, batches), np.array_split(answer, batches), strict=True):
        measure.add({"mask": some}, {"logits": logits_of(given, len(names))})
    return measure.result(folder)


@pytest.mark.parametrize("batches", [1, 7])
def test_metrics_are_scikit_learns_on_the_pixels_that_have_a_class(answers, batches):
    truth, answer = answers
    result = measured(truth, answer, batches=batches)
    known = truth != VOID
    true, given = truth[known], answer[known]
    assert list(result.metrics) == [metric.name for metric in SemanticSegmentation().metrics]
    assert result.metrics["mean_iou"] == pytest.approx(metrics.jaccard_score(true, given, average="macro"), abs=1e-6)
    assert result.metrics["dice"] == pytest.approx(metrics.f1_score(true, given, average="macro"), abs=1e-6)
    assert result.metrics["pixel_accuracy"] == pytest.approx(metrics.accuracy_score(true, given), abs=1e-6)
    rows = result.tables[0].rows
    assert [row[1] for row in rows] == np.bincount(true).tolist()
    assert [row[2] for row in rows] == pytest.approx(metrics.jaccard_score(true, given, average=None), abs=1e-6)
    assert [row[3] for row in rows] == pytest.approx(metrics.f1_score(true, given, average=None), abs=1e-6)
    worst = min(rows, key=lambda row: row[2])
    assert result.limits[0].startswith(f"Weakest classes (IoU): {worst[0]} {worst[2]:.3f}")


def test_a_class_that_occurs_nowhere_counts_for_nothing():
    truth = np.array([[[0, 0, 1, 1]]], "uint8")
    result = measured(truth, np.array([[[0, 1, 1, 1]]]))
    assert result.metrics["mean_iou"] == pytest.approx((1 / 2 + 2 / 3) / 2, abs=1e-6)
    assert result.tables[0].rows[2] == ["dog", 0, "–", "–"]
    answered = measured(truth, np.array([[[0, 2, 1, 1]]]))
    assert answered.tables[0].rows[2] == ["dog", 0, 0.0, 0.0], "one that is answered and never true is wrong"


def test_nothing_grows_with_the_test_set(answers):
    measure = SemanticSegmentation().measure(index_of())
    for _ in range(3):
        measure.add({"mask": answers[0]}, {"logits": logits_of(answers[1])})
        assert {name: np.size(value) for name, value in vars(measure).items()} == {
            "target": 1, "output": 1, "names": 3, "matrix": 9, "surfaces": 1, "limits": 0}
    assert measure.matrix.sum() == 3 * (answers[0] != VOID).sum()


def test_how_wrong_an_example_is_follows_from_its_own_iou(answers):
    truth, answer = answers
    wrong = SemanticSegmentation().measure(index_of()).add({"mask": truth}, {"logits": logits_of(answer)})
    alone = [1 - measured(truth[one:one + 1], answer[one:one + 1]).metrics["mean_iou"] for one in range(len(truth))]
    np.testing.assert_allclose(wrong, alone, atol=1e-6)
    perfect = np.where(truth == VOID, 0, truth)
    assert (SemanticSegmentation().measure(index_of()).add({"mask": truth}, {"logits": logits_of(perfect)}) == 0).all()
    empty = np.full_like(truth, VOID)
    unmeasured = SemanticSegmentation().measure(index_of()).add({"mask": empty}, {"logits": logits_of(perfect)})
    assert np.isnan(unmeasured).all()


def test_what_is_watched_is_what_is_measured(answers):
    truth, answer = answers
    targets = tf.one_hot(truth.astype("int32"), 3)
    watched = {name: np.asarray(function({"mask": targets}, {"logits": tf.constant(logits_of(answer))}))
               for name, function in SemanticSegmentation().watch(index_of()).items()}
    assert list(watched) == [metric.name for metric in SemanticSegmentation.watched]
    wrong = SemanticSegmentation().measure(index_of()).add({"mask": truth}, {"logits": logits_of(answer)})
    np.testing.assert_allclose(watched["example_iou"], 1 - wrong, atol=1e-5)
    right = [(answer[one] == truth[one]).sum() / (truth[one] != VOID).sum() for one in range(len(truth))]
    np.testing.assert_allclose(watched["pixel_accuracy"], right, atol=1e-5)


def test_an_answer_in_words_is_the_shares_of_the_classes():
    mask = np.array([[0, 0, 0, 1], [0, 2, 0, 1]])[None]
    outputs = {"logits": logits_of(mask)}
    task = SemanticSegmentation()
    assert task.in_words(outputs, index_of()) == ["background 62.5%  cat 25.0%  dog 12.5%"]
    assert task.expected(outputs, index_of()) == {"shares": "background 62.5%  cat 25.0%  dog 12.5%"}
    assert task.decision(outputs).tolist() == [0.375] == task.decision({"mask": mask}).tolist()
    assert task.decided({"mask": np.where(mask == 2, VOID, mask)}).tolist() == [2 / 7]


def test_drift_holds_the_answers_against_the_masks(tmp_path):
    """Answers whose classes take as much as in training have not drifted; answers of one class alone have."""
    write_shapes(tmp_path, 40)
    data = data_of({"image_and_mask_folder": str(tmp_path)}, SemanticSegmentation(), mask={"names": NAMES},
                   image={"size": [22, 28]})
    _, targets = data.arrays("train", 99)
    masks = np.where(targets["mask"] == VOID, 0, targets["mask"])
    for answers, verdict in ((masks, "none"), (0 * masks, "drift")):
        shifts, classes = drift._answers(data, targets, drift.Logged(outputs=[{"mask": answers[:9]},
                                                                              {"logits": logits_of(answers[9:])}]))
        assert [(one.name, one.verdict) for one in shifts] == [("answers", verdict)] and classes == {}


def test_masks_of_another_size_than_their_images_are_refused():
    with pytest.raises(UserError, match=re.escape("data.mask: masks are 8 x 8 and images 4 x 5 pixels; leave "
                                                  "data.mask.size out, and they are brought to the images' size")):
        SemanticSegmentation().dimensions(index_of(mask=(8, 8)))


def test_a_server_gives_the_class_of_every_pixel_beside_the_logits():
    signature = Signature(inputs=(Tensor(name="logits_in", dtype="float32", shape=(4, 5, 3)),),
                          outputs=SemanticSegmentation().outputs(index_of()))
    function = semantic_segmentation.with_mask(Function(signature, lambda logits_in: {"logits": logits_in}))
    mask = np.random.default_rng(0).integers(0, 3, (2, 4, 5))
    outputs = function.call(logits_in=tf.constant(logits_of(mask)))
    np.testing.assert_array_equal(outputs["mask"], mask)
    assert [(one.name, one.dtype, one.shape) for one in function.signature.outputs] == [
        ("logits", "float32", (4, 5, 3)), ("mask", "uint8", (4, 5))]


RECIPE = """\
name: shapes
task: semantic_segmentation
data:
  source: {image_and_mask_folder: photos}
  image: {size: [22, 28]}
  mask: {names: [background, disc, square]}
  augment: [flip, {crop: 2}]
  batch: 16
model: {builder: unet, width: 4, depth: 2, batch_norm: true}
train:
  epochs: 10
  loss: {sum: {losses: [{cross_entropy: {class_weights: balanced}}, dice, focal], weights: [1, 0.5, 1]}}
  schedule: {cosine: 0.02}
compress: {variants: [float32, int8]}
verify: {runs: 10}
gates: {mean_iou: ">= 0.6", float32.max_error: "<= 1e-4", int8.drop: "<= 0.05"}
"""


def write_shapes(folder, count=96):
    """Write photos of a bright disc and a dark square on noise, with masks of a palette."""
    generator = np.random.default_rng(0)
    rows, columns = np.indices((44, 56))
    for number in range(count):
        mask = np.zeros((44, 56), "uint8")
        y, x, side = generator.integers(10, 34), generator.integers(10, 22), generator.integers(5, 9)
        mask[(rows - y) ** 2 + (columns - x) ** 2 < side**2] = 1
        mask[(abs(rows - 44 + y) < side) & (abs(columns - 22 - x) < side)] = 2
        image = np.array([110, 190, 30])[mask] + generator.normal(0, 12, mask.shape)
        for name in ("images", "masks"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        PIL.Image.fromarray(image.clip(0, 255).astype("uint8")).convert("RGB").save(folder / f"images/{number}.png")
        palette = PIL.Image.fromarray(mask, "P")
        palette.putpalette([0, 0, 0, 250, 0, 0, 250, 0, 0])
        palette.save(folder / f"masks/{number}.png")


@pytest.fixture(scope="module")
def shapes(tmp_path_factory):
    """A working folder in which the recipe was run, and what that printed."""
    folder = tmp_path_factory.mktemp("shapes")
    write_shapes(folder / "photos")
    (folder / "recipe.yaml").write_text(RECIPE)
    done = run_here("run", "recipe.yaml", "--no-track", "--json", "r.json", cwd=folder)
    assert done.code == 0, done.out + done.err
    return folder, done


def test_a_folder_of_images_and_masks_ends_as_verified_files(shapes):
    folder, done = shapes
    assert "mean IoU" in done.out and "Dice" in done.out
    results = json.loads((folder / "r.json").read_text())
    files = {one["target"]: one for one in results["artifacts"]}
    assert all(one["order_independent"] for one in results["artifacts"])
    assert set(files["saved_model"]["served"]) == {"grpc", "rest"}
    run = folder / "runs" / "shapes" / "latest"
    evaluation = json.loads((run / "evaluate" / "evaluation.json").read_text())
    assert [row[0] for row in evaluation["tables"][0]["rows"]] == ["background", "disc", "square"]
    assert (run / "evaluate" / "worst.png").exists() and (run / "evaluate" / "figures" / "confusion.png").exists()
    report = (run / "report.html").read_text()
    assert all(text in report for text in ("IoU", "pixels by class", "The best, the median and the worst test"))
    card = (run / "package" / "bundle" / "MODEL_CARD.md").read_text()
    assert "of RGB images of 22 x 28 pixels one of 3 classes" in card
    assert "Classes: background, disc, square." in card and "Weakest classes (IoU)" in card
    model = json.loads((run / "package" / "bundle" / "model.json").read_text())
    assert model["labels"] == ["background", "disc", "square"]
    served = next(one for one in model["models"] if one["name"] == "saved_model")["signatures"]
    assert set(served) == {"serving_default", "serving_bytes"}
    assert all(text.endswith("-> logits, mask") for text in served.values())


def test_drawings_are_called_as_their_files_and_slices_are():
    def named(*files):
        return drawn_masks.names_of([pathlib.Path(file) for file in files])

    assert named("scans/p1.nii.gz slice 0", "scans/p1.nii.gz slice 10") == ["p1 slice 0", "p1 slice 10"]
    assert named("1.2.840.5 slice 3", "1.2.840.7", "9.dcm") == ["1.2.840.5 slice 3", "1.2.840.7", "9"]
    assert named("s/a/p1 slice 0", "s/b/p1 slice 0", "s/a/p2 slice 0") == [
        "a_p1 slice 0", "b_p1 slice 0", "p2 slice 0"]
    assert named("a.png", "x/b.jpg", "y/b.png", "y/b.bmp", "b_mask.png") == [
        "a", "x_b", "y_b", "y_b_2", "b_mask"]


def test_a_servers_model_answers_without_its_run(litepress, tmp_path):
    """Which gives masks beside its logits."""
    image = keras.Input((8, 8, 3), name="image")
    model = keras.Model(image, keras.layers.Conv2D(2, 1, name="logits")(image))
    signature = Signature(inputs=(Tensor(name="image", dtype="uint8", shape=(8, 8, 3), role="image"),),
                          outputs=(Tensor(name="logits", dtype="float32", shape=(8, 8, 2), role="logits"),))
    saved_model.export(model, tmp_path / "1", [semantic_segmentation.with_mask(graph.function(model, signature))])
    PIL.Image.new("RGB", (8, 8), "red").save(tmp_path / "a.png")
    said = litepress("predict", tmp_path / "1", tmp_path / "a.png")
    assert said.code == 0 and re.search(r"a\.png +[01] 100\.0%$", said.out.strip()), said.out + said.err


@pytest.mark.slow
def test_its_files_answer_alone_too(shapes, tmp_path, monkeypatch, litepress):
    monkeypatch.chdir(shapes[0])
    run = shapes[0] / "runs" / "shapes" / "latest"
    said = litepress("predict", run / "package" / "bundle" / "litert" / "int8.tflite", "photos/images/0.png")
    assert said.code == 0 and re.search(r"0\.png +background \d\d\.\d%  ", said.out), said.out + said.err
    shutil.copytree(run / "package" / "bundle", tmp_path / "given")
    for name in ("litert/int8.tflite", "saved_model/1"):
        alone = litepress("predict", tmp_path / "given" / name, "photos/images/0.png")
        assert re.search(r"0\.png +background \d\d\.\d%  ", alone.out), "without its run, too: " + alone.out + alone.err
    checked = litepress("verify", run / "package" / "bundle")
    assert checked.code == 0, checked.out + checked.err


@pytest.mark.slow
def test_a_model_made_elsewhere_is_measured_on_masks(tmp_path, monkeypatch, litepress):
    monkeypatch.chdir(tmp_path)
    write_shapes(tmp_path / "photos", 40)
    keras.utils.set_random_seed(1)
    layers = [keras.Input((44, 56, 3)), keras.layers.Conv2D(8, 3, padding="same", activation="relu"),
              keras.layers.Conv2D(3, 1, activation="softmax")]
    keras.Sequential(layers).save("m.keras")
    done = litepress("press", "m.keras", "--data", "photos", "--task", "semantic_segmentation", "--pixels", "0..1",
                     "--variants", "float32,int8", "--no-track", "--json", "r.json")
    assert done.code == 0, done.out + done.err
    results = json.loads((tmp_path / "r.json").read_text())
    assert set(results["reference"]["metrics"]) == {metric.name for metric in SemanticSegmentation().metrics}
    assert {one["variant"]: one["max_error"] < 1e-4 for one in results["artifacts"] if one["target"] == "litert"} == {
        "float32": True, "int8": False}
    refused = litepress("press", "m.keras", "--data", "photos", "--no-track", "--task", "image_classification")
    assert refused.code == 2 and "it must be (batch, classes)" in refused.err


def test_served_masks_are_compared_but_for_ties():
    """Of three pixels one is right, one between two classes that are all but equal, and one wrong."""
    expected = {"logits": np.array([[[[2.0, 1.0, 0.0], [1.0, 1.00001, 0.0], [2.0, 1.0, 0.0]]]])}
    given = {"logits": expected["logits"], "mask": np.array([[[0, 0, 1]]])}
    compared = SemanticSegmentation().compared(index_of(mask=(1, 3)), list(given))
    wanted = compared.expected(expected)
    assert [tensor.name for tensor in compared.tensors] == ["logits", "mask"]
    assert wanted["mask"].tolist() == [[[0, 1, 0]]]
    assert compared.paired(given, wanted)["mask"].tolist() == [[[0, 1, 1]]]
    assert [tensor.name for tensor in SemanticSegmentation().compared(index_of(), ["logits"]).tensors] == ["logits"]
