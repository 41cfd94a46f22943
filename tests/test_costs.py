"""The costs against published cells, torch's own counter and nested loops; round trips."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from counter import counter as flop_counter
from hypothesis import given
from hypothesis import strategies as st

from stc_core.record.costs import (
    Costs,
    LLMShape,
    Stopwatch,
    VisionShape,
    inside_flops,
    kv_cache_bytes,
    layers_after,
    outside_flops,
    paper_flops,
    real_flops,
)

OV_7B = LLMShape(
    layers=28, hidden=3584, heads=28, kv_heads=4, head_dim=128, ffn=18944, vocab=152000
)
OV_05B = LLMShape(layers=24, hidden=896, heads=14, kv_heads=2, head_dim=64, ffn=4864, vocab=152000)


# --- the paper's convention --------------------------------------------------------------------


def budget(share: float, frames: int, per_frame: int) -> int:
    """The pool's size under which the published column comes out: rounded per frame."""
    return frames * round(share * per_frame)


def tera(llm: LLMShape, layer: int, before: int, after: int) -> float:
    tokens = layers_after(layer, llm.layers, before, after)
    return paper_flops(tokens, llm.hidden, llm.ffn) / 1e12


def ours(share: float, frames: int = 32, per_frame: int = 196, llm: LLMShape = OV_7B) -> float:
    """This method, and HoliTom: half of the tokens are left after layer index K."""
    n = budget(share, frames, per_frame)
    return tera(llm, 18, n, n // 2)


def outside_only(share: float) -> float:
    """VisionZip, FastVID, and this method without its inner stage."""
    n = budget(share, 32, 196)
    return tera(OV_7B, 18, n, n)


def fastv(share: float) -> float:
    """All tokens in layers 0 to 2, then a share of the whole."""
    return tera(OV_7B, 2, 6272, round(share * 6272))


def full(frames: int = 32, per_frame: int = 196, llm: LLMShape = OV_7B) -> float:
    return tera(llm, 18, frames * per_frame, frames * per_frame)


# the printed cells of the paper's table, row by row: (computed TFLOPs, printed T, printed %)
TABLE = {
    "full": (full(), "41.4", "100.0"),
    "100%/10% FastV": (fastv(0.10), "7.9", "19.1"),
    "10% VisionZip": (outside_only(0.10), "4.0", "9.6"),
    "10% FastVID": (outside_only(0.10), "4.0", "9.6"),
    "10%/5% HoliTom": (ours(0.10), "3.4", "8.2"),
    "10% without inner merging": (outside_only(0.10), "4.0", "9.6"),
    "10%/5%": (ours(0.10), "3.4", "8.2"),
    "100%/5% FastV": (fastv(0.05), "6.4", "15.5"),
    "5% VisionZip": (outside_only(0.05), "2.2", "5.4"),
    "5% FastVID": (outside_only(0.05), "2.2", "5.4"),
    "5%/2.5% HoliTom": (ours(0.05), "2.0", "4.7"),
    "5% without inner merging": (outside_only(0.05), "2.2", "5.4"),
    "5%/2.5%": (ours(0.05), "2.0", "4.7"),
    "2% VisionZip": (outside_only(0.02), "1.2", "2.9"),
    "2% FastVID": (outside_only(0.02), "1.2", "2.9"),
    "2%/1% HoliTom": (ours(0.02), "1.1", "2.6"),
    "2% without inner merging": (outside_only(0.02), "1.2", "2.9"),
    "2%/1%": (ours(0.02), "1.1", "2.6"),
    "1%/0.5% HoliTom": (ours(0.01), "0.8", "2.0"),
    "1%/0.5%": (ours(0.01), "0.8", "2.0"),
}


@pytest.mark.parametrize("row", TABLE)
def test_every_flops_cell_of_the_paper(row: str) -> None:
    computed, printed, percent = TABLE[row]
    assert f"{computed:.1f}" == printed
    assert f"{100 * computed / full():.1f}" == percent


@pytest.mark.parametrize(
    ("computed", "value", "printed"),
    [
        (full(), "41.416", "41.4"),
        (outside_only(0.10), "3.974", "4.0"),
        (ours(0.10), "3.413", "3.4"),
        (outside_only(0.05), "2.229", "2.2"),
        (ours(0.05), "1.954", "2.0"),
        (outside_only(0.02), "1.202", "1.2"),
        (ours(0.02), "1.093", "1.1"),
        (outside_only(0.01), "0.863", "0.9"),
        (ours(0.01), "0.808", "0.8"),
        (full(frames=16), "18.997", "19.0"),
        (fastv(0.10), "7.922", "7.9"),
        (fastv(0.05), "6.399", "6.4"),
        (fastv(0.02), "5.496", "5.5"),
        (fastv(0.01), "5.203", "5.2"),
        (ours(0.02, frames=64), "1.665", "1.7"),
        (ours(0.02, frames=96), "2.243", "2.2"),
        (ours(0.02, frames=128), "2.826", "2.8"),
    ],
)
def test_the_cells_behind_the_convention(computed: float, value: str, printed: str) -> None:
    assert f"{computed:.3f}" == value
    assert f"{computed:.1f}" == printed


@pytest.mark.parametrize(
    ("computed", "whole", "value"),
    [
        (ours(0.02, 64, 169), full(64, 169), "1.704"),  # LLaVA-Video-7B, printed 1.7
        (ours(0.01, 64, 169), full(64, 169), "1.351"),  # printed 1.4
        (ours(0.02, llm=OV_05B), full(llm=OV_05B), "1.771"),  # printed 1.8
        (outside_only(0.10), full(), "9.6"),
        (ours(0.10), full(), "8.2"),
        (outside_only(0.05), full(), "5.4"),
        (ours(0.05), full(), "4.7"),
        (outside_only(0.02), full(), "2.9"),
        (ours(0.02), full(), "2.6"),
        (outside_only(0.01), full(), "2.1"),
        (ours(0.01), full(), "2.0"),
    ],
)
def test_the_percentages(computed: float, whole: float, value: str) -> None:
    digits = len(value.split(".")[1])
    assert f"{100 * computed / whole:.{digits}f}" == value


def test_parts_of_the_convention() -> None:
    prefill = paper_flops([6272] * 28, 3584, 18944, decode_tokens=0)
    assert f"{prefill / 1e12:.3f}" == "40.765"
    assert f"{(paper_flops([6272] * 28, 3584, 18944) - prefill) / 1e12:.3f}" == "0.651"
    assert f"{paper_flops([0] * 28, 3584, 18944) / 1e12:.3f}" == "0.525"  # where the curve flattens
    assert f"{paper_flops([10816] * 28, 3584, 18944) / 1e12:.3f}" == "80.906"
    assert f"{paper_flops([6272 + 114] * 28, 3584, 18944) / 1e12:.2f}" == "42.31"  # with text


def test_eighteen_long_layers_would_not_fit() -> None:
    """The tightest cells decide that K = 18 means 19 long layers."""
    assert f"{tera(OV_7B, 17, 320, 160):.1f}" == "1.9"  # printed 2.0
    assert f"{100 * tera(OV_05B, 17, 128, 64) / full(llm=OV_05B):.1f}" == "1.7"  # printed 1.8


@given(
    st.lists(st.integers(0, 500), max_size=6),
    st.integers(1, 64),
    st.integers(1, 200),
    st.integers(0, 40),
)
def test_paper_flops_is_its_decoding_written_out(
    tokens: list[int], d: int, m: int, steps: int
) -> None:
    slow = 0
    for n in tokens:
        slow += 4 * n * d**2 + 2 * n**2 * d + 2 * n * d * m
        for step in range(1, steps + 1):  # each generated token attends to n + step
            slow += 4 * d**2 + 2 * d * m + 2 * d * (n + step)
    # 2(dn + d(R+1)/2) is the mean over the steps of 2 d (n + step)
    assert paper_flops(tokens, d, m, steps) == pytest.approx(slow, rel=1e-12)


def test_layers_after() -> None:
    assert layers_after(18, 28, 128, 64) == [128] * 19 + [64] * 9
    assert layers_after(27, 28, 5, 1) == [5] * 28
    for wrong in (-1, 28):
        with pytest.raises(ValueError, match="layer must be 0 to 27"):
            layers_after(wrong, 28, 2, 1)


def test_negative_counts_are_refused() -> None:
    with pytest.raises(ValueError, match="tokens_per_layer"):
        paper_flops([5, -1], 8, 8)
    with pytest.raises(ValueError, match="generated"):
        real_flops(OV_7B, [1] * 28, 1, -1)
    with pytest.raises(ValueError, match="entries"):
        real_flops(OV_7B, [1] * 27, 1, 1)


# --- the real cost -----------------------------------------------------------------------------


@pytest.mark.parametrize(("tokens", "printed"), [(6272, "97.6"), (128, "1.68"), (64, "0.84")])
def test_published_estimates_of_the_real_prefill(tokens: int, printed: str) -> None:
    digits = len(printed.split(".")[1])
    assert f"{OV_7B.prefill_flops([tokens] * 28) / 1e12:.{digits}f}" == printed


def test_causal_half() -> None:
    assert f"{OV_7B.prefill_flops([6272] * 28, causal_half=True) / 1e12:.2f}" == "89.75"


def tiny_qwen(kernel: str):
    from transformers import Qwen2Config, Qwen2ForCausalLM

    config = Qwen2Config(
        vocab_size=97,
        hidden_size=48,
        intermediate_size=80,
        num_hidden_layers=3,
        num_attention_heads=6,
        num_key_value_heads=2,
        attn_implementation=kernel,
    )
    torch.manual_seed(0)
    return Qwen2ForCausalLM(config).eval()


@pytest.mark.parametrize("kernel", ["sdpa", "eager"])
@torch.no_grad()
def test_decoder_counts_equal_torchs_counter(kernel: str) -> None:
    model = tiny_qwen(kernel)
    shape = LLMShape.from_config(model.config)
    prompt, generated = 37, 5
    ids = torch.arange(prompt)[None] % 97
    expected = real_flops(shape, [prompt - 7] * 3, 7, generated)

    with flop_counter() as counter:
        out = model(ids, use_cache=True, logits_to_keep=1)
    prefill = counter.get_total_flops()
    assert prefill == expected["prefill"] + shape.head_flops(1)

    with flop_counter() as counter:
        for _ in range(generated - 1):
            token = out.logits[:, -1:].argmax(-1)
            out = model(token, past_key_values=out.past_key_values, logits_to_keep=1)
    rest = counter.get_total_flops()
    assert rest == expected["decode"] + shape.head_flops(generated - 1)
    assert expected["lm_head"] == shape.head_flops(generated)


@torch.no_grad()
def test_vision_counts_equal_torchs_counter() -> None:
    from transformers import SiglipVisionConfig, SiglipVisionModel

    config = SiglipVisionConfig(
        hidden_size=24,
        intermediate_size=40,
        num_hidden_layers=2,
        num_attention_heads=3,
        image_size=20,
        patch_size=5,
        vision_use_head=False,
    )
    model = SiglipVisionModel(config).eval()
    shape = VisionShape.from_config(config)
    assert shape.patches == 16
    with flop_counter() as counter:
        model(torch.zeros(3, 3, 20, 20))
    assert counter.get_total_flops() == shape.tower_flops(3)


@torch.no_grad()
def test_a_whole_llava_onevision_equals_torchs_counter() -> None:
    """Vision, projector and prefill of a stock composite model, through its own forward."""
    from transformers import (
        LlavaOnevisionConfig,
        LlavaOnevisionForConditionalGeneration,
        Qwen2Config,
        SiglipVisionConfig,
    )

    config = LlavaOnevisionConfig(
        vision_config=SiglipVisionConfig(
            hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2,
            image_size=16, patch_size=4, vision_use_head=False,
        ),
        text_config=Qwen2Config(
            vocab_size=50, hidden_size=32, intermediate_size=40, num_hidden_layers=3,
            num_attention_heads=4, num_key_value_heads=2,
        ),
        image_token_index=48, video_token_index=49,
    )  # fmt: skip
    model = LlavaOnevisionForConditionalGeneration(config).eval()
    frames, text = 3, 6
    visual = frames * 4 + 1  # 4 x 4 patches are pooled to 2 x 2; one newline at the end
    ids = torch.cat([torch.full((visual,), 49), torch.arange(text)])[None]
    llm, vision = LLMShape.from_config(config), VisionShape.from_config(config)
    expected = real_flops(llm, [visual] * 3, text, 1, vision=vision, frames=frames)
    with flop_counter() as counter:
        model(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            pixel_values_videos=torch.zeros(1, frames, 3, 16, 16),
            logits_to_keep=1,
        )
    assert expected["decode"] == 0
    assert counter.get_total_flops() == expected["total"]


@given(
    st.lists(st.integers(0, 40), min_size=2, max_size=2),
    st.integers(0, 9),
    st.integers(0, 6),
    st.booleans(),
)
def test_real_flops_equals_loops(visual: list[int], text: int, generated: int, half: bool) -> None:
    llm = LLMShape(layers=2, hidden=6, heads=4, kv_heads=2, head_dim=3, ffn=7, vocab=11)
    counted = {"prefill": 0, "decode": 0, "lm_head": generated * 2 * 6 * 11}

    def one_token(keys: int) -> int:
        queries = outputs = 2 * 6 * 12
        keys_and_values = 2 * (2 * 6 * 6)
        ffn = 3 * (2 * 6 * 7)
        scores = values = sum(2 * 3 for _ in range(4) for _ in range(keys))  # 4 heads of width 3
        return queries + outputs + keys_and_values + ffn + scores + values

    for n in visual:
        length = n + text
        for place in range(length):
            counted["prefill"] += one_token(place + 1 if half else length)
        for step in range(1, generated):
            counted["decode"] += one_token(length + step)
    real = real_flops(llm, visual, text, generated, causal_half=half)
    assert {part: real[part] for part in counted} == counted
    assert real["total"] == sum(counted.values())


def test_compression_counts_equal_loops() -> None:
    vision = VisionShape(layers=2, hidden=6, ffn=8, heads=2, patch_values=12, patches=9)
    tokens, d, pool, clusters, frames = 20, 5, 6, 3, 4
    got = outside_flops(tokens, d, pool, clusters, vision=vision, frames=frames)
    cosine = distance = 2 * d
    heads, width = 2, 3
    assert got["contribution"] == sum(
        2 * width for _ in range(frames) for _ in range(heads) for _ in range(9) for _ in range(9)
    )
    assert got["selection"] == sum(cosine for _ in range(tokens) for _ in range(pool))
    recycled = range(tokens - pool)
    assert got["clustering"] == sum(distance for _ in recycled for _ in recycled) + sum(
        distance for _ in recycled for _ in range(clusters)
    )
    assert outside_flops(tokens, d, tokens, 0)["clustering"] == 0
    assert outside_flops(tokens, d, 6, 3)["contribution"] == 0


def test_inside_counts_equal_loops() -> None:
    llm = LLMShape(layers=2, hidden=6, heads=4, kv_heads=2, head_dim=3, ffn=7, vocab=11)
    visual, kept, text = 8, 4, 5
    attention = sum(2 * 3 for _ in range(4) for _ in range(text) for _ in range(visual))
    cosines = sum(2 * 6 for _ in range(text) for _ in range(visual))
    merging = sum(2 * 6 for _ in range(visual) for _ in range(kept))
    assert inside_flops(llm, visual, kept, text) == attention + cosines + merging
    assert inside_flops(llm, 8, 8, 5) == 0  # nothing to remove, nothing is computed


def test_compression_is_a_part_of_the_total() -> None:
    without = real_flops(OV_7B, [128] * 28, 114, 10)
    with_it = real_flops(OV_7B, [128] * 28, 114, 10, compression=5000)
    assert with_it["compression"] == 5000
    assert with_it["total"] == without["total"] + 5000


def test_projector_rows_can_be_told() -> None:
    vision = VisionShape(1, 8, 8, 2, 12, patches=9, projector=(8, 16, 16))
    whole = real_flops(OV_7B, [1] * 28, 1, 1, vision=vision, frames=4)
    pooled = real_flops(OV_7B, [1] * 28, 1, 1, vision=vision, frames=4, projector_rows=9)
    assert whole["projector"] == 36 * 2 * (8 * 16 + 16 * 16) == 4 * pooled["projector"]
    more = real_flops(OV_7B, [1] * 28, 1, 1, vision=vision, frames=4, patches=10)
    assert more["vision"] > whole["vision"] and more["projector"] == whole["projector"] / 9 * 10


# --- shapes from configs -----------------------------------------------------------------------


def test_shapes_of_the_published_checkpoint() -> None:
    config = SimpleNamespace(
        projector_hidden_act="gelu",
        text_config=SimpleNamespace(
            num_hidden_layers=28, hidden_size=3584, num_attention_heads=28, num_key_value_heads=4,
            intermediate_size=18944, vocab_size=152000,
        ),
        vision_config=SimpleNamespace(
            num_hidden_layers=26, hidden_size=1152, num_attention_heads=16, num_channels=3,
            intermediate_size=4304, patch_size=14, image_size=384, hidden_act="gelu_pytorch_tanh",
        ),
    )  # fmt: skip
    assert LLMShape.from_config(config) == OV_7B
    vision = VisionShape.from_config(config)
    assert vision.patches == 729
    assert vision.projector == (1152, 3584, 3584)
    assert f"{vision.tower_flops(32) / 1e12:.1f}" == "20.5"  # 26 layers of 24.65 GFLOP, 32 frames


@pytest.mark.parametrize(
    "family",
    [
        "llava_onevision",
        "llava_next_video",
        "qwen2_vl",
        "qwen2_5_vl",
        "qwen3_vl",
        "internvl",
        "smolvlm",
        "video_llama_3",
    ],
)
def test_every_family_has_shapes(family: str) -> None:
    from transformers import AutoConfig

    config = AutoConfig.for_model(family)
    llm, vision = LLMShape.from_config(config), VisionShape.from_config(config)
    assert llm.hidden == config.text_config.hidden_size
    assert llm.heads % llm.kv_heads == 0
    assert min(vision.layers, vision.hidden, vision.ffn, vision.heads, vision.patch_values) > 0
    assert vision.ffn_matrices == (3 if family == "qwen2_5_vl" else 2)


def test_a_config_that_is_none_of_them_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="embed_dim, hidden_size"):
        VisionShape.from_config(SimpleNamespace())


def test_kv_cache_bytes_equal_a_real_cache() -> None:
    model = tiny_qwen("sdpa")
    with torch.no_grad():
        cache = model(torch.arange(11)[None], use_cache=True).past_key_values
    real = sum(x.nbytes for layer in cache.layers for x in (layer.keys, layer.values))
    assert kv_cache_bytes([11] * 3, 2, 8, bytes_per_value=4) == real
    assert kv_cache_bytes([6272] * 28, 4, 128) == 6272 * 28 * 2 * 4 * 128 * 2


# --- time --------------------------------------------------------------------------------------


class Clock:
    """A clock that is moved by hand."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def watch() -> Stopwatch:
    return Stopwatch(clock=Clock())


def wait(watch: Stopwatch, seconds: float) -> None:
    watch._clock.now += seconds


def test_stages_add_up(watch: Stopwatch) -> None:
    for seconds in (1.0, 2.0):
        with watch("vision"):
            wait(watch, seconds)
        wait(watch, 50)  # between stages: nobody's
    with watch("prefill"):
        wait(watch, 4)
    assert watch.seconds == {"vision": 3.0, "prefill": 4.0}


def test_a_moment_belongs_to_the_innermost_stage(watch: Stopwatch) -> None:
    with watch("prefill"):
        wait(watch, 1)
        watch.start("vision")
        wait(watch, 2)
        with watch("compression"):
            wait(watch, 4)
        wait(watch, 8)
        watch.stop("vision")
        wait(watch, 16)
        with watch("prefill"):  # the same stage inside itself is not counted twice
            wait(watch, 32)
    assert watch.seconds == {"prefill": 49.0, "vision": 10.0, "compression": 4.0}


def test_what_happens_in_a_pause_is_in_no_measure(watch: Stopwatch) -> None:
    with watch("prefill"):
        wait(watch, 1)
        with watch.paused():
            wait(watch, 20)
            with watch.paused():
                wait(watch, 30)
        wait(watch, 2)
    watch.token()
    with pytest.raises(ArithmeticError), watch.paused():
        wait(watch, 40)
        raise ArithmeticError
    wait(watch, 4)
    watch.token()
    assert watch.seconds == {"prefill": 3}
    assert watch.first_token == 3 and watch.per_token == [4]


def test_an_exception_ends_the_stages_inside(watch: Stopwatch) -> None:
    with pytest.raises(KeyError), watch("prefill"):
        wait(watch, 1)
        watch.start("vision")  # a hook whose partner never runs
        wait(watch, 2)
        raise KeyError
    wait(watch, 10)
    with watch("answer"):
        wait(watch, 4)
    assert watch.seconds == {"prefill": 1.0, "vision": 2.0, "answer": 4.0}


def test_stopping_what_does_not_run_is_refused(watch: Stopwatch) -> None:
    with pytest.raises(ValueError, match="nothing is running"):
        watch.stop("vision")
    watch.start("vision")
    watch.start("compression")
    with pytest.raises(ValueError, match="'compression' is running"):
        watch.stop("vision")


def test_time_per_token(watch: Stopwatch) -> None:
    assert watch.first_token is None
    for seconds in (3.0, 0.5, 0.25):
        wait(watch, seconds)
        watch.token()
    assert watch.first_token == 3.0
    assert watch.per_token == [0.5, 0.25]


def test_the_real_clock_runs_and_a_cpu_has_no_peak() -> None:
    watch = Stopwatch("cpu")
    with watch("sum"):
        sum(range(200_000))
    assert 0 < watch.seconds["sum"] < 5
    assert watch.peak_memory_bytes() is None


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_is_waited_for_and_its_memory_seen() -> None:
    torch.zeros(1, device="cuda")
    watch = Stopwatch("cuda")
    with watch("product"):
        a = torch.randn(8192, 8192, device="cuda")
        for _ in range(20):
            a = a @ a / 8192
    assert watch.peak_memory_bytes() > 8192 * 8192 * 4
    before = watch.seconds["product"]
    torch.cuda.synchronize()
    with watch("nothing"):
        pass
    assert watch.seconds["nothing"] < before / 2  # the work had ended when its stage did


# --- the record --------------------------------------------------------------------------------


def some_costs() -> Costs:
    tokens = layers_after(18, 28, 128, 64)
    return Costs(
        tokens_full=6272,
        tokens_llm=128,
        tokens_end=64,
        tokens_per_layer=tuple(tokens),
        text_tokens=114,
        generated_tokens=12,
        paper_flops=paper_flops(tokens, 3584, 18944),
        real_flops=real_flops(OV_7B, tokens, 114, 12),
        kv_bytes=kv_cache_bytes([n + 114 for n in tokens], 4, 128),
        seconds={"decode": 0.2, "vision": 1.5, "compression": 0.1, "prefill": 0.4},
        seconds_per_token=(0.03, 0.05),
        time_to_first_token=2.2,
    )


def test_costs_survive_json() -> None:
    costs = some_costs()
    text = json.dumps(costs.to_json(), allow_nan=False)
    assert Costs.from_json(json.loads(text)) == costs
    assert Costs.from_json(costs.to_json()) == costs


def test_costs_derived_numbers() -> None:
    costs = some_costs()
    assert costs.retention == 128 / 6272
    assert costs.mean_seconds_per_token == pytest.approx(0.04)
    assert Costs(0, 0, 0).retention == 1.0
    assert Costs(1, 1, 1).mean_seconds_per_token is None


def test_costs_take_numbers_of_numpy_and_torch() -> None:
    costs = Costs(
        np.int64(4), torch.tensor(2), 1, real_flops={"total": np.float32(0.5)}, seconds={"a": 1}
    )
    assert json.loads(json.dumps(costs.to_json()))["real_flops"] == {"total": 0.5}


def test_costs_refuse_what_json_cannot_hold() -> None:
    with pytest.raises(ValueError, match="finite"):
        Costs(1, 1, 1, seconds={"a": float("nan")}).to_json()


@pytest.mark.parametrize(
    ("record", "word"),
    [({}, "missing"), ({"tokens_full": 1, "tokens_llm": 1, "tokens_end": 1, "new": 2}, "unknown")],
)
def test_costs_refuse_another_record(record: dict, word: str) -> None:
    with pytest.raises(ValueError, match=word):
        Costs.from_json(record)
