"""The speed command: ratios and growth, never absolute times."""

import json
import time

import pytest
import references
import torch
from typer.testing import CliRunner

from stc_core import STC
from stc_core.__main__ import cli
from stc_core.errors import InputError
from stc_core.methods import Decision
from stc_core.record.grid import TokenGrid
from stc_core.speed.inputs import made_up
from stc_core.speed.lengths import spread
from stc_core.speed.measure import measure
from stc_core.speed.parts import RIVALS, obvious

CPU = torch.device("cpu")
LONGEST = 256 * 49  # tokens of the longer of the two quick lengths


@pytest.fixture(scope="module")
def report():
    return measure("cpu", quick=True)


def test_every_part_is_measured(report):
    assert report.floor > 0
    assert {"selection", "density peaks", "nearest centers", "means"} < set(report.stages)
    assert {"outside", "outside, all in float64"} < set(report.stages)
    assert set(report.rivals) == {*RIVALS, "STC, obvious"}
    assert [row["tokens"] for row in report.lengths] == [64 * 49, LONGEST]
    assert set(report.exponents) == {"seconds", "extra bytes"}
    times = *report.stages.values(), *report.rivals.values()
    assert min(*times, *(row["outside"] for row in report.lengths)) > 0


def test_the_parts_take_no_longer_than_all_of_them_do(report):
    """Each part is measured by itself, so that the sum is the whole but for noise."""
    parts = ("checks", "selection", "points", "density peaks", "nearest centers", "means")
    whole = report.stages["outside"]
    assert 0.4 * whole < sum(report.stages[part] for part in parts) < 2.5 * whole


def test_memory_does_not_grow_with_the_square_of_the_length(report):
    """No N x N matrix: half of one in float32 is more than all that is held."""
    long = report.lengths[-1]
    assert 0 < long["extra_bytes"] < 4 * LONGEST**2 / 2
    assert report.exponents["extra bytes"] < 1.5


def test_time_grows_with_the_square_at_most():
    """Time of the processor, of which work beside this test takes nothing away."""
    spent = []
    for frames in (64, 256):
        grid = TokenGrid(frames, 7, 7)
        tokens, contribution = made_up(grid, 256, torch.float32, CPU)
        STC().outside(*made_up(TokenGrid(4, 7, 7), 256, torch.float32, CPU), TokenGrid(4, 7, 7))
        start = time.process_time()
        STC().outside(tokens, contribution, grid)
        spent.append(time.process_time() - start)
    assert spent[1] / spent[0] < 2 * 4**2


def test_decisions_on_this_device_are_those_of_float64(report):
    assert report.agreement == {"float32": 0.0, "bfloat16": 0.0}


def test_the_report_is_text_and_json(report):
    assert json.loads(report.as_json())["lengths"] == report.lengths
    lines = str(report).splitlines()
    for title in ("stage of STC", "method, before the LLM", "tokens", "dtype here"):
        assert any(line.startswith(title) for line in lines)


def test_the_command_prints_what_was_measured(tmp_path):
    asked = ["speed", "--quick", "--json", "--device", "cpu", "--frames", "2", "--width", "40"]
    result = CliRunner().invoke(cli, asked)
    assert result.exit_code == 0
    found = json.loads(result.stdout)
    assert [row["tokens"] for row in found["lengths"]] == [2 * 49]
    assert found["about"]["width"] == 40


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--device", "tpu"], "not on 'tpu'"),
        (["--frames", "0"], "a length of 0 frames"),
        (["--width", "0"], "tokens of width 0 cannot be measured"),
        (["--profile", "nowhere/at/all.txt"], "does not exist"),
    ],
)
def test_bad_options_are_one_sentence(options, sentence):
    result = CliRunner().invoke(cli, ["speed", "--quick", *options])
    assert result.exit_code == 2 and sentence in result.stderr
    assert result.stderr.strip().splitlines()[-1].startswith("error: ")
    assert "Traceback" not in result.stderr


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_missing_gpu_is_one_sentence():
    with pytest.raises(InputError, match="there is no CUDA GPU here"):
        measure("cuda")


def test_made_up_tokens_are_the_same_again_and_like_a_video():
    grid = TokenGrid(20, 4, 4)
    tokens, contribution = made_up(grid, 64, torch.float32, CPU)
    again, _ = made_up(grid, 64, torch.float32, CPU)
    assert torch.equal(tokens, again) and len(contribution) == grid.size
    frames = tokens.view(20, 16, 64)
    cosine = torch.nn.functional.cosine_similarity(frames[1:], frames[:-1], dim=-1)
    still = (cosine > 0.9).float().mean(dim=1)
    assert still[15] < 0.1 and (still[:15] > 0.1).all()  # a cut before frame 16


def test_the_obvious_way_makes_the_same_tokens():
    """In another order, since it keeps none."""
    grid = TokenGrid(6, 5, 5)
    tokens, contribution = made_up(grid, 32, torch.float32, CPU)
    budget = STC(retention=0.2).budget(grid)
    ours = STC(retention=0.2).outside(tokens, contribution, grid).apply(tokens)
    theirs = obvious(tokens, contribution, budget)
    assert len(ours) == len(theirs) == budget
    apart = (ours[:, None] - theirs).abs().amax(dim=2)
    assert (apart.amin(dim=1) < 1e-5).all() and (apart.amin(dim=0) < 1e-5).all()


def test_spread_is_the_mean_squared_distance_to_the_carrier():
    tokens, _ = made_up(TokenGrid(2, 3, 3), 4, torch.float32, CPU)
    target = torch.tensor([0, 0, -1, 3, 3, 3, 0, -1, 8, 8, 8, 8, 3, 0, 8, 8, 16, 16])
    place = torch.arange(18)
    fate = torch.where(target < 0, 3, torch.where(target == place, 1, 2))
    means = references.means(tokens.double().tolist(), target.tolist())
    carriers = [0, 3, 8, 16]
    error = [
        sum((a - b) ** 2 for a, b in zip(tokens[i].tolist(), means[carriers.index(t)], strict=True))
        for i, t in enumerate(target.tolist())
        if t >= 0
    ]
    assert spread(Decision.of(fate, target), tokens) == pytest.approx(sum(error) / len(error))
