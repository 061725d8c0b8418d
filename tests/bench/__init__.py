"""`make bench`: what the relay costs, as ratios against references measured in the same run."""
