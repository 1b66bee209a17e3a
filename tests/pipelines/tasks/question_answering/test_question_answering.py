"""Question answering: answers as SQuAD's script scores them, marked where they stand, in windows of long texts."""
import json
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf

import models
from models.bert_qa import segments
from pipelines.errors import UserError
from pipelines.features import Field
from pipelines.features.question import SEPARATOR, Answer, Question
from pipelines.features.tokenizers.byte_bpe import ByteBpe
from pipelines.features.tokenizers.character import Character
from pipelines.features.tokenizers.sentencepiece import Bpe, SentencePiece
from pipelines.features.tokenizers.word import Word
from pipelines.features.tokenizers.wordpiece import WordPiece
from pipelines.ingest.sources.package_questions import PackageQuestions
from pipelines.ingest.sources.questions import Asked, table, windows
from pipelines.ingest.sources.squad import Squad, questions
from pipelines.recipe.recipe import Recipe
from pipelines.tasks.question_answering import QuestionAnswering, spans
from pipelines.tasks.question_answering.measure import Answers, Window, exact_match, f1, worth
from tests.pipelines.tasks.small_data import WORD, data_of

CONTEXT = "The café of Ünal Çelik, opened in 1998, has 12 tables; Ana-María bought it (for €2,000)."
ASKED = [("Who opened it?", "Ünal Çelik"), ("When?", "1998"), ("Who bought it?", "Ana-María"), ("For what?", "€2,000"),
         ("What is it?", "The café"), ("How many tables?", "12")]


def test_f1_and_exact_match_are_those_of_squads_script():
    # by hand: "the" and "a" are left out; "cat sat" and "cat" have one word in common, of 2 and 1: 2 / 3
    assert f1("the cat sat", "a cat") == pytest.approx(2 / 3)
    assert f1("Denver Broncos!", "the denver broncos") == 1 and exact_match("The  Cat!", "cat") == 1
    # "to to" and "to be": one "to" in common, of 2 and 2
    assert f1("to to", "to be") == 0.5 and f1("dog", "cat") == 0 == exact_match("cats", "cat")
    assert worth("cat", ["dog", "a cat"]) == (1, 1) and worth("", []) == (1, 1) and worth("cat", []) == (0, 0)


def test_questions_of_several_files_are_answered_each(tmp_path):
    task, read = QuestionAnswering(), Question(tokenizer=Word(min_count=1), length=40, question=8)
    index = SimpleNamespace(learnt={"tokens": read.learn(Field(kind="text"), [CONTEXT.encode(), b"Who When For what"])})
    task._read, inputs, titles = read, [], []
    for name, some in (("one.json", ASKED[:1]), ("two.json", ASKED[:2])):
        asked = [{"id": str(number), "question": question,
                  "answers": [{"text": answer, "answer_start": CONTEXT.index(answer)}]}
                 for number, (question, answer) in enumerate(some)]
        content = {"data": [{"title": "p", "paragraphs": [{"context": CONTEXT, "qas": asked}]}]}
        (tmp_path / name).write_text(json.dumps(content))
        titles_of, rows = task.rows_of(tmp_path / name, {"tokens": read}, index)
        titles, inputs = titles + titles_of, [*inputs, *rows["tokens"]]
    logits = np.zeros((3, 2, 40))
    for row, tokens in zip(logits, inputs, strict=True):
        row[:, np.flatnonzero(tokens == 3)[0] + 1] = 9  # the first word of the text
    for _ in range(1, 3):
        said = task.in_words({"logits": logits, "tokens": np.stack(inputs)}, index)
        assert said == ["The", "The", "The"] and len(titles) == 3
        for name in ("one.json", "two.json"):
            task.rows_of(tmp_path / name, {"tokens": read}, index)


