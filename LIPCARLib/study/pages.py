"""Pages for a browser from the templates beside this file: everything that is put into one is escaped."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import LIPCARError

if TYPE_CHECKING:
    from jinja2 import Template

TEMPLATES = Path(__file__).with_name("templates")


def load_template(name: str) -> Template:
    """A template that escapes what it is given, and minds what is missing.

    Raises:
        LIPCARError: jinja2 is not installed.
    """
    try:
        from jinja2 import Environment, FileSystemLoader, StrictUndefined
    except ImportError as error:
        raise LIPCARError("The report page needs jinja2: install it with `pip install lipcar[reports]`.") from error
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template(name)
