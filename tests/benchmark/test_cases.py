"""Where questions come from: the world by seed, a folder with its file, and files that are bad."""

import itertools
import json
import random
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from clips import write_clip
from small import vlm_of

from stc_core import InputError
from stc_core.benchmark import questions_file
from stc_core.benchmark.cases import Shapes, Skipped
from stc_core.benchmark.video_folder import Folder, cells_of
from stc_core.record.grid import TokenGrid
from stc_core.shapes import DEVELOPMENT_SEEDS, HELD_OUT_SEEDS, KINDS

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("videos")
    for name in ("a.mp4", "b.mp4"):
        write_clip(folder / name, range(0, 2000, 250))
    (folder / "broken.mp4").write_bytes(b"\0\0\0\x18ftypmp42" + bytes(64))
    return folder


def folder_of(tiny, videos, tmp_path, *lines):
    file = tmp_path / "questions.jsonl"
    file.write_text("\n".join(x if isinstance(x, str) else json.dumps(x) for x in lines) + "\n")
    return Folder(vlm_of(tiny), videos, file)


def line(video="a.mp4", question="what color is the star?", answer="red", **more):
    return {"video": video, "question": question, "answer": answer, **more}


# The world ----------------------------------------------------------------------------------------


def test_shapes_are_asked_by_seed_with_evidence_on_the_models_grid(tiny):
    cases = list(Shapes(vlm_of(tiny)).cases(4, 8))
    assert [case.kind for case in cases] == list(KINDS[:4])
    assert all(int(case.id) in HELD_OUT_SEEDS for case in cases)
    for case in cases:
        assert case.frames.shape == (8, 32, 32, 3)
        assert (case.evidence < [8, 4, 4]).all()
        assert case.is_right(f" {case.answer.upper()} ") and not case.is_right(case.answer + "x")


def test_fewer_questions_are_the_beginning_of_more_and_development_is_another_split(tiny):
    few, more = (list(Shapes(vlm_of(tiny)).cases(n, 4)) for n in (2, 3))
    assert [case.id for case in few] == [case.id for case in more[:2]]
    np.testing.assert_array_equal(few[1].frames, more[1].frames)
    source = Shapes(vlm_of(tiny), development=True)
    assert int(next(source.cases(1, 4)).id) in DEVELOPMENT_SEEDS
    assert source.about() != Shapes(vlm_of(tiny)).about()


# A folder -----------------------------------------------------------------------------------------


def test_questions_about_one_video_come_together_and_broken_ones_are_skipped(
    tiny, videos, tmp_path
):
    source = folder_of(
        tiny,
        videos,
        tmp_path,
        line(id="one"),
        line("broken.mp4"),
        line("b.mp4"),
        "",
        line(question="what shape is it?", answer=" Star ", kind="shape"),
    )
    cases = list(source.cases(source.count(100), 4))
    assert [case.id for case in cases] == ["one", "line 5", "line 2", "line 3"]
    assert isinstance(cases[2], Skipped) and "broken.mp4" in cases[2].why
    assert cases[0].frames is cases[1].frames and cases[1].kind == "shape"
    assert cases[1].is_right("STAR\n") and not cases[1].is_right("a star")
    assert cases[0].evidence is None and len(cases[0].frames) == 4
    assert len(list(source.cases(1, 4))) == 1


def test_options_are_put_with_letters_and_answered_by_letter_or_text(tiny, videos, tmp_path):
    options = ["red", "dark blue", "b"]
    source = folder_of(
        tiny,
        videos,
        tmp_path,
        line(options=options, answer="Dark blue"),
        line("b.mp4", options=options, answer="(C)"),
    )
    blue, letter = source.cases(9, 2)
    assert "\nA. red\nB. dark blue\nC. b\n" in blue.question and blue.answer == "B"
    for said in ("B", "b", "(B)", "B.", "dark blue", " Dark Blue", "B. dark blue"):
        assert blue.is_right(said), said
    for said in ("A", "blue", "C", "", "dark", "red"):
        assert not blue.is_right(said), said
    assert letter.answer == "C" and letter.is_right("c") and not letter.is_right("A")


