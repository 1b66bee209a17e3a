"""Runs are served, verified behind the server, deployed, loaded and watched."""
import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2
from tensorflow_serving.config import model_server_config_pb2

from export.delivery.samples import Samples
from export.signature import DEFAULT, Signature, Tensor
from pipelines.errors import StageError, UserError
from pipelines.features.image import Image
from pipelines.recipe.recipe import Recipe
from pipelines.tools import deploy, drift
from pipelines.tools.few_examples import few_examples
from serving import k6, tensors
from serving import replay as replaying
from serving.client import GrpcClient, RestClient
from serving.embedded import running, serving
from serving.errors import ServingError
from serving.repository import Repository


def test_the_served_model_is_the_trained_one_over_both_protocols(tiny_run):
    result = json.loads((tiny_run / "results.json").read_text())
    served = next(one["served"] for one in result["artifacts"] if one["target"] == "saved_model")
    assert set(served) == {"grpc", "rest"}
    for one in served.values():
        assert one["metrics"]["accuracy"] == result["reference"]["metrics"]["accuracy"] and one["max_error"] <= 1e-5
    printed = (tiny_run / "printed.txt").read_text()
    assert "served, gRPC" in printed and "served, REST" in printed
    assert "behind TF Serving's protocol" in (tiny_run / result["report"]).read_text()


def test_a_model_that_is_served_wrong_does_not_pass(tmp_path):
    from pipelines.stages import asked, verify
    from pipelines.stages.context import REFERENCE

    class Wrong:
        def predict(self, inputs, signature=DEFAULT):
            return {"logits": np.ones((len(inputs["image"]), 10), "float32")}

    recipe = Recipe.model_validate({"name": "x", "data": {"source": "digits", "image": {"size": 8}},
                                    "model": {"builder": "resnet8"}})
    asked.Kept(tmp_path / REFERENCE, 4).add({"logits": np.zeros((4, 10), "float32")})
    message = r"served over gRPC, its outputs are off by 1\.0e\+00, more than 1e-04"
    with pytest.raises(StageError, match=message):
        verify.serve_one(Wrong(), few_examples(recipe, 4), "grpc", tmp_path)


@pytest.mark.parametrize("arguments, words", [
    (("nowhere",), "nowhere: there is no such folder"),
    (("runs/tiny/latest", "--prot=3"), "unknown argument: --prot=3. Did you mean --port?"),
    (("runs/tiny/latest/export/saved_model/1",), "is one version of a model; give the folder that holds it"),
    (("--model_name=x",), "Give --model_base_path=FOLDER"),
])
def test_what_cannot_be_served_is_said(litepress, work, arguments, words):
    message = litepress("serve", *arguments)
    assert message.code == 2 and words in message.err and message.err.count("\n") == 1


def test_every_flag_is_listed(litepress):
    message = litepress("serve", "--help")
    assert message.code == 0 and "--rest_api_port=0" in message.out and "--bind_address=\"127.0.0.1\"" in message.out


def test_versions_are_promoted_labelled_and_rolled_back(litepress, work):
    for number in (1, 2):
        assert f"tiny version {number} in repository" in litepress("models", "promote", "runs/tiny/latest",
                                                                   "repository").out
    assert litepress("models", "label", "repository", "tiny", "stable=1").code == 0
    listed = litepress("models", "list", "repository").out
    assert listed.split() == ["tiny", "1", "(stable)", "2"]
    assert "withdrawn: 2" in litepress("models", "rollback", "repository", "tiny").out
    refused = litepress("models", "rollback", "repository", "tiny")
    assert refused.code == 2 and "version 1 alone" in refused.err
    assert litepress("models", "restore", "repository", "tiny", "2").code == 0
    for arguments, words in ((("label", "repository", "tiny", "stable"), "is not a LABEL=VERSION"),
                             (("list", "nowhere"), "there is no model in it"),
                             (("promote", "nowhere", "repository"), "nowhere: there is no bundle")):
        message = litepress("models", *arguments)
        assert message.code == 2 and words in message.err


def test_warm_up_requests_are_real_ones_and_run_before_the_first_answer(litepress, work):
    litepress("models", "promote", "runs/tiny/latest", "repository")
    from serving import servable, warmup
    from serving.flags import Options

    version = Path("repository/tiny/1")
    loaded = servable.load(version, Options())
    asked = []
    run = loaded.run
    loaded.run = lambda signature, inputs, outputs: asked.append((signature, len(next(iter(inputs.values()))))) or run(
        signature, inputs, outputs)
    assert warmup.replay(version, loaded, 1) == 9
    signatures = ("serving_default", "serving_bytes", "classify")
    assert sorted(asked) == sorted((signature, rows) for signature in signatures for rows in (1, 8, 32))
    loaded.close()
    (version / warmup.PLACE).write_bytes(b"broken")
    with pytest.raises(Exception, match="Failed to read warmup record"):
        warmup.replay(version, loaded, 1)


