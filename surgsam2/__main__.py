"""Runs the `surgsam2` command as ``python -m surgsam2``."""

import sys

from surgsam2.cli import main

sys.exit(main())
