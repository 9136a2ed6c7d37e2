"""What a training run should cost: plans, prices, own hardware. Pure arithmetic over dated data; no network."""
