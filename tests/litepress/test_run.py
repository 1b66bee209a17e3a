"""`litepress.run`: the command's runs and figures, its errors, and a caller's process that stays as it was."""
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import litepress
from litepress import caller
from tests.conftest import ROOT, TINY, command, digests

#: What differs from one time to the next.
OF_THIS_TIME = {"stages"}


def lasting(results: litepress.Results) -> dict:
    """Results as the command's --json has them, without what differs."""
    return json.loads(results.model_dump_json(exclude=OF_THIS_TIME))


def test_a_run_of_the_command_is_found_again_with_its_very_figures(work, capsys):
    printed = json.loads(Path("results.json").read_text())
    results = litepress.run("recipe.yaml", track=False)
    assert [stage.cached for stage in results.stages] == [True] * 7
    assert lasting(results) == {name: value for name, value in printed.items() if name not in OF_THIS_TIME}
    assert results.table() == str(results) == repr(results) and results.table() in Path("printed.txt").read_text()
    assert results.metrics == printed["reference"]["metrics"]
    assert results.artifact("int8").bytes == Path(results.artifact("int8").path).stat().st_size
    shown = capsys.readouterr().out
    assert shown.startswith("tiny · resnet8 on digits · seed 7\n") and shown.count("cached") == 7
    assert json.loads(litepress.results("runs/tiny/latest").model_dump_json()) == printed
    with pytest.raises(litepress.UserError, match="it has no artifact int4; there are float32, float16, dynamic"):
        results.artifact("int4")


def test_results_show_the_tables_cells_and_the_figure_in_a_notebook(work):
    results = litepress.results("runs/tiny/latest")
    shown = results._repr_html_()
    for line in results.table().splitlines()[1:]:
        for cell in filter(None, line.split("  ")):
            assert f">{cell.strip()}<" in shown.replace("&#39;", "'"), cell
    assert "accuracy 0." in shown and "✓" in shown and "data:image/png;base64," in shown and results.report in shown


def test_a_run_that_stopped_early_shows_its_stages(work):
    results = litepress.run("recipe.yaml", until="train", track=False, quiet=True)
    assert results.metrics == {} and results.table() == ""
    assert str(results) == f"{results.folder}: not evaluated" and "<td>train</td>" in results._repr_html_()


def test_a_missed_gate_raises_the_commands_line_or_is_in_the_results(work, litepress_command, capfd):
    gates = {"accuracy": ">= 0.9999"}
    said = litepress_command("run", "recipe.yaml", "--no-track", "--set", "gates.accuracy=>= 0.9999")
    with pytest.raises(litepress.GateError) as caught:
        litepress.run("recipe.yaml", gates=gates, track=False, quiet=True)
    assert str(caught.value) == said.err.strip() and said.code == 1
    assert capfd.readouterr().out == ""
    results = litepress.run("recipe.yaml", gates=gates, track=False, quiet=True, check=False)
    assert [gate.name for gate in results.failed_gates] == ["accuracy"] and not results.artifacts


@pytest.fixture
def litepress_command(litepress):
    return litepress


def test_the_callers_environment_and_script_stay_as_they_were(monkeypatch):
    monkeypatch.setenv("MPLBACKEND", "module://matplotlib_inline.backend_inline")
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    before, main = dict(os.environ), sys.modules["__main__"]
    spec = main.__spec__
    with caller.kept(), caller.kept():
        os.environ["KERAS_BACKEND"] = "tensorflow"
        assert main.__spec__.name == "__main__" and "MPLBACKEND" not in os.environ
    assert dict(os.environ) == before and main.__spec__ is spec


