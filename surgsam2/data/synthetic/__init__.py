"""Synthetic surgical video with exact masks, for training, tests and demonstrations.

A clip shows a scene of tissue, organs, instruments and arbitrary other objects, painted back
to front and lit as by an endoscope. It needs no data and no patient. `clip` is the public
module; `scene` chooses and places the objects; `organs`, `instruments` and `tissue` draw
them; `camera`, `lighting` and `effects` make the picture; `raster`, `texture` and `motion`
are their tools.
"""

from surgsam2.data.synthetic.clip import SyntheticClip, SyntheticObject, generate_clip
from surgsam2.data.synthetic.difficulty import Difficulty
from surgsam2.data.synthetic.export import write_video, write_vos
from surgsam2.data.synthetic.returns import EVENTS, Event, ReturnClip

__all__ = [
    "EVENTS",
    "Difficulty",
    "Event",
    "ReturnClip",
    "SyntheticClip",
    "SyntheticObject",
    "generate_clip",
    "write_video",
    "write_vos",
]
