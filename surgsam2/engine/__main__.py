"""Start the engine process: ``python -m surgsam2.engine``. Applications run this, not people."""

import sys

from surgsam2.engine.server import main, standard_streams

if __name__ == "__main__":
    if sys.argv[1:2] == ["--standard-streams"]:
        standard_streams.main(sys.argv[2:])
    else:
        main.main()
