"""GGUF, the files of llama.cpp and of what is built on it, such as Ollama: a decoder's weights, whole or in blocks of
integers, its tokenizer, and what the engine must know, in one file.

The format is https://github.com/ggml-org/ggml/blob/master/docs/gguf.md; which tensors and which settings an
architecture has is what llama.cpp's loader asks for.
"""
from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from etils import epy

with epy.lazy_imports():
    import gguf
    import numpy as np

Numbers = Literal["float32", "float16", "q8_0", "q4_0"]
ENDING = ".gguf"
SUMMARY = {"float32": "as trained", "float16": "weights in half precision",
           "q8_0": "weights in 8 bits, a scale for 32 of them",
           "q4_0": "weights in 4 bits, a scale for 32 of them; vectors of tokens in 8"}
#: Numbers that share a scale.
BLOCK = 32
EMBEDDING, OUTPUT, POSITIONS = "token_embd.weight", "output.weight", "position_embd.weight"
#: What is looked up by rows, and the last layer, keep 8 bits where the others have 4: they cost most.
FINER = (EMBEDDING, OUTPUT)
#: The key of tokens that are never written, which the package has no name for yet.
NEVER = "tokenizer.ggml.suppress_tokens"
#: How llama.cpp calls its tokenizers: byte pair encoding of SentencePiece, its unigram model, and that of bytes.
Kind = Literal["llama", "t5", "gpt2"]


