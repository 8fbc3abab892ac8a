"""What to do about a refusal, where the refusal itself does not say it.

A command that knows more (the balloon's name, what was asked for) says it better itself.
"""

from typing import Any, Final

_BY_CODE: Final = {
    "read-only-token": "this takes the daemon's own token, not the one for reading: name its file with --token-file",
    "window-too-large": "ask for a part with --first and --count, or draw it smaller with --scale auto",
    "too-many-ranges": "ask for a part with --first and --count, or for a picture with --png FILE --scale auto",
    "no-statistics": "'vballoond statistics NAME --interval 2' has the guest asked every two seconds",
    "no-keeper": "stop the daemon and start it again, which ends its guests' connections",
}
_BY_STATUS: Final = {
    401: "name the file with the daemon's token with --token-file or VBALLOOND_TOKEN_FILE",
    403: "add this name to 'hosts' in the daemon's configuration, or reach it by its own address",
    405: "the daemon may be older than this command: 'vballoond restart' brings new code",
    500: "this is a defect of the daemon: its log says more",
}


def advice(status: int, problem: dict[str, Any]) -> str:
    """Return what to do about a problem that the daemon reported; "" where its own words say it."""
    return _BY_CODE.get(str(problem.get("code")), _BY_STATUS.get(status, ""))
