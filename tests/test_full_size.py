"""The check of full-size models (tests/gpu/full_size.py): its configs, and a run of small ones."""

import json

import pytest
import torch
from gpu import full_size
from gpu.published import MODELS, Shrink

from stc_core.prompt import build_prompt

SMALL = ["--layers", "3", "--width", "64", "--frames", "2", "--device", "cpu"]


@pytest.mark.parametrize(
    ("name", "parameters", "grid", "places"),
    [
        ("LLaVA-OneVision-7B", 8.03e9, (32, 14, 14), 32 * 196),
        ("LLaVA-Video-7B", 8.03e9, (64, 13, 13), 64 * 13 * 13),
        ("Qwen2.5-VL-7B", 8.29e9, (32, 13, 23), 32 * 13 * 23),  # 360 x 640 pixels
    ],
)
def test_full_sizes_are_the_published_ones(name, parameters, grid, places):
    kind, config, processor = MODELS[name].build(Shrink())
    with torch.device("meta"):
        model = kind(config)
    assert model.num_parameters() == pytest.approx(parameters, rel=0.001)
    vlm = full_size.VLM(model, processor, name, "meta")
    layout = build_prompt(vlm, full_size.clip(MODELS[name].frames).frames, "?", 1).layout
    assert (layout.frames, layout.rows, layout.cols) == grid and len(layout.tokens) == places


def test_small_ones_run_through_are_reported_and_not_run_twice(tmp_path, capsys):
    output, readme = tmp_path / "runs" / "full_size.json", tmp_path / "README.md"
    readme.write_text("# T\n<!-- gpu -->\n<!-- /gpu -->\n")
    options = [*SMALL, "--dtype", "float32", "--output", str(output)]
    assert full_size.main([*options, "--model", "LLaVA-Video-7B"]) == 0
    assert full_size.main([*options, "--write-readme", str(readme)]) == 0
    said = capsys.readouterr()
    assert all(said.err.count(f"{name}, sdpa") == 1 for name in MODELS)
    runs = json.loads(output.read_text())["runs"]
    assert sorted(runs) == sorted(f"{name}, sdpa" for name in MODELS)
    for run in runs.values():
        frames, rows, cols = run["grid"]
        full, door, end = run["tokens"]
        assert full == frames * rows * cols and door == frames * round(0.02 * rows * cols)
        assert end == round(door / 2)
        # in float32 equal but for rounding, and something else than no compression at all
        assert run["fine"] and run["cosine"] > 0.99999 > 0.99 > run["cosine_uncompressed"]
        assert run["compressed"]["kv_bytes"] < run["uncompressed"]["kv_bytes"]
    table = readme.read_text()
    assert "| LLaVA-OneVision-7B | sdpa | 2 | 392 -> 8 -> 4 |" in table and "not the full" in table
    assert full_size.main([*SMALL, "--output", str(output)]) == 2
    assert "another configuration" in capsys.readouterr().err


def test_a_run_that_is_wrong_fails(monkeypatch, tmp_path, capsys):
    """A masked run that hides nothing is not what compression gives."""
    monkeypatch.setattr(full_size, "masked_logits", whole_logits)
    options = [*SMALL, "--model", "LLaVA-OneVision-7B", "--output", str(tmp_path / "x.json")]
    assert full_size.main(options) == 1
    assert ", failed |" in capsys.readouterr().out


def whole_logits(model, prompt, trace):
    return model(**prompt.inputs, logits_to_keep=1).logits[0, -1]
