"""LLaVA-Video: converted checkpoints against a reference that knows only the published layout."""

import json
import math
import resource
from fractions import Fraction

import huggingface_hub
import numpy as np
import pytest
import torch
from clips import write_clip
from hub_server import serving
from inputs import clip_frames
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, pre_tokenizers
from torch.nn import functional as F
from transformers import (
    LlavaOnevisionConfig,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
    SiglipConfig,
    SiglipModel,
    SiglipVisionConfig,
)
from typer.testing import CliRunner

from stc_core import STC, InputError, answer, compress, load
from stc_core.__main__ import cli
from stc_core.answering import asked
from stc_core.answering.prompt import _metadata, build_prompt
from stc_core.answering.video import Video, read_video
from stc_core.methods import FastV, Uniform
from stc_core.models.contribution import to_grid
from stc_core.models.llava_video.converter import _check_room, _tower, convert
from stc_core.models.llava_video.model import LlavaVideoConfig, LlavaVideoForConditionalGeneration
from stc_core.models.llava_video.processor import LlavaVideoProcessor, time_instruction
from stc_core.record.grid import TokenGrid
from stc_core.shapes.world.questions import words

TOWER = "model.vision_tower.vision_tower.vision_model."
HEADS = 2  # of the tower
WIDTH = 16  # of the tower
DEPTH = 3  # of the whole tower; the published code reads what enters the last layer


# --- a checkpoint in the published layout --------------------------------------------------------


