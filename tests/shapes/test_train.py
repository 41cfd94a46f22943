"""Training: batches that do not depend on the run, turns that do not see each other, resuming."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from transformers import AutoModelForImageTextToText
from typer.testing import CliRunner

from stc_core.__main__ import cli
from stc_core.errors import InputError
from stc_core.shapes import TRAIN_SEEDS, make_clip
from stc_core.shapes.model import training_run
from stc_core.shapes.model.batches import (
    FRAME_EVENTS,
    IGNORED,
    LOOKS,
    TOKEN_EVENTS,
    TrainingStage,
    choose,
    draw_step,
    stage_batches,
    token_labels,
)
from stc_core.shapes.model.learning_curve import accuracies, plot, read, series
from stc_core.shapes.model.losses import (
    LABELS,
    DenseHead,
    EventHead,
    dense_loss,
    event_loss,
    language_loss,
    patch_features,
    project,
    whole_answers,
)
from stc_core.shapes.model.question_turns import alone, attend_by_turns
from stc_core.shapes.model.recipe import GPU_RECIPE, RECIPE, Recipe, recipe_for
from stc_core.shapes.model.sizes import Size, build, save
from stc_core.shapes.model.training import fast_bfloat16, train
from stc_core.shapes.model.training_run import Progress, learning_rate
from stc_core.shapes.world.questions import KINDS, ask
from stc_core.shapes.world.scenes import WORLD

TINY = Size(
    frame=32, patch=8, vision_width=16, vision_layers=2, vision_heads=2, vision_ffn=16,
    width=32, layers=2, heads=2, kv_heads=1, ffn=32,
)  # fmt: skip
FEW = replace(WORLD, objects=(1, 2))
SHORT = Recipe(
    size=TINY,
    stages=(
        TrainingStage("vision", 3, 2, (2,), (1e-3, 1e-4), FEW),
        TrainingStage("language", 3, 2, (1, 2), (1e-3, 1e-4), FEW),
        TrainingStage("language", 2, 2, (2,), (1e-3, 1e-4), events=1.0),
    ),
    warmup=2,
    middle=0,
)
EXACT = {"device": "cpu", "workers": 0, "half": False, "compiled": False, "bar": False}


class Killed(Exception):
    pass


def kill_after(steps: int):
    def stop(progress: Progress) -> None:
        if progress.done == steps:
            raise Killed

    return stop


def weights(output: Path) -> dict[str, torch.Tensor]:
    """What a run has trained, in float32."""
    work = output.with_name(output.name + "-training")
    return torch.load(work / "state.pt", weights_only=True)["model"]


def checkpoint(directory: Path) -> dict[str, torch.Tensor]:
    return AutoModelForImageTextToText.from_pretrained(directory).state_dict()


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.fixture(scope="module")
def straight(tmp_path_factory) -> Path:
    """Checkpoint directory of an uninterrupted run of SHORT."""
    output = tmp_path_factory.mktemp("straight") / "model"
    assert train(output, recipe=SHORT, **EXACT).finished
    return output


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    """What `straight` does in full is left out elsewhere: it takes longer than the steps."""
    monkeypatch.setattr(training_run, "plot", lambda *_: None)
    monkeypatch.setattr(training_run, "layer_auc", lambda *_, **__: [0.5, 0.6])


# Interruptions


@pytest.mark.parametrize("killed_after", [1, 3, 5, 6, 8])
def test_a_killed_run_ends_in_the_same_weights(tmp_path, straight, killed_after):
    options = {"recipe": SHORT, "save_every": 0.0, **EXACT}
    with pytest.raises(Killed):
        train(tmp_path / "model", on_step=kill_after(killed_after), **options)
    seen = []
    train(tmp_path / "model", resume=True, on_step=lambda p: seen.append(p.done), **options)
    assert same(weights(tmp_path / "model"), weights(straight))
    # The last step of a stage is saved only after `on_step`, so it may be done twice.
    again = killed_after in (3, 6, 8)
    assert seen == list(range(killed_after + (not again), 9))


def test_a_killed_run_in_half_precision_ends_in_the_same_weights(tmp_path):
    options = {"recipe": SHORT, "save_every": 0.0, **EXACT, "half": True}
    train(tmp_path / "whole", **options)
    with pytest.raises(Killed):
        train(tmp_path / "model", on_step=kill_after(5), **options)
    train(tmp_path / "model", resume=True, **options)
    assert same(weights(tmp_path / "model"), weights(tmp_path / "whole"))


def test_a_process_killed_by_the_system_goes_on(tmp_path, straight):
    script = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "sys.path[:0] = ['.', 'tests', 'tests/shapes']\n"
        "from test_train import EXACT, SHORT\n"
        "from stc_core.shapes.model.training import train\n"
        "def slow(progress):\n"
        "    print(progress.done, flush=True)\n"
        "    if progress.done == 4: time.sleep(60)\n"
        "train(Path(sys.argv[1]), recipe=SHORT, save_every=0.0, on_step=slow, **EXACT)\n"
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
    train(output, recipe=SHORT, resume=True, **EXACT)
    assert same(weights(output), weights(straight))


def test_a_run_stops_when_its_time_is_up_and_goes_on_later(tmp_path, straight):
    output, seen = tmp_path / "model", []
    where = train(output, recipe=SHORT, stop_after=1e-9, **EXACT)
    assert (where.done, where.finished) == (0, False)  # not even one step fits
    slow = {"on_step": lambda p: seen.append(p.done) or time.sleep(0.2), "stop_after": 0.3 / 60}
    where = train(output, recipe=SHORT, **slow, **EXACT)
    assert 0 < where.done < 8 and seen == list(range(1, where.done + 1))
    assert (output / "model.safetensors").exists()
    seconds = torch.load(tmp_path / "model-training" / "state.pt", weights_only=True)["seconds"]
    assert train(output, recipe=SHORT, resume=True, **EXACT).finished
    assert same(weights(output), weights(straight))
    log = read(tmp_path / "model-training" / "log.jsonl")
    assert log[-1]["seconds"] > seconds > 0.3  # minutes of all runs, not of the last one


def test_worker_processes_change_nothing(tmp_path, straight):
    train(tmp_path / "model", recipe=SHORT, **{**EXACT, "workers": 1})
    assert same(weights(tmp_path / "model"), weights(straight))


def test_random_states_change_nothing(tmp_path, straight):
    torch.manual_seed(5)
    np.random.seed(5)
    train(tmp_path / "model", recipe=SHORT, **EXACT)
    assert same(weights(tmp_path / "model"), weights(straight))


def test_a_finished_run_whose_checkpoint_is_missing_writes_it(tmp_path, straight):
    work = straight.with_name(straight.name + "-training")
    train(tmp_path / "second", work=work, recipe=SHORT, resume=True, **EXACT)
    assert same(checkpoint(tmp_path / "second"), checkpoint(straight))


def test_the_checkpoint_holds_the_trained_weights_in_half_precision(straight):
    written, trained = checkpoint(straight), weights(straight)
    assert all(torch.equal(written[name], trained[name].half()) for name in written)
    config = json.loads((straight / "config.json").read_text())
    assert config["dtype"] == "float16"
    assert config["stc"]["frames"] == 32 and config["stc"]["contribution_layer"] in (-2, -1)
    assert "turns" not in json.dumps(config) and "attn_implementation" not in json.dumps(config)
    assert (straight / "learning_curve.png").read_bytes().startswith(b"\x89PNG")


def test_later_stages_may_be_added_to_a_begun_run(tmp_path, straight):
    begun = replace(SHORT, stages=SHORT.stages[:2])
    train(tmp_path / "model", recipe=begun, **EXACT)
    train(tmp_path / "model", recipe=SHORT, resume=True, **EXACT)
    assert same(weights(tmp_path / "model"), weights(straight))


@pytest.mark.parametrize(
    ("other", "sentence"),
    [
        (replace(SHORT, seed=1), "another recipe"),
        (replace(SHORT, decay=0.2), "another recipe"),
        (replace(SHORT, stages=SHORT.stages[::-1]), "another recipe"),
        (replace(SHORT, size=replace(TINY, ffn=48)), "ffn is 32 there and 48 here"),
    ],
)
def test_a_state_of_another_recipe_is_refused(tmp_path, straight, other, sentence):
    work = straight.with_name(straight.name + "-training")
    with pytest.raises(ValueError, match=sentence):
        train(tmp_path / "model", work=work, recipe=other, resume=True, **EXACT)
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize("state", [{"recipe": {}}, {"layout": 1}, [1, 2]])
def test_a_state_of_an_older_layout_is_refused(tmp_path, state):
    torch.save(state, tmp_path / "state.pt")
    with pytest.raises(ValueError, match="older version"):
        train(tmp_path / "model", work=tmp_path, recipe=SHORT, resume=True, **EXACT)


def test_a_damaged_state_is_refused(tmp_path):
    (tmp_path / "state.pt").write_bytes(b"not a state")
    with pytest.raises(ValueError, match="not a training state"):
        train(tmp_path / "model", work=tmp_path, recipe=SHORT, resume=True, **EXACT)


def test_a_state_that_cannot_be_written_leaves_the_former_one_whole(tmp_path):
    script = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "sys.path[:0] = ['.', 'tests', 'tests/shapes']\n"
        "from test_train import EXACT, SHORT\n"
        "from stc_core.errors import InputError\n"
        "from stc_core.shapes.model.training import train\n"
        "def fill(progress):\n"
        "    if progress.done == 1:  # no file may grow beyond 20 kB: the disk is full\n"
        "        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))\n"
        "try:\n"
        "    train(Path(sys.argv[1]), recipe=SHORT, save_every=0.0, on_step=fill, **EXACT)\n"
        "except InputError as error:\n"
        "    print(error)\n"
    )
    pytest.importorskip("resource")  # not on Windows
    output = tmp_path / "model"
    done = subprocess.run(
        [sys.executable, "-c", script, str(output)],
        capture_output=True,
        text=True,
        check=True,
    )
    work = tmp_path / "model-training"
    sentence = r"the state .* cannot be written to '.*' \(.*\); make room and resume: .*\n"
    assert re.fullmatch(sentence, done.stdout)
    assert sorted(file.name for file in work.iterdir()) == ["log.jsonl", "state.pt"]
    state = torch.load(work / "state.pt", weights_only=True)
    assert (state["stage"], state["step"]) == (0, 1)
    assert train(output, recipe=SHORT, resume=True, **EXACT).finished


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("[enforce fail at inline_container.cc:778] . unexpected pos 1 vs 2\nframe #0"),
        OSError(28, "No space left on device"),
    ],
)
def test_a_full_disk_is_one_sentence(tmp_path, monkeypatch, error):
    def broken(state, file):
        Path(file).write_bytes(b"half")
        raise error

    output = tmp_path / "model"
    train(output, recipe=replace(SHORT, stages=SHORT.stages[:1]), **EXACT)
    former = (tmp_path / "model-training" / "state.pt").read_bytes()
    before = sorted(path.name for path in (tmp_path / "model-training").iterdir())
    monkeypatch.setattr(training_run.torch, "save", broken)
    with pytest.raises(InputError, match="make room and resume") as caught:
        train(output, recipe=SHORT, resume=True, **EXACT)
    assert "\n" not in str(caught.value)
    assert (tmp_path / "model-training" / "state.pt").read_bytes() == former
    assert sorted(path.name for path in (tmp_path / "model-training").iterdir()) == before


# In which numbers


@pytest.mark.skipif(shutil.which("g++") is None, reason="compiling needs a C++ compiler")
def test_compiled_training_in_float32_takes_batches_of_changing_length(tmp_path, monkeypatch):
    shared = tmp_path / "shared"
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(shared))
    stage = TrainingStage("language", 3, 2, (1, 2, 4), (1e-3, 1e-4), FEW)
    recipe, losses = Recipe(size=TINY, stages=(stage,), warmup=2, middle=0), []
    options = {**EXACT, "compiled": True, "on_step": lambda p: losses.append(p.scores["loss"])}
    assert train(tmp_path / "compiled", recipe=recipe, **options).finished
    # a run that is killed while it compiles leaves nothing that the next one would load
    assert not [path for path in shared.rglob("*") if path.is_file()]
    assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == str(shared)
    compiled, losses[:] = losses[:], []
    train(tmp_path / "plain", recipe=recipe, **{**options, "compiled": False})
    assert len(compiled) == 3 and compiled == pytest.approx(losses, rel=1e-4)


@pytest.mark.parametrize(
    ("amx", "avx", "fast"),
    [(True, False, True), (False, True, True), (False, False, False), (None, None, False)],
)
def test_numbers_are_chosen_by_what_the_processor_computes_in(
    tmp_path, monkeypatch, amx, avx, fast
):
    for name, there in (("_is_amx_tile_supported", amx), ("_is_avx512_bf16_supported", avx)):
        if there is None:  # an older torch does not tell
            monkeypatch.delattr(torch.cpu, name, raising=False)
        else:
            monkeypatch.setattr(torch.cpu, name, lambda there=there: there, raising=False)
    assert fast_bfloat16(torch.device("cpu")) is fast
    assert fast_bfloat16(torch.device("meta")) is False
    seen, one_step = [], training_run.vision_loss

    def listen(*args):
        seen.append(torch.is_autocast_enabled("cpu"))
        return one_step(*args)

    monkeypatch.setattr(training_run, "vision_loss", listen)
    recipe = replace(SHORT, stages=(replace(SHORT.stages[0], steps=1),))
    train(tmp_path / "model", recipe=recipe, **{**EXACT, "half": None})
    train(tmp_path / "other", recipe=recipe, **{**EXACT, "half": not fast})
    assert seen == [fast, not fast]  # whoever says so decides


# Beginning with a checkpoint


def test_a_run_begins_with_the_weights_of_a_checkpoint(tmp_path, straight):
    still = replace(SHORT, stages=tuple(replace(s, rate=(0.0, 0.0)) for s in SHORT.stages))
    seen = []
    train(
        tmp_path / "model",
        recipe=still,
        start=straight,
        first_stage=2,
        on_step=lambda p: seen.append((p.stage, p.done)),
        **EXACT,
    )
    assert seen == [(2, 7), (2, 8)]
    assert same(checkpoint(tmp_path / "model"), checkpoint(straight))


def test_a_checkpoint_of_another_size_is_refused_by_its_first_tensor(tmp_path):
    model, processor = build(replace(TINY, ffn=48))
    save(model, processor, tmp_path / "other")
    with pytest.raises(ValueError, match=r"mlp\S*\.weight is \(48, 32\) there and \(32, 32\) here"):
        train(tmp_path / "model", recipe=SHORT, start=tmp_path / "other", **EXACT)


def test_a_checkpoint_with_a_layer_less_is_refused_by_its_first_tensor(tmp_path):
    model, processor = build(replace(TINY, layers=1))
    save(model, processor, tmp_path / "other")
    with pytest.raises(ValueError, match=r"layers\.1\.\S+ is missing there"):
        train(tmp_path / "model", recipe=SHORT, start=tmp_path / "other", **EXACT)


def test_a_checkpoint_with_other_words_is_refused(tmp_path, straight):
    model, processor = build(TINY)
    save(model, processor, tmp_path / "other")
    file = tmp_path / "other" / "tokenizer.json"
    file.write_text(file.read_text().replace('"circle"', '"giraffe"'))
    with pytest.raises(ValueError, match="other words"):
        train(tmp_path / "model", recipe=SHORT, start=tmp_path / "other", **EXACT)


def test_a_folder_without_a_checkpoint_is_refused(tmp_path):
    for start, sentence in ((tmp_path / "none", "no checkpoint folder"), (tmp_path, "config.json")):
        with pytest.raises(ValueError, match=sentence):
            train(tmp_path / "model", recipe=SHORT, start=start, **EXACT)


@pytest.mark.parametrize("first", [-1, 3])
def test_a_stage_that_is_not_there_is_refused(tmp_path, first):
    with pytest.raises(ValueError, match="0 to 2"):
        train(tmp_path / "model", recipe=SHORT, first_stage=first, **EXACT)


# The recipe


@pytest.mark.parametrize("scale", [0.0, -1.0, math.nan, math.inf])
def test_a_senseless_scale_is_refused(tmp_path, scale):
    with pytest.raises(ValueError, match="scale"):
        train(tmp_path / "model", scale=scale, bar=False)


@pytest.mark.parametrize("minutes", [0.0, -1.0, math.nan])
def test_a_senseless_time_is_refused(tmp_path, minutes):
    with pytest.raises(ValueError, match="minutes"):
        train(tmp_path / "model", stop_after=minutes, bar=False)


@pytest.mark.parametrize(
    "change", [{"steps": 0}, {"clips": 0}, {"frames": ()}, {"frames": (0,)}, {"part": "audio"}]
)
def test_senseless_stages_are_refused(change):
    with pytest.raises(ValueError):
        replace(SHORT.stages[0], **change)


def test_a_recipe_without_stages_is_refused():
    with pytest.raises(ValueError, match="at least one stage"):
        replace(SHORT, stages=())


def test_scaling_keeps_everything_but_the_steps():
    half = RECIPE.scaled(0.5)
    assert [s.steps for s in half.stages] == [round(s.steps * 0.5) for s in RECIPE.stages]
    first = replace(RECIPE.stages[0], steps=half.stages[0].steps)
    assert half.size == RECIPE.size and half.stages[0] == first


def test_a_gpu_gets_larger_batches_of_the_same_model():
    assert recipe_for("cpu") is RECIPE and recipe_for("cuda:0") is GPU_RECIPE
    assert GPU_RECIPE.size == RECIPE.size
    assert sum(s.clips for s in GPU_RECIPE.stages) > sum(s.clips for s in RECIPE.stages)


def test_the_rate_warms_up_and_ends_where_it_should():
    stage = replace(SHORT.stages[0], steps=100, rate=(1e-3, 1e-5))
    assert learning_rate(stage, 0, 10) == pytest.approx(1e-4)
    assert learning_rate(stage, 99, 10) == pytest.approx(1e-5)
    rates = [learning_rate(stage, i, 10) for i in range(10, 100)]
    assert rates == sorted(rates, reverse=True)


# Batches


def test_batches_use_training_seeds_only_and_none_twice():
    seeds = []
    for number, stage in enumerate(SHORT.stages):
        for step in range(stage.steps):
            seeds += [scene.seed for scene in draw_step(stage, number, step, TINY).scenes]
    assert len(set(seeds)) == len(seeds)
    assert all(seed in TRAIN_SEEDS for seed in seeds)


def test_batches_from_the_middle_are_the_batches_of_a_whole_run():
    tokenizer = build(TINY)[1].tokenizer
    stage = SHORT.stages[1]
    whole = list(stage_batches(stage, 1, 0, TINY, tokenizer, 0))
    rest = list(stage_batches(stage, 1, 1, TINY, tokenizer, 0))
    for a, b in zip(whole[1:], rest, strict=True):
        assert all(torch.equal(a[name], b[name]) for name in a)


def test_dense_labels_name_the_thing_at_the_token():
    still = replace(
        WORLD,
        objects=(1, 1),
        always=1.0,
        moving=0.0,
        resting=1.0,
        panning=0.0,
        flashing=0.0,
        crossing=0.0,
        shapes=("square",),
    )
    drawn = draw_step(TrainingStage("vision", 1, 6, (2,), (0, 0), still), 0, 0, Size())
    labels = token_labels(drawn)
    assert {name: len(values) for name, values in LOOKS.items()} == LABELS
    assert labels["present"].shape == (6, 2, 49)
    for clip, scene in enumerate(drawn.scenes):
        thing = scene.things[0]
        for t, (x, y) in enumerate(scene.places(thing, drawn.times)):
            token = int(y * 7) * 7 + int(x * 7)
            assert labels["present"][clip, t, token] == 1
            assert labels["center"][clip, t, token].tolist() == pytest.approx((x, y), abs=1e-6)
            for name, values in LOOKS.items():
                assert values[labels[name][clip, t, token]] == getattr(thing, name)
    assert (labels["shape"][labels["present"] != 1] == IGNORED).all()


# Losses


def test_turns_do_not_see_each_other():
    turn, place = torch.tensor([[1, 1, 2, 2, 0]]), torch.tensor([[0, 1, 0, 1, 0]])
    positions, mask = alone(turn, place, 2)
    assert positions.tolist() == [[0, 1, 2, 3, 2, 3, 2]]
    assert mask[0, 0].int().tolist() == [
        [1, 1, 1, 0, 0, 0, 0],
        [1, 1, 1, 1, 0, 0, 0],
        [1, 1, 0, 0, 1, 0, 0],
        [1, 1, 0, 0, 1, 1, 0],
        [1, 1, 0, 0, 0, 0, 1],
    ]


def test_attention_by_turns_is_stock_attention_forward_and_backward():
    torch.manual_seed(0)
    turn = torch.tensor([[1, 1, 1, 2, 2, 0], [1, 1, 2, 2, 2, 2]])
    place = torch.tensor([[0, 1, 2, 0, 1, 0], [0, 1, 0, 1, 2, 3]])
    positions, mask = alone(turn, place, 5)
    inputs, aim = torch.randn(2, 11, 32), torch.randn(2, 6, 32)
    found = []
    for by_turns in (True, False):
        model, _ = build(replace(TINY, heads=4, kv_heads=2), seed=1)
        sees = mask
        if by_turns:
            attend_by_turns(model)
        else:
            rows = torch.ones(5, 11, dtype=torch.bool).tril().expand(2, 1, -1, -1)
            sees = torch.cat([rows, mask], dim=2)
        given = inputs.clone().requires_grad_()
        hidden = model.model.language_model(
            inputs_embeds=given,
            position_ids=positions,
            attention_mask=torch.zeros(sees.shape).masked_fill_(~sees, -torch.inf),
            use_cache=False,
        ).last_hidden_state
        (hidden[:, 5:] * aim).sum().backward()
        found.append((hidden.detach(), given.grad))
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)


def test_many_turns_at_once_cost_what_the_questions_cost_one_by_one():
    """The loss of training equals the stock model's, asked through the processor one at a time."""
    model, processor = build(TINY, seed=2)
    model.eval()
    stage = SHORT.stages[1]
    batch = next(stage_batches(stage, 1, 0, TINY, processor.tokenizer, 0))
    attend_by_turns(model)
    with torch.no_grad():
        loss, scores = language_loss(model, None, batch, processor.tokenizer, middle=0)
    model.model.language_model.set_attn_implementation("sdpa")
    drawn = draw_step(stage, 1, 0, TINY)
    losses, tokens, right = [], 0, []
    for scene, frames, share in zip(drawn.scenes, drawn.frames, drawn.share, strict=True):
        asked = ask(scene, stage.world.at_pace(1), drawn.times, share)
        for question in choose(asked, stage.questions, scene.seed):
            content = [{"type": "video"}, {"type": "text", "text": question.text}]
            prompt = processor.apply_chat_template(
                [{"role": "user", "content": content}], add_generation_prompt=True
            )
            whole = f"{prompt}{question.answer}<|im_end|>"
            inputs = processor(text=[whole], videos=[frames.numpy()], return_tensors="pt")
            told = len(question.answer.split()) + 1
            with torch.no_grad():
                logits = model(**inputs).logits[0, -told - 1 : -1]
            target = inputs.input_ids[0, -told:]
            losses.append(nn.functional.cross_entropy(logits, target, reduction="sum"))
            tokens += told
            right.append((logits.argmax(-1) == target)[:-1].all().item())
    assert loss.item() == pytest.approx(sum(losses).item() / tokens, abs=1e-5)
    assert scores["right"] == (sum(right), len(right))


