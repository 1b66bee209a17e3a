"""One line for an error."""
import pytest

from export.errors import first_line, last_line


@pytest.mark.parametrize(("message", "expected"), [
    ("\n  the first\nand more", "the first"), ("", "ValueError"),
    ("Exception encountered when calling layer \"x\" (type X).\n\nwhy\n", "why"),
    ("Exception encountered when calling layer \"x\"", "ValueError")])
def test_the_first_line_that_says_something(message, expected):
    assert first_line(ValueError(message)) == expected


def test_the_last_line_that_a_program_printed():
    assert last_line("a\nb\n\n") == "b" and last_line("") == "it gives no reason"
