"""What tests of the programs in benchmarks/ share: a way to import them."""

import importlib
import pathlib
import sys

import pytest

import moe_keras

ROOT = pathlib.Path(moe_keras.__file__).parents[1]


@pytest.fixture(scope="module")
def load():
    """Imports a program of benchmarks/ and what it imports from there."""
    sys.path.insert(0, str(ROOT / "benchmarks"))
    yield importlib.import_module
    sys.path.remove(str(ROOT / "benchmarks"))
