"""Stable Diffusion out of a preset that is small: files and pictures beside KerasHub's own."""
import json

import numpy as np
import PIL.Image
import pytest

from export.predictors import open_predictor
from export.writing import noise
from models import stable_diffusion
from pipelines.tools.text_to_image import about
from tests.conftest import run_here

pytestmark = pytest.mark.slow  # importing KerasHub takes half a minute

LETTERS = "abcdefghijklmnopqrstuvwxyz"
MERGES = ["c a", "ca t</w>", "d o", "do g</w>", "t h", "r e", "th re", "thre e</w>"]
TEXT, NEGATIVE, STEPS, GUIDANCE, SEED, COUNT = "Three cat's", "a dog", 5, 2.0, 3, 2
SETTINGS = ["--text", TEXT, "--negative", NEGATIVE, "--steps", STEPS, "--guidance", GUIDANCE, "--seed", SEED]


@pytest.fixture(scope="module")
def hub():
    return pytest.importorskip("keras_hub", reason="wants the extra hub").models


@pytest.fixture(scope="module")
def preset(hub, tmp_path_factory):
    """A folder with a preset of random weights, whose text encoders are float16 as in published ones."""
    from keras_hub.src.models.vae.vae_backbone import VAEBackbone  # which KerasHub gives no other name

    names = ["!", "'", *LETTERS, "'</w>", *(f"{letter}</w>" for letter in LETTERS),
             *(merge.replace(" ", "") for merge in MERGES), "<|startoftext|>", "<|endoftext|>"]
    vocabulary = {name: number for number, name in enumerate(names)}
    vae = VAEBackbone([32] * 4, [1] * 4, [32] * 4, [1] * 4, sample_channels=8, name="vae")
    encoders = [hub.CLIPTextEncoder(len(names), 16, 16, 2, 2, 24, activation, -2, 8, name=name)
                for name, activation in (("clip_l", "quick_gelu"), ("clip_g", "gelu"))]
    backbone = hub.StableDiffusion3Backbone(2, 16, 2, 2, 8, None, None, vae, *encoders, latent_channels=4,
                                            image_shape=(32, 32, 3))
    generator = np.random.default_rng(0)
    for weight in backbone.weights:
        weight.assign(np.asarray(weight) + 0.1 * generator.normal(size=weight.shape))
    tokenizer = hub.CLIPTokenizer(vocabulary, MERGES)
    preprocessors = [hub.CLIPPreprocessor(tokenizer, sequence_length=8) for _ in range(2)]
    task = hub.StableDiffusion3TextToImage(backbone, hub.StableDiffusion3TextToImagePreprocessor(*preprocessors))
    folder = tmp_path_factory.mktemp("preset") / "small"
    task.save_to_preset(folder)
    for file, place in (("config.json", ["config"]), ("task.json", ["config", "backbone", "config"])):
        content = json.loads((folder / file).read_text())
        config = content
        for key in place:
            config = config[key]
        for name in stable_diffusion.ENCODERS:
            del config[name]["config"]["dtype"]
        (folder / file).write_text(json.dumps(content))
    return folder


@pytest.fixture(scope="module")
def pressed(preset):
    """What was pressed of it, beside an image and a mask."""
    folder = preset.parent
    said = run_here("press", preset, "--out", "pressed", "--json", "figures.json", cwd=folder)
    assert said.code == 0, said.out + said.err
    generator = np.random.default_rng(1)
    PIL.Image.fromarray(generator.integers(0, 256, (32, 32, 3), np.uint8)).save(folder / "image.png")
    mask = np.zeros((32, 32), np.uint8)
    mask[8:, :20] = 255
    PIL.Image.fromarray(mask).save(folder / "mask.png")
    return folder


@pytest.fixture(scope="module")
def model(preset):
    return stable_diffusion.load(str(preset))


def pictures(folder):
    return np.stack([np.asarray(PIL.Image.open(folder / f"{number:04}.png")) for number in range(COUNT)]).astype(int)


