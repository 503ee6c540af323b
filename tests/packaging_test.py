"""What is installed: every module, and the file that says it has types."""

import importlib
import inspect
import pathlib
import shutil
import subprocess
import sys
import tarfile
import zipfile

import pytest

import moe_keras

ROOT = pathlib.Path(moe_keras.__file__).parents[1]
PACKAGES = ("moe_keras", "translation", "language_model", "server", "trainers")
PAGE = ("index.html", "page.css", "page.js", "see.js")
SOURCES = {
    path.relative_to(ROOT)
    for package in PACKAGES
    for path in (ROOT / package).rglob("*.py")
}


def test_every_folder_of_modules_is_a_package():
    folders = {path.parent for path in SOURCES}
    assert len(folders) > 20  # the checkout is what is looked at
    missing = [
        str(folder)
        for folder in sorted(folders)
        if folder / "__init__.py" not in SOURCES
    ]
    assert not missing


@pytest.fixture
def built(tmp_path):
    """The folder with wheel and sdist of a copy of the checkout."""
    for name in ("setup.py", "README.md", "LICENSE", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    for package in PACKAGES:
        shutil.copytree(
            ROOT / package,
            tmp_path / package,
            ignore=shutil.ignore_patterns("__pycache__"),
        )
    subprocess.run([sys.executable, "-m", "build"], cwd=tmp_path, check=True)
    return tmp_path / "dist"


@pytest.mark.slow  # an environment of its own is made for the build
def test_wheel_and_sdist_hold_every_module(built):
    page = {f"server/static/{name}" for name in PAGE}
    expected = {*map(str, SOURCES), "moe_keras/py.typed", *page}
    (wheel,) = built.glob("*.whl")
    assert not expected - set(zipfile.ZipFile(wheel).namelist())
    (sdist,) = built.glob("*.tar.gz")
    names = tarfile.open(sdist).getnames()
    assert not expected - {name.partition("/")[2] for name in names}


def test_files_that_the_fast_lane_leaves_out_exist():
    lines = (ROOT / "tests/thorough.txt").read_text("utf-8").splitlines()
    files = [line for line in lines if not line.startswith("#")]
    assert files
    assert all((ROOT / "tests" / file).exists() for file in files)


PUBLIC_MODULES = (
    "moe_keras.losses",
    "moe_keras.monitoring",
    "moe_keras.parallel",
    "moe_keras.plan",
    "moe_keras.analysis",
    "moe_keras.report",
    "moe_keras.hub",
)


@pytest.mark.parametrize("path", PUBLIC_MODULES)
def test_public_functions_have_types(path):
    """What py.typed promises, of functions; layers are typed as Keras' are."""
    module = importlib.import_module(path)
    names = getattr(module, "__all__", vars(module))
    for name in names:
        function = inspect.unwrap(getattr(module, name))
        if not inspect.isfunction(function) or name.startswith("_"):
            continue
        signature = inspect.signature(function)
        assert signature.return_annotation is not signature.empty, name
        for parameter in signature.parameters.values():
            assert parameter.annotation is not parameter.empty, (
                name,
                parameter.name,
            )
