"""The examples of docs/publishing.md, as they stand there."""

import re
from pathlib import Path

DOCUMENT = Path(__file__).resolve().parent.parent / "docs" / "publishing.md"


def example(language: str, beginning: str) -> str:
    """The one block of code in a language that has a text in it."""
    blocks = re.findall(rf"```{language}\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    (found,) = [block for block in blocks if beginning in block]
    return str(found)


STORE = "b2sum"
CURL = "curl"
APPEND = "tuf-ledger append"
UPLOAD = "ledger.client"
AIOKAFKA = "AIOKafkaProducer"
JAVA = "KafkaProducer"
"""Texts by which the examples are found."""