@pytest.mark.parametrize("tokenizer", [
    Word(min_count=1), WordPiece(most=60), ByteBpe(most=300), Character(),
    *(pytest.param(one, marks=pytest.mark.slow) for one in (Bpe(most=60), SentencePiece(most=60)))],
    ids=lambda one: one.entry_name)
def test_an_answer_is_found_in_tokens_and_comes_back_as_it_is_written(tokenizer):
    """With the word that it begins in, and the one that it ends in, where a token has both."""
    rows = table("test", [Asked(str(number), "p", question, CONTEXT, (answer,), CONTEXT.index(answer))
                          for number, (question, answer) in enumerate(ASKED)], None, None)
    read = Question(tokenizer=tokenizer, length=160, question=20)
    learnt, target = read.learn(Field(kind="text"), rows.columns["asked"]), Answer().beside({"tokens": read})
    assert target.learn(Field(kind="text"), rows.columns["marked"]) == learnt
    for asked, marked, (_, answer) in zip(rows.columns["asked"], rows.columns["marked"], ASKED, strict=True):
        tokens = read.decode(tf.constant(asked), learnt).numpy()
        first, last = target.decode(tf.constant(marked), learnt).numpy().tolist()
        said = spans.text_of(spans.Span(first, last, 0.0), asked.decode(), tokens, tokenizer, learnt)
        more = 2 if tokenizer.entry_name in ("bpe", "sentencepiece") else 0  # punctuation in the same piece
        assert answer in said and len(said) <= len(answer) + more
        ends = np.flatnonzero(tokens == 3)
        assert len(ends) == 2 and ends[0] < first <= last < ends[1]


@pytest.mark.parametrize(("question", "answer"), ASKED)
def test_the_tokens_of_an_answer_are_those_of_its_words(question, answer):
    rows = table("test", [Asked("1", "p", question, CONTEXT, (answer,), CONTEXT.index(answer))], None, None)
    asked, marked = (rows.columns[name][0] for name in ("asked", "marked"))
    read = Question(tokenizer=Word(min_count=1), length=48, question=6)
    learnt = read.learn(Field(kind="text"), [asked])
    tokens = read.decode(tf.constant(asked), learnt).numpy()
    target = Answer().beside({"tokens": read})
    first, last = target.decode(tf.constant(marked), target.learn(Field(kind="text"), [marked])).numpy().tolist()
    np.testing.assert_array_equal(
        tokens[first:last + 1], read.tokenizer.tokens(tf.constant(answer), learnt, 48).numpy())
    assert spans.text_of(spans.Span(first, last, 0.0), asked.decode(), tokens, read.tokenizer, learnt) == answer
    ends = np.flatnonzero(tokens == 3)
    np.testing.assert_array_equal(np.asarray(segments(tokens[None]))[0], (np.arange(48) > ends[0]).astype(int))


def test_what_is_cut_off_has_no_answer():
    target = Answer(length=12, question=3, tokenizer=Word(min_count=1))
    learnt = target.learn(Field(kind="text"), [b"one two"])

    def marked(before):
        return target.decode(tf.constant(SEPARATOR.join(("who is it", "one " * before, "two", " end"))), learnt).numpy()

    # 1 + 3 + 1 tokens stand before the text; the last of 12 is kept for its end
    assert marked(5).tolist() == [10, 10] and marked(6).tolist() == [0, 0]
    assert target.prepare(tf.constant([[4, 5]]), learnt).numpy().argmax(axis=-1).tolist() == [[4, 5]]


def test_the_best_span_is_that_of_trying_all():
    tokens = np.array([2, 9, 9, 3, 5, 6, 7, 8, 4, 3, 0, 0])
    logits = np.random.default_rng(0).normal(size=(2, 12))
    text = range(4, 9)
    score, first, last = max((logits[0, i] + logits[1, j], i, j) for i in text for j in text if i <= j < i + 3)
    span = spans.best(logits, tokens, 3)
    assert (span.first, span.last) == (first, last)
    assert span.score == pytest.approx(score - logits[0, 0] - logits[1, 0])
    assert spans.best(logits, np.array([2, 9, 3, 0]), 3) is None


