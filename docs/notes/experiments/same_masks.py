"""Are the engine's masks those of `sam2`'s own predictor, on a clip of one's own?

Both track the masks that the engine makes of the prompts on their first frame, with the same
weights and the same pruning. What came of a real clip is in docs/notes/built-in-model.md.

    python docs/notes/experiments/same_masks.py VIDEO PROMPTS.json [MODEL]
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import surgsam2
from surgsam2 import PromptSet, Tracker
from surgsam2.benchmark.agreement import compare_masks
from surgsam2.benchmark.subjects import run_ours, run_sam2


def main(video_file: str, prompts_file: str, model_name: str = "demo") -> None:
    """Print the lowest and the mean IoU over all frames and objects."""
    model = surgsam2.load_model(model_name)
    clicked = surgsam2.load_prompts(prompts_file)
    with surgsam2.open_video(video_file) as video, tempfile.TemporaryDirectory() as folder:
        first = Tracker(model, video.width, video.height).step(video[0], clicked)
        masks = PromptSet()
        for object_id in first.object_ids:
            masks.add(object_id=object_id, frame=0, mask=first.mask(object_id))
        ours, theirs = Path(folder) / "ours", Path(folder) / "sam2"
        run_ours(model, video, masks, ours)
        run_sam2(model, video, masks, theirs)
        print(compare_masks(ours / "masks", theirs / "masks"))  # noqa: T201


if __name__ == "__main__":
    main(*sys.argv[1:])
