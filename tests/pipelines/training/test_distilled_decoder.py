"""A small language model learns from a larger one's logits: at each token that is learnt, and at no other."""
import keras
import numpy as np
import pytest

import models
from export.signature import Tensor
from pipelines.training.distillation import Distillation
from pipelines.training.learners.distilled import check_shapes, distilled

LENGTH, VOCABULARY = 6, 20
LOGITS = Tensor(name="logits", dtype="float32", shape=(LENGTH, VOCABULARY), role="logits")
TOKENS = np.array([[2, 5, 6, 7, 0, 0], [2, 8, 9, 5, 6, 4]], "int32")
#: Of the second text the last two tokens alone are an answer.
LEARNT = np.array([[1, 1, 1, 1, 0, 0], [0, 0, 0, 0, 1, 1]], "float32")


def decoder(units, vocabulary=VOCABULARY, seed=1):
    model = models.build("llama", length=LENGTH, vocabulary=vocabulary, depth=1, units=units, heads=2, dropout=0.0)
    generator = np.random.default_rng(seed)
    model.set_weights([generator.normal(0, 0.5, weight.shape).astype("float32") for weight in model.get_weights()])
    return model


def softened(logits, temperature):
    exponents = np.exp(logits / temperature - (logits / temperature).max(axis=-1, keepdims=True))
    return exponents / exponents.sum(axis=-1, keepdims=True)


def test_a_decoder_is_taught_at_the_tokens_that_are_learnt_alone():
    teacher, student = decoder(32), decoder(16, seed=2)
    targets = {"next": np.eye(VOCABULARY, dtype="float32")[np.roll(TOKENS, -1, axis=1)] * LEARNT[..., None]}
    loss = distilled(lambda inputs, targets, outputs: 0.0, teacher, Distillation(temperature=2, weight=1), ["tokens"],
                     [LOGITS], {"logits": "next"})
    theirs, mine = (np.array(model(TOKENS)["logits"], np.float64) for model in (teacher, student))
    first, second = softened(theirs, 2), softened(mine, 2)
    divergence = (first * np.log(first / second)).sum(axis=-1) * LEARNT
    result = loss({"tokens": TOKENS}, targets, {"logits": student(TOKENS)["logits"]})
    np.testing.assert_allclose(result, 4 * divergence.mean(axis=1), rtol=1e-4)
    same = loss({"tokens": TOKENS}, targets, {"logits": teacher(TOKENS)["logits"]})
    np.testing.assert_allclose(same, 0, atol=1e-5)


def test_a_student_comes_to_answer_as_its_teacher_does():
    import tensorflow as tf

    teacher, student = decoder(32), decoder(16, seed=2)
    generator = np.random.default_rng(3)
    tokens = generator.integers(3, VOCABULARY, (64, LENGTH)).astype("int32")
    targets = {"next": np.eye(VOCABULARY, dtype="float32")[tokens]}
    loss = distilled(lambda inputs, targets, outputs: 0.0, teacher, Distillation(temperature=1, weight=1), ["tokens"],
                     [LOGITS], {"logits": "next"})
    optimizer = keras.optimizers.Adam(0.02)

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            value = tf.reduce_mean(loss({"tokens": tokens}, targets, {"logits": student(tokens)["logits"]}))
        optimizer.apply(tape.gradient(value, student.trainable_variables), student.trainable_variables)
        return value

    values = [float(step()) for _ in range(60)]
    assert values[-1] < 0.3 * values[0]


def test_a_teacher_of_another_vocabulary_is_refused():
    with pytest.raises(Exception, match=r"\(6, 25\), the student from .* to \(6, 20\); they must be the same"):
        check_shapes(decoder(16, 25), decoder(16), ["tokens"], ["logits"])
