"""The sampler, against what is known of images whose best denoiser is a formula."""
import math

import numpy as np
import pytest

from export.writing import diffusion

GENERATOR = np.random.default_rng(0)


def best(left, mean, deviation, target):
    """Return the best denoiser of images whose pixels are normal."""
    def denoise(x, step):
        signals, noises = math.sqrt(left[step]), math.sqrt(1 - left[step])
        gain = deviation**2 * signals / (deviation**2 * left[step] + 1 - left[step])
        image = mean + gain * (x - signals * mean)
        noise = (x - signals * image) / noises
        return {"image": image, "noise": noise, "velocity": signals * noise - noises * image}[target]

    return denoise


def test_the_cosine_schedule_is_the_papers():
    left = diffusion.signal(1000, "cosine")
    steps = np.array([1, 250, 500, 900])
    expected = np.cos((steps / 1000 + 0.008) / 1.008 * math.pi / 2) ** 2 / np.cos(0.008 / 1.008 * math.pi / 2) ** 2
    np.testing.assert_allclose(left[steps], expected, rtol=1e-9)
    assert left[0] == 1 and 0 < left[-1] < 1e-5 and (np.diff(left) < 0).all()


def test_the_linear_schedule_is_the_papers():
    left = diffusion.signal(1000, "linear")
    assert left[1] == pytest.approx(1 - 1e-4) and left[1000] / left[999] == pytest.approx(1 - 0.02)
    assert left[1000] == pytest.approx(4.0e-5, rel=0.02)  # section 4: L_T is about 10^-5 bits


def pictures_of(noise, left, mean, deviation, *, count, sampler="ddim", target="velocity"):
    steps = diffusion.plan(left, count, sampler)
    return diffusion.sampled(best(left, mean, deviation, target), noise, steps, target)


@pytest.mark.parametrize("schedule", ["cosine", "linear"])
@pytest.mark.parametrize("target", ["velocity", "noise", "image"])
@pytest.mark.parametrize("sampler", ["ddim", "dpm_solver"])
def test_pictures_have_the_mean_and_the_deviation_of_the_images(schedule, target, sampler):
    left = diffusion.signal(1000, schedule)
    noise = GENERATOR.normal(size=(500, 2, 2, 1)).astype("float32")
    pictures = pictures_of(noise, left, 0.3, 0.1, count=200, sampler=sampler, target=target)
    assert pictures.mean() == pytest.approx(0.3, abs=0.02) and pictures.std() == pytest.approx(0.1, abs=0.015)


@pytest.mark.parametrize("sampler", ["ddim", "dpm_solver"])
def test_the_same_noise_makes_the_same_picture_with_any_number_of_steps_nearly(sampler):
    left = diffusion.signal(1000, "cosine")
    noise = GENERATOR.normal(size=(20, 2, 2, 1)).astype("float32")
    few, many = (pictures_of(noise, left, 0.0, 0.2, count=count, sampler=sampler) for count in (50, 400))
    assert np.corrcoef(few.ravel(), many.ravel())[0, 1] > 0.999


def test_the_solver_is_of_second_order_and_ddim_of_first():
    left = diffusion.signal(1000, "cosine")
    noise = GENERATOR.normal(size=(50, 2, 2, 1)).astype("float32")
    # of normal pixels the whole way is known: they keep their place among their like
    exact = 0.2 * noise
    errors = {sampler: [np.abs(pictures_of(noise, left, 0.0, 0.2, count=count, sampler=sampler) - exact).mean()
                        for count in (50, 100)] for sampler in ("ddim", "dpm_solver")}
    assert errors["dpm_solver"][0] < errors["ddim"][0] / 5
    assert errors["ddim"][0] / errors["ddim"][1] == pytest.approx(2, abs=0.2)
    assert errors["dpm_solver"][0] / errors["dpm_solver"][1] > 4


def test_a_step_of_the_solver_is_the_papers():
    """Algorithm 2 with the paper's own symbols: alpha, sigma, lambda, h and r."""
    left = diffusion.signal(1000, "linear")
    alpha, sigma = np.sqrt(left), np.sqrt(1 - left)
    plan, times = diffusion.plan(left, 5, "dpm_solver"), diffusion.times(1000, 5)
    x, now, last = GENERATOR.normal(size=(3, 4))
    s, t, u = times[1], times[2], times[0]
    logs = np.log(alpha[[s, t, u]] / sigma[[s, t, u]])
    h, r = logs[1] - logs[0], (logs[0] - logs[2]) / (logs[1] - logs[0])
    direction = (1 + 1 / (2 * r)) * now - 1 / (2 * r) * last
    expected = sigma[t] / sigma[s] * x - alpha[t] * (np.exp(-h) - 1) * direction
    np.testing.assert_allclose(plan[1, 3] * x + plan[1, 4] * now + plan[1, 5] * last, expected, rtol=1e-9)
    assert plan[0, 5] == plan[-1, 5] == 0 and plan[-1, 3] == 0 and plan[-1, 4] == 1


@pytest.mark.parametrize("sampler", ["ddim", "dpm_solver"])
@pytest.mark.parametrize("count", [1, 2, 3, 10])
def test_an_image_that_is_alone_comes_out_whatever_the_noise(sampler, count):
    left = diffusion.signal(100, "cosine")
    noise = GENERATOR.normal(size=(3, 2, 2, 1)).astype("float32")
    pictures = pictures_of(noise, left, -0.4, 0.0, count=count, sampler=sampler)
    np.testing.assert_allclose(pictures, -0.4, atol=1e-3)


def test_steps_run_from_the_last_to_0():
    assert diffusion.times(1000, 4).tolist() == [1000, 750, 500, 250, 0]
    assert diffusion.times(3, 3).tolist() == [3, 2, 1, 0]


def test_guidance_of_1_is_the_condition_alone():
    one, other = GENERATOR.normal(size=(2, 3, 2, 2, 1))
    np.testing.assert_allclose(diffusion.guided(one, other, 1.0), one)
    np.testing.assert_allclose(diffusion.guided(one, other, 3.0), other + 3 * (one - other))


def test_latents_reach_further_than_images():
    noise = GENERATOR.normal(size=(2, 2, 2, 3)).astype("float32")
    table = diffusion.plan(diffusion.signal(50, "cosine"), 5, "ddim")

    def denoise(x, step):
        return np.full_like(x, 2.5)

    np.testing.assert_allclose(diffusion.sampled(denoise, noise, table, "image", 10.0), 2.5, atol=1e-6)
    np.testing.assert_allclose(diffusion.sampled(denoise, noise, table, "image"), 1.0, atol=1e-6)
