"""A variant whose dense layers have weights in 4 bits, in blocks."""
from __future__ import annotations

from typing import Literal

from export.conversion import blocks, convert
from export.tflite import file as tflite_file
from pipelines.variants.variant import Variant, VariantContext


class Int4Blocks(Variant, name="int4_blocks", shorthand="block"):
    """Weights of dense layers in 4 bits, a scale for each block of them; those of the last layer and of embeddings in
    8 bits. Activations are quantized while running.

    Args:
        block: weights that share a scale; what a layer reads must be a multiple of it.
    """

    block: Literal[32, 64, 128, 256] = 32

    @property
    def encoding(self) -> str:
        return "int4_blocks"

    @property
    def summary(self) -> str:
        return (f"weights of dense layers in 4 bits, a scale for every {self.block}, of the last layer in 8; "
                "activations quantized while running")

    def content(self, context: VariantContext) -> bytes:
        exact = convert.convert(context.graph, "float32")
        content = tflite_file.slim(blocks.quantize(exact, self.block))
        context.details |= {"block": self.block, "float32_bytes": len(exact)}
        if kept := blocks.in_float(content):
            context.details["stays_float"] = [f"tables of {', '.join(kept)}"]
        return content
