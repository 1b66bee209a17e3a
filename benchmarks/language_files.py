"""The files of `language_models.py`: one model of random weights for each engine, in float32 and in 8 bits.

    python benchmarks/language_files.py FOLDER '{"length": 256, "vocabulary": 2000, "depth": 4, ...}'
"""
from __future__ import annotations

import json
import sys
from pathlib import Path

from language_engines import BARRED, FIRST, SPECIAL

import models
from export.conversion import convert
from export.keras_models import graph
from export.targets import gguf, litert_lm
from models.chunks import ChunkedDecoder
from pipelines.features.feature import Learnt
from pipelines.features.tokenizers.character import Character
from pipelines.features.tokenizers.tokenizer import ENDS
from pipelines.features.tokenizers.tokenizer import SPECIAL as FIRST_ONES
from pipelines.targets import gguf_network, sentencepiece_model

LENGTHS = (8, 32, 128)


def main() -> None:
    folder, settings = Path(sys.argv[1]), json.loads(sys.argv[2])
    model = models.build("llama", **settings)
    letters = [chr(FIRST + number) for number in range(settings["vocabulary"] - SPECIAL)]
    content = sentencepiece_model.written(Character(), Learnt(names=[*FIRST_ONES, *ENDS, *letters]))
    tokenizer = litert_lm.Tokenizer("sentencepiece", content)
    barred = list(BARRED)
    convert.float_graph(model, lambda one: litert_lm.functions(ChunkedDecoder(one), LENGTHS), folder / "graph")
    for numbers, others in (("float32", "float32"), ("dynamic", "q8_0")):
        path = folder / f"{numbers}.tflite"
        path.write_bytes(convert.convert(folder / "graph", numbers))
        litert_lm.pack(folder / f"{numbers}.litertlm", path, tokenizer, litert_lm.Manner(
            start=2, stop=3, never=barred, length=settings["length"]))
        gguf.write(folder / f"{numbers}.gguf", numbers, gguf_network.network(model), gguf.of_sentencepiece(content),
                   gguf.Special(start=2, end=3, unknown=1, padding=0, never=barred), others)
    convert.float_graph(model, lambda one: [graph.function(one, graph.signature_of(one))], folder / "whole")
    (folder / "whole.tflite").write_bytes(convert.convert(folder / "whole", "float32"))


if __name__ == "__main__":
    main()
