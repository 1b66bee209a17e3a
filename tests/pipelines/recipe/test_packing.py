"""Conversations that cannot stand several in a row are refused: token 2 is where a text begins."""
import pytest

from export.chat.templates import KNOWN
from pipelines.errors import UserError
from pipelines.features.chat_template import begins_again
from pipelines.recipe import file as recipe_file

RECIPE = """\
name: one
task: instruction_tuning
data: {source: {conversations: {path: said.jsonl}}, tokens: {tokenizer: character, template: TEMPLATE}}
model: {builder: gpt}
"""


def test_some_templates_write_the_start_inside_a_conversation():
    assert {name for name in KNOWN if begins_again(name)} == {"chatml", "llama2", "gemma"}


@pytest.mark.parametrize("template", ["chatml", "llama2", "own.jinja"])
@pytest.mark.parametrize("setting", ["model.packed=true", "data.augment=[packed]"])
def test_packed_conversations_whose_template_begins_again_are_refused(tmp_path, monkeypatch, template, setting):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.jinja").write_text(KNOWN["chatml"].jinja)
    (tmp_path / "one.yaml").write_text(RECIPE.replace("TEMPLATE", template))
    recipe_file.read(tmp_path / "one.yaml")
    with pytest.raises(UserError, match=r"the template \S+ writes it inside a conversation"):
        recipe_file.read(tmp_path / "one.yaml", [setting])


@pytest.mark.parametrize("template", ["plain", "llama3", "alpaca"])
def test_others_may_be_packed(tmp_path, template):
    (tmp_path / "one.yaml").write_text(RECIPE.replace("TEMPLATE", template))
    recipe_file.read(tmp_path / "one.yaml", ["model.packed=true", "data.augment=[packed]"])