def test_training_sees_the_pixels_the_processor_makes():
    model, processor = build(TINY, seed=2)
    clip = make_clip(0, 2, 32)
    prompt = "<|im_start|>user <video>\nred?<|im_end|>"
    inputs = processor(text=[prompt], videos=[clip.frames], return_tensors="pt")
    with torch.no_grad():
        mine = project(
            model, patch_features(model.model.vision_tower, torch.from_numpy(clip.frames))
        )
        theirs = model.model.get_video_features(inputs.pixel_values_videos).pooler_output
    torch.testing.assert_close(mine.flatten(0, 1), theirs[0, :-1], atol=1e-5, rtol=0)


def test_an_answer_is_right_when_all_its_words_are():
    color, order = KINDS.index("color"), KINDS.index("order")
    turn = torch.tensor([[1, 1, 1, 2, 2, 0], [1, 1, 1, 1, 2, 2]])
    kind = torch.tensor([[-1, color, color, -1, order, -1], [-1, order, order, order, -1, color]])
    told = kind >= 0
    wrong = torch.tensor([False, False, True, False, True, False, False])
    assert whole_answers(wrong, told, turn, kind) == {
        "right": (2.0, 4.0),
        "right/color": (2.0, 2.0),
        "right/order": (0.0, 2.0),
    }


