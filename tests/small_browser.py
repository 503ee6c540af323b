"""A real browser for tests of pages: chromium, driven by playwright.

`apt-get install chromium` and `pip install 'moe-keras[browser]'`; CHROMIUM may
name another program. Without them the tests that use it are skipped. The
fixture `browser` is in conftest.py.
"""

import importlib.util
import os
import shutil

import pytest

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium")
_IS_THERE = CHROMIUM and all(
    importlib.util.find_spec(name)
    for name in ("playwright", "axe_playwright_python")
)
# For `pytestmark` of a module.
NEEDS_CHROMIUM = [
    pytest.mark.browser,
    pytest.mark.skipif(not _IS_THERE, reason="no chromium, see small_browser"),
]
SIZES = {
    "wide": {"width": 1100, "height": 900},
    "phone": {"width": 360, "height": 740},
}


def faults(page):
    """What axe finds wrong: each rule, and the first element against it."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page).response["violations"]
    return [(fault["id"], fault["nodes"][0]["html"]) for fault in found]
