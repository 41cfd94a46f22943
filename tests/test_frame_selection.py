"""``frames="auto"``: which frames are chosen, how many tokens they keep, what is refused."""

import time
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from clips import write_clip
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import BUILDERS
from typer.testing import CliRunner

from stc_core import METHODS, STC, Conversation, InputError, RunCache, Video, answer, load
from stc_core.__main__ import cli
from stc_core.answering.equal_tokens import at_equal_tokens, grid_of_size, tokens_left
from stc_core.answering.frame_selection import (
    CELL,
    LEVEL,
    SIDE,
    changed_cells,
    choose_distinct,
    choose_in_file,
    choose_in_video,
    farthest_first,
    without_near_duplicates,
)
from stc_core.answering.prompt import grid_of
from stc_core.answering.video import MAX_FRAMES, read_video
from stc_core.benchmark import long_auto
from stc_core.methods import FastV, Frames
from stc_core.models.vlm import VLM
from stc_core.record.grid import TokenGrid

QUESTION = "what color is the star?"
FAMILIES = ["llava_onevision", "qwen2_5_vl", "qwen3_vl"]


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    """Family -> tiny model that reads 6 frames by default."""
    found = {}
    for name in BUILDERS:
        folder = tmp_path_factory.mktemp(name)
        for part in BUILDERS[name](seed=1):
            part.save_pretrained(folder)
        found[name] = load(folder, device="cpu")
        found[name].frames = 6
    return found


def scenes(lengths, seed=0, size=(48, 64)):
    """(sum of lengths, H, W, 3) uint8: so many frames of each of at most seven plain gray levels.

    The levels are far apart, and in random order.
    """
    levels = 40 * np.random.default_rng(seed).permutation(7)[: len(lengths)]
    frames = np.zeros((sum(lengths), *size, 3), np.uint8)
    frames += np.repeat(levels, lengths).astype(np.uint8)[:, None, None, None]
    return frames


def noise(count, seed=0, size=(SIDE, SIDE), spread=256):
    rng = np.random.default_rng(seed)
    return rng.integers(0, spread, (count, *size, 3)).astype(np.uint8)


# --- the rule against a slow reference ------------------------------------------------------------


def reference_changed(one, other):
    """Cells of two groups of pictures that differ, cell by cell in float64."""
    count = 0
    for row in range(0, SIDE, CELL):
        for col in range(0, SIDE, CELL):
            cell = np.s_[:, row : row + CELL, col : col + CELL]
            apart = np.abs(one[cell].astype(np.float64) - other[cell].astype(np.float64))
            count += any(frame.mean() > LEVEL for frame in apart)
    return count


def reference_choice(pictures, most):
    distinct = [0]
    for place in range(1, len(pictures)):
        if reference_changed(pictures[place], pictures[distinct[-1]]) > 0:
            distinct.append(place)
    chosen = [0]  # places in ``distinct``
    while len(chosen) < min(most, len(distinct)):
        best = None
        for place in range(len(distinct)):
            if place in chosen:
                continue
            picture = pictures[distinct[place]]
            nearest = min(reference_changed(picture, pictures[distinct[c]]) for c in chosen)
            gap = min(abs(place - c) for c in chosen)
            if best is None or (nearest, gap) > best[0]:
                best = (nearest, gap), place
        chosen.append(best[1])
    return sorted(distinct[place] for place in chosen), distinct


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 14), st.integers(1, 8), st.sampled_from([1, 2]))
def test_the_choice_is_that_of_the_reference(seed, groups, most, step):
    """On pictures in which a few cells change by about as much as counts."""
    rng = np.random.default_rng(seed)
    pictures = np.full((groups, step, SIDE, SIDE, 3), 100, np.uint8)
    for picture in pictures:
        for _ in range(rng.integers(0, 4)):
            row, col = CELL * rng.integers(0, SIDE // CELL, 2)
            change = int(rng.integers(LEVEL - 2, LEVEL + 3))
            picture[rng.integers(step), row : row + CELL, col : col + CELL] += change
    expected, remained = reference_choice(pictures, most)
    distinct = without_near_duplicates(pictures)
    assert distinct.tolist() == remained
    assert distinct[farthest_first(pictures[distinct], most)].tolist() == expected
    for picture in pictures:
        counts = [reference_changed(other, picture) for other in pictures]
        assert changed_cells(pictures, picture).tolist() == counts


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 40), st.integers(1, 12), st.integers(1, 3))
def test_what_holds_of_every_choice(seed, count, most, step):
    frames = noise(count, seed, size=(20, 36), spread=1 + seed % 256)
    places, distinct = choose_distinct(frames, most, step)
    assert places[0] == 0 and (np.diff(places) > 0).all() and places[-1] < count
    assert 1 <= len(places) <= max(most, step) and len(places) <= distinct <= count
    groups = np.unique(places // step)
    whole = np.minimum(count, (groups + 1) * step) - groups * step
    assert len(places) == whole.sum()  # a time step is taken as a whole
    again, _ = choose_distinct(frames, most, step)
    np.testing.assert_array_equal(places, again)


@pytest.mark.parametrize("factor", [2, 3, 8])
def test_the_resolution_does_not_matter(factor):
    frames = noise(20, size=(SIDE, SIDE))
    frames[7:12] = frames[6]
    larger = frames.repeat(factor, axis=1).repeat(factor, axis=2)
    places, distinct = choose_distinct(frames, 8)
    np.testing.assert_array_equal(choose_distinct(larger, 8)[0], places)
    assert distinct == 15


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 30), min_size=1, max_size=7), st.integers(0, 10**6))
def test_every_scene_is_shown_once_however_short(lengths, seed):
    places, distinct = choose_distinct(scenes(lengths, seed), 7)
    assert places.tolist() == np.cumsum([0, *lengths[:-1]]).tolist()
    assert distinct == len(lengths)


