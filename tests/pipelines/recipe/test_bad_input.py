"""Bad data, disks and models: one clear line and exit code 2. Mistakes in recipes are in test_recipe.py."""
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tests.conftest import TINY

RUN = ("run", "recipe.yaml", "--no-track")


@pytest.fixture(autouse=True)
def working_folder(tmp_path, monkeypatch) -> Path:
    """A working folder of one's own with the small recipe in it; the test runs there."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recipe.yaml").write_text(TINY)
    return tmp_path


def refused(said, *words: str) -> None:
    """One line on standard error that has all the words, no traceback, and exit code 2."""
    assert said.code == 2, said.out + said.err
    lines = said.err.strip().splitlines()
    assert len(lines) == 1, said.err
    assert "Traceback" not in said.out + said.err
    for word in words:
        assert word in lines[0]


def write_photos(root: Path, classes=("a", "b"), count=6, size=(8, 8)) -> None:
    generator = np.random.default_rng(0)
    for name in classes:
        (root / name).mkdir(parents=True)
        for number in range(count):
            (root / name / f"{number}.png").write_bytes(
                tf.io.encode_png(generator.integers(0, 256, (*size, 3)).astype("uint8")).numpy())


def photos_recipe(**settings) -> tuple[str, ...]:
    return "--set", "data.source={image_folder: photos}", *(
        part for name, value in settings.items() for part in ("--set", f"{name.replace('__', '.')}={value}"))


# recipes, by way of the command line

def test_a_recipe_that_is_not_there(litepress):
    refused(litepress("run", "recipes/none.yaml"), "recipes/none.yaml", "no such recipe", "litepress list recipes")


def test_an_unknown_setting(litepress):
    refused(litepress(*RUN, "--set", "train.optimiser=adam"), "recipe.yaml", "train.optimizer")


def test_the_same_checks_for_show_and_check(litepress):
    for command in ("show", "check"):
        refused(litepress(command, "recipe.yaml", "--set", "data.batch=0"), "data.batch is 0; it must be at least 1")


def test_an_unknown_stage(litepress):
    said = litepress(*RUN, "--from", "trian")
    assert said.code == 2 and "'trian' is not one of 'ingest', 'train'" in " ".join(said.err.split())


def test_results_into_a_folder_that_is_not_there(litepress):
    refused(litepress(*RUN, "--json", "none/r.json"), "--json none/r.json", "there is no folder none")


# data

def test_a_folder_of_pictures_that_is_not_there(litepress):
    refused(litepress(*RUN, *photos_recipe()), "photos is not there", "one folder of images per class")


def test_pictures_without_class_folders(litepress, working_folder):
    write_photos(working_folder / "photos", classes=(".",))
    refused(litepress(*RUN, *photos_recipe()), "one folder per class", "Images lie in it directly")


def test_one_class_only(litepress, working_folder):
    write_photos(working_folder / "photos", classes=("cat",))
    refused(litepress(*RUN, *photos_recipe()), "at least two", "Found: cat")


def test_a_class_without_pictures(litepress, working_folder):
    write_photos(working_folder / "photos")
    (working_folder / "photos" / "empty").mkdir()
    refused(litepress(*RUN, *photos_recipe()), "class empty has no images")


def test_a_test_folder_with_another_class(litepress, working_folder):
    write_photos(working_folder / "photos" / "train")
    write_photos(working_folder / "photos" / "test", classes=("a", "c"))
    refused(litepress(*RUN, *photos_recipe()), "classes that the training part lacks: c")


def test_too_many_unreadable_pictures(litepress, working_folder):
    write_photos(working_folder / "photos")
    for number in range(3):
        (working_folder / "photos" / "a" / f"{number}.png").write_bytes(b"\x89PNG no more")
    said = litepress(*RUN, *photos_recipe())
    refused(said, "3 of 12 examples could not be read (limit 1.00%)", "photos/a/0.png", "unreadable.txt")
    report = Path(said.err.split("See ")[1].strip())
    assert len(report.read_text().splitlines()) == 3


def test_no_readable_picture_at_all(litepress, working_folder):
    write_photos(working_folder / "photos")
    for path in (working_folder / "photos").rglob("*.png"):
        path.write_text("no picture")
    refused(litepress(*RUN, *photos_recipe()), "train split is empty")


def test_a_class_too_small_to_split(litepress, working_folder):
    write_photos(working_folder / "photos", count=1)
    refused(litepress(*RUN, *photos_recipe()), "test split is empty", "2 training examples were found", "data.test")


def test_a_batch_larger_than_the_data(litepress, working_folder):
    write_photos(working_folder / "photos")
    refused(litepress(*RUN, *photos_recipe(data__batch=5000)), "data.batch is 5000", "training examples",
            "smaller batch")


@pytest.mark.parametrize("source", ["digits", "mnist_5k"])
def test_a_batch_larger_than_the_data_is_refused_by_a_check(litepress, source):
    refused(litepress("check", "recipe.yaml", "--set", f"data.source={source}", "--set", "data.batch=5000"),
            "data.batch is 5000")


def test_an_unknown_tfds_set(litepress):
    refused(litepress(*RUN, "--set", "data.source=tfds:no_such_set"), "no set called 'no_such_set'")


def test_tfrecord_shards_that_are_not_there(litepress):
    refused(litepress(*RUN, "--set", "data.source={tfrecord: {train: 'x-*.tfrecord', classes: 3}}"),
            "no file matches x-*.tfrecord")


def test_tfrecord_classes_that_are_too_few(litepress):
    refused(litepress(*RUN, "--set", "data.source={tfrecord: {train: x, classes: 1}}"), "give the names of at least "
                                                                                        "two classes")


def write_records(path: Path, records: list[bytes]) -> None:
    with tf.io.TFRecordWriter(str(path)) as writer:
        for record in records:
            writer.write(record)


def example(**features) -> bytes:
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()


def number(value: int) -> tf.train.Feature:
    return tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))


def content(value: bytes) -> tf.train.Feature:
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))


TFRECORD = ("--set", "data.source={tfrecord: {train: x.tfrecord, classes: 3}}")


def test_tfrecord_without_the_features_of_the_recipe(litepress, working_folder):
    write_records(working_folder / "x.tfrecord", [example(picture=content(b""), label=number(1))])
    refused(litepress(*RUN, *TFRECORD), "x.tfrecord", "image/", "data.source.tfrecord.features")


def test_tfrecord_that_is_damaged(litepress, working_folder):
    write_records(working_folder / "x.tfrecord", [example(label=number(1))] * 3)
    data = bytearray((working_folder / "x.tfrecord").read_bytes())
    data[20] ^= 255
    (working_folder / "x.tfrecord").write_bytes(data)
    refused(litepress(*RUN, *TFRECORD), "damaged", "x.tfrecord")


def test_tfrecord_label_outside_the_classes(litepress, working_folder):
    png = tf.io.encode_png(np.zeros((4, 4, 3), "uint8")).numpy()
    write_records(working_folder / "x.tfrecord",
                  [example(**{"image/encoded": content(png), "image/class/label": number(7)})])
    refused(litepress(*RUN, *TFRECORD), "x.tfrecord#0 has the label 7, but there are 3 classes")


# disk

def test_a_runs_folder_that_cannot_be_written(litepress, working_folder):
    (working_folder / "file").write_text("")
    refused(litepress(*RUN, "--runs", "file/runs"), "file/runs", "cannot be written", "--runs")


def test_a_data_folder_that_cannot_be_written(litepress, working_folder):
    (working_folder / "file").write_text("")
    refused(litepress(*RUN, "--set", "data.source={digits: {data_dir: file/data}}"), "cannot be written",
            "TFDS_DATA_DIR")


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("mount"), reason="a small disk can only be made by root")
def test_a_full_disk_loses_nothing(litepress, working_folder):
    train = (*RUN, "--runs", "small/runs", "--until", "train", "--set", "train.epochs=1")
    (working_folder / "small").mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=400k", "none", "small"], capture_output=True).returncode:
        pytest.skip("this machine lets nobody mount")
    try:
        refused(litepress(*train), "the disk is full", "run again")
        subprocess.run(["mount", "-o", "remount,size=100m", "small"], check=True)
        said = litepress(*train)
        assert said.code == 0, said.err
        assert "cached" in said.out, "what was made before the disk was full is still there"
    finally:
        subprocess.run(["umount", "-l", "small"], check=True)


# models

def test_a_model_that_does_not_fit_the_pictures(litepress):
    refused(litepress(*RUN, "--set", "model={builder: mobilenet_v2}"), "at least 32 x 32 pixels, got 8 x 8",
            "data.image.size")


@pytest.mark.parametrize("command", [RUN, ("check", "recipe.yaml")])
def test_class_weights_that_are_not_as_many_as_the_classes(litepress, command):
    refused(litepress(*command, "--set", "train.loss={cross_entropy: {class_weights: [1, 2]}}"),
            "2 weights for 10 classes")


def test_a_loss_that_is_no_longer_a_number(litepress):
    refused(litepress(*RUN, "--set", "train.schedule={constant: 1e30}", "--set", "train.optimizer=sgd"),
            "the loss is nan", "lower")


def test_predict_with_a_model_that_is_not_there(litepress):
    refused(litepress("predict", "none.tflite", "x.png"), "none.tflite: there is no such file or folder")


def test_predict_with_a_corrupt_model(litepress, working_folder):
    (working_folder / "x.tflite").write_bytes(b"no flatbuffer at all")
    refused(litepress("predict", "x.tflite", "x.png"), "x.tflite is not a TFLite model")


def test_predict_with_something_that_is_no_model(litepress, working_folder):
    (working_folder / "x.txt").write_text("")
    refused(litepress("predict", "x.txt", "x.png"), "give a .tflite, .keras or .onnx file")


def test_predict_with_a_corrupt_keras_file(litepress, working_folder):
    (working_folder / "x.keras").write_bytes(b"no zip")
    refused(litepress("predict", "x.keras", "x.png"), "x.keras cannot be read as a Keras model")


def test_predict_a_picture_that_is_none(litepress, tiny_run, working_folder):
    (working_folder / "x.png").write_text("no picture")
    model = tiny_run / "runs" / "tiny" / "latest" / "export" / "litert" / "int8.tflite"
    refused(litepress("predict", model, "x.png"), "x.png: not a JPEG, PNG, BMP, GIF, WebP, TIFF, AVIF or PPM")
    refused(litepress("predict", model, "y.png"), "y.png: there is no such image")


@pytest.mark.parametrize("command", ["report", "track"])
def test_a_run_that_is_none(litepress, command):
    refused(litepress(command, "."), "is not a run", "runs/digits/latest")


def test_a_damaged_record_of_a_run(litepress, working_folder):
    (working_folder / "run.json").write_text("{")
    refused(litepress("report", "."), "run.json cannot be read")


def test_gc_of_a_folder_that_is_not_there(litepress):
    refused(litepress("gc", "--runs", "none"), "none: there is no such folder of runs")
