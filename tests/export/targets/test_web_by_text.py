"""Pictures that a page makes of a seed and a text, run by Node.js and held against what Python makes of them."""
import copy
import json
import shutil
import subprocess

import numpy as np
import pytest
import tensorflow as tf

from export.delivery import drawing
from export.predictors import open_predictor
from export.targets import web, web_pictures
from export.tflite import file as tflite_file
from export.tflite import signatures
from export.tflite.metadata import Description
from export.writing import noise
from pipelines.features.feature import Field
from pipelines.tasks.image_generation.latent import Latent
from pipelines.tasks.image_generation.measure import levels
from tests.export.delivery.test_drawing_by_text import LATENT, TEXT, in_parts
from tests.export.delivery.test_drawing_code import KNOWN, SECTION
from tests.export.targets.test_web_answers import RUN
from tests.export.targets.test_web_pictures import MODULE, in_node, integers, printed
from tests.export.tflite.test_joined import GIVEN

pytestmark = pytest.mark.skipif(shutil.which("node") is None, reason="no Node.js")
LEARNT = [b"a three", b"the digit four"]
#: Asks the file of a page for pictures of a text, as the page does.
MADE = RUN[:RUN.index("const {shape, images}")] + """
const {madeByText, real, stored} = await import(path.join(page, 'pictures.js'));
const {Tokenizer} = await import(path.join(page, 'tokenizer.js'));
const [written] = fs.readFileSync(path.join(page, 'index.html'), 'utf8').split('\\n').filter(
  (line) => line.startsWith('const LABELS'));
const [models, sampler] = written.match(/MODELS = (.*), SAMPLER = (.*), SIZE/).slice(1).map((one) => JSON.parse(one));
const tokenizer = new Tokenizer(JSON.parse(fs.readFileSync(path.join(page, 'tokenizer.json')))), pictures = [];
const {signatures} = models.find((one) => one.file === file);
const model = await loadAndCompile(path.join(page, file), {accelerator: 'wasm'});
const ask = async (inputs, name) => {
  const own = signatures[name], tensors = Object.fromEntries(Object.entries(inputs).map(([one, values]) => [
    one, new Tensor(stored(values, own.inputs[one]), own.inputs[one].shape)]));
  const outputs = await model.run(name, tensors);
  return real(await outputs[own.output.name].data(), own.output);
};
for (const [number, text] of JSON.parse(input)) {
  const tokens = text ? tokenizer.tokens(text) : Array(tokenizer.length).fill(0);
  const {shape} = signatures.denoise.inputs.noise;
  pictures.push(Array.from(await madeByText(ask, shape, sampler, '7', number, tokens)));
}
fs.writeFileSync(output, JSON.stringify(pictures));
process.exit(0);
"""


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    """A TFLite file by text, what a bundle has beside it, and the pictures that it makes of a seed."""
    folder = tmp_path_factory.mktemp("network")
    (folder / "file.tflite").write_bytes(in_parts(folder / "saved"))
    learnt = TEXT.learn(Field(kind="text"), LEARNT)
    predictor = open_predictor(folder / "file.tflite")

    def made(number, asked):
        tokens = TEXT.decode(tf.constant(asked), learnt).numpy()[None] if asked else np.zeros((1, 4), "int32")
        known = {"noise": noise.normal((7, 0), (number + 1, *LATENT))[number:], "tokens": tokens}
        return levels(Latent(SECTION, KNOWN).made(predictor, known)).ravel()

    return (folder / "file.tflite").read_bytes(), {
        drawing.SAMPLER: json.dumps(Latent(SECTION, KNOWN).driver()).encode(),
        drawing.TOKENIZER: json.dumps(TEXT.described(learnt)).encode()}, made


