"""TFLite files that MediaPipe's TextClassifier and TextEmbedder cut texts for as BERT does, in its own three inputs.

It makes small letters of ASCII capitals, cuts words into the longest pieces of a vocabulary that lies behind the model,
and gives `ids`: [CLS], the pieces and [SEP], filled up with 0; beside them `mask`, 1 where there is one, and
`segment_ids`, 0. The metadata are those of tensorflow/tflite-support, metadata_schema.fbs, as in
`export.tflite.metadata`.
"""
from __future__ import annotations

import io
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from etils import epy

from export.delivery.archive import write_zip
from export.signature import Tensor
from export.tflite import edit, signatures
from export.tflite import file as tflite_file
from export.tflite.metadata import (
    AXIS_CALIBRATION,
    AXIS_LABELS,
    CALIBRATION,
    FEATURE,
    FIELD,
    IDENTIFIER,
    LABELS,
    PARSER_VERSION,
    SCORE_CALIBRATION,
    Description,
)
from export.tflite.tables import Tables
from export.tflite.texts import OF_VOCABULARY

with epy.lazy_imports():
    import flatbuffers
    import numpy as np
    from ai_edge_litert import schema_py_generated as schema

#: What MediaPipe looks for, by these names.
IDS, MASK, SEGMENTS = "ids", "mask", "segment_ids"
MEANINGS = {IDS: "numbers of pieces, [CLS] and [SEP] around them, 0 behind", MASK: "1 where there is a piece, not used",
            SEGMENTS: "0, not used"}
#: The file behind a model that has a piece in each line, and what the pieces are called there that no text has.
VOCABULARY, PADDING, UNKNOWN, BEGIN, END = "vocab.txt", "[PAD]", "[UNK]", "[CLS]", "[SEP]"
BERT_TOKENIZER = 4  # ProcessUnitOptions


def described(about: Description) -> Description:
    """Return what a model says of itself with the three inputs in the place of its tokens."""
    assert about.signature is not None
    inputs = tuple(Tensor(name=name, dtype="int32", shape=(None,), role="tokens", meaning=meaning)
                   for name, meaning in MEANINGS.items())
    return about.model_copy(update={"signature": about.signature.model_copy(update={"inputs": inputs})})


def written(content: bytes, about: Description, pieces: Sequence[str], *, ends: bool) -> bytes:
    """Return a model of one text's tokens, int32 (1, length), as a file that MediaPipe's TextClassifier opens, or its
    TextEmbedder where it gives an embedding.

    Args:
        content: a TFLite file whose padding is 0.
        about: what it says of itself.
        pieces: the vocabulary: padding and what stands for all that is unknown, then, with `ends`, what begins and ends
            a text, then pieces of words.
        ends: the model has learnt with a beginning and an end. Else they are cut off within the file, and it takes two
            more.

    Raises:
        ValueError: it takes something else, or there are not as many labels as classes.
    """
    special = (PADDING, UNKNOWN, BEGIN, END) if ends else (PADDING, UNKNOWN)
    lines = [*special, *pieces[len(special):], *(() if ends else (BEGIN, END))]
    content = _with_three_inputs(content, None if ends else len(pieces))
    classes = signatures.main(content).output.shape[-1]
    if about.labels and len(about.labels) != classes:
        raise ValueError(f"there are {len(about.labels)} labels, but the model has {classes} classes")
    files = {VOCABULARY: "\n".join(lines).encode()}
    if about.labels:
        files[LABELS] = "\n".join(about.labels).encode()
    if about.calibration is not None:
        line = f"1.0,{about.calibration.slope:.6g},{about.calibration.offset:.6g}"
        files[CALIBRATION] = "\n".join([line] * classes).encode()
    return _with_metadata(content, about, files)


