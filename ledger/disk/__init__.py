"""Files and folders: written fast, synced, and placed."""
