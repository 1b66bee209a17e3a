"""Image files as people have them are read the same in every way, or refused with the same reason."""
import io
import resource

import keras
import numpy as np
import PIL.Image
import PIL.ImageOps
import pytest
import tensorflow as tf

from export.keras_models import graph
from export.signature import Signature, Tensor
from pipelines.engine import workers
from pipelines.errors import UserError
from pipelines.features import Learnt, image_file
from pipelines.features.image import Image, size_of
from pipelines.tasks.image_classification import ImageClassification
from pipelines.tools import drift, predict
from pipelines.tools.data_option import images_of
from serving.client import GrpcClient, RestClient, ServingError
from serving.embedded import serving
from tests.pipelines.features import odd_files
from tests.pipelines.features.odd_files import BY_PILLOW, HEIGHT, PLAIN, READABLE, UNREADABLE, WIDTH
from tests.pipelines.ingest.conftest import data_of

SIZE = (HEIGHT, WIDTH)
COLORED = Tensor(name="image", dtype="uint8", shape=(*SIZE, 3), role="image")
#: JPEG, AVIF and GIF lose a little.
LOST = 12


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder of two classes, the readable files in both, the unreadable ones in the second."""
    root = tmp_path_factory.mktemp("odd")
    contents = {name: content for name, (content, _) in READABLE.items()}
    odd_files.write(root / "a", contents)
    odd_files.write(root / "b", contents | {name: content for name, (content, _) in UNREADABLE.items()})
    return root


@pytest.fixture(scope="module")
def data(folder):
    return data_of({"image_folder": str(folder)}, image={"size": list(SIZE)}, max_unreadable=1.0)


def in_training(data):
    """Return what training sees of each file, by path."""
    images = {}
    for part, split in data.index.splits.items():
        files = data.section.source.files(split.part)
        inputs, _ = data.arrays(part, split.examples)
        images |= dict(zip([files[position][0] for position in split.positions], inputs["image"], strict=True))
    return images


@pytest.mark.parametrize("name", READABLE)
def test_a_file_shows_what_it_was_made_of(name, folder):
    image = Image(size=SIZE).from_file(folder / "a" / name, COLORED)
    expected = READABLE[name][1]
    expected = expected if expected.ndim == 3 else np.repeat(expected[..., None], 3, axis=-1)
    assert np.abs(image.astype(int) - expected).max() <= LOST


def test_training_predict_press_and_drift_read_the_same(data, folder):
    images = in_training(data)
    assert len(images) == 2 * len(READABLE)
    paths = image_file.images(folder / "a")
    asked = predict.Asked(folder, data.task, data.index, {"image": data.features["image"]})
    predicted = predict.read_inputs(asked, Signature(inputs=(COLORED,), outputs=()), paths)["image"]
    pressed = images_of(str(folder / "a"), COLORED.shape)
    logged = drift._decoded(data, [{"image": path.read_bytes()} for path in paths])["image"]
    for path, *ways in zip(paths, predicted, pressed, logged, strict=True):
        for image in ways:
            np.testing.assert_array_equal(image, images[str(path)], path.name)


def test_grey_models_read_the_same_too(folder):
    grey = Image(size=(20, 24), channels=1, fit="pad")
    tensor = grey.tensor("image", Learnt())
    in_pipeline = tf.function(lambda content: grey.load(content, Learnt()), autograph=False,
                              input_signature=[tf.TensorSpec([], tf.string)])
    for name, (content, _) in READABLE.items():
        np.testing.assert_array_equal(grey.from_file(folder / "a" / name, tensor), in_pipeline(content), name)


def test_a_machine_of_one_core_reads_them_too():
    assert workers.call(read_on_one_thread, what="reading") == len(READABLE)


def read_on_one_thread():
    tf.config.threading.set_inter_op_parallelism_threads(1)
    colored = Image(size=SIZE)
    read = tf.function(lambda content: colored.load(content, Learnt()), autograph=False,
                       input_signature=[tf.TensorSpec([], tf.string)])
    return sum(read(content).shape == (*SIZE, 3) for content, _ in READABLE.values())


def test_what_cannot_be_read_is_named_with_one_reason_in_ingest_and_in_predict(data, folder):
    reasons = {name: reason for name, (_, reason) in UNREADABLE.items()}
    assert {one.name.rpartition("/")[2]: one.reason for one in data.index.unreadable} == reasons
    for name, reason in reasons.items():
        with pytest.raises(UserError) as refused:
            Image(size=SIZE).from_file(folder / "b" / name, COLORED)
        assert str(refused.value) == f"{folder / 'b' / name}: {reason}"


def test_a_server_reads_the_same_over_both_protocols_and_refuses_the_rest(data, folder, tmp_path):
    model = keras.Sequential([keras.Input((*SIZE, 3)), keras.layers.Flatten()])
    functions = ImageClassification().functions(model, data, "server")
    graph.write(model, tmp_path / "pixels" / "1", functions, batch=None)
    images = in_training(data)
    refused = {name: content for name, (content, _) in (BY_PILLOW | UNREADABLE).items()}
    with serving(tmp_path / "pixels", "pixels") as running, \
            RestClient(running.rest, "pixels", signature="serving_bytes") as rest, \
            GrpcClient(running.grpc, "pixels", signature="serving_bytes") as grpc:
        for client in (rest, grpc):
            sent = np.array([content for content, _ in PLAIN.values()], object)
            answers = client.predict({"image_bytes": sent})["logits"].reshape(-1, *SIZE, 3)
            for name, answer in zip(PLAIN, answers, strict=True):
                np.testing.assert_array_equal(answer, images[str(folder / "a" / name)], name)
        for name, content in refused.items():
            with pytest.raises(ServingError, match=r"JPEG|PNG|pixels|Truncated"):
                rest.predict({"image_bytes": np.array([content], object)})
                pytest.fail(name)


@pytest.mark.parametrize("first", ["", "JFIF", "comment"])
@pytest.mark.parametrize("order", ["<", ">"])
def test_exif_is_found_in_either_byte_order_and_behind_other_segments(first, order):
    exif = PIL.Image.Exif()
    exif.endian = order
    exif[0x010F], exif[0x0112] = "maker", 6
    content = odd_files.saved(odd_files.PICTURE, "JPEG", exif=exif, **({"comment": b"c" * 300} if first == "comment"
                                                                        else {}))
    if first == "":
        content = content[:2] + content[content.index(b"\xff\xe1"):]
    assert size_of(content) == (WIDTH, HEIGHT), "it lies on its side"
    upright = PIL.ImageOps.exif_transpose(PIL.Image.open(io.BytesIO(content)))
    image = Image(size=(WIDTH, HEIGHT)).load(tf.constant(content), Learnt()).numpy()
    assert np.abs(image.astype(int) - np.asarray(upright)).max() <= LOST


def test_damaged_exif_is_as_good_as_none():
    content = odd_files.turned(6)
    start = content.index(b"Exif\0\0") + 6
    for position, value in ((4, 255), (5, 1), (8, 200), (18, 99)):
        damaged = bytearray(content)
        damaged[start + position] = value
        assert size_of(bytes(damaged)) in ((HEIGHT, WIDTH), (WIDTH, HEIGHT))
        assert Image(size=8).fault(bytes(damaged), Learnt()) is None


def test_a_picture_of_108_megapixels_is_read_without_a_copy_in_float32(tmp_path):
    PIL.Image.new("RGB", (12_000, 9_000), (10, 200, 30)).save(tmp_path / "large.png", compress_level=1)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    image = Image(size=8).from_file(tmp_path / "large.png", COLORED.model_copy(update={"shape": (8, 8, 3)}))
    np.testing.assert_array_equal(image, np.broadcast_to([10, 200, 30], (8, 8, 3)))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 800_000, "in kB; float32 takes 1.3 GB"
