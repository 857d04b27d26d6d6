"""What is signed: bins, snapshot and timestamp, as bytes."""
