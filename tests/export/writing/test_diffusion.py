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


def revised(images, strength, mask=None, *, count=100, sampler="dpm_solver"):
    """Return pictures of images by the best denoiser of normal pixels, and the noise that went in."""
    left = diffusion.signal(1000, "cosine")
    noise = GENERATOR.normal(size=images.shape).astype("float32")
    steps = diffusion.plan(left, count, sampler)
    original = diffusion.Original(images, strength, mask)
    return diffusion.sampled(best(left, 0.1, 0.2, "velocity"), noise, steps, "velocity", original=original), noise


@pytest.mark.parametrize("sampler", ["ddim", "dpm_solver"])
def test_a_picture_of_another_begins_with_it_as_noisy_as_its_strength_says(sampler):
    images = GENERATOR.uniform(-1, 1, size=(50, 2, 2, 1)).astype("float32")
    pictures, noise = revised(images, 0.4, count=400, sampler=sampler)
    left = diffusion.signal(1000, "cosine")[400]
    begin = math.sqrt(left) * images + math.sqrt(1 - left) * noise
    # of normal pixels the whole way is known: they keep their place among their like
    expected = 0.1 + 0.2 * (begin - 0.1 * math.sqrt(left)) / math.sqrt(0.2**2 * left + 1 - left)
    np.testing.assert_allclose(pictures, expected, atol=0.01 if sampler == "ddim" else 1e-3)


def test_strength_runs_from_the_image_as_it_is_to_noise_alone():
    images = GENERATOR.uniform(-1, 1, size=(20, 2, 2, 1)).astype("float32")
    unchanged, _ = revised(images, 0.0)
    np.testing.assert_array_equal(unchanged, images)
    anew, noise = revised(images, 1.0)
    np.testing.assert_allclose(anew, pictures_of(noise, diffusion.signal(1000, "cosine"), 0.1, 0.2, count=100,
                                                 sampler="dpm_solver"), atol=1e-3)
    near, far = (np.abs(revised(images, strength)[0] - images).mean() for strength in (0.2, 0.8))
    assert near < 0.6 * far


@pytest.mark.parametrize("strength", [0.5, 1.0])
def test_what_a_mask_keeps_is_the_image_bit_for_bit(strength):
    images = GENERATOR.uniform(-1, 1, size=(10, 4, 4, 3)).astype("float32")
    mask = np.zeros((10, 4, 4, 1), "float32")
    mask[:, :2] = 1
    pictures, _ = revised(images, strength, mask, count=10)
    np.testing.assert_array_equal(pictures[:, 2:], images[:, 2:])
    assert (np.abs(pictures[:, :2] - images[:, :2]) > 1e-3).all(axis=(1, 2, 3)).any()


def test_each_step_sees_what_is_kept_as_noisy_as_the_rest():
    left = diffusion.signal(1000, "cosine")
    images, noise = np.full((1, 1, 2, 1), 0.5, "float32"), np.array([[[[1.0], [-1.0]]]], "float32")
    seen = []

    def denoise(x, step):
        seen.append((step, float(x[0, 0, 1, 0])))
        return np.zeros_like(x)

    mask = np.array([[[[1.0], [0.0]]]], "float32")
    original = diffusion.Original(images, 0.75, mask)
    diffusion.sampled(denoise, noise, diffusion.plan(left, 4, "ddim"), "image", original=original)
    assert [step for step, _ in seen] == [750, 500, 250]
    expected = [math.sqrt(left[step]) * 0.5 - math.sqrt(1 - left[step]) for step, _ in seen]
    np.testing.assert_allclose([value for _, value in seen], expected, rtol=1e-6)


def test_the_solver_knows_no_step_before_the_first_that_is_taken():
    plan = diffusion.plan(diffusion.signal(1000, "linear"), 10, "dpm_solver")
    later, ddim = diffusion.later(plan, 0.5), diffusion.plan(diffusion.signal(1000, "linear"), 10, "ddim")
    np.testing.assert_allclose(later[0], ddim[5], rtol=1e-12)
    np.testing.assert_array_equal(later[1:], plan[6:])


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
