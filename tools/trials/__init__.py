"""What the stress test does to a training; see tools/stress.py."""
