"""Targets in recipes and on the command line: compiled, measured, gated, left out with a line where a tool is
missing."""
import json
import shutil
from pathlib import Path

import pytest

from pipelines.targets.target import Target
from tests.conftest import run_here

TARGETS = ("[litert, onnx, openvino, ethos-u, {ethos-u: {name: u85, accelerator: ethos-u85-256}}, microcontroller, "
           "{qualcomm: SM8650}]")
GATES = ("int8.drop=<= 0.02", "onnx_int8.drop=<= 0.02", "openvino_int8.drop=<= 0.02", "ethos-u_int8.coverage=>= 1",
         "microcontroller_int8.arena_bytes=< 100000")


@pytest.fixture(scope="module")
def several(tiny_run, tmp_path_factory):
    """A working folder in which the small recipe was run for several targets."""
    folder = tmp_path_factory.mktemp("several") / "work"
    shutil.copytree(tiny_run, folder, symlinks=True)
    done = run_here("run", "recipe.yaml", "--no-track", "--json", "several.json", "--set", f"export.targets={TARGETS}",
                   *(part for gate in GATES for part in ("--set", f"gates.{gate}")), cwd=folder)
    assert (folder / "several.json").exists(), done.out + done.err
    return folder, done, json.loads((folder / "several.json").read_text())


def test_what_runs_here_is_measured_and_the_rest_reported_by_its_compiler(several):
    _, done, results = several
    measured = {(one["target"], one["variant"]): one for one in results["artifacts"]}
    assert {("onnx", "float32"), ("onnx", "int8"), ("openvino", "float32"), ("openvino", "int8"),
            ("microcontroller", "int8")} < set(measured)
    for target in ("onnx", "openvino"):
        assert measured[target, "float32"]["max_error"] < 1e-4
    compiled = {one["target"]: one for one in results["compiled"]}
    assert set(compiled) == {"ethos-u", "u85"}
    assert all(one["coverage"]["taken"] == one["coverage"]["total"] > 0 for one in compiled.values())
    assert "compiled for" in done.out and "of 15" in done.out.replace("16", "15")
    assert all(gate["passed"] for gate in results["gates"]) and len(results["gates"]) == 6


def test_a_target_whose_tool_is_missing_is_left_out_with_a_line_and_the_others_ship(several):
    folder, done, results = several
    assert done.code == 2
    line = done.err.strip()
    assert line.startswith("export qualcomm: ai-edge-litert-sdk-qualcomm is not installed; ") and "\n" not in line
    assert list(results["left_out"]) == ["qualcomm"] and results["bundle"] and not results["failed"]
    assert not list((folder / results["bundle"]).parent.glob("bundle/qualcomm*"))


def test_the_bundle_holds_each_target_and_says_which_to_take_where(several):
    folder, _, results = several
    bundle = (folder / results["bundle"]).parent / "bundle"
    assert {path.name for path in bundle.iterdir()} == {
        "litert", "onnx", "openvino", "ethos-u", "u85", "microcontroller", "samples", "code", "labels.txt",
        "model.json", "manifest.json", "MODEL_CARD.md", "SHA256SUMS"}
    manifest = json.loads((bundle / "manifest.json").read_text())
    assert set(manifest["recommended"]) >= {"phone_cpu", "npu"}
    files = {path.relative_to(bundle).as_posix() for path in bundle.rglob("*") if path.is_file()}
    assert {one["path"] for one in manifest["files"]} == files - {"manifest.json"}
    described = {one["name"]: one for one in json.loads((bundle / "model.json").read_text())["models"]}
    assert described["ethos-u_int8"]["estimates"]["sram_bytes"] > 0
    report = (folder / results["report"]).read_text()
    assert "Compiled for other hardware" in report and "inferences per second" in report


def test_a_target_whose_tool_crashes_is_named_and_the_others_ship(work, litepress):
    """Vela's own process, killed while it compiles as memory that runs out would kill it."""
    import threading

    import psutil

    killed = threading.Event()

    def kill_vela():
        while not killed.wait(0.01):
            for process in psutil.process_iter(["cmdline"]):
                if any("ethosu.vela.vela" in part and "main()" in part for part in process.info["cmdline"] or []):
                    process.kill()
                    killed.set()
                    break

    watcher = threading.Thread(target=kill_vela)
    watcher.start()
    try:
        message = litepress("run", "recipe.yaml", "--no-track", "--json", "r.json", "--set", "gates={}", "--set",
                         "export.targets=[ethos-u,microcontroller]")
        assert killed.is_set()
    finally:
        killed.set()
        watcher.join()
    assert message.code == 3, message.err
    assert "export ethos-u: ChildProcessError: Vela was ended by SIGKILL\nThe others went on." in message.err
    results = json.loads(Path("r.json").read_text())
    assert list(results["failed"]) == ["ethos-u"] and not results["left_out"]
    assert [one["target"] for one in results["artifacts"]] == ["microcontroller"] and results["bundle"]
    assert not list(Path("runs/tiny/latest/export").glob("ethos-u*"))


