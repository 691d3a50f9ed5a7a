"""The one error family for what a user can mend."""

from __future__ import annotations


class LIPCARError(Exception):
    """Something a user can mend: an unsuitable image, a missing model, too little memory, an unwritable path.

    The message is for the user: it names what was found, what was expected and what to do. Anything else that
    goes wrong is a bug, raises what Python raises, and shows its traceback.
    """
