"""`litepress generate`: a language model goes on with a text."""
from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from etils import epy

from export.chat.pieces import Message
from export.chat.templates import ASSISTANT
from export.errors import first_line
from export.predictors import Predictor, open_predictor
from export.signature import DEFAULT
from export.targets.saved_model import CHAT_TEMPLATE
from export.tflite.chunked import ENDING, is_chunked
from pipelines.engine import runs, workers
from pipelines.errors import UserError
from pipelines.features.chat_template import messages_of
from pipelines.features.conversation import Conversation
from pipelines.features.running_text import RunningText
from pipelines.features.tokenizers import pretrained
from pipelines.features.tokenizers.tokenizer import END, UNKNOWN, Tokenizer
from pipelines.ingest.index import Index
from pipelines.reporting import results
from pipelines.tasks.language_model import steps, writing
from pipelines.tasks.language_model.task import OUTPUT, TOKENS, LanguageModel
from pipelines.tasks.language_model.writing import Writing
from pipelines.tasks.text_files import TOKENIZER
from pipelines.tools import generate_served
from pipelines.tools.predict import LEVELS, Asked, find_model

with epy.lazy_imports():
    import tensorflow as tf

#: What a run calls its files for LiteRT-LM, of which those ship that generate text.
LITERT_LM = "litert_lm"
#: What may be asked for at most.
MOST_TOKENS, MOST_BEAMS, MOST_SEED = 100_000, 100, 2 ** 64 - 1
#: How a text begins, or a conversation.
Prompt = str | Sequence[Message]
#: Called with each piece of text, and with what else is to be said.
Tell = Callable[[str], None]


def generate(artifact: str, prompt: Prompt, how: Writing, tell: Tell, note: Tell = lambda line: None) -> None:
    """Let a model go on with a text.

    Args:
        artifact: a run's folder, a .tflite, .litertlm or .keras file, a SavedModel's folder, or where a server has it:
            see `generate_served.address`.
        prompt: how the text begins; nothing is the beginning of a text itself. Of a model that has learnt conversations
            what a user says, or a conversation.
        how: how much is written, and how.
        tell: is given what is added, piece by piece.
        note: is given a line where a text ends before its time.

    Raises:
        UserError: a setting is out of its bounds, it is no language model, cannot be asked, or the prompt is not UTF-8,
            has a token that the vocabulary lacks, or leaves no room behind it.
    """
    check(prompt, how)
    served = generate_served.address(artifact)
    asked = None if served is not None else _found(Path(artifact))
    if asked is None:
        if not isinstance(prompt, str):
            raise UserError("generate: --chat is for runs and files; a server takes conversations at "
                            "/v1/chat/completions, see litepress serve")
        tell(generate_served.asked(served, prompt, how) if served is not None else workers.call(
            generate_served.of_folder, Path(artifact), prompt, how, what="generate"))
        return
    if asked.path.suffix in (".tflite", ENDING):
        noted: list[str] = []
        workers.quiet_at_exit()
        with workers.quiet():  # what is printed to standard error meanwhile is lost
            _all(asked, prompt, how, tell, noted.append)
        for line in noted:
            note(line)
        return
    workers.call(_reported, asked, prompt, how, what="generate", listen=lambda said: (
        tell(said["piece"]) if "piece" in said else note(said["note"])))


def conversation(path: Path) -> Sequence[Message]:
    """Return the messages in a file of JSON. Raises UserError where there are none, or they end with an answer."""
    try:
        messages = messages_of(path.read_bytes())
        if messages[-1]["role"] == ASSISTANT:
            raise ValueError("ends with an answer; its last message must be of user")
    except OSError as error:
        raise UserError(f"generate: --chat: {path}: {error.strerror}") from None
    except ValueError as error:
        raise UserError(f"generate: --chat: {path} {error}") from None
    return messages


def check(prompt: Prompt, how: Writing) -> None:
    """Raise UserError where a prompt is not text, or a setting is out of its bounds."""
    try:
        if isinstance(prompt, str):
            prompt.encode()
    except UnicodeEncodeError as error:
        raise UserError(f"generate: --prompt is not UTF-8 (character {error.start}); give text in UTF-8") from None
    own = how.sampling
    for option, value, is_right, expected in (
            ("tokens", how.count, 1 <= how.count <= MOST_TOKENS, f"1 to {MOST_TOKENS:,}"),
            ("temperature", own.temperature, 0 <= own.temperature < math.inf,
             "0, which takes the likeliest token, or more"),
            ("top-k", own.top_k, own.top_k >= 0, "0, which is all tokens, or more"),
            ("top-p", own.top_p, 0 < own.top_p <= 1, "more than 0, and at most 1, which is all tokens"),
            ("repetition-penalty", own.repetition_penalty, 0 < own.repetition_penalty < math.inf,
             "more than 0; 1 changes nothing"),
            ("seed", own.seed, 0 <= own.seed <= MOST_SEED, "0 to 2 ** 64 - 1"),
            ("beams", how.beams, 1 <= how.beams <= MOST_BEAMS, f"1, which is no search, to {MOST_BEAMS}"),
            ("length-penalty", how.length_penalty, math.isfinite(how.length_penalty), "a number"),
            ("min-tokens", how.least, 0 <= how.least <= how.count, "0 to --tokens"),
            ("stop", repr(""), "" not in how.stops, "a string that is not empty")):
        if not is_right:
            shown = f"{value:,}" if isinstance(value, int) else f"{value:g}" if isinstance(value, float) else value
            raise UserError(f"generate: --{option} is {shown}; give {expected}")
    if how.beams > 1 and own.temperature:
        raise UserError(f"generate: --beams {how.beams} searches for the likeliest text, and --temperature "
                        f"{own.temperature:g} draws one; leave one of them out")


