"""Reads a page as a browser does, as far as tests ask."""

from html.parser import HTMLParser


class Checker(HTMLParser):
    """Opened tags must be closed in order; collects what could ask the network for something, and ids."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.addresses: list[str] = []
        self.ids: list[str] = []
        self.labels: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ("meta", "br"):
            self.open.append(tag)
        for name, value in attrs:
            if name in ("src", "href", "xlink:href", "action") and value:
                self.addresses.append(value)
            if name == "id" and value:
                self.ids.append(value)
            if tag == "svg" and name == "aria-label" and value:
                self.labels.append(value)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag
