"""What the workspace says of methods: the server's names and ideas, FLOPs as a run counts them."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from node import node_path  # noqa: F401

from stc_core import METHODS, answer, load
from stc_core.method_text import NAMES
from viz.server.method_fields import IDEAS

MODULE = Path(__file__).resolve().parents[2] / "viz" / "workspace" / "js" / "methods.js"
CLIP = Path(__file__).resolve().parents[2] / "assets" / "clips" / "two-on-waves.mp4"
RUN = """
import { METHODS, layersOf, reckoner } from %r;
let sent = '';
for await (const part of process.stdin) sent += part;
const { runs, asked, grid, depth } = JSON.parse(sent);
const flops = reckoner(runs);
const guess = ([name, ratio]) => {
  const layers = layersOf(name, ratio, grid, depth);
  return [layers, flops ? flops(layers) : null];
};
console.log(JSON.stringify({ methods: METHODS, found: asked.map(guess) }));
"""


def told(node: str, **sent) -> dict:
    done = subprocess.run(
        [node, "--input-type=module", "-e", RUN % str(MODULE)],
        input=json.dumps(sent), capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_names_and_ideas_are_the_servers(node_path):  # noqa: F811
    found = told(node_path, runs=[], asked=[], grid={}, depth=1)["methods"]
    assert found == {name: [NAMES[name], IDEAS[name]] for name in METHODS}


@pytest.mark.parametrize("ratio", [0.1, 0.5, 1.0])
def test_the_reckoned_flops_are_those_of_runs(node_path, ratio):  # noqa: F811
    vlm = load(device="cpu")

    def run(method, **options):
        return answer(vlm, CLIP, "what flashed?", method, frames=8, max_new_tokens=1, **options)

    shown = run(METHODS["stc"](retention=0.02), baseline=True)
    whole = shown.trace.baseline["costs"]
    runs = [
        {"layers": list(costs["tokens_per_layer"]), "flops": costs["paper_flops"]}
        for costs in (shown.costs.to_json(), whole)
    ]
    asked = [[name, ratio] for name in METHODS]
    grid = {"n": shown.trace.grid.size, "perFrame": shown.trace.grid.per_frame}
    depth = len(runs[0]["layers"])
    found = told(node_path, runs=runs, asked=asked, grid=grid, depth=depth)["found"]
    for (name, _), (layers, flops) in zip(asked, found, strict=True):
        costs = run(METHODS[name](retention=ratio)).costs
        if name == "downsample":  # it cannot meet every budget
            assert flops == pytest.approx(costs.paper_flops, rel=0.2)
            continue
        assert layers == list(costs.tokens_per_layer), name
        assert flops == pytest.approx(costs.paper_flops, rel=1e-6), name
    unknown = told(node_path, runs=runs[:1], asked=asked, grid=grid, depth=depth)["found"]
    assert unknown[0][1] is None
