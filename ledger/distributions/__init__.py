"""Distribution files: wheels and source distributions, read without running anything in them."""
