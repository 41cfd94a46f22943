"""One trace as one HTML file: ``python -m viz.onefile TRACE.npz OUT.html``."""

from __future__ import annotations

import sys

from viz.page.onefile import main

if __name__ == "__main__":
    sys.exit(main())
