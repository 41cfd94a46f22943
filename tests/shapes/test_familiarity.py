"""What is called foreign: clips and questions that the embedded model was not taught."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.datasets import load_sample_images
from typer.testing import CliRunner

import stc_core
from stc_core import Video
from stc_core.__main__ import cli
from stc_core.answering.teaching import DOUBT, FOREIGN_CLIP, FOREIGN_QUESTION
from stc_core.assets_folder import assets_folder
from stc_core.errors import InputError
from stc_core.hooks.run_cache import RunCache
from stc_core.hooks.tower import tower_output
from stc_core.models.familiarity import FRAMES, Familiarity
from stc_core.shapes.exam.familiarity import examine_familiarity, frames_of
from stc_core.shapes.model.familiar_pictures import (
    fit_familiarity,
    lossy,
    recordings,
    summary_of,
    write_familiarity,
)
from stc_core.shapes.world.clip import make_clip
from stc_core.shapes.world.drawing import coverage
from stc_core.shapes.world.foreign import FOREIGN_SEEDS, foreign_clip
from stc_core.shapes.world.outside_questions import OUTSIDE
from stc_core.shapes.world.question_forms import has_known_form
from stc_core.shapes.world.questions import PHRASINGS, ask
from stc_core.shapes.world.scenes import DEVELOPMENT_SEEDS, WORLD, frame_times, make_scene


@pytest.fixture(scope="module")
def vlm():
    return stc_core.load(device="cpu")


# Questions ---------------------------------------------------------------------------------------


@given(st.sampled_from(DEVELOPMENT_SEEDS[:400]))
def test_every_question_of_the_world_has_a_known_form(seed):
    world, times = WORLD.at_pace(16), frame_times(16)
    scene = make_scene(seed, world)
    share = coverage([scene], times, 7, 7)[0].numpy()
    for question in ask(scene, world, times, share):
        assert has_known_form(question.text), question.text


def test_no_question_from_outside_has_a_known_form():
    assert [text for group in OUTSIDE.values() for text in group if has_known_form(text)] == []


@pytest.mark.parametrize(
    ("question", "known"),
    [
        ("What colour is the  striped star?", True),
        ("is there an orange circle", True),
        ("which came first, the red heart or the large solid ring?", True),
        ("is the ring small or large?", True),
        ("what color is the star? and the heart?", False),
        ("what color is the (star?", False),
        ("color", False),
        ("", False),
        ("is the ring star or heart?", False),
    ],
)
def test_forms_of_questions(question, known):
    assert has_known_form(question) is known


def test_every_phrasing_is_a_form_with_words_in_its_gaps():
    words = {"name": "red star", "a": "small", "b": "large", "noun": "dog", "verb": "made"}
    for kind, phrasings in PHRASINGS.items():
        gaps = words if kind == "look" else {**words, "a": "red star", "b": "ring"}
        for phrasing in phrasings:
            assert has_known_form(phrasing.format(**gaps)), phrasing


# Pictures ----------------------------------------------------------------------------------------


def test_a_foreign_clip_is_a_function_of_its_seed_and_moves():
    clip = foreign_clip(FOREIGN_SEEDS[3], 5, 64)
    assert clip.shape == (5, 64, 64, 3) and clip.dtype == np.uint8
    np.testing.assert_array_equal(clip, foreign_clip(FOREIGN_SEEDS[3], 5, 64))
    assert (clip != foreign_clip(FOREIGN_SEEDS[4], 5, 64)).mean() > 0.5
    for seed in range(9):
        first, last = foreign_clip(seed, 2, 64)
        assert (first != last).any()


def test_a_lossy_recording_stays_near_its_clip():
    frames = make_clip(DEVELOPMENT_SEEDS[5], 4, 160).frames
    coded = lossy(frames, 60)
    assert coded.shape == frames.shape and (coded != frames).any()
    assert np.abs(coded.astype(int) - frames).mean() < 6


def test_the_score_is_the_mean_over_frames_of_a_linear_function(vlm):
    frames = make_clip(DEVELOPMENT_SEEDS[7], 3).frames
    pixels = vlm.processor.video_processor(frames, return_tensors="pt").pixel_values_videos[0]
    tower = vlm.model.model.vision_tower(pixels).last_hidden_state.detach().double().numpy()
    dice = np.random.default_rng(4)
    weight = dice.normal(size=2 * tower.shape[-1])
    expected = [
        weight @ np.concatenate([f.mean(axis=0), f.std(axis=0, ddof=1)]) - 0.5 for f in tower
    ]
    with tower_output(vlm.model) as seen:
        vlm.model.model.vision_tower(pixels)
    found = Familiarity(tuple(weight), -0.5).score(seen[0])
    assert found == pytest.approx(np.mean(expected), abs=1e-4)


def test_of_a_long_clip_frames_from_start_to_end_are_looked_at():
    dice = np.random.default_rng(5)
    seen = torch.from_numpy(dice.normal(size=(3 * FRAMES, 5, 4)))
    known = Familiarity(tuple(dice.normal(size=8)), 0.0)
    some = np.linspace(0, 3 * FRAMES - 1, FRAMES).round().astype(int)
    assert known.score(seen) == pytest.approx(known.score(seen[some]), abs=1e-6)
    changed = seen.clone()
    changed[-1] += torch.from_numpy(dice.normal(size=(5, 4)))
    assert abs(known.score(changed) - known.score(seen)) > 1e-3


def test_the_fit_tells_its_own_clips_apart_and_goes_into_the_config(tmp_path, vlm):
    folder = tmp_path / "model"
    shutil.copytree(assets_folder() / "model", folder)
    known = write_familiarity(folder, clips=24, foreign=60)
    recorded = json.loads((folder / "config.json").read_text())["stc"]
    assert Familiarity.of(recorded["familiarity"]) == known
    before = json.loads((assets_folder() / "model" / "config.json").read_text())["stc"]
    assert {k: v for k, v in recorded.items() if k != "familiarity"} == {
        k: v for k, v in before.items() if k != "familiarity"
    }
    assert stc_core.load(folder, device="cpu").familiarity == known

    def score(frames):
        return float((summary_of(vlm, frames) @ np.array(known.weight)).mean() + known.bias)

    assert np.mean([score(clip) > 0 for clip in recordings(DEVELOPMENT_SEEDS, 24)]) < 0.1
    outside = [score(foreign_clip(seed, 1)) for seed in FOREIGN_SEEDS[:60]]
    assert np.mean(np.array(outside) > 0) > 0.8
    assert fit_familiarity(vlm, 24, 60) == known


def test_the_shipped_model_tells_real_films_and_photographs_from_its_world(vlm, tmp_path):
    folder = tmp_path / "real"
    shutil.copytree(Path(find_spec("gradio").origin).parent / "media_assets" / "videos", folder)
    for number, picture in enumerate(load_sample_images().images):
        cv2.imwrite(str(folder / f"photograph {number}.png"), picture[..., ::-1])
    report = examine_familiarity(vlm, 20, folder)
    rows = {row.name: row for row in report.rows}
    assert rows["real videos and pictures"].others == ("a.mp4",)  # a title on a plain ground
    assert rows["clips of the world"].flagged <= 2
    assert rows["generated clips from outside"].flagged >= 17
    assert rows["questions of the world"].flagged == 0
    assert rows["questions, unknown words"].flagged == 30


def test_an_answer_carries_the_notes(vlm):
    cache, clip = RunCache(), assets_folder() / "clips" / "tall.mp4"
    plain = stc_core.answer(vlm, clip, "how many objects are there?", cache=cache, record=False)
    assert not {FOREIGN_CLIP, FOREIGN_QUESTION} & set(plain.trace.notes)
    asked = stc_core.answer(vlm, clip, "who won the match?", cache=cache, record=False)
    assert FOREIGN_QUESTION in asked.trace.notes and FOREIGN_CLIP not in asked.trace.notes
    foreign = replace(vlm, familiarity=replace(vlm.familiarity, bias=1e3))
    for _ in range(2):  # also where the features come from the cache
        found = stc_core.answer(
            foreign, clip, "how many objects are there?", cache=cache, record=False
        )
        assert FOREIGN_CLIP in found.trace.notes


def test_more_frames_than_it_was_taught_are_noted(vlm):
    clip = np.zeros((65, 112, 112, 3), np.uint8)
    for frames in (64, 65):
        video = Video.from_frames(clip[:frames], np.arange(frames) / 4)
        asked = stc_core.answer(vlm, video, "how many objects are there?", record=False)
        said = [note for note in asked.trace.notes if "at most 64 frames" in note]
        assert [note.startswith(DOUBT) for note in said] == [True] * (frames > 64)


def test_another_model_gets_no_note(vlm):
    other = replace(vlm, name="somebody/else", familiarity=None)
    clip = assets_folder() / "clips" / "tall.mp4"
    found = stc_core.answer(other, clip, "who won the match?", record=False)
    assert not {FOREIGN_CLIP, FOREIGN_QUESTION} & set(found.trace.notes)


# Bad input ---------------------------------------------------------------------------------------


def test_a_picture_that_is_none_is_refused(tmp_path):
    (tmp_path / "broken.png").write_bytes(b"nothing")
    with pytest.raises(InputError, match=r"'broken\.png' cannot be read"):
        frames_of(tmp_path / "broken.png")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--real", "."], "--real belongs to --familiarity"),
        (["--familiarity", "--retention", "0.1"], "asks no questions"),
        (["--familiarity", "--real", "nowhere"], "there is no folder 'nowhere'"),
        (["--familiarity", "--real", "EMPTY"], "there is no video and no picture"),
    ],
)
def test_a_command_that_makes_no_sense_is_refused(arguments, sentence, tmp_path):
    arguments = [str(tmp_path) if word == "EMPTY" else word for word in arguments]
    found = CliRunner().invoke(cli, ["evaluate", *arguments])
    assert found.exit_code == 2 and sentence in " ".join(found.stderr.split())


def test_a_model_without_a_world_is_refused(vlm):
    with pytest.raises(InputError, match="records no world of its own"):
        examine_familiarity(replace(vlm, familiarity=None), 1)
