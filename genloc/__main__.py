"""`python -m genloc` is the command `genloc`."""

import sys

from genloc.cli import main

if __name__ == "__main__":
    sys.exit(main())