def siglip(folder, side):
    """A whole SigLIP, text model, last layer and head included, of side x side patches of 2."""
    vision = dict(
        hidden_size=WIDTH,
        intermediate_size=24,
        num_hidden_layers=DEPTH,
        num_attention_heads=HEADS,
        image_size=2 * side,
        patch_size=2,
    )
    text = dict(
        vocab_size=8,
        hidden_size=8,
        intermediate_size=8,
        num_hidden_layers=1,
        num_attention_heads=1,
        max_position_embeddings=4,
        projection_size=WIDTH,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        model = SiglipModel(SiglipConfig(text_config=text, vision_config=vision))
    model.save_pretrained(folder)
    return {
        TOWER + name.removeprefix("vision_model."): tensor
        for name, tensor in load_file(folder / "model.safetensors").items()
        if name.startswith("vision_model.")
        and not name.startswith(("vision_model.head.", f"vision_model.encoder.layers.{DEPTH - 1}."))
    }


def tokenizer():
    """One token per word; as in the published checkpoints, without placeholders."""
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    names = [*special, "<unk>", "system", "user", "assistant", "You", "are", "helpful", *words()]
    vocabulary = {word: i for i, word in enumerate(dict.fromkeys(names))}
    made = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(
        tokenizer_object=made,
        unk_token="<unk>",
        pad_token="<|endoftext|>",
        eos_token="<|im_end|>",
        additional_special_tokens=special,
    )


def write(folder, tensors, shards):
    """Weights dealt to ``shards`` files in turn, with their index."""
    where = {name: number % shards for number, name in enumerate(sorted(tensors))}
    files = [f"model-{number + 1:05d}-of-{shards:05d}.safetensors" for number in range(shards)]
    for number, file in enumerate(files):
        save_file(
            {n: t.contiguous() for n, t in tensors.items() if where[n] == number},
            folder / file,
            metadata={"format": "pt"},
        )
    index = {"metadata": {}, "weight_map": {name: files[i] for name, i in where.items()}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


class Published:
    """A tiny random LLaVA-Video as its authors publish theirs, and the SigLIP it was made of."""

    def __init__(self, folder, side=7, mode="average", inside=True, shards=3, tied=False):
        self.folder, self.vision, self.side, self.mode = folder / "published", None, side, mode
        self.folder.mkdir()
        self.vision = folder / "siglip"
        tower = siglip(self.vision, side)
        reads = tokenizer()
        reads.save_pretrained(self.folder)
        self.config = {
            "architectures": ["LlavaQwenForCausalLM"],
            "model_type": "llava_qwen",
            "vocab_size": len(reads) + 7,  # spare rows, as in the published ones
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_hidden_layers": 4,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "max_position_embeddings": 4096,
            "rms_norm_eps": 1e-6,
            "rope_theta": 5000.0,
            "hidden_act": "silu",
            "use_sliding_window": False,
            "sliding_window": 131072,
            "tie_word_embeddings": tied,
            "bos_token_id": 0,
            "eos_token_id": 2,
            "torch_dtype": "float32",
            "mm_projector_type": "mlp2x_gelu",
            "mm_vision_tower": "somewhere/siglip-tiny",
            "mm_vision_select_layer": -2,
            "mm_newline_position": "grid",
            "mm_patch_merge_type": "spatial_unpad",
            "mm_spatial_pool_mode": mode,
            "mm_spatial_pool_stride": 2,
            "mm_resampler_type": None,
            "add_faster_video": False,
        }
        generator = torch.Generator().manual_seed(1)

        def normal(*shape):
            return torch.randn(shape, generator=generator) * 0.2

        width = self.config["hidden_size"]
        self.tensors = {
            "model.image_newline": normal(width),
            "model.mm_projector.0.weight": normal(width, WIDTH),
            "model.mm_projector.0.bias": normal(width),
            "model.mm_projector.2.weight": normal(width, width),
            "model.mm_projector.2.bias": normal(width),
        }
        self.language = {
            name: normal(*tensor.shape) + (1.0 if "norm" in name else 0.0)
            for name, tensor in Qwen2ForCausalLM(self.text_config()).state_dict().items()
            if not (tied and name == "lm_head.weight")
        }
        self.tensors |= self.language
        self.tower = tower
        if inside:
            # trained on with the rest: not SigLIP's own any more
            self.tower = {
                name: tensor + 0.1 * normal(*tensor.shape) for name, tensor in tower.items()
            }
            self.tensors |= self.tower
        self.save(shards)

    def text_config(self):
        return Qwen2Config(
            **{
                name: value
                for name, value in self.config.items()
                if not name.startswith("mm_")
                and name not in ("architectures", "model_type", "torch_dtype")
            },
            attn_implementation="eager",
        )

    def save(self, shards=3):
        (self.folder / "config.json").write_text(json.dumps(self.config))
        write(self.folder, self.tensors, shards)

    # the reference: plain torch on the published names

    def features(self, pixels):
        """(T, 3, s, s) -> the video's embeddings as a list of vectors, newlines in their places."""
        w = self.tower
        x = F.conv2d(
            pixels,
            w[TOWER + "embeddings.patch_embedding.weight"],
            w[TOWER + "embeddings.patch_embedding.bias"],
            stride=2,
        )
        x = x.flatten(2).mT + w[TOWER + "embeddings.position_embedding.weight"]
        for layer in range(DEPTH - 1):
            x = self.tower_layer(x, f"{TOWER}encoder.layers.{layer}.")
        t = self.tensors
        x = F.linear(x, t["model.mm_projector.0.weight"], t["model.mm_projector.0.bias"])
        x = F.linear(F.gelu(x), t["model.mm_projector.2.weight"], t["model.mm_projector.2.bias"])
        out = []
        for frame in x.view(len(x), self.side, self.side, -1):
            for row in pooled(frame, self.mode):
                out += [*row, t["model.image_newline"]]
        return torch.stack(out)

    def tower_layer(self, x, prefix):
        def linear(name, value):
            return F.linear(
                value, self.tower[f"{prefix}{name}.weight"], self.tower[f"{prefix}{name}.bias"]
            )

        def norm(name, value):
            weight, bias = (self.tower[f"{prefix}{name}.{kind}"] for kind in ("weight", "bias"))
            return F.layer_norm(value, (WIDTH,), weight, bias, 1e-6)

        y = norm("layer_norm1", x)
        q, k, v = (
            linear(f"self_attn.{name}_proj", y).unflatten(2, (HEADS, -1)).transpose(1, 2)
            for name in "qkv"
        )
        weights = (q @ k.mT / math.sqrt(WIDTH // HEADS)).softmax(-1)
        x = x + linear("self_attn.out_proj", (weights @ v).transpose(1, 2).flatten(2))
        y = linear("mlp.fc1", norm("layer_norm2", x))
        return x + linear("mlp.fc2", F.gelu(y, approximate="tanh"))

    @torch.no_grad()
    def logits(self, ids, pixels, placeholder):
        """Next-token logits at every place of a prompt ``ids`` (L,) with one video in it."""
        language = Qwen2ForCausalLM(self.text_config()).eval()
        language.load_state_dict(self.language, strict=not self.config["tie_word_embeddings"])
        places = (ids == placeholder).nonzero().flatten()
        first, last = int(places[0]), int(places[-1])
        assert last - first + 1 == len(places)
        embed = language.get_input_embeddings()
        whole = torch.cat([embed(ids[:first]), self.features(pixels), embed(ids[last + 1 :])])
        assert len(whole) == len(ids)
        return language(inputs_embeds=whole[None]).logits[0]


def pooled(frame, mode):
    """(side, side, d) -> rows of tokens, window by window."""
    side = len(frame)
    if mode == "average":
        return [
            [frame[r : r + 2, c : c + 2].mean((0, 1)) for c in range(0, side - 1, 2)]
            for r in range(0, side - 1, 2)
        ]
    weights = bilinear(side)
    return [
        [torch.einsum("r,c,rcd->d", weights[r], weights[c], frame) for c in range(len(weights))]
        for r in range(len(weights))
    ]


def bilinear(side):
    """(tokens, side) weights: the two patches around each token's center, without antialiasing."""
    tokens = math.ceil(side / 2)
    weights = torch.zeros(tokens, side)
    for token in range(tokens):
        center = max((token + 0.5) * side / tokens - 0.5, 0)
        low = int(center)
        weights[token, low] += 1 - (center - low)
        weights[token, min(low + 1, side - 1)] += center - low
    return weights


@pytest.fixture
def published(tmp_path):
    return Published(tmp_path)


def opened(folder):
    model, found = LlavaVideoForConditionalGeneration.from_pretrained(
        folder, output_loading_info=True
    )
    assert not any(found.values()), found
    return model.eval(), LlavaVideoProcessor.from_pretrained(folder)


def inputs_of(processor, frames, question="what color is the star ?"):
    content = [{"type": "video"}, {"type": "text", "text": question}]
    text = processor.apply_chat_template(
        [{"role": "user", "content": content}], add_generation_prompt=True
    )
    return dict(processor(text=text, videos=[list(frames)], return_tensors="pt"))


# --- the model -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kernel", ["sdpa", "eager"])
@pytest.mark.parametrize(
    "side, mode, inside, tied, shards",
    [
        (7, "average", True, False, 3),
        (7, "bilinear", True, False, 1),
        (8, "average", False, True, 2),
        (27, "average", True, False, 2),
        (27, "bilinear", False, False, 4),
    ],
)
@torch.no_grad()
def test_a_converted_checkpoint_computes_what_the_published_one_does(
    tmp_path, side, mode, inside, tied, shards, kernel
):
    source = Published(tmp_path, side, mode, inside, shards, tied)
    convert(source.folder, tmp_path / "out", vision=source.vision, pool=mode)
    model, processor = opened(tmp_path / "out")
    model.set_attn_implementation(kernel)
    inputs = inputs_of(processor, clip_frames(3))
    ids, pixels = inputs["input_ids"], inputs["pixel_values_videos"]
    tokens = {"average": side // 2, "bilinear": math.ceil(side / 2)}[mode]
    placeholder = processor.video_token_id
    assert model.config.video_token_id == placeholder
    assert int((ids == placeholder).sum()) == 3 * tokens * (tokens + 1)
    expected = source.logits(ids[0], pixels[0], placeholder)
    torch.testing.assert_close(model(**inputs).logits[0], expected, atol=1e-5, rtol=1e-5)
    out = model.generate(
        **inputs,
        do_sample=False,
        max_new_tokens=3,
        min_new_tokens=3,
        return_dict_in_generate=True,
        output_logits=True,
    )
    for step, logits in enumerate(out.logits):
        so_far = out.sequences[0, : ids.shape[1] + step]
        torch.testing.assert_close(
            logits[0], source.logits(so_far, pixels[0], placeholder)[-1], atol=1e-5, rtol=1e-5
        )


@torch.no_grad()
def test_the_tower_is_read_before_its_last_layer(published, tmp_path):
    """Another layer's output is another model: the reference would notice."""
    convert(published.folder, tmp_path / "out", vision=published.vision)
    model, processor = opened(tmp_path / "out")
    assert len(model.get_encoder(modality="image").encoder.layers) == DEPTH - 1
    inputs = inputs_of(processor, clip_frames(1))
    ids, pixels = inputs["input_ids"][0], inputs["pixel_values_videos"][0]
    right = model(**inputs).logits[0]
    model.config.vision_feature_layer = -2
    earlier = model(**inputs).logits[0]
    expected = published.logits(ids, pixels, processor.video_token_id)
    assert (right - expected).abs().max() < 1e-5 < (earlier - expected).abs().max()


@torch.no_grad()
def test_every_row_of_tokens_ends_in_the_newline(published, tmp_path):
    convert(published.folder, tmp_path / "out", vision=published.vision)
    model, processor = opened(tmp_path / "out")
    inputs = inputs_of(processor, clip_frames(2))
    seen = []
    handle = model.get_decoder().register_forward_pre_hook(
        lambda module, args, kwargs: seen.append(kwargs["inputs_embeds"]), with_kwargs=True
    )
    model(**inputs)
    handle.remove()
    places = inputs["input_ids"][0] == processor.video_token_id
    lines = seen[0][0, places].view(2 * 3, 4, -1)
    newline = published.tensors["model.image_newline"]
    same = (lines == newline).all(-1)
    assert same[:, 3].all() and not same[:, :3].any()


@pytest.mark.parametrize(
    "image, patch, mode, tokens",
    [(14, 2, "average", 3), (384, 14, "average", 13), (384, 14, "bilinear", 14)],
)
@torch.no_grad()
def test_a_painted_patch_answers_in_its_cell(image, patch, mode, tokens):
    """The way from patch to token, by perturbation, with attention switched off in the tower."""
    config = LlavaVideoConfig(
        vision_config=SiglipVisionConfig(
            hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1,
            image_size=image, patch_size=patch, vision_use_head=False,
        ),
        text_config=Qwen2Config(
            vocab_size=8, hidden_size=8, intermediate_size=8, num_hidden_layers=1,
            num_attention_heads=1, num_key_value_heads=1,
        ),
        spatial_pool_mode=mode,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        body = LlavaVideoForConditionalGeneration(config).model.eval()
    for weight in body.vision_tower.encoder.layers[0].self_attn.out_proj.parameters():
        weight.zero_()
    side = image // patch
    if mode == "average":
        reads = torch.zeros(tokens, side)
        for token in range(tokens):
            reads[token, 2 * token : 2 * token + 2] = 0.5
    else:
        reads = bilinear(side)
    assert config.tokens_per_side == tokens
    corners = {0, 1, side // 2, side - 2, side - 1}
    pixels = torch.zeros(1, 1 + len(corners) ** 2, 3, image, image)
    painted = [(row, col) for row in corners for col in corners]
    for number, (row, col) in enumerate(painted, start=1):
        area = slice(row * patch, (row + 1) * patch), slice(col * patch, (col + 1) * patch)
        pixels[0, number][:, area[0], area[1]] = 1.0
    features = body.get_video_features(pixels).pooler_output[0]
    if len(features) % (tokens + 1):  # transformers 5.10 adds the last newline after this call
        features = torch.cat([features, body.image_newline[None]])
    blank, *rest = features.view(len(pixels[0]), tokens, tokens + 1, -1)[:, :, :tokens]
    for (row, col), frame in zip(painted, rest, strict=True):
        changed = (frame - blank).abs().amax(-1) > 1e-7
        expected = torch.outer(reads[:, row], reads[:, col]) > 0
        assert torch.equal(changed, expected), (row, col)
        assert mode == "bilinear" or side - 1 not in (row, col) or not changed.any()


def test_the_published_size_is_right():
    """27 layers of SigLIP so400m less one, and Qwen2-7B: 16.06 GB of bf16, as on the model hub."""
    tower = _tower({"mm_vision_tower": "google/siglip-so400m-patch14-384"}, None)
    stock = LlavaOnevisionConfig().vision_config  # LLaVA-OneVision has the same one
    for name in (
        "hidden_size",
        "intermediate_size",
        "num_hidden_layers",
        "num_attention_heads",
        "image_size",
        "patch_size",
        "hidden_act",
        "layer_norm_eps",
    ):
        assert getattr(tower, name) == getattr(stock, name), name
    config = LlavaVideoConfig(
        vision_config=tower,
        text_config=Qwen2Config(
            vocab_size=152064,
            hidden_size=3584,
            intermediate_size=18944,
            num_hidden_layers=28,
            num_attention_heads=28,
            num_key_value_heads=4,
        ),
    )
    with torch.device("meta"):
        model = LlavaVideoForConditionalGeneration(config)
    size = 2 * sum(tensor.numel() for tensor in model.state_dict().values())
    assert round(size / 1e9, 2) == 16.06
    assert config.tokens_per_side == 13
    assert LlavaVideoConfig(spatial_pool_mode="bilinear").tokens_per_side == 14


# --- the processor -------------------------------------------------------------------------------


def test_the_prompt_is_chatml_and_a_question_stays_text(published, tmp_path):
    convert(published.folder, tmp_path / "out", vision=published.vision)
    processor = LlavaVideoProcessor.from_pretrained(tmp_path / "out")
    asked = time_instruction([0.0, 1.5], 3.0) + "\nwhat color is the star ?"
    message = {"role": "user", "content": [{"type": "video"}, {"type": "text", "text": asked}]}
    assert processor.apply_chat_template([message], add_generation_prompt=True) == (
        "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
        "<|im_start|>user\n<video>\nThe video lasts for 3.00 seconds, and 2 frames are uniformly "
        "sampled from it. These frames are located at 0.00s,1.50s. Please answer the following "
        "questions related to this video.\nwhat color is the star ?<|im_end|>\n"
        "<|im_start|>assistant\n"
    )
    ids = processor.tokenizer.encode("<video> <image>", split_special_tokens=True)
    assert not {processor.video_token_id, processor.tokenizer.vocab_size} & set(ids)


def test_two_videos_each_get_their_own_placeholders(published, tmp_path):
    convert(published.folder, tmp_path / "out", vision=published.vision)
    processor = LlavaVideoProcessor.from_pretrained(tmp_path / "out")
    videos = [torch.zeros(frames, 3, 14, 14, dtype=torch.uint8) for frames in (1, 3)]
    found = processor(text=["star <video> circle <video> star"], videos=videos)
    star, circle = processor.tokenizer.convert_tokens_to_ids(["star", "circle"])
    letters = {star: "s", circle: "c", processor.video_token_id: "v"}
    read = "".join(letters[token] for token in found["input_ids"][0])
    assert read == "s" + 12 * "v" + "c" + 36 * "v" + "s"
    with pytest.raises(ValueError, match="has 1 <video> but 2 videos"):
        processor(text="<video>", videos=videos)
    with pytest.raises(ValueError, match="has 1 <video> but 0 videos"):
        processor(text="<video>")
    with pytest.raises(ValueError, match="no images beside"):
        processor(text="<image>", images=[np.zeros((14, 14, 3), np.uint8)])


def test_pictures_are_refused_by_the_model(published, tmp_path):
    convert(published.folder, tmp_path / "out", vision=published.vision)
    model, _ = opened(tmp_path / "out")
    with pytest.raises(ValueError, match="no images beside"):
        model(
            input_ids=torch.tensor([[model.config.image_token_id]]),
            pixel_values=torch.zeros(1, 1, 3, 14, 14),
            image_sizes=torch.tensor([[14, 14]]),
        )


# --- conversion ----------------------------------------------------------------------------------


def test_conversion_on_the_command_line(published, tmp_path):
    arguments = ["convert", str(published.folder), str(tmp_path / "out")]
    done = CliRunner().invoke(cli, [*arguments, "--vision", str(published.vision)])
    assert done.exit_code == 0, done.stderr
    assert "3 x 3 tokens and 3 newlines a frame, by average pooling (its config" in done.stdout
    again = CliRunner().invoke(cli, arguments)
    assert again.exit_code == 2 and "exists already" in again.stderr
    other = CliRunner().invoke(
        cli,
        [
            *arguments[:2],
            str(tmp_path / "b"),
            "--vision",
            str(published.vision),
            "--pool",
            "bilinear",
        ],
    )
    assert "4 x 4 tokens and 4 newlines a frame, by bilinear pooling" in other.stdout
    assert LlavaVideoConfig.from_pretrained(tmp_path / "b").spatial_pool_mode == "bilinear"


def test_average_pooling_is_the_default_whatever_the_config_says(tmp_path):
    """As published evaluations run it: 64 frames are 10,816 tokens of 13 x 13."""
    source = Published(tmp_path, 27, "bilinear")
    config = source.config | {"max_position_embeddings": 32768}
    (source.folder / "config.json").write_text(json.dumps(config))
    arguments = ["convert", str(source.folder), str(tmp_path / "out")]
    done = CliRunner().invoke(cli, [*arguments, "--vision", str(source.vision)])
    assert "13 x 13 tokens" in done.stdout
    assert "by average pooling (its config says bilinear)" in done.stdout
    vlm = load(tmp_path / "out", device="cpu")
    prompt = build_prompt(vlm, np.zeros((64, 28, 56, 3), np.uint8), "what is it", 8, strict=False)
    assert prompt.video_tokens == 10_816 and len(prompt.layout.extras) == 64 * 13


@pytest.mark.parametrize("told", [True, False, None])
def test_frame_times_are_told_where_the_model_was_tuned_on_them(tmp_path, told):
    source = Published(tmp_path)
    config = source.config if told is None else source.config | {"add_time_instruction": told}
    (source.folder / "config.json").write_text(json.dumps(config))
    convert(source.folder, tmp_path / "out", vision=source.vision)
    assert load(tmp_path / "out", device="cpu").times == bool(told)


def test_a_checkpoint_of_the_hub_is_fetched_and_converted(published, tmp_path, monkeypatch):
    constants, name = huggingface_hub.constants, "lmms-lab/LLaVA-Video-7B-Qwen2"
    with serving() as server:
        server.models[name] = published.folder
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        form = constants.HUGGINGFACE_CO_URL_TEMPLATE.replace(constants.ENDPOINT, server.url)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", form)
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        said = []
        convert(
            name,
            tmp_path / "out",
            vision=published.vision,
            on_download=lambda *told: said.append(told),
        )
        with pytest.raises(InputError, match="there is no model 'lmms-lab/none' on the model hub"):
            convert("lmms-lab/none", tmp_path / "other", vision=published.vision)
    assert [told for told, _ in said] == [name]
    assert load(tmp_path / "out", device="cpu").family.name == "LLaVA-Video"
    assert not (tmp_path / "other").exists()


def test_weights_arrive_bit_for_bit_and_shard_by_shard(published, tmp_path):
    steps = []
    convert(
        published.folder,
        tmp_path / "out",
        vision=published.vision,
        progress=lambda stage, share: steps.append(
            sorted(path.name for path in tmp_path.glob(".out.unfinished/*.safetensors"))
        ),
    )
    assert [len(names) for names in steps] == [1, 2, 3]
    stored = {}
    for file in sorted((tmp_path / "out").glob("*.safetensors")):
        stored |= load_file(file)
    assert len(stored) == len(published.tensors)
    assert sorted(tensor.double().sum().item() for tensor in stored.values()) == sorted(
        tensor.double().sum().item() for tensor in published.tensors.values()
    )
    index = json.loads((tmp_path / "out/model.safetensors.index.json").read_text())
    assert set(index["weight_map"]) == set(stored)
    assert index["metadata"]["total_size"] == sum(tensor.nbytes for tensor in stored.values())


def test_a_single_file_without_an_index_is_enough(published, tmp_path):
    for file in published.folder.glob("model*"):
        file.unlink()
    save_file(published.tensors, published.folder / "model.safetensors")
    convert(published.folder, tmp_path / "out", vision=published.vision)
    opened(tmp_path / "out")


def shard(published, number=2):
    return published.folder / f"model-{number:05d}-of-00003.safetensors"


def truncate(file):
    file.write_bytes(file.read_bytes()[:-9])


BREAKS = {
    "shard gone": (lambda p: shard(p).unlink(), r"model-00002-of-00003.safetensors is missing"),
    "shard cut": (lambda p: truncate(shard(p)), "damaged or half downloaded"),
    "config gone": (lambda p: (p.folder / "config.json").unlink(), "config.json is missing"),
    "config cut": (lambda p: (p.folder / "config.json").write_text("{"), "is damaged"),
    "no weights": (
        lambda p: [file.unlink() for file in p.folder.glob("model*")],
        "neither model.safetensors nor",
    ),
    "index empty": (
        lambda p: (p.folder / "model.safetensors.index.json").write_text("{}"),
        "index.json is damaged",
    ),
    "index of another kind": (
        lambda p: (p.folder / "model.safetensors.index.json").write_text("[1]"),
        "index.json is damaged",
    ),
    "tokenizer gone": (
        lambda p: [file.unlink() for file in p.folder.glob("tokenizer*")],
        "tokenizer .* missing or damaged",
    ),
}


@pytest.mark.parametrize("name", BREAKS)
def test_a_broken_checkpoint_is_one_sentence(published, tmp_path, name):
    breaks, sentence = BREAKS[name]
    breaks(published)
    fails(published, tmp_path, sentence)


def fails(published, tmp_path, sentence, **options):
    options.setdefault("vision", published.vision)
    with pytest.raises(InputError, match=sentence) as error:
        convert(published.folder, tmp_path / "out", **options)
    assert "\n" not in str(error.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["published", "siglip"]


CHANGES = {
    "mm_newline_position": ("frame", "mm_newline_position = 'frame'"),
    "mm_vision_select_layer": (-1, "mm_vision_select_layer = -1"),
    "mm_projector_type": ("linear", "mm_projector_type = 'linear'"),
    "add_faster_video": (True, r"is slow-fast \(add_faster_video = True\)"),
    "mm_spatial_pool_mode": ("max", "not by 'max'"),
    "mm_spatial_pool_stride": (8, "7 x 7 patches cannot be pooled by 8"),
    "architectures": (["LlavaLlamaForCausalLM"], "not a published LLaVA-Video"),
    "hidden_size": (64, "has the shape .* its config says"),
    "num_hidden_layers": (5, r"lacks weights: model.layers.4\..* and 9 more"),
    "vocab_size": (10, "no room"),
    "num_attention_heads": ("four", "settings in config.json are not those"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_another_kind_of_checkpoint_is_one_sentence(published, tmp_path, name):
    value, sentence = CHANGES[name]
    published.config[name] = value
    published.save()
    fails(published, tmp_path, sentence)


def test_missing_unknown_and_doubled_weights_are_named(published, tmp_path):
    whole = dict(published.tensors)
    del published.tensors["model.layers.1.mlp.up_proj.weight"]
    published.save()
    fails(published, tmp_path, "lacks weights: model.layers.1.mlp.up_proj.weight;")
    published.tensors = whole | {"model.faster_token": torch.zeros(32)}
    published.save()
    fails(published, tmp_path, "no LLaVA-Video has: model.faster_token;")
    published.tensors = whole | {"extra.one": torch.zeros(2), "extra.two": torch.zeros(2)}
    published.save()
    fails(published, tmp_path, "no LLaVA-Video has: extra.one, extra.two;")
    published.tensors = whole
    published.save()
    free = next(n for n in (1, 2) if "lm_head.weight" not in load_file(shard(published, n)))
    double = load_file(shard(published, free)) | {"lm_head.weight": whole["lm_head.weight"]}
    save_file(double, shard(published, free))
    fails(published, tmp_path, "has weights twice: lm_head.weight;")


def test_a_tower_that_is_elsewhere_is_asked_for(tmp_path):
    source = Published(tmp_path, inside=False)
    fails(source, tmp_path, "'siglip-tiny' .* pass the folder of that SigLIP", vision=None)
    source.config["mm_vision_tower"] = "google/siglip-so400m-patch14-384"
    source.save()
    fails(source, tmp_path, "does not hold its vision tower; .* --vision", vision=None)
    fails(source, tmp_path, "is not a SigLIP model", vision=source.folder)
    fails(source, tmp_path, "config.json is missing", vision=tmp_path / "nowhere")
    (source.vision / "model.safetensors").unlink()
    fails(source, tmp_path, "neither model.safetensors nor")


@pytest.mark.parametrize("failure", [KeyboardInterrupt, ArithmeticError])
def test_a_failure_half_way_leaves_nothing(published, tmp_path, failure):
    def stop(stage, share):
        assert list(tmp_path.glob(".out*"))  # it is half-way indeed
        raise failure

    with pytest.raises(failure):
        convert(published.folder, tmp_path / "out", vision=published.vision, progress=stop)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["published", "siglip"]


def test_what_a_killed_conversion_left_is_replaced(published, tmp_path):
    (tmp_path / ".out.unfinished").mkdir()
    (tmp_path / ".out.unfinished/junk").write_text("")
    convert(published.folder, tmp_path / "out", vision=published.vision)
    assert not list(tmp_path.glob(".out*")) and not (tmp_path / "out/junk").exists()


def test_a_target_that_cannot_be_is_one_sentence(published, tmp_path):
    (tmp_path / "out").mkdir()
    with pytest.raises(InputError, match="exists already"):
        convert(published.folder, tmp_path / "out", vision=published.vision)
    assert not list((tmp_path / "out").iterdir())
    with pytest.raises(InputError, match="could not be written .Not a directory"):
        convert(published.folder, published.folder / "config.json/out", vision=published.vision)


def test_a_write_that_fails_leaves_nothing(published, tmp_path):
    """Files are limited to 8 kB meanwhile, as a full disk would."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8192, hard))
    try:
        fails(published, tmp_path, "could not be written .*File too large.*nothing of it is left")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_room_on_the_disk_is_looked_at_first(tmp_path):
    _check_room(tmp_path / "new/out", 1000)
    with pytest.raises(InputError, match="1000000000.0 GB and its disk has .* GB free; make room"):
        _check_room(tmp_path / "new/out", 10**18)


# --- with the rest of the package ----------------------------------------------------------------


@pytest.fixture
def vlm(published, tmp_path):
    convert(published.folder, tmp_path / "out", vision=published.vision)
    return load(tmp_path / "out", device="cpu")


def clip(frames=4, height=28, width=56):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (frames, height, width, 3)).astype(np.uint8)
    return Video(
        pixels, np.arange(frames) * 0.5, "clip.mp4", frames * 0.5, frames, 2.0, (height, width)
    )


def masked_logits(model, embeds, gone, gone_later, layer):
    """Last-token logits at full length without a cache; two sets of places are looked at by none.

    The first set from the beginning, the second after decoder layer ``layer``.
    """
    decoder, length = model.get_decoder(), len(embeds)

    def mask(unseen):
        seen = torch.ones(length, length, dtype=torch.bool).tril()
        seen[:, unseen] = False
        seen |= torch.eye(length, dtype=torch.bool)  # a hidden row needs something to look at
        return torch.zeros(1, 1, length, length).masked_fill(~seen, torch.finfo(torch.float32).min)

    hidden = embeds[None]
    rotary = decoder.rotary_emb(hidden, torch.arange(length)[None])
    for index, block in enumerate(decoder.layers):
        unseen = gone if layer is None or index <= layer else gone_later
        hidden = block(hidden, attention_mask=mask(unseen), position_embeddings=rotary)
    return model.lm_head(decoder.norm(hidden))[0, -1]


@pytest.mark.parametrize("method", [Uniform(retention=0.2), FastV(layer=1, retention=0.15)])
@torch.no_grad()
def test_a_rows_newline_stays_while_the_row_keeps_a_token(published, vlm, method):
    inputs = inputs_of(vlm.processor, clip_frames(4))
    with compress(vlm.model, method) as trace:
        logits = vlm.model.generate(
            **inputs,
            do_sample=False,
            max_new_tokens=1,
            output_logits=True,
            return_dict_in_generate=True,
        ).logits[0][0]
    assert (trace.grid.frames, trace.grid.rows, trace.grid.cols) == (4, 3, 3)
    ids = inputs["input_ids"][0]
    places = (ids == vlm.processor.video_token_id).nonzero().flatten().view(4 * 3, 4)
    gone, rows_left = [], []
    for stage in ("outside", "inside"):
        found = trace.stage(stage)
        alive = np.zeros(trace.grid.size, bool)
        alive[found.survivors if found is not None else trace.survivors] = True
        places_gone, left = [], 0
        for row, keeps in zip(places.tolist(), alive.reshape(4 * 3, 3), strict=True):
            places_gone += [place for place, keep in zip(row[:3], keeps, strict=True) if not keep]
            if keeps.any():
                left += 1
            else:
                places_gone.append(row[3])
        gone.append(places_gone)
        rows_left.append(left)
    assert rows_left[-1] < 12 and len(gone[-1]) > trace.grid.size - len(trace.survivors)
    embeds = vlm.model.get_input_embeddings()(ids)
    embeds[places.flatten()] = published.features(inputs["pixel_values_videos"][0])
    layer = None if trace.stage("inside") is None else trace.stage("inside").layer
    expected = masked_logits(vlm.model, embeds, *gone, layer)
    torch.testing.assert_close(logits, expected, atol=1e-5, rtol=1e-5)
    counts = [12, rows_left[0], *([rows_left[1]] if layer is not None else [])]
    assert any(f": {' -> '.join(map(str, counts))};" in note for note in trace.notes)


def test_load_and_answer(vlm):
    assert type(vlm.model) is LlavaVideoForConditionalGeneration
    assert (vlm.frames, vlm.family.name, vlm.name) == (64, "LLaVA-Video", "out")
    said = answer(vlm, clip(), "what color is the star?", STC(retention=0.2), baseline=True)
    assert said.trace.alive() == [36, 7, 4]
    rows = {survivor // 3 for survivor in said.trace.stage("outside").survivors}
    plain = build_prompt(vlm, clip().frames, "what color is the star?", 8)
    assert plain.text_tokens == plain.inputs["input_ids"].shape[1] - 36
    assert said.trace.baseline["costs"]["text_tokens"] == plain.text_tokens
    assert said.trace.costs["text_tokens"] == plain.text_tokens - 12 + len(rows)
    assert said.trace.contribution.shape == (36,) and said.trace.contribution.min() > 0


def test_the_times_are_told_when_asked_for(vlm):
    video, question = clip(), "what color is the star?"
    quiet = build_prompt(vlm, video.frames, question, 8, seconds=video.seconds)
    vlm.times = True
    told = build_prompt(vlm, video.frames, question, 8, seconds=video.seconds)
    tokenizer = vlm.processor.tokenizer
    sentence = tokenizer(time_instruction(video.seconds, 2.0))["input_ids"]
    ids, short = told.inputs["input_ids"][0].tolist(), quiet.inputs["input_ids"][0].tolist()
    last = max(place for place, token in enumerate(ids) if token == vlm.processor.video_token_id)
    assert ids == [*short[: last + 1], *sentence, *short[last + 1 :]]
    assert [ids[place] for place in told.asked] == [short[place] for place in quiet.asked]


@pytest.mark.parametrize("frames", [1, 2, 8])
def test_the_duration_that_is_told_is_the_videos_own(vlm, tmp_path, frames, monkeypatch):
    path = write_clip(tmp_path / "a.mp4", range(0, 8000, 250), rate=Fraction(4))
    video, question, vlm.times = read_video(path, frames), "what color is the star?", True
    sentence = time_instruction(video.seconds, 8.0)
    assert f"lasts for 8.00 seconds, and {frames} frames" in sentence
    ids, prompts = vlm.processor.tokenizer(sentence)["input_ids"], []

    def kept(*args, **kwargs):
        prompts.append(build_prompt(*args, **kwargs))
        return prompts[-1]

    monkeypatch.setattr(asked, "build_prompt", kept)
    answer(vlm, path, question, frames=frames, max_new_tokens=1)
    found = prompts[0].inputs["input_ids"][0].tolist()
    assert any(found[at : at + len(ids)] == ids for at in range(len(found)))


@pytest.mark.parametrize("frames", [1, 2, 8])
def test_processors_are_told_the_videos_own_duration(frames):
    seconds = np.linspace(0, 7.75, frames)
    told = _metadata(np.zeros((frames, 4, 4, 3), np.uint8), seconds, 8.0)
    assert (told.duration, told.total_num_frames, told.fps) == (8.0, 8000, 1000.0)
    assert told.sampled_fps == pytest.approx(frames / 8)  # Qwen's spacing of a time step
    assert told.frames_indices == [round(1000 * second) for second in seconds]


@pytest.mark.parametrize("mode", ["average", "bilinear"])
@torch.no_grad()
def test_a_bright_patch_lies_in_the_box_of_its_cell(tmp_path, mode):
    """From the pixels of the source through the contribution's pooling to the trace's geometry."""
    source = Published(tmp_path, side=9, mode=mode)
    convert(source.folder, tmp_path / "out", vision=source.vision, pool=mode)
    vlm = load(tmp_path / "out", device="cpu")
    height, width = 180, 360  # a patch is 20 x 40 pixels of the source
    cells = vlm.family.cell_shape(vlm.model.config)
    grid = TokenGrid(1, *cells, height, width, vlm.family.seen(vlm.processor, height, width))
    side = 4 if mode == "average" else 5
    assert cells == (side, side)
    for row, col in np.ndindex(9, 9):
        scores = torch.zeros(1, 81)
        scores[0, row * 9 + col] = 1
        found = to_grid(vlm.model, vlm.family, scores, cells)[0].view(cells)
        where = grid.cell_at((row + 0.5) * 20, (col + 0.5) * 40)
        if mode == "average" and 8 in (row, col):
            assert where is None and not found.any()
        else:
            brightest = {tuple(cell) for cell in (found == found.max()).nonzero().tolist()}
            assert where in brightest