def test_only_signatures_that_the_samples_can_feed_are_warmed_up(tmp_path):
    """Two inputs, one of which goes as a file: no Classify request can be made of that, as it is sent files alone."""
    (tmp_path / "0.png").write_bytes(b"a file")
    samples = Samples(inputs={"image": np.zeros((1, 2, 2, 1), "uint8"), "age": np.ones((1,))}, expected={},
                      encoded={"image": [tmp_path / "0.png"]})
    image, age = Tensor(name="image", dtype="uint8", shape=(2, 2, 1)), Tensor(name="age", dtype="float32", shape=())
    file, text = (Tensor(name=name, dtype="string", shape=()) for name in ("image_bytes", "inputs"))
    scores = Tensor(name="scores", dtype="float32", shape=(2,))
    signatures = [Signature(name=name, inputs=inputs, outputs=(scores,)) for name, inputs in (
        ("serving_default", (image, age)), ("serving_bytes", (file, age)), ("classify", (text,)),
        ("other", (file, text)))]
    requests = [log.predict_log.request for log in deploy._requests(signatures, samples, "model")]
    names = [request.model_spec.signature_name for request in requests]
    assert names == ["serving_default"] * 3 + ["serving_bytes"] * 3
    assert set(requests[0].inputs) == {"image", "age"}
    assert tensors.to_array(requests[4].inputs["image_bytes"], "").tolist() == [b"a file"] * 8
    assert tensors.to_array(requests[4].inputs["age"], "").dtype == np.float32


def test_signatures_that_take_seeds_are_warmed_up_with_one_picture_of_each():
    samples = Samples(inputs={"noise": np.zeros((2, 3), "float32")}, expected={}, encoded={})
    asked = [Tensor(name=name, dtype=kind, shape=()) for name, kind in (
        ("seed", "int64"), ("count", "int32"), ("label", "int32"), ("steps", "int32"), ("guidance", "float32"))]
    noise = Tensor(name="noise", dtype="float32", shape=(3,))
    images = Tensor(name="images", dtype="uint8", shape=(None, 2, 2, 1))
    signatures = [Signature(name=name, inputs=inputs, outputs=(images,)) for name, inputs in (
        ("serving_default", (noise,)), ("sample", tuple(asked)), ("other", (asked[0], noise, Tensor(
            name="unknown", dtype="float32", shape=()))))]
    requests = [log.predict_log.request for log in deploy._requests(signatures, samples, "model")]
    assert [request.model_spec.signature_name for request in requests] == ["serving_default"] * 3 + ["sample"] * 3
    sent = {name: tensors.to_array(value, name) for name, value in requests[4].inputs.items()}
    assert {name: values.tolist() for name, values in sent.items()} == {
        "seed": [0] * 8, "count": [1] * 8, "label": [-1] * 8, "steps": [0] * 8, "guidance": [-1.0] * 8}
    assert sent["seed"].dtype == np.int64 and sent["count"].dtype == np.int32


def test_the_champion_of_the_registry_is_promoted(litepress, work):
    message = litepress("models", "from-registry", "tiny", "repository")
    assert message.code == 0 and "tiny version 1 in repository" in message.out
    promoted = Path("repository/tiny/1/saved_model.pb").read_bytes()
    assert promoted == Path("runs/tiny/latest/export/saved_model/1/saved_model.pb").read_bytes()
    refused = litepress("models", "from-registry", "tiny@other", "repository")
    assert refused.code == 2 and "has no tiny@other" in refused.err


def test_a_deployment_serves_what_was_trained(litepress, work):
    assert litepress("deploy", "runs/tiny/latest", "fleet", "--canary", "25", "--replicas", "3:6").code == 0
    assert "weight: 75" in Path("fleet/istio/canary.yaml").read_text()
    assert "minReplicas: 3" in Path("fleet/kubernetes/scaling.yaml").read_text()
    assert Repository(Path("fleet/models")).config().model_config_list.config[0].base_path == "/models/tiny"
    with serving(Path("fleet/models/tiny"), "tiny") as server, GrpcClient(server.grpc, "tiny") as client:
        assert client.predict({"image": np.zeros((3, 8, 8, 3), "uint8")})["logits"].shape == (3, 10)
    again = litepress("deploy", "runs/tiny/latest", "fleet")
    assert again.code == 2 and "fleet is there already" in again.err
    for arguments, words in ((("--replicas", "5"), "give MIN:MAX"),
                             (("--name", "Not_A_Label"), "is not a name for Kubernetes")):
        message = litepress("deploy", "runs/tiny/latest", "other", *arguments)
        assert message.code == 2 and words in message.err and not Path("other").exists()


