"""What a user can draw in a view to mark an object, and in which colour."""

from __future__ import annotations

POSITIVE, NEGATIVE, BOX = "positive", "negative", "box"
SCRIBBLE, NOT_SCRIBBLE, LASSO = "scribble", "notScribble", "lasso"
STROKES = (SCRIBBLE, NOT_SCRIBBLE, LASSO)
"""The kinds that are drawn as a curve: a line on the object or outside it, an outline of it."""
_GREEN, _RED, _YELLOW = (0.2, 0.9, 0.3), (1.0, 0.25, 0.2), (0.95, 0.8, 0.2)
COLORS = {
    POSITIVE: _GREEN,
    NEGATIVE: _RED,
    BOX: _YELLOW,
    SCRIBBLE: _GREEN,
    NOT_SCRIBBLE: _RED,
    LASSO: _YELLOW,
}
"""Colours of the markers, red, green and blue from 0 to 1, by kind."""
