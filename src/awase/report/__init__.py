"""Records in; Markdown, LaTeX, JSON and one self-contained HTML page out. Imports no torch."""

from awase.report.diagnosis_page import render_diagnosis
from awase.report.diagnosis_words import render_diagnosis_text
from awase.report.load import Run, load
from awase.report.page import render_html
from awase.report.rows import render_json, rows
from awase.report.text import render_latex, render_markdown

__all__ = [
    "Run",
    "load",
    "render_diagnosis",
    "render_diagnosis_text",
    "render_html",
    "render_json",
    "render_latex",
    "render_markdown",
    "rows",
]
