"""What each measure of ``mmwhitebox measure`` does."""
