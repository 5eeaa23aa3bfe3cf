"""What the MONAI bundle's `evaluate.json` instantiates: the same evaluation, same report."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from surgsam2.errors import InputError

MONAI_OPTIONS = frozenset(
    (
        *("run_id", "init_id", "final_id", "meta_file"),
        *("config_file", "logging_file", "tracking", "args_file"),
    )
)
"""Options of ``python -m monai.bundle run`` itself."""


def check_overrides(config_file: str | Path, arguments: Sequence[str] | None = None) -> None:
    """Refuse ``--name value`` on the command line where the configuration has no such name.

    MONAI takes any name, so that a misspelt option would silently keep its default.
    arguments: the command line; that of this process when None and it is MONAI's.
    Raises `InputError`.
    """
    if arguments is None:
        started_by_monai = Path(sys.argv[0]).parts[-3:-1] == ("monai", "bundle")
        arguments = sys.argv[1:] if started_by_monai else []
    config_file = Path(config_file)
    try:
        known = set(json.loads(config_file.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise InputError(
            f"{config_file} cannot be read ({error}): is --bundle_root the bundle's folder?"
        ) from error
    for argument in arguments:
        if not argument.startswith("--"):
            continue
        name = argument[2:].split("=")[0].replace("#", "::").split("::")[0].replace("-", "_")
        if name not in known | MONAI_OPTIONS:
            names = sorted(n for n in known if not n.startswith("_"))
            raise InputError(f"no option --{name}; there are {', '.join(names)}")


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
            "values": values,
            "baselines": [name for name in _as_list(baselines) if name != "none"],
            "seed": int(seed),
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
