"""Trainings on small real data: which, their logs, what is measured on them, and the page."""
