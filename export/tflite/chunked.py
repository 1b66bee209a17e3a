"""TFLite files of language models that read some tokens a call: the names of their signatures, and the archives that
they lie in, NAME.litertlm."""
from __future__ import annotations

import io
import re
from collections.abc import Collection
from pathlib import Path

PREFILL, DECODE = "prefill_", "decode"
TOKENS, PLACES, OUTPUT, KEYS, VALUES = "tokens", "input_pos", "logits", "kv_cache_k_", "kv_cache_v_"
ENDING = ".litertlm"


def is_chunked(signatures: Collection[str]) -> bool:
    """Return whether a file with these signatures reads some tokens a call."""
    return DECODE in signatures and any(re.fullmatch(rf"{PREFILL}\d+", name) for name in signatures)


def model_of(path: Path) -> bytes:
    """Return the TFLite file of an archive. Raises ValueError where it is no archive, or has none."""
    from litert_lm_builder import litertlm_core, litertlm_peek
    from litert_lm_builder import litertlm_header_schema_py_generated as schema

    try:
        sections = litertlm_peek.read_litertlm_header(str(path), io.StringIO()).SectionMetadata()
    except Exception as error:  # of several classes: whatever its bytes happen to say
        raise ValueError(f"{path} is not a .litertlm file") from error
    for number in range(sections.ObjectsLength()):
        section = sections.Objects(number)
        if section.DataType() == schema.AnySectionDataType.TFLiteModel:
            with litertlm_core.open_file(str(path), "rb") as stream:
                stream.seek(section.BeginOffset())
                return stream.read(section.EndOffset() - section.BeginOffset())
    raise ValueError(f"{path} has no TFLite model")
