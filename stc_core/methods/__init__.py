"""One published method per file; ``METHODS`` lists them by name.

A method decides and nothing else: which video tokens go on and who carries the others. It sees bare
tensors, never a model, so every method can be tried on features from anywhere.
"""

from .base import Decision, Method
from .chance import Random
from .downsample import Downsample
from .edited import Edited
from .evs import EVS
from .fastv import FastV
from .fastvid import FastVID
from .frames import Frames
from .holitom import HoliTom
from .prunevid import PruneVid
from .stc import STC
from .uniform import Uniform
from .vidcom2 import VidCom2
from .visionzip import VisionZip

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
