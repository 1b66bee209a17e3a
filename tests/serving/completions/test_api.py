"""OpenAI's own client is answered as by the SavedModel's signatures, whole and in parts, and told what is wrong in its
format."""
import http.client
import json
import shutil
import time
from concurrent.futures import ThreadPoolExecutor

import openai
import pytest

from pipelines.features.tokenizers.tokenizer import END
from serving.embedded import running
from tests.pipelines.tasks.language_model.exported import LENGTH


@pytest.fixture(scope="module")
def model(served_gpt, tmp_path_factory, toy_one):
    """Return a language model in a folder of these tests; beside it a model that is none."""
    folder = tmp_path_factory.mktemp("models")
    shutil.copytree(served_gpt.folder, folder / "served")
    shutil.copytree(toy_one, folder / "toy" / "1")
    return served_gpt._replace(folder=folder / "served")


@pytest.fixture(scope="module")
def server(model):
    folder = model.folder.parent
    config = folder / "models.config"
    config.write_text("model_config_list {" + "".join(
        f'config {{ name: "{name}" base_path: "{folder / base}" model_platform: "tensorflow" }}'
        for name, base in (("gpt", "served"), ("toy", "toy"))) + "}")
    with running(model_config_file=str(config)) as result:
        yield result


@pytest.fixture(scope="module")
def client(server):
    with openai.OpenAI(base_url=f"http://{server.rest}/v1", api_key="none", max_retries=0) as result:
        yield result


def asked(server, path, body, headers=None):
    """Return the status and the JSON of a raw request."""
    connection = http.client.HTTPConnection(server.rest, timeout=30)
    connection.request("POST", path, body if isinstance(body, bytes) else json.dumps(body), headers or {})
    response = connection.getresponse()
    return response.status, json.loads(response.read())


def test_a_completion_is_the_signatures_text_and_counts_tokens(client, model):
    prompts = ["In the", "was", "the end of", "t", ""]
    answer = client.completions.create(model="gpt", prompt=prompts, max_tokens=12, temperature=0)
    assert answer.object == "text_completion"
    assert [prompt + choice.text for prompt, choice in zip(prompts, answer.choices, strict=True)] == [
        model.greedy(prompt, 12) for prompt in prompts]
    assert {choice.finish_reason for choice in answer.choices if len(choice.text) < 12} <= {"stop"}
    assert {choice.finish_reason for choice in answer.choices if len(choice.text) == 12} == {"length"}
    added = sum(len(choice.text) for choice in answer.choices)
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (len("".join(prompts)), added) and added
    assert client.completions.create(model="gpt", prompt="was", temperature=0, echo=True).choices[0].text == (
        model.greedy("was", 16))


def test_several_texts_of_several_prompts_have_seeds_of_their_own(client, model):
    answer = client.completions.create(model="gpt", prompt=["In the", "was"], n=3, seed=5, max_tokens=10, top_p=0.9,
                                       temperature=1.3)
    expected = model.sample(["In the"] * 3 + ["was"] * 3, 10, 1.3, 0, 0.9, [5, 6, 7, 5, 6, 7])
    assert [choice.text for choice in answer.choices] == [text.decode() for text in expected["added"]]
    assert [choice.finish_reason for choice in answer.choices] == [one.decode() for one in expected["finish_reason"]]
    assert [choice.index for choice in answer.choices] == list(range(6))
    others = {client.completions.create(model="gpt", prompt="", max_tokens=20).choices[0].text for _ in range(3)}
    assert len(others) > 1, "without a seed each text has one of its own"


def test_a_stream_is_the_whole_answer_in_parts(client):
    settings = {"model": "gpt", "prompt": ["In the", ""], "max_tokens": 14, "seed": 3, "n": 2}
    whole = client.completions.create(**settings)
    texts, reasons, usage = [""] * 4, [None] * 4, None
    parts = list(client.completions.create(**settings, stream=True, stream_options={"include_usage": True}))
    for part in parts:
        usage = part.usage or usage
        for choice in part.choices:
            texts[choice.index] += choice.text
            reasons[choice.index] = choice.finish_reason or reasons[choice.index]
    assert texts == [choice.text for choice in whole.choices] and len(parts) > 14
    assert reasons == [choice.finish_reason for choice in whole.choices]
    assert usage == whole.usage and parts[-1].choices == []


def test_a_stop_ends_a_text_and_is_not_part_of_it(client, model):
    texts = [text.decode() for text in model.sample(["In the"] * 20, 20, seed=range(20))["added"]]
    seed = next(seed for seed, text in enumerate(texts) if len(text) > 8 and text[4:6] not in text[:5])
    added, stop = texts[seed], texts[seed][4:6]
    for stream in (False, True):
        settings = {"model": "gpt", "prompt": "In the", "max_tokens": 20, "seed": seed, "stop": ["\0never", stop]}
        if stream:
            parts = [part.choices[0] for part in client.completions.create(**settings, stream=True)]
            text, reason = "".join(part.text for part in parts), parts[-1].finish_reason
        else:
            answer = client.completions.create(**settings)
            text, reason = answer.choices[0].text, answer.choices[0].finish_reason
        assert (text, reason) == (added[:4], "stop")


