"""A change of prompts: all of it or nothing, and it can be undone."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from SurgSAM2Lib.session.session import Session


class Change:
    """Around a change of prompts: it can be undone, and is saved; a refused one did nothing."""

    def __init__(self, session: Session, object_id: int, frame: int) -> None:
        self._session = session
        self._before = session.step(object_id, frame)

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        if kind is None:
            self._session.history.remember(self._before)
            self._session.review.measure(self._before.frame)
            self._session.save()
