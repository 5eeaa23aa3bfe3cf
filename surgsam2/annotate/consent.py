"""Whether a person has agreed that videos are sent to an engine on another machine."""

from __future__ import annotations

from surgsam2.engine.remote.address import Address
from surgsam2.model.zoo import cache_folder
from surgsam2.storage.atomic_file import write_bytes_atomically, writing

_FILE = "engines-agreed.txt"


class Consent:
    """The consent to one engine; it is remembered in the user's cache folder.

    Without that file, the person is asked again.

    Args:
        address: address of the engine.

    Raises:
        InputError: the address is none.
    """

    def __init__(self, address: str) -> None:
        place = Address.parse(address)
        self.address = str(place)
        """The address, as it is shown."""
        self.needed = not place.is_loopback and self.address not in _agreed()
        """Whether the person has not agreed yet."""

    def give(self) -> None:
        """Remember that the person has agreed.

        Raises:
            OutputError: the file cannot be written.
        """
        if not self.needed:
            return
        path = cache_folder() / _FILE
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        text = "".join(f"{one}\n" for one in [*_agreed(), self.address])
        write_bytes_atomically(path, text.encode())
        self.needed = False


def _agreed() -> list[str]:
    """Return the addresses that the person has agreed to; none if the file cannot be read."""
    try:
        return (cache_folder() / _FILE).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return []
