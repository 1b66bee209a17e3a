"""Whole runs on sound: from files to verified models on phones, servers and microcontrollers."""
import json

import numpy as np
import pytest
import soundfile

from tests.conftest import run_here

CLASSIFICATION = """\
name: tones
task: audio_classification
data:
  source: {audio_folder: tones}
  audio: {seconds: 0.5, rate: 8000}
  augment: [gain, noise]
  batch: 16
model: {builder: ds_cnn_audio, front: {hop: 0.02, mels: 20, form: convolution}, filters: 8, blocks_after: 1}
train: {epochs: 6, schedule: {one_cycle: 0.02}}
compress: {variants: [float32, float16, dynamic, int8, split_front_end]}
export: {targets: [litert, saved_model, {microcontroller: {variants: [int8, split_front_end]}}]}
verify: {runs: 10}
gates: {accuracy: ">= 0.9", int8.drop: "<= 0.05", microcontroller_int8.drop: "<= 0.05"}
"""
RECOGNITION = """\
name: beeps
task: {speech_recognition: {beam: 8}}
data:
  source: {recordings: beeps.csv}
  audio: {seconds: 1.0, rate: 8000}
  transcript: {most: 8, ngram: 2}
  batch: 8
model:
  builder: wav2letter
  front: {mels: 20, centred: true}
  filters: 24
  wide: 24
  depth: 1
  first: 7
  last: 3
  normalized: true
train: {epochs: 25, schedule: {one_cycle: 0.01}}
compress: {variants: [float32, int8]}
export: {targets: [litert, saved_model]}
verify: {runs: 10}
gates: {character_error_rate: "<= 0.2", int8.drop: "<= 0.1"}
"""
KINDS = ("clicks", "noise", "tone")
LETTERS = {"a": 400, "b": 1100, "c": 3000}


def tone(hertz, seconds, generator):
    phase = generator.uniform(0, 2 * np.pi)
    return generator.uniform(0.1, 0.5) * np.sin(2 * np.pi * hertz * np.arange(round(8000 * seconds)) / 8000 + phase)


def sound_of(kind, generator):
    """Return 0.4 seconds of a tone, of noise, or of clicks."""
    if kind == "tone":
        return tone(generator.uniform(300, 3000), 0.4, generator)
    if kind == "noise":
        return generator.uniform(0.03, 0.2) * generator.normal(size=3200)
    return 0.8 * (generator.random(3200) < 0.003)


def noisy(samples, generator):
    return np.clip(samples + 0.003 * generator.normal(size=len(samples)), -1, 1)


@pytest.fixture(scope="module")
def tones(tmp_path_factory):
    """Return a folder in which the first recipe was run on three kinds of sounds."""
    folder, generator = tmp_path_factory.mktemp("tones"), np.random.default_rng(0)
    for kind in KINDS:
        (folder / "tones" / kind).mkdir(parents=True)
        for number in range(50):
            samples = noisy(sound_of(kind, generator), generator)
            soundfile.write(folder / "tones" / kind / f"{number}.wav", samples, 8000)
    (folder / "recipe.yaml").write_text(CLASSIFICATION)
    return folder, run_here("run", "recipe.yaml", "--json", "results.json", cwd=folder)


@pytest.mark.slow
def test_sound_is_told_apart_on_every_target(tones):
    folder, said = tones
    assert said.code == 0, said.out + said.err
    errors = {(one["target"], one["variant"]): one["max_error"]
              for one in json.loads((folder / "results.json").read_text())["artifacts"]}
    variants = ("float32", "float16", "dynamic", "int8", "split_front_end")
    assert set(errors) == {*(("litert", variant) for variant in variants), ("saved_model", "float32"),
                           ("microcontroller", "int8"), ("microcontroller", "split_front_end")}
    assert errors["litert", "float32"] < 1e-4 and errors["saved_model", "float32"] < 1e-4


@pytest.mark.slow
def test_a_file_is_predicted(tones):
    folder, _ = tones
    sounds = [folder / "tones" / name / "0.wav" for name in KINDS]
    said = run_here("predict", "runs/tones/latest", *sounds, cwd=folder)
    lines = said.out.splitlines()
    assert [line.split()[1] for line in lines] == list(KINDS), said.out + said.err
    (folder / "mine").mkdir()
    none = run_here("predict", "runs/tones/latest", "mine", cwd=folder)
    assert none.code == 2 and "mine: has no recordings in it" in none.out + none.err
    (folder / "mine" / "one.wav").write_bytes(sounds[0].read_bytes())
    of_folder = run_here("predict", "runs/tones/latest", "mine", cwd=folder)
    assert of_folder.out.split()[:2] == ["mine/one.wav", KINDS[0]]


@pytest.mark.slow
def test_what_is_said_is_written_down(tmp_path):
    generator = np.random.default_rng(0)
    lines = ["file,text"]
    for number in range(160):
        text = "".join(generator.choice(list(LETTERS), generator.integers(1, 5)))
        parts = [part for letter in text for part in (tone(LETTERS[letter], 0.12, generator), np.zeros(480))]
        soundfile.write(tmp_path / f"{number}.wav", noisy(np.concatenate(parts), generator), 8000)
        lines.append(f"{number}.wav,{text}")
    (tmp_path / "beeps.csv").write_text("\n".join(lines))
    (tmp_path / "recipe.yaml").write_text(RECOGNITION)
    said = run_here("run", "recipe.yaml", "--json", "results.json", cwd=tmp_path)
    assert said.code == 0, said.out + said.err
    assert "greedy" in said.out
    predicted = run_here("predict", "runs/beeps/latest", *(tmp_path / f"{one}.wav" for one in range(20)), cwd=tmp_path)
    answers = [line.split()[-1] for line in predicted.out.splitlines()]
    assert sum(answer == line.split(",")[1] for answer, line in zip(answers, lines[1:], strict=False)) >= 10
