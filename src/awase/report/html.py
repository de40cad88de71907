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


def _is_number(cell: object) -> bool:
    return bool(re.match(r"(<[^>]*>)*[-+−–[]?\d|(<[^>]*>)*–", str(cell)))


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
