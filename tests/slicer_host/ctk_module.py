"""The module `ctk`."""

from __future__ import annotations

import types

from . import ctk_buttons, ctk_inputs


def make_ctk() -> types.ModuleType:
    module = types.ModuleType("ctk", "CTK's widgets. A stand-in for tests.")
    for source in (ctk_buttons, ctk_inputs):
        for name, value in vars(source).items():
            if name.startswith("ctk"):
                setattr(module, name, value)
    return module
