"""Convert a published LLaVA-Video checkpoint into one that ``stc_core.load`` opens."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from transformers import (
    AutoTokenizer,
    GenerationConfig,
    LlavaOnevisionVideoProcessor,
    Qwen2Config,
    SiglipVisionConfig,
)

from stc_core.errors import InputError
from stc_core.models.checkpoint import some
from stc_core.models.hub import announce, find
from stc_core.models.llava_video.model import (
    LlavaVideoConfig,
    LlavaVideoForConditionalGeneration,
    checked_pool,
)
from stc_core.models.llava_video.processor import (
    CHAT_TEMPLATE,
    FRAMES,
    IMAGE,
    VIDEO,
    LlavaVideoProcessor,
)
from stc_core.writing import written_folder

TOWERS = {  # mm_vision_tower -> its config; the published checkpoints only name it
    "siglip-so400m-patch14-384": {
        "hidden_size": 1152,
        "intermediate_size": 4304,
        "num_hidden_layers": 27,
        "num_attention_heads": 16,
        "image_size": 384,
        "patch_size": 14,
    }
}
# name in config.json -> (what this adapter computes, what the published code takes if it is absent)
SUPPORTED = {
    "mm_projector_type": ("mlp2x_gelu", "linear"),
    "mm_vision_select_layer": (-2, -2),
    "mm_newline_position": ("grid", "one_token"),
    "mm_resampler_type": (None, None),
}
TEXT_SETTINGS = (
    "vocab_size hidden_size intermediate_size num_hidden_layers num_attention_heads "
    "num_key_value_heads hidden_act max_position_embeddings initializer_range rms_norm_eps "
    "rope_theta rope_scaling attention_dropout use_sliding_window sliding_window "
    "max_window_layers tie_word_embeddings bos_token_id eos_token_id pad_token_id use_cache"
).split()
TOWER = "model.vision_tower."
RENAMED = {  # published prefix -> ours; the first that fits
    "model.vision_tower.vision_tower.vision_model.": TOWER,
    "model.mm_projector.0.": "model.multi_modal_projector.linear_1.",
    "model.mm_projector.2.": "model.multi_modal_projector.linear_2.",
    "model.image_newline": "model.image_newline",
    "model.": "model.language_model.",
    "lm_head.": "lm_head.",
}


def convert(
    source: Path | str,
    target: Path | str,
    *,
    vision: Path | str | None = None,
    pool: str = "average",
    progress: Callable[[str, float], None] = lambda stage, share: None,
    on_download: Callable[[str, int], None] | None = announce,
) -> LlavaVideoConfig:
    """Turn a published LLaVA-Video checkpoint into one that ``stc_core.load`` opens.

    Everything is checked before the first byte is written: each weight of the source is used once
    and each of the target is there, in its shape. One shard is in memory at a time. The folder
    appears under its name when it is whole, or not at all.

    Parameters
    ----------
    source
        Hub id such as "lmms-lab/LLaVA-Video-7B-Qwen2", which is downloaded, or a folder like it:
        config.json ("architectures": ["LlavaQwenForCausalLM"]), tokenizer, safetensors with or
        without an index.
    target
        Folder to make; must not exist.
    vision
        Folder of the SigLIP model that was the vision tower: its config is used, and its weights
        where the checkpoint holds none. The published code reads ``hidden_states[-2]`` of the
        tower, so its last layer and its pooling head are left out.
    pool
        "average", 13 x 13 tokens a frame, as the published evaluations set it whatever the config
        says, or "bilinear", 14 x 14. What the config says is kept in ``stc["published_pool"]``.
    progress
        Called with "converting" and the share done.
    on_download
        Of a hub id, as for ``load``.

    Returns
    -------
    LlavaVideoConfig
        As it is in ``target``.

    Raises
    ------
    InputError
        Not such a checkpoint, a missing or damaged shard, missing or unexpected weights, a target
        that exists, a disk that is full.
    """
    target = Path(target).resolve()
    vision = None if vision is None else Path(vision)
    if target.exists():
        raise InputError(f"{target} exists already; choose another folder, or remove it first")
    source = _source(source, on_download)
    config = _config(_read_json(source, "config.json"), vision, pool)
    processor = _processor(source, config)
    plan = _plan(source, vision, config)
    _check_room(target, sum(file.stat().st_size for file in plan))
    with _whole_or_nothing(target) as fresh:
        total = 0
        weights: dict[str, str] = {}
        for number, (file, names) in enumerate(plan.items(), start=1):
            shard = f"model-{number:05d}-of-{len(plan):05d}.safetensors"
            with safe_open(file, "pt") as stored:
                tensors = {ours: stored.get_tensor(name) for name, ours in names.items()}
            save_file(tensors, fresh / shard, metadata={"format": "pt"})
            total += sum(tensor.nbytes for tensor in tensors.values())
            weights |= dict.fromkeys(tensors, shard)
            progress("converting", number / len(plan))
        index = {"metadata": {"total_size": total}, "weight_map": weights}
        (fresh / "model.safetensors.index.json").write_text(json.dumps(index, indent=1))
        config.save_pretrained(fresh)
        processor.save_pretrained(fresh)
        generation = source / "generation_config.json"
        if generation.is_file():
            shutil.copyfile(generation, fresh / generation.name)
        else:
            GenerationConfig.from_model_config(config).save_pretrained(fresh)
    return config


def _source(name: Path | str, on_download: Callable[[str, int], None] | None) -> Path:
    """Return the folder of a checkpoint; fetch it where the name is one of the hub's."""
    folder, words = Path(name).expanduser(), str(name)
    here = isinstance(name, Path) or words.startswith((".", "/", "~")) or words.count("/") != 1
    if folder.is_dir() or here:
        return folder
    return find(words).fetch(on_download)


