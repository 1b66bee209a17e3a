"""What is handed on of a text that grows, for texts made by hand."""
import pytest

from serving.completions.continuation import Growing, Settings


def growing(*stops, trimmed=False):
    return Growing(Settings(most=None, temperature=0, top_k=0, top_p=1, seed=0, stops=stops, trimmed=trimmed))


def parts(text, *grown, last="length"):
    """Return what is handed on of each state of a text; the last one is the end."""
    return [text.take(state, place, last if place == len(grown) else None) for place, state in enumerate(grown, 1)]


def test_what_may_become_a_stop_is_held_back():
    assert parts(growing("END", "\n\n"), "a", "aE", "aEN", "aENd", "aENd\n", "aENd\n.") == [
        "a", "", "", "ENd", "", "\n."]


def test_a_stop_ends_a_text_within_a_part_that_is_longer():
    text = growing("END", "b")
    assert parts(text, "xE", "xENDb more") == ["x", ""] and text.reason == "stop" and text.handed == "x"
    assert parts(growing("END", "b"), "a b END") == ["a "]


def test_what_is_held_back_is_handed_on_at_the_end():
    assert parts(growing("END"), "aEN", "aEN") == ["a", "EN"]


def test_bytes_that_are_no_whole_character_are_held_back():
    assert parts(growing(), "a", "a\ufffd", "a\ufffd\ufffd", "aé", "aé\ufffd", "aé\ufffd") == [
        "a", "", "", "é", "", "\ufffd"]


@pytest.mark.parametrize("trimmed", [False, True])
def test_white_space_at_the_beginning_is_left_out_of_chats(trimmed):
    said = "".join(parts(growing(trimmed=trimmed), " ", " \n", " \na ", " \na b"))
    assert said == ("a b" if trimmed else " \na b")


def test_a_stop_that_begins_in_the_white_space_that_is_left_out_ends_an_answer():
    text = growing("\nUser:", trimmed=True)
    assert parts(text, "\n", "\nUs", "\nUser: Why?", "\nUser: Why? So") == ["", "", "", ""] and text.reason == "stop"
    assert parts(growing("\n", trimmed=True), "\n", "\na", "\na\nb") == ["", "a", ""], "all of it, it ends nothing"


def test_a_text_that_reads_otherwise_with_more_tokens_is_handed_on_when_it_fits_again():
    assert parts(growing(), "ab", "ac", "abd") == ["ab", "", "d"]