def test_a_call_over_rest_may_take_as_long_as_whoever_serves_says(work):
    images = {"image": np.zeros((1, 8, 8, 3), "uint8")}
    versions = Path("runs/tiny/latest/export/saved_model").resolve()
    with serving(versions, "tiny", 300) as server, RestClient(server.rest, "tiny") as client:
        assert client.predict(images)["logits"].shape == (1, 10)
    with serving(versions, "tiny", 0) as server, RestClient(server.rest, "tiny") as client, \
            pytest.raises(ServingError, match="Timed out waiting for the model"):
        client.predict(images)


@pytest.mark.slow
@pytest.mark.timed
def test_load_is_put_on_a_server_and_the_highest_rate_found(litepress, work):
    with serving(Path("runs/tiny/latest/export/saved_model").resolve(), "tiny") as server:
        message = litepress("load-test", server.grpc, "--recipe", "recipe.yaml", "--rates", "20,60", "--seconds", "1",
                         "--objective", "500",
                         "--figure", "load.png", "--json", "load.json")
        assert message.code == 0, message.err
        result = json.loads(Path("load.json").read_text())
        assert [step["rate"] for step in result["steps"]] == [20,
                                                             60] and [step["answered"]
                                                                      for step in result["steps"]] == [20, 60]
        assert result["highest"] == 60 and all(0 < step["p50"] <= step["p99"] for step in result["steps"])
        assert Path("load.png").read_bytes().startswith(b"\x89PNG")
        over = litepress("load-test", server.rest, "--recipe", "recipe.yaml", "--protocol", "rest", "--rates", "20",
                         "--seconds", "1", "--objective", "500")
        assert over.code == 0 and "20 requests/s" in over.out
        by_k6 = litepress("load-test", server.rest, "--recipe", "recipe.yaml", "--protocol", "rest", "--k6", "--rates",
                          "20", "--seconds",
                          "2", "--objective", "500", "--json", "k6.json")
        if k6.program() is None:
            assert by_k6.code == 2 and "k6 is not installed" in by_k6.err
        else:
            step = json.loads(Path("k6.json").read_text())["steps"][0]
            assert by_k6.code == 0 and step["answered"] in (40, 41) and not step["errors"]
            assert 0 < step["p50"] <= step["p99"] <= step["most"]
        wrong = litepress("load-test", server.grpc, "--recipe", "recipe.yaml", "--k6")
        assert wrong.code == 2 and "add --protocol rest" in wrong.err
    gone = litepress("load-test", server.grpc, "--recipe", "recipe.yaml", "--rates", "20")
    assert gone.code == 2 and "cannot be tested" in gone.err and gone.err.count("\n") == 1
    assert litepress("load-test", server.grpc, "--recipe", "recipe.yaml", "--rates", "fast").code == 2


@pytest.mark.timed
def test_an_open_loop_counts_from_when_a_request_was_due():
    """A server that stops for a second makes everything that was due meanwhile late, though each answer itself is
    quick."""
    import asyncio
    import time

    from serving import load

    async def measure():
        stalled = asyncio.Event()
        start = time.perf_counter()

        async def ask(number):
            if 0.3 < time.perf_counter() - start < 1.3:
                await asyncio.sleep(1.3 - (time.perf_counter() - start))
            stalled.set()
            return "OK" if number else "UNAVAILABLE"

        return await load.open_loop(ask, 100, 2)

    step = asyncio.run(measure())
    assert step.errors == {"UNAVAILABLE": 1} and step.answered == 199
    assert step.p90 > 500 and 900 < step.most < 1500 and not step.keeps(10_000)


@pytest.fixture
def logged(work):
    """A log of 60 requests to a server that has two versions, and the server."""
    for _ in range(2):
        Repository(work / "repository").promote("tiny", (work / "runs/tiny/latest/export/saved_model/1").resolve())
    config = model_server_config_pb2.ModelServerConfig()
    one = config.model_config_list.config.add(name="tiny", base_path=str(work / "repository/tiny"),
                                              model_platform="tensorflow")
    one.model_version_policy.all.SetInParent()
    one.logging_config.log_collector_config.type = "tfrecord"
    one.logging_config.log_collector_config.filename_prefix = str(work / "requests")
    one.logging_config.sampling_config.sampling_rate = 1.0
    (work / "models.config").write_text(str(config))
    images = (np.random.default_rng(0).random((60, 8, 8, 3)) * 255).astype("uint8")
    with running(model_config_file=str(work / "models.config")) as server:
        with GrpcClient(server.grpc, "tiny", batch=1) as client:
            client.predict({"image": images})
            while client.status() != {1: "AVAILABLE", 2: "AVAILABLE"}:
                pass
        yield server


