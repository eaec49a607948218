"""What bench/run, bench/instructions and bench/growth are made of."""
