"""Start the page on a Space; its variables are the settings."""

import os

os.environ.setdefault("GRADIO_SERVER_NAME", "0.0.0.0")
os.environ.setdefault("STC_APP_ALLOW_HOST", os.environ.get("SPACE_HOST", ""))
# Spaces' own proxies: they name the visitor's address, which limits are counted by.
os.environ.setdefault("FORWARDED_ALLOW_IPS", "10.0.0.0/8")

from viz.app import main  # noqa: E402

if __name__ == "__main__":
    main([])
