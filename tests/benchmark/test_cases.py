"""Where questions come from: the world by seed, a folder with its file, and files that are bad."""

import json

import numpy as np
import pytest
from clips import write_clip
from small import vlm_of

from stc_core import InputError
from stc_core.benchmark.cases import Shapes, Skipped
from stc_core.benchmark.folder import Folder, cells_of
from stc_core.shapes import DEVELOPMENT_SEEDS, HELD_OUT_SEEDS, KINDS
from stc_core.video import Video


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
        tiny, videos, tmp_path, line(id="one"), line("broken.mp4"), line("b.mp4"), "",
        line(question="what shape is it?", answer=" Star ", kind="shape"),
    )  # fmt: skip
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
        tiny, videos, tmp_path, line(options=options, answer="Dark blue"),
        line("b.mp4", options=options, answer="(C)"),
    )  # fmt: skip
    blue, letter = source.cases(9, 2)
    assert "\nA. red\nB. dark blue\nC. b\n" in blue.question and blue.answer == "B"
    for said in ("B", "b", "(B)", "B.", "dark blue", " Dark Blue", "B. dark blue"):
        assert blue.is_right(said), said
    for said in ("A", "blue", "C", "", "dark", "red"):
        assert not blue.is_right(said), said
    assert letter.answer == "C" and letter.is_right("c") and not letter.is_right("A")


def video_of(seconds, side=40):
    frames = np.zeros((len(seconds), side, side, 3), np.uint8)
    return Video(frames, np.array(seconds), "v", 9.0, len(seconds), 1.0, (side, side))


def slow_cells(boxes, seconds, rows, cols):
    """Every cell by itself, on a fine raster of points."""
    points = (np.arange(840) + 0.5) / 840
    found = []
    for frame, time in enumerate(seconds):
        chosen = set()
        for start, end, left, top, right, bottom in boxes:
            share = {}
            for row in range(rows):
                for col in range(cols):
                    y = points[(points * rows).astype(int) == row]
                    x = points[(points * cols).astype(int) == col]
                    share[row, col] = ((y > top) & (y < bottom)).mean() * (
                        (x > left) & (x < right)
                    ).mean()
            most = max(share.values())
            if start <= time <= end:
                chosen |= {c for c, s in share.items() if s >= 0.25 or s == most}
        found += [(frame, *cell) for cell in sorted(chosen)]
    return found


def test_boxes_become_the_cells_they_cover_in_the_frames_between_their_times():
    seconds = [0.0, 1.0, 2.0, 3.0]
    boxes = ((0.9, 2.0, 0.5, 0.0, 1.0, 0.5), (3.0, 3.0, 0.01, 0.9, 0.05, 0.95))
    for rows, cols in ((4, 4), (7, 5)):
        found = cells_of(boxes, video_of(seconds), rows, cols)
        assert found.tolist() == [list(cell) for cell in slow_cells(boxes, seconds, rows, cols)]
    assert len(cells_of(((1.2, 1.4, 0.0, 0.0, 1.0, 1.0),), video_of(seconds), 4, 4)) == 0


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
    "box ends early": (line("b.mp4", evidence=[[2, 1, 0, 0, 1, 1]]), "end after it starts"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_line_is_named_by_its_number(case, tiny, videos, tmp_path):
    bad, message = BAD[case]
    with pytest.raises(InputError) as raised:
        folder_of(tiny, videos, tmp_path, line(id="one"), "", bad, line("b.mp4", id="last"))
    assert str(raised.value).startswith("line 3 of questions.jsonl: ")
    assert message in str(raised.value)


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
