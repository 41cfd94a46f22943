"""Write a checkpoint as it was published: configs by their own keys, weights by their own names."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from stc_core.models.checkpoint import full_config
from stc_core.models.families import FAMILIES

OPENAI = {
    "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_std": [0.26862954, 0.26130258, 0.27577711],
}
HALF = {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}
IMAGENET = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
STEPS = {"do_convert_rgb": True, "do_normalize": True, "do_rescale": True, "do_resize": True,
         "resample": 3, "rescale_factor": 0.00392156862745098}  # fmt: skip
CROP = {"do_center_crop": True, "crop_size": {"height": 336, "width": 336}}
# the sizes that were made small; everything else in a config is as published
SMALL = {"hidden_size": 32, "intermediate_size": 48, "num_attention_heads": 4,
         "num_key_value_heads": 2, "num_hidden_layers": 4}  # fmt: skip
SMALL_TOWER = {"hidden_size": 32, "intermediate_size": 48, "num_attention_heads": 2,
               "num_hidden_layers": 3}  # fmt: skip


def write_json(folder: Path, **files: dict) -> None:
    """Write ``name={...}`` as name.json."""
    for name, content in files.items():
        (folder / f"{name}.json").write_text(json.dumps(content, indent=2))


def write_model(folder: Path, config: dict, rename=lambda name: name, extra=None) -> None:
    """Write random weights and the published config.json.

    Parameters
    ----------
    rename
        From the name under which transformers saves a weight to the published one.
    extra
        {name: tensor} that the published files hold besides.
    """
    import transformers

    full = full_config(config)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        model = getattr(transformers, FAMILIES[config["model_type"]].architectures[0])(full)
    model.save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    file = folder / "model.safetensors"
    weights = {rename(name): tensor for name, tensor in load_file(file).items()}
    save_file(weights | (extra or {}), file, metadata={"format": "pt"})
    write_json(folder, config=config)
