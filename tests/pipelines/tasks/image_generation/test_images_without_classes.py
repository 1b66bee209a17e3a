"""Models of pictures that have no classes: out of noise alone, and by the texts about them."""
import json

import numpy as np
import PIL.Image
import pytest

from tests.conftest import run_here

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
ALONE = """\
name: alone
task: {{image_generation: {{judge: {judge}}}}}
data: {{source: {{images: pictures}}, image: {{size: 8, channels: 1}}, noise: {{size: [2, 2, 3]}}, batch: 64}}
model: {{builder: autoencoder, width: 8}}
train: {{epochs: 2, optimizer: adam}}
compress: {{variants: [float32]}}
"""
BY_TEXT = """\
name: by_text
task: {{image_generation: {{judge: {judge}, by: text, diffusion: {{sampled: 2}}}}}}
data: {{source: {{images: pictures}}, image: {{size: 8, channels: 1}}, noise: {{size: [2, 2, 3]}},
       tokens: {{length: 4}}, batch: 64}}
model: {{builder: latent_diffusion, width: 8, groups: 4, heads: 2, text_units: 8, text_depth: 1, autoencoder_width: 8,
        weights: {{autoencoder: alone.yaml}}}}
train: {{epochs: 1, optimizer: adam}}
compress: {{variants: [float32]}}
export: {{targets: [litert]}}
"""


@pytest.mark.slow
def test_they_are_learnt_out_of_noise_and_by_their_texts(tiny_run, tmp_path):
    from sklearn.datasets import load_digits

    digits = load_digits()
    (tmp_path / "pictures").mkdir()
    for number, (image, label) in enumerate(zip(digits.images[:300], digits.target, strict=False)):
        PIL.Image.fromarray((image * 15).astype("uint8")).save(tmp_path / f"pictures/{number}.png")
        (tmp_path / f"pictures/{number}.txt").write_text(f"a {WORDS[label]}\n")
    for name, text in (("alone", ALONE), ("by_text", BY_TEXT)):
        (tmp_path / f"{name}.yaml").write_text(text.format(judge=(tiny_run / "runs/tiny/latest").resolve()))
    for name in ("alone", "by_text"):
        said = run_here("run", f"{name}.yaml", "--json", f"{name}.json", cwd=tmp_path)
        assert said.code == 0, said.out + said.err
        results = json.loads((tmp_path / f"{name}.json").read_text())
        metrics = results["reference"]["metrics"]
        assert np.isfinite(metrics["fid_classifier"]) and "class_accuracy" not in metrics
        assert all(one["max_error"] <= 1e-4 for one in results["artifacts"])
    drawn = [run_here("sample", "runs/by_text/latest", "--seed", 7, "--count", 2, "--text", text, "--out", text,
                      cwd=tmp_path) for text in ("a three", "a four")]
    assert [one.code for one in drawn] == [0, 0], drawn
    assert (tmp_path / "a three/0001.png").read_bytes() != (tmp_path / "a four/0001.png").read_bytes()
    refused = run_here("sample", "runs/alone/latest", "--seed", 7, "--class", "three", cwd=tmp_path)
    assert refused.code == 2 and "class" in refused.err
