"""What ships of a dilated segmenter: the same masks from MediaPipe and from a server as here."""
import json
import shutil

import numpy as np
import pytest

from export.keras_models.load import load
from export.predictors import LiteRTPredictor
from serving.client import GrpcClient, RestClient
from serving.embedded import serving
from tests.conftest import run_here
from tests.export.tflite.test_metadata import MEDIAPIPE, mediapipe
from tests.pipelines.tasks.test_semantic_segmentation import write_shapes

PICTURES, SIZE, NAMES = 40, (64, 48), ["background", "disc", "square"]
#: With an output stride of 8, so that the last two stages of the backbone have holes.
RECIPE = f"""\
name: holes
task: semantic_segmentation
data:
  source: {{image_and_mask_folder: photos}}
  image: {{size: [{SIZE[0]}, {SIZE[1]}]}}
  mask: {{names: [background, disc, square]}}
  augment: [flip]
  batch: 8
model:
  builder: deeplabv3plus
  backbone: {{mobilenet_v2: {{alpha: 0.35}}}}
  output_stride: 8
  filters: 32
  rates: [1, 2]
train: {{epochs: 8, loss: {{sum: [cross_entropy, lovasz]}}, optimizer: adamw, schedule: {{cosine: 0.01}}}}
compress: {{variants: [float32, int8]}}
verify: {{runs: 10}}
gates: {{mean_iou: ">= 0.6", float32.max_error: "<= 1e-4", int8.drop: "<= 0.05"}}
"""
SEGMENT = """
import json, sys
import mediapipe
import numpy
from mediapipe.tasks.python import BaseOptions, vision
path, images, masks = sys.argv[1:]
options = vision.ImageSegmenterOptions(base_options=BaseOptions(model_asset_path=path), output_category_mask=True)
with vision.ImageSegmenter.create_from_options(options) as segmenter:
    found = [segmenter.segment(mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=image))
             for image in numpy.load(images)]
    numpy.save(masks, numpy.stack([numpy.squeeze(one.category_mask.numpy_view()) for one in found]))
    print(json.dumps(list(segmenter.labels)))
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Return the folder of the recipe's run."""
    folder = tmp_path_factory.mktemp("holes")
    write_shapes(folder / "photos")
    (folder / "recipe.yaml").write_text(RECIPE)
    done = run_here("run", "recipe.yaml", "--no-track", cwd=folder)
    assert done.code == 0, done.out + done.err
    return folder / "runs/holes/latest"


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Return pictures of the model's size that it has not seen."""
    import PIL.Image

    folder = tmp_path_factory.mktemp("unseen")
    write_shapes(folder, 2 * PICTURES)
    chosen = sorted((folder / "images").glob("*.png"), key=lambda path: int(path.stem))[-PICTURES:]
    return np.stack([np.asarray(PIL.Image.open(path).resize(SIZE[::-1])) for path in chosen])


@pytest.mark.slow
@pytest.mark.skipif(not MEDIAPIPE.is_dir(), reason="MediaPipe is not here; make .venv/.mediapipe brings it")
@pytest.mark.parametrize("variant", ["float32", "int8"])
def test_mediapipes_segmenter_gives_our_masks(run, pictures, variant, tmp_path):
    np.save(tmp_path / "pictures.npy", pictures)
    path = run / "package/bundle/litert" / f"{variant}.tflite"
    labels = json.loads(mediapipe(SEGMENT, path, tmp_path / "pictures.npy", tmp_path / "masks.npy"))
    ours = LiteRTPredictor(path).predict({"image": pictures})["logits"].argmax(-1)
    assert labels == NAMES and len(np.unique(ours)) == 3
    assert (np.load(tmp_path / "masks.npy") == ours).mean() >= 0.999


@pytest.mark.slow
def test_a_server_gives_keras_masks_over_both_protocols(run, pictures, tmp_path):
    shutil.copytree(run / "package/bundle/saved_model", tmp_path / "versions")
    model = load(run / "train/model.keras")
    outputs = model.predict(pictures.astype("float32"), verbose=0)
    expected = outputs["logits"] if isinstance(outputs, dict) else outputs
    dilated = [layer.name for layer in model.layers if getattr(layer, "dilation_rate", (1, 1)) != (1, 1)]
    assert len(dilated) > 5
    with serving(tmp_path / "versions", "holes") as running:
        with GrpcClient(running.grpc, "holes") as client:
            over_grpc = client.predict({"image": pictures})
        with RestClient(running.rest, "holes") as client:
            over_rest = client.predict({"image": pictures})
    for answers in (over_grpc, over_rest):
        np.testing.assert_array_equal(answers["mask"], expected.argmax(-1))
        np.testing.assert_allclose(answers["logits"], expected, atol=1e-4 * np.abs(expected).max())
