"""The web page: its JavaScript tests run under node, and its files keep to the page's own rules."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from streamtrack.resources import resource

WEB = resource("web")
TESTS = sorted(Path(__file__).with_name("web").glob("*.test.mjs"))


@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.stem)
def test_page_module_passes_its_own_tests(path):
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed; install nodejs to run the page's own tests")
    result = subprocess.run([node, "--test", path], capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stdout + result.stderr


def test_page_obeys_its_content_security_policy():
    """default-src 'self' allows no inline script, style or handler."""
    html = (WEB / "index.html").read_text()
    assert not re.search(r"<style|<script(?![^>]*\bsrc=)|\sstyle=|\son\w+=|javascript:", html)
    assert not re.search(r'(?:src|href)="(?:https?:)?//', html)


def test_page_puts_names_of_others_in_as_text_only():
    for module in WEB.glob("*.js"):
        assert not re.search(
            r"innerHTML|outerHTML|insertAdjacentHTML|document\.write", module.read_text()
        )


def test_every_element_a_module_asks_for_is_in_the_page():
    html = (WEB / "index.html").read_text()
    present = set(re.findall(r'\bid="([\w-]+)"', html))
    for module in WEB.glob("*.js"):
        asked = set(re.findall(r'\$\("([\w-]+)"\)', module.read_text()))
        assert asked <= present, module.name


def test_every_module_the_page_imports_is_there():
    for module in WEB.glob("*.js"):
        for name in re.findall(r'from "\./([\w.]+)"', module.read_text()):
            assert (WEB / name).is_file()