def test_a_still_clip_is_one_frame_with_grain_and_slow_light_too():
    still = noise(1, size=(64, 64))[0] // 2 + 40
    grain = np.random.default_rng(1).integers(-6, 7, (50, 64, 64, 3))
    frames = (still + grain).astype(np.uint8)
    assert choose_distinct(frames, 32)[0].tolist() == [0]
    assert choose_distinct(np.zeros((5, 8, 8, 3), np.uint8), 32, step=2)[0].tolist() == [0, 1]


def test_something_small_that_is_there_for_one_frame_is_found():
    frames = np.full((200, 96, 96, 3), 120, np.uint8)
    frames[77, 40:58, 40:58] = (225, 45, 45)
    assert choose_distinct(frames, 32)[0].tolist() == [0, 77, 78]


def test_where_too_many_remain_the_most_different_are_taken():
    """A thing that moves on one frame after another, and three cuts among it."""
    frames = np.full((60, SIDE, SIDE, 3), 60, np.uint8)
    for index, frame in enumerate(frames):
        col = index % 28
        frame[4:8, col : col + 4] = 200
    for index, gray in ((13, 255), (31, 215), (47, 175)):
        frames[index] = gray
    places, distinct = choose_distinct(frames, 6)
    assert {0, 13, 31, 47} <= set(places) and len(places) == 6 and distinct > 40


# --- files and frames in memory -------------------------------------------------------------------

WHOLE = {"start": 0.0, "end": None, "track": None}


def from_file(path, most, candidates, step=1, part=WHOLE):
    shares = []
    found = choose_in_file(
        path, most, candidates, step, max_side=lambda count: 256, part=part, report=shares.append
    )
    assert shares == sorted(shares) and shares[-1] == 1.0
    return found


