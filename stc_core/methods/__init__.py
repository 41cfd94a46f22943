"""One published method per file; ``METHODS`` lists them by name.

A method decides and nothing else: which video tokens go on and who carries the others. It sees bare
tensors, never a model, so every method can be tried on features from anywhere.
"""

from stc_core.methods.base import Decision, Method
from stc_core.methods.chance import Random
from stc_core.methods.downsample import Downsample
from stc_core.methods.dytok import DyToK
from stc_core.methods.edited import Edited
from stc_core.methods.evs import EVS
from stc_core.methods.fastv import FastV
from stc_core.methods.fastvid import FastVID
from stc_core.methods.flashvid import FlashVID
from stc_core.methods.frames import Frames
from stc_core.methods.holitom import HoliTom
from stc_core.methods.infomerge import InfoMerge
from stc_core.methods.kitoke import KiToke
from stc_core.methods.prunevid import PruneVid
from stc_core.methods.stc import STC
from stc_core.methods.stdpp import SpaceTimeDPP
from stc_core.methods.stop import SToP
from stc_core.methods.sttm import STTM
from stc_core.methods.tango import Tango
from stc_core.methods.then import Then
from stc_core.methods.uniform import Uniform
from stc_core.methods.v2drop import V2Drop
from stc_core.methods.vcast import VCast
from stc_core.methods.vidcom2 import VidCom2
from stc_core.methods.visionzip import VisionZip

METHODS: dict[str, type[Method]] = {
    "stc": STC,
    "stdpp": SpaceTimeDPP,
    "fastv": FastV,
    "visionzip": VisionZip,
    "fastvid": FastVID,
    "holitom": HoliTom,
    "prunevid": PruneVid,
    "vidcom2": VidCom2,
    "vcast": VCast,
    "kitoke": KiToke,
    "flashvid": FlashVID,
    "tango": Tango,
    "sttm": STTM,
    "infomerge": InfoMerge,
    "v2drop": V2Drop,
    "evs": EVS,
    "uniform": Uniform,
    "random": Random,
    "frames": Frames,
    "downsample": Downsample,
}

__all__ = [
    "METHODS",
    "Decision",
    "DyToK",
    "Edited",
    "Method",
    "SToP",
    "Then",
    *(method.__name__ for method in METHODS.values()),
]
