"""The page, from a checkout: ``python app.py``. Where the package is installed: ``stc-app``."""

from viz.app import AUTH, arguments, main, page, parts, private_folder, settings, warn

__all__ = ["AUTH", "arguments", "main", "page", "parts", "private_folder", "settings", "warn"]

if __name__ == "__main__":
    main()
