"""Painters of procedural pictures, and the commands that write them as miniatures of ADE20K and of ImageNet."""
