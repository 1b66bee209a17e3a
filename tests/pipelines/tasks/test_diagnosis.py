"""A test for one of two classes: its figures against other computations, its operating point, its temperature."""
import itertools

import keras
import numpy as np
import PIL.Image
import pytest
import scipy.special
from pydantic import ValidationError
from sklearn import metrics

import models
from export.predictors import open_predictor
from pipelines.errors import UserError
from pipelines.recipe.recipe import Recipe
from pipelines.tasks import diagnosis, rescaling
from pipelines.tasks.classes import softmax
from pipelines.tasks.image_classification import ImageClassification
from pipelines.tasks.task import Evaluation
from tests.conftest import run_here
from tests.pipelines.ingest.conftest import data_of
from tests.pipelines.tasks.test_image_classification import index_of


@pytest.fixture
def answers():
    """Return scores of 60 positive and 140 negative examples, and which are positive; some scores are equal."""
    generator = np.random.default_rng(0)
    ill = np.arange(200) < 60
    return np.round(scipy.special.expit(generator.normal(size=200) + 1.5 * ill), 2), ill


def test_the_area_and_its_variance_are_delongs(answers):
    """Against the definition: each pair of a positive and a negative example, and the structural components."""
    scores, ill = answers
    found = diagnosis.area_under_curve(scores, ill)
    pairs = (scores[ill][:, None] > scores[~ill]) + 0.5 * (scores[ill][:, None] == scores[~ill])
    assert found.value == pytest.approx(pairs.mean()) == pytest.approx(metrics.roc_auc_score(ill, scores))
    variance = pairs.mean(axis=1).var(ddof=1) / 60 + pairs.mean(axis=0).var(ddof=1) / 140
    ends = scipy.special.expit(scipy.special.logit(found.value)
                               + np.array([-1, 1]) * 1.959964 * variance**0.5 / (found.value * (1 - found.value)))
    assert (found.low, found.high) == pytest.approx(tuple(ends), abs=1e-6)


def test_the_interval_is_about_the_bootstraps(answers):
    scores, ill = answers
    generator = np.random.default_rng(1)
    areas = []
    for _ in range(400):
        drawn = np.concatenate([generator.choice(np.flatnonzero(kind), kind.sum()) for kind in (ill, ~ill)])
        areas.append(metrics.roc_auc_score(ill[drawn], scores[drawn]))
    found = diagnosis.area_under_curve(scores, ill)
    assert (found.low, found.high) == pytest.approx(tuple(np.percentile(areas, [2.5, 97.5])), abs=0.02)


def test_areas_without_spread_and_without_a_class():
    perfect = diagnosis.area_under_curve(np.array([0.9, 0.8, 0.7, 0.2, 0.1]), np.array([1, 1, 1, 0, 0], bool))
    assert (perfect.value, perfect.high) == (1.0, 1.0) and perfect.low == pytest.approx(0.025 ** 0.5)
    wrong = diagnosis.area_under_curve(np.array([0.1, 0.2, 0.9]), np.array([1, 1, 0], bool))
    assert (wrong.value, wrong.low) == (0.0, 0.0)
    assert diagnosis.area_under_curve(np.array([0.1, 0.2]), np.array([1, 1], bool)) == diagnosis.Interval(0.5, 0, 1)
    single = diagnosis.area_under_curve(np.array([0.9, *np.linspace(0, 1, 1000)]), np.arange(1001) == 0)
    assert single.low < 0.1 and single.high == 1.0, "of one ill example nothing is known for sure"


def test_shares_have_wilsons_interval():
    """Newcombe 1998, table I: 81 of 263 is 0.308 (0.2553 to 0.3662)."""
    found = diagnosis.share(81, 263)
    assert (found.value, found.low, found.high) == pytest.approx((0.3080, 0.2553, 0.3662), abs=1e-4)
    assert diagnosis.share(0, 0) == diagnosis.Interval(0.0, 0.0, 1.0)


def test_rates_are_those_of_the_confusion_matrix(answers):
    scores, ill = answers
    (negative, false_positive), (missed, found) = metrics.confusion_matrix(ill, scores >= 0.6)
    known = [one.value for one in diagnosis.rates(scores, ill, 0.6)]
    assert known == pytest.approx([found / 60, negative / 140, found / (found + false_positive),
                                   negative / (negative + missed)])


