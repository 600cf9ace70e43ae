"""Packs the migrations into the wheel: they are in `alembic/` at the top of a checkout, which is no package.

Everything else about the package is in pyproject.toml. storage/database/migrations.py looks for them in both places.
"""

from pathlib import Path
from shutil import copytree, ignore_patterns

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithMigrations(build_py):
    """Copies the packages, then the migrations into `storage`."""

    def run(self):
        """Runs the build; an editable installation uses the files of the checkout."""
        super().run()
        storage = Path(self.build_lib, "storage")
        # The images first build the requirements alone, without any package.
        if storage.is_dir() and not self.editable_mode:
            target = storage / "database" / "scripts"
            copytree("alembic", target, dirs_exist_ok=True, ignore=ignore_patterns("__pycache__"))


setup(cmdclass={"build_py": BuildWithMigrations})
