"""Which folder is which package; everything else about the distribution is in pyproject.toml."""

from __future__ import annotations

from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py
from setuptools.command.editable_wheel import editable_wheel


class StrictEditableWheel(editable_wheel):
    """An editable install that links file by file: the default finder does not find `ordermill.http`.

    A file added later is linked by the next `pip install --editable .`
    """

    def initialize_options(self) -> None:
        """Set the mode that `--config-settings editable_mode=strict` would set."""
        super().initialize_options()
        self.mode = "strict"


_PACKAGE = '''"""Takes orders and processes them in the background: see `ordermill.engine`."""

__version__ = "{version}"
'''


class BuildWithVersion(build_py):
    """Adds what no folder of the source holds: the package `ordermill` itself, which tells its version."""

    def run(self) -> None:
        """Copy the layers, and write the package around them."""
        super().run()
        init, typed = self._made()
        init.parent.mkdir(parents=True, exist_ok=True)
        init.write_text(_PACKAGE.format(version=self.distribution.get_version()), encoding="utf-8")
        typed.touch()

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        """Every file that `run` makes."""
        return [*super().get_outputs(include_bytecode), *map(str, self._made())]

    def _made(self) -> tuple[Path, Path]:
        package = Path(self.build_lib, "ordermill")
        return package / "__init__.py", package / "py.typed"


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
        "ordermill.http": ["py.typed"],
        "ordermill.http.openapi": ["static/*", "static/vendored/*"],
        "ordermill.http.dashboard": ["static/*", "static/vendored/*", "templates/*"],
        "ordermill.store": ["py.typed"],
        "ordermill.sql": ["py.typed", "*.sql"],
    },
    include_package_data=False,
    cmdclass={"build_py": BuildWithVersion, "editable_wheel": StrictEditableWheel},
)
