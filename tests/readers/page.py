"""Whether the pages are such that people can use them: page.py HEIRLOOM FOLDER-OR-PAGE... [--pictures OUT]

Opens what `heirloom render --as html` makes of a report's folder, or a page (*.html) that another command wrote, in a headless Chromium, light and dark, 400 and 1,400 pixels wide: axe-core must find nothing, nothing may be
fetched or run, and nothing may be wider than the window. `--pictures` keeps what it looks like. Needs playwright and axe-playwright-python (PyPI) and a
Chromium (`CHROMIUM` names it, else `chromium` on the path).
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import sync_playwright

arguments = sys.argv[1:]
pictures = None
if "--pictures" in arguments:
    at = arguments.index("--pictures")
    pictures = Path(arguments[at + 1])
    pictures.mkdir(parents=True, exist_ok=True)
    del arguments[at : at + 2]
heirloom, *folders = arguments
chromium = os.environ.get("CHROMIUM") or shutil.which("chromium")

with sync_playwright() as playwright, tempfile.TemporaryDirectory() as work:
    browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
    for folder in map(Path, folders):
        page_file = folder.resolve()
        if folder.suffix != ".html":
            page_file = Path(work) / f"{folder.name}.html"
            subprocess.run([heirloom, "--quiet", "render", folder, "--as", "html", "--output", page_file], check=True)
        assert page_file.stat().st_size < 2 << 20, page_file.stat().st_size
        for scheme in ["light", "dark"]:
            for width in [400, 1400]:
                # axe is a script: the page's own policy would keep it out.
                for bypass in [False, True]:
                    context = browser.new_context(color_scheme=scheme, viewport={"width": width, "height": 900}, bypass_csp=bypass)
                    page = context.new_page()
                    asked, said = [], []
                    page.on("request", lambda request: asked.append(request.url))
                    page.on("console", lambda message: said.append(message.text))
                    page.goto(page_file.as_uri())
                    assert [url for url in asked if not url.startswith("data:")] == [page_file.as_uri()], asked
                    assert page.evaluate("document.documentElement.scrollWidth") <= width
                    if bypass:
                        found = Axe().run(page)
                        assert found.violations_count == 0, found.generate_report()
                    else:
                        assert said == [], said
                        assert page.evaluate("getComputedStyle(document.body).margin") == "0px", "the page's policy keeps its own style out"
                        if pictures:
                            page.screenshot(path=pictures / f"{page_file.stem}-{scheme}-{width}.png", full_page=True)
                            if scheme == "light" and width == 1400:
                                page.pdf(path=pictures / f"{page_file.stem}.pdf", format="A4")
                    context.close()
        print(f"readers: the page {page_file.name} is sound, {page_file.stat().st_size >> 10} KiB")
    browser.close()
