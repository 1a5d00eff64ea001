"""The experiments of docs/results.md: which trainings, their logs, what is measured on them, and the page."""