@pytest.mark.slow
def test_the_same_run_again_is_cached_and_makes_the_same_bundle(several, monkeypatch, litepress):
    folder, _, results = several
    monkeypatch.chdir(folder)
    before = Path(results["bundle"]).read_bytes()
    message = litepress("run", "recipe.yaml", "--no-track", "--from", "export", "--json", "again.json",
                     "--set", f"export.targets={TARGETS}", "--set", "gates={}")
    assert message.code == 2, message.err
    again = json.loads(Path("again.json").read_text())
    assert [stage["name"] for stage in again["stages"] if not stage["cached"]] == ["export", "verify", "package"]
    assert Path(again["bundle"]).name == Path(results["bundle"]).name and Path(again["bundle"]).read_bytes() == before


@pytest.mark.parametrize(("targets", "expected"), [
    ("[{ethos-u: {variants: [float32]}}]", "float32 is a float32 file, and ethos-u takes int8 ones only"),
    ("[{ethos-u: {variants: [qat]}}]", "compress.variants makes no qat; it makes float32, float16, dynamic, int8"),
    ("[{ethos-u: ethos-u99}]", "export.targets.0.accelerator is \"ethos-u99\"; allowed:"),
    ("[{qualcomm: SM865}]", "qualcomm has no system on chip SM865 that LiteRT compiles for. Did you mean SM8650?"),
    ("[qualcomm]", "export.targets.0.soc is missing"),
    ("[onnx, onnx]", "two targets are called onnx; give one of them another name, for instance {onnx: {name: onnx-2}}"),
    ("[opnvino]", "there is no target called opnvino. Did you mean openvino?")])
def test_a_target_that_cannot_be_is_refused_before_anything_runs(work, litepress, targets, expected):
    message = litepress("run", "recipe.yaml", "--set", f"export.targets={targets}", "--set", "gates={}", "--no-track")
    assert message.code == 2, message.out
    assert expected in message.err and len(message.err.strip().splitlines()) == 1, message.err


def test_gates_ask_of_compiled_files_what_a_compiler_knows(work, litepress):
    message = litepress("run", "recipe.yaml", "--set", "export.targets=[litert,ethos-u]",
                     "--set", "gates.ethos-u_int8.accuracy=>= 0.5")
    assert message.code == 2 and "no value of this run is called ethos-u_int8.accuracy" in message.err


@pytest.mark.slow
def test_a_model_over_a_limit_of_the_recipe_is_refused_and_the_others_ship(work, litepress):
    targets = "[litert, {ethos-u: {sram_kb: 0.5}}, {microcontroller: {flash_kb: 4}}]"
    message = litepress("run", "recipe.yaml", "--set", f"export.targets={targets}",
                     "--set", "gates.ethos-u_int8.coverage=>= 0.9", "--no-track", "--json", "r.json")
    results = json.loads(Path("r.json").read_text())
    assert message.code == 1, "the gate on what could not be made is missed"
    assert "gate ethos-u_int8.coverage: not made misses the limit >= 0.9" in message.err
    assert "kB of SRAM, and sram_kb says 0.5" in results["left_out"]["ethos-u"]
    assert "kB of flash, and flash_kb says 4.0" in results["left_out"]["microcontroller"]
    assert [one["target"] for one in results["artifacts"]] == ["litert"] * 4


@pytest.mark.slow
def test_check_says_before_training_how_much_an_npu_will_take(work, litepress):
    targets = "[litert, ethos-u, microcontroller, {mediatek: MT6991}]"
    message = litepress("check", "recipe.yaml", "--set", f"export.targets={targets}", "--set", "gates={}")
    assert message.code == 0, message.err
    assert "the ethos-u55-128 takes 15 of 15 operators (100%)" in message.out
    assert "microcontroller a tensor arena of" in message.out
    assert "mediatek will be left out: ai-edge-litert-sdk-mediatek is not installed" in message.out
    message = litepress("check", "recipe.yaml", "--set", "export.targets=[litert,{ethos-u: {flash_kb: 1}}]",
                     "--set", "gates={}")
    assert message.code == 2 and "ethos-u will not take resnet8: it needs" in message.err