def slow_cells(boxes, seconds, grid, step):
    """Every cell by itself, in exact fractions: a quarter of it, or no other cell has more."""

    def overlap(one, other):
        return max(Fraction(0), min(one[1], other[1]) - max(one[0], other[0]))

    top, left, bottom, right = map(Fraction, grid.seen)
    tall, wide = (bottom - top) / grid.rows, (right - left) / grid.cols
    chosen = set()
    for start, end, low_x, low_y, high_x, high_y in boxes:
        ys, xs = (
            (low_y * grid.height, high_y * grid.height),
            (low_x * grid.width, high_x * grid.width),
        )
        share = {}
        for row, col in itertools.product(range(grid.rows), range(grid.cols)):
            y, x = top + row * tall, left + col * wide
            area = overlap((y, y + tall), ys) * overlap((x, x + wide), xs)
            share[row, col] = area / (tall * wide)
        enough = min(Fraction(1, 4), max(share.values()))
        for frame, time in enumerate(seconds):
            if start <= time <= end:
                chosen |= {(frame // step, *c) for c, s in share.items() if s >= enough and s}
    return [list(cell) for cell in sorted(chosen)]


SECONDS = np.array([0.0, 1.0, 2.0, 3.0, 4.0])
GRIDS = {
    "square": (TokenGrid(5, 4, 4, 40, 40), 1),
    "two frames a time step": (TokenGrid(3, 7, 5, 36, 64), 2),
    "the middle cut out": (TokenGrid(5, 4, 4, 40, 60, (0, 10, 40, 50)), 1),
}


@pytest.mark.parametrize("name", GRIDS)
def test_boxes_become_the_cells_they_cover_in_the_frames_between_their_times(name):
    grid, step = GRIDS[name]
    dice = random.Random(1)
    for _ in range(80):
        # tiny boxes around corners of cells, which they cover alike, and boxes anywhere
        if dice.random() < 0.5:
            y, x = (Fraction(dice.randrange(1, n), n) for n in (grid.rows, grid.cols))
            half = Fraction(dice.randrange(1, 30), 1000)
            sides = x - half, y - half, x + half, y + half
        else:
            (left, right), (top, bottom) = (sorted(dice.sample(range(101), 2)) for _ in range(2))
            sides = [Fraction(side, 100) for side in (left, top, right, bottom)]
        start = dice.choice([0.0, 0.5, 1.0, 2.5])
        exact = (start, start + dice.choice([0.2, 1.0, 2.0]), *sides)
        found = cells_of((tuple(map(float, exact)),), SECONDS, grid, step)
        assert found.tolist() == slow_cells([exact], SECONDS, grid, step), exact


def test_what_the_model_does_not_see_of_a_frame_is_no_evidence():
    grid, step = GRIDS["the middle cut out"]
    assert len(cells_of(((0.0, 4.0, 0.0, 0.0, 0.1, 1.0),), SECONDS, grid, step)) == 0
    edge = cells_of(((0.0, 0.0, 0.0, 0.0, 0.2, 1.0),), SECONDS, grid, step)
    assert edge.tolist() == [[0, row, 0] for row in range(4)]


BAD = {
    "not JSON": ('{"video": ', "not JSON"),
    "a list": ("[1]", "not a JSON object"),
    "nan": ('{"video": "a.mp4", "question": "q", "answer": NaN}', "not JSON"),
    "no answer": ({"video": "a.mp4", "question": "q"}, "answer missing"),
    "unknown key": (line(anwser="x"), "anwser not known"),
    "empty question": (line(question=" "), "question must be text"),
    "a number for an answer": (line(answer=3), "answer must be text"),
    "kind": (line(kind=3), "kind must be text"),
    "id": (line(id=[1]), "id must be"),
    "missing video": (line("none.mp4"), "there is no video 'none.mp4'"),
    "a folder for a video": (line("."), "there is no video"),
    "duplicate id": (line("b.mp4", id="one"), "the id 'one' was used before"),
    "asked before": (line(), "line 1 asks the same"),
    "one option": (line(options=["red"]), "2 to 26 different texts"),
    "equal options": (line(options=["red", "Red "]), "2 to 26 different texts"),
    "answer not offered": (line(options=["blue", "green"]), "none of the options"),
    "letter not offered": (line(options=["blue", "green"], answer="C"), "none of the options"),
    "evidence": (line("b.mp4", evidence=3), "list of boxes"),
    "short box": (line("b.mp4", evidence=[[0, 1, 0, 0, 1]]), "is not [start_s"),
    "text in a box": (line("b.mp4", evidence=[[0, 1, 0, 0, 1, "1"]]), "is not [start_s"),
    "box turned": (line("b.mp4", evidence=[[0, 1, 0.5, 0, 0.2, 1]]), "sides from 0 to 1"),
    "box in pixels": (line("b.mp4", evidence=[[0, 1, 0, 0, 100, 80]]), "sides from 0 to 1"),
    "nested": ('{"a":' * 60_000 + "1" + "}" * 60_000, "nested too deeply"),
    "half a character": (line(question="what \ud800 is it?"), "question is not valid Unicode"),
    "half an answer": (line(answer="\udfff"), "answer is not valid Unicode"),
    "half a kind": (line("b.mp4", kind="\ud800"), "kind is not valid Unicode"),
    "half an id": (line("b.mp4", id="\ud800"), "id is not valid Unicode"),
    "half an option": (line(options=["red", "\ud800"]), "an option is not valid Unicode"),
    "half a video": (line("\ud800.mp4"), "video is not valid Unicode"),
    "half an unknown key": (line(**{"\ud800": 1}), "\ufffd not known"),
    "NUL in a name": (line("a\0.mp4"), "control character"),
    "long id": (line(id="x" * 201), "id has 201 characters"),
    "a long name": (line("x" * 5000), "there is no video"),
    "a long line": (line(kind="x" * (1 << 20)), "longer than"),
    "outside": (line("../b.mp4"), "not within the folder"),
    "outside in the end": (line("x/../../b.mp4"), "not within the folder"),
    "outside, as Windows writes it": (line("..\\b.mp4"), "not within the folder"),
    "absolute": (line("/etc/passwd"), "not within the folder"),
    "endless box": (line("b.mp4", evidence=[[0, 10**400, 0, 0, 1, 1]]), "is not [start_s"),
    "box ends early": (line("b.mp4", evidence=[[2, 1, 0, 0, 1, 1]]), "end after it starts"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_line_is_named_by_its_number(case, tiny, videos, tmp_path):
    bad, message = BAD[case]
    with pytest.raises(InputError) as raised:
        folder_of(tiny, videos, tmp_path, line(id="one"), "", bad, line("b.mp4", id="last"))
    assert str(raised.value).startswith("line 3 of questions.jsonl: ")
    assert message in str(raised.value)


def test_a_line_says_no_half_characters_back(tiny, videos, tmp_path):
    for name in ("half a character", "half an answer", "half an option", "half an unknown key"):
        with pytest.raises(InputError) as raised:
            folder_of(tiny, videos, tmp_path, BAD[name][0])
        str(raised.value).encode()  # can be printed anywhere


def test_a_link_in_the_folder_may_lead_out_of_it_a_name_may_not(tiny, videos, tmp_path):
    """Whoever keeps the folder put the link there; the questions can be anybody's."""
    inside, outside = tmp_path / "videos", tmp_path / "elsewhere.mp4"
    (inside / "sub").mkdir(parents=True)
    outside.write_bytes((videos / "a.mp4").read_bytes())
    (inside / "linked.mp4").symlink_to(outside)
    (inside / "sub" / "b.mp4").symlink_to(outside)
    source = folder_of(tiny, inside, tmp_path, line("linked.mp4"), line("sub/b.mp4"))
    assert [case.clip for case in source.cases(9, 2)] == ["linked.mp4", "sub/b.mp4"]
    with pytest.raises(InputError, match="not within the folder"):
        folder_of(tiny, inside, tmp_path, line("../elsewhere.mp4"))


def test_a_questions_file_has_a_largest_size(tiny, videos, tmp_path, monkeypatch):
    monkeypatch.setattr(questions_file, "MOST_BYTES", 1 << 20)
    many = [line(id=f"id {n}", question=f"what is {n}?") for n in range(20_000)]
    with pytest.raises(InputError, match="more than 1 MiB; split it"):
        folder_of(tiny, videos, tmp_path, *many)


def test_no_folder_no_file_no_text_and_no_question_are_refused(tiny, videos, tmp_path):
    vlm, file = vlm_of(tiny), tmp_path / "q.jsonl"
    with pytest.raises(InputError, match="cannot be read"):
        Folder(vlm, videos, file)
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="UTF-8"):
        Folder(vlm, videos, file)
    file.write_text("\n \n")
    with pytest.raises(InputError, match="no question"):
        Folder(vlm, videos, file)
    with pytest.raises(InputError, match="no folder"):
        Folder(vlm, tmp_path / "none", file)


def test_a_wrong_questions_file_is_refused_before_torch_is_loaded(tmp_path):
    """In a process of its own, by the command line: one sentence, and cheap."""
    (tmp_path / "deep.jsonl").write_text("[" * 60_000 + "]" * 60_000)
    code = (
        "import sys\n"
        "from stc_core.__main__ import cli\n"
        f"sys.argv = ['stc', 'benchmark', '--videos', {str(tmp_path)!r},"
        f" '--questions-file', {str(tmp_path / 'deep.jsonl')!r}]\n"
        "try:\n"
        "    cli()\n"
        "except SystemExit as done:\n"
        "    print(done.code, 'torch' in sys.modules, 'transformers' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.split() == ["2", "False", "False"], done.stderr
    assert "nested too deeply" in done.stderr and "Traceback" not in done.stderr
