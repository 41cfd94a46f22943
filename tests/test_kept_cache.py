"""A compressed KV cache that is kept, saved and continued: elsewhere it says the same."""

import copy
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.masked import generate, masked_logits, snapshot
from inputs import METHODS, clip_frames, prompt
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from tiny import BUILDERS
from typer.testing import CliRunner

from stc_core import STC, InputError, Trace, answer, compress, load, load_conversation
from stc_core.__main__ import cli
from stc_core.answering.prompt import build_prompt, following_turn
from stc_core.answering.video import Video
from stc_core.hooks.kept_cache import load_cache, resume
from stc_core.hooks.kept_file import digest_of
from stc_core.hooks.kv_cache import cache_of

ROOT = Path(__file__).resolve().parents[1]
QUESTION, NEXT = "what color is the star?", "is there a red circle?"


@pytest.fixture
def asked(tiny):
    model, processor = tiny
    return copy.deepcopy(model), prompt(processor, clip_frames())


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    made = {}
    for name, build in BUILDERS.items():
        made[name] = tmp_path_factory.mktemp(name)
        for part in build(seed=1):
            part.save_pretrained(made[name])
    return made


def clip(frames=4):
    return Video.from_frames(clip_frames(frames), np.arange(frames) / 2)


def kept_prompt(model, inputs, method):
    with compress(model, method) as trace:
        output = generate(model, inputs)
        return output, trace.keep(cache_of(output))


