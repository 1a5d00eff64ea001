"""What ``mmwhitebox infer`` writes, how it goes on after a stop, and how processes share the images."""
