"""The page in a real browser: nothing on its console, its parts there, as wide as a phone, in dark and in light."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from bnfold.verify.reports.html import html
from tests.verify.reports.documents import Document

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "headless_shell")
BROWSER = next((path for path in map(shutil.which, NAMES) if path), None)

pytestmark = pytest.mark.skipif(BROWSER is None, reason=f"no browser found: none of {', '.join(NAMES)} is installed")

MEASURE = """<script>
document.documentElement.style.width = "360px";
addEventListener("load", () => {
  const beyond = [...document.querySelectorAll("body *")].filter(e => e.getBoundingClientRect().right > 361);
  document.body.dataset.beyond = beyond.map(e => e.tagName + "." + e.getAttribute("class")).join(" ");
  document.body.dataset.background = getComputedStyle(document.body).backgroundColor;
  document.body.dataset.small = [...document.querySelectorAll("svg text")]
    .filter(e => parseFloat(getComputedStyle(e).fontSize) < 11).length;
  document.body.dataset.labels = [...document.querySelectorAll("#edge-cases .figure")]
    .map(e => getComputedStyle(e.parentElement, "::before").content).join(" ");
});
</script></body>"""


def opened(page: Path, *options: str) -> tuple[str, list[str]]:
    """Open a page; return its document as the browser holds it, and the lines of its console."""
    assert BROWSER is not None
    command = [
        BROWSER,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--no-first-run",
        "--disable-background-networking",
    ]
    command += [f"--user-data-dir={page.parent / 'profile'}", "--enable-logging=stderr", *options, "--dump-dom"]
    done = subprocess.run([*command, page.as_uri()], capture_output=True, text=True, check=True, timeout=120)
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


@pytest.fixture
def page(bad: Document, tmp_path: Path) -> Path:
    """A full report as a file."""
    path = tmp_path / "report.html"
    path.write_text(html(bad), encoding="utf-8")
    return path


def test_the_page_opens_without_a_word(page: Path) -> None:
    """No error and no warning on the console, and every section with its picture."""
    document, console = opened(page)
    assert console == []
    for part in ("verdict", "ladder", "outputs", "depth", "folds", "placement"):
        assert f'id="{part}"' in document
    assert document.count("<svg") > 10


def test_the_console_is_listened_to(page: Path) -> None:
    """What the page's own policy forbids shows on the console: the test above can fail."""
    page.write_text(page.read_text(encoding="utf-8").replace("</body>", "<script>1</script></body>"), encoding="utf-8")
    _, console = opened(page)
    assert any("Content Security Policy" in line for line in console)


@pytest.mark.parametrize(
    ("scheme", "dark"), [("--blink-settings=preferredColorScheme=0", True), ("--hide-scrollbars", False)]
)
def test_it_fits_a_phone_in_dark_and_in_light(page: Path, scheme: str, dark: bool) -> None:
    """At 360 pixels nothing sticks out, letters have 11 pixels, figures say what they are, and the scheme is kept."""
    text = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page.read_text(encoding="utf-8"))
    page.write_text(text.replace("</body>", MEASURE).replace("<details", "<details open"), encoding="utf-8")
    document, _ = opened(page, "--window-size=500,900", scheme)
    assert 'data-beyond=""' in document, re.findall(r'data-beyond="[^"]*"', document)
    assert 'data-small="0"' in document
    assert "error / limit" in re.findall(r'data-labels="([^"]*)"', document)[0]
    (background,) = re.findall(r'data-background="rgb\((\d+)', document)
    assert (int(background) < 128) is dark
