"""How the page looks: one style sheet, light and dark, from a phone's width up."""

import base64
import hashlib
from typing import Final

STYLE: Final = """
:root {
  color-scheme: light dark;
  --ground: #f6f7f9; --card: #ffffff; --line: #dfe3e8; --text: #16191d; --dim: #57606a;
  --good: #1a7f4b; --low: #9a6700; --dire: #c62828; --track: #e6e9ed; --none: #b9c1ca;
  --good-ground: #e3f4ea; --low-ground: #fdf2d5; --dire-ground: #fde7e7; --link: #0b57b0;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #111418; --card: #191d23; --line: #2b323b; --text: #e8ebef; --dim: #9aa5b1;
    --good: #4cc38a; --low: #e2a93b; --dire: #ff7b72; --track: #2a313a; --none: #4a5560;
    --good-ground: #13291f; --low-ground: #2d2410; --dire-ground: #351a1b; --link: #79b8ff;
  }
}
* { box-sizing: border-box; margin: 0; }
body {
  background: var(--ground); color: var(--text);
  font: 16px/1.45 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif;
  font-variant-numeric: tabular-nums;
  max-width: 76rem; margin: 0 auto; padding: 1.25rem clamp(0.9rem, 3vw, 2rem) 3rem;
}
a { color: var(--link); }
a:focus-visible { outline: 3px solid var(--link); outline-offset: 2px; border-radius: 2px; }
nav { display: flex; flex-wrap: wrap; gap: 0.25rem 1.25rem; font-size: 0.9rem; }
time { white-space: nowrap; }
code {
  font: 0.92em ui-monospace, "SF Mono", Menlo, "DejaVu Sans Mono", monospace;
  overflow-wrap: anywhere;
}
header { display: grid; gap: 0.75rem; margin-bottom: 1.75rem; }
.top { display: flex; flex-wrap: wrap; gap: 0.25rem 1rem; align-items: baseline; }
.top p { margin-left: auto; color: var(--dim); font-size: 0.9rem; }
h1 { font-size: 1.15rem; letter-spacing: 0.01em; }
h2 { font-size: 1.05rem; margin: 1.75rem 0 0.2rem; }
h3 { font-size: 1rem; overflow-wrap: anywhere; }
.verdict {
  border-radius: 0.6rem; border: 1px solid var(--line); border-left-width: 0.4rem;
  background: var(--card); padding: 0.85rem 1.1rem;
}
.verdict p { font-size: 1.2rem; font-weight: 600; }
.verdict ul { padding-left: 1.2rem; margin-top: 0.5rem; display: grid; gap: 0.35rem; }
.verdict li { overflow-wrap: anywhere; }
.verdict.ok { border-left-color: var(--good); background: var(--good-ground); }
.verdict.warning { border-left-color: var(--low); background: var(--low-ground); }
.verdict.critical { border-left-color: var(--dire); background: var(--dire-ground); }
.note, .legend { color: var(--dim); font-size: 0.9rem; }
.legend { display: flex; flex-wrap: wrap; gap: 0.2rem 1.1rem; margin-bottom: 0.6rem; }
.legend svg { width: 0.5rem; height: 0.9rem; vertical-align: -0.1rem; margin-right: 0.35rem; }
ol {
  list-style: none; padding: 0; background: var(--card);
  border: 1px solid var(--line); border-radius: 0.6rem;
}
ol > li {
  display: grid; gap: 0.35rem 1.5rem; padding: 0.8rem 1.1rem; align-items: center;
  grid-template-columns: minmax(9rem, 1fr) minmax(14rem, 2fr) minmax(12rem, 1.4fr);
  grid-template-areas: "who left month" "error error error";
}
ol > li + li { border-top: 1px solid var(--line); }
.who { grid-area: who; }
.who p { font-size: 0.85rem; color: var(--dim); }
.status { font-weight: 600; color: var(--text); }
.status.good { color: var(--good); }
.status.dire { color: var(--dire); }
.left { grid-area: left; }
.left p { display: flex; flex-wrap: wrap; justify-content: space-between; gap: 0 1rem; }
.left p, .month p { font-size: 0.85rem; color: var(--dim); }
.left strong { color: var(--text); font-size: 0.95rem; }
.month { grid-area: month; }
.error, .hold {
  grid-area: error; font-size: 0.88rem; overflow-wrap: anywhere; color: var(--text);
  border-left: 3px solid var(--dire); padding-left: 0.6rem;
}
.error b { font-weight: 600; color: var(--dire); }
.hold { border-left-color: var(--low); }
.hold b { font-weight: 600; color: var(--low); }
svg { display: block; width: 100%; forced-color-adjust: none; }
.bar { height: 0.75rem; border-radius: 0.375rem; margin-bottom: 0.25rem; }
.strip { height: 1.4rem; margin-bottom: 0.15rem; }
.track { fill: var(--track); }
.good { fill: var(--good); } .low { fill: var(--low); } .dire { fill: var(--dire); }
.none { fill: var(--none); }
.mark { fill: var(--ground); }
.legend svg { display: inline-block; }
@media (max-width: 46rem) {
  ol > li {
    grid-template-columns: minmax(0, 1fr);
    grid-template-areas: "who" "left" "month" "error";
    padding: 0.9rem 1rem;
  }
  .who { display: flex; flex-wrap: wrap; gap: 0 0.75rem; align-items: baseline; }
  .who p { margin-left: auto; }
  .top p { margin-left: 0; }
}
@media (prefers-contrast: more) {
  :root { --dim: var(--text); --line: var(--text); }
}
"""

_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()

CONTENT_SECURITY_POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        f"style-src 'sha256-{_HASH}'",
        "img-src data:",  # the empty icon
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
"""Nothing is loaded, nothing runs, nothing is sent, and nobody frames it."""
