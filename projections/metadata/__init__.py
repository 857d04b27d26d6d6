"""The metadata that online keys sign: bins, snapshot and timestamp, as bytes."""