def test_inspect_shows_what_is_in_a_file_and_which_operators_run_where(work, litepress):
    message = litepress("inspect", "runs/tiny/latest/export/litert/int8.tflite", "--tensors", "--json",
                        "inspected.json")
    assert message.code == 0, message.err
    for word in ("takes image: uint8 (1, 8, 8, 3)", "multiply-adds", "bytes of tensors at operator", "CONV_2D",
                 "ethos-u85-256", "100%", "version 1.0.0", "10 labels, calibrated scores", "constant"):
        assert word in message.out, word
    results = json.loads(Path("inspected.json").read_text())
    assert results["int8"]["operators"]["CONV_2D"] == 9 and results["int8"]["about"]["name"] == "tiny"
    message = litepress("inspect", "runs/tiny/latest/train/model.keras")
    assert message.code == 0 and "GPU" in message.out and "as int8" in message.out
    assert litepress("inspect", "runs/tiny/latest/export/saved_model/1").code == 0
    message = litepress("inspect", "recipe.yaml")
    assert message.code == 2 and "recipe.yaml is not a model" in message.err


def test_benchmark_times_artifacts_side_by_side(work, litepress):
    message = litepress("benchmark", "runs/tiny/latest", "runs/tiny/latest/train/model.keras", "--runs", "20",
                        "--profile",
                     "--json", "b.json")
    assert message.code == 0, message.err
    results = json.loads(Path("b.json").read_text())["artifacts"]
    assert [one["runtime"] for one in results] == ["LiteRT"] * 4 + ["TensorFlow", "Keras"]
    assert all(0 < one["p50"] <= one["p90"] <= one["p99"] for one in results)
    assert all(one["per_second"] > 0 and one["load_ms"] > 0 for one in results)
    assert "CONV_2D" in results[0]["operators"] and "p99 ms" in message.out and "--benchmark-model" in message.out
    message = litepress("benchmark", "nowhere.tflite")
    assert message.code == 2 and "benchmark: there is no nowhere.tflite" in message.err
    Path("broken.tflite").write_bytes(b"\x18\0\0\0TFL3")
    message = litepress("benchmark", "broken.tflite")
    assert message.code == 2 and "broken.tflite is not a TFLite model" in message.err


def test_a_run_is_published_fetched_and_verified(work, litepress):
    assert litepress("keys", "release.pem").code == 0
    message = litepress("publish", "runs/tiny/latest", "store", "--key", "release.pem")
    assert message.code == 0 and message.out.strip().endswith("store/tiny/1.0.0"), message.err
    assert litepress("publish", "runs/tiny/latest", "store").code == 2
    message = litepress("fetch", "store", "tiny", "got", "--verify", "release.pem.pub")
    assert message.code == 0 and "signature and digests checked" in message.out, message.err
    message = litepress("verify", "got")
    assert message.code == 0, message.out + message.err
    assert message.out.count("10 of 10 samples have the recorded best class") == 5, message.out + message.err
    labels = Path("got/labels.txt")
    labels.write_text(labels.read_text().replace("0", "O"))
    message = litepress("verify", "got")
    assert message.code == 2 and "labels.txt: it was altered" in message.err


def test_answers_that_are_not_as_recorded_end_with_one(work, litepress):
    from export.delivery import manifest

    bundle = Path("runs/tiny/latest/package/bundle").resolve()
    samples = json.loads((bundle / "samples" / "expected.json").read_text())
    samples[0]["expected"]["float32"]["logits"][0] += 1
    (bundle / "samples" / "expected.json").write_text(json.dumps(samples))
    known = json.loads((bundle / "manifest.json").read_text())
    (bundle / "manifest.json").write_text(manifest.create(bundle, "tiny", "1.0.0", [], known["recommended"]).model_copy(
        update={"models": [manifest.Model.model_validate(one) for one in known["models"]]}).text())
    message = litepress("verify", bundle)
    assert message.code == 1, message.out + message.err
    assert message.err.strip() == "verify: float32 does not answer as recorded", message.out + message.err


def test_every_target_is_listed_with_what_is_missing(litepress):
    message = litepress("list", "targets")
    assert message.code == 0
    assert {line.split()[0] for line in message.out.splitlines()} == set(Target.choices)
    assert "ready" in message.out and "ai-edge-litert-sdk-qualcomm is not installed" in message.out