def test_recorded_requests_are_replayed_on_two_versions(litepress, work, logged):
    logged.server.core.log.close()
    log = next(work.glob("requests.*.tfrecord"))
    assert sum(1 for _ in replaying.records([log])) == 60
    message = litepress("replay", log, "--address", logged.grpc, "--model", "tiny", "--old", "1", "--new", "2",
                     "--agreement", "1",
                     "--json", "replay.json")
    assert message.code == 0, message.err
    result = json.loads(Path("replay.json").read_text())
    assert result["requests"] == 60 and {one["name"]: one["same"] for one in result["outputs"]} == {"logits": 1.0,
                                                                                                  "scores": 1.0}
    missing = litepress("replay", log, "--address", logged.grpc, "--model", "tiny", "--old", "1", "--new", "7")
    assert missing.code == 1 and "60 errors" in missing.err
    Path("no.log").write_bytes(b"nothing")
    broken = litepress("replay", "no.log", "--address", logged.grpc, "--model", "tiny", "--old", "1", "--new", "2")
    assert broken.code == 2 and "no.log is no" in broken.err


def test_noise_is_no_digit_and_drift_says_so(litepress, work, logged):
    logged.server.core.log.close()
    log = next(work.glob("requests.*.tfrecord"))
    message = litepress("drift", log, "--recipe", "recipe.yaml", "--figure", "drift.png", "--json", "drift.json")
    assert message.code == 1 and "drift: the worst index is" in message.err
    assert Path("drift.png").read_bytes().startswith(b"\x89PNG")
    shifts = json.loads(Path("drift.json").read_text())["shifts"]
    assert {one["name"] for one in shifts} == {"brightness", "contrast", "sharpness", "classes"}


def test_the_same_images_have_not_drifted():
    images = np.random.default_rng(0).integers(0, 256, (2000, 8, 8, 3))
    before, after, darker = (Image(size=8).properties(some)
                             for some in (images[:1000], images[1000:], images[1000:] // 3))
    assert set(before) == {"brightness", "contrast", "sharpness"}
    for name, values in before.items():
        assert drift.stability(values, after[name]) < drift.SOME
        assert drift.stability(values, darker[name]) > drift.MUCH


def test_logged_files_are_decoded_as_the_model_sees_them(tmp_path):
    """Requests with images as PNG files, to `serving_bytes` and to `classify`, and one of another model, which is left
    out."""
    images = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 3)).astype("uint8")
    files = [Image(size=8).encode(image)[1] for image in images]
    predicted, classified, other = (prediction_log_pb2.PredictionLog() for _ in range(3))
    tensors.to_proto(np.array(files[:30], object), predicted.predict_log.request.inputs["image_bytes"])
    tensors.to_proto(np.eye(10, dtype="float32")[np.arange(30) % 2], predicted.predict_log.response.outputs["scores"])
    for file in files[30:]:
        example = classified.classify_log.request.input.example_list.examples.add()
        example.features.feature["image/encoded"].bytes_list.value.append(file)
    tensors.to_proto(np.zeros((3, 2), "float32"), other.predict_log.request.inputs["words"])
    with tf.io.TFRecordWriter(str(tmp_path / "log")) as writer:
        for log in (predicted, other, classified):
            writer.write(log.SerializeToString())
    recipe = Recipe.model_validate({"name": "x", "data": {"source": "digits", "image": {"size": 8}},
                                    "model": {"builder": "resnet8"}})
    result = drift.drift(recipe.written(), [tmp_path / "log"], 100, None)
    assert result.examples == 40
    brightness = next(shift for shift in result.shifts if shift.name == "brightness")
    assert brightness.logged == pytest.approx(images.mean(), abs=0.1) and brightness.verdict == "drift"
    assert result.classes["0"][1] == result.classes["1"][1] == 0.5 and result.classes["2"][1] == 0.0
    larger = Recipe.model_validate({**recipe.written(), "data": {"source": "digits", "image": {"size": 9}}})
    logged = [{"image": image} for image in images]
    with pytest.raises(UserError, match="image is 8 x 8 x 3 in the log and 9 x 9 x 3 in the recipe"):
        drift._decoded(few_examples(larger, 4), logged)
