import re
import shutil
import subprocess

import pytest

from gramdyn.report import write_report

BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    # Whatever asks for the network meets a proxy that is not there.
    "--proxy-server=http://127.0.0.1:9",
    "--enable-logging=stderr",
    "--virtual-time-budget=20000",
    "--dump-dom",
]

pytestmark = pytest.mark.skipif(
    BROWSER is None, reason="no chromium, chromium-browser or google-chrome found"
)


def open_page(path, profile) -> tuple[str, str]:
    command = [str(BROWSER), *FLAGS, f"--user-data-dir={profile}", path.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return done.stdout, done.stderr


@pytest.mark.parametrize("fixture", ["finished", "diverged", "hierarchy"])
def test_every_figure_is_drawn_without_a_network(fixture, request, tmp_path):
    path = write_report(request.getfixturevalue(fixture), tmp_path / "report.html")
    names = re.findall(r'<div class="plot" id="plot-([a-z_]+)"', path.read_text())
    dom, told = open_page(path, tmp_path / "profile")
    assert "Uncaught" not in told
    assert "Content Security Policy" not in told
    assert f'data-drawn="{len(names)}"' in dom
    parts = re.split(r'<div class="plot[^>]*id="plot-', dom)[1:]
    assert len(parts) == len(names) > 2
    for name, part in zip(names, parts, strict=True):
        assert part.startswith(name)
        assert part.count('class="main-svg"') > 0, name
        assert len(re.findall(r'class="(?:trace|hm|points|js-line)', part)) > 0, name
