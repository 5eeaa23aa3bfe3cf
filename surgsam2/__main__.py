"""`python -m surgsam2` is the `surgsam2` command."""

import sys

from surgsam2.cli import main

sys.exit(main())