def test_a_batch_that_shows_nothing_has_a_loss():
    head = DenseHead(8)
    nothing = torch.full((1, 2, 4), IGNORED)
    labels = {name: nothing for name in LABELS}
    labels |= {"present": torch.zeros(1, 2, 4).long(), "center": torch.zeros(1, 2, 4, 2)}
    loss, scores = dense_loss(head, torch.randn(1, 2, 4, 8), labels)
    loss.backward()
    assert loss.isfinite() and all(p.grad.isfinite().all() for p in head.parameters())
    assert scores["sees/shape"] == (0, 0) and scores["sees/present"][1] == 8


def test_the_loss_of_events_is_read_off_the_middle_of_the_stock_decoder():
    model, processor = build(TINY, seed=2)
    head, tokenizer = EventHead(TINY.width), processor.tokenizer
    batch = next(stage_batches(SHORT.stages[2], 2, 0, TINY, tokenizer, 0))
    b, t = batch["frames"].shape[:2]
    opening = tokenizer("<|im_start|>user ").input_ids
    with torch.no_grad():
        seen = patch_features(model.model.vision_tower, batch["frames"].flatten(0, 1))
        before = model.get_input_embeddings()(torch.tensor(opening)).expand(b, -1, -1)
        inputs = torch.cat([before, project(model, seen).reshape(b, -1, TINY.width)], dim=1)
        hidden = model.model.language_model(inputs_embeds=inputs, output_hidden_states=True)
        hidden = hidden.hidden_states[1][:, len(opening) :].unflatten(1, (t, -1))
        happened, _ = event_loss(head, hidden, batch)
        attend_by_turns(model)
        plain, scores = language_loss(model, head, batch, tokenizer, 0.0, 0)
        both, more = language_loss(model, head, batch, tokenizer, 0.5, 0)
    assert both.item() == pytest.approx((plain + 0.5 * happened).item(), rel=1e-5)
    assert scores["loss"] == more["loss"]  # the loss that is shown is that of the answers
    assert {name for name in more if name not in scores} == {
        f"knows/{name}" for name in (*TOKEN_EVENTS, *FRAME_EVENTS)
    }


