"""Detection: a run to its end, and what MediaPipe finds in its files."""
import itertools
import json

import numpy as np
import PIL.Image
import pytest

from export.predictors import LiteRTPredictor
from export.targets import saved_model, web
from export.tflite.detection import OUTPUTS
from pipelines.tasks.object_detection import detections
from pipelines.tasks.object_detection import mediapipe as mediapipe_found
from tests.conftest import run_here
from tests.export.tflite.test_metadata import MEDIAPIPE, mediapipe

RECIPE = """\
name: scenes
task: object_detection
data:
  source: {yolo: squares}
  image: {size: 64}
  boxes: {most: 4}
  batch: 8
model: {builder: yolov8, width: 0.125, depth: 0.17, levels: [3], bins: 8, activation: relu, batch_norm_momentum: 0.8}
train:
  epochs: 12
  schedule: {cosine: 0.01}
compress: {variants: [float32, int8]}
export:
  targets:
    - litert
    - litert: {name: boxes, post_processing: true}
    - litert: {name: decoded, post_processing: decoding}
    - saved_model
    - onnx
    - openvino
    - coreml
    - {ethos-u: ethos-u85-256}
    - web
verify: {runs: 10}
gates: {float32.max_error: "<= 1e-4", ethos-u_int8.coverage: ">= 1"}
"""


