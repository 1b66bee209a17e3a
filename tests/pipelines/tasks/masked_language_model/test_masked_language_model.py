"""What guesses are worth, and that a training hides other tokens at each step."""
import keras
import numpy as np
import pytest
import tensorflow as tf

from pipelines.tasks.masked_language_model.measure import Guessed
from pipelines.training.learners.redrawn import redrawn


def test_accuracy_and_perplexity_are_over_all_guesses():
    generator = np.random.default_rng(4)
    tokens = np.array([[5, 7, 0], [6, 0, 0], [0, 0, 0]])
    logits = generator.normal(size=(3, 3, 9))
    logits[0, 0, 5] = 9
    measure = Guessed("logits", "originals")
    wrong = np.concatenate([measure.add({"originals": tokens[part]}, {"logits": logits[part]})
                            for part in (slice(0, 1), slice(1, 3))])
    likely = [tf.nn.softmax(logits[row, place])[tokens[row, place]].numpy() for row, place in ((0, 0), (0, 1), (1, 0))]
    right = [logits[row, place].argmax() == tokens[row, place] for row, place in ((0, 0), (0, 1), (1, 0))]
    result = measure.result().metrics
    assert result["accuracy"] == pytest.approx(np.mean(right), abs=1e-6)
    assert result["perplexity"] == pytest.approx(np.exp(-np.log(likely).mean()), rel=1e-5)
    assert wrong[0] == 1 - np.mean(right[:2]) and np.isnan(wrong[2])


def test_a_learner_sees_what_is_drawn_at_its_step_and_validates_on_what_is_there():
    seen = []

    def redraw(inputs, targets, step):
        tf.py_function(lambda number: seen.append(int(number)), [step], [])
        return {"x": inputs["x"] * 0 + 1}, targets

    keras.utils.set_random_seed(1)
    x = keras.Input((1,), name="x")
    model = keras.layers.Dense(1, use_bias=False, kernel_initializer="ones")(x)
    learner = redrawn(keras, redraw)(inputs={"x": x}, outputs={"y": model})
    learner.prepare(lambda inputs, targets, outputs: tf.reduce_mean(outputs["y"] - targets["y"], -1), {})
    learner.compile(keras.optimizers.SGD(0.0))
    data = tf.data.Dataset.from_tensors(({"x": tf.fill([4, 1], 5.0)}, {"y": tf.zeros([4, 1])})).repeat(3)
    history = learner.fit(data, validation_data=data.take(1), verbose=0).history
    assert seen == [0, 1, 2]
    assert history["loss"] == pytest.approx([1.0]) and history["val_loss"] == pytest.approx([5.0])
