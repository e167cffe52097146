"""``python -m edgelnn`` is ``edgelnn``."""

import sys

from edgelnn.cli.app import main

sys.exit(main())
