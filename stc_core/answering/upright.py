"""Turn decoded frames into upright pictures, and pictures into one size.

The conversion is a filter graph: where it cannot convert it raises, so that no picture is ever
memory that nobody wrote. Its scaler is FFmpeg's with the flags that OpenCV's reader uses, and gives
the same bytes.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:  # pictures can be resized where there is no PyAV
    import av
    from av.filter import Graph

__all__ = ["Converter", "combed", "fitted", "letterboxed", "resized"]

BT2020 = 9  # color primaries of HDR recordings; AVColorPrimaries
COMB = 9  # gray levels by which a line stands out from both neighbors
COMBED = 80 / 256  # share of such pixels in a square of 16: a frame woven of two moments
TURNS = {1: cv2.ROTATE_90_COUNTERCLOCKWISE, 2: cv2.ROTATE_180, 3: cv2.ROTATE_90_CLOCKWISE}
TICK = Fraction(1, 1000)  # a time base, which a graph wants and nothing here reads


class Converter:
    """Convert decoded frames to upright pictures.

    Parameters
    ----------
    pixel_shape : width of a pixel over its height; None where the file does not say.
    """

    def __init__(self, pixel_shape: Fraction | None) -> None:
        # outside of this it is a broken header
        self._wide = float(pixel_shape) if pixel_shape and 0.1 < pixel_shape < 10 else 1.0
        self._key: tuple | None = None
        self._graph: Graph | None = None

    def __call__(self, frame: av.VideoFrame) -> np.ndarray:
        """Return (H, W, 3) uint8 BGR, turned as the file says, its pixels as they are stored.

        Where the two fields of an interlaced frame show two moments, it is the upper one, the lines
        between interpolated.
        """
        key = frame.format.name, frame.width, frame.height, frame.colorspace, frame.color_range
        if self._graph is None or key != self._key:
            self._graph, self._key = _graph(frame), key
        self._graph.vpush(frame)
        picture = self._graph.vpull().to_ndarray()
        if frame.interlaced_frame and combed(picture):
            graph = _graph(frame, ("estdif", "mode=frame:parity=tff:deint=all"))
            graph.vpush(frame)
            graph.vpush(None)  # it holds one frame back
            picture = graph.vpull().to_ndarray()
        turn = TURNS.get(_quarters(frame))
        return picture if turn is None else cv2.rotate(picture, turn)

    def shown_size(self, frame: av.VideoFrame) -> tuple[int, int]:
        """Return (height, width) upright and with square pixels."""
        height, width = frame.height, max(1, round(frame.width * self._wide))
        return (width, height) if _quarters(frame) % 2 else (height, width)


def combed(picture: np.ndarray) -> bool:
    """Tell whether lines (H, W, 3) of two moments alternate somewhere in a square of 16 x 16.

    A film that is merely stored as interlaced is not: its fields show one moment.
    """
    gray = picture.max(axis=2).astype(np.int16)
    if len(gray) < 5:
        return False
    above2, above, line, below, below2 = (gray[i : len(gray) - 4 + i] for i in range(5))
    up, down = line - above, line - below
    apart = ((up > COMB) & (down > COMB)) | ((up < -COMB) & (down < -COMB))
    apart &= np.abs(above2 + 4 * line + below2 - 3 * (above + below)) > 6 * COMB
    share = cv2.blur(apart.astype(np.float32), (16, 16), borderType=cv2.BORDER_CONSTANT)
    return bool(share.max() > COMBED)


def fitted(height: int, width: int, max_side: int | None) -> tuple[int, int]:
    """Reduce (height, width) so that the longer is at most max_side; never enlarge it."""
    longer = max(height, width)
    if max_side is None or longer <= max_side:
        return height, width
    return max(1, round(height * max_side / longer)), max(1, round(width * max_side / longer))


def resized(picture: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resize (H, W, 3): area average downwards, linear where a side grows."""
    if picture.shape[:2] == (height, width):
        return picture
    shrinks = height <= picture.shape[0] and width <= picture.shape[1]
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return cv2.resize(picture, (width, height), interpolation=how)


def letterboxed(picture: np.ndarray, shown: tuple[int, int], height: int, width: int) -> np.ndarray:
    """Fit a picture of another shape into (height, width, 3), black around it.

    `shown` is its (height, width) in square pixels.
    """
    scale = min(height / shown[0], width / shown[1])
    high, wide = max(1, round(shown[0] * scale)), max(1, round(shown[1] * scale))
    top, left = (height - high) // 2, (width - wide) // 2
    out = np.zeros((height, width, 3), np.uint8)
    out[top : top + high, left : left + wide] = resized(picture, high, wide)
    return out


def _quarters(frame: av.VideoFrame) -> int:
    """Anticlockwise quarter turns that make the frame upright."""
    return round(frame.rotation / 90) % 4


def _graph(frame: av.VideoFrame, *first: tuple[str, str]) -> Graph:
    """Filters that end in BGR. FFmpeg 8 also maps HDR to what screens show; 7 does not know how."""
    import av
    from av.filter import Graph

    options = ["flags=bicubic"]
    if getattr(frame, "color_primaries", None) == BT2020:
        options.insert(0, "flags=bicubic:out_primaries=bt709:out_transfer=bt709")
    for number, scaling in enumerate(options, 1):
        graph = Graph()
        nodes = [
            graph.add_buffer(
                width=frame.width, height=frame.height, format=frame.format, time_base=TICK
            )
        ]
        try:
            for name, settings in (*first, ("scale", scaling), ("format", "bgr24")):
                nodes.append(graph.add(name, settings))
            graph.link_nodes(*nodes, graph.add("buffersink")).configure()
            break
        except av.FFmpegError:
            if number == len(options):
                raise
    return graph
