"""Records in; Markdown, LaTeX, JSON and one self-contained HTML page out. Imports no torch."""

from awase.report.load import Run, load
from awase.report.page import render_html
from awase.report.rows import render_json, rows
from awase.report.text import render_latex, render_markdown

__all__ = ["Run", "load", "render_html", "render_json", "render_latex", "render_markdown", "rows"]