def _with_three_inputs(content: bytes, vocabulary: int | None) -> bytes:
    """Return the same model with MediaPipe's inputs in the place of its own.

    Args:
        vocabulary: tokens of the model; the first and the last of `ids` are cut off, and what is no such token is
            padding. None where it takes them as they are.
    """
    model, main = tflite_file.read(content), signatures.main(content)
    inner, graph = main.input.index, model.subgraphs[main.subgraph]
    shape = main.input.shape
    if main.input.dtype != "int32" or len(shape) != 2 or main.subgraph:
        raise ValueError(f"the file takes {main.input.dtype} {shape}; it must be int32 tokens, (1, length)")
    length = shape[1]
    if vocabulary is None:
        ids = inner
        graph.tensors[ids].name = IDS.encode()
    else:
        length += 2
        ids = edit.tensor_of(model, IDS.encode(), [1, length], "INT32")
        own = edit.tensor_of(model, b"without_ends", [1, shape[1]], "INT32")
        known = edit.tensor_of(model, b"known", [1, shape[1]], "BOOL")
        first, size, limit, none = (edit.constant_of(model, name, value, "int32") for name, value in (
            (b"first", [0, 1]), (b"size", [1, shape[1]]), (b"vocabulary", vocabulary), (b"padding", 0)))
        graph.operators = [
            edit.operator_of(model, "SLICE", "Slice", [ids, first, size], own),
            edit.operator_of(model, "LESS", "Less", [own, limit], known),
            edit.operator_of(model, "SELECT_V2", "SelectV2", [known, own, none], inner), *graph.operators]
    others = [edit.tensor_of(model, name.encode(), [1, length], "INT32") for name in (MASK, SEGMENTS)]
    graph.inputs = [ids, *others]
    definition = schema.SignatureDefT()
    definition.signatureKey, definition.subgraphIndex = main.name.encode(), main.subgraph
    definition.inputs = [edit.mapped(name.encode(), index) for name, index in zip(MEANINGS, graph.inputs, strict=True)]
    definition.outputs = [edit.mapped(name.encode(), info.index) for name, info in main.outputs.items()]
    model.signatureDefs = [definition]
    return tflite_file.write(model)


def _with_metadata(content: bytes, about: Description, files: Mapping[str, bytes]) -> bytes:
    """Return the same model with metadata, and files behind it."""
    model = tflite_file.read(content)
    buffer = schema.BufferT()
    buffer.data = np.frombuffer(_flatbuffer(about, signatures.main(content).output.name, files), "uint8")
    model.buffers.append(buffer)
    entry = schema.MetadataT()
    entry.name, entry.buffer = FIELD, len(model.buffers) - 1
    model.metadata = [*(one for one in model.metadata or [] if one.name != FIELD), entry]
    behind = io.BytesIO(tflite_file.write(model))
    write_zip(behind, files, compress=False)  # readers map the files as they lie there
    return behind.getvalue()


def _flatbuffer(about: Description, output: str, files: Collection[str]) -> bytes:
    """Return the metadata of a model of texts: how they are cut, its inputs, and its classes where it has such."""
    builder = flatbuffers.Builder(1024)
    build = Tables(builder)

    def file(name: str, kind: int) -> int:
        return build({0: ("text", name), 2: ("byte", kind)})

    def tensor(name: str, meaning: str, fields: Mapping[int, tuple[str, Any]]) -> int:
        content = build({0: ("ubyte", FEATURE), 1: ("table", build({}))})
        return build({0: ("text", name), 1: ("text", meaning), 3: ("table", content), **fields})

    cut = build({0: ("tables", [file(VOCABULARY, OF_VOCABULARY)])})
    unit = build({0: ("ubyte", BERT_TOKENIZER), 1: ("table", cut)})
    inputs = [tensor(name, meaning, {}) for name, meaning in MEANINGS.items()]
    fields: dict[int, tuple[str, Any]] = {}
    if CALIBRATION in files:
        options = build({0: ("byte", 0), 1: ("float", 0.0)})
        fields[4] = ("tables", [build({0: ("ubyte", SCORE_CALIBRATION), 1: ("table", options)})])
    kinds = {LABELS: AXIS_LABELS, CALIBRATION: AXIS_CALIBRATION}
    if of_output := [file(name, kind) for name, kind in kinds.items() if name in files]:
        fields[6] = ("tables", of_output)
    outputs = [tensor(output, "one per class" if LABELS in files else "a vector", fields)]
    graph = build({2: ("tables", inputs), 3: ("tables", outputs), 5: ("tables", [unit])})
    texts = {0: about.name, 1: about.description, 2: about.version, 4: about.author, 5: about.license,
             7: PARSER_VERSION}
    root = build({3: ("tables", [graph]), **{slot: ("text", text) for slot, text in texts.items() if text}})
    builder.Finish(root, IDENTIFIER)
    return bytes(builder.Output())