def test_long_texts_are_read_in_windows_and_the_best_one_answers():
    text = " ".join(f"w{number}" for number in range(23))
    cut = [text[first:last].split() for first, last in windows(text, 10, 4)]
    assert all(len(words) == 10 for words in cut) and cut[0][0] == "w0" and cut[-1][-1] == "w22"
    assert {word for words in cut for word in words} == set(text.split())
    rows = table("test", [Asked("q", "p", "Which?", text, ("w12",), text.index("w12"))], 10, 4)
    marked = [value.decode().split(SEPARATOR) for value in rows.columns["marked"]]
    assert [parts[2] for parts in marked] == ["w12" if "w12" in words else "" for words in cut]
    measure = Answers(lambda targets, outputs, row: outputs["windows"][row], False)
    wrong = measure.add({}, {"windows": [Window("q", "Which?", ["w12"], "w3", 1.0, False),
                                         Window("q", "Which?", ["w12"], "w12", 2.0),
                                         Window("r", "What?", ["a b"], "b", -1.0)]})
    # "a b" without its article is "b"
    np.testing.assert_array_equal(wrong, [np.nan, 0, 0])
    assert measure.result().metrics == {"f1": 100.0, "exact_match": 100.0}
    assert Answers(measure.window, True).said(Window("r", "?", [], "b", -1.0)) == ""


def squad_file(folder, answers, **others):
    qas = [{"id": "5", "question": "Who?", "answers": answers, **others}]
    path = folder / "squad.json"
    path.write_text(json.dumps({"version": "1.1", "data": [{"title": "Café", "paragraphs": [
        {"context": CONTEXT, "qas": qas}]}]}))
    return path


def test_squads_json_and_json_lines_are_read(tmp_path):
    right = {"text": "1998", "answer_start": CONTEXT.index("1998")}
    asked, = questions(squad_file(tmp_path, [right, right, {"text": "in 1998", "answer_start": 0}]))
    assert (asked.answers, asked.passage, asked.name) == (("1998", "in 1998"), "Café 0", "5")
    asked, = questions(squad_file(tmp_path, [right], is_impossible=True))
    assert asked.answers == ()
    path = tmp_path / "lines.jsonl"
    path.write_text("\n".join(json.dumps({"question": question, "context": CONTEXT, "answer": answer})
                              for question, answer in ASKED))
    source = Squad(path=str(path))
    assert source.size("train") == len(ASKED) and source.fields()["answers"].kind == "text"
    assert len(set(source.groups("train", "passage", range(len(ASKED))))) == 1


def test_a_line_of_json_ends_at_a_new_line_alone(tmp_path):
    path = tmp_path / "lines.jsonl"
    row = json.dumps({"question": "Who?", "context": "one\u2028two\x85three", "answer": "two"}, ensure_ascii=False)
    path.write_bytes(f"{row}\r\n{row}\n".encode())
    assert [asked.name for asked in questions(path)] == ["lines.jsonl:1", "lines.jsonl:2"]


@pytest.mark.parametrize(("content", "said"), [
    ("{", "line 1 is not JSON"), ("[]", "an object with question and context"),
    ('{"question": "?", "context": "a b", "answer": "c"}', "does not stand in its context"),
    ('{"question": "?", "context": "a b", "answer": "b", "start": 0}', "at character 0"),
    ('{"question": "?", "context": "a b", "answer": ""}', "an empty answer"),
    ('{"question": "?", "context": "a b", "answer": "a", "start": "x"}', "number of characters"),
    ('{"question": " ", "context": "a b"}', "no question or no context"), ("", "has no questions")])
def test_what_is_wrong_in_a_file_is_said(tmp_path, content, said):
    path = tmp_path / "lines.jsonl"
    path.write_text(content)
    with pytest.raises(UserError, match=said):
        Squad(path=str(path)).tables()


