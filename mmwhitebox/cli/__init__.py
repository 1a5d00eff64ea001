"""The command ``mmwhitebox``: one file a command, thin. Its imports cost little: help comes at once."""