def pieces(asked: Asked, prompt: Prompt, how: Writing, note: Tell = lambda line: None) -> Iterator[str]:
    """Yield what a file adds to a text. Raises UserError; see `generate`."""
    feature, learnt = asked.features[TOKENS], asked.index.learnt[TOKENS]
    assert isinstance(feature, RunningText)
    if not isinstance(prompt, str):
        if not isinstance(feature, Conversation):
            raise UserError(f"generate: --chat: {asked.path} has learnt no conversations; give --prompt")
        read = feature.asked(prompt, learnt)
    elif isinstance(feature, Conversation):  # with what its template writes around a question
        read = feature.question(tf.constant(prompt), learnt).numpy().tolist()
    else:
        read = feature.tokenizer.tokens(tf.constant(prompt), learnt, len(prompt) + 1).numpy().tolist()
    if UNKNOWN in read:
        is_cut = isinstance(prompt, str) and len(read) == len(prompt)
        what = repr(prompt[read.index(UNKNOWN)]) if is_cut else "a word"
        raise UserError(f"generate: --prompt has {what}, which the training text lacks; leave it out")
    writer = writing.Writer(_opened(asked), TOKENS, feature.length)
    if writer.room is not None and len(read) >= writer.room:
        raise UserError(f"generate: --prompt has {len(read):,} tokens, and {asked.path} takes {writer.room:,} with the "
                        "one that stands before a text; give a shorter one")
    if writer.room is not None and len(read) + how.count > writer.room:
        note(f"generate: {asked.path} has room for {writer.room - len(read):,} more tokens; --tokens {how.count:,} "
             "would be more")
    added = writing.written(writer, read, how, END if feature.ends else None)
    yield from writing.pieces(added, read, lambda tokens: feature.tokenizer.text(
        [learnt.names[token] for token in tokens]), how.stops)


def _all(asked: Asked, prompt: Prompt, how: Writing, tell: Tell, note: Tell) -> None:
    for piece in pieces(asked, prompt, how, note):
        tell(piece)


def _reported(asked: Asked, prompt: Prompt, how: Writing) -> None:
    """Report what a file adds, from inside a worker."""
    _all(asked, prompt, how, lambda piece: workers.report(piece=piece), lambda line: workers.report(note=line))


def _opened(asked: Asked) -> Predictor:
    """Return what asks a language model's file. Raises UserError."""
    try:
        predictor = open_predictor(asked.path)
    except (ValueError, ImportError) as error:
        raise UserError(f"generate: {first_line(error)}") from error
    known = predictor.signatures
    main = known.get(DEFAULT)
    reads_whole = main is not None and TOKENS in {one.name for one in main.inputs} and OUTPUT in {
        one.name for one in main.outputs}
    if not (reads_whole or steps.STEP in known or is_chunked(known)):
        raise UserError(f"generate: {asked.path} has the signatures {', '.join(known)}, and none that goes on with "
                        "tokens; give a language model")
    return predictor


def _found(artifact: Path) -> Asked | None:
    """Return the model that a path stands for; None of a SavedModel of which nothing beside says how it reads text.
    Raises UserError."""
    asked = find_model(artifact)
    if (artifact / runs.RECORD).exists():
        asked = dataclasses.replace(asked, path=_shipped(artifact, asked.path))
    if asked.is_guessed:
        if (artifact / "saved_model.pb").exists():
            return None
        return _beside(artifact)
    if not isinstance(asked.task, LanguageModel):
        raise UserError(f"generate: {artifact} is of {asked.task.entry_name}; give a language_model")
    return asked


def _shipped(folder: Path, recommended: Path) -> Path:
    """Return the file of a run that generates text on devices: one for LiteRT-LM, where there is one of the recommended
    variant or of another; the recommended one where there is none."""
    known = [one for one in results.collect(runs.load(folder)).artifacts if one.target == LITERT_LM]
    best = next((one for one in known if Path(one.path).stem == recommended.stem), known[0] if known else None)
    return recommended if best is None else Path(best.path).with_suffix(".tflite")  # the same as in the archive


def _beside(path: Path) -> Asked:
    """Return the model in a file whose run is not known, as the tokenizer.json of its bundle says how it reads text.
    Raises UserError where there is none."""
    file = next((folder / TOKENIZER for folder in list(path.parents)[:LEVELS] if (folder / TOKENIZER).exists()), None)
    if file is None:
        raise UserError(f"generate: nothing says how {path} cuts text; leave it in its run's folder, or in its bundle, "
                        f"which has {TOKENIZER}")
    try:
        said = json.loads(file.read_bytes())
        tokenizer = Tokenizer.read({said["kind"]: {}})
        if "lower" in type(tokenizer).model_fields:
            tokenizer = tokenizer.model_copy(update={"lower": said["lower"]})
        learnt = pretrained.shipped(said)
        settings = {"tokenizer": tokenizer, "length": said["length"], "ends": said["end"] is not None}
        template = file.with_name(CHAT_TEMPLATE)
        feature = Conversation(template=str(template), **settings) if template.exists() else RunningText(**settings)
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"generate: {file} does not say how a language model cuts text: {first_line(error)}") from error
    index = Index(source="", digest="", splits={}, learnt={TOKENS: learnt}, inputs={}, targets={})
    return Asked(path, LanguageModel(), index, {TOKENS: feature})