def sampled(folder, out, *options, artifact="pressed"):
    said = run_here("sample", artifact, *SETTINGS, "--count", COUNT, *options, "--out", out, cwd=folder)
    assert said.code == 0, said.err
    return pictures(folder / out)


def test_the_parts_compute_in_float32_as_kerashub_does(hub, model):
    assert {weight.dtype for part in model.parts.values() for weight in part.weights} == {"float32"}
    tokens, negative = (model.preprocessor.generate_preprocess([text]) for text in (TEXT, NEGATIVE))
    context, other, pooled, _ = model.backbone.encode_text_step(tokens, negative)
    result = model.parts["encode_text"]({f"{name}_tokens": values for name, values in tokens.items()})
    np.testing.assert_allclose(result["context"], context, atol=1e-5)
    np.testing.assert_allclose(result["pooled"], pooled, atol=1e-5)
    assert np.abs(np.asarray(context) - other).max() > 0.01
    latents = noise.normal((1, 0), (2, 4, 4, 4))
    pixels = 127.5 * (np.asarray(model.backbone.decode_step(latents)) + 1)
    np.testing.assert_allclose(model.parts["decode"](latents)["generated"], pixels, atol=1e-3)
    image = np.random.default_rng(0).integers(0, 256, (1, 32, 32, 3)).astype("float32")
    mean = np.split(np.asarray(model.backbone.vae.encoder(image / 127.5 - 1)), 2, axis=-1)[0]
    expected = (mean - model.backbone.vae.shift) * model.backbone.vae.scale
    np.testing.assert_allclose(model.parts["encode"](image)["latents"], expected, atol=1e-5)


def test_files_say_what_kerashub_says(pressed, model):
    written = json.loads((pressed / "figures.json").read_text())
    figures = {(one["part"], one["variant"]): one["error"] for one in written}
    assert set(figures) == {(part, variant) for part in stable_diffusion.PARTS for variant in (
        "float32", "float16", "dynamic")}
    assert all(error <= (1e-4 if variant == "float32" else 0.05) for (_, variant), error in figures.items()
               if variant != "dynamic")
    generator = np.random.default_rng(2)
    for name, part in model.parts.items():
        inputs = {one.name: generator.normal(size=(2, *one.shape[1:])).astype("float32") for one in part.inputs}
        if name == "encode_text":
            inputs = {one: generator.integers(0, 50, (2, 8)).astype("int32") for one in inputs}
        expected = part(inputs)
        result = open_predictor(pressed / f"pressed/litert/float32/{name}.tflite").predict(inputs, name)
        assert set(result) == set(expected)
        for output, values in expected.items():
            np.testing.assert_allclose(result[output], values, atol=1e-4 * float(np.abs(values).max()))


@pytest.mark.parametrize("text", [TEXT, "", "a  DOG\ncat's", "dog cat three dog cat three dog", "!?"])
def test_texts_are_cut_as_kerashub_cuts_them(pressed, model, text):
    expected = model.preprocessor.generate_preprocess([text])
    tokens = about.read(pressed / "pressed").tokens([text], pressed / "pressed")
    for name, values in expected.items():
        np.testing.assert_array_equal(tokens[f"{name}_tokens"], values)


def asked(model):
    """Return what KerasHub's own loops take: noise, and the tokens of both texts for each picture."""
    model.backbone.configure_scheduler(STEPS)
    tokens = tuple(model.preprocessor.generate_preprocess([text] * COUNT) for text in (TEXT, NEGATIVE))
    return noise.normal((SEED, 0), (COUNT, 4, 4, 4)), tokens


def rounded(images):
    return np.clip(np.round(127.5 * (np.asarray(images) + 1)), 0, 255).astype(int)


def test_pictures_of_a_text_are_kerashubs(hub, pressed, model):
    drawn, tokens = asked(model)
    task = hub.StableDiffusion3TextToImage(model.backbone, model.preprocessor)
    expected = rounded(task.generate_step(drawn, tokens, STEPS, GUIDANCE))
    assert np.abs(sampled(pressed, "text") - expected).max() <= 1
    note = json.loads(PIL.Image.open(pressed / "text/0001.png").text["litepress"])
    assert note == {"model": "small, float32", "seed": SEED, "text": TEXT, "negative": NEGATIVE, "steps": STEPS,
                    "guidance": GUIDANCE, "number": 1}
    assert np.abs(sampled(pressed, "other", "--steps", 4) - expected).max() > 1


