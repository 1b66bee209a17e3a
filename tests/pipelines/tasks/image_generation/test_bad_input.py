"""What a user may get wrong of generative models: a line that says what, where and what to do, and exit code 2."""
import PIL.Image
import pytest

import models
from tests.conftest import run_here

RECIPE = """\
name: small
task: {task}
data: {data}
model: {{builder: {model}}}
train: {{epochs: 1, optimizer: adam, schedule: {{constant: 0.001}}{train}}}
compress: {{variants: [float32]}}
"""
DIGITS = "{source: digits, image: {size: 8, channels: 1}, noise: {size: 4}}"
STEPS = "{source: digits, image: {size: 8, channels: 1}, noise: {size: image}, step: {steps: 10}}"
FOLDERS = "{source: {two_image_folders: {path: images, paired: false}}, image: {size: 8, channels: 1}}"


@pytest.mark.parametrize(("builder", "settings", "noise", "message"), [
    ("dcgan", {"depth": 4}, (4,), "dcgan needs images of at least 16 x 16 pixels, got 8 x 8"),
    ("stylegan2", {"depth": 4}, (4,), "stylegan2 needs images of at least 16 x 16 pixels, got 8 x 8"),
    ("ddpm", {"multipliers": (1, 1, 1, 1, 1), "width": 8, "groups": 8}, (8, 8, 1), "ddpm halves images 4 times, and 8"),
    ("ddpm", {}, (4,), r"ddpm makes pictures of noise of their own size, .*set data\.noise\.size to image"),
    ("vae", {}, (8, 8, 1), r"vae makes pictures of a row of numbers, .*set data\.noise to how many"),
    ("vqvae", {}, (5,), r"vqvae draws a code for every 4 x 4 pixels, .*set data\.noise\.size to 4")])
def test_pictures_and_noise_that_a_network_cannot_take_are_named(builder, settings, noise, message):
    with pytest.raises(ValueError, match=message) as error:
        models.build(builder, input_shape=(8, 8, 1), noise_shape=noise, classes=0, **settings)
    assert "\n" not in str(error.value)


def test_pictures_smaller_than_an_autoencoder_are_named():
    with pytest.raises(ValueError, match="vae needs images of at least 4 x 4 pixels, got 2 x 2"):
        models.build("vae", input_shape=(2, 2, 1), noise_shape=(4,), classes=0)


def written(folder, task, data, model, train=""):
    (folder / "recipe.yaml").write_text(RECIPE.format(task=task, data=data, model=model, train=train))
    return folder


@pytest.mark.parametrize(("task", "data", "model", "train", "message"), [
    ("{image_generation: {diffusion: {sampled: 0}}}", STEPS, "ddpm", "", "sampled is 0; it must be at least"),
    ("{image_generation: {diffusion: {guidance: 2}}}", STEPS, "ddpm", "", "guidance is towards a class or"),
    ("{image_generation: {diffusion: {guidance: -1}}}", STEPS, "ddpm", "", "guidance is -1"),
    ("{image_generation: {diffusion: {}}}", STEPS.replace("10", "0"), "ddpm", "", "data.step.steps is 0"),
    ("{image_generation: {by: word}}", DIGITS, "vae", "", 'by is "word"; allowed'),
    ("{image_generation: {by: class}}", DIGITS.replace("4}}", "0}}"), "vae", "",
     "data.noise.size is 0; give how many numbers"),
    ("image_generation", DIGITS, "vae", ", callbacks: [{samples: 0}]",
     "train.callbacks.0.count is 0; it must be at least 1"),
    ("{image_translation: cycle}", FOLDERS, "cyclegan", "", "cycle")])
def test_settings_out_of_range_are_refused_where_they_stand(task, data, model, train, message, tmp_path):
    said = run_here("show", "recipe.yaml", cwd=written(tmp_path, task, data, model, train))
    assert said.code == 2 and said.err.startswith("recipe.yaml:") and message in said.err, said.err
    assert said.err.count("\n") == 1


@pytest.mark.slow
@pytest.mark.parametrize(("task", "data", "model", "message"), [
    ("{image_generation: {judge: a.keras}}", DIGITS, "dcgan, depth: 2", "judge: there is no file a.keras"),
    ("{image_generation: {judge: {of: inception, file: a.h5}}}", DIGITS, "vae", "judge: there is no file a.h5"),
    ("{image_translation: cycles}", FOLDERS, "cyclegan", "B has 1 files and none of them is an image"),
    ("image_translation", FOLDERS, "cyclegan", "images of two_image_folders that are not paired have nothing"),
    ("image_translation", "{source: {filtered: digits}, image: {size: 8, channels: 1}}", "pix2pix",
     "structural similarity is measured in windows of 11 x 11 pixels: give 11 or more"),
    ("image_translation", "{source: {filtered: digits}, image: {size: 12, channels: 1}}",
     "pix2pix, depth: 4", "pix2pix needs images of at least 16 x 16 pixels, got 12 x 12"),
    ("image_translation", "{source: {from_masks: digits}, image: {size: 16, channels: 1}}", "pix2pix",
     "digits has no masks")])
def test_a_run_ends_in_a_line(task, data, model, message, tmp_path):
    for name in "AB":
        (tmp_path / "images" / name).mkdir(parents=True)
    PIL.Image.new("L", (8, 8)).save(tmp_path / "images/A/1.png")
    (tmp_path / "images/B/1.txt").write_text("words")
    if "not paired" in message:
        PIL.Image.new("L", (8, 8)).save(tmp_path / "images/B/2.png")
    said = run_here("run", "recipe.yaml", cwd=written(tmp_path, task, data, model))
    assert said.code == 2 and message in said.err, said.out + said.err
    assert said.err.count("\n") == 1, said.err
