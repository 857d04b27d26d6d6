"""`python -m schemas`: write the JSON Schemas anew."""

from pathlib import Path

from schemas.jsonschema import write_all

if __name__ == "__main__":
    for path in write_all(Path(__file__).parent / "json"):
        print(path)
