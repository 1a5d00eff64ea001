"""The images and videos that a command line names."""
from mmwhitebox.apis.sources import named_images
from mmwhitebox.datasets.video import is_video
from mmwhitebox.errors import ImageReadError


def find_images(arguments: list[str], out: str) -> tuple[list[tuple[str, str]], list[str]]:
    """(path, name of the outputs) of the images, then of the videos; and what is refused of the arguments, in words.

    Args:
        arguments (list[str]): Files, folders, globs.
        out (str): Folder of the outputs: no image of it is one of a folder around it.

    Raises:
        UserError: There is no image at all, or an argument is not there.
    """
    errors: list[ImageReadError] = []
    found = named_images(arguments, out, lambda path, error: errors.append(error))
    if not found:
        raise errors[0]
    return sorted(found, key=lambda item: is_video(item[0])), [str(error) for error in errors]
