"""Speed and memory, side by side: contestants, the gate before the clock, interleaved rounds, tables and plots."""