def test_a_chat_goes_by_the_plain_template_and_by_the_models_own(client, model, tmp_path):
    messages = [{"role": "user", "content": "the end"}]
    answer = client.chat.completions.create(model="gpt", messages=messages, max_tokens=8, temperature=0)
    prompt = "User: the end\nAssistant:"
    expected = model.sample([prompt], 8, 0.0)
    assert answer.choices[0].message.role == "assistant" and answer.object == "chat.completion"
    assert answer.choices[0].message.content == expected["added"][0].decode().lstrip()
    assert answer.usage.prompt_tokens == expected["prompt_tokens"][0]
    parts = list(client.chat.completions.create(model="gpt", messages=messages, max_tokens=8, temperature=0,
                                                stream=True))
    assert parts[0].choices[0].delta.role == "assistant"
    assert "".join(part.choices[0].delta.content or "" for part in parts) == answer.choices[0].message.content
    place = model.folder / "1" / "assets.extra" / "chat_template.jinja"
    place.parent.mkdir()
    place.write_text("{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no system') }}{% endif %}"
                     "{{ m['content'] }} and{% endfor %}")
    try:
        parted = [{"role": "user", "content": [{"type": "text", "text": "the "}, {"type": "text", "text": "end"}]}]
        own = client.chat.completions.create(model="gpt", messages=parted, max_tokens=8, temperature=0)
        assert own.choices[0].message.content == model.greedy("the end and", 8)[len("the end and"):].lstrip()
        with pytest.raises(openai.BadRequestError, match="does not take these messages: no system"):
            client.chat.completions.create(model="gpt", messages=[{"role": "system", "content": "x"}])
    finally:
        shutil.rmtree(place.parent)


def test_a_templates_control_tokens_are_tokens_and_those_that_people_write_are_text(client, model):
    place = model.folder / "1" / "assets.extra" / "chat_template.jinja"
    place.parent.mkdir()
    place.write_text("{{ bos_token }}{% for m in messages %}{{ m['content'] + eos_token }} and{% endfor %}")
    try:
        for said in ("was", "<END>"):
            prompt = [*model.tokens(said), END, *model.tokens(" and")]
            answer = client.chat.completions.create(model="gpt", messages=[{"role": "user", "content": said}],
                                                    temperature=0)
            assert answer.usage.prompt_tokens == len(prompt) == len(said) + 5
            added = model.continued(prompt, LENGTH)[len(prompt):]
            assert answer.choices[0].message.content == model.text(added).lstrip()
    finally:
        shutil.rmtree(place.parent)


def test_without_a_limit_a_chat_fills_the_room(client):
    answer = client.chat.completions.create(model="gpt", messages=[{"role": "user", "content": "a"}], temperature=1.9,
                                            seed=1)
    assert answer.usage.total_tokens == LENGTH or answer.choices[0].finish_reason == "stop"


def test_the_list_names_the_models(client):
    assert [one.id for one in client.models.list()] == ["gpt", "toy"]


@pytest.mark.parametrize(("settings", "kind", "words"), [
    ({"model": "nope"}, openai.NotFoundError, "The model `nope` does not exist"),
    ({"model": "toy"}, openai.BadRequestError, "does not go on with texts"),
    ({"prompt": "a" * LENGTH}, openai.BadRequestError, "maximum context length is 40 tokens"),
    ({"prompt": "a" * 100_000}, openai.BadRequestError, "at least 40 in the prompt"),
    ({"prompt": "a" * 30, "max_tokens": 11}, openai.BadRequestError, "30 in the prompt and 11 for the completion"),
    ({"prompt": []}, openai.BadRequestError, "prompt: List should have at least 1 item"),
    ({"prompt": [1, 2]}, openai.BadRequestError, "prompt: Input should be a valid string"),
    ({"max_tokens": 0}, openai.BadRequestError, "max_tokens: Input should be greater than or equal to 1"),
    ({"max_tokens": 10**9}, openai.BadRequestError, "1,000,000,000 for the completion"),
    ({"max_tokens": 10**30}, openai.BadRequestError, "JSON|max_tokens|maximum context"),
    ({"n": 0}, openai.BadRequestError, "n: Input should be greater than or equal to 1"),
    ({"n": 10**9}, openai.BadRequestError, "n: Input should be less than or equal to 64"),
    ({"n": 40, "prompt": ["a", "b"]}, openai.BadRequestError, "more than 64 texts"),
    ({"temperature": -0.5}, openai.BadRequestError, "temperature: Input should be greater than or equal to 0"),
    ({"temperature": "hot"}, openai.BadRequestError, "temperature: Input should be a valid number"),
    ({"top_p": 1.5}, openai.BadRequestError, "top_p: "),
    ({"seed": 2**70}, openai.BadRequestError, "JSON|seed"),
    ({"stop": ["a"] * 5}, openai.BadRequestError, "stop"),
    ({"stop": ""}, openai.BadRequestError, "stop"),
    ({"logprobs": 5}, openai.BadRequestError, "logprobs"),
    ({"frequency_penalty": 1.0}, openai.BadRequestError, "frequency_penalty"),
    ({"extra_body": {"colour": 1}}, openai.BadRequestError, "Unrecognized request argument supplied: colour")])
