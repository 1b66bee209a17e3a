"""Questions to verified files that mark answers, and answers as text in predict."""
import json

import pytest

from tests.conftest import run_here

pytestmark = pytest.mark.slow  # a whole run

NAMES = ["Ada", "Ben", "Cleo", "Dan", "Eva", "Finn", "Gus", "Hana", "Ida", "Jon"]
TOWNS = ["Kyiv", "Oslo", "Lima", "Rome", "Riga", "Cork"]
RECIPE = """
name: people
task: question_answering
data:
  source: {squad: {path: people.jsonl, window: 24, stride: 12}}
  tokens: {tokenizer: {word: {min_count: 1}}, length: 40, question: 8}
  batch: 16
model: {builder: bert_qa, depth: 2, units: 48, heads: 4, dropout: 0}
train: {epochs: 8, optimizer: adam, schedule: {one_cycle: {peak: 0.003, warmup: 0.1}}}
compress: {variants: [float32, dynamic]}
export: {targets: [litert, saved_model]}
gates: {float32.max_error: "<= 1e-4", f1: ">= 95"}
"""


def text(person, town, other, place):
    between = "and nothing else is known of that , as far as anybody can say or wants to say here today ,"
    return f"{person} lives in {town}, {between} while {other} was born in {place}."


def write_people(path):
    """Write two questions about each of some texts."""
    rows = []
    for number, person in enumerate(NAMES * 20):
        town, place = TOWNS[number % 6], TOWNS[(number // 6 + number + 1) % 6]
        other = NAMES[(number + 3 + number // 10) % 10]
        context = f"{number}: {text(person, town, other, place)}"
        rows += [{"question": "Who lives here?", "context": context, "answer": person, "start": len(f"{number}: ")},
                 {"question": "Who was born?", "context": context, "answer": other, "start": context.rindex(other)}]
    path.write_text("\n".join(map(json.dumps, rows)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("people")
    write_people(folder / "people.jsonl")
    (folder / "recipe.yaml").write_text(RECIPE)
    result = run_here("run", "recipe.yaml", "--no-track", "--json", "r.json", cwd=folder)
    assert result.code == 0, result.out[-2000:] + result.err[-2000:]
    return folder


def test_every_file_answers_as_what_was_trained(folder):
    results = json.loads((folder / "r.json").read_text())
    files = {one["variant"] if one["target"] == "litert" else one["target"]: one for one in results["artifacts"]}
    assert files["float32"]["drop"]["f1"] == 0 and files["float32"]["max_error"] < 1e-4
    assert set(files["saved_model"]["served"]) == {"grpc", "rest"}
    assert results["reference"]["metrics"]["exact_match"] <= results["reference"]["metrics"]["f1"]


def test_predict_says_answers_as_they_are_written(folder):
    context = text("Ben", "Rome", "Eva", "Lima")
    (folder / "asked.jsonl").write_text(json.dumps({"question": "Who lives here?", "context": context}))
    result = run_here("predict", "runs/people/latest", "asked.jsonl", cwd=folder)
    assert result.code == 0, result.err
    said = [line.split("  ")[-1].strip() for line in result.out.splitlines()]
    answer, = {line for line in said if line != "no answer in this window"}
    assert answer in context and len(said) == 2


def test_predict_answers_one_question_about_several_texts(folder):
    contexts = [text("Ben", "Rome", "Eva", "Lima"), text("Ida", "Oslo", "Gus", "Cork")]
    lines = [json.dumps({"question": "Who lives here?", "context": context}) for context in contexts]
    (folder / "both.jsonl").write_text("\n".join(lines))
    result = run_here("predict", "runs/people/latest", "both.jsonl", cwd=folder)
    assert result.code == 0, result.err
    said = [line.split("  ")[-1].strip() for line in result.out.splitlines()]
    first, second = [line for line in said if line != "no answer in this window"]
    assert first in contexts[0] and second in contexts[1]


FIRST = """
name: guesses
task: masked_language_model
data:
  source: {text_lines: {path: texts, window: 120}}
  tokens: {tokenizer: {wordpiece: 200}, length: 80}
  batch: 16
model: {builder: bert_mlm, depth: 2, units: 48, heads: 4, dropout: 0}
train: {epochs: 1, optimizer: adam}
"""


@pytest.mark.parametrize("tokenizer", ["{byte_bpe: 320}", "{pretrained: first.yaml}"])
def test_pieces_of_words_answer_too(tmp_path, tokenizer):
    write_people(tmp_path / "people.jsonl")
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "train.txt").write_text("\n".join(text(*words) for words in zip(
        NAMES * 6, TOWNS * 10, NAMES[::-1] * 6, TOWNS[::-1] * 10, strict=True)))
    (tmp_path / "first.yaml").write_text(FIRST)
    recipe = RECIPE.replace("{word: {min_count: 1}}, length: 40, question: 8", f"{tokenizer}, length: 76, question: 10")
    recipe = recipe.replace("[litert, saved_model]", "[litert]").replace(">= 95", ">= 50")
    if "pretrained" in tokenizer:
        recipe = recipe.replace("dropout: 0}", "dropout: 0, weights: {pretrained: first.yaml}}")
    (tmp_path / "recipe.yaml").write_text(recipe)
    done = run_here("run", "recipe.yaml", "--no-track", "--json", "r.json", cwd=tmp_path)
    assert done.code == 0, done.out[-2000:] + done.err[-2000:]
    context = text("Ben", "Rome", "Eva", "Lima")
    (tmp_path / "asked.jsonl").write_text(json.dumps({"question": "Who lives here?", "context": context}))
    said = run_here("predict", "runs/people/latest", "asked.jsonl", cwd=tmp_path)
    assert said.code == 0, said.err
    answers = {line.split("  ")[-1].strip() for line in said.out.splitlines()} - {"no answer in this window"}
    assert len(answers) == 1 and answers.pop() in context