@pytest.mark.parametrize("sensitivity", [0.5, 0.9, 0.95, 0.99, 1 - 1e-12])
def test_a_threshold_reaches_its_sensitivity_and_no_higher_one_does(answers, sensitivity):
    scores, ill = answers
    threshold = diagnosis.threshold_for(scores, ill, sensitivity)
    assert (scores[ill] >= threshold).mean() >= sensitivity - 1e-9
    higher = np.sort(np.unique(scores[scores >= threshold]))[0] + 1e-6
    assert (scores[ill] >= higher).mean() < sensitivity


def test_a_measure_has_its_metrics_and_tables(answers, tmp_path):
    scores, ill = answers
    task = ImageClassification(positive="ill")
    measure = task.measure(index_of(["well", "ill"]))
    scores = np.clip(scores, 0.005, 0.995)
    logits = np.log(np.stack([1 - scores, scores], axis=1))
    for some, true in zip(np.array_split(logits, 3), np.array_split(ill.astype(int), 3), strict=True):
        measure.add({"label": true}, {"logits": some})
    result = measure.result(tmp_path)
    assert list(result.metrics) == [metric.name for metric in task.metrics]
    sensitivity, specificity, *_ = diagnosis.rates(scores, ill, 0.5)
    assert result.metrics["sensitivity"] == pytest.approx(sensitivity.value, abs=1e-6)
    assert result.metrics["specificity_low"] == pytest.approx(specificity.low, abs=1e-6)
    assert result.tables[0].title == "ill: 60 of 200 test examples" and result.tables[0].rows[1][0] == "sensitivity"
    assert (tmp_path / "roc.png").exists() and result.figures[-1].caption.startswith("Sensitivity over 1 - specificity")
    assert "It looks for ill in grey images of 2 x 2 pixels" in task.sentence(index_of(["well", "ill"]), result)
    other = ImageClassification(positive="well").measure(index_of(["well", "ill"]))
    other.add({"label": ill.astype(int)}, {"logits": logits})
    assert other.result().metrics["auc"] == pytest.approx(result.metrics["auc"])
    assert other.result().metrics["sensitivity"] == pytest.approx(specificity.value, abs=0.02)


def test_without_a_positive_class_all_is_as_it_was():
    names = [metric.name for metric in ImageClassification().metrics]
    assert names == ["accuracy", "top3", "macro_f1", "calibration_error"]
    assert ImageClassification().finish(keras.Sequential(), None) == []


def test_the_temperature_is_what_logits_were_multiplied_with():
    generator = np.random.default_rng(0)
    logits = generator.normal(size=(20_000, 3)) * 2
    labels = np.array([generator.choice(3, p=scores) for scores in softmax(logits)])
    assert rescaling.temperature(3 * logits, labels) == pytest.approx(3, rel=0.05)
    assert rescaling.temperature(logits / 2, labels) == pytest.approx(0.5, rel=0.05)


def test_logits_are_rescaled_in_the_layer_that_gives_them():
    """Behind a dense layer, and behind a convolution whose answers are averaged."""
    layers = keras.layers
    image = keras.Input((8, 8, 1))
    built = [models.build("resnet8", input_shape=(32, 32, 1), classes=2),
             keras.Model(image, layers.Identity(name="logits")(
                 layers.GlobalAveragePooling2D()(layers.Conv2D(2, 3)(image))))]
    for model in built:
        inputs = np.random.default_rng(0).normal(size=(3, *model.input.shape[1:])).astype("float32")
        before = np.asarray(model(inputs, training=False))
        rescaling.rescale(model, "logits", 0.25, np.array([0.0, 2.0]))
        np.testing.assert_allclose(model(inputs, training=False), before / 4 + [0, 2], atol=1e-5)


def test_logits_that_no_layer_with_weights_gives_are_refused():
    image = keras.Input((8,))
    model = keras.Model(image, keras.layers.ReLU(name="logits")(keras.layers.Dense(2)(image)))
    with pytest.raises(UserError, match=r"the logits of .* come from logits, which cannot be scaled: leave calibrate"):
        rescaling.rescale(model, "logits", 1.0, np.zeros(2))


def test_a_class_that_is_not_one_of_two_is_refused():
    with pytest.raises(UserError, match=r"task.image_classification.positive: it is one of two classes, and ill is not "
                                        r"one of two: the data have well, sick"):
        ImageClassification(positive="ill").measure(index_of(["well", "sick"]))
    with pytest.raises(UserError, match=r"the data have a, b, c"):
        ImageClassification(positive="a").dimensions(index_of(["a", "b", "c"]))
    with pytest.raises(ValidationError, match="give positive, the name of that class, too"):
        Recipe.model_validate({"name": "x", "task": {"image_classification": {"sensitivity": 0.9}},
                               "data": {"source": "digits"}, "model": {"builder": "lenet5"}})


