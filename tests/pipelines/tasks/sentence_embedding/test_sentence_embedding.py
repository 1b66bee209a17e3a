"""What embeddings of texts are worth: how often partners find each other, and how cosines go with scores."""
import keras
import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

from pipelines.ingest.index import Index, Split
from pipelines.tasks.sentence_embedding import SentenceEmbedding, SentenceSimilarity
from pipelines.tasks.sentence_embedding.retrieval import Retrieval, ranks
from pipelines.tasks.sentence_embedding.similarity import Correlation
from pipelines.training.learners.side_by_side import side_by_side
from pipelines.training.losses import CrossEntropy, Loss


def unit(rows):
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype("float32")


@pytest.fixture(scope="module")
def index():
    return Index(source="pairs", digest="", splits={"train": Split(part="train", positions=None, examples=4)},
                 inputs={}, targets={}, learnt={"score": {"statistics": {"mean": [2.0], "deviation": [1.0]}}})


def test_partners_are_found_among_all():
    generator = np.random.default_rng(3)
    first = unit(generator.normal(size=(700, 8)))
    second = unit(first + 0.4 * generator.normal(size=(700, 8)))
    cosines = first @ second.T
    expected = [1 + int((row > row[place]).sum()) for place, row in enumerate(cosines)]
    measure, texts = Retrieval("a", "b", "sought"), np.arange(700, dtype="int32")[:, None]
    for part in (slice(0, 300), slice(300, 700)):
        wrong = measure.add({"sought": texts[part]}, {"a": first[part], "b": second[part]})
        np.testing.assert_allclose(wrong, 1 - np.diag(cosines)[part], atol=1e-5)
    result = measure.result().metrics
    assert result["recall_at_1"] == pytest.approx(np.mean(np.array(expected) == 1), abs=1e-6)
    assert result["recall_at_5"] == pytest.approx(np.mean(np.array(expected) <= 5), abs=1e-6)
    assert result["mean_reciprocal_rank"] == pytest.approx(np.mean(1 / np.array(expected)), abs=1e-6)
    assert 0.05 < result["recall_at_1"] < 0.999


def test_a_text_that_is_there_twice_is_found_where_one_is_and_what_is_all_alike_finds_nothing():
    first = unit(np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.1]]))
    assert ranks(first, first[[2, 1, 0]], np.array([0, 1, 0])).tolist() == [1, 1, 1]
    same = np.ones((3, 2), "float32")
    assert ranks(same, same, np.arange(3)).tolist() == [3, 3, 3]


def test_the_loss_is_the_cross_entropy_of_partners_in_both_directions(index):
    generator = np.random.default_rng(4)
    first, second = unit(generator.normal(size=(5, 6))), unit(generator.normal(size=(5, 6)))
    objective = SentenceEmbedding(temperature=0.1).objective(CrossEntropy(), index)
    losses = objective({}, {}, {"embedding": tf.constant(np.concatenate([first, second]))}).numpy()
    scores = first @ second.T / 0.1
    expected = -(np.diag(scores - scipy.special.logsumexp(scores, axis=1, keepdims=True))
                 + np.diag(scores - scipy.special.logsumexp(scores, axis=0, keepdims=True))) / 2
    np.testing.assert_allclose(losses, expected, rtol=1e-4)


def test_cosines_follow_scores(index):
    objective = SentenceSimilarity().objective(Loss.read("mse"), index)
    both = tf.constant([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    losses = objective({}, {"score": tf.constant([4.0, 0.0])}, {"embedding": both}).numpy()
    np.testing.assert_allclose(losses, [0.0, 0.0], atol=1e-6)
    losses = objective({}, {"score": tf.constant([2.0, 2.0])}, {"embedding": both}).numpy()
    np.testing.assert_allclose(losses, [0.25, 0.25], atol=1e-6)


def test_correlations_are_those_of_scipy():
    generator = np.random.default_rng(5)
    first, second, scores = unit(generator.normal(size=(30, 4))), unit(generator.normal(size=(30, 4))), np.arange(30.0)
    measure = Correlation()
    for part in (slice(0, 10), slice(10, 30)):
        measure.add({"score": scores[part]}, {"embedding": first[part], "second_embedding": second[part]})
    cosines = (first * second).sum(axis=1)
    result = measure.result().metrics
    assert result["spearman"] == pytest.approx(np.corrcoef(cosines.argsort().argsort(), scores)[0, 1], abs=1e-5)
    assert result["pearson"] == pytest.approx(np.corrcoef(cosines, scores)[0, 1], abs=1e-5)


def test_a_learner_sees_both_texts_of_all_pairs_in_training_and_validation():
    x = keras.Input((1,), name="tokens")
    output = keras.layers.Dense(1, use_bias=False, kernel_initializer="ones")(x)
    learner = side_by_side(keras, "tokens", "second")(inputs={"tokens": x}, outputs={"embedding": output})
    learner.prepare(lambda inputs, targets, outputs: tf.reduce_sum(
        tf.split(outputs["embedding"], 2)[0] - 10 * tf.split(outputs["embedding"], 2)[1], -1), {})
    learner.compile(keras.optimizers.SGD(0.0))
    pairs = {"tokens": tf.fill([4, 1], 3.0), "second": tf.fill([4, 1], 2.0)}
    data = tf.data.Dataset.from_tensors((pairs, {"sought": tf.zeros([4, 1])}))
    history = learner.fit(data, validation_data=data, verbose=0).history
    assert history["loss"] == pytest.approx([-17.0]) and history["val_loss"] == pytest.approx([-17.0])