def write_squares(folder):
    """Write dark images with two bright rectangles each, red and green ones, as YOLO's tools have them."""
    generator = np.random.default_rng(0)
    for part, count in (("train", 64), ("val", 12), ("test", 16)):
        for kind in ("images", "labels"):
            (folder / kind / part).mkdir(parents=True)
        for number in range(count):
            pixels, lines = np.full((64, 64, 3), 20, "uint8"), []
            for place in generator.choice(4, 2, replace=False):
                height, width = generator.integers(12, 28, 2)
                top, left, label = 32 * (place // 2) + 1, 32 * (place % 2) + 1, int(generator.integers(2))
                pixels[top:top + height, left:left + width, label] = 240
                sides = [left + width / 2, top + height / 2, width, height]
                lines.append(f"{label} {' '.join(str(side / 64) for side in sides)}\n")
            PIL.Image.fromarray(pixels).save(folder / f"images/{part}/{number}.png")
            (folder / f"labels/{part}/{number}.txt").write_text("".join(lines))
    (folder / "data.yaml").write_text("train: images/train\nval: images/val\ntest: images/test\nnames: [red, green]\n")


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    """A working folder in which the recipe was run."""
    folder = tmp_path_factory.mktemp("scenes")
    write_squares(folder / "squares")
    (folder / "recipe.yaml").write_text(RECIPE if web.missing() == "" else RECIPE.replace("    - web\n", ""))
    done = run_here("run", "recipe.yaml", "--no-track", "--json", "r.json", cwd=folder)
    assert done.code == 0, done.out + done.err
    return folder


@pytest.mark.slow
def test_a_run_ends_in_files_that_find_the_same(scenes):
    result = json.loads((scenes / "r.json").read_text())
    reference = result["reference"]["metrics"]["map_50"]
    of = {(one["target"], one["variant"]): one for one in result["artifacts"]}
    assert set(of) == {("saved_model", "float32"), *itertools.product(
        ("litert", "boxes", "decoded", "onnx", "openvino"), ("float32", "int8"))}
    assert {one["target"] for one in result["compiled"]} - {"web"} == {"coreml", "ethos-u"}
    compiled = next(one for one in result["compiled"] if one["target"] == "ethos-u")
    assert compiled["coverage"]["taken"] == compiled["coverage"]["total"] and not result["left_out"]
    assert reference > 0.9
    for name in itertools.product(("litert", "boxes", "saved_model", "onnx", "openvino"), ["float32"]):
        assert of[name]["metrics"]["map_50"] == pytest.approx(reference, abs=1e-3)
    rounded = of["litert", "int8"]["metrics"]["map_50"]
    assert of["boxes", "int8"]["metrics"]["map_50"] == pytest.approx(rounded, abs=1e-2)
    assert of["boxes", "float32"]["max_error"] < 1e-3 and not of["boxes", "int8"]["integer"]
    assert of["decoded", "float32"]["max_error"] < 1e-5
    assert of["decoded", "float32"]["metrics"]["map_50"] <= reference, "classes suppress each other"
    times = {name: one["latency_ms"] for name, one in of.items()}
    assert all((time["answered"] or 0) > time["p50"] for (target, _), time in times.items()
               if target in ("litert", "decoded", "onnx", "openvino"))
    assert all(time["answered"] is None for name, time in times.items() if name[0] in ("boxes", "saved_model"))
    assert of["litert", "int8"]["integer"] and of["litert", "int8"]["metrics"]["map_50"] > reference - 0.05
    served = of["saved_model", "float32"]["served"]
    assert set(served) == {"grpc", "rest"} and all(one["max_error"] < 1e-3 and one["agreement"] == 1
                                                  for one in served.values())
    model = scenes / of["saved_model", "float32"]["path"]
    given = {name: {tensor.name for tensor in one.outputs} for name, one in saved_model.signatures(model).items()}
    assert given == {"serving_default": set(OUTPUTS), "serving_bytes": set(OUTPUTS), "network": {"boxes", "logits"}}
    code = {path.stem for path in (scenes / "runs/scenes/latest/package/bundle/code/kotlin").iterdir()}
    assert code == {"ScenesDetector", "ScenesBoxesDetector", "ScenesDecodedDetector"}
    picture = next((scenes / "runs/scenes/latest/package/bundle/samples").glob("*.png"))
    said = run_here("predict", "runs/scenes/latest", picture, cwd=scenes)
    assert said.code == 0 and picture.name in said.out
    PIL.Image.open(picture).resize((300, 200)).save(scenes / "wide.jpg")
    drawn = run_here("predict", "runs/scenes/latest", picture, "wide.jpg", "--out", "drawn", cwd=scenes)
    assert drawn.code == 0, drawn.err
    results = json.loads((scenes / "drawn/results.json").read_text())
    assert {one["file_name"] for one in results} == {str(picture), "wide.jpg"}
    assert {"image_id", "category_id", "category", "bbox", "score"} <= set(results[0])
    assert max(one["bbox"][0] for one in results if one["file_name"] == "wide.jpg") > 64, "in the image's own pixels"
    assert PIL.Image.open(scenes / "drawn/wide.png").size == (300, 200)
    report = (scenes / "runs/scenes/latest/report.html").read_text()
    assert "Precision over recall" in report and "the worst test images by their own F1" in report


LEAST = 0.08
#: Of integers MediaPipe's kernels round otherwise: by some steps of the logits, so that faint boxes come and go.
STEPS, SURE = 0.1, 0.25
FIND = f"""
import json, sys
import mediapipe
import numpy
from mediapipe.tasks.python import BaseOptions, vision
path, images = sys.argv[1:]
options = vision.ObjectDetectorOptions(base_options=BaseOptions(model_asset_path=path), score_threshold={LEAST})
with vision.ObjectDetector.create_from_options(options) as detector:
    for pixels in numpy.load(images):
        found = detector.detect(mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=pixels)).detections
        print(json.dumps([[one.bounding_box.origin_y, one.bounding_box.origin_x, one.bounding_box.height,
                           one.bounding_box.width, kind.score, kind.category_name]
                          for one in found for kind in one.categories]))
"""


@pytest.mark.slow
@pytest.mark.skipif(not MEDIAPIPE.is_dir(), reason="MediaPipe is not here; make .venv/.mediapipe brings it")
@pytest.mark.parametrize("variant", ["float32", "int8"])
@pytest.mark.parametrize("target", ["boxes", "decoded"])
def test_mediapipe_finds_the_same_boxes(scenes, variant, target, tmp_path):
    """Its boxes are whole pixels: where they begin, and their sides, cut off. Of integer files they are a pixel off, at
    most."""
    files = sorted((scenes / "squares/images").rglob("*.png"))[:40]
    images = np.stack([np.asarray(PIL.Image.open(path)) for path in files])
    np.save(tmp_path / "images.npy", images)
    path = scenes / f"runs/scenes/latest/export/{target}/{variant}.tflite"
    said = [json.loads(line) for line in mediapipe(FIND, path, tmp_path / "images.npy").splitlines()]
    outputs = LiteRTPredictor(path).predict({"image": images})
    answers = detections.of_images(mediapipe_found.found(outputs, most=100, score=LEAST) if target == "decoded"
                                   else outputs)
    assert sum(map(len, said)) > 20
    for found, (boxes, scores, classes) in zip(said, answers, strict=True):
        known = scores >= LEAST
        corners = np.trunc(boxes[known, :2] * 64 + 1e-4)
        sides = np.trunc((boxes[known, 2:] - boxes[known, :2]) * 64 + 1e-4)
        near, off = (0, 1e-5) if variant == "float32" else (1, STEPS)
        expected = [[*(pytest.approx(side, abs=near) for side in (*corner, *size)), pytest.approx(score, abs=off),
                     ("red", "green")[number]]
                    for corner, size, score, number in zip(corners.tolist(), sides.tolist(), scores[known],
                                                           classes[known], strict=True)]
        if variant == "float32":
            assert len(found) == len(expected)
        assert all(any(one == wanted for one in found) for wanted, score in zip(expected, scores[known], strict=True)
                   if variant == "float32" or score >= SURE)
