"""The steps of flows, against formulas that are known."""
import numpy as np
import pytest

from export.writing import diffusion, flow

GENERATOR = np.random.default_rng(0)


def test_the_shares_of_noise_are_the_papers():
    plan = flow.plan(1000, 3.0, 5)
    time = np.linspace(1, 3 * 0.001 / (1 + 2 * 0.001), 5)
    np.testing.assert_allclose(plan[:, 2], 3 * time / (1 + 2 * time), rtol=1e-12)  # equation 23, sqrt(m / n) = 3
    np.testing.assert_allclose(plan[:, 0], 1000 * plan[:, 2])
    np.testing.assert_allclose(plan[:, 1] + plan[:, 2], 1)


def test_without_a_shift_steps_are_alike():
    np.testing.assert_allclose(np.diff(flow.plan(1000, 1.0, 4)[:, 2]), -0.333, rtol=1e-9)
    assert flow.plan(1000, 1.0, 1)[:, 2].tolist() == [1]


@pytest.mark.parametrize("count", [1, 4])
def test_a_step_is_eulers(count):
    plan, x = flow.plan(1000, 3.0, count), GENERATOR.normal(size=(2, 3, 3, 4)).astype("float32")
    said, seen = GENERATOR.normal(size=(count, 2, 3, 3, 4)).astype("float32"), []

    def denoise(noisy, step):
        seen.append(step)
        return said[len(seen) - 1]

    result = diffusion.sampled(denoise, x, plan, "flow", most=np.inf)
    sigmas = [*plan[:, 2], 0]
    for number in range(count):
        x = x + (sigmas[number + 1] - sigmas[number]) * said[number]
    np.testing.assert_allclose(result, x, atol=1e-4)
    np.testing.assert_allclose(seen, 1000 * plan[:, 2])


def test_latents_that_are_alone_come_out_whatever_the_noise():
    noise = GENERATOR.normal(size=(3, 2, 2, 4)).astype("float32")
    shares = dict(flow.plan(1000, 3.0, 6)[:, [0, 2]].tolist())
    result = diffusion.sampled(lambda x, step: (x - 7) / shares[step], noise, flow.plan(1000, 3.0, 6), "flow",
                               most=np.inf)
    np.testing.assert_allclose(result, 7, atol=1e-4)
