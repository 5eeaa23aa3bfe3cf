"""The app for MONAI Label's server."""

from __future__ import annotations

from pathlib import Path

from monailabel.config import settings
from monailabel.datastore.local import LocalDatastore
from monailabel.interfaces.app import MONAILabelApp
from monailabel.interfaces.datastore import Datastore
from monailabel.interfaces.tasks.infer_v2 import InferTask
from monailabel.interfaces.tasks.train import TrainTask

from surgsam2.integrations.monai_label.models import Models
from surgsam2.integrations.monai_label.segment import FrameTask, VideoTask
from surgsam2.integrations.monai_label.train import FineTuning
from surgsam2.version import __version__
from surgsam2.video import VIDEO_SUFFIXES

FRAME, VIDEO = "surgsam2", "surgsam2_video"
"""Names of the two models that the server offers."""

_STUDIES = tuple(f"*{suffix}" for suffix in (*VIDEO_SUFFIXES, ".mha", ".jpeg", ".bmp", ".tiff"))
_LABELS = ("*.zip",)


class SurgSAM2App(MONAILabelApp):
    """Segments pictures and videos from clicks and boxes, and trains from labels.

    Args:
        app_dir: folder of the app; its folder `model` receives what is trained.
        studies: folder of the pictures and videos, or the address of a DICOMweb, XNAT or DSA
            server.
        conf: options of the server's command line. `model` is the model to start from, a known
            name, a checkpoint file or the folder of a bundle (`demo` without it).
    """

    def __init__(self, app_dir: str, studies: str, conf: dict[str, str]) -> None:
        self._models = Models(Path(app_dir) / "model", (conf or {}).get("model", "demo"))
        super().__init__(
            app_dir=app_dir,
            studies=studies,
            conf=conf,
            name=f"SurgSAM2 {__version__}",
            description="Promptable segmentation of surgical pictures and videos",
            version=__version__,
        )

    def init_infers(self) -> dict[str, InferTask]:
        """Return the tasks for single frames and for videos."""
        return {FRAME: FrameTask(self._models), VIDEO: VideoTask(self._models)}

    def init_trainers(self) -> dict[str, TrainTask]:
        """Return the fine-tuning, under the name of the model for frames."""
        return {FRAME: FineTuning(self._models)}

    def init_datastore(self) -> Datastore:
        """Open the studies; a folder may have videos, and zip files as their labels."""
        if self.studies.startswith(("http://", "https://")):
            return super().init_datastore()
        given = [*settings.MONAI_LABEL_DATASTORE_FILE_EXT]
        return LocalDatastore(
            self.studies,
            extensions=[*given, *(e for e in (*_STUDIES, *_LABELS) if e not in given)],
            auto_reload=settings.MONAI_LABEL_DATASTORE_AUTO_RELOAD,
            read_only=settings.MONAI_LABEL_DATASTORE_READ_ONLY,
        )
