"""Arrays on disk."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from surgsam2.errors import OutputError
from surgsam2.spool import Spool


@given(st.dictionaries(st.integers(0, 200), st.integers(0, 2**31), max_size=12))
def test_gives_back_what_was_put(content: dict[int, int]) -> None:
    spool = Spool()
    for index, seed in content.items():
        spool.put(index, a=np.arange(seed % 50), b=np.array([seed], np.uint32))
    assert spool.indices() == sorted(content)
    for index, seed in content.items():
        arrays = spool.get(index)
        assert np.array_equal(arrays["a"], np.arange(seed % 50))
        assert arrays["b"].tolist() == [seed]
        assert arrays["b"].dtype == np.uint32
    assert 999 not in spool
    with pytest.raises(KeyError):
        spool.get(999)
    spool.close()
    spool.close()


def test_the_last_one_put_counts() -> None:
    spool = Spool()
    spool.put(3, a=np.zeros(2))
    spool.put(3, a=np.ones(5))
    assert spool.get(3)["a"].tolist() == [1] * 5


def test_a_full_disk_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    spool = Spool()

    class Full:
        def seek(self, *place: int) -> int:
            raise OSError(28, "No space left on device")

        def close(self) -> None:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(spool, "_file", Full())
    with pytest.raises(OutputError, match=r"TMPDIR chooses another place.*No space left"):
        spool.put(0, a=np.zeros(1))
    spool.close()
