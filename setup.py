"""Which folder is which package; everything else about the distribution is in pyproject.toml."""

from __future__ import annotations

from setuptools import find_packages, setup
from setuptools.command.editable_wheel import editable_wheel


class StrictEditableWheel(editable_wheel):
    """An editable install that links file by file: the default finder does not find `ordermill.http`.

    A file added later is linked by the next `pip install --editable .`
    """

    def initialize_options(self) -> None:
        """Set the mode that `--config-settings editable_mode=strict` would set."""
        super().initialize_options()
        self.mode = "strict"


LAYERS = ("engine", "http", "store", "sql")

setup(
    package_dir={f"ordermill.{layer}": layer for layer in LAYERS},
    packages=[
        f"ordermill.{package}"
        for layer in LAYERS
        for package in (layer, *(f"{layer}.{inner}" for inner in find_packages(layer)))
    ],
    package_data={
        "ordermill.engine": ["py.typed"],
        "ordermill.http": ["py.typed", "static/*"],
        "ordermill.store": ["py.typed"],
        "ordermill.sql": ["py.typed", "*.sql"],
    },
    include_package_data=False,
    cmdclass={"editable_wheel": StrictEditableWheel},
)
