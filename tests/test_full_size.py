"""Full-size models on a GPU (tests/gpu): their configs, and the scripts on small ones."""

import json

import pytest
import torch
from gpu import full_size, pipeline
from gpu.published import MODELS, Shrink

from stc_core.answering.prompt import build_prompt

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


# --- the whole pipeline --------------------------------------------------------------------------


def test_the_pipeline_is_measured_against_length_and_retention(tmp_path, capsys):
    output, readme = tmp_path / "pipeline.json", tmp_path / "README.md"
    readme.write_text("# T\n<!-- pipeline -->\n<!-- /pipeline -->\n")
    options = [*SMALL[:4], "--device", "cpu", "--dtype", "float32", "--output", str(output)]
    options += ["--frames", "2", "--frames", "4", "--write-readme", str(readme)]
    assert pipeline.main([*options, "--retention", "0.02"]) == 0
    assert pipeline.main([*options, "--retention", "0.1", "--retention", "0.02"]) == 0
    said = capsys.readouterr().err.splitlines()
    assert sorted(said) == sorted(f"{f} frames, {r} %" for f in (2, 4) for r in (2, 10))  # once
    runs = json.loads(output.read_text())["runs"]
    for run in runs.values():
        full, door, end = run["tokens"]
        assert full == run["frames"] * 196 and door == run["frames"] * round(196 * run["retention"])
        pair = run["runs"][0]
        whole = pipeline.predicted(pair["uncompressed"])
        assert whole == pytest.approx(run["counted"]["uncompressed"], rel=1e-4)  # rotary angles
        less = pipeline.predicted(pair["compressed"])
        assert less == pytest.approx(run["counted"]["compressed"], rel=0.02) and less < whole
    assert "| 4 | 10 | 784 -> 80 -> 40 |" in readme.read_text()
    assert pipeline.main([*options, "--retention", "2"]) == 2
    assert "error: retention" in capsys.readouterr().err


def test_targets_are_judged_by_pairs_of_answers():
    def costs(prefill, first, decode, peak):
        return {
            "seconds": {"prefill": prefill, "vision": 1.0},
            "time_to_first_token": first,
            "seconds_per_token": [decode],
            "peak_memory_bytes": peak,
        }

    def said(*less):
        pairs = [{"uncompressed": costs(2.2, 4.0, 0.1, 100), "compressed": costs(*less)}]
        return pipeline.targets({"runs": {"32 frames, 2 %": {"runs": pairs}}})[0]

    assert said(0.1, 1.2, 0.1, 99).count(": met") == 4
    assert said(0.11, 1.21, 0.11, 100).count(": not met") == 4
    assert pipeline.targets({"runs": {}}) == []
