"""Label maps of GeoTIFFs lie where their images do."""
import numpy as np
import pytest
import tifffile
from PIL import Image

from mmwhitebox.datasets import georeference


def test_a_geotiff_is_known_by_its_tags(tmp_path):
    array = np.zeros((8, 9, 3), np.uint8)
    scale, tie = (33550, 'd', 3, (.5, .5, 0.)), (33922, 'd', 6, (0., 0., 0., 5e5, 5e6, 0.))
    tifffile.imwrite(tmp_path / 'geo.tif', array, extratags=[scale, tie])
    tifffile.imwrite(tmp_path / 'plain.TIF', array)
    Image.fromarray(array).save(tmp_path / 'photo.jpg')
    (tmp_path / 'broken.tif').write_bytes(b'II*\0\0')
    assert georeference.is_geotiff(tmp_path / 'geo.tif')
    for name in ('plain.TIF', 'photo.jpg', 'broken.tif', 'none.tif'):
        assert not georeference.is_geotiff(tmp_path / name)


@pytest.mark.parametrize('place', ['transform', 'points'])
def test_what_is_written_keeps_the_place(tmp_path, place):
    rasterio = pytest.importorskip('rasterio')
    from rasterio.control import GroundControlPoint
    from rasterio.transform import from_origin
    array = np.full((3, 600, 520), 9, np.uint8)
    array[:, :100, 30:70] = 0
    corners = [GroundControlPoint(row, col, 5e5 + col, 5e6 - row) for row in (0, 600) for col in (0, 520)]
    kept = dict(transform=from_origin(5e5, 5e6, .5, .25)) if place == 'transform' else dict(gcps=corners)
    with rasterio.open(tmp_path / 'in.tif', 'w', driver='GTiff', height=600, width=520, count=3, dtype='uint8',
                       nodata=0, crs='EPSG:32632', **kept) as file:
        file.write(array)
        file.update_tags(AREA_OR_POINT='Point')
    assert georeference.is_geotiff(tmp_path / 'in.tif')
    missing = georeference.without_data(tmp_path / 'in.tif', (600, 520))
    assert np.array_equal(missing, array[0] == 0)
    assert georeference.without_data(tmp_path / 'in.tif', (520, 600)) is None

    labels = np.where(missing, 255, np.arange(520) % 3).astype(np.uint8)
    georeference.write(tmp_path / 'labels.tif', labels, tmp_path / 'in.tif', 255, [(1, 2, 3), (4, 5, 6), (7, 8, 9)])
    rgba = np.dstack([np.full((600, 520, 3), 7), np.where(missing, 0, 255)]).astype(np.uint8)
    georeference.write(tmp_path / 'colours.tif', rgba, tmp_path / 'in.tif')
    with rasterio.open(tmp_path / 'in.tif') as file, rasterio.open(tmp_path / 'labels.tif') as written, \
            rasterio.open(tmp_path / 'colours.tif') as coloured:
        for other in (written, coloured):
            assert (other.crs, other.transform, other.shape) == (file.crs, file.transform, file.shape)
            assert other.gcps[1] == file.gcps[1] and [(p.row, p.col, p.x, p.y) for p in other.gcps[0]] == [
                (p.row, p.col, p.x, p.y) for p in file.gcps[0]]
            assert place == 'points' or other.tags()['AREA_OR_POINT'] == 'Point'
            assert np.array_equal(other.dataset_mask() == 0, missing)
        assert np.array_equal(written.read(1), labels) and written.nodata == 255
        assert written.colormap(1)[1] == (4, 5, 6, 255)
        assert np.array_equal(np.moveaxis(coloured.read(), 0, 2), rgba)
