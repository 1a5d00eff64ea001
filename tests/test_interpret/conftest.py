"""Figures that are quickly drawn."""
import pytest

from mmwhitebox.cli.measures import outputs


@pytest.fixture(autouse=True)
def coarse_figures(monkeypatch):
    monkeypatch.setattr(outputs, 'DPI', 50)
