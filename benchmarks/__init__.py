"""Programs that measure. Each prints machine, versions and sizes, and its figures beside a floor of the same run."""
