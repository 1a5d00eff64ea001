def find_pairs(folder, kind=None):
    raise NotImplementedError
