"""Read the settings of the command line from the environment, for containers and Spaces.

``--frame-pixels 602112`` is ``STC_APP_FRAME_PIXELS=602112``, and so for every option. Host and port
have the names that Gradio, its Spaces and its containers use. The command line goes first; an empty
variable counts as unset.
"""

from __future__ import annotations

import argparse
from collections.abc import MutableMapping, Sequence

PREFIX = "STC_APP_"
AUTH = f"{PREFIX}AUTH"  # user:password
GRADIOS = {"host": "GRADIO_SERVER_NAME", "port": "GRADIO_SERVER_PORT"}
ON, OFF = ("1", "true", "yes", "on"), ("0", "false", "no", "off")


def variable(option: str) -> str:
    """Return the variable of an option, which is given as ``argparse`` stores it."""
    return GRADIOS.get(option, f"{PREFIX}{option.upper()}")


def words(parser: argparse.ArgumentParser, environment: MutableMapping[str, str]) -> list[str]:
    """Return what the environment adds to the front of a command line.

    Wrong values and unknown variables end the program as ``parser.error`` does. A value is
    repeated in no sentence: it may be a password.

    Parameters
    ----------
    parser
        With all its options.
    environment
        The password is removed from it, so that no process started later is given it.
    """
    given = dict(environment)
    environment.pop(AUTH, None)
    for name in GRADIOS.values():
        if not environment.get(name, "-").strip():
            del environment[name]  # Gradio takes an empty host for all, and fails at an empty port
    options = [action for action in parser._actions if action.dest != "help"]
    known = {variable(action.dest) for action in options}
    unknown = sorted(name for name in given if name.startswith(PREFIX) and name not in known)
    if unknown:
        names = ", ".join(sorted(known))
        parser.error(f"there is no setting {unknown[0]}; those of the environment are {names}")
    found: list[str] = []
    for action in options:
        name = variable(action.dest)
        value = given.get(name, "")
        if value.strip():
            found += _words(parser, action, name, value)
    return found


def reach_itself(host: str, environment: MutableMapping[str, str]) -> None:
    """Exempt this machine from the proxies that the environment names.

    Gradio asks its own server whether it has started, which a proxy elsewhere cannot answer.

    Parameters
    ----------
    host : str
        Where the page is served.
    environment
        Its ``no_proxy`` is added to.
    """
    before = environment.get("no_proxy") or environment.get("NO_PROXY")
    names = [*([before] if before else []), "localhost", "127.0.0.1", host]
    environment["no_proxy"] = ",".join(dict.fromkeys(names))


def _words(
    parser: argparse.ArgumentParser, action: argparse.Action, name: str, value: str
) -> Sequence[str]:
    """Return one option as the command line would give it."""
    flag = action.option_strings[0]
    if name == AUTH:
        return [f"{flag}={value}"]  # as it is: a password may end in a space
    value = value.strip()
    if action.nargs == 0:
        if value.lower() not in ON + OFF:
            parser.error(f"{name} must be 1 or 0")
        return [flag] if value.lower() in ON else []
    if isinstance(action, argparse._AppendAction):
        return [f"{flag}={one.strip()}" for one in value.split(",") if one.strip()]
    if action.choices is not None and value not in action.choices:
        parser.error(f"{name} must be one of {', '.join(map(str, action.choices))}")
    if action.type is int:
        try:
            int(value)
        except ValueError:
            parser.error(f"{name} must be a whole number")
    return [f"{flag}={value}"]
