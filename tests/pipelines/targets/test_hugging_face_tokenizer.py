"""Files of Hugging Face's library: it opens them, and cuts texts into the same numbers."""
import unicodedata

import pytest
import tokenizers

from pipelines.features.feature import Learnt
from pipelines.features.tokenizers.byte_bpe import ByteBpe
from pipelines.features.tokenizers.character import Character
from pipelines.features.tokenizers.tokenizer import ENDS, SPECIAL
from pipelines.targets import hugging_face_tokenizer
from pipelines.targets.litert_lm import tokenizer_of
from tests.pipelines.features.tokenizers.odd_strings import odd, real
from tests.pipelines.features.tokenizers.test_byte_bpe import WRITTEN
from tests.pipelines.features.tokenizers.test_pieces import cutter


@pytest.fixture(scope="module")
def learnt():
    return ByteBpe(most=500).learn([text.encode() for text in real(300)], (*SPECIAL, *ENDS))


def test_the_library_opens_the_file_and_makes_the_same_tokens(learnt, tmp_path):
    (tmp_path / "tokenizer.json").write_bytes(hugging_face_tokenizer.written(ByteBpe(), learnt))
    one, cut = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json")), cutter(ByteBpe(), learnt)
    assert one.get_vocab_size() == len(learnt.names) and one.token_to_id("<END>") == 3
    for text in [*WRITTEN, *real(10), *(text for text in odd(30) if "Cn" not in map(unicodedata.category, text))]:
        ids = one.encode(text).ids
        assert ids == cut(text) and one.decode(ids) == text, repr(text)
        assert not ids or min(ids) > 3


def test_the_engines_file_is_of_the_kind_that_cuts_so(learnt):
    assert tokenizer_of(ByteBpe(), learnt).kind == "hugging_face"
    letters = Character().learn([b"abc"], (*SPECIAL, *ENDS))
    assert tokenizer_of(Character(), letters).kind == "sentencepiece"
    with pytest.raises(ValueError, match=r"as character does; give data\.tokens\.tokenizer: byte_bpe"):
        hugging_face_tokenizer.written(Character(), Learnt())
