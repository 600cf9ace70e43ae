"""Fonts: the one that has the letters of a text, of the packaged ones, the operator's and the system's."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from os.path import expanduser
from pathlib import Path

import freetype
from PIL import ImageFont, features

from adnerf_core.errors import CaptionsUnavailable

PACKAGED = Path(__file__).parent / "dejavu"
"""Folder with two fonts of the family DejaVu, which have the letters of most alphabets, and their licence."""

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


def load_font(path: Path, size: float) -> ImageFont.FreeTypeFont:
    """Loads a font of a size in px, rounded; of a collection its first one."""
    return ImageFont.truetype(str(path), round(size))


def font_for(text: str, name: str, folder: Path | None = None) -> tuple[Path, set[int]]:
    """Chooses a font that has all letters, digits and marks of a text.

    Args:
        text: what is to be drawn.
        name: file name of the packaged font that is taken if it has them.
        folder: with the operator's fonts, which come next; then come those of the system.

    Returns:
        The font's file, and the code points that it has glyphs for: it would show others (emoji, symbols) as boxes.

    Raises:
        CaptionsUnavailable: no font has the letters, or the script cannot be set here.
    """
    packaged = PACKAGED / name
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
    try:
        font = freetype.Face(str(path))
    except freetype.FT_Exception:
        return set()
    # The last pair that FreeType yields has no glyph: it marks the end.
    return {char for char, glyph in font.get_chars() if glyph} if font.is_scalable else set()
