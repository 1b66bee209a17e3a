"""Checkpoints: a training that goes on after one is the training that never stopped."""
import functools

import keras
import numpy as np
import tensorflow as tf

from pipelines.training import checkpoint
from pipelines.training.learners.supervised import learning, supervised
from tests.pipelines.training.two_by_two import INPUTS, TARGETS, objective, two_by_two


@functools.cache
def adversarial(library):
    """A learner of two optimizers, one for each of its two dense layers."""
    class TwoSided(supervised(library)):
        def compile(self, optimizer, **settings):
            super().compile(optimizer=optimizer, **settings)
            self.optimizers = [optimizer, type(optimizer).from_config(optimizer.get_config())]
            for one, layer in zip(self.optimizers, ("classes", "number"), strict=True):
                one.build(self.get_layer(layer).trainable_variables)

        def train_step(self, data):
            inputs, targets, _ = keras.utils.unpack_x_y_sample_weight(data)
            with tf.GradientTape(persistent=True) as tape:
                loss = self.compute_loss(inputs, targets, self(inputs, training=True))
            for one, layer in zip(self.optimizers, ("classes", "number"), strict=True):
                variables = self.get_layer(layer).trainable_variables
                one.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
            return self.compute_metrics(inputs, targets, self(inputs, training=True))

    return TwoSided


def test_a_checkpoint_holds_all_optimizers(tmp_path):
    def fresh():
        learner = learning(two_by_two(keras), keras, adversarial(keras)).prepare(objective, {})
        learner.compile(keras.optimizers.Adam(0.01), jit_compile=False)
        return learner

    learner = fresh()
    for _ in range(3):
        learner.train_on_batch(INPUTS, TARGETS)
    learner.stop_training = False
    checkpoint.save(tmp_path, learner, [], 3)
    other = fresh()
    checkpoint.restore(tmp_path, other, [])
    assert [int(one.iterations) for one in other.optimizers] == [3, 3]
    for one in (learner, other):
        one.train_on_batch(INPUTS, TARGETS)
    for mine, theirs in zip(learner.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, theirs)