def test_a_language_stage_leaves_the_tower_alone(tmp_path, straight):
    recipe = replace(SHORT, stages=SHORT.stages[:1])
    train(tmp_path / "vision", recipe=recipe, **EXACT)
    seen, later = weights(tmp_path / "vision"), weights(straight)
    changed = {name for name in seen if not torch.equal(seen[name], later[name])}
    assert not any("vision_tower" in name for name in changed)
    assert any("projector" in name for name in changed) and any("layers" in n for n in changed)


def test_training_lowers_the_loss(tmp_path):
    stage = TrainingStage("vision", 60, 8, (2,), (3e-3, 1e-3), FEW)
    losses = []
    recipe = Recipe(size=TINY, stages=(stage,), warmup=5, middle=0)
    train(
        tmp_path / "model",
        recipe=recipe,
        on_step=lambda p: losses.append(p.scores["off"]),
        **EXACT,
    )
    assert np.mean(losses[-10:]) < 0.8 * np.mean(losses[:10])


# The log and its picture


def test_the_log_is_flat_and_tells_every_kind(straight):
    lines = read(straight.with_name("model-training") / "log.jsonl")
    assert [(line["stage"], line["step"], line["done"]) for line in lines] == [
        (0, 3, 3),
        (1, 3, 6),
        (2, 2, 8),
    ]
    assert {"loss", "rate", "seconds", "part", "sees/present", "off"} <= lines[0].keys()
    kinds = {name for name in lines[2] if name.startswith("right/")}
    assert "right" in lines[2] and kinds and kinds <= {f"right/{kind}" for kind in KINDS}


