"""Random specs, written piece by piece, so that a test itself knows where each scalar stands."""

from dataclasses import dataclass

from hypothesis import strategies as st

NAMES = st.sampled_from(["torch", "numpy", "vllm", "trænsformers", "six", "a-b.c", "🦙", "x[y]"])
VALUES = st.from_regex(r"(==|~=|<)[0-9]{1,3}(\.[0-9]{1,2}){0,2}((rc|\.post)[0-9])?", fullmatch=True)
HEADS = st.sampled_from(["", "---\n", "%YAML 1.1\n---\n", "# é\nother: &o [1, 'two']\n"])
COMMENTS = st.sampled_from(
    ["", "  # ünïcode — 日本", " # 'quoted\" & *alias: {", "  # C:\\Temp\\x #"]
)
BETWEEN = st.sampled_from(["", "\n", "# a comment: with a colon\n", "    # indented *oddly\n\n"])
STYLES = ["plain", "single", "double", "anchored", "tagged", "literal", "folded"]


@dataclass(frozen=True)
class Sheet:
    text: str
    spans: dict[str, tuple[int, int]]
    quote: dict[str, str]


def spell(style: str, number: int) -> tuple[str, str, str]:
    """Give what stands before the value, its quote, and what stands after it."""
    return {
        "plain": ("", "", ""),
        "single": ("", "'", ""),
        "double": ("", '"', ""),
        "anchored": (f"&anchor{number} ", '"', ""),
        "tagged": ("!!str ", "", ""),
        "literal": ("|-  # header — comment\n      ", "", "\n\n"),
        "folded": (">-\n      ", "", "\n"),
    }[style]


@st.composite
def sheets(
    draw: st.DrawFn,
    names: st.SearchStrategy[str] = NAMES,
    values: st.SearchStrategy[str] = VALUES,
    heads: st.SearchStrategy[str] = HEADS,
) -> Sheet:
    """Draw a text that pins some of ``names`` to ``values``, below one of ``heads``."""
    chosen = draw(st.lists(names, min_size=1, unique=True))
    flow = draw(st.booleans())
    text = draw(heads)
    text += "packages: {" if flow else "packages:\n"
    spans, quotes = {}, {}
    for name in chosen:
        style = draw(st.sampled_from(STYLES[:5] if flow else STYLES))
        value = draw(values)
        before, quote, after = spell(style, len(spans))
        key = f"'{name}'" if "[" in name else name
        text += ("" if flow else draw(BETWEEN) + "  ") + f"{key}: {before}"
        spans[name] = (len(text), len(text) + len(value) + 2 * len(quote))
        quotes[name] = quote
        text += quote + value + quote + after
        if flow:
            text += draw(st.sampled_from([", ", ",\n   ", ", # note\n  "]))
        elif style not in {"literal", "folded"}:
            text += draw(COMMENTS) + "\n"
    text += "}\n" if flow else ""
    text += draw(st.sampled_from(["", "env: {A: 'C:\\Users'}\n", "# the end, no newline"]))
    if draw(st.booleans()):
        spans = {
            name: tuple(at + text[:at].count("\n") for at in span) for name, span in spans.items()
        }
        text = text.replace("\n", "\r\n")
    return Sheet(text, spans, quotes)