@contextmanager
def _whole_or_nothing(target: Path) -> Iterator[Path]:
    """Yield a folder that appears whole or not at all; turn errors into one sentence."""
    try:
        with written_folder(target) as fresh:
            yield fresh
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(
            f"{target} could not be written ({reason}); nothing of it is left"
        ) from error


def _check_room(target: Path, size: int) -> None:
    free = shutil.disk_usage(next(path for path in target.parents if path.exists())).free
    if free < size:
        raise InputError(
            f"{target} needs {size / 1e9:.1f} GB and its disk has {free / 1e9:.1f} GB free; "
            f"make room, or choose another disk"
        )


def _read_json(folder: Path, name: str) -> dict:
    try:
        return dict(json.loads((folder / name).read_text()))
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(
            f"{folder} is no checkpoint folder: {name} is missing; download the model first"
        ) from None
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"{folder / name} is damaged; download it again") from error


def _config(published: dict, vision: Path | None, pool: str) -> LlavaVideoConfig:
    """Make the config of the converted model; refuse what the adapter does not compute."""
    if "LlavaQwenForCausalLM" not in (published.get("architectures") or ()):
        raise InputError(
            f"this is a {published.get('model_type', 'model of unknown type')!r} checkpoint, not "
            f"a published LLaVA-Video (LlavaQwenForCausalLM); only that needs conversion"
        )
    if published.get("add_faster_video"):
        raise InputError(
            "this checkpoint is slow-fast (add_faster_video = True): a second, coarser stream of "
            "frames follows the first, which the converted model does not have; convert one "
            "without, such as lmms-lab/LLaVA-Video-7B-Qwen2"
        )
    for name, (wanted, absent) in SUPPORTED.items():
        if published.get(name, absent) != wanted:
            raise InputError(
                f"this checkpoint has {name} = {published.get(name, absent)!r}; "
                f"only {wanted!r}, as in the published LLaVA-Video, can be converted"
            )
    told = checked_pool(published.get("mm_spatial_pool_mode") or "bilinear")
    text = {name: published[name] for name in TEXT_SETTINGS if name in published}
    try:
        config = LlavaVideoConfig(
            vision_config=_tower(published, vision),
            text_config=Qwen2Config(**text),
            vision_feature_layer=-1,
            vision_feature_select_strategy="full",
            tie_word_embeddings=published.get("tie_word_embeddings", False),
            spatial_pool_mode=pool,
            spatial_pool_stride=published.get("mm_spatial_pool_stride") or 2,
            dtype=published.get("torch_dtype", "bfloat16"),
            architectures=[LlavaVideoForConditionalGeneration.__name__],
        )
    except InputError:
        raise
    except Exception as error:  # the library's validation raises types of its own
        raise InputError(
            "the settings in config.json are not those of a Qwen2 model with a SigLIP tower; "
            "download it again"
        ) from error
    config.stc = {
        "frames": FRAMES,
        "published_pool": told,
        "times": bool(published.get("add_time_instruction", False)),
    }
    return config


def _tower(published: dict, vision: Path | None) -> SiglipVisionConfig:
    """Make the config of the tower without its last layer and head, which nothing reads."""
    name = str(published.get("mm_vision_tower", "")).rstrip("/").split("/")[-1]
    if vision is not None:
        settings = _read_json(vision, "config.json")
        settings = settings.get("vision_config", settings)
        if not str(settings.get("model_type", "")).startswith("siglip"):
            raise InputError(f"{vision} is not a SigLIP model; pass the folder of {name!r}")
    elif name in TOWERS:
        settings = TOWERS[name]
    else:
        raise InputError(
            f"the vision tower {name!r} of this checkpoint is not one this program knows; "
            f"pass the folder of that SigLIP model as --vision"
        )
    whole = SiglipVisionConfig(**settings)
    whole.num_hidden_layers -= 1
    whole.vision_use_head = False
    return whole


