"""Characters: every one is a token, and text comes back."""
import tensorflow as tf

from pipelines.features.tokenizers.character import Character

SPECIAL = ("<PAD>", "<UNKNOWN>")


def test_every_character_is_a_token_and_text_comes_back():
    text = "In the beginning\nGod créa 👍 the heaven"
    tokenizer = Character()
    learnt = tokenizer.learn([text.encode()], SPECIAL)
    tokens = tokenizer.tokens(tf.constant(text.encode()), learnt, 100).numpy()
    assert len(tokens) == len(text)
    assert tokenizer.text(learnt.names[number] for number in tokens) == text
    assert set(learnt.names[2:]) == set(text)
    assert learnt.names[2:4] == [" ", "e"]  # the most frequent


def test_characters_that_the_vocabulary_lacks_are_unknown():
    tokenizer = Character(lower=True)
    learnt = tokenizer.learn([b"abAB a"], SPECIAL)
    assert learnt.names == [*SPECIAL, "a", "b", " "]
    for text, expected in ((b"BA z", [3, 2, 4, 1]), (b"a\xffb", [2, 1, 3]), ("日".encode(), [1]), (b"", [])):
        assert tokenizer.tokens(tf.constant(text), learnt, 10).numpy().tolist() == expected


def test_rare_characters_are_left_out():
    assert Character(most=1).learn([b"aab"], SPECIAL).names == [*SPECIAL, "a"]
    assert Character(min_count=2).learn([b"aab"], SPECIAL).names == [*SPECIAL, "a"]
