"""What a follower keeps, in the terms of `projections`."""
