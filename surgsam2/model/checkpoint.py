"""Read checkpoint files as data only, and match them to a network.

Files are SAM 2's ``{"model": state_dict}`` or a bare state dict (`.pt`, `.pth`), or
safetensors. They are never unpickled beyond tensors: a checkpoint that would run code
is refused.
"""

from __future__ import annotations

import hashlib
import math
import pickle
import warnings
from pathlib import Path

import torch
from torch import nn

from surgsam2.errors import CheckpointError, InputError, raise_if_out_of_memory
from surgsam2.model.configs import OWN_CONFIGS
from surgsam2.storage.archive import is_archive, open_archive

StateDict = dict[str, torch.Tensor]

# (channels of the first layer, blocks of the trunk) distinguish the architectures
_TRUNKS = {
    (96, 12): "hiera-tiny",
    (96, 16): "hiera-small",
    (112, 24): "hiera-base-plus",
    (144, 48): "hiera-large",
}
_PATCH = "image_encoder.trunk.patch_embed.proj.weight"
_STEM = "image_encoder.trunk.stem.weight"
_ONLY_IN_SAM21 = "obj_ptr_tpos_proj.weight"
_ROPE = ".freqs_cis"
# texts of torch's restricted unpickler when a file asks for more than tensors
_REFUSALS = ("unsupported global", "unsupported class", "can only create", "can only build")


def read_checkpoint(path: str | Path) -> StateDict:
    """Read a checkpoint file into CPU memory.

    Args:
        path: of the file.

    Returns:
        Tensors by name.

    Raises:
        CheckpointError: the file is missing, empty or unreadable, holds more than tensors, or
            holds no state dict.
    """
    path = Path(path)
    try:
        if path.is_dir():
            raise CheckpointError(f"{path}: is a folder; give the checkpoint file in it")
        if not path.is_file():
            raise CheckpointError(f"{path}: no such checkpoint file")
        if path.stat().st_size == 0:
            raise CheckpointError(f"{path}: the file is empty; copy or download it again")
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be opened ({error.strerror})") from error
    content = _read_safetensors(path) if path.suffix == ".safetensors" else _read_torch(path)
    state = content.get("model", content) if isinstance(content, dict) else content
    if not isinstance(state, dict) or not state:
        raise CheckpointError(f"{path}: holds no state dict (a table of named tensors)")
    wrong = [
        k for k, v in state.items() if not isinstance(k, str) or not isinstance(v, torch.Tensor)
    ]
    if wrong:
        raise CheckpointError(
            f"{path}: not a state dict of tensors; entry {wrong[0]!r} is a "
            f"{type(state[wrong[0]]).__name__}. Save the state dict, or put it under 'model'"
        )
    return state


