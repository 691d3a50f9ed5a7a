"""The engine in another process, on this computer or a named one: its protocol, the asking side and the computing side.

Names are loaded at their first use: a panel asks for results before torch is there.
"""

from typing import TYPE_CHECKING

from ..lazy import lazily

if TYPE_CHECKING:
    from .child import Child, NotStartedError
    from .jobs import Answer, Asked, Engine, devices, enhance
    from .remote import PORT, Remote, address_of, read_token
    from .server import Server

_HOME = {
    "child": ("Child", "NotStartedError"),
    "jobs": ("Answer", "Asked", "Engine", "devices", "enhance"),
    "remote": ("PORT", "Remote", "address_of", "read_token"),
    "server": ("Server",),
}

__all__ = [
    "PORT",
    "Answer",
    "Asked",
    "Child",
    "Engine",
    "NotStartedError",
    "Remote",
    "Server",
    "address_of",
    "devices",
    "enhance",
    "read_token",
]

__getattr__ = lazily(__name__, _HOME)
