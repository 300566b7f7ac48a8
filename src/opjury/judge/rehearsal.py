"""A replay script is run before it is stored, so that a verdict says where its script does not show the fault."""

from __future__ import annotations

import contextlib
import io
import linecache
import signal
import warnings
from collections.abc import Callable

import torch

from opjury.judge.checks.state import preserved_modules, preserved_state
from opjury.judge.time_limit import TimeLimitExceeded, time_limit

EARLIER = "the result depends on earlier calls"
UNSHOWN = "the script does not show it"
_LONGEST = 200_000  # characters of a script that is run: of a small case
_UNSAFE = "torch.library"  # defining an operator again would replace the candidate's own
_OURS = (NameError, SyntaxError, ImportError)  # what a script raises that lacks something


def rehearsed(write: Callable[[str, bool], str], message: str, seconds: float) -> tuple[str, str]:
    """The message of a refutation and its script, where the message says so if the script does not show the fault.

    Parameters
    ----------
    write : callable
        Returns the script with a message, and with its steps once or, if the other argument is true, many times.
    message : str
    seconds : float
        Processor time that the script may take. One that takes longer is not judged, and with 0 it is not run.
    """
    script = write(message, False)
    unsafe = not seconds or len(script) > _LONGEST or _UNSAFE in script
    if unsafe or shows(script, message, seconds) is not False:
        return message, script
    many = write(message, True)
    if shows(many, message, seconds):
        return message, many
    if not message.endswith(EARLIER):
        message += f"; {UNSHOWN}"
    return message, write(message, False)


def shows(script: str, message: str, seconds: float) -> bool | None:
    """Whether a script fails for the reason in the message, or None if it takes too long.

    It is run in this process, which is left as it was, and its output is dropped.
    """
    name = "<replay script>"
    linecache.cache[name] = (len(script), None, script.splitlines(keepends=True), name)  # compilers look the source up
    quiet = io.StringIO()
    mode = torch.inference_mode(torch.is_inference_mode_enabled())  # `preserved_state` does not know this mode
    try:
        with preserved_state(), preserved_modules(), mode, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with contextlib.redirect_stdout(quiet), contextlib.redirect_stderr(quiet), time_limit(seconds):
                exec(compile(script, name, "exec", dont_inherit=True), {"__name__": "__main__"})
    except _OURS as error:
        return type(error).__name__ in message
    except TimeLimitExceeded:
        return None
    except KeyboardInterrupt:
        if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:  # a person may have pressed Ctrl-C
            raise
        return True
    except BaseException:
        return True
    finally:
        del linecache.cache[name]
    return False
