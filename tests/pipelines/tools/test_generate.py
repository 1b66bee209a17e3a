"""`litepress generate`: what it prints of a file, what it refuses, and the code of bundles that does the same."""
import shutil
import subprocess
import sys

import pytest
import tree_sitter_kotlin
import tree_sitter_swift

from export.writing.sampling import Sampling
from pipelines import cli
from pipelines.errors import UserError
from pipelines.features.tokenizers.tokenizer import END
from pipelines.tasks.language_model.writing import Writing
from pipelines.tools import generate
from pipelines.tools.predict import Asked
from tests.export.delivery.test_snippets import SIGNATURES, parsed
from tests.export.delivery.test_tokenizer_code import JSON
from tests.pipelines.tools.written_text import LENGTH, bundled

GREEDY = Writing(12, Sampling())


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return bundled(tmp_path_factory.mktemp("written"))


def said(artifact, prompt="In the", how=GREEDY):
    """Return what is told, and what is noted."""
    told, noted = [], []
    generate.generate(str(artifact), prompt, how, told.append, noted.append)
    return told, noted


def printed(monkeypatch, capfd, *arguments):
    """Return the exit code of the command, and what it prints."""
    monkeypatch.setattr(sys, "argv", ["litepress", "generate", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    shown = capfd.readouterr()
    return ended.value.code, shown.out, shown.err


def test_a_file_of_a_bundle_goes_on_as_the_trained_model_does(made):
    told, noted = said(made.file)
    asked = Asked(made.keras, made.data.task, made.data.index, made.data.features)
    assert told == list(generate.pieces(asked, "In the", GREEDY)) and len("".join(told)) == 12 and noted == []
    assert told != said(made.file, "and the")[0]


def test_the_command_prints_what_is_added_and_nothing_else(made, monkeypatch, capfd):
    options = [made.file, "--prompt", "In the", "--tokens", 12]
    code, out, err = printed(monkeypatch, capfd, *options, "--greedy")
    assert (code, out, err) == (0, "".join(said(made.file)[0]) + "\n", "")
    drawn = [printed(monkeypatch, capfd, *options, "--temperature", 2, "--seed", seed)[1] for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]
    how = Writing(12, Sampling(1.0, top_p=0.9, seed=3))
    code, out, _ = printed(monkeypatch, capfd, *options, "--top-p", 0.9, "--seed", 3)
    assert (code, out) == (0, "".join(said(made.file, how=how)[0]) + "\n"), "draws without --temperature are at 1"


def test_a_string_ends_the_text_and_is_left_out(made):
    whole = "".join(said(made.file)[0])
    stop = whole[5:7]
    assert "".join(said(made.file, how=Writing(12, Sampling(), stops=(stop,)))[0]) == whole[:whole.index(stop)]


def test_a_prompt_of_nothing_is_the_beginning_of_a_text(made):
    assert len("".join(said(made.file, "")[0])) == 12


def test_special_tokens_that_are_written_in_a_prompt_are_characters(made):
    """It neither ends there, nor is it shorter than it is written."""
    feature, learnt = made.data.features["tokens"], made.data.index.learnt["tokens"]
    tokens = feature.tokenizer.tokens("<END>", learnt, 9).numpy().tolist()
    assert len(tokens) == 5 and END not in tokens
    assert "".join(said(made.file, "again the <END>")[0]) != "".join(said(made.file, "again the ")[0])


def test_where_there_is_less_room_than_was_asked_for_a_line_says_so(made, monkeypatch, capfd):
    code, out, err = printed(monkeypatch, capfd, made.file, "--prompt", "In the", "--tokens", 100)
    assert code == 0 and len(out) <= LENGTH - 6 + 1
    assert err == f"generate: {made.file} has room for {LENGTH - 6} more tokens; --tokens 100 would be more\n"


@pytest.mark.parametrize(("prompt", "said_of_it"), [
    ("In the Ω", "--prompt has 'Ω', which the training text lacks; leave it out"),
    ("In the\udcff", r"--prompt is not UTF-8 \(character 6\); give text in UTF-8"),
    ("the " * 10, f"--prompt has 40 tokens, and .* takes {LENGTH} with the one that stands before a text; give a")])
def test_prompts_that_cannot_be_read_are_refused(made, prompt, said_of_it):
    with pytest.raises(UserError, match=said_of_it):
        said(made.file, prompt)


@pytest.mark.parametrize(("options", "line"), [
    (["--tokens", "0"], "--tokens is 0; give 1 to 100,000"),
    (["--tokens", "1000000000"], "--tokens is 1,000,000,000; give 1 to 100,000"),
    (["--temperature", "-1"], "--temperature is -1; give 0, which takes the likeliest token, or more"),
    (["--temperature", "nan"], "--temperature is nan; give 0, which takes the likeliest token, or more"),
    (["--top-p", "0"], "--top-p is 0; give more than 0, and at most 1, which is all tokens"),
    (["--top-p", "1.5"], "--top-p is 1.5; give more than 0, and at most 1, which is all tokens"),
    (["--top-k", "-1"], "--top-k is -1; give 0, which is all tokens, or more"),
    (["--repetition-penalty", "0"], "--repetition-penalty is 0; give more than 0; 1 changes nothing"),
    (["--seed", "-1"], "--seed is -1; give 0 to 2 ** 64 - 1"),
    (["--beams", "0"], "--beams is 0; give 1, which is no search, to 100"),
    (["--beams", "2", "--temperature", "1"], "--beams 2 searches for the likeliest text, and --temperature 1 draws "
                                             "one; leave one of them out"),
    (["--min-tokens", "300"], "--min-tokens is 300; give 0 to --tokens"),
    (["--chat", "no.json"], "--chat: no.json: No such file or directory"),
    (["--chat", "no.json", "--prompt", "a"], "--prompt and --chat: one of the two"),
    (["--stop", ""], "--stop is ''; give a string that is not empty"),
    (["--greedy", "--top-k", "5"], "--greedy takes the likeliest token each time; leave it out, or --temperature, "
                                   "--top-k and --top-p"),
    (["--temperature", "0", "--top-p", "0.5"], "--temperature 0 takes the likeliest token each time; leave --top-k "
                                               "and --top-p out, or give more than 0")])
def test_settings_out_of_their_bounds_end_in_one_line(monkeypatch, capfd, options, line):
    assert printed(monkeypatch, capfd, "nowhere", *options) == (2, "", f"generate: {line}\n")


@pytest.mark.parametrize(("content", "line"), [
    ("[", "has no messages: it is not JSON"), ("{}", "has no messages; they are a list like"),
    ('[{"role": "user", "content": "\\ud800"}]', "has a message 1 that is not UTF-8"),
    ('[{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]', "ends with an answer; its last")])
def test_conversations_that_cannot_be_answered_are_refused(tmp_path, content, line):
    (tmp_path / "talk.json").write_text(content)
    with pytest.raises(UserError, match=f"generate: --chat: .*talk.json {line}"):
        generate.conversation(tmp_path / "talk.json")


def test_a_bundle_with_a_template_answers_and_others_hold_no_conversations(made, tmp_path):
    talk = [{"role": "user", "content": "In the"}]
    with pytest.raises(UserError, match=r"--chat: .* has learnt no conversations; give --prompt"):
        said(made.file, talk)
    shutil.copytree(made.folder, tmp_path / "bundle")
    (tmp_path / "bundle" / "chat_template.jinja").write_text(
        "{% for m in messages %}{{ m.content }} and{{ eos_token }}{% endfor %}")
    file = tmp_path / "bundle" / made.file.relative_to(made.folder)
    assert said(file, talk) == said(file, "In the") != said(made.file, "In the")
    with pytest.raises(UserError, match="--chat is for runs and files; a server takes conversations at"):
        said("localhost:1/one", talk)


def test_files_of_other_models_are_refused(made, tmp_path):
    shutil.copy(made.file, tmp_path / "alone.tflite")
    with pytest.raises(UserError, match=r"nothing says how .*alone\.tflite cuts text; leave it in its run's folder"):
        said(tmp_path / "alone.tflite")
    (made.folder / "broken.tflite").write_bytes(b"nothing")
    with pytest.raises(UserError, match=r"broken\.tflite is not a TFLite model"):
        said(made.folder / "broken.tflite")
    (tmp_path / "tokenizer.json").write_text('{"kind": "word", "lower": true}')
    with pytest.raises(UserError, match=r"tokenizer\.json does not say how a language model cuts text"):
        said(tmp_path / "alone.tflite")
    with pytest.raises(UserError, match="there is no such file or folder"):
        said(tmp_path / "nowhere")


@pytest.mark.parametrize("options", [
    [], ["--temperature", "1.5", "--seed", "7", "--top-k", "9", "--top-p", "0.95"],
    ["--beams", "3", "--repetition-penalty", "1.2", "--stop", "e"]])
def test_the_driver_of_a_bundle_prints_what_generate_does(made, monkeypatch, capfd, options):
    driver = made.folder / "code" / "python" / "generate.py"
    done = subprocess.run([sys.executable, driver, "and the", "--tokens", "30", *options], capture_output=True,
                          text=True, check=True)
    _, out, _ = printed(monkeypatch, capfd, made.file, "--prompt", "and the", "--tokens", 30, *options)
    assert done.stdout == out and out.strip()


def test_the_driver_of_a_bundle_refuses_what_it_cannot_read(made):
    driver = made.folder / "code" / "python" / "generate.py"
    for prompt, line in (("Ω", "has a token that the vocabulary lacks"), ("a" * 100, "give a shorter one")):
        done = subprocess.run([sys.executable, driver, prompt], capture_output=True, text=True)
        assert done.returncode and line in done.stderr.splitlines()[-1]


def test_kotlin_and_swift_have_a_driver(made):
    for ending, language, folder in (("kt", tree_sitter_kotlin, "kotlin"), ("swift", tree_sitter_swift, "swift")):
        written = {path.name: path for path in (made.folder / "code" / folder).iterdir()}
        assert set(written) == {f"{name}.{ending}" for name in (
            "FewWordsConversation", "FewWordsWriter", "Sampling", "Tokenizer")}
        assert all(parsed(path, language.language()) == [] for path in written.values())
        driver = written[f"FewWordsWriter.{ending}"].read_text()
        assert "16, 4" in driver and '"kv_cache_k_0"' in driver and f"= {LENGTH}\n" in driver and "= 3\n" in driver


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("kotlinc") is None, reason="no Kotlin compiler")
def test_the_driver_in_kotlin_compiles(made, tmp_path):
    assets = ("package android.content.res\nclass AssetManager { fun open(name: String): java.io.InputStream = "
              "java.io.ByteArrayInputStream(ByteArray(0)) }\n")
    for name, text in {**SIGNATURES, "assets.kt": assets, "Json.kt": JSON}.items():
        (tmp_path / name).write_text(text)
    done = subprocess.run(["kotlinc", *map(str, (made.folder / "code" / "kotlin").iterdir()), *(
        str(tmp_path / name) for name in (*SIGNATURES, "Json.kt")), "-d", str(tmp_path / "classes")],
        capture_output=True, text=True)
    assert done.returncode == 0 and "error:" not in done.stderr, done.stderr
    assert {path.stem for path in (tmp_path / "classes").glob("*.class")} >= {"FewWordsWriter", "Sampling", "Beam"}
