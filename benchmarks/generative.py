"""StyleGAN2 and Stable Diffusion at the papers' sizes: parameters beside the published ones, and one step of each.

    .venv/bin/python benchmarks/generative.py
    .venv/bin/python benchmarks/generative.py --only parameters
    .venv/bin/python benchmarks/generative.py --only steps --size 256

Parameters are counted without making them. A step of training StyleGAN2 for images of 256 x 256 pixels takes all that
it ever does: the discriminator with the penalty R1, and the generator with the path lengths. A step of Stable
Diffusion 3 medium is one answer of its network to noisy latents and a text, without guidance, with random weights in
bfloat16. Each is done in a process of its own, twice: the first time makes the graph, the second counts. Stable
Diffusion is KerasHub's (extra hub). Exits 1 where a number of parameters is not the published one.
"""
from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from typing import Any

import numpy as np

#: Parameters that the authors' code prints of a generator and a discriminator for 1024 x 1024 pixels, configuration F.
PUBLISHED = {"generator": 30_370_060, "discriminator": 29_012_513}
#: The settings of stylegan2 by the side of its images: filters next to the pixels, and doublings.
SIDES = {256: {"width": 128, "depth": 6}, 1024: {"width": 32, "depth": 8}}
#: What KerasHub's presets of Stable Diffusion 3 medium were made with.
VAE = ([128, 256, 512, 512], [2, 2, 2, 2], [512, 512, 256, 128], [3, 3, 3, 3])
CLIP_L = (49408, 768, 768, 12, 12, 3072, "quick_gelu", -2)
CLIP_G = (49408, 1280, 1280, 32, 20, 5120, "gelu", -2)
NETWORK = (2, 1536, 24, 24, 192)
PRESET = "stable_diffusion_3_medium"
#: Tokens of a text, of both encoders, and numbers of each.
TOKENS, NUMBERS, POOLED = 2 * 77, 4096, 2048


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=["parameters", "steps"], help="the one or the other (default: both)")
    parser.add_argument("--size", type=int, default=512, help="a side of Stable Diffusion's pictures (default 512)")
    parser.add_argument("--measure", choices=list(MEASURED), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.size % 16 or not 16 <= options.size <= 3072:
        parser.error(f"--size is {options.size}; give a multiple of 16, 3072 at most")
    if options.measure:
        print(json.dumps(MEASURED[options.measure](options.size)))
        return
    names = [name for name in MEASURED if options.only is None or name.startswith(options.only[:-1])]
    rows = [row for name in names for row in measured(name, options.size)]
    print(f"\n{'model':<58}  {'parameters':>13}  {'published':>13}  {'of a step: seconds':>18}  {'peak memory':>11}")
    for row in rows:
        print(line(row))
    sys.exit(any(row.get("published") not in (None, row.get("parameters")) for row in rows))


def measured(name: str, size: int) -> list[dict[str, Any]]:
    """Return the rows of a measurement, made in a process of its own."""
    print(f"{name} …", flush=True)
    done = subprocess.run([sys.executable, __file__, "--measure", name, "--size", str(size)], stdout=subprocess.PIPE,
                          text=True)
    if done.returncode:
        return [{"model": f"{name}: ended with code {done.returncode}"}]
    return json.loads(done.stdout.splitlines()[-1])


def line(row: dict[str, Any]) -> str:
    """Return a row of the table."""
    count, known = (f"{row[name]:,}" if row.get(name) else "" for name in ("parameters", "published"))
    seconds = f"{row['seconds']:.1f}" if "seconds" in row else ""
    memory = f"{row['memory'] / 2**30:.1f} GiB" if "memory" in row else ""
    return f"{row['model']:<58}  {count:>13}  {known:>13}  {seconds:>18}  {memory:>11}"


def parameters_of_stylegan2(size: int) -> list[dict[str, Any]]:
    """Return how many parameters both players have at 256 and 1024 pixels."""
    import keras

    import models
    from models import dcgan

    rows = []
    with keras.StatelessScope(initialize_variables=False):
        for side, settings in SIDES.items():
            players = dcgan.parts(models.build("stylegan2", input_shape=(side, side, 3), noise_shape=(512,), classes=0,
                                               **settings))
            for name, published in PUBLISHED.items():
                count = sum(int(np.prod(one.shape)) for one in getattr(players, name).trainable_variables)
                known = {"published": published} if side == 1024 else {}
                rows.append({"model": f"StyleGAN2, {name}, {side} x {side} pixels", "parameters": count, **known})
    return rows


def parameters_of_stable_diffusion(size: int) -> list[dict[str, Any]]:
    """Return how many parameters Stable Diffusion 3 medium has, as KerasHub counts its preset, and its parts."""
    import keras

    try:
        import keras_hub
        from keras_hub.src.models.vae.vae_backbone import VAEBackbone
    except ImportError:
        return [{"model": "Stable Diffusion 3 medium: wants the extra hub"}]
    hub = keras_hub.models
    with keras.StatelessScope(initialize_variables=False):
        vae = VAEBackbone(*VAE, name="vae")
        encoders = [hub.CLIPTextEncoder(*sizes, name=name) for name, sizes in (("clip_l", CLIP_L), ("clip_g", CLIP_G))]
        backbone = hub.StableDiffusion3Backbone(*NETWORK, None, None, vae, *encoders)
        parts = {"text encoders": encoders, "network": [backbone.diffuser], "autoencoder": [vae], "": [backbone]}
        counts = {name: sum(one.count_params() for one in chosen) for name, chosen in parts.items()}
    published = hub.StableDiffusion3Backbone.presets[PRESET]["metadata"]["params"]
    return [{"model": f"Stable Diffusion 3 medium{', ' if name else ''}{name}", "parameters": count,
             **({} if name else {"published": published})} for name, count in counts.items()]


def step_of_stylegan2(size: int) -> list[dict[str, Any]]:
    """Return what a step of training takes at 256 pixels, one image at a time, with both penalties."""
    import keras

    import models
    from pipelines.training.generative.style_gan import StyleGan
    from pipelines.training.learners.supervised import learning

    loss = StyleGan(r1_every=1, path_every=1)
    model = models.build("stylegan2", input_shape=(256, 256, 3), noise_shape=(512,), classes=0)
    learner = learning(model, keras, loss.learner(keras)).prepare(loss.objective(), {})
    learner.compile(optimizer=keras.optimizers.Adam(1e-3, beta_1=0.0), jit_compile=False)
    generator = np.random.default_rng(0)
    inputs = {"image": generator.integers(0, 256, (1, 256, 256, 3)).astype("float32"),
              "noise": generator.normal(size=(1, 512)).astype("float32")}
    seconds = timed(lambda: learner.train_on_batch(inputs, {"label": np.zeros(1)}))
    return [{"model": "StyleGAN2, a training step, one image of 256 x 256", "seconds": seconds, "memory": peak()}]


def step_of_stable_diffusion(size: int) -> list[dict[str, Any]]:
    """Return what one answer of the network takes."""
    import tensorflow as tf

    try:
        import keras_hub  # noqa: F401  brings what the network is made of
        from keras_hub.src.models.stable_diffusion_3.mmdit import MMDiT
    except ImportError:
        return [{"model": "Stable Diffusion 3 medium, a step: wants the extra hub"}]
    latent = (size // 8, size // 8, 16)
    network = MMDiT(*NETWORK, latent_shape=latent, context_shape=(None, NUMBERS), pooled_projection_shape=(POOLED,),
                    dtype="bfloat16")
    inputs = {"latent": (1, *latent), "context": (1, TOKENS, NUMBERS), "pooled_projection": (1, POOLED),
              "timestep": (1, 1)}
    asked = {name: tf.random.normal(shape) for name, shape in inputs.items()}
    answer = tf.function(lambda **tensors: network(tensors, training=False))
    seconds = timed(lambda: answer(**asked).numpy())
    return [{"model": f"Stable Diffusion 3 medium, a step, {size} x {size}, bfloat16",
             "parameters": network.count_params(), "seconds": seconds, "memory": peak()}]


def timed(step: Any) -> float:
    """Return how many seconds a step takes the second time."""
    step()
    start = time.perf_counter()
    step()
    return time.perf_counter() - start


def peak() -> int:
    """Return the most memory that this process has had, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


MEASURED = {"parameters of StyleGAN2": parameters_of_stylegan2,
            "parameters of Stable Diffusion": parameters_of_stable_diffusion,
            "step of StyleGAN2": step_of_stylegan2, "step of Stable Diffusion": step_of_stable_diffusion}

if __name__ == "__main__":
    main()
