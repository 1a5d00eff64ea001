def rasterize(pairs, cache_folder):
    raise NotImplementedError
