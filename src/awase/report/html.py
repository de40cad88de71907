"""Small pieces of HTML: text is escaped unless it is already `Html`."""

import re
from collections.abc import Iterable, Sequence
from html import escape


class Html(str):
    """Text that is markup already."""


def text(value: object) -> Html:
    """The value as markup; escaped unless it is `Html`."""
    return value if isinstance(value, Html) else Html(escape(str(value)))


def tag(name: str, *children: object, css: str = "") -> Html:
    """`<name class="css">children</name>`."""
    attribute = f' class="{escape(css)}"' if css else ""
    return Html(f"<{name}{attribute}>{''.join(text(child) for child in children)}</{name}>")


def join(parts: Iterable[object]) -> Html:
    """The parts one after another."""
    return Html("".join(text(part) for part in parts))


def table(
    titles: Sequence[object], rows: Sequence[Sequence[object]], *, caption: str, marked: Sequence[int] = ()
) -> Html:
    """A table that scrolls sideways on a narrow screen; the first column names the row; `marked` rows stand out.

    Further columns are set as numbers where every cell begins like one, else as words.
    """
    kinds = ["number" if all(_is_number(row[k]) for row in rows) else "words" for k in range(len(titles))]
    head = tag("tr", *(tag("th", title, css=kind) for title, kind in zip(titles, kinds, strict=True)))
    body = []
    for place, row in enumerate(rows):
        cells = [Html(f'<th scope="row">{text(row[0])}</th>')]
        cells += [tag("td", value, css=kind) for value, kind in zip(row[1:], kinds[1:], strict=True)]
        body.append(tag("tr", *cells, css="marked" if place in marked else ""))
    inner = Html(f"<table><caption>{text(caption)}</caption><thead>{head}</thead><tbody>{join(body)}</tbody></table>")
    return Html(f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(caption)}">{inner}</div>')


def grouped_table(
    first: object,
    groups: Sequence[tuple[object, Sequence[object]]],
    rows: Sequence[Sequence[object]],
    *,
    caption: str,
    marked: Sequence[int] = (),
) -> Html:
    """A table of numbers whose columns stand in groups, each with a title above those of its columns."""
    above = [Html(f'<th rowspan="2" class="words">{text(first)}</th>')]
    above += [Html(f'<th colspan="{len(titles)}" class="group">{text(name)}</th>') for name, titles in groups]
    starts = {place for place, name in enumerate(n for _, titles in groups for n in _opening(titles)) if name}
    below = [tag("th", t, css=_number_css(k in starts)) for k, t in enumerate(t for _, ts in groups for t in ts)]
    body = []
    for place, row in enumerate(rows):
        cells = [Html(f'<th scope="row">{text(row[0])}</th>')]
        cells += [tag("td", value, css=_number_css(k in starts)) for k, value in enumerate(row[1:])]
        body.append(tag("tr", *cells, css="marked" if place in marked else ""))
    head = join([tag("tr", *above), tag("tr", *below)])
    inner = f"<caption>{text(caption)}</caption><thead>{head}</thead><tbody>{join(body)}</tbody>"
    return Html(
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(caption)}">'
        f'<table class="grouped">{inner}</table></div>'
    )


def _opening(titles: Sequence[object]) -> list[bool]:
    """Whether a column begins its group."""
    return [place == 0 for place in range(len(titles))]


def _number_css(opens: bool) -> str:
    return "number opens" if opens else "number"


def _is_number(cell: object) -> bool:
    return bool(re.match(r"(<[^>]*>)*[-+−–[]?[\d∞]|(<[^>]*>)*–", str(cell)))


def bullets(sentences: Iterable[object], css: str = "") -> Html:
    """A list of sentences; nothing where there are none."""
    items = [tag("li", sentence) for sentence in sentences]
    return tag("ul", *items, css=css) if items else Html("")


def fold_out(title: str, *children: object) -> Html:
    """Something that is shown when asked for."""
    return Html(f"<details><summary>{text(title)}</summary>{join(children)}</details>")


def figure(svg: str, caption: object) -> Html:
    """A figure with its caption; a wide one scrolls sideways on a narrow screen."""
    return Html(f'<figure><div class="scroll">{svg}</div><figcaption>{text(caption)}</figcaption></figure>')