def weights_sha256(state: StateDict) -> str:
    """Return the SHA-256 of tensors, 64 hexadecimal digits, whatever file they are in.

    It depends on the names, types, shapes and values of all tensors, and not on their order.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(state.items()):
        plain = tensor.detach().cpu().contiguous()
        digest.update(f"{name} {plain.dtype} {tuple(plain.shape)}\n".encode())
        digest.update(plain.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def infer_config(state: StateDict, path: str | Path) -> str:
    """Return the name of the 512-pixel configuration that a state dict belongs to.

    Weights do not tell the resolution that they were trained at; 512 is SurgSAM2's.

    Args:
        state: state dict.
        path: of its file, for messages.

    Raises:
        CheckpointError: not a network that this package knows.
    """
    kind = _kind(state)
    if kind is None:
        raise CheckpointError(
            f"{path}: not a known SAM 2 network ({describe(state)}); name its config"
        )
    return kind if kind in OWN_CONFIGS else f"{kind}-512"


def describe(state: StateDict) -> str:
    """Return a phrase that says which network a state dict comes from."""
    kind = _kind(state)
    if kind is not None:
        return f"a {kind} network"
    if _PATCH not in state or not state[_PATCH].ndim:
        return f"{len(state)} tensors, no SAM 2 image encoder among them"
    return f"an image encoder of {len(state[_PATCH])} channels and {_blocks(state)} blocks"


def load_state(network: nn.Module, state: StateDict, *, path: str | Path, config_name: str) -> None:
    """Copy a state dict into a network; every tensor must match.

    Args:
        network: receives the weights.
        state: state dict.
        path: of its file, for messages.
        config_name: of the network, for messages.

    Raises:
        CheckpointError: the checkpoint is of another size, another SAM 2 version or another
            resolution (rotary position tables), or tensors are missing, unexpected or of
            another shape; the message says which.
    """
    expected = network.state_dict()
    size = getattr(network, "image_size", None)
    state = _drop_rope_tables(state, path=path, image_size=size, config_name=config_name)
    kind, wanted = _kind(state), _kind(expected)
    if kind is not None and wanted is not None and kind != wanted:
        hint = kind if kind in OWN_CONFIGS else f"{kind}-512 or {kind}-1024"
        raise CheckpointError(
            f"{path}: is {describe(state)}, but the config {config_name!r} is "
            f"{describe(expected)}; use the config {hint}"
        )
    problems = []
    if missing := sorted(expected.keys() - state.keys()):
        problems.append(f"{len(missing)} missing ({_some(missing)})")
    if unexpected := sorted(state.keys() - expected.keys()):
        problems.append(f"{len(unexpected)} unexpected ({_some(unexpected)})")
    other = [
        f"{k} is {tuple(state[k].shape)}, should be {tuple(v.shape)}"
        for k, v in expected.items()
        if k in state and state[k].shape != v.shape
    ]
    if other:
        problems.append(f"{len(other)} of another shape ({_some(other)})")
    if problems:
        raise CheckpointError(
            f"{path}: does not fit the config {config_name!r}; tensors: {'; '.join(problems)}"
        )
    try:
        network.load_state_dict(state)
    except RuntimeError as error:  # tensors without data, or not laid out as a plain array
        raise CheckpointError(
            f"{path}: some of its tensors cannot be copied; save plain CPU tensors"
        ) from error


def _read_safetensors(path: Path) -> StateDict:
    """Read a safetensors file into CPU memory.

    Raises:
        CheckpointError: the file is damaged or of another kind.
    """
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except Exception as error:  # a damaged file can raise any exception
        raise_if_out_of_memory(error)
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise CheckpointError(f"{path}: not a readable safetensors file ({reason})") from error


def _read_torch(path: Path) -> object:
    """Read what a file of `torch.save` holds, if it is tensors and plain data only.

    Raises:
        CheckpointError: the file cannot be opened, is damaged, or holds more than data.
    """
    _refuse_zip_bomb(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about old formats and damaged files
            return torch.load(path, map_location="cpu", weights_only=True)
    except PermissionError as error:
        raise CheckpointError(f"{path}: cannot be opened ({error.strerror})") from error
    except Exception as error:  # a damaged file can raise any exception
        raise_if_out_of_memory(error)
        if _is_foreign_pickle(path) or any(p in str(error).lower() for p in _REFUSALS):
            raise CheckpointError(
                f"{path}: refused, because it holds more than tensors and loading it could run "
                "code. Ask its author for a plain state dict or a safetensors file"
            ) from error
        raise CheckpointError(f"{path}: not a PyTorch checkpoint, or a damaged one") from error


def _refuse_zip_bomb(path: Path) -> None:
    """Refuse an archive that unpacks to more than its size, as PyTorch does not compress."""
    if not is_archive(path):  # torch says what it is
        return
    try:
        with open_archive(path) as archive:
            unpacked = archive.unpacked_bytes
    except InputError as error:
        raise CheckpointError(str(error)) from error
    size = path.stat().st_size
    if unpacked > size:
        raise CheckpointError(
            f"{path}: refused, because it unpacks to {unpacked} bytes from {size}, which no "
            "PyTorch checkpoint does"
        )


def _is_foreign_pickle(path: Path) -> bool:
    """Return whether a pickle has a newer protocol than torch writes, which torch cannot read."""
    try:
        if is_archive(path):
            with open_archive(path) as archive:
                inner = next(name for name in archive.files if name.endswith("data.pkl"))
                head = archive.read(inner, 2)
        else:
            with path.open("rb") as file:
                head = file.read(2)
    except Exception:  # a damaged archive
        return False
    return head[:1] == pickle.PROTO and head[1:] > b"\x02"


def _drop_rope_tables(
    state: StateDict, *, path: str | Path, image_size: int | None, config_name: str
) -> StateDict:
    """Check the resolution of stored rotary tables and leave them out, as SAM 2 computes them."""
    tables = {k: v for k, v in state.items() if k.endswith(_ROPE)}
    for name, table in tables.items():
        stored = math.isqrt(len(table) if table.ndim else 0) * 16
        if image_size is not None and stored != image_size:
            raise CheckpointError(
                f"{path}: its rotary position table {name} is for {stored}x{stored} pixels, but "
                f"the config {config_name!r} works at {image_size}x{image_size}; use the config "
                f"for {stored}"
            )
    return {k: v for k, v in state.items() if k not in tables}


def _kind(state: StateDict) -> str | None:
    """Return the name of the network without its resolution, or None for an unknown one."""
    if _STEM in state:
        return "lite"
    if _PATCH not in state or not state[_PATCH].ndim:
        return None
    channels = len(state[_PATCH])
    if channels == 32 and _blocks(state) == 8:
        return "demo"
    size = _TRUNKS.get((channels, _blocks(state)))
    if size is None:
        return None
    return f"{'sam2.1' if _ONLY_IN_SAM21 in state else 'sam2'}-{size}"


def _blocks(state: StateDict) -> int:
    """Return the number of blocks of the image encoder's trunk."""
    prefix = "image_encoder.trunk.blocks."
    return len({k[len(prefix) :].split(".")[0] for k in state if k.startswith(prefix)})


def _some(names: list[str], most: int = 3) -> str:
    """Return the first names for a message, with an ellipsis where there are more."""
    return ", ".join(names[:most]) + (", …" if len(names) > most else "")