def log_of(file: Path, kinds: tuple[str, ...]) -> Path:
    lines = [
        {"stage": 0, "part": "vision", "step": 20, "done": 20, "seconds": 30.0, "loss": 2.0,
         "sees/shape": 0.5},
        {"stage": 1, "part": "language", "step": 20, "done": 60, "seconds": 90.0, "loss": 1.0,
         "right": 0.5, **{f"right/{kind}": 0.25 for kind in kinds}},
    ]  # fmt: skip
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return file


def test_a_curve_shows_all_kinds(tmp_path):
    log = log_of(tmp_path / "log.jsonl", KINDS)
    assert accuracies(read(log)) == ["right", *(f"right/{kind}" for kind in KINDS), "sees/shape"]
    plot(log, tmp_path / "curve.svg")
    text = (tmp_path / "curve.svg").read_text()
    for words in ("loss", "minutes", "steps", "vision", "language", "all questions", *KINDS):
        assert f">{words}</text>" in text
    before = (tmp_path / "curve.svg").read_bytes()
    plot(log, tmp_path / "curve.svg")
    assert (tmp_path / "curve.svg").read_bytes() == before


def test_steps_done_twice_and_half_written_lines_count_once(tmp_path):
    log = log_of(tmp_path / "log.jsonl", KINDS[:1])
    again = json.loads(log.read_text().splitlines()[1]) | {"loss": 0.9}
    with log.open("a") as file:
        file.write('{"stage": 1, "st' + "\n" + json.dumps(again) + "\n")
    steps, losses = series(read(log), "loss")
    assert steps.tolist() == [20, 60] and losses.tolist() == [2.0, 0.9]


