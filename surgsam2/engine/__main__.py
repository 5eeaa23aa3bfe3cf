"""Start the engine process: ``python -m surgsam2.engine``. Applications run this, not people."""

import sys

from surgsam2.engine.remote import kept_session
from surgsam2.engine.server import main, standard_streams

_PROGRAMS = {
    "--standard-streams": standard_streams.main,
    "--kept-session": kept_session.main,
    kept_session.KEEPER: kept_session.keep,
}

if __name__ == "__main__":
    if sys.argv[1:2] and sys.argv[1] in _PROGRAMS:
        _PROGRAMS[sys.argv[1]](sys.argv[2:])
    else:
        main.main()
