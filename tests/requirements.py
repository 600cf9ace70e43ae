"""What a distribution requires, as the metadata of the installed ones say."""

from __future__ import annotations

from importlib.metadata import Distribution, distribution

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name


def closure(root: Distribution, *extras: str) -> set[str]:
    """Returns the canonical names of `root`, with these extras, and of all distributions that it requires."""
    seen, waiting = set(), [(root, frozenset(extras))]
    while waiting:
        one, chosen = waiting.pop()
        for text in one.requires or []:
            need = Requirement(text)
            wanted = (canonicalize_name(need.name), frozenset(need.extras))
            applies = need.marker is None or any(need.marker.evaluate({"extra": extra}) for extra in ["", *chosen])
            if applies and wanted not in seen:
                seen.add(wanted)
                waiting.append((distribution(need.name), wanted[1]))
    return {canonicalize_name(root.name), *(name for name, _ in seen)}
