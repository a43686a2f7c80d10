"""`python -m turnwise.frontends.cli` is the same as `turnwise`."""

from __future__ import annotations

import sys

from .main import main

sys.exit(main())
