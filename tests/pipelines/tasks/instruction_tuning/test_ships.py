"""A model that learns to answer ships: each of its files answers a conversation as the others do."""
import json
import zipfile

import openai
import pytest

from export.chat.templates import KNOWN
from export.targets import tools
from export.writing.sampling import Sampling
from pipelines.tasks.language_model.writing import Writing
from pipelines.tools import generate
from serving.embedded import running
from tests.conftest import command

pytestmark = [pytest.mark.slow,  # a whole run
              pytest.mark.skipif(bool(tools.missing("litert-lm") or tools.missing("gguf")),
                                 reason="the engines are not installed")]
RECIPE = """\
name: chat
task: instruction_tuning
data:
  source: {prompts: {source: {bible: {window: 24}}, prompt: "{text} Who?", answer: "{book} it is.", most: 600,
                     words: {John: J, Luke: J}, otherwise: M}}
  tokens: {tokenizer: {byte_bpe: 300}, length: 96, template: chatml}
  batch: 32
model: {builder: llama, depth: 1, units: 32, heads: 2, dropout: 0.0}
train: {epochs: 2, schedule: {one_cycle: 0.01}}
compress: {variants: [float32, float16, dynamic, int4_blocks]}
export:
  targets:
    - litert
    - litert_lm: {variants: [float32, float16, dynamic, int4_blocks], prefill: [4, 16], prompts: 6, tokens: 8}
    - gguf: {weights: [float32, q8_0], prompts: 6, tokens: 8}
    - saved_model
verify: {runs: 10}
gates:
  float32.max_error: "<= 1e-4"
  litert_lm_float32.max_error: "<= 1e-4"
  litert_lm_float32.greedy_equal: ">= 1"
  gguf_float32.greedy_equal: ">= 1"
  saved_model.max_error: "<= 1e-4"
"""
TALK = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "<END> of it. Who?"},
        {"role": "assistant", "content": "M it is."}, {"role": "user", "content": "And it came to pass. Who?"}]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The folder of a run of the recipe."""
    folder = tmp_path_factory.mktemp("ships")
    (folder / "chat.yaml").write_text(RECIPE)
    (folder / "talk.json").write_text(json.dumps(TALK))
    done = command("run", "chat.yaml", "--no-track", "--json", "r.json", cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "texts as Keras does" in done.stdout
    return folder / "runs" / "chat" / "latest"


def said(run, file, asked):
    told = []
    generate.generate(str(run / file), asked, Writing(12, Sampling()), told.append)
    return "".join(told).strip()


def test_every_file_answers_alike(run):
    files = ["", "export/litert/float32.tflite", "export/litert_lm/float32.tflite",
             "export/litert_lm/float32.litertlm", "export/saved_model/1"]
    asked = "And it came to pass. Who?"
    assert len({said(run, file, asked) for file in files}) == 1
    talked = {said(run, file, TALK) for file in files}
    assert len(talked) == 1 and talked != {""}
    done = command("generate", run / files[1], "--tokens", "12", "--chat", "talk.json", cwd=run.parents[2])
    assert done.stdout.strip() in talked, done.stderr
    with (running(model_name="chat", model_base_path=str(run / "export" / "saved_model")) as server,
          openai.OpenAI(base_url=f"http://{server.rest}/v1", api_key="none", max_retries=0) as client):
        answer = client.chat.completions.create(model="chat", messages=TALK, max_tokens=12, temperature=0)
        assert answer.choices[0].message.content.strip() == talked.pop()
        question = client.chat.completions.create(model="chat", messages=[{"role": "user", "content": asked}],
                                                  max_tokens=12, temperature=0)
        assert question.choices[0].message.content.strip() == said(run, "", asked)
        bare = client.completions.create(model="chat", prompt="<END>", max_tokens=1, temperature=0)
        assert bare.usage.prompt_tokens == 5  # the text alone, and no token is the end


def test_the_template_is_in_what_ships(run):
    template = KNOWN["chatml"].jinja
    beside = run / "export" / "saved_model" / "1" / "assets.extra" / "chat_template.jinja"
    assert beside.read_text() == template
    bundle, = (run / "package").glob("*.zip")
    with zipfile.ZipFile(bundle) as archive:
        names = {name.split("/", 1)[-1]: name for name in archive.namelist()}
        assert archive.read(names["chat_template.jinja"]).decode() == template
        assert archive.read(names["saved_model/1/assets.extra/chat_template.jinja"]).decode() == template
    results = json.loads((run.parents[2] / "r.json").read_text())
    files = {(one["target"], one["variant"]): one for one in results["artifacts"]}
    assert {variant for target, variant in files if target == "litert_lm"} == {
        "float32", "float16", "dynamic", "int4_blocks"}
    whole, chunked = (files[target, "float32"]["metrics"] for target in ("litert", "litert_lm"))
    assert chunked["perplexity"] == pytest.approx(whole["perplexity"], rel=1e-4)
    assert chunked["exact_match"] == whole["exact_match"] == files["saved_model", "float32"]["metrics"]["exact_match"]
