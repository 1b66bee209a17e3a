"""English prose: what is left out so that another recipe can be tuned honestly, and what of documentation is prose."""
import pytest

from pipelines.errors import UserError
from pipelines.ingest.indexing import build_index
from pipelines.ingest.sources import vader
from pipelines.ingest.sources.prose import Prose, documented, held_out, paragraphs_of
from pipelines.recipe import file as recipe_file
from tests.conftest import ROOT

PROSE = "Returns the mean of the values that are\nin the array, or an error where it is not one."
CODE = f'''"""{PROSE}"""
class One:
    """This is what the class is for, and it is not for you to call.

    >>> One().is_it_the_code_of_an_example_and_not_the_prose_of_it()
    """
'''
FILES = {
    "small_prose/code.py": CODE,
    "small_prose/again.py": CODE.replace("for you", "for me"),
    "small_prose/tests/test_code.py": f'"""Tests are not the prose that is to be read. {PROSE}"""',
    "small_prose/broken.py": "def (", "small_prose/data.txt": PROSE,
    "small_prose-1.0.dist-info/LICENSE": "MIT\n\nYou may do with it what you like to do, for it is not of any worth.\n",
    "small_prose-1.0.dist-info/METADATA": "Metadata-Version: 2.4\nName: small-prose\nVersion: 1.0\nLicense-Expression: "
                                          "Apache-2.0\n\nsmall\n\nIt is the one that the tests of prose are to read, "
                                          "and it is short.\n"}


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Return the name of an installed package."""
    for name, content in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    (tmp_path / "small_prose-1.0.dist-info" / "RECORD").write_text("".join(f"{name},,\n" for name in FILES))
    monkeypatch.syspath_prepend(str(tmp_path))
    return "small-prose"


def test_what_another_recipe_tests_with_is_left_out():
    """By the index that the recipe of sentiment makes of its data."""
    recipe = recipe_file.read(ROOT / "recipes/text/sentiment_lstm.yaml", ["data.tokens.tokenizer={word: {most: 10}}"])
    index = build_index(recipe.data, recipe.task, recipe.seed)
    column = recipe.data.source.tables()["train"].columns["document"]
    expected = {name for part in ("validation", "test") for name in column[index.splits[part].positions]}
    documents, ratings, _ = vader.rows()
    assert held_out(documents, ratings, recipe.data.source.clear, recipe.seed) == expected
    learnt = {document.name.encode() for document in Prose(packages=()).documents() if document.kind == "reviews"}
    assert not learnt & expected and learnt | expected == set(documents.tolist())


def test_all_reviews_are_taken_where_none_are_held_out():
    names = [one.name for one in Prose(packages=(), held_out=None).documents() if one.kind == "reviews"]
    assert len(names) == 18_513


def test_texts_are_stretches_of_documents_with_their_licences(package):
    table = Prose(packages=(package,), window=60).tables()["train"]
    columns = {name: [value.decode() for value in values] for name, values in table.columns.items()}
    assert max(map(len, columns["text"])) <= 60
    licences = {kind: {licence for own, licence in zip(columns["kind"], columns["licence"], strict=True) if own == kind}
                for kind in set(columns["kind"])}
    assert licences == {"scripture": {"public domain"}, "reviews": {"MIT"}, "messages": {"BSD-3-Clause"},
                        "documentation": {"Apache-2.0"}}
    whole: dict[str, str] = {}
    for text, kind, document in zip(columns["text"], columns["kind"], columns["document"], strict=True):
        if kind == "documentation":
            whole[document] = whole.get(document, "") + text
    assert whole == {document.name: document.text for document in Prose(packages=(package,)).documents()
                     if document.kind == "documentation"}


def test_of_a_package_prose_alone_is_taken_and_what_files_repeat_once(package):
    """By a package that is written here: its description, its licence, and what its own code says of itself."""
    taken = [(one.name, one.text) for one in Prose(packages=(package,)).documents() if one.kind == "documentation"]
    assert taken == [
        (f"{package} description", "It is the one that the tests of prose are to read, and it is short.\n"),
        (f"{package} small_prose-1.0.dist-info/LICENSE", "You may do with it what you like to do, for it is not of any "
                                                         "worth.\n"),
        (f"{package} small_prose/again.py", f"{' '.join(PROSE.split())}\nThis is what the class is for, and it is not "
                                            "for me to call.\n"),
        (f"{package} small_prose/code.py", "This is what the class is for, and it is not for you to call.\n")]


@pytest.mark.parametrize("text", ["x = 3\ny = 4", "| a | b |", "See https://example.org for all of the details of it.",
                                  ">>> the_function(of_the, array_and) is what it was to be.", "Too short to say it."])
def test_code_and_tables_are_no_prose(text):
    assert list(paragraphs_of(f"{text}\n\n{PROSE}")) == [" ".join(PROSE.split())]


def test_documentation_is_read_off_code():
    assert list(documented('"""One."""\nclass A:\n    """Two."""\n    def f(self):\n        """Three."""')) == [
        "One.", "Two.", "Three."]
    assert list(documented("def (")) == []


def test_a_package_that_is_not_installed_is_named():
    with pytest.raises(UserError, match="no_such_package is not installed; leave it out"):
        Prose(packages=("no_such_package",)).fingerprint()
