"""Converts values to text that survives in a node's attribute."""

from __future__ import annotations

import json
import re
from typing import Any


def attribute_text(value: Any) -> str:
    """Return JSON of lists, text and numbers that a scene file keeps unchanged in an attribute."""
    # scene files separate attributes by some characters; JSON without objects needs none of
    # them outside of text, where they can be written in another way
    return re.sub("[:;%|&<>]", lambda found: f"\\u{ord(found[0]):04x}", json.dumps(value))
