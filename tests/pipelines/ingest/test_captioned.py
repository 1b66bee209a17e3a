"""Texts that are made of the classes of another source."""
import numpy as np
import pytest

from pipelines.errors import UserError
from pipelines.ingest.sources.captioned import captions
from pipelines.ingest.sources.source import Source

TEMPLATES = ["a {class}", "the digit {class}", "{class}"]


def rows(source, part="train", positions=None):
    return list(source.examples(part, positions).as_numpy_iterator())


def test_texts_say_the_class_as_one_says_it():
    assert captions(["8", "1", "12", "traffic_light", "unicorn", "owl"], ["a {class}, small"], {"owl": "bird"}) == [
        ["an eight, small"], ["a one, small"], ["a 12, small"], ["a traffic light, small"], ["a unicorn, small"],
        ["a bird, small"]]
    assert captions(["8"], ["extra {class}", "not a {class}"], {}) == [["extra eight", "not an eight"]]


def test_each_example_keeps_its_text_which_is_one_of_those_of_its_class():
    source = Source.read({"captioned": {"of": "digits", "templates": TEMPLATES}})
    assert source.fields()["text"].kind == "text" and set(source.fields()) == {"image", "label", "text"}
    assert source.parts() == Source.read("digits").parts()
    known = captions([str(number) for number in range(10)], TEMPLATES, {})
    examples = rows(source)
    chosen = [known[example["label"]].index(example["text"].decode()) for example in examples]
    assert min(np.bincount(chosen)) > len(examples) / 5, "every template is taken"
    some = rows(source, positions=[3, 40])
    assert [one["text"] for one in some] == [examples[3]["text"], examples[40]["text"]]
    assert [one["image"] for one in some] == [examples[3]["image"], examples[40]["image"]]
    other = Source.read({"captioned": {"of": "digits", "templates": TEMPLATES[:2]}})
    assert other.fingerprint() != source.fingerprint()


@pytest.mark.parametrize(("settings", "message"), [
    ({"of": "digits", "label": "kind"}, "has no classes called kind; give one of label"),
    ({"of": "digits", "words": {"eleven": "11"}}, "there is no class eleven; there are 0, 1"),
    ({"of": "vader"}, "has texts of its own; take it as it is")])
def test_what_has_no_classes_or_texts_already_is_refused(settings, message):
    with pytest.raises(UserError, match=message):
        Source.read({"captioned": settings}).fields()


@pytest.mark.parametrize(("settings", "message"), [
    ({"of": "digits", "templates": ["a digit"]}, "says nothing of the class: a digit"),
    ({"of": "digits", "templates": []}, "templates"), ({"of": "nowhere"}, "nowhere")])
def test_settings_that_mean_nothing_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        Source.read({"captioned": settings})