# --- the hooks -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kernel", ["sdpa", "eager"])
@pytest.mark.parametrize("name", [name for name in METHODS if name != "inside"])
@torch.no_grad()
def test_a_kept_cache_goes_on_as_the_masked_reference_says(asked, name, kernel, tmp_path):
    """In float64, after it was saved and read again; twice, for it is never changed."""
    model, inputs = asked
    model = model.double()
    model.set_attn_implementation(kernel)
    inputs["pixel_values_videos"] = inputs["pixel_values_videos"].double()
    output, kept = kept_prompt(model, inputs, METHODS[name])
    kept.save(tmp_path / "cache.safetensors")
    again = load_cache(tmp_path / "cache.safetensors", model)
    clean = snapshot(model)
    more = torch.tensor([[output.sequences[0, -1], 7, 9, 11, 4]])
    whole = torch.cat([output.sequences[:, :-1], more], dim=1)
    expected, _ = masked_logits(model, inputs, kept.trace, whole)
    for one in (kept, again, kept):
        with resume(model, one) as after:
            logits = model(**after(more)).logits[0, -1]
            said = generate(model, after(more))
        assert snapshot(model) == clean
        torch.testing.assert_close(logits, expected, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(said.logits[0][0].double(), logits, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_two_prompts_of_one_with_can_both_be_continued(asked, tiny):
    """Each cache knows how its own prompt was shortened."""
    model, inputs = asked
    longer = prompt(tiny[1], clip_frames(6, seed=3), "how many red objects are there ?")
    method = METHODS["both, compact"]
    with compress(model, method):
        first = generate(model, inputs)
        second = generate(model, longer)
        # only the last one's trace is here, so the other is compared with a run of its own
        said = following(model, first), following(model, second)
    for output, given, found in ((first, inputs, said[0]), (second, longer, said[1])):
        with compress(model, method):
            alone = generate(model, given)
            assert torch.equal(alone.sequences, output.sequences)
            torch.testing.assert_close(following(model, alone), found, atol=0, rtol=0)


def following(model, output):
    count = output.sequences.shape[1]
    return model(
        input_ids=output.sequences[:, -1:],
        position_ids=torch.tensor([[count - 1]]),
        past_key_values=copy.deepcopy(cache_of(output)),
    ).logits[0, -1]


def test_what_cannot_be_kept_is_refused(asked, tiny):
    model, inputs = asked
    with compress(model, METHODS["both"]) as trace:
        beams = generate(model, inputs, num_beams=2)
        with pytest.raises(InputError, match="one prompt without padding"):
            trace.keep(cache_of(beams))
        pad = torch.zeros(1, 3, dtype=torch.long)
        behind = {n: torch.cat([pad, inputs[n]], 1) for n in ("input_ids", "attention_mask")}
        padded = generate(model, inputs | behind)
        with pytest.raises(InputError, match="one prompt without padding"):
            trace.keep(cache_of(padded))
        with pytest.raises(InputError, match="handed back last"):
            trace.keep(None)
        output = generate(model, inputs)
    with pytest.raises(InputError, match="inside the `with"):
        trace.keep(cache_of(output))


def test_another_video_or_another_with_is_refused_while_going_on(asked):
    model, inputs = asked
    output, kept = kept_prompt(model, inputs, METHODS["both"])
    video = inputs["input_ids"][:, :4].clone().fill_(model.config.video_token_id)
    with resume(model, kept) as after, torch.no_grad():
        with pytest.raises(InputError, match="compress another video in a `with"):
            model(**after(video))
        with pytest.raises(InputError, match="compress another video in a `with"):
            generate(model, inputs)
        with pytest.raises(InputError, match="already"), compress(model, METHODS["both"]):
            pass
        last = generate(model, after(output.sequences[:, -1:]))
    with pytest.raises(InputError, match="only inside the `with"), torch.no_grad():
        following(model, last)


def test_a_changed_model_is_refused(asked):
    model, inputs = asked
    _, kept = kept_prompt(model, inputs, METHODS["both"])
    with torch.no_grad():
        model.get_decoder().layers[1].mlp.up_proj.weight.mul_(1.01)
    with pytest.raises(InputError, match="with other weights or in another dtype"):
        with resume(model, kept):
            pass


# --- whole answers -------------------------------------------------------------------------------


@pytest.mark.parametrize("family", BUILDERS)
def test_a_saved_conversation_goes_on_like_one_that_was_not(family, folders, tmp_path):
    """And, where no question decides what is dropped, like one that is read anew."""
    vlm = load(folders[family])
    found = answer(
        vlm, clip(), QUESTION, METHODS["outside"], keep_cache=True, max_new_tokens=4, record=True
    )
    file = found.conversation.save(tmp_path / "talk.safetensors")
    again = load_conversation(file, load(folders[family]))
    options = {"max_new_tokens": 4, "score": ["red"]}
    one, other = (talk.ask(NEXT, **options) for talk in (found.conversation, again))
    assert (one.text, one.logprob, one.scores) == (other.text, other.logprob, other.scores)
    np.testing.assert_array_equal(one.trace.fate, other.trace.fate)
    assert one.trace.question == NEXT and "after 1 earlier turn;" in one.trace.notes[-1]
    one.trace.save(tmp_path / "trace.npz")
    history = [(QUESTION, found.text)]
    anew = answer(vlm, clip(), NEXT, METHODS["outside"], history=history, **options)
    following, _ = following_turn(vlm, "", history, NEXT)
    cached = [*ids_of(vlm, QUESTION), *found.conversation.said, *following]
    if cached == ids_of(vlm, NEXT, history):  # a random model also writes what no text leads to
        assert one.text == anew.text
        assert one.logprob == pytest.approx(anew.logprob, abs=1e-4)
        assert one.scores["red"] == pytest.approx(anew.scores["red"], abs=1e-4)
    third = one.conversation.ask(QUESTION, **options)
    assert third.conversation.history == (*history, (NEXT, one.text), (QUESTION, third.text))


def ids_of(vlm, question, history=()):
    """The tokens of a prompt that is read anew."""
    made = build_prompt(vlm, clip_frames(4), question, 4, seconds=np.arange(4) / 2, history=history)
    return made.inputs["input_ids"][0].tolist()


# --- files ---------------------------------------------------------------------------------------

CLIP = ROOT / "assets" / "clips" / "two-on-waves.mp4"
ELSEWHERE = """
import json, sys
from stc_core import load, load_conversation
found = load_conversation(sys.argv[1], load(device="cpu")).ask(sys.argv[2])
print(json.dumps([found.text, found.logprob, found.trace.fate.tolist()]))
"""


@pytest.fixture(scope="module")
def embedded():
    return load(device="cpu")


@pytest.fixture(scope="module")
def saved(embedded, tmp_path_factory):
    """(the first answer about a clip with the embedded model, its file)."""
    found = answer(embedded, CLIP, QUESTION, STC(retention=0.1), frames=8, keep_cache=True)
    place = tmp_path_factory.mktemp("saved") / "talk.safetensors"
    return found, found.conversation.save(place)


def test_another_process_goes_on_with_the_same_words(embedded, saved):
    found, file = saved
    done = subprocess.run(
        [sys.executable, "-c", ELSEWHERE, str(file), NEXT],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=os.environ | {"HF_HUB_OFFLINE": "1"},
    )
    assert done.returncode == 0, done.stderr
    here = found.conversation.ask(NEXT)
    assert json.loads(done.stdout) == [here.text, here.logprob, here.trace.fate.tolist()]
    assert here.costs.real_flops["vision"] == 0
    assert here.costs.real_flops["total"] < found.costs.real_flops["total"]


def test_pieces_of_a_later_answer_are_that_answer(saved):
    talk = saved[0].conversation
    with talk.ask(NEXT, stream=True) as stream:
        said = "".join(stream)
    assert said == stream.answer.text == talk.ask(NEXT).text


def test_the_file_holds_arrays_and_json_alone(saved):
    with safe_open(saved[1], framework="pt") as file:
        assert set(file.metadata()) == {"stc"}
        about = json.loads(file.metadata()["stc"])
        packed = file.get_tensor("trace").numpy().tobytes()
    assert about["about"]["history"] == [[QUESTION, saved[0].text]] and packed.startswith(b"PK")


def refused(file, vlm):
    with pytest.raises(InputError) as error:
        load_conversation(file, vlm)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_truncated_or_damaged_file_is_one_sentence(embedded, saved, tmp_path):
    whole, file = saved[1].read_bytes(), tmp_path / "talk.safetensors"
    rng = np.random.default_rng(0)
    for size in (0, 5, 100, len(whole) // 2, len(whole) - 1):
        file.write_bytes(whole[:size])
        assert "not a saved conversation or is damaged" in refused(file, embedded)
    for place in rng.integers(0, len(whole), 12).tolist():
        bytes_ = bytearray(whole)
        bytes_[place] ^= 1 << int(rng.integers(8))
        file.write_bytes(bytes_)
        refused(file, embedded)
    assert "there is no file" in refused(tmp_path / "nowhere", embedded)
    assert "there is no file" in refused(tmp_path, embedded)


def changed(saved, place, header=lambda h: None, tensors=lambda t: None):
    """The file with another header or other tensors, its digest made anew."""
    with safe_open(saved[1], framework="pt") as file:
        about = json.loads(file.metadata()["stc"])
    held = load_file(saved[1])
    tensors(held)
    header(about)
    if about["digest"] != "0":
        about["digest"] = digest_of(about, held)
    save_file(held, place, metadata={"stc": json.dumps(about)})
    return place


@pytest.mark.parametrize(
    ("header", "tensors", "words"),
    [
        ({"format": 99}, {}, "saved in format 99, newer than the 1"),
        ({"format": "1"}, {}, "names no format"),
        ({"model": "0" * 64}, {}, "with other weights or in another dtype"),
        ({"short": 0}, {}, "its lengths or its layer cannot be"),
        ({"short": 7}, {}, "its places do not fit its lengths"),
        ({"layer": 10**9}, {}, "its lengths or its layer cannot be"),
        ({"layer": None}, {}, "its places do not fit|differ from what its places say"),
        ({"digest": "0"}, {}, "its contents are not what was written"),
        ({"about": {}}, {}, "holds a cache and no conversation"),
        ({"about": {"system": "", "history": [["a", "b"]], "said": [-1]}}, {}, "no conversation"),
        ({}, {"more": torch.zeros(1)}, "that this version does not know"),
        ({}, {"ends": torch.zeros(1, 1)}, "its ends are no whole numbers"),
        ({}, {"ends": torch.full((1, 1), 1 << 40)}, "its ends are no whole numbers"),
        ({}, {"trace": torch.zeros(9, dtype=torch.uint8)}, "its trace cannot be read"),
        ({}, {"keys.0": None}, "holds .* layers of keys and the model has"),
        ({}, {"values.0": None}, "it lacks a tensor"),
        ({}, {"keys.0": float("nan")}, "its keys.0 are not finite"),
        ({}, {"keys.0": torch.float16}, "of no usable type"),
    ],
)
def test_a_file_that_says_what_cannot_be_is_one_sentence(
    embedded, saved, tmp_path, header, tensors, words
):
    def put(held):
        for name, value in tensors.items():
            if value is None:
                del held[name]
            elif isinstance(value, float):
                held[name][..., 0] = value
            else:
                held[name] = held[name].to(value) if value is torch.float16 else value

    file = changed(saved, tmp_path / "talk.safetensors", lambda h: h.update(header), put)
    with pytest.raises(InputError, match=words):
        load_conversation(file, embedded)


def test_a_file_of_another_model_is_one_sentence(saved, tiny, tmp_path):
    assert "load the model that made it" in refused_cache(saved[1], tiny[0])


def refused_cache(file, model):
    with pytest.raises(InputError) as error:
        load_cache(file, model)
    return str(error.value)


def test_nothing_half_written_stays(saved, tmp_path):
    talk = saved[0].conversation
    with pytest.raises(InputError, match="does not exist"):
        talk.save(tmp_path / "no" / "talk.safetensors")
    with pytest.raises(InputError, match="is a folder"):
        talk.save(tmp_path)
    place = tmp_path / "talk.safetensors"
    place.mkdir()
    (place / "mine").touch()
    with pytest.raises(InputError, match="is a folder"):
        talk.save(place)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["mine", "talk.safetensors"]


def test_a_conversation_longer_than_the_model_reads_is_refused(saved):
    with pytest.raises(InputError, match="the conversation has .* and the model reads"):
        saved[0].conversation.ask("star " * 10_000)
    with pytest.raises(InputError, match="question is empty"):
        saved[0].conversation.ask(" ")


def test_the_command_line_saves_a_cache_and_goes_on_from_it(saved, tmp_path):
    place, trace = tmp_path / "c.safetensors", tmp_path / "t.npz"
    ask = ["answer", str(CLIP), QUESTION, "--retention=0.1", "--frames=8"]
    run = CliRunner().invoke(cli, [*ask, "--save-cache", str(place)])
    assert run.exit_code == 0 and run.stdout.strip() == saved[0].text
    run = CliRunner().invoke(
        cli, ["answer", "--cache", str(place), NEXT, "--json", "--trace", str(trace)]
    )
    assert run.exit_code == 0, run.stderr
    record, expected = json.loads(run.stdout), saved[0].conversation.ask(NEXT)
    assert (record["answer"], record["logprob"]) == (expected.text, expected.logprob)
    assert record["question"] == NEXT and record["video"] is None
    assert Trace.load(trace).question == NEXT


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["FILE"], "a question is missing"),
        (["FILE", QUESTION, "--cache", "FILE"], "goes on about its own video"),
        ([QUESTION, "--cache", "FILE", "--retention", "0.5"], "--retention belongs to the first"),
        ([QUESTION, "--cache", "nowhere"], "there is no file 'nowhere'"),
        ([QUESTION, "--cache", "README.md"], "not a saved conversation or is damaged"),
        ([str(CLIP), QUESTION, "--save-cache", "no/such/c"], "for the cache does not exist"),
        ([str(CLIP), QUESTION, "--save-cache", "tests"], "name a file for the cache"),
    ],
)
def test_a_wrong_cache_is_one_sentence_and_exit_code_2(saved, arguments, words, monkeypatch):
    monkeypatch.chdir(ROOT)
    given = [str(saved[1]) if part == "FILE" else part for part in arguments]
    run = CliRunner().invoke(cli, ["answer", *given])
    assert run.exit_code == 2 and run.stdout == "" and words in run.stderr
    assert "Traceback" not in run.stderr
