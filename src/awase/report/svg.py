"""A drawing becomes an inline SVG whose text is text, that asks nothing of the network and says what it shows."""

import io
import re
import warnings
from collections.abc import Callable
from html import escape
from typing import Any

import matplotlib
from matplotlib.figure import Figure

INK, ACCENT, SOFT, GRID, OTHER = "#1c2733", "#1f5a92", "#9dbbd8", "#dde3ea", "#b3541e"
_STYLE: dict[Any, Any] = {
    "text.parse_math": False,
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9.0,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": "#8a97a5",
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "axes.axisbelow": True,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
}


def draw(paint: Callable[[Figure], None], width: float, height: float, alt: str) -> str:
    """Returns the SVG element of what `paint` puts on an empty figure of the given size in inches.

    `alt` is read to those who cannot see it. The same drawing gives the same text.
    """
    with matplotlib.rc_context({**_STYLE, "svg.hashsalt": alt}), warnings.catch_warnings():
        # Names in scripts that the measuring font lacks are drawn by the browser's fonts all the same.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure = Figure(figsize=(width, height), layout="constrained")
        paint(figure)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    # Names that nothing refers to would come twice on a page with several figures.
    text = re.sub(r' id="[A-Za-z0-9.]+_\d+"', "", text)
    return text.replace("<svg", f'<svg role="img" aria-label="{escape(alt, quote=True)}"', 1)
