"""Outputs are called as their images, and no image's output as another image."""
from mmwhitebox.datasets import output_names as module
from mmwhitebox.datasets.output_names import output_names


def test_a_number_never_makes_the_name_of_another_image(monkeypatch):
    said = []
    monkeypatch.setattr(module, 'print_log', lambda text, *args: said.append(text))
    assert output_names(['d/x.jpg', 'd/x.png', 'd/x_2.jpg'], ['d']) == ['x', 'x_3', 'x_2']
    assert said == ['Images that share a name are numbered: d/x.png -> x_3']
    assert output_names(['d/a/x.jpg', 'd/b/x.jpg'], ['d']) == ['a/x', 'b/x'] and len(said) == 1


def test_folders_that_hold_the_same_names_are_told_apart():
    names = output_names(['one/a/x.jpg', 'one/b/x.jpg', 'one/b/y.jpg'], ['one/a', 'one/b'])
    assert names == ['a/x', 'b/x', 'y']
    assert output_names(['p/v/x.jpg', 'q/v/x.jpg'], ['p/v', 'q/v']) == ['v/x', 'v/x_2']
