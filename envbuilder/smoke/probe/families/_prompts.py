"""Write a prompt with items in it: by the model's chat template, or by its processor's own marks.

Templates differ in what they take: a list of parts, or one string that they join to others. One
that cannot be rendered, or loses an item, is passed over: what counts is the processor, which
looks for its marks in the text. One that doubles an item is not.
"""

from __future__ import annotations

from typing import Any, Iterable, Mapping, Sequence

ASKED = "Describe."


def write(processor: Any, marks: Mapping[str, str], modalities: Sequence[str]) -> str:
    """Return a user's message with one item of each of ``modalities``, in order."""
    plain = "".join(marks[name] for name in modalities) + ASKED
    parts = [{"type": name} for name in modalities] + [{"type": "text", "text": ASKED}]
    contents = [parts, plain] if getattr(processor, "chat_template", None) else []
    for content in contents:
        prompt = rendered(processor, content)
        if prompt is not None and holds(prompt, marks, modalities):
            return prompt
    return plain


def written_mark(processor: Any, kind: str, specials: Iterable[str]) -> str | None:
    """Return the special token by which the chat template marks an item of ``kind``.

    None if there is no template, or if it writes none of ``specials`` for one. The token that the
    processor calls its own need not be it: until transformers 5, Gemma 3's was the repeated one.
    """
    if not getattr(processor, "chat_template", None):
        return None
    text = {"type": "text", "text": ASKED}
    bare = rendered(processor, [text])
    marked = rendered(processor, [{"type": kind}, text])
    if bare is None or marked is None:
        return None
    more = [one for one in specials if one and marked.count(one) > bare.count(one)]
    return min(more, key=lambda one: (marked.index(one), -len(one))) if more else None


def rendered(processor: Any, content: object) -> str | None:
    """Return a user's message of ``content`` by the chat template; None if it cannot be rendered.

    Any exception of the template's is its way to say so: it is code of the model's, not of ours.
    """
    message = {"role": "user", "content": content}
    try:
        prompt: str = processor.apply_chat_template([message], tokenize=False)
    except Exception:
        return None
    return prompt


def holds(prompt: str, marks: Mapping[str, str], modalities: Sequence[str]) -> bool:
    """Return whether ``prompt`` holds its question, no item's mark too few, and no strange one.

    One too many is the template's own fault, and is sent as it is: whoever serves the model will.
    """
    wanted = dict.fromkeys(marks.values(), 0)
    for name in modalities:
        wanted[marks[name]] += 1
    found = {text: prompt.count(text) for text in wanted}
    return ASKED in prompt and all(
        found[text] >= count if count else not found[text] for text, count in wanted.items()
    )
