"""The parts of a report's page in their order: what can be shown, what failed, what does not apply."""
from collections.abc import Callable
from dataclasses import dataclass, field

from mmwhitebox.errors import NotApplicableError, UserError

from .html_page import text


@dataclass
class Body:
    """What a page is filled with.

    Attributes:
        parts (list[str]): HTML.
        links (dict[str, str]): Id of a part -> its title.
        absent (dict[str, str]): Title of what does not apply -> the reason.
        failed (list[str]): What failed, and why.
    """

    parts: list[str] = field(default_factory=list)
    links: dict[str, str] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)

    def add(self, name: str, title: str, make: Callable[[], str]) -> None:
        """Add a part, unless there is nothing in it or it does not apply; one that fails is named on the page.

        Args:
            name (str): Its id.
            title (str): Its heading.
            make (Callable): Gives its HTML.
        """
        try:
            content = make()
        except NotApplicableError as error:
            self.absent[title] = str(error)
            return
        except UserError as error:
            self.failed.append(f'{name}: {error}')
            content = f'<p class="failed">Failed: {text(error)}</p>'
        if content:
            self.parts.append(f'<h2 id="{text(name)}">{text(title)}</h2>{content}')
            self.links[name] = title

    def html(self) -> str:
        """All parts, and one line of what is not shown."""
        reasons = '; '.join(f'{title} ({reason.partition(". ")[0].rstrip(".")})' for title, reason in
                            self.absent.items())
        return '\n'.join([*self.parts, f'<p class="facts">Not shown: {text(reasons)}.</p>' if reasons else ''])
