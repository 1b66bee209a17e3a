"""What is said about texts and settings before KerasHub or a file is asked."""
import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tokenizers

from export.writing import flow
from models import stable_diffusion
from models.stable_diffusion import Words
from pipelines.errors import UserError
from pipelines.tools.sample import Wish
from pipelines.tools.text_to_image import about as known
from pipelines.tools.text_to_image import press, sample, serving
from pipelines.tools.text_to_image.about import About
from pipelines.tools.text_to_image.press import PartFigures, TextToImageSettings

WORDS = {"clip_l_tokens": Words(length=5, start=8, end=9, padding=9),
         "clip_g_tokens": Words(length=5, start=8, end=9, padding=0)}
ABOUT = About(preset="small", image=(32, 48, 3), latent=(4, 6, 16), known=1000, shift=3.0, words=WORDS)


def test_tokens_stand_between_start_and_end_and_are_cut_or_padded(tmp_path):
    cut = tokenizers.Tokenizer(tokenizers.models.WordLevel({"[UNK]": 0, "a": 1, "red": 2, "cat": 3}, "[UNK]"))
    cut.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    cut.save(str(tmp_path / known.TOKENIZER))
    tokens = ABOUT.tokens(["a cat", "a red cat a red", ""], tmp_path)
    assert tokens["clip_l_tokens"].tolist() == [[8, 1, 3, 9, 9], [8, 1, 2, 3, 9], [8, 9, 9, 9, 9]]
    assert tokens["clip_g_tokens"].tolist() == [[8, 1, 3, 9, 0], [8, 1, 2, 3, 9], [8, 9, 0, 0, 0]]


def test_a_mask_of_latents_is_the_nearest_pixels():
    mask = np.random.default_rng(0).integers(0, 2, (1, 32, 48, 1))
    expected = tf.image.resize(mask, ABOUT.latent[:2], "nearest")
    np.testing.assert_array_equal(ABOUT.coarse(mask), expected)


def test_a_graph_plans_the_same_steps_each_picture_its_own():
    counts = np.array([1, 2, 7], np.int32)
    table = serving._table(ABOUT, tf.constant(counts))
    for row, count in enumerate(counts):
        expected = flow.plan(ABOUT.known, ABOUT.shift, count)[:, :3]
        result = np.stack([table(number)[row] for number in range(count)])
        np.testing.assert_allclose(result, expected, rtol=1e-6)
        np.testing.assert_array_equal(table(int(count))[row], [0, 1, 0])


@pytest.mark.parametrize(("wish", "message"), [
    ({}, "it makes pictures of a text|give --text"), ({"text": " "}, "give --text, for instance"),
    ({"text": "a cat", "name": "cat"}, "--class: the model makes pictures of texts"),
    ({"text": "a cat", "steps": 0}, "--steps is 0; give 1 to 1,000"),
    ({"text": "a cat", "steps": 1001}, "--steps is 1001; give 1 to 1,000"),
    ({"text": "a cat", "guidance": -1.0}, "--guidance is -1; give 0 or more"),
    ({"text": "a cat", "guidance": float("nan")}, "--guidance is nan")])
def test_a_setting_that_cannot_be_is_refused(wish, message):
    with pytest.raises(UserError, match=message):
        sample.check(Wish(**wish), ABOUT)


@pytest.mark.parametrize(("settings", "others", "message"), [
    ({"variants": "int8"}, {}, "--variants int8: of text to image float32, float16, dynamic can be made, and not int8"),
    ({"targets": "litert,onnx"}, {}, "--targets litert,onnx: .* and not onnx"),
    ({}, {"--data": "digits", "--task": None}, "press: --data: small makes pictures of texts"),
    ({"out": Path()}, {}, "press: --out: . is there already"),
    ({"out": Path("no/where")}, {}, "press: --out: there is no folder no")])
def test_what_a_preset_cannot_be_pressed_to_is_refused(settings, others, message):
    with pytest.raises(UserError, match=message):
        list(press.press(TextToImageSettings("small", **settings), others))


def test_a_float_file_that_says_something_else_ends_it():
    press._check([PartFigures(part="decode", variant="float32", error=9e-5), PartFigures(
        part="decode", variant="float16", error=0.1), PartFigures(part="denoise", variant="float32", reason="large")])
    with pytest.raises(UserError, match=r"decode as float32 is off by 2\.0e-04"):
        press._check([PartFigures(part="decode", variant="float32", error=2e-4)])
    with pytest.raises(UserError, match="is off by nan"):
        press._check([PartFigures(part="decode", variant="float32", error=float("nan"))])


def test_parts_that_no_file_can_hold_are_named(tmp_path):
    (tmp_path / press.WEIGHTS).write_text("2028328000")
    figures = press._converted("denoise", "float16", tmp_path, tmp_path / "denoise.tflite")
    assert figures.error is None and str(figures).endswith(
        "not made: its weights are 3.8 GiB, and a TFLite file holds 2; the SavedModel has it")


def test_presets_are_known_by_their_folder_or_name(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"class_name": "StableDiffusion3Backbone"}))
    assert stable_diffusion.is_preset(tmp_path) and stable_diffusion.is_preset(Path("stable_diffusion_3.5_medium"))
    assert not stable_diffusion.is_preset(Path("model.keras")) and not stable_diffusion.is_preset(Path("a/b"))
    for content in (json.dumps({"class_name": "BertBackbone"}), "[]", "{"):
        (tmp_path / "config.json").write_text(content)
        assert not stable_diffusion.is_preset(tmp_path)


def test_what_was_pressed_is_found_from_its_files(tmp_path):
    (tmp_path / "litert/float32").mkdir(parents=True)
    assert known.folder_of(tmp_path) is None
    (tmp_path / known.ABOUT).write_text(ABOUT.model_dump_json())
    for path in (tmp_path, tmp_path / "litert/float32", tmp_path / "saved_model/1"):
        assert known.folder_of(path) == tmp_path
    assert known.read(tmp_path) == ABOUT
    assert sample._files(tmp_path, tmp_path) == tmp_path / "litert/float32"
    (tmp_path / known.ABOUT).write_text("{}")
    with pytest.raises(UserError, match="does not say what the model is; press the preset again"):
        known.read(tmp_path)


@pytest.mark.parametrize(("arguments", "message"), [
    ([], "press: model.keras: give --data DATA, what it is measured on"),
    (["--data", "digits", "--size", 64], "--size is of text-to-image presets; leave it out")])
def test_other_models_want_data_and_no_size(litepress, arguments, message):
    said = litepress("press", "model.keras", *arguments)
    assert said.code == 2 and message in said.err and said.err.count("\n") == 1
