"""What the tests of whole trainings share."""
import pytest

from tests.test_engine.trainings import quickly, write_images


@pytest.fixture(scope='module')
def quick():
    """:func:`quickly` for the tests of a module."""
    with quickly():
        yield


@pytest.fixture(scope='session')
def images(tmp_path_factory):
    """Folder of the images that the trainings read."""
    folder = tmp_path_factory.mktemp('images')
    write_images(folder)
    return folder
