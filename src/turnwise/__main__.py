"""`python -m turnwise` is the command line."""

import sys

from .frontends.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
