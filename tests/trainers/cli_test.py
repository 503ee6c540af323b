"""The console scripts lead to the programs that they stand for."""

import importlib.util
import pathlib
import pydoc
import re
import runpy

import trainers
from trainers import cli

SETUP = pathlib.Path(trainers.__file__).parents[1] / "setup.py"


def test_console_script_runs_the_trainer_as_the_main_module(monkeypatch):
    calls = []
    monkeypatch.setattr(
        runpy,
        "run_module",
        lambda *args, **kwargs: calls.append((args, kwargs)),
    )
    cli.nmt()
    assert calls == [
        (("trainers.nmt",), {"run_name": "__main__", "alter_sys": True})
    ]
    assert importlib.util.find_spec("trainers.nmt")


def test_every_console_script_of_the_package_exists():
    text = SETUP.read_text(encoding="utf-8")
    scripts = re.findall(r'"([\w-]+) = ([\w.]+):(\w+)"', text)
    assert ("moe-train-nmt", "trainers.cli", "nmt") in scripts
    for _, module, name in scripts:
        assert callable(pydoc.locate(f"{module}.{name}"))
