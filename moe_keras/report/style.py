"""The style of the page, for wide and narrow screens, in light and dark.

All of it is under `.report`: the page may be shown within another one.
"""

STYLE = """
.report {
  --ground: #fff; --ink: #222; --line: #ccd2d9; --healthy: #1a7f37;
  --drifting: #8a5a00; --collapsing: #a8440b; --collapsed: #c01c28;
  background: var(--ground); color: var(--ink); color-scheme: light dark;
  font: 15px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 64em;
  overflow-wrap: anywhere; padding: .5em 0;
}
@media (prefers-color-scheme: dark) {
  html { background: #14171a }
  .report {
    --ground: #14171a; --ink: #e8ebee; --line: #414b55; --healthy: #57d071;
    --drifting: #e3b341; --collapsing: #ff9a5c; --collapsed: #ff8a80;
  }
}
.scroll { margin: 1em 0; overflow-x: auto }
table { border-collapse: collapse; min-width: 100% }
th, td {
  border-bottom: 1px solid var(--line); min-width: 4em; padding: .3em .8em;
  text-align: left; vertical-align: top;
}
.number { text-align: right } td.number { white-space: nowrap }
img { display: block; height: auto; max-width: 100% }
summary { cursor: pointer }
.healthy { color: var(--healthy) } .drifting { color: var(--drifting) }
.collapsing { color: var(--collapsing) } .collapsed { color: var(--collapsed) }
.healthy, .drifting, .collapsing, .collapsed {
  font-weight: bold; overflow-wrap: normal;
}
@media (max-width: 40em) { th, td { padding: .25em .4em } }
"""
