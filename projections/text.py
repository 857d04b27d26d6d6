"""Free text, cleaned (docs/rules.md, section 2)."""

import re

MAX_CHARACTERS = 1000

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


def clean(text: str | None) -> str:
    """The text without control characters, and of bounded length; an absent text becomes the empty string."""
    if not text:
        return ""
    if len(text) > MAX_CHARACTERS:
        text = text[: MAX_CHARACTERS - 1] + "…"
    return _CONTROL.sub("\ufffd", text)
