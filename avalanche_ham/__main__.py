"""``python -m avalanche_ham`` is ``ham``."""

import sys

from avalanche_ham.cli.main import main

sys.exit(main())
