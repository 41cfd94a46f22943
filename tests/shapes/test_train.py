"""Training: batches that do not depend on the run, turns that do not see each other, resuming."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from transformers import AutoModelForImageTextToText

from stc_core.shapes import TRAIN_SEEDS, make_clip
from stc_core.shapes.batches import (
    IGNORED,
    Stage,
    choose,
    render_step,
    stage_batches,
    token_labels,
)
from stc_core.shapes.model import Size, build
from stc_core.shapes.train import RECIPE, Recipe, alone, language_loss, learning_rate, train
from stc_core.shapes.train import video_tokens as model_video_tokens
from stc_core.shapes.world import frame_times

TINY = Size(
    frame=32, patch=8, vision_width=16, vision_layers=2, vision_heads=2, vision_ffn=16,
    width=32, layers=2, heads=2, kv_heads=1, ffn=32,
)  # fmt: skip
SHORT = Recipe(
    size=TINY,
    stages=(
        Stage("vision", 3, 2, (2,), (1, 2), (1e-3, 1e-4)),
        Stage("language", 3, 2, (1, 2), (1, 2), (1e-3, 1e-4)),
        Stage("language", 2, 2, (2,), (1, 4), (1e-3, 1e-4)),
    ),
    warmup=2,
)


class Killed(Exception):
    pass


def weights(directory) -> dict[str, torch.Tensor]:
    return AutoModelForImageTextToText.from_pretrained(directory).state_dict()


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """Weights of an uninterrupted run of SHORT."""
    output = tmp_path_factory.mktemp("straight") / "model"
    train(output, recipe=SHORT, device="cpu", workers=0, bar=False)
    return weights(output)


@pytest.mark.parametrize("killed_after", [1, 3, 5, 6, 8])
def test_a_killed_run_ends_in_the_same_weights(tmp_path, straight, killed_after):
    def stop(progress):
        if progress.done == killed_after:
            raise Killed

    options = {"recipe": SHORT, "device": "cpu", "workers": 0, "bar": False, "save_every": 0.0}
    with pytest.raises(Killed):
        train(tmp_path / "model", on_step=stop, **options)
    seen = []
    train(tmp_path / "model", resume=True, on_step=lambda p: seen.append(p.done), **options)
    assert same(weights(tmp_path / "model"), straight)
    # The last step of a stage is saved only after `on_step`, so it may be done twice.
    again = killed_after in (3, 6, 8)
    assert seen == list(range(killed_after + (not again), 9))


def test_a_process_killed_by_the_system_goes_on(tmp_path, straight):
    script = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "sys.path[:0] = ['.', 'tests', 'tests/shapes']\n"
        "from test_train import SHORT\n"
        "from stc_core.shapes.train import train\n"
        "def slow(progress):\n"
        "    print(progress.done, flush=True)\n"
        "    if progress.done == 4: time.sleep(60)\n"
        "train(Path(sys.argv[1]), recipe=SHORT, device='cpu', workers=0, bar=False,\n"
        "      save_every=0.0, on_step=slow)\n"
    )
    output = tmp_path / "model"
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(output)],
        stdout=subprocess.PIPE,
        text=True,
        # the same number of threads as here: sums in another order would not be the same bits
        env=os.environ | {"OMP_NUM_THREADS": str(torch.get_num_threads())},
    )
    for line in process.stdout:
        if line.strip() == "4":
            break
    time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    train(output, recipe=SHORT, device="cpu", workers=0, bar=False, resume=True)
    assert same(weights(output), straight)


def test_worker_processes_change_nothing(tmp_path, straight):
    train(tmp_path / "model", recipe=SHORT, device="cpu", workers=1, bar=False)
    assert same(weights(tmp_path / "model"), straight)


def test_training_lowers_the_loss(tmp_path):
    stage = Stage("vision", 60, 8, (2,), (1, 2), (3e-3, 1e-3))
    losses = []
    recipe = Recipe(size=TINY, stages=(stage,), warmup=5)
    train(
        tmp_path / "model", recipe=recipe, device="cpu", workers=0, bar=False,
        on_step=lambda p: losses.append(p.scores["centre"]),
    )  # fmt: skip
    assert np.mean(losses[-10:]) < 0.8 * np.mean(losses[:10])


def test_a_finished_run_whose_checkpoint_is_missing_writes_it(tmp_path, straight):
    options = {"work": tmp_path / "work", "recipe": SHORT, "device": "cpu", "workers": 0}
    train(tmp_path / "first", bar=False, **options)
    train(tmp_path / "second", bar=False, resume=True, **options)
    assert same(weights(tmp_path / "second"), straight)


def test_a_state_of_another_recipe_is_refused(tmp_path):
    options = {"device": "cpu", "workers": 0, "bar": False}
    train(tmp_path / "model", recipe=SHORT, **options)
    other = Recipe(size=TINY, stages=SHORT.stages, seed=1)
    with pytest.raises(ValueError, match="another recipe"):
        train(tmp_path / "model", recipe=other, resume=True, **options)


def test_a_damaged_state_is_refused(tmp_path):
    (tmp_path / "state.pt").write_bytes(b"not a state")
    with pytest.raises(ValueError, match="not a training state"):
        train(tmp_path / "model", work=tmp_path, recipe=SHORT, resume=True, bar=False)


def test_later_stages_may_be_added_to_a_begun_run(tmp_path, straight):
    options = {"work": tmp_path / "work", "device": "cpu", "workers": 0, "bar": False}
    begun = Recipe(size=TINY, stages=SHORT.stages[:2], warmup=2)
    train(tmp_path / "model", recipe=begun, **options)
    train(tmp_path / "model", recipe=SHORT, resume=True, **options)
    assert same(weights(tmp_path / "model"), straight)


@pytest.mark.parametrize("scale", [0.0, -1.0, float("nan"), float("inf")])
def test_a_senseless_scale_is_refused(tmp_path, scale):
    with pytest.raises(ValueError, match="scale"):
        train(tmp_path / "model", scale=scale, bar=False)


@pytest.mark.parametrize(
    "change", [{"steps": 0}, {"clips": 0}, {"frames": ()}, {"frames": (0,)}, {"part": "audio"}]
)
def test_senseless_stages_are_refused(change):
    stage = {**vars(SHORT.stages[0]), **change}
    with pytest.raises(ValueError):
        Stage(**stage)


def test_scaling_keeps_everything_but_the_steps():
    half = RECIPE.scaled(0.5)
    assert [s.steps for s in half.stages] == [round(s.steps * 0.5) for s in RECIPE.stages]
    assert half.size == RECIPE.size and half.stages[0].rate == RECIPE.stages[0].rate


def test_the_rate_warms_up_and_ends_where_it_should():
    stage = Stage("vision", 100, 1, (1,), (1, 1), (1e-3, 1e-5))
    assert learning_rate(stage, 0, 10) == pytest.approx(1e-4)
    assert learning_rate(stage, 99, 10) == pytest.approx(1e-5)
    rates = [learning_rate(stage, i, 10) for i in range(10, 100)]
    assert rates == sorted(rates, reverse=True)


def test_batches_use_training_seeds_only_and_none_twice():
    seeds = []
    for number, stage in enumerate(SHORT.stages):
        for step in range(stage.steps):
            seeds += [clip.seed for clip in render_step(stage, number, step, TINY)]
    assert len(set(seeds)) == len(seeds)
    assert all(seed in TRAIN_SEEDS for seed in seeds)


def test_batches_from_the_middle_are_the_batches_of_a_whole_run():
    _, processor = build(TINY)
    stage = SHORT.stages[1]
    whole = list(stage_batches(stage, 1, 0, TINY, processor.tokenizer, 0))
    rest = list(stage_batches(stage, 1, 1, TINY, processor.tokenizer, 0))
    for a, b in zip(whole[1:], rest, strict=True):
        assert all(torch.equal(a[name], b[name]) for name in a)


def test_easy_questions_are_limited_and_the_draw_is_the_same_every_time():
    for seed in range(30):
        clip = make_clip(seed, 4, 32)
        chosen = choose(clip, 6, 2)
        assert chosen == choose(clip, 6, 2) and 0 < len(chosen) <= 6
        assert sum(q.kind in ("color", "shape") for q in chosen) <= 2
        assert all(q in clip.questions for q in chosen)
        assert len(choose(clip, 100, 100)) == len(clip.questions)


def test_dense_labels_name_the_thing_at_the_token():
    clip = make_clip(4, 4, 80)
    labels = token_labels(clip, 5)
    times = frame_times(4)
    for t in range(4):
        for thing in clip.scene.things:
            if not thing.seen(times)[t]:
                continue
            x, y = thing.places(times)[t]
            token = int(y * 5) * 5 + int(x * 5)
            others = [o for o in clip.scene.things if o is not thing and o.seen(times)[t]]
            near = [np.abs(o.places(times)[t] - (x, y)).max() for o in others]
            if min(near, default=1.0) < 0.4 or thing.shape == "ring":
                continue
            assert labels["present"][t, token] == 1
            assert labels["centre"][t, token] == pytest.approx((x, y), abs=1e-6)
    assert (labels["shape"][labels["present"] != 1] == IGNORED).all()


def test_turns_do_not_see_each_other():
    turn, place = torch.tensor([[1, 1, 2, 2, 0]]), torch.tensor([[0, 1, 0, 1, 0]])
    positions, mask = alone(turn, place, 2)
    assert positions.tolist() == [[0, 1, 2, 3, 2, 3, 2]]
    assert mask[0, 0].int().tolist() == [
        [1, 0, 0, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0, 0],
        [1, 1, 1, 0, 0, 0, 0],
        [1, 1, 1, 1, 0, 0, 0],
        [1, 1, 0, 0, 1, 0, 0],
        [1, 1, 0, 0, 1, 1, 0],
        [1, 1, 0, 0, 0, 0, 1],
    ]


def test_many_turns_at_once_cost_what_the_questions_cost_one_by_one():
    """The loss of training equals the stock model's, asked through the processor one at a time."""
    model, processor = build(TINY, seed=2)
    model.eval()
    stage = SHORT.stages[1]
    batch = next(stage_batches(stage, 1, 0, TINY, processor.tokenizer, 0))
    with torch.no_grad():
        loss, _ = language_loss(model, None, batch, processor.tokenizer)
        losses, tokens = [], 0
        for clip in render_step(stage, 1, 0, TINY):
            for question in choose(clip, stage.questions, stage.easy):
                content = [{"type": "video"}, {"type": "text", "text": question.text}]
                prompt = processor.apply_chat_template(
                    [{"role": "user", "content": content}], add_generation_prompt=True
                )
                whole = f"{prompt}{question.answer}<|im_end|>"
                inputs = processor(text=[whole], videos=[clip.frames], return_tensors="pt")
                logits = model(**inputs).logits[0, -3:-1]
                target = inputs.input_ids[0, -2:]
                losses.append(torch.nn.functional.cross_entropy(logits, target, reduction="sum"))
                tokens += 2
    assert loss.item() == pytest.approx(sum(losses).item() / tokens, abs=1e-5)


def test_training_sees_the_pixels_the_processor_makes():
    model, processor = build(TINY, seed=2)
    clip = make_clip(0, 2, 32)
    prompt = "<|im_start|>user <video>\nred?<|im_end|>"
    inputs = processor(text=[prompt], videos=[clip.frames], return_tensors="pt")
    with torch.no_grad():
        mine = model_video_tokens(model, torch.from_numpy(clip.frames)[None])
        theirs = model.model.get_video_features(inputs.pixel_values_videos).pooler_output
    torch.testing.assert_close(mine, theirs, atol=1e-5, rtol=0)
