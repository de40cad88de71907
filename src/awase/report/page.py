"""The page: every table's sections in one HTML file that asks nothing of the network."""

from collections.abc import Iterable, Sequence

from awase.report.cautions import cautions
from awase.report.groups import Table, tabulate
from awase.report.html import Html, bullets, join, tag, text
from awase.report.learning import learning_curves
from awase.report.lines import build_lines
from awase.report.load import Run
from awase.report.modalities import guards_table, modalities_table, probes_table
from awase.report.provenance import confusion, reproduce, settings
from awase.report.results import comparison, findings, main_table, protocol
from awase.report.retrieval_numbers import by_protocol
from awase.report.retrieval_page import retrieval_section
from awase.report.stream_page import stream_section
from awase.report.text import failed_line

_CSS = """
:root{--ink:#1c2733;--quiet:#5c6b7a;--line:#dde3ea;--accent:#1f5a92;--soft:#f4f7fa;--other:#b3541e}
*{box-sizing:border-box}
body{margin:0;background:#fff;color:var(--ink);font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,
"Helvetica Neue",Arial,sans-serif}
main{max-width:1120px;margin:0 auto;padding:2rem 1.25rem 4rem}
h1{font-size:1.9rem;line-height:1.2;margin:0 0 .25rem}
h2{font-size:1.4rem;margin:3rem 0 .5rem;padding-top:1rem;border-top:2px solid var(--accent)}
h3{font-size:1.08rem;margin:2.25rem 0 .6rem}
p{max-width:72ch;margin:.5rem 0 1rem}
.quiet,figcaption,small{color:var(--quiet)}
.protocol{background:var(--soft);border-left:4px solid var(--accent);padding:.8rem 1rem;font-size:.94rem;max-width:none}
ul{padding-left:1.2rem}li{margin:.25rem 0;max-width:80ch}
.warnings{background:#fff8ec;border-left:4px solid #d9962b;padding:.7rem 1rem .7rem 2rem;list-style:disc}
.scroll{overflow-x:auto;margin-bottom:1.2rem;-webkit-overflow-scrolling:touch}
table{border-collapse:collapse;font-size:.875rem;width:100%;font-variant-numeric:tabular-nums}
caption{text-align:left;color:var(--quiet);font-size:.86rem;padding:0 0 .4rem}
th,td{padding:.45rem .6rem;border-bottom:1px solid var(--line);vertical-align:top;text-align:left}
thead th{border-bottom:2px solid var(--ink);vertical-align:bottom;font-weight:600;line-height:1.25}
tbody th{font-weight:600;white-space:nowrap}
.number{text-align:right;white-space:nowrap}
td small{display:block;font-size:.78rem}
thead .number{white-space:normal}
.legend{font-size:.84rem;max-width:none}
tr.marked{background:#fdf4ee}
.grouped{font-size:.8rem}.grouped th,.grouped td{padding:.38rem .26rem}.grouped tbody th{white-space:normal}
.grouped .opens,.grouped .group{border-left:1px solid var(--line)}
.grouped thead .group{text-align:center;border-bottom:1px solid var(--line)}
.sure{font-weight:650}
figure{margin:1rem 0}figure .scroll{margin:0}
figcaption strong{color:var(--ink)}figcaption{font-size:.86rem;margin-top:.3rem;max-width:80ch}
svg{max-width:100%;height:auto;display:block}
.grid{display:grid;grid-template-columns:repeat(auto-fill,minmax(270px,1fr));gap:1rem}
.grid figure{margin:0;border:1px solid var(--line);border-radius:6px;padding:.7rem}.grid figcaption{margin:0 0 .3rem}
.wide{grid-template-columns:repeat(auto-fill,minmax(min(420px,100%),1fr))}
h4{font-size:.98rem;margin:1.6rem 0 .5rem}
.train{color:var(--other);font-weight:600}.val{color:var(--accent);font-weight:600}
code,pre{font:.85em/1.45 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace}
code{overflow-wrap:anywhere}
pre{background:var(--soft);padding:.8rem;overflow:auto;max-height:28rem}
details{margin:.6rem 0}summary{cursor:pointer;color:var(--accent)}
@media(max-width:640px){main{padding:1.25rem .9rem 3rem}h1{font-size:1.5rem}figure .scroll svg{min-width:560px}
th,td{padding:.4rem .5rem}
tbody th{white-space:normal;position:sticky;left:0;background:inherit}tbody tr{background:#fff}}
@media print{details{display:none}main{max-width:none}}
"""


def render_html(runs: Iterable[Run], title: str | None = None) -> str:
    """Returns one self-contained page: style and figures are inside, nothing is fetched, no script runs.

    `title` is the heading; without it the experiments' names. Runs that must not be averaged have sections of their
    own, and failed runs are listed.
    """
    overview = tabulate(runs)
    names = dict.fromkeys(table.experiment for table in overview.tables)
    heading = title or ", ".join(names) or "No finished run"
    failures = [failed_line(run) for run in overview.failed]
    tables = one_protocol_each(overview.tables)
    sections = [_section(table, number) for number, table in enumerate(tables)]
    warnings = bullets([*overview.notes, *failures], "warnings")
    return whole_page(heading, join([tag("h1", heading), _contents(tables), warnings, *sections]))


def one_protocol_each(tables: Sequence[Table]) -> list[Table]:
    """The tables; one of retrieval runs for each protocol, since such numbers share no column."""
    return [part for table in tables for part in (by_protocol(table) if table.is_retrieval else (table,))]


def whole_page(heading: str, body: Html) -> str:
    """Returns one self-contained page around `body`, in the style of all our pages."""
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{text(heading)}</title><style>{_CSS}</style></head>\n<body><main>{body}</main></body></html>\n"
    )


def _section(table: Table, number: int) -> Html:
    if table.is_retrieval:
        return retrieval_section(table, _name(table), number)
    found = build_lines(table)
    parts = [
        ("Result", join([findings(found), main_table(found)])),
        ("Comparison", comparison(found)),
        ("The stream: every data set after every stage", stream_section(table)),
        ("What to know before quoting these numbers", bullets([*found.notes, *cautions(table)], "warnings")),
        ("Modalities", join([modalities_table(table), probes_table(table)])),
        ("Earlier tasks after later stages", guards_table(table)),
        ("Learning curves", learning_curves(table)),
        ("Confusion matrix", confusion(found)),
        ("Settings", settings(table)),
        ("How to get these numbers again", reproduce(table)),
    ]
    inner = join(join([tag("h3", name), content]) for name, content in parts if content)
    heading = tag("h2", _name(table))
    return Html(f'<section id="table-{number}">{heading}{protocol(found)}{inner}</section>')


def _name(table: Table) -> str:
    return table.dataset if table.dataset == table.experiment else f"{table.experiment}: {table.dataset}"


def _contents(tables: Sequence[Table]) -> Html:
    """Links to the tables, where there are several."""
    if len(tables) < 2:
        return Html("")
    links = (Html(f'<a href="#table-{k}">{text(_name(t))}</a>') for k, t in enumerate(tables))
    return bullets(links)
