"""HTML and SVG from elements. Here, and nowhere else, text becomes markup: escaped, whatever a variant is called."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable
from typing import TypeAlias

__all__ = ["Children", "Markup", "element", "join"]

Children: TypeAlias = str | Iterable["Children"] | None
"""Text, which is escaped; markup, which is not; rows of either. None leaves a place empty."""

# What XML has no place for: controls, halves of characters, and what turns the direction of the text around.
_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9-]*")
_VOID = frozenset({"br", "hr", "link", "meta", "wbr"})


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


def element(name: str, /, *children: Children, **attributes: str | float | None) -> Markup:
    """Return an element.

    Args:
        name: Of the element.
        children: Its contents.
        attributes: Those that are None are left out. A name's last underscore is dropped, others become hyphens.

    >>> element("p", "a < b", element("b", "c"), class_="note", data_x=1.5)
    '<p class="note" data-x="1.5">a &lt; b<b>c</b></p>'
    """
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is not the name of an element")
    words = [name]
    for key, value in attributes.items():
        if value is not None:
            words.append(f'{key.removesuffix("_").replace("_", "-")}="{_escaped(_attribute(value))}"')
    opened = f"<{' '.join(words)}>"
    return Markup(opened if name in _VOID else f"{opened}{join(children)}</{name}>")


def join(children: Iterable[Children]) -> Markup:
    """Return texts and markup one after the other, as markup.

    >>> join(["<", element("br"), ["x", None]])
    '&lt;<br>x'
    """
    parts = []
    for child in children:
        if isinstance(child, Markup):
            parts.append(child)
        elif isinstance(child, str):
            parts.append(Markup(_escaped(child)))
        elif child is not None:
            parts.append(join(child))
    return Markup("".join(parts))


def _attribute(value: str | float) -> str:
    """Return a value as text; coordinates to a hundredth."""
    return value if isinstance(value, str) else f"{value:.2f}".rstrip("0").rstrip(".")


def _escaped(text: str) -> str:
    return html.escape(_UNPRINTABLE.sub("\ufffd", text), quote=True)
