"""Pictures of plans and comparisons, by matplotlib (extra `plots`), which nothing else here imports."""
