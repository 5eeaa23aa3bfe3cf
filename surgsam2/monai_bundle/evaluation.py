"""The evaluation of a bundle: it does what `surgsam2 evaluate` does."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch

from surgsam2.errors import InputError
from surgsam2.evaluation.share import Share
from surgsam2.evaluation.truth.datasets import Values
from surgsam2.storage.settings import parse
from surgsam2.tracking.options import TrackingOptions
from surgsam2.training.distributed import find_place, process_group


class BundleEvaluation:
    """Evaluates models on a data set as `surgsam2 evaluate` does.

    Of several processes that `torchrun` started, each has a share of the models, prompt settings
    and baselines, on the GPU of its local rank, and the first one writes the report.

    Lists may be text with commas. Empty text stands for a value that is not given.

    Args:
        dataset_dir: the folder of the data set.
        output_dir: the folder for results and report.
        protocol: how the data is split and counted: vos, endovis17 or endovis18.
        split: the split of the protocol.
        sequences: names of sequences, instead of a split.
        values: the meaning of the pixel values of label PNGs: objects or classes.
        prompts: the prompt settings.
        model: names, checkpoint files or bundle folders of the models.
        config: configurations for every model.
        pruning: forms of Efficient Frame Pruning.
        memory: memory policies.
        long_term: number of older memories that the diverse policies keep per object.
        min_presence: least presence of a reliable frame.
        min_iou: least predicted IoU of a reliable frame.
        min_similarity: least similarity of an object to its prompted frames.
        baselines: what to compare with: copy, flow or none.
        seed: the seed of the points in the true masks.
        device: where the models run.
        dtype: the precision of the arithmetic.

    Raises:
        InputError: a value cannot be used.
    """

    def __init__(
        self,
        dataset_dir: str,
        output_dir: str,
        *,
        protocol: str = "vos",
        split: str = "",
        sequences: Any = "",
        values: str = "objects",
        prompts: Any = "mask,1pt,5pt",
        model: Any = "demo",
        config: Any = "",
        pruning: Any = "capped",
        memory: Any = "efp",
        long_term: int = 2,
        min_presence: float = 0.5,
        min_iou: float = 0.5,
        min_similarity: float = 0.0,
        baselines: Any = "copy,flow",
        seed: int = 0,
        device: str | torch.device = "auto",
        dtype: str = "auto",
    ) -> None:
        self.dataset_dir, self.output_dir = str(dataset_dir), str(output_dir)
        configs: list[str | None] = [*_as_list(config)]
        self._options: dict[str, Any] = {
            "protocol": protocol,
            "split": str(split) or None,
            "sequences": _as_list(sequences) or None,
            "values": parse(Values, values, "values"),
            "baselines": [name for name in _as_list(baselines) if name != "none"],
            "seed": parse(int, seed, "seed"),
        }
        self._prompts = ",".join(_as_list(prompts))
        settings = {
            "long_term": long_term,
            "min_presence": min_presence,
            "min_iou": min_iou,
            "min_similarity": min_similarity,
        }
        self._models = [
            (name, chosen, form, TrackingOptions.from_mapping({**settings, "memory": policy}))
            for name in _as_list(model) or ["demo"]
            for chosen in configs or [None]
            for form in _as_list(pruning) or ["capped"]
            for policy in _as_list(memory) or ["efp"]
        ]
        self._device, self._dtype = str(device), dtype

    def run(self) -> dict[str, Any]:
        """Evaluate, write the results and the report, and return the results.

        Raises:
            InputError: a folder is missing.
        """
        from surgsam2.evaluation import runner
        from surgsam2.evaluation.prompting import parse_settings
        from surgsam2.evaluation.report import report_folder, summary_text, write_report

        for name in ("dataset_dir", "output_dir"):
            if not getattr(self, name):
                raise InputError(f"{name} is needed: add --{name} FOLDER")
        place = find_place(self._device)
        folder = report_folder(Path(self.output_dir)) if place.first else nullcontext()
        with folder, process_group(place):
            results = runner.evaluate(
                Path(self.dataset_dir),
                prompts=parse_settings(self._prompts),
                models=[
                    runner.ModelSpec(
                        name, config, pruning, str(place.device), self._dtype, tracking=tracking
                    )
                    for name, config, pruning, tracking in self._models
                ],
                share=Share(place.rank, place.world),
                **self._options,
            )
        if not place.first:
            return results
        paths = write_report(results, Path(self.output_dir))
        print(summary_text(results))
        print(f"report: {paths['html']}")
        return results


def _as_list(value: Any) -> list[str]:
    parts = value.split(",") if isinstance(value, str) else value
    if not isinstance(parts, (list, tuple)):
        parts = [parts]
    return [text for part in parts if (text := str(part).strip())]