def test_without_a_log_there_is_no_curve(tmp_path):
    plot(tmp_path / "none.jsonl", tmp_path / "curve.png")
    assert not (tmp_path / "curve.png").exists()


# The command line


def run(*arguments: str):
    return CliRunner().invoke(cli, ["train", *arguments])


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--stop-after", "0"], "more than 0 minutes"),
        (["--scale", "-1"], "scale"),
        (["--first-stage", "99"], "no stage 99"),
        (["--device", "toaster"], "not a device"),
        (["--start", "nowhere", "--device", "cpu"], "no checkpoint folder"),
    ],
)
def test_what_cannot_be_trained_is_one_sentence(tmp_path, arguments, sentence):
    result = run("--output", str(tmp_path / "model"), *arguments)
    assert result.exit_code == 2 and sentence in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_state_of_another_size_is_one_sentence(tmp_path):
    work = tmp_path / "model-training"
    work.mkdir()
    state = {"layout": training_run.LAYOUT, "recipe": asdict(replace(RECIPE, size=TINY, middle=0))}
    torch.save(state, work / "state.pt")
    result = run("--output", str(tmp_path / "model"), "--resume", "--device", "cpu")
    assert result.exit_code == 2 and "another size" in result.stderr


def test_a_stopped_run_says_how_to_go_on(tmp_path, monkeypatch):
    given = {}
    monkeypatch.setattr(
        "stc_core.shapes.model.training.train",
        lambda output, **options: given.update(options) or Progress(1, 2, 5, 8, {}),
    )
    result = run("--output", str(tmp_path / "model"), "--stop-after", "5", "--no-compile")
    assert result.exit_code == 0 and result.stdout.strip() == str(tmp_path / "model")
    assert "step 5 of 8; go on with --resume" in result.stderr
    assert given["stop_after"] == 5 and given["compiled"] is False and given["start"] is None