def test_a_threshold_of_answers_that_are_sure_has_a_logit():
    ill = np.array([True, True, False])
    for scores in ([1.0, 1.0, 1 - 2**-53], [0.0, 0.0, 0.0]):
        threshold = diagnosis.threshold_for(np.array(scores), ill, 0.9)
        assert np.isfinite(np.log1p(-threshold) - np.log(threshold))


@pytest.fixture
def of_one_class(tmp_path):
    """Return data whose validation part is well altogether, and a model of them."""
    for name in "abcdef":
        PIL.Image.fromarray(np.full((8, 8), 10 * ord(name) % 256, "uint8")).save(tmp_path / f"{name}.png")
    (tmp_path / "t.csv").write_text("image,label,split\na.png,ill,train\nb.png,well,train\nc.png,well,val\n"
                                    "d.png,well,val\ne.png,ill,test\nf.png,well,test\n")
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((8, 8, 1), name="image"), keras.layers.Flatten(),
                              keras.layers.Dense(2, name="logits")])
    model.save(tmp_path / "model.keras")
    return data_of({"image_table": str(tmp_path / "t.csv")}), model, tmp_path


def test_an_operating_point_needs_both_classes_among_the_validation_examples(of_one_class):
    data, model, _ = of_one_class
    task = ImageClassification(positive="ill", sensitivity=0.9)
    message = (r"^task.image_classification.sensitivity: the threshold for it is chosen on the validation examples, "
               r"and none of these is {}; raise data.validation, add examples of it, or leave sensitivity out$")
    with pytest.raises(UserError, match=message.format("ill")):
        task.dimensions(data.index)
    with pytest.raises(UserError, match=message.format("ill")):
        task.finish(model, data)
    with pytest.raises(UserError, match=message.format("ill")):
        ImageClassification(positive="well", sensitivity=0.9).dimensions(data.index)
    assert ImageClassification(positive="ill").dimensions(data.index)["classes"] == 2


def test_operating_points_are_left_out_where_they_cannot_be_chosen(of_one_class):
    data, _, folder = of_one_class
    evaluation = Evaluation(metrics={})
    result = ImageClassification(positive="ill").completed(
        evaluation, open_predictor(folder / "model.keras"), data, folder)
    assert not result.tables and result.limits == [
        "The validation examples have none of ill, so that no operating points are chosen on them."]


RECIPE = """\
name: ill
task: {image_classification: {positive: ill, sensitivity: 0.95, calibrate: true}}
data: {source: {image_table: t.csv}, image: {size: 16, channels: 1}, group: patient, batch: 16}
model: {builder: resnet8}
train: {epochs: 6, schedule: {cosine: 0.003}}
compress: {variants: [float32, int8]}
verify: {runs: 10}
package: {medical: true}
gates: {auc_low: ">= 0.6", sensitivity: ">= 0.7", float32.max_error: "<= 1e-4", int8.drop: "<= 0.05"}
"""


@pytest.mark.slow
def test_a_run_ends_at_its_operating_point(tmp_path):
    """Noise with a bright spot in those who are ill, of whom there are few."""
    generator = np.random.default_rng(0)
    lines = ["image,label,patient"]
    for patient, number in itertools.product(range(60), range(6)):
        ill = patient % 4 == 0
        image = generator.normal(100, 30, (16, 16))
        image[6:10, 6:10] += 40 * ill
        name = f"{patient}_{number}.png"
        PIL.Image.fromarray(image.clip(0, 255).astype("uint8")).save(tmp_path / name)
        lines.append(f"{name},{'ill' if ill else 'well'},{patient}")
    (tmp_path / "t.csv").write_text("\n".join(lines))
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    done = run_here("run", "recipe.yaml", "--no-track", "--json", "r.json", cwd=tmp_path)
    assert done.code == 0, done.out + done.err
    assert "sensitivity" in done.out and "AUC" in done.out
    run = tmp_path / "runs" / "ill" / "latest"
    assert "logits divided by a temperature of" in done.out
    assert "ill is answered from a probability of" in done.out and "for a sensitivity of 0.95" in done.out
    assert "Operating points of the trained model" in (run / "report.html").read_text()
    card = (run / "package" / "bundle" / "MODEL_CARD.md").read_text()
    assert "not a medical device" in card and "The splits are by patient" in card and "It looks for ill in" in card
