"""Writes docs/licences.md and the same for the page: the licence of every package, weight and voice of the service (`make licences`).

    python -m tests.licences            writes both, from the packages of this environment

The packages are those of the extras `worker` and `speech`, and what they require. A package whose licence cannot be told from its
metadata ends the program: somebody has to look.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from html import escape
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PAGE = Path(__file__).parents[1] / "docs" / "licences.md"
HTML = Path(__file__).parents[1] / "api" / "static" / "licences.html"
PROJECT, EXTRAS = "adnerf", ("worker", "speech")
BESIDE = ("hibari-tts",)
"""Packages that are optional."""
PLATFORM = re.compile(
    r"nvidia-|triton$|cuda-|tomli$|exceptiongroup$|backports-|async-timeout$|setuptools$|importlib-|zipp$|tzdata$"
)
"""Packages that only some machines or versions of Python have. CUDA's libraries are NVIDIA's, under its own terms."""

LICENCES = {
    "MIT": r"\bMIT\b|Expat",
    "Apache-2.0": r"Apache",
    "BSD": r"BSD|Enthought",
    "PSF": r"PSF|Python Software Foundation",
    "ISC": r"\bISC\b",
    "MPL-2.0": r"MPL|Mozilla",
    "LGPL-3.0": r"LGPL",
    "MIT-CMU": r"MIT-CMU|HPND",
}
"""Licences by the names that metadata give them. All of them allow commercial use."""
CONDITIONS = {
    "MPL-2.0": "yes; changes of its files stay under it",
    "LGPL-3.0": "yes; it can be replaced by another version",
}
"""What a licence demands beyond keeping its notice."""

SOURCE = "yes; whoever passes it on owes its source"
OTHERS = (
    (
        "face detection, face mesh, selfie segmentation",
        "weights of MediaPipe 0.10.21, in this package",
        "Apache-2.0",
        "yes",
    ),
    ("Moonshine tiny, English", "weights in moonshine-voice's wheel", "MIT", "yes"),
    (
        "`phones.safetensors`, `prior.safetensors` and those with a layer in their name",
        "weights of this project, trained on synthetic speech",
        "Apache-2.0",
        "yes",
    ),
    (
        "priors of lips",
        "weights that the service learns from people who agreed to it",
        "the operator's",
        "as these people agreed",
    ),
    ("hibari: heart", "voice in hibari-tts's wheel, distilled from Kokoro-82M (Apache-2.0)", "Apache-2.0", "yes"),
    ("DejaVu Sans", "two fonts in this package", "Bitstream Vera", "yes; not to be sold by themselves"),
    ("Noto", "fonts in the images of the workers (Debian's packages)", "OFL-1.1", "yes; not to be sold by themselves"),
    ("FriBidi", "library in the images of the workers (Debian's package)", "LGPL-2.1", CONDITIONS["LGPL-3.0"]),
    (
        "ffmpeg",
        "program: the system's, or the one in imageio-ffmpeg's wheel; run as a process",
        "GPL-3.0-or-later",
        SOURCE,
    ),
    ("hls.js 1.7.4", "file of the page, which plays videos while they are rendered", "Apache-2.0", "yes"),
    ("Swagger UI", "files in fastapi-offline's wheel, for /docs", "Apache-2.0", "yes"),
    (
        "the sample person",
        "a picture of an astronaut by NASA in scikit-image's wheel, moved in 3-D",
        "public domain",
        "to try the service; other uses of the face may need the permission of its person",
    ),
    ("PostgreSQL 18, SeaweedFS 4", "programs that docker-compose.yml names", "PostgreSQL, Apache-2.0", "yes"),
    (
        "Redis 8",
        "program that docker-compose.yml names",
        "AGPL-3.0, or RSALv2, or SSPL-1.0",
        "yes; whoever changes it and offers it owes its source (AGPL-3.0)",
    ),
    ("LPIPS, AlexNet", "weights that the operator may fetch, for evaluation", "BSD-2-Clause, BSD-3-Clause", "yes"),
    ("Kokoro-82M", "voices that the operator may install", "Apache-2.0", "yes"),
    (
        "Piper's voices",
        "voices that the operator may install",
        "each its own: NAME.licence.txt",
        "look it up: some forbid it",
    ),
    (
        "espeak-ng",
        "program that the operator may install; run as a process, never linked",
        "GPL-3.0-or-later",
        SOURCE,
    ),
    ("speech and recognition servers", "services that the operator may name", "their terms", "look it up"),
)
"""What is no Python package: name, what it is, licence, commercial use."""
WRITTEN = "## The EU's marking duty"
"""Heading from which on the page is written by hand."""


def packages() -> list[Distribution]:
    """Returns the packages of the service that this environment has, by name."""
    found: dict[str, Distribution] = {}

    def walk(name: str, extras: Sequence[str]) -> None:
        key = canonicalize_name(name)
        if key in found or PLATFORM.match(key):
            return
        try:
            found[key] = distribution(name)
        except PackageNotFoundError:  # an optional one, such as hibari-tts
            return
        for text in found[key].requires or ():
            requirement = Requirement(text)
            if not requirement.marker or any(requirement.marker.evaluate({"extra": extra}) for extra in ("", *extras)):
                walk(requirement.name, tuple(requirement.extras))

    walk(PROJECT, EXTRAS)
    for name in BESIDE:
        walk(name, ())
    del found[PROJECT]
    return [found[name] for name in sorted(found)]


def licence(package: Distribution) -> str:
    """Returns the licence of a package. Raises ValueError if its metadata name none that is known."""
    metadata = package.metadata
    classifiers = [each for each in metadata.get_all("Classifier") or [] if each.startswith("License ::")]
    for text in (metadata.get("License-Expression"), *classifiers, metadata.get("License")):
        names = [name for name, pattern in LICENCES.items() if text and re.search(pattern, text)]
        if names:
            return ", ".join(name for name in names if name != "MIT" or "MIT-CMU" not in names)
    raise ValueError(f"{package.name}: what is its licence? Look at its files, and add the name to LICENCES.")


def page() -> str:
    """Returns the page; what is written by hand is kept."""
    rows = [
        f"| {canonicalize_name(each.name)} | {licence(each)} | {CONDITIONS.get(licence(each), 'yes')} |"
        for each in packages()
    ]
    others = [f"| {' | '.join(row)} |" for row in OTHERS]
    return f"""# Licences

