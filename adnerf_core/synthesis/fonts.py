"""Fonts: the one that has the letters of a text, of those that come with the packages, the operator's and the system's."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from importlib.util import find_spec
from os.path import expanduser
from pathlib import Path

from PIL import ImageFont, features

from adnerf_core.errors import CaptionsUnavailable, MissingBackend

SYSTEM_FOLDERS = (
    "~/.local/share/fonts",
    "~/.fonts",
    "/usr/local/share/fonts",
    "/usr/share/fonts",
    "~/Library/Fonts",
    "/Library/Fonts",
    "/System/Library/Fonts",
    "C:/Windows/Fonts",
)
"""Where Linux, macOS and Windows keep fonts; those of the user come first."""
SUFFIXES = (".ttf", ".otf", ".ttc", ".otc")
"""Files of scalable fonts."""
PLACEHOLDERS = "lastresort"
"""Begin of the names of fonts that have a box for every character (macOS, Unicode)."""
LESS_LEGIBLE = ("italic", "oblique", "serif", "mono", "thin", "light", "condensed")
"""Parts of file names: such fonts are taken only if no other has the letters."""
SELECTORS = range(0xFE00, 0xFE10)
"""Variation selectors: they show nothing themselves."""


def packaged_font(name: str) -> Path:
    """Returns the file of a font of the family DejaVu, which comes with Matplotlib and has the letters of most alphabets.

    Raises:
        MissingBackend: the font is missing.
    """
    package = find_spec("matplotlib")
    path = Path(package.origin).parent / "mpl-data/fonts/ttf" / name if package and package.origin else None
    if path is None or not path.exists():
        raise MissingBackend(
            "Text in pictures needs the fonts of Matplotlib.", "Run: pip install matplotlib, or ask the operator to."
        )
    return path


def load_font(path: Path, size: float) -> ImageFont.FreeTypeFont:
    """Loads a font of a size in px, rounded; of a collection its first one."""
    return ImageFont.truetype(str(path), round(size))


def font_for(text: str, name: str, folder: Path | None = None) -> tuple[Path, set[int]]:
    """Chooses a font that has all letters, digits and marks of a text.

    Args:
        text: what is to be drawn.
        name: the font of Matplotlib that is taken if it has them.
        folder: with the operator's fonts, which come next; then come those of the system.

    Returns:
        The font's file, and the code points that it has glyphs for: it would show others (emoji, symbols) as boxes.

    Raises:
        CaptionsUnavailable: no font has the letters, or the script cannot be set here.
        MissingBackend: the font of Matplotlib is missing.
    """
    packaged = packaged_font(name)
    letters = {ord(char) for char in text if _is_needed(char)}
    if not features.check("raqm") and any(map(_needs_shaping, text)):
        raise CaptionsUnavailable(
            "The letters of this script must be joined or ordered, and the library for it is missing.",
            "Ask the operator to install FriBidi (apt install libfribidi0), or use a caption file (captions.file).",
        )
    for path in (packaged, *_installed(folder)):
        known = _characters(path)
        if letters <= known:
            return path, known
    missing = chr(min(letters - _characters(packaged)))
    raise CaptionsUnavailable(
        f"No font of the worker has all letters of the text; DejaVu lacks {missing}.",
        "Ask the operator to install a font of this script (apt install fonts-noto-cjk, or a file in ADNERF_FONTS_DIR), "
        "or use a caption file (captions.file).",
    )


def without_boxes(text: str, known: set[int]) -> str:
    """Returns the lines of a text without the signs that a font lacks; `known` are the code points that it has."""
    return "".join(char for char in text if char == "\n" or ord(char) in known)


def _is_needed(char: str) -> bool:
    """Tells whether a text cannot be read without the character: a letter, a digit, or a mark that belongs to a letter."""
    return unicodedata.category(char)[0] in "LNM" and ord(char) not in SELECTORS


def _needs_shaping(char: str) -> bool:
    """Tells whether the character is of a script from right to left, or of one whose vowel signs change their places."""
    return unicodedata.bidirectional(char) in ("R", "AL") or unicodedata.category(char) == "Mc"


def _installed(folder: Path | None) -> Iterator[Path]:
    """Yields the operator's fonts and the system's; in each folder the most legible ones first."""
    # Unlike Path.expanduser, it takes a user without a home.
    system = [Path(expanduser(each)) for each in SYSTEM_FOLDERS]
    for place in [folder, *system] if folder else system:
        files = (path for path in place.rglob("*") if path.suffix.lower() in SUFFIXES)
        yield from sorted((path for path in files if not path.name.lower().startswith(PLACEHOLDERS)), key=_illegibility)


def _illegibility(path: Path) -> tuple[bool, bool, str]:
    name = path.stem.lower()
    return any(part in name for part in LESS_LEGIBLE), "bold" not in name, str(path)


def _characters(path: Path) -> set[int]:
    """Returns the code points that a font has glyphs for; none if the file is no scalable font."""
    from matplotlib.ft2font import FT2Font

    try:
        font = FT2Font(str(path))
    except (OSError, RuntimeError):
        return set()
    return set(font.get_charmap()) if font.scalable else set()
