"""What pyproject.toml cannot say: found packages, and one more that lies elsewhere.

The top-level folder ``assets`` is installed as ``stc_core/assets``;
``stc_core.assets_folder.assets_folder`` finds it in both places.
"""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["stc_core*", "viz*"]), "stc_core.assets"],
    package_dir={"stc_core.assets": "assets"},
)
