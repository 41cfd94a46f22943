"""Where video tokens stand in a prompt: layouts written out by hand, and what is refused."""

import pytest
import torch

from stc_core.models.layout import fixed, measured

VIDEO, TEXT = 9, 1


def ids(text):
    """A prompt from a picture of it: "v" is a placeholder, anything else text; blanks are none."""
    return torch.tensor([VIDEO if letter == "v" else TEXT for letter in text if letter != " "])


def read(reader, text, grid_thw=None):
    return reader(None, ids(text), None if grid_thw is None else torch.tensor(grid_thw))


def plain(**options):
    return fixed(lambda config: VIDEO, lambda config: (2, 2), **options)


def merged(**options):
    return measured(lambda config: VIDEO, lambda config: 2, **options)


def test_one_run_of_frames():
    layout = read(plain(), "t vvvv vvvv tt")
    assert (layout.frames, layout.rows, layout.cols) == (2, 2, 2)
    assert layout.tokens.tolist() == [1, 2, 3, 4, 5, 6, 7, 8]
    assert layout.extras.tolist() == [] and layout.last == 8
    assert layout.going(11, torch.tensor([0, 7])).nonzero().flatten().tolist() == [0, 1, 8, 9, 10]


def test_a_newline_after_the_video_stays():
    layout = read(plain(after=1), "t vvvv vvvv v tt")
    assert layout.extras.tolist() == [9] and layout.last == 9
    assert layout.owned.tolist() == [[0, 8]]
    assert layout.going(12, torch.tensor([3])).nonzero().flatten().tolist() == [0, 4, 9, 10, 11]


def test_a_rows_newline_goes_with_the_rows_last_token():
    layout = read(plain(newline=1), "t vvv vvv vvv vvv t")
    assert layout.tokens.tolist() == [1, 2, 4, 5, 7, 8, 10, 11]
    assert layout.extras.tolist() == [3, 6, 9, 12]
    going = layout.going(14, torch.tensor([1, 6]))  # of rows 0 and 3
    assert going.nonzero().flatten().tolist() == [0, 2, 3, 10, 12, 13]


def test_a_frames_class_token_stands_before_it():
    layout = read(plain(before=1), "vvvvv vvvvv t")
    assert layout.extras.tolist() == [0, 5]
    assert layout.tokens.tolist() == [1, 2, 3, 4, 6, 7, 8, 9]
    assert layout.going(11, torch.tensor([4])).nonzero().flatten().tolist() == [5, 6, 10]


def test_frames_with_text_between():
    layout = read(plain(split=True), "t vvvv t vvvv tt")
    assert layout.tokens.tolist() == [1, 2, 3, 4, 6, 7, 8, 9]


def test_a_grid_that_the_processor_chose():
    layout = read(merged(), "t vvv vvv", [[1, 4, 6]])
    assert (layout.frames, layout.rows, layout.cols) == (1, 2, 3)
    layout = read(merged(split=True), "vv t vv t vv t", [[3, 2, 4]])
    assert (layout.frames, layout.rows, layout.cols) == (3, 1, 2)
    assert layout.tokens.tolist() == [0, 1, 3, 4, 6, 7]


def test_the_shortened_prompt_has_a_layout_of_its_own():
    layout = read(plain(newline=1), "t vvv vvv vvv vvv t")
    survivors = torch.tensor([1, 4, 6])
    kept = layout.going(14, survivors).nonzero().flatten()
    after = layout.after(kept, survivors)
    assert kept.tolist() == [0, 2, 3, 7, 9, 10, 12, 13]
    assert after.tokens.tolist() == [1, 3, 5] and after.extras.tolist() == [2, 4, 6]
    assert after.owned.tolist() == [[0, 1], [1, 2], [2, 3]]
    # and can be shortened again: of the second row nothing is left
    again = after.going(8, torch.tensor([0, 2])).nonzero().flatten()
    assert again.tolist() == [0, 1, 2, 5, 6, 7]


@pytest.mark.parametrize(
    ("reader", "text", "grid", "reason"),
    [
        (plain(), "t vvvv vvv", None, "7 video placeholders do not make whole frames"),
        (plain(after=1), "t v", None, "do not make whole frames"),
        (plain(), "vvvv t vvvv", None, "stand in 2 runs where one video of this family has 1"),
        (plain(split=True), "vvvv vvvv", None, "in 1 runs where one video of this family has 2"),
        (merged(), "vvvvvv", None, "several videos or images"),
        (merged(), "vv t vv", [[1, 2, 4], [1, 2, 4]], "several videos or images"),
        (merged(), "vvvvv", [[1, 4, 6]], "5 video placeholders stand for 1 x 2 x 3 tokens"),
        (merged(), "vvv t vvv", [[1, 4, 6]], "in 2 runs"),
    ],
)
def test_anything_else_is_refused(reader, text, grid, reason):
    with pytest.raises(ValueError, match=reason):
        read(reader, text, grid)
