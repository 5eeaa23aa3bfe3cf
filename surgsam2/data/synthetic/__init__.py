"""Synthetic surgical video with exact masks, for training, tests and demonstrations.

A clip is a scene of tissue, organs, instruments and arbitrary other objects, painted
back to front and lit as by an endoscope. It needs no data and no patient. The rooms:
`clip` (public), `scene` (who is there), `organs`, `instruments`, `tissue` (what they
look like), `camera`, `lighting`, `effects`, and below them `raster`, `texture`, `motion`.
"""

from surgsam2.data.synthetic.clip import SyntheticClip, SyntheticObject, generate_clip
from surgsam2.data.synthetic.difficulty import Difficulty
from surgsam2.data.synthetic.export import write_video, write_vos

__all__ = [
    "Difficulty",
    "SyntheticClip",
    "SyntheticObject",
    "generate_clip",
    "write_video",
    "write_vos",
]