def test_the_page_is_whole_and_cuts_texts_itself(network, tmp_path, monkeypatch):
    content, beside, _ = network
    (tmp_path / "runtime").mkdir()
    (tmp_path / "page").mkdir()
    monkeypatch.setattr(web, "runtime", lambda: tmp_path / "runtime")
    page = web_pictures.write(tmp_path / "page", Description(name="digits", labels=["one"]), beside, {"one": content})
    text = page.read_text()
    script = text[text.index('<script type="module">') + 22:text.index("</script>", text.index('type="module"'))]
    (tmp_path / "page.mjs").write_text(script)
    done = subprocess.run(["node", "--check", str(tmp_path / "page.mjs")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert 'id="text"' in text and 'id="label"' not in text and "SIZE = [4, 4, 1]" in text
    assert all(page.with_name(name).is_file() for name in (*web_pictures.MODULES, "tokenizer.js"))
    assert page.with_name("tokenizer.json").read_bytes() == beside[drawing.TOKENIZER]
    listed = json.loads(text.partition("MODELS = ")[2].partition(", SAMPLER")[0])
    assert set(listed[0]["signatures"]) == {"encode_text", "denoise", "decode"}


def test_a_picture_is_pythons_of_that_text(network, tmp_path):
    _, beside, made = network
    tokenizer, sampler = (beside[name].decode() for name in (drawing.TOKENIZER, drawing.SAMPLER))
    pictures, known = printed(f"""import {{madeByText}} from '{MODULE}/pictures.js';
        import {{Tokenizer}} from '{web_pictures.TOKENIZER.as_uri()}';
        const tokenizer = new Tokenizer({tokenizer}), say = {{
          encode_text: ({{tokens}}) => Float32Array.of(0.1 * tokens[0], 0.02 * tokens.reduce((a, b) => a + b)),
          denoise: ({{noise, step, condition: [first, total]}}) =>
            noise.map((value) => 0.6 * value + 0.01 * step[0] + 0.3 * (first - 0.3 * total)),
          decode: ({{noise}}) => Float32Array.from({{length: 16}}, (_, at) => 100 + 40 * noise[at % 12] + 3 * at)}};
        const ask = async (inputs, signature) => say[signature](inputs), pictures = [];
        for (const [number, text] of [[0, 'A three'], [2, 'the digit four'], [1, '']]) {{
          const picture = await madeByText(ask, [1, 2, 2, 3], {sampler}, '7', number, tokenizer.tokens(text));
          pictures.push(Array.from(picture));
        }}
        console.log(JSON.stringify([pictures, ['a rhubarb', 'rhubarb'].map((text) => tokenizer.knows(text))]));
        """, tmp_path)
    assert known == [True, False]
    for pixels, expected in zip(pictures, (made(0, "a three"), made(2, "the digit four"), made(1, "")), strict=True):
        assert np.abs(np.array(pixels) - expected).max() <= 1 and len(set(pixels)) > 5


def test_a_file_that_lacks_a_part_is_refused(network):
    content = network[0].replace(b"decode\0", b"dekode\0")
    assert "dekode" in signatures.of(content)
    with pytest.raises(ValueError, match="the signatures encode_text, denoise, decode, and decode takes noise"):
        web_pictures.asked("one", content)


def test_bytes_have_the_same_meaning_in_every_signature(tmp_path):
    content = twice(integers())
    for name, one in (("before", content), ("after", web_pictures.with_unsigned(content))):
        (tmp_path / f"{name}.tflite").write_bytes(one)
        for known in signatures.of(one).values():
            assert {known.input.dtype, known.output.dtype} == {"int8" if name == "before" else "uint8"}
    before, after = (open_predictor(tmp_path / f"{name}.tflite") for name in ("before", "after"))
    assert set(after.signatures) == {"serving_default", "again"}
    for name in after.signatures:
        np.testing.assert_array_equal(*(file.predict({"x": GIVEN}, name)["y"] for file in (before, after)))


def twice(content):
    """Return a file whose only signature has a second name, and a graph of its own for that."""
    model = tflite_file.read(content)
    model.subgraphs.append(copy.deepcopy(model.subgraphs[0]))
    again = copy.deepcopy(model.signatureDefs[0])
    again.signatureKey, again.subgraphIndex = b"again", 1
    model.signatureDefs.append(again)
    return tflite_file.write(model)


def of_runtime(page, file, asked, folder):
    """Return the pixels of pictures of seed 7 that a page makes with LiteRT's web runtime, run by Node.js.

    Args:
        page: its folder, which is left as it is.
        file: in it.
        asked: number and text of each picture.
    """
    whole = in_node(page, folder)
    (folder / "run.mjs").write_text(MADE)
    done = subprocess.run(["node", str(folder / "run.mjs"), str(whole), file, json.dumps(asked),
                           str(folder / "out.json")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return np.array(json.loads((folder / "out.json").read_text()))


@pytest.mark.slow
@pytest.mark.skipif(web.missing() != "", reason="LiteRT's web runtime cannot be fetched")
def test_the_web_runtime_makes_pythons_pictures(network, tmp_path):
    content, beside, made = network
    (tmp_path / "written").mkdir()
    web_pictures.write(tmp_path / "written", Description(name="digits"), beside, {"float32": content})
    asked = [(0, "a three"), (2, "the digit four"), (1, "")]
    pictures = of_runtime(tmp_path / "written", "float32.tflite", asked, tmp_path)
    for pixels, expected in zip(pictures, (made(*one) for one in asked), strict=True):
        assert np.abs(pixels - expected).max() <= 1 and len(np.unique(pixels)) > 5