def test_a_kernels_cell_gets_lines_although_it_asks_for_colours(monkeypatch, capsys):
    """Jupyter's kernels set FORCE_COLOR, which libraries take for a terminal."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    for quiet in (True, False):
        display = caller.display(quiet)
        display.begin("train")
        display.end("train", "done", 1.0, cached=False)
    assert capsys.readouterr().out == f"  train     {'done':<72}    1.0 s\n"


def test_a_script_without_a_guard_runs_once(work):
    """multiprocessing would run it again in every worker."""
    Path("script.py").write_text("import litepress\nprint('begins')\nprint(litepress.verify('runs/tiny/latest'))\n")
    done = subprocess.run([sys.executable, "script.py"], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("begins") == 1 and done.stdout.count("10 of 10 samples") == 5


@pytest.mark.slow
def test_a_process_with_tensorflow_and_a_model_presses_it_and_then_runs_a_recipe(tmp_path):
    (tmp_path / "script.py").write_text(f"""
import keras, numpy, litepress
from sklearn.datasets import load_digits

images, labels = load_digits(return_X_y=True)
images = (images * 15).astype("uint8").reshape(-1, 8, 8, 1)
layers = [keras.Input((8, 8, 1)), keras.layers.Rescaling(1 / 255), keras.layers.Flatten(), keras.layers.Dense(10)]
model = keras.Sequential(layers, name="plain")
model.compile("adam", keras.losses.SparseCategoricalCrossentropy(True), metrics=["accuracy"])
model.fit(images[:1400], labels[:1400], epochs=15, verbose=0)
pressed = litepress.press(model, ((images[:1400], labels[:1400]), (images[1400:], labels[1400:])),
                          variants=["float32"], targets=["litert"], track=False)
print(pressed.metrics["accuracy"], model.evaluate(images[1400:], labels[1400:], verbose=0)[1])
print(litepress.run({TINY!r}, until="evaluate", track=False).metrics["accuracy"])
print(model.predict(images[:1], verbose=0).shape)
""")
    done = subprocess.run([sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    numbers = [line for line in done.stdout.splitlines() if line[:1] in "01("]
    pressed, own = map(float, numbers[0].split())
    assert pressed == pytest.approx(own, abs=1e-6) and pressed > 0.8
    assert float(numbers[1]) > 0.8 and numbers[2] == "(1, 10)"


@pytest.mark.slow
def test_an_interrupted_run_goes_on_to_the_same_artifacts(tmp_path, tiny_run):
    (tmp_path / "recipe.yaml").write_text(TINY)
    (tmp_path / "script.py").write_text("""
import signal
import litepress
signal.signal(signal.SIGINT, signal.default_int_handler)  # tests that a shell runs in the background ignore it
try:
    litepress.run("recipe.yaml", until="train", track=False)
except KeyboardInterrupt:
    print("interrupted", flush=True)
    litepress.run("recipe.yaml", until="train", track=False)
""")
    process = subprocess.Popen([sys.executable, "script.py"], cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    end = time.monotonic() + 300
    while not list(tmp_path.glob("runs/.store/.work/**/checkpoint*")):
        assert process.poll() is None and time.monotonic() < end, "it saved no checkpoint"
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    printed, _ = process.communicate(timeout=600)
    assert process.returncode == 0 and printed.count("interrupted\n") == 1, printed
    made = digests(tmp_path)
    assert list(made) == ["ingest", "train"] and made.items() <= digests(tiny_run).items()


@pytest.mark.slow
def test_digits_from_python_are_the_commands_digits(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    recipe = ROOT / "recipes/vision/digits.yaml"
    results = litepress.run(recipe, track=False, train={"epochs": 3}, **{
        "gates.accuracy": ">= 0.5", "gates.int8.drop": "<= 0.5"})
    done = command("run", recipe, "--no-track", "--json", "results.json", "--set", "train.epochs=3", "--set",
                   "gates.accuracy=>= 0.5", "--set", "gates.int8.drop=<= 0.5", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    printed = json.loads(Path("results.json").read_text())
    assert [stage["cached"] for stage in printed["stages"]] == [True] * 7
    assert {name: value for name, value in printed.items() if name not in OF_THIS_TIME} == lasting(results)
    # and trained anew by the command alone
    again = command("run", recipe, "--runs", "own", "--no-track", "--json", "own.json", "--until", "evaluate", "--set",
                    "train.epochs=3", "--set", "gates.accuracy=>= 0.5", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert json.loads(Path("own.json").read_text())["reference"]["metrics"] == results.metrics
