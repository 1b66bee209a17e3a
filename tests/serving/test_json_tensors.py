"""JSON values of text inputs."""
import pytest

from serving import json_tensors, tensors


@pytest.mark.parametrize("values", [[0, None], [1, 2], ["a", 3], [-1], [True]])
def test_what_is_no_text_is_refused(values):
    with pytest.raises(json_tensors.NotFitting, match="is not of expected type: string"):
        json_tensors._array(values, tensors.STRING)


def test_text_is_taken_as_bytes():
    assert json_tensors._array(["a", {"b64": "Yg=="}], tensors.STRING).tolist() == [b"a", b"b"]
