"""What all pages in HTML have in common: one file that loads nothing and runs nothing, and whose texts are escaped."""

import html

from consumers.cli.paging import shown

_STYLE = """
:root { color-scheme: light dark; --fg: #1c1e21; --bg: #fff; --dim: #5c636e; --line: #d8dce2; --soft: #f5f6f8;
  --add: #116329; --add-bg: #e6f6ea; --del: #a40e26; --del-bg: #fdecee; --mod: #7a4d00; --mod-bg: #fdf3dc;
  --link: #0b57d0; }
@media (prefers-color-scheme: dark) { :root { --fg: #e4e6ea; --bg: #14161a; --dim: #9aa2ae; --line: #32363d;
  --soft: #1d2026; --add: #7ee2a0; --add-bg: #12301d; --del: #ff9aa5; --del-bg: #3a161b; --mod: #f1c671;
  --mod-bg: #34280f; --link: #8ab4f8; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2rem 1.25rem 4rem; max-width: 62rem; background: var(--bg); color: var(--fg);
  font: 16px/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 0 .75rem; }
h2 { font-size: 1.2rem; margin: 2.5rem 0 .75rem; padding-bottom: .3rem; border-bottom: 1px solid var(--line); }
h3 { font-size: 1rem; margin: 1.25rem 0 .4rem; color: var(--dim); font-weight: 600; }
a { color: var(--link); }
.sides { display: grid; grid-template-columns: max-content 1fr; gap: .15rem 1rem; margin: 0 0 1rem; }
.sides dt { color: var(--dim); } .sides dd { margin: 0; }
.note { background: var(--mod-bg); color: var(--mod); padding: .5rem .75rem; border-radius: .35rem; }
.counts { background: var(--soft); padding: .5rem .75rem; border-radius: .35rem; }
ul { list-style: none; margin: 0; padding: 0; }
li { display: grid; grid-template-columns: 1.9rem 1fr; align-items: start; padding: .3rem 0; }
li + li { border-top: 1px solid var(--line); }
.mark { width: 1.35rem; text-align: center; border-radius: .25rem; font: 600 .9rem/1.35rem ui-monospace, monospace; }
.add .mark { background: var(--add-bg); color: var(--add); }
.del .mark { background: var(--del-bg); color: var(--del); }
.mod .mark { background: var(--mod-bg); color: var(--mod); }
.by { color: var(--dim); font-size: .9rem; display: block; }
.targets li { font: .85rem/1.45 ui-monospace, monospace; }
.targets .by { font: .85rem/1.45 system-ui, sans-serif; }
details { margin: .5rem 0; } summary { cursor: pointer; color: var(--dim); }
table { border-collapse: collapse; width: 100%; font-size: .9rem; }
th, td { text-align: left; vertical-align: top; padding: .25rem .75rem .25rem 0; border-top: 1px solid var(--line); }
th { color: var(--dim); font-weight: 600; border-top: 0; white-space: nowrap; }
tr:target, li:target { background: var(--mod-bg); }
@media print { body { max-width: none; } }
"""


def escaped(text: object) -> str:
    """A text, perhaps of the log and so from anybody, as HTML."""
    return html.escape(shown(str(text)))


def page_head(title: str, style: str = "") -> str:
    """A page up to the beginning of its content, given a title that is HTML already, and more style."""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>{_STYLE}{style}</style>\n</head>\n<body>\n<main>\n"
    )
