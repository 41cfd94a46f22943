"""One published method per file; ``METHODS`` lists them by name.

A method decides and nothing else: which video tokens go on and who carries the others. It sees bare
tensors, never a model, so every method can be tried on features from anywhere.
"""

from stc_core.methods.base import Decision, Method
from stc_core.methods.chance import Random
from stc_core.methods.downsample import Downsample
from stc_core.methods.edited import Edited
from stc_core.methods.evs import EVS
from stc_core.methods.fastv import FastV
from stc_core.methods.fastvid import FastVID
from stc_core.methods.frames import Frames
from stc_core.methods.holitom import HoliTom
from stc_core.methods.prunevid import PruneVid
from stc_core.methods.stc import STC
from stc_core.methods.uniform import Uniform
from stc_core.methods.vidcom2 import VidCom2
from stc_core.methods.visionzip import VisionZip

METHODS: dict[str, type[Method]] = {
    "stc": STC,
    "fastv": FastV,
    "visionzip": VisionZip,
    "fastvid": FastVID,
    "holitom": HoliTom,
    "prunevid": PruneVid,
    "vidcom2": VidCom2,
    "evs": EVS,
    "uniform": Uniform,
    "random": Random,
    "frames": Frames,
    "downsample": Downsample,
}

__all__ = [
    "METHODS",
    "Decision",
    "Edited",
    "Method",
    *(method.__name__ for method in METHODS.values()),
]
