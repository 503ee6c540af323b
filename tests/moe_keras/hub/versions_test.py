"""A missing keras-hub is named, with the way to install it."""

import importlib
import sys

import pytest


def test_without_keras_hub_the_error_says_how_to_install_it(monkeypatch):
    for name in list(sys.modules):
        if name.startswith("moe_keras.hub"):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "keras_hub", None)
    with pytest.raises(ImportError, match="pip install"):
        importlib.import_module("moe_keras.hub")
