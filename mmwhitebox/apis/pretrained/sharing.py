"""Folders of models on the Hugging Face hub: its own client, cache and settings; its errors in one line."""
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mmwhitebox.config.pretrained import FILES, WEIGHTS, file_in, read_info
from mmwhitebox.errors import CheckpointError, UserError

HUB_NAME = re.compile(r'[A-Za-z0-9][\w.\-]*/[A-Za-z0-9][\w.\-]*', re.ASCII)


@contextmanager
def said_in_a_line(what: str) -> Iterator[None]:
    """Errors of the client as a UserError.

    Args:
        what (str): What did not work, for the message.
    """
    from huggingface_hub import errors

    reasons = [(errors.GatedRepoError, 'its owner lets in only those who ask: log in with `hf auth login`'),
               (errors.RepositoryNotFoundError, 'there is no such repository, or it is private and nobody is logged in '
                                                '(`hf auth login`)'),
               (errors.RevisionNotFoundError, 'there is no such revision'),
               (errors.OfflineModeIsEnabled, 'HF_HUB_OFFLINE is set'),
               (errors.LocalEntryNotFoundError, 'the hub cannot be reached, and its cache does not have it')]
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # of the client, of its http library, of the file system
        said = next((text for kind, text in reasons if isinstance(error, kind)), None)
        line = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise UserError(f'{what}: {said or line}.') from error


def fetched(name: str, revision: str | None) -> Path:
    """The folder of a repository's files in the hub's cache; only those that a model is made of are fetched.

    Raises:
        UserError: There is neither a folder nor a repository of that name, or the hub cannot be reached.
    """
    from huggingface_hub import snapshot_download

    if not HUB_NAME.fullmatch(name):
        raise UserError(f'{name}: there is no such folder, and a name on the hub is USER/MODEL.')
    with said_in_a_line(f'{name} is no folder here, and cannot be had from the hub'):
        return Path(snapshot_download(name, revision=revision, allow_patterns=list(FILES)))


def push_to_hub(folder: str | Path,
                repo_id: str,
                private: bool | None = None,
                revision: str | None = None,
                message: str = 'Upload a model of mmwhitebox') -> str:
    """Put the folder of a model on the Hugging Face hub, as whoever is logged in (``hf auth login``, ``HF_TOKEN``).

    Args:
        folder (str | Path): From :func:`save_pretrained`; it is checked as in loading.
        repo_id (str): 'USER/MODEL'; it is made if there is none.
        private (bool, optional): Of a new repository. Defaults to None: as its owner's settings say.
        revision (str, optional): Branch. Defaults to None: the main one.
        message (str): Of the commit.

    Returns:
        str: Address of the commit.

    Raises:
        CheckpointError: The folder is not one of a model.
        UserError: The hub refuses, or cannot be reached.
    """
    from huggingface_hub import HfApi

    folder = Path(folder).expanduser()
    if not HUB_NAME.fullmatch(repo_id):
        raise UserError(f'repo_id={repo_id!r}: a name on the hub is USER/MODEL.')
    if not folder.is_dir():
        raise CheckpointError(f'{folder} is no folder.')
    read_info(folder)
    file_in(folder, WEIGHTS)
    with said_in_a_line(f'{folder} cannot be put on the hub as {repo_id}'):
        api = HfApi()
        api.create_repo(repo_id, private=private, exist_ok=True)
        commit = api.upload_folder(repo_id=repo_id, folder_path=folder, allow_patterns=list(FILES),
                                   revision=revision, commit_message=message)
    return str(commit.commit_url)
