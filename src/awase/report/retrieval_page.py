"""The sections of a page about retrieval runs: one for each protocol of a table."""

from awase.report.cautions import cautions
from awase.report.groups import Table
from awase.report.html import Html, bullets, join, tag
from awase.report.modalities import guards_table
from awase.report.provenance import reproduce, settings
from awase.report.retrieval_curves import space_curves
from awase.report.retrieval_lines import SpaceLines, build_space_lines
from awase.report.retrieval_matrix import stages_section
from awase.report.retrieval_shape import shape_section
from awase.report.retrieval_tables import costs, findings, main_tables, protocol
from awase.report.retrieval_worst import worst_section


def retrieval_section(table: Table, heading: str, number: int) -> Html:
    """The section of a table of one protocol (`by_protocol`)."""
    found = build_space_lines(table)
    inner = join(join([tag("h3", name), content]) for name, content in _parts(found) if content)
    return Html(f'<section id="table-{number}">{tag("h2", heading)}{protocol(found)}{inner}</section>')


def _parts(found: SpaceLines) -> list[tuple[str, Html]]:
    table = found.table
    return [
        ("Result", join([findings(found), main_tables(found)])),
        ("What to know before quoting these numbers", bullets([*found.notes, *cautions(table)], "warnings")),
        ("What stages learned, kept and forgot", stages_section(found)),
        ("Learning curves", space_curves(found)),
        ("Shape of the space", shape_section(found)),
        ("Worst queries", worst_section(found)),
        ("Earlier tasks after later stages", guards_table(table)),
        ("Cost", costs(found)),
        ("Settings", settings(table)),
        ("How to get these numbers again", reproduce(table)),
    ]
