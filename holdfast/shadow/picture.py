"""Pure: a diff as an SVG, which a browser shows in light or dark as its reader's desk is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from xml.sax.saxutils import escape

from holdfast.shadow.diff import Diff

WIDTH: Final = 760
LEFT: Final = 190
BAR: Final = 420
ROW: Final = 46
TOP: Final = 96
STYLE: Final = """
svg{font:14px system-ui,-apple-system,"Segoe UI",sans-serif;background:#fff;color:#1c2330}
text{fill:#1c2330}.dim{fill:#5b6575}.was{fill:#8a96a8}.would{fill:#2f6fde}.paper{fill:#fff}.axis{stroke:#d7dce4}
@media (prefers-color-scheme:dark){svg{background:#14181f}text{fill:#e8ecf2}.dim{fill:#9aa6b8}.was{fill:#667286}.would{fill:#6ea2ff}
.paper{fill:#14181f}.axis{stroke:#343c49}}
"""


def svg(diff: Diff, rules: Mapping[str, Any]) -> str:
    """Return the picture: for each decision, and for units and revenue, what was and what would have been."""
    groups = [(name.lower().replace("_", " "), was, would, f"{was:,}", f"{would:,}") for name, (was, would) in diff.decisions().items()]
    groups += [("units kept", diff.units[0], diff.units[1], f"{diff.units[0]:,}", f"{diff.units[1]:,}")]
    groups += [(f"revenue {c}", was, would, f"{was / 100:,.2f}", f"{would / 100:,.2f}") for c, (was, would) in sorted(diff.revenue.items())]
    most = max([1, *(n for was, would in diff.decisions().values() for n in (was, would))])
    orders = len(diff.decisions())
    rows = "".join(_row(i, group, most if i < orders else max(1, *group[1:3])) for i, group in enumerate(groups))
    height = TOP + ROW * len(groups) + 24
    said = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in rules.items())
    title = f"{diff.different:,} of {diff.orders:,} orders would have ended differently"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" role="img" aria-label="{escape(title)}">'
        f'<style>{STYLE}</style><rect class="paper" width="{WIDTH}" height="{height}"/>'
        f'<text x="24" y="36" font-size="19" font-weight="600">{escape(title)}</text><text class="dim" x="24" y="60">{escape(said)}</text>'
        f'<rect class="was" x="24" y="72" width="12" height="12"/><text class="dim" x="42" y="83">was</text>'
        f'<rect class="would" x="90" y="72" width="12" height="12"/><text class="dim" x="108" y="83">would have been</text>{rows}</svg>\n'
    )


def _row(number: int, group: tuple[str, int, int, str, str], most: int) -> str:
    name, was, would, was_text, would_text = group
    y = TOP + ROW * number
    bars = "".join(
        f'<rect class="{kind}" x="{LEFT}" y="{y + 6 + 17 * line}" width="{max(0, value) * BAR / most:.1f}" height="14" rx="2"/>'
        f'<text class="dim" x="{LEFT + max(0, value) * BAR / most + 8:.1f}" y="{y + 18 + 17 * line}" font-size="12">{escape(text)}</text>'
        for line, (kind, value, text) in enumerate((("was", was, was_text), ("would", would, would_text)))
    )
    return f'<line class="axis" x1="24" x2="{WIDTH - 24}" y1="{y}" y2="{y}"/><text x="24" y="{y + 27}">{escape(name)}</text>{bars}'