Written by `make licences` from the packages of the environment; a test compares them. The project itself is under Apache-2.0.
*Commercial use* says whether the licence allows it; every licence also demands that its notice is kept. This page is no legal advice.
What the law asks of those who show such videos is [below](#the-eus-marking-duty).

## Weights, voices, programs

| name | what it is | licence | commercial use |
|---|---|---|---|
{chr(10).join(others)}

## Packages

| package | licence | commercial use |
|---|---|---|
{chr(10).join(rows)}

{WRITTEN}{PAGE.read_text().partition(WRITTEN)[2]}"""


def html(markdown: str) -> str:
    """Returns the page as HTML: headings, paragraphs, tables and links within it, which are all that it has."""
    lines = []
    for block in markdown.strip().split("\n\n"):
        rows = block.split("\n")
        if block.startswith("#"):
            level = len(block) - len(block.lstrip("#"))
            title = block.lstrip("# ")
            lines.append(f'<h{level} id="{_anchor(title)}">{_inline(title)}</h{level}>')
        elif block.startswith("|"):
            cells = [[_inline(cell.strip()) for cell in row.strip("|").split("|")] for row in rows]
            lines.append(f"<table><tr><th>{'</th><th>'.join(cells[0])}</th></tr>")
            lines += [f"<tr><td>{'</td><td>'.join(row)}</td></tr>" for row in cells[2:]] + ["</table>"]
        else:
            lines.append(f"<p>{_inline(' '.join(rows))}</p>")
    head = '<!doctype html>\n<html lang="en">\n<head><meta charset="utf-8" /><title>Licences</title>'
    phone = '<meta name="viewport" content="width=device-width, initial-scale=1" />'
    styles = "".join(f'<link rel="stylesheet" href="/static/css/{name}.css" />' for name in ("base", "frame"))
    way_back = '<p><a href="/">To the page</a></p>'
    return "\n".join([f"{head}{phone}{styles}</head>\n<body><main>", way_back, *lines, "</main></body>\n</html>\n"])


def _inline(text: str) -> str:
    text = re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text, quote=False))
    text = re.sub(r"\[([^]]+)\]\((#[^)]+)\)", r'<a href="\2">\1</a>', text)
    return re.sub(r"\*([^*]+)\*", r"<em>\1</em>", text)


def _anchor(title: str) -> str:
    """Returns the anchor of a heading, as in rendered Markdown."""
    return re.sub(r"[^a-z0-9 ]", "", title.lower()).replace(" ", "-")


if __name__ == "__main__":
    PAGE.write_text(page())
    HTML.write_text(html(page()))
    print(f"{PAGE.name}: {len(packages())} packages")
    sys.exit(0)
