"""Outputs of the mask decoder in a file, for masks that are made later.

They are kept as the network's own logits, so that overlaps with objects that are tracked in
another pass, or by another process, are resolved as if all had been tracked at once.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from surgsam2.storage.disk_store import DiskStore
from surgsam2.tracking.memory import MaskOutput


def keep_outputs(store: DiskStore, index: int, outputs: Mapping[int, MaskOutput]) -> None:
    """Keep the outputs of a frame by object id, of one object at least."""
    given = {i: output.given for i, output in outputs.items() if output.given is not None}
    arrays = {}
    if given:
        masks = torch.stack(list(given.values())).numpy()
        arrays = {"given": np.packbits(masks, axis=-1), "given_ids": np.array(list(given))}
        arrays["given_width"] = np.array(masks.shape[-1])
    store.put(
        index,
        ids=np.array(list(outputs)),
        low_res=torch.cat([o.low_res for o in outputs.values()]).cpu().numpy(),
        scores=torch.stack([o.scores for o in outputs.values()]).cpu().numpy(),
        **arrays,
    )


def load_outputs(store: DiskStore, index: int, device: torch.device) -> dict[int, MaskOutput]:
    """Return the outputs of a frame by object id; none if none were kept."""
    if index not in store:
        return {}
    arrays = store.get(index)
    low_res = torch.from_numpy(arrays["low_res"]).to(device)
    scores = torch.from_numpy(arrays["scores"]).to(device)
    given: dict[int, torch.Tensor] = {}
    if "given" in arrays:
        width = int(arrays["given_width"])
        masks = np.unpackbits(arrays["given"], axis=-1, count=width).astype(bool)
        given = dict(zip(arrays["given_ids"].tolist(), torch.from_numpy(masks), strict=True))
    return {
        object_id: MaskOutput(low_res[row : row + 1], scores[row], given.get(object_id))
        for row, object_id in enumerate(arrays["ids"].tolist())
    }