def film(path, lengths, seed=3, rate=25):
    frames = scenes(lengths, seed)
    times = (np.arange(len(frames)) * 1000 // rate).tolist()
    return write_clip(path, times, picture=lambda index: frames[index])


@pytest.mark.parametrize("step", [1, 2])
def test_of_a_file_the_chosen_frames_come_in_full_size_at_their_times(tmp_path, step):
    path = film(tmp_path / "film.mp4", [40, 3, 50, 7, 60])
    found = from_file(path, 8, 160, step)
    whole = read_video(path, 160)
    places = np.searchsorted(whole.seconds, found.video.seconds)
    np.testing.assert_array_equal(found.video.frames, whole.frames[places])
    np.testing.assert_array_equal(found.video.seconds, whole.seconds[places])
    expected, _ = choose_distinct(whole.frames, 8, step)
    np.testing.assert_array_equal(places, expected)
    assert (found.looked_at, found.usual) == (160, 8)
    assert found.video.duration == whole.duration and found.video.frame_count == 160
    within = choose_in_video(whole, 8, 160, step)
    np.testing.assert_array_equal(within.video.frames, found.video.frames)
    assert (within.distinct, within.usual) == (found.distinct, 8)


def test_a_stretch_of_a_file_is_chosen_from_alone(tmp_path):
    path = film(tmp_path / "film.mp4", [25, 25, 25, 25])
    found = from_file(path, 8, 100, part=WHOLE | {"start": 1.0, "end": 3.0})
    assert found.video.seconds.tolist() == [1.0, 2.0] and found.looked_at == 50


def test_of_few_frames_each_is_looked_at_once(tmp_path):
    path = film(tmp_path / "film.mp4", [2, 1])
    found = from_file(path, 32, 128)
    assert (found.looked_at, found.distinct, found.usual) == (3, 2, 3)


# --- answers --------------------------------------------------------------------------------------


def clip(lengths=(9, 2, 9, 4), seed=2):
    frames = scenes(lengths, seed)
    return Video.from_frames(frames, np.arange(len(frames)) * 0.25)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("method", [STC(retention=0.2), FastV(retention=0.3)], ids=repr)
def test_chosen_frames_keep_as_many_tokens_as_uniform_ones(opened, family, method):
    vlm = opened[family]
    video = clip()
    options = {"max_new_tokens": 2}
    uniform = video.frames[:6], video.seconds[:6]
    usual = answer(vlm, Video.from_frames(*uniform), QUESTION, method, **options)
    found = answer(vlm, video, QUESTION, method, frames="auto", candidates=24, **options)
    step = vlm.family.step(vlm.model.config)
    # of time steps of two frames two hold the end of a scene: five differ, three are shown
    assert found.trace.grid.frames == {1: 4, 2: 3}[step]
    assert found.trace.alive()[-1] == usual.trace.alive()[-1]
    if isinstance(method, STC):
        assert found.trace.alive()[1] == usual.trace.alive()[1]
    shown, distinct = {1: (4, 4), 2: (6, 10)}[step]
    (note,) = (note for note in found.trace.notes if "chosen" in note)
    assert f"looked at 24, without near-duplicates {distinct}, shown {shown}." in note
    kept = found.trace.alive()[1 if isinstance(method, STC) else -1]
    assert f"keep {kept} of {found.trace.grid.size} video tokens" in note
    assert note.endswith(f"of {usual.trace.grid.size} video tokens (retention {method.retention}).")


def test_the_seconds_of_a_trace_are_those_of_the_chosen_frames(opened):
    found = answer(opened["llava_onevision"], clip(), QUESTION, frames="auto", max_new_tokens=2)
    assert found.trace.seconds.tolist() == [0.0, 2.25, 2.75, 5.0]


def test_frames_that_all_differ_are_the_usual_ones(opened):
    """Then it is the answer of the same frames, sampled uniformly, bit for bit."""
    vlm, frames = opened["llava_onevision"], noise(6, size=(48, 64))
    video = Video.from_frames(frames)
    plain = answer(vlm, video, QUESTION, max_new_tokens=3)
    auto = answer(vlm, video, QUESTION, frames="auto", max_new_tokens=3)
    assert (auto.text, auto.logprob, auto.trace.method) == (
        plain.text,
        plain.logprob,
        plain.trace.method,
    )
    np.testing.assert_array_equal(auto.trace.fate, plain.trace.fate)


def test_a_cache_looks_once_and_a_conversation_decides_once(opened, tmp_path, monkeypatch):
    vlm, path = opened["llava_onevision"], film(tmp_path / "film.mp4", [20, 5, 20])
    alone = answer(vlm, path, "is there a star?", frames="auto", max_new_tokens=2)
    looks, decisions = [], []
    stock, outside = choose_in_file, STC.outside
    monkeypatch.setattr(
        "stc_core.answering.asked.choose_in_file",
        lambda *args, **named: looks.append(0) or stock(*args, **named),
    )
    monkeypatch.setattr(STC, "outside", lambda *args: decisions.append(0) or outside(*args))
    talk = Conversation(vlm, path, frames="auto", candidates=45, cache=RunCache())
    first = talk.ask(QUESTION, max_new_tokens=2)
    second = talk.ask("is there a star?", max_new_tokens=2)
    assert (len(looks), len(decisions)) == (1, 1)
    assert first.trace.grid.frames == 3
    assert second.text == alone.text and second.trace.method == alone.trace.method
    assert second.trace.notes == alone.trace.notes  # 128 candidates are all of these 45, too


def test_a_streamed_answer_takes_the_same_frames(opened):
    vlm, options = opened["qwen2_5_vl"], {"frames": "auto", "max_new_tokens": 3}
    plain = answer(vlm, clip(), QUESTION, **options)
    with answer(vlm, clip(), QUESTION, stream=True, **options) as stream:
        text = "".join(stream)
    assert text == plain.text and stream.answer.trace.notes == plain.trace.notes


# --- equal tokens ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("frames", [1, 5, 20, 31])
@pytest.mark.parametrize("cells", [(7, 7), (14, 14)])
def test_no_method_keeps_more_than_of_uniform_frames_and_none_could_keep_more(name, frames, cells):
    method, depth = METHODS[name](retention=0.1), 12
    usual, grid = TokenGrid(32, *cells), TokenGrid(frames, *cells)
    allowed = tokens_left(method, usual, depth)
    found = at_equal_tokens(method, usual, grid, depth)
    left = tokens_left(found, grid, depth)
    if left != tokens_left(method.at(1e-6), grid, depth):  # less than its least there is not
        assert all(kept <= most for kept, most in zip(left, allowed, strict=True))
    for retention in np.linspace(found.retention, 1, 40)[1:]:
        more = tokens_left(method.at(float(retention)), grid, depth)
        fits = all(kept <= most for kept, most in zip(more, allowed, strict=True))
        assert not fits or more == left


def test_the_retention_is_scaled_plainly_where_that_is_exact():
    usual, grid = TokenGrid(32, 7, 7), TokenGrid(8, 7, 7)
    assert at_equal_tokens(STC(retention=0.02), usual, grid, 12) == STC(retention=0.08)
    assert at_equal_tokens(STC(retention=0.5), usual, grid, 12) == STC(retention=1.0)
    assert at_equal_tokens(STC(retention=0.03), usual, usual, 12) == STC(retention=0.03)
    whole = at_equal_tokens(Frames(retention=0.25), usual, TokenGrid(16, 7, 7), 12)
    assert whole.budget(TokenGrid(16, 7, 7)) == 8 * 49


@pytest.mark.parametrize("family", BUILDERS)
@pytest.mark.parametrize("frames", [1, 5, 6])
def test_a_grid_is_known_without_frames(opened, family, frames):
    vlm, size = opened[family], (44, 88)
    found = grid_of_size(vlm, frames, size)
    assert found == grid_of(vlm, np.zeros((frames, *size, 3), np.uint8))


# --- what is refused, and what is not -------------------------------------------------------------


def test_one_frame_is_one_frame(opened, tmp_path):
    """A still picture, and a video of one frame, are answered as they are without "auto"."""
    picture = noise(1, size=(48, 64))[0]
    cv2.imwrite(str(tmp_path / "still.png"), picture)
    film = write_clip(tmp_path / "one.mp4", [0])
    for path in (tmp_path / "still.png", film):
        for family in ("llava_onevision", "qwen2_5_vl"):
            vlm = opened[family]
            plain = answer(vlm, path, QUESTION, max_new_tokens=2)
            auto = answer(vlm, path, QUESTION, frames="auto", max_new_tokens=2)
            assert auto.text == plain.text and auto.trace.grid == plain.trace.grid
            assert auto.trace.alive() == plain.trace.alive()
            assert any("looked at 1, without" in note for note in auto.trace.notes)


BAD = [
    ({"frames": "some"}, "frames must be a whole number or 'auto', not 'some'"),
    ({"frames": "8"}, "frames must be a whole number or 'auto', not '8'"),
    ({"frames": "auto", "candidates": 0}, "candidates must be a whole number from 6, the frames"),
    ({"frames": "auto", "candidates": 5}, "candidates must be a whole number from 6, the frames"),
    ({"frames": "auto", "candidates": 2.5}, "to 4096, not 2.5"),
    ({"frames": "auto", "candidates": True}, "to 4096, not True"),
    ({"frames": "auto", "candidates": MAX_FRAMES + 1}, "to 4096, not 4097"),
    ({"frames": 4, "candidates": 64}, "candidates belongs to frames='auto'"),
    ({"candidates": 64}, "candidates belongs to frames='auto'"),
    ({"frames": np.array([4, 4]), "candidates": 64}, "candidates belongs to frames='auto'"),
    ({"frames": "auto", "start": 1.0}, "start, end and track are for files"),
]


@pytest.mark.parametrize(("options", "words"), BAD, ids=[str(case[0]) for case in BAD])
def test_bad_input_is_refused_in_one_sentence(opened, options, words):
    with pytest.raises(InputError, match="^[^\n]*$") as error:
        answer(opened["llava_onevision"], clip(), QUESTION, **options)
    assert words in str(error.value)


@pytest.mark.parametrize("options", [{}, {"frames": "auto"}], ids=str)
def test_a_number_in_place_of_a_file_is_one_sentence(opened, options):
    with pytest.raises(InputError, match="^No video was given; name a video file"):
        answer(opened["llava_onevision"], 0, QUESTION, **options)  # a camera, as OpenCV names it


def test_the_look_at_frames_in_memory_counts_in_the_costs(opened, monkeypatch):
    def slow(*arguments):
        time.sleep(0.05)
        return choose_in_video(*arguments)

    monkeypatch.setattr("stc_core.answering.asked.choose_in_video", slow)
    found = answer(opened["llava_onevision"], clip(), QUESTION, frames="auto", max_new_tokens=1)
    assert found.costs.seconds["decode"] >= 0.05


def test_the_default_looks_at_no_fewer_frames_than_the_model_reads(opened):
    model = opened["llava_onevision"]
    many = VLM(model.model, model.processor, "tiny", "cpu", frames=200)
    video = Video.from_frames(noise(150, size=(16, 16)))
    found = answer(many, video, QUESTION, STC(), frames="auto", max_new_tokens=1)
    assert found.trace.grid.frames == 150  # and not 128


def test_more_frames_than_any_model_reads_are_read(tmp_path):
    path = write_clip(tmp_path / "long.mp4", range(0, 40 * 1200, 40))
    assert len(read_video(path, 1100).frames) == 1100
    with pytest.raises(InputError, match="from 1 to 4096"):
        read_video(path, 4097)


def test_from_1024_frames_on_the_memory_stays_the_same(monkeypatch, tmp_path):
    sides = []

    def note(file, head, track, choose, max_side, start, report):
        sides.append(max_side)
        return SimpleNamespace()

    monkeypatch.setattr("stc_core.answering.reading.read", note)
    path = write_clip(tmp_path / "a.mp4", [0])
    for count, side in ((1, 1024), (1024, 1024), (2048, 1024), (4096, 1024), (4096, 64)):
        read_video(path, count, max_side=side)
    read_video(path, 4096, max_side=None)
    assert sides == [1024, 1024, 724, 512, 64, None]


# --- the command line -----------------------------------------------------------------------------


def stc(*arguments):
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


def test_the_command_chooses_frames(tmp_path):
    path = film(tmp_path / "film.mp4", [30, 30])
    done = stc("answer", path, QUESTION, "--frames", "auto", "--candidates", "40", "--json")
    assert done.exit_code == 0, done.stderr
    assert '"grid": [2, 7, 7]' in done.stdout and "looked at 40, without" in done.stdout


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--frames", "some"], "--frames must be a whole number or auto, not 'some'"),
        (["--frames", "auto", "--candidates", "0"], "candidates must be a whole number from 32"),
        (["--candidates", "64"], "candidates belongs to frames='auto'"),
    ],
)
def test_the_command_refuses_in_one_sentence(tmp_path, options, words):
    done = stc("answer", film(tmp_path / "film.mp4", [3]), QUESTION, *options)
    assert done.exit_code == 2 and words in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--questions", "0"], "at least one question is needed, not 0"),
        (["--world", "flat"], "there is no world 'flat'; choose slow or brief"),
        (["--retention", "0"], "retention must be"),
    ],
)
def test_the_measurement_refuses_in_one_sentence(options, words):
    done = stc("long-video", "auto", *options)
    assert done.exit_code == 2 and words in done.stderr.splitlines()[-1]


def test_the_measurement_compares_at_equal_tokens(monkeypatch):
    monkeypatch.setattr(long_auto, "DENSER", (2,))
    monkeypatch.setattr(long_auto, "CANDIDATES", (32, 128))
    vlm = load(device="cpu")
    ways = long_auto.measure(
        vlm, STC(), 2, long_auto.WORLDS["brief"], development=True, on_answer=lambda *share: None
    )
    names = ["32 uniform", "64 uniform", "auto, 32 candidates", "auto, 128 candidates"]
    assert [way.name for way in ways] == names
    for way in ways:
        assert [cost.tokens for cost in way.costs] == [31, 31]
        assert len(way.right) == 2
    assert ways[0].mean("frames") == 32 and ways[1].mean("frames") == 64
    assert ways[1].mean("vision") == pytest.approx(2 * ways[0].mean("vision"))
    ratio = ways[3].mean("frames") / 32
    assert ways[3].mean("vision") == pytest.approx(ratio * ways[0].mean("vision"))
    lines = long_auto.table(ways).splitlines()
    assert len(lines) == 6 and lines[2].startswith("| 32 uniform | 32.0 | 31.0 |")
