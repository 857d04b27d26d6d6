"""The catalog: filled from both logs without keys and without rendering, and asked by auditors (docs/catalog.md)."""