@dataclasses.dataclass(frozen=True)
class Network:
    """A decoder as llama.cpp has it.

    Args:
        architecture: its name, which all settings begin with.
        settings: by their names behind that.
        tensors: by name, float32; dense layers with a row for each output.
    """

    architecture: str
    settings: Mapping[str, int | float]
    tensors: Mapping[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Vocabulary:
    """How llama.cpp cuts texts.

    Args:
        kind: which of its tokenizers does.
        tokens: by number.
        types: of each, numbers of `gguf.TokenType`.
        scores: of each, in SentencePiece's.
        merges: pairs that become one, the first ones first, in that of bytes.
        charsmap: which characters stand for others, as SentencePiece has it; the unigram tokenizer alone reads it.
        prefix: a space is put before a text.
        merged_spaces: several spaces count as one.
        template: of conversations, jinja; none where it is empty.
    """

    kind: Kind
    tokens: Sequence[str]
    types: Sequence[int]
    scores: Sequence[float] = ()
    merges: Sequence[str] = ()
    charsmap: bytes = b""
    prefix: bool = False
    merged_spaces: bool = False
    template: str = ""


@dataclasses.dataclass(frozen=True)
class Special:
    """Numbers of special tokens.

    Args:
        start: stands before a text.
        end: ends one.
        never: are not written.
    """

    start: int
    end: int
    unknown: int
    padding: int
    never: Sequence[int]


def of_sentencepiece(content: bytes) -> Vocabulary:
    """Return how llama.cpp cuts texts as a file of SentencePiece does."""
    from sentencepiece import sentencepiece_model_pb2

    schema: Any = sentencepiece_model_pb2
    model = schema.ModelProto.FromString(content)
    is_pairs = model.trainer_spec.model_type == schema.TrainerSpec.BPE
    normal = model.normalizer_spec
    return Vocabulary("llama" if is_pairs else "t5", [piece.piece for piece in model.pieces],
                      [piece.type for piece in model.pieces], [piece.score for piece in model.pieces],
                      charsmap=normal.precompiled_charsmap, prefix=normal.add_dummy_prefix,
                      merged_spaces=normal.remove_extra_whitespaces)


def of_bytes(names: Sequence[str], merges: Sequence[tuple[str, str]], special: Special, first: int) -> Vocabulary:
    """Return how llama.cpp cuts texts by byte pair encoding of bytes, as GPT-2 does.

    Args:
        names: of tokens, in the alphabet of bytes.
        merges: pairs of tokens that become one, the first ones first.
        first: number of the first token that is not special.
    """
    kinds = gguf.TokenType
    types = [kinds.UNKNOWN if number == special.unknown else kinds.CONTROL if number < first else kinds.NORMAL
             for number in range(len(names))]
    return Vocabulary("gpt2", names, [int(one) for one in types], merges=[" ".join(pair) for pair in merges])


def with_bytes(network: Network, words: Vocabulary, special: Special) -> tuple[Network, Vocabulary, Special]:
    """Return the same with a token for each byte behind the others, where SentencePiece's pairs are cut: llama.cpp
    fails there of characters that it has no token for. They are read as the unknown token is, and never written."""
    if words.kind != "llama":
        return network, words, special
    own = [f"<0x{byte:02X}>" for byte in range(256)]
    count = len(words.tokens)
    tensors = {name: np.concatenate([tensor, np.repeat(tensor[special.unknown:special.unknown + 1], len(own), axis=0)])
               if name in (EMBEDDING, OUTPUT) else tensor for name, tensor in network.tensors.items()}
    return (dataclasses.replace(network, settings={**network.settings, "vocab_size": count + len(own)},
                                tensors=tensors),
            dataclasses.replace(words, tokens=[*words.tokens, *own], scores=[*words.scores, *[0.0] * len(own)],
                                types=[*words.types, *[int(gguf.TokenType.BYTE)] * len(own)]),
            dataclasses.replace(special, never=[*special.never, *range(count, count + len(own))]))


def check(network: Network, numbers: Numbers) -> None:
    """Raise ValueError where rows of weights do not divide into blocks."""
    if numbers not in ("q8_0", "q4_0"):
        return
    for name, tensor in network.tensors.items():
        if _is_matrix(name, tensor) and tensor.shape[-1] % BLOCK:
            raise ValueError(f"{numbers} has a scale for {BLOCK} weights of a row, and {name} has rows of "
                             f"{tensor.shape[-1]}; take units and hidden that {BLOCK} divides, or float16")


def write(path: Path, name: str, network: Network, words: Vocabulary, special: Special, numbers: Numbers) -> None:
    """Write a file.

    Args:
        path: of the file.
        name: of the model, for people.

    Raises:
        ValueError: rows of weights do not divide into blocks.
    """
    check(network, numbers)
    network, words, special = with_bytes(network, words, special)
    writer = gguf.GGUFWriter(None, network.architecture)
    writer.add_name(name)
    writer.add_file_type({"float32": gguf.LlamaFileType.ALL_F32, "float16": gguf.LlamaFileType.MOSTLY_F16,
                          "q8_0": gguf.LlamaFileType.MOSTLY_Q8_0, "q4_0": gguf.LlamaFileType.MOSTLY_Q4_0}[numbers])
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    for setting, value in network.settings.items():
        key = f"{network.architecture}.{setting}"
        writer.add_float32(key, value) if isinstance(value, float) else writer.add_uint32(key, value)
    _add_words(writer, words, special)
    for tensor_name, tensor in network.tensors.items():
        kind = _kind(tensor_name, tensor, numbers)
        content = gguf.quants.quantize(np.ascontiguousarray(tensor, np.float32), kind)
        writer.add_tensor(tensor_name, content, raw_dtype=kind)
    writer.write_header_to_file(path)
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _add_words(writer: gguf.GGUFWriter, words: Vocabulary, special: Special) -> None:
    writer.add_tokenizer_model(words.kind)
    writer.add_tokenizer_pre("gpt-2" if words.kind == "gpt2" else "default")
    writer.add_token_list(list(words.tokens))
    writer.add_token_types(list(words.types))
    if words.scores:
        writer.add_token_scores(list(words.scores))
    if words.merges:
        writer.add_token_merges(list(words.merges))
    if words.kind == "t5" and words.charsmap:
        writer.add_precompiled_charsmap(words.charsmap)
    writer.add_add_space_prefix(words.prefix)
    writer.add_remove_extra_whitespaces(words.merged_spaces)
    writer.add_bos_token_id(special.start)
    writer.add_eos_token_id(special.end)
    writer.add_unk_token_id(special.unknown)
    writer.add_pad_token_id(special.padding)
    writer.add_add_bos_token(True)
    writer.add_add_eos_token(False)
    writer.add_array(NEVER, list(special.never))
    if words.template:
        writer.add_chat_template(words.template)


def _is_matrix(name: str, tensor: np.ndarray) -> bool:
    """Return whether a tensor is written in fewer bits; positions stay as they are."""
    return tensor.ndim > 1 and name != POSITIONS


def _kind(name: str, tensor: np.ndarray, numbers: Numbers) -> gguf.GGMLQuantizationType:
    kinds = gguf.GGMLQuantizationType
    if numbers == "float32" or not _is_matrix(name, tensor):
        return kinds.F32
    if numbers == "q4_0" and name in FINER:
        return kinds.Q8_0
    return {"float16": kinds.F16, "q8_0": kinds.Q8_0, "q4_0": kinds.Q4_0}[numbers]
