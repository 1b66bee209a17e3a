"""The voices of Debian packages: what is listed of them, and what is said where they cannot be had."""
import numpy as np
import pytest
import soundfile

from pipelines.errors import UserError
from pipelines.features import audio_file
from pipelines.tools import speech_data, spoken_words
from pipelines.tools.speaking import speak

LUA = '''
dialogId("let-m-divna", "font_small", "What a ship!")
dialogStr("Co je to za \\"loď\\"?")

dialogId("let-v-vrak", "font_big", "A wreck.")
dialogStr("Vrak.")
'''


def sound(path, hertz=400):
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = 0.3 * np.sin(2 * np.pi * hertz * np.arange(1600) / 8000)
    if path.suffix == ".gsm":
        soundfile.write(path, samples, 8000, format="RAW", subtype="GSM610")
    else:
        soundfile.write(path, samples, 8000)


def test_prompts_are_called_by_their_files_and_gsm_becomes_wav(tmp_path):
    for name in ("en_US_f_Allison/digits/7.wav", "en_US_f_Allison/silence/1.wav", "fr/digits/7.gsm"):
        sound(tmp_path / name)
    for _ in range(2):  # the second time the WAV files are there already
        listed = list(speech_data._asterisk(tmp_path, tmp_path))
        assert [(one.file, one.language, one.voice, one.kind, one.prompt) for one in listed] == [
            ("en_US_f_Allison/digits/7.wav", "en", "Allison Smith", "digits", "digits/7"),
            ("fr/digits/7.wav", "fr", "Armelle Desjardins", "digits", "digits/7")]
    assert len({one.fold for one in listed}) == 1, "a prompt is in one fold, whoever says it"
    samples = audio_file.samples((tmp_path / "fr/digits/7.wav").read_bytes(), 8000)
    assert abs(np.fft.rfft(samples[:1600])).argmax() == 400 * 1600 // 8000


def test_dialogues_have_their_texts_and_voices(tmp_path):
    (tmp_path / "script" / "airplane").mkdir(parents=True)
    (tmp_path / "script" / "airplane" / "dialogs_cs.lua").write_text(LUA, encoding="utf-8")
    for name in ("let-m-divna", "let-v-vrak", "let-x-boom"):
        sound(tmp_path / "sound" / "airplane" / "cs" / f"{name}.ogg")
    listed = list(speech_data._dialogues(tmp_path, tmp_path))
    assert [(one.voice, one.kind, one.transcript) for one in listed] == [
        ("small fish", "dialogues", 'Co je to za "loď"?'), ("big fish", "dialogues", "Vrak."), ("others", "noises", "")]
    spoken = [one for one, _ in speech_data._synthesized(listed)]
    assert all(one.fold != speech_data.TESTED_FOLD for one in spoken), "what is tested on is not learnt"
    assert {one.prompt for one in spoken} == {one.prompt for one in listed if one.transcript and one.fold}


def test_digits_and_letters_of_people_are_words(tmp_path):
    def of(prompt):
        return speech_data.Recording("a.wav", "en", "Allison Smith", "digits", prompt, "")

    prompts = ("digits/7", "letters/x", "alpha/b", "digits/million", "hi")
    words = list(spoken_words._recorded([of(prompt) for prompt in prompts]))
    assert [one.word for one in words] == ["seven", "x", "b"] and {one.split for one in words} == {"recorded"}


def test_no_voice_is_in_two_splits():
    rows = [one for one, _ in (*spoken_words._by_espeak(), *spoken_words._by_flite())]
    voices = {split: {one.voice.split(" ")[0] for one in rows if one.split == split}
              for split in ("train", "validation", "test")}
    assert not voices["train"] & voices["test"] and not voices["train"] & voices["validation"]
    assert len({one.file for one in rows}) == len(rows)


def test_elsewhere_than_on_debian_it_says_so(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match=r"there is no apt-get; .* run it on Debian or Ubuntu"):
        speech_data.fetch(["klettres-data"], tmp_path / "packages", tmp_path / "unpacked")


def test_a_program_that_does_not_speak_is_named(tmp_path):
    program = tmp_path / "usr" / "bin" / "flite"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\necho no voice >&2\nexit 1\n")
    program.chmod(0o755)
    with pytest.raises(UserError, match="flite does not speak: no voice"):
        speak([(tmp_path / "a.wav", ["flite", "-o"])], tmp_path)
