"""The options of a model: its name, its device and its precision. This module needs no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from surgsam2.storage.options import Options, option

if TYPE_CHECKING:
    from surgsam2.model.build import SurgSAM2Model

PRECISIONS = ("auto", "float32", "bfloat16", "float16")
CUDA_GRAPHS = ("auto", "on", "off")
PRUNING_FORMS = ("capped", "full-bank", "off")


@dataclass(frozen=True, kw_only=True)
class ModelOptions(Options):
    """Options that choose a model, its device and its precision."""

    model: str = option(
        "demo", "known name, checkpoint file, or folder of a bundle", metavar="NAME|PATH"
    )
    config: str | None = option(
        None, "name of the configuration, if it is not the checkpoint's own", metavar="NAME"
    )
    device: str = option(
        "auto", "where the model runs: auto (CUDA, else MPS, else the CPU), cpu, cuda:0 or mps"
    )
    dtype: str = option(
        "auto",
        "precision of the arithmetic; auto is bfloat16 on CUDA devices and on CPUs that multiply "
        "it natively (AMX or AVX512-BF16), and float32 elsewhere",
        choices=PRECISIONS,
    )
    pruning: str = option("capped", "form of Efficient Frame Pruning", choices=PRUNING_FORMS)
    prune: int = option(
        2, "number of memories that Efficient Frame Pruning leaves out", minimum=0, metavar="N"
    )
    compile: bool = option(False, "compile the network's parts with torch.compile")
    cuda_graphs: str = option(
        "auto",
        "replay the steps of a frame as CUDA graphs; auto does so on CUDA devices where a graph "
        "can be captured, and on makes it an error where none can",
        choices=CUDA_GRAPHS,
    )

    def load(self) -> SurgSAM2Model:
        """Load the model; `surgsam2.load_model` describes the errors."""
        from surgsam2.model.build import load_model
        from surgsam2.model.pruning import EFP

        return load_model(
            self.model,
            config=self.config,
            device=self.device,
            dtype=self.dtype,
            pruning=EFP(self.pruning, self.prune),  # type: ignore[arg-type]
            compile=self.compile,
            cuda_graphs=self.cuda_graphs,  # type: ignore[arg-type]
        )
