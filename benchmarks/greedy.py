"""Goes on with held-out texts on everything that a language model's run has made, and counts where the tokens are those
of Keras, which reads each text anew for each token: prints one table.

    python benchmarks/greedy.py runs/gpt/latest
    python benchmarks/greedy.py runs/gpt/latest --prompts 50 --tokens 64

Asked are the driver of litepress on the .tflite file, LiteRT-LM's engine on the .litertlm file where it is installed,
and the SavedModel behind the embedded server, over gRPC and REST. Files in other numbers than float32 are in the table
for comparison: they may differ.
"""
from __future__ import annotations

import argparse
import functools
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from export.artifacts import ExportedList
from export.keras_models import file as keras_file
from export.measure import litert_lm as engine
from export.predictors import ChunkedPredictor
from export.targets import tools
from pipelines.engine import runs, workers
from pipelines.features.feature import Learnt
from pipelines.features.running_text import RunningText
from pipelines.features.tokenizers.tokenizer import END, START
from pipelines.ingest.data import Data
from pipelines.ingest.index import Index
from pipelines.recipe.recipe import Recipe
from pipelines.stages.context import INDEX, trained
from pipelines.targets import held_out_prompts
from pipelines.targets.held_out_prompts import Prompt
from pipelines.tasks.language_model.of_texts import COUNT, GENERATE, GENERATED
from pipelines.tasks.text_serving import TEXT
from serving.client import GrpcClient, RestClient
from serving.embedded import serving

#: That a request may take.
SECONDS = 600.0
Answers = Iterator[tuple[str, list[bool], float]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, metavar="RUN", help="of a language model with the target litert_lm")
    parser.add_argument("--prompts", type=int, default=200, help="held-out texts (default 200)")
    parser.add_argument("--tokens", type=int, default=32, help="added to each at most (default 32)")
    options = parser.parse_args()
    workers.quiet()
    run = runs.load(options.run)
    recipe = Recipe.model_validate(run.record.recipe)
    index = Index.model_validate_json(run.path("ingest", INDEX).read_bytes())
    data = Data(recipe.data, recipe.task, index, recipe.seed)
    read, learnt = held_out_prompts.text_of(data, "litert_lm", "This benchmark")
    model = keras_file.load(trained(run.path("train", "")))
    prompts = held_out_prompts.prompts(data, read, learnt, options.prompts, options.tokens, model.inputs[0].shape[1])
    expected = held_out_prompts.greedy(model, prompts, held_out_prompts.never(read))
    exported = ExportedList.model_validate(runs.read_json(run.path("export", "exported.json"))).artifacts
    print(f"{len(prompts)} held-out texts, {sum(map(len, expected)):,} tokens added by Keras\n")
    print(f"{'what':<36}  {'equal':>10}  {'seconds':>8}")
    wrong = 0
    for artifact in exported:
        path = run.path("export", artifact.path)
        for name, equal, seconds in answers(artifact.target, path, prompts, expected, read, learnt, recipe.name):
            print(f"{name + ' ' + str(artifact.variant or ''):<36}  {sum(equal):>4} of {len(equal)}  {seconds:>8.1f}",
                  flush=True)
            wrong += artifact.variant in (None, "float32") and not all(equal)
    sys.exit(1 if wrong else 0)


def answers(target: str, path: Path, prompts: Sequence[Prompt], expected: Sequence[Sequence[int]],
            read: RunningText, learnt: Learnt, name: str) -> Answers:
    """Yield what was asked, whether each text goes on as Keras has it, and the seconds that it took."""
    def text(tokens: Sequence[int]) -> str:
        return read.tokenizer.text([learnt.names[token] for token in tokens])

    if target == "litert_lm":
        never = held_out_prompts.never(read)
        yield _timed("driver", lambda: _of_driver(path.with_suffix(".tflite"), prompts, expected, never))
        if not tools.missing("litert-lm"):
            yield _timed("LiteRT-LM", lambda: _of_engine(path, prompts, [text(tokens) for tokens in expected]))
    if target == "saved_model":
        wholes = [text([*prompt.tokens, *tokens]) for prompt, tokens in zip(prompts, expected, strict=True)]
        yield from _of_server(path, prompts, wholes, name)


def _timed(name: str, measure: Callable[[], list[bool]]) -> tuple[str, list[bool], float]:
    start = time.perf_counter()
    return name, measure(), time.perf_counter() - start


def _of_driver(path: Path, prompts: Sequence[Prompt], expected: Sequence[Sequence[int]],
               never: Sequence[int]) -> list[bool]:
    model = ChunkedPredictor(path)
    return [_driven(model, prompt, never) == list(tokens) for prompt, tokens in zip(prompts, expected, strict=True)]


def _driven(model: ChunkedPredictor, prompt: Prompt, never: Sequence[int]) -> list[int]:
    """Return what a file adds to a prompt."""
    text = model.text()
    logits = text.read([START, *prompt.tokens])
    added: list[int] = []
    while len(added) < prompt.count:
        logits[list(never)] = -np.inf
        token = int(logits.argmax())
        if token == END:
            break
        added.append(token)
        if len(added) < prompt.count:
            logits = text.after(token)
    return added


def _of_engine(path: Path, prompts: Sequence[Prompt], texts: Sequence[str]) -> list[bool]:
    written = engine.greedy(path, [(prompt.asked, prompt.count) for prompt in prompts])
    return [one.read == prompt.tokens and "".join(one.parts).strip() == text.strip()  # it leaves out a first space
            for one, prompt, text in zip(written, prompts, texts, strict=True)]


def _of_server(path: Path, prompts: Sequence[Prompt], texts: Sequence[str], name: str) -> Answers:
    """Yield the same of a SavedModel, which takes and gives whole texts."""
    inputs = {TEXT: np.array([str(prompt.asked).encode() for prompt in prompts], object),
              COUNT: np.array([prompt.count for prompt in prompts], np.int32)}
    with serving(path.parent, name) as running:
        for protocol, client in (("gRPC", GrpcClient(running.grpc, name, deadline=SECONDS)),
                                 ("REST", RestClient(running.rest, name, deadline=SECONDS))):
            with client:
                yield _timed(f"served, {protocol}", functools.partial(_served, client, inputs, texts))


def _served(client: GrpcClient | RestClient, inputs: Mapping[str, np.ndarray], texts: Sequence[str]) -> list[bool]:
    answers = client.predict(inputs, GENERATE)[GENERATED]
    return [(one if isinstance(one, str) else one.decode()) == text for one, text in zip(answers, texts, strict=True)]


if __name__ == "__main__":
    main()
