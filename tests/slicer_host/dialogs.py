"""Dialogs that record their texts and take their answers from the test."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import qt


@dataclass(frozen=True)
class Message:
    """The texts of a message box: main text, details and title."""

    text: str
    details: str
    title: str


@dataclass
class Dialogs:
    """`accept` answers the next boxes: OK, Yes or Retry when true, else Cancel, No or Close.

    `answers` overrules it for the next boxes, first come first served. `chosen` is what
    file and colour dialogs give, in turn; without more of it they are cancelled.
    """

    accept: bool = True
    answers: list[bool] = field(default_factory=list)
    chosen: list[Any] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)

    def reset(self) -> None:
        self.accept = True
        for entries in (self.answers, self.chosen, self.messages):
            entries.clear()

    @property
    def texts(self) -> list[str]:
        return [message.text for message in self.messages]


dialogs = Dialogs()


def record(box: Any) -> Any:
    """Record a message and return the button that the test chose."""
    dialogs.messages.append(Message(box.text, box.detailedText, box.windowTitle.strip()))
    accept = dialogs.answers.pop(0) if dialogs.answers else dialogs.accept
    buttons = qt.QMessageBox
    yes = (buttons.Ok, buttons.Yes, buttons.Retry, buttons.Save)
    no = (buttons.Cancel, buttons.No, buttons.Close, buttons.Discard)
    for button in yes if accept else no:
        if box.standardButtons & button:
            return button
    return buttons.Ok


def make_choosing(base: type) -> type:
    """Return `qt.QFileDialog` and `qt.QColorDialog` that take their answers from the test.

    PythonQt gives the path alone, where PySide6 gives the path and the filter.
    """

    def path(*_: Any) -> str:
        return str(dialogs.chosen.pop(0)) if dialogs.chosen else ""

    def paths(*_: Any) -> tuple[str, ...]:
        return tuple(map(str, dialogs.chosen.pop(0))) if dialogs.chosen else ()

    def color(*_: Any) -> Any:
        return qt.QColor(dialogs.chosen.pop(0)) if dialogs.chosen else qt.QColor()

    questions = {
        "getOpenFileName": path,
        "getSaveFileName": path,
        "getExistingDirectory": path,
        "getOpenFileNames": paths,
        "getColor": color,
    }
    for name in questions.keys() & set(dir(base)):
        setattr(base, name, staticmethod(questions[name]))
    return base