def _processor(source: Path, config: LlavaVideoConfig) -> LlavaVideoProcessor:
    """Load the tokenizer, add the two placeholders and write their ids into ``config``."""
    try:
        tokenizer = AutoTokenizer.from_pretrained(source)
    except Exception as error:  # tokenizers raises types of its own
        raise InputError(
            f"the tokenizer in {source} is missing or damaged; download it again"
        ) from error
    tokenizer.add_tokens([IMAGE, VIDEO], special_tokens=True)
    config.image_token_id = tokenizer.convert_tokens_to_ids(IMAGE)
    config.video_token_id = tokenizer.convert_tokens_to_ids(VIDEO)
    rows = config.text_config.vocab_size
    if max(config.image_token_id, config.video_token_id) >= rows:
        raise InputError(
            f"the embedding has {rows} rows and the tokenizer {len(tokenizer)} entries with the "
            f"placeholder of a video; this checkpoint leaves no room for it"
        )
    side = config.vision_config.image_size
    half = (0.5, 0.5, 0.5)  # pixels reach SigLIP in -1..1
    pixels = LlavaOnevisionVideoProcessor(
        size={"height": side, "width": side}, image_mean=half, image_std=half
    )
    return LlavaVideoProcessor(
        pixels, tokenizer, config.tokens_per_side, config.covered, CHAT_TEMPLATE
    )


def _plan(
    source: Path, vision: Path | None, config: LlavaVideoConfig
) -> dict[Path, dict[str, str]]:
    """Return {file: {name in it: our name}}; every weight of the model once, in its shape."""
    with torch.device("meta"):
        model = LlavaVideoForConditionalGeneration(config)
    needed = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    if config.tie_word_embeddings:
        del needed["lm_head.weight"]
    renamed: dict[str | None, list[tuple[Path, str, tuple[int, ...]]]] = {}
    unexpected: list[str] = []
    for file, shapes in _stored(source).items():
        for name, shape in shapes.items():
            prefix = next((prefix for prefix in RENAMED if name.startswith(prefix)), None)
            ours = None if prefix is None else RENAMED[prefix] + name[len(prefix) :]
            if ours not in needed and not _unread(ours, config):
                unexpected.append(name)
            renamed.setdefault(ours, []).append((file, name, shape))
    if vision is not None and not any((name or "").startswith(TOWER) for name in renamed):
        for file, shapes in _stored(vision).items():
            for name, shape in shapes.items():
                ours = TOWER + name.removeprefix("vision_model.")
                if ours in needed:  # the folder also holds SigLIP's text model
                    renamed.setdefault(ours, []).append((file, name, shape))
    missing = [_published_name(name) for name in needed if name not in renamed]
    if vision is None and not any((name or "").startswith(TOWER) for name in renamed):
        raise InputError(
            f"{source} does not hold its vision tower; pass the folder of that SigLIP model "
            f"as --vision"
        )
    twice = [_published_name(name) for name, at in renamed.items() if name and len(at) > 1]
    for fault, names in (
        ("lacks weights", missing),
        ("has weights that no LLaVA-Video has", unexpected),
        ("has weights twice", twice),
    ):
        if names:
            raise InputError(f"{source} {fault}: {some(names)}; is it a LLaVA-Video checkpoint?")
    plan: dict[Path, dict[str, str]] = {}
    for ours, expected in needed.items():
        [(file, name, shape)] = renamed[ours]
        if shape != expected:
            raise InputError(
                f"the weight {name} in {source} has the shape {shape}, its config says {expected}"
            )
        plan.setdefault(file, {})[name] = ours
    return plan


def _published_name(name: str) -> str:
    prefix = next(prefix for prefix in RENAMED if name.startswith(RENAMED[prefix]))
    return prefix + name[len(RENAMED[prefix]) :]


def _unread(name: str | None, config: LlavaVideoConfig) -> bool:
    """Tell whether a weight belongs to the tower's last layer or head, after the feature."""
    last = f"{TOWER}encoder.layers.{config.vision_config.num_hidden_layers}."
    return name is not None and name.startswith((last, f"{TOWER}head."))


def _stored(folder: Path) -> dict[Path, dict[str, tuple[int, ...]]]:
    """Return {file: {weight: shape}} of a checkpoint, from the headers of its files."""
    index = folder / "model.safetensors.index.json"
    single = folder / "model.safetensors"
    if not index.is_file() and not single.is_file():
        raise InputError(
            f"{folder} holds neither model.safetensors nor {index.name}; download the model again, "
            f"in safetensors"
        )
    files = [single.name]
    if index.is_file():
        listed = _read_json(folder, index.name).get("weight_map")
        if not isinstance(listed, dict):
            raise InputError(f"{index} is damaged; download it again")
        files = sorted(set(map(str, listed.values())))
    stored: dict[Path, dict[str, tuple[int, ...]]] = {}
    for name in files:
        file = folder / Path(name).name  # an index cannot point out of its folder
        try:
            with safe_open(file, "pt") as tensors:
                stored[file] = {
                    key: tuple(tensors.get_slice(key).get_shape()) for key in tensors.keys()
                }
        except FileNotFoundError:
            raise InputError(f"{file.name} is missing in {folder}; download it again") from None
        except (SafetensorError, OSError, RuntimeError) as error:
            raise InputError(f"{file} is damaged or half downloaded; download it again") from error
    return stored