def test_what_cannot_be_answered_is_refused_in_one_line(client, settings, kind, words):
    for stream in (False, True):
        with pytest.raises(kind, match=words) as refused:
            client.completions.create(**{"model": "gpt", "prompt": "In", "stream": stream, **settings})
        body = refused.value.body
        assert set(body) == {"message", "type", "param", "code"} and "\n" not in body["message"]
        assert body["type"] == "invalid_request_error"


@pytest.mark.parametrize(("messages", "words"), [
    ([], "messages: "), ([{"role": "user"}], "messages.0.content"), ("hello", "messages"),
    ([{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}], "messages.0.content"),
    ([{"role": "user", "content": "a" * 100}], "maximum context length")])
def test_messages_that_cannot_be_answered_are_refused(server, messages, words):
    status, answer = asked(server, "/v1/chat/completions", {"model": "gpt", "messages": messages})
    assert status == 400 and words in answer["error"]["message"]


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe", b"[1]", b'"gpt"', b'{"model": "gpt", "prompt": "\xff"}',
                                  b'{"model": "gpt", "prompt": "\\ud800"}', b'{"model": "gpt", "temperature": NaN}'])
def test_bodies_that_are_not_json_in_utf8_are_refused(server, body):
    status, answer = asked(server, "/v1/completions", body)
    assert status == 400 and answer["error"]["message"].startswith("the body is not")


def test_special_tokens_in_a_users_text_are_text(client, model):
    """They neither end the prompt nor become a control token: each character of them counts."""
    for text in ("<END>", "<|endoftext|>", "<START><PAD>"):
        answer = client.completions.create(model="gpt", prompt=text, max_tokens=4, temperature=0)
        assert answer.usage.prompt_tokens == len(model.tokens(text)) == len(text)


def test_a_client_that_goes_away_stops_the_work(server, model, monkeypatch):
    calls = []
    loaded = next(iter(server.server.core.manager.models["gpt"].versions.values())).loaded
    run = loaded.run

    def slow(signature, inputs, outputs):
        calls.append(signature)
        time.sleep(0.1)
        return run(signature, inputs, outputs)

    monkeypatch.setattr(loaded, "run", slow)
    body = {"model": "gpt", "prompt": "In", "max_tokens": 38, "stream": True, "temperature": 0}
    connection = http.client.HTTPConnection(server.rest, timeout=30)
    connection.request("POST", "/v1/completions", json.dumps(body))
    assert connection.getresponse().readline().startswith(b"data: ")
    connection.sock and connection.sock.close()
    connection.close()
    time.sleep(0.5)
    count = len(calls)
    time.sleep(0.5)
    assert len(calls) == count < 20 and server.server.core.under_way == 0


def test_a_token_is_asked_for_in_openais_format(toy_one, tmp_path):
    shutil.copytree(toy_one, tmp_path / "base" / "1")
    (tmp_path / "token").write_text("secret")
    with running(model_name="toy", model_base_path=str(tmp_path / "base"),
                 bearer_token_file=str(tmp_path / "token")) as server:
        for key, kind, words in (("secret", openai.BadRequestError, "does not go on with texts"),
                                 ("other", openai.AuthenticationError, "Authorization: Bearer TOKEN")):
            with (openai.OpenAI(base_url=f"http://{server.rest}/v1", api_key=key, max_retries=0) as client,
                  pytest.raises(kind, match=words)):
                client.completions.create(model="toy", prompt="In")


@pytest.mark.slow
@pytest.mark.parametrize("batching", [False, True])
def test_clients_at_once_are_each_answered_as_alone(model, batching):
    prompts, seeds = ["In the", "was", "", "the end of all"] * 3, list(range(12))
    expected = [text.decode() for text in model.sample(prompts, 20, seed=seeds)["added"]]
    with (running(model_name="gpt", model_base_path=str(model.folder), enable_batching=batching) as server,
          openai.OpenAI(base_url=f"http://{server.rest}/v1", api_key="none", max_retries=0) as client,
          ThreadPoolExecutor(12) as threads):
        def streamed(prompt, seed):
            parts = client.completions.create(model="gpt", prompt=prompt, max_tokens=20, seed=seed, stream=True)
            return "".join(part.choices[0].text for part in parts)

        assert list(threads.map(streamed, prompts, seeds)) == expected