@pytest.mark.parametrize("masked", [False, True])
def test_pictures_of_a_picture_are_kerashubs(hub, pressed, model, masked):
    drawn, tokens = asked(model)
    image, mask = (np.asarray(PIL.Image.open(pressed / f"{name}.png")) for name in ("image", "mask"))
    images = np.repeat(image[None] / np.float32(127.5) - 1, COUNT, axis=0)
    model.backbone.vae.distribution_sampler.method = "mode"
    begin = STEPS - round(STEPS * 0.6)
    if masked:
        task = hub.StableDiffusion3Inpaint(model.backbone, model.preprocessor)
        masks = np.repeat(mask[None] / np.float32(255), COUNT, axis=0)
        made = task.generate_step(images, masks, drawn, tokens, np.int32(begin), np.int32(STEPS), GUIDANCE)
    else:
        task = hub.StableDiffusion3ImageToImage(model.backbone, model.preprocessor)
        made = task.generate_step(images, drawn, tokens, np.int32(begin), np.int32(STEPS), GUIDANCE)
    options = ["--image", "image.png", "--strength", 0.6, *(["--mask", "mask.png"] if masked else [])]
    result = sampled(pressed, f"revised-{masked}", *options)
    white = mask > 0 if masked else np.ones_like(mask, bool)
    assert np.abs(result - rounded(made))[:, white].max() <= 1
    assert (result[:, ~white] == image[~white]).all()


def test_a_server_makes_the_same_pictures(pressed):
    pytest.importorskip("tensorflow_text", reason="wants the extra hub")
    served = open_predictor(pressed / "pressed/saved_model/1")
    assert {*stable_diffusion.PARTS, "sample", "revise"} <= set(served.signatures)
    image, mask = (np.asarray(PIL.Image.open(pressed / f"{name}.png")) for name in ("image", "mask"))
    inputs = {"seed": np.array([SEED, 0]), "count": np.array([COUNT, 1]), "text": np.array([TEXT, "dog"], object),
              "negative": np.array([NEGATIVE, ""], object), "steps": np.array([STEPS, 0]),
              "guidance": np.array([GUIDANCE, -1])}
    answer = served.predict(inputs, "sample")["images"].astype(int)
    assert np.abs(answer[0] - sampled(pressed, "text-again")).max() <= 1
    options = ["--image", "image.png", "--mask", "mask.png", "--strength", 0.6]
    expected = sampled(pressed, "revised-again", *options)
    inputs |= {"original": np.stack([image] * 2), "mask": np.stack([mask[..., None], np.full((32, 32, 1), 255)]),
               "strength": np.array([0.6, 0.0])}
    revised = served.predict(inputs, "revise")["images"].astype(int)
    assert np.abs(revised[0] - expected).max() <= 1
    parts = sampled(pressed, "by-parts", *options, artifact="pressed/saved_model/1")
    assert np.abs(parts - expected).max() <= 1


@pytest.mark.parametrize(("arguments", "message"), [
    (["press", "small", "--out", "other", "--size", 20], "are multiples of 16 pixels, 128 at most, and not 20"),
    (["press", "small", "--out", "other", "--size", 256], "128 at most, and not 256"),
    (["press", "small", "--out", "pressed"], "pressed is there already"),
    (["sample", "pressed"], "give --text"),
    (["sample", "pressed", "--text", "a cat", "--mask", "mask.png"], "add --image FILE"),
    (["sample", "pressed/litert/float64", "--text", "a cat"], "float64")])
def test_what_cannot_be_is_said_in_a_line(pressed, arguments, message):
    said = run_here(*arguments, cwd=pressed)
    assert said.code == 2 and message in said.err and said.err.count("\n") == 1, said.err
    assert not (pressed / "other").exists()
