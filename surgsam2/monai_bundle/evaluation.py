"""`surgsam2 evaluate` for `evaluate.json`: the same evaluation, the same report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from surgsam2.errors import InputError
from surgsam2.evaluation.truth.datasets import Values
from surgsam2.storage.settings import parse


class BundleEvaluation:
    """`surgsam2 evaluate` with values as a bundle configuration gives them.

    Lists are comma-separated text or sequences; an empty text is "not given".
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
        baselines: Any = "copy,flow",
        seed: int = 0,
        device: str = "auto",
        dtype: str = "auto",
    ) -> None:
        for name, value in (("dataset_dir", dataset_dir), ("output_dir", output_dir)):
            if not str(value):
                raise InputError(f"{name} is needed: add --{name} FOLDER")
        self.dataset_dir, self.output_dir = Path(str(dataset_dir)), Path(str(output_dir))
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
        self._models = [
            (name, chosen, form)
            for name in _as_list(model) or ["demo"]
            for chosen in configs or [None]
            for form in _as_list(pruning) or ["capped"]
        ]
        self._device, self._dtype = device, dtype

    def run(self) -> dict[str, Any]:
        """Evaluate, write the three files, print where they are; the results."""
        from surgsam2.evaluation import runner
        from surgsam2.evaluation.prompting import parse_settings
        from surgsam2.evaluation.report import report_folder, summary_text, write_report

        with report_folder(self.output_dir):
            results = runner.evaluate(
                self.dataset_dir,
                prompts=parse_settings(self._prompts),
                models=[
                    runner.ModelSpec(name, config, pruning, self._device, self._dtype)
                    for name, config, pruning in self._models
                ],
                **self._options,
            )
        paths = write_report(results, self.output_dir)
        print(summary_text(results))
        print(f"report: {paths['html']}")
        return results


def _as_list(value: Any) -> list[str]:
    parts = value.split(",") if isinstance(value, str) else value
    if not isinstance(parts, (list, tuple)):
        parts = [parts]
    return [text for part in parts if (text := str(part).strip())]