def test_files_that_are_not_squads_are_refused(tmp_path):
    path = tmp_path / "squad.json"
    path.write_text('{"data": [{"title": "x"}]}')
    with pytest.raises(UserError, match="not as SQuAD has it"):
        list(questions(path))
    with pytest.raises(UserError, match="is not there"):
        Squad(path="nowhere.json").fingerprint()
    for settings, said in (({"path": "a", "window": 3, "stride": 4}, "stride must be at most window"),
                           ({"path": "a", "train": "b"}, "give path")):
        with pytest.raises(ValueError, match=said):
            Squad(**settings)
    for tokenizer in ("regex", "whitespace"):
        with pytest.raises(ValueError, match="must be word, character, or pieces of words"):
            Question(tokenizer=tokenizer)


def test_a_question_leaves_room_for_its_text():
    with pytest.raises(ValueError, match="question is 9, and length 12 leaves no room for the text; give at most 8"):
        Question(length=12, question=9)
    assert Question(length=12, question=8).question == 8


def recipe(source, **task):
    return Recipe.model_validate({
        "name": "asked", "task": {"question_answering": task}, "data": {"source": source}, "model": {"builder":
                                                                                                    "bert_qa"}})


def test_a_source_without_questions_is_refused():
    one = recipe("vader")
    with pytest.raises(UserError, match="vader has no asked; questions are in squad"):
        one.task.features_of(one.data, one.data.source.fields())


def test_installed_packages_answer_questions_about_themselves():
    rows = PackageQuestions().tables()["train"]
    asked = [text.decode() for text in rows.columns["asked"]]
    place = next(number for number, text in enumerate(asked) if text.startswith("Which version of keras is installed"))
    assert json.loads(rows.columns["answers"][place]) == [keras.__version__]
    assert rows.columns["marked"][place].decode().split(SEPARATOR)[2] == keras.__version__ and rows.rows > 200


def test_the_closed_form_is_the_size_of_what_is_built():
    settings = {"depth": 2, "units": 16, "heads": 4}
    model = models.build("bert_qa", length=10, vocabulary=50, **settings)
    size = models.builder("bert_qa").sized({"length": 10, "vocabulary": 50}, settings)
    assert (size.parameters, size.multiply_adds) == (model.count_params(), models.census.multiply_adds(model))
    assert model.output.shape == (None, 2, 10)


@pytest.mark.parametrize("units", [48, 256])
def test_narrow_models_begin_with_weights_that_let_the_question_through(units):
    model = models.build("bert_qa", length=10, vocabulary=50, units=units, heads=4)
    for name, inputs in (("block_0_attention_query", units), ("block_1_feed_forward_output", 4 * units)):
        assert np.std(model.get_layer(name).kernel) == pytest.approx(inputs**-0.5, rel=0.1)


def test_questions_whose_windows_are_the_same_are_answered_each_by_its_own(tmp_path):
    rows = []
    for number in range(40):
        context = f"{number} keys were found by {'Ada' if number % 2 else 'Ben'} , and more is not known of them ."
        rows += [{"question": "Who found them?", "context": context, "answer": context.split()[5]}]
    (tmp_path / "found.jsonl").write_text("\n".join(map(json.dumps, rows)))
    task = QuestionAnswering()
    data = data_of(task, source={"squad": {"path": str(tmp_path / "found.jsonl"), "window": 8, "stride": 8}},
                   tokens={"tokenizer": WORD, "length": 24, "question": 8})
    measure = task.measure(data.index)
    for inputs, targets in data.batches("test"):
        measure.add(targets, {"logits": np.eye(24)[targets["answer"]], "tokens": inputs["tokens"]})
    asked = {position // 2 for position in data.index.splits["test"].positions}
    assert len(measure.best) == len(asked) and measure.result().metrics == {"f1": 100.0, "exact_match": 100.0}
