"""What the OpenAPI document says in words, and its examples."""

from collections.abc import Mapping
from typing import Any, Final

from pydantic import BaseModel

from ..config.models import BalloonSettings
from .models.hinting import HintingStart
from .models.policy import PlanRequest, PolicyChange
from .models.reservation import ReservationClaim, ReservationRequest
from .models.resize import TargetChange
from .models.statistics import StatisticsChange

TITLE: Final = "vballoond"
SUMMARY: Final = "Memory balloons of the guests of a host."
DESCRIPTION: Final = """\
Sizes are in bytes, unless a name says MiB. Frames have 4096 bytes. Times are RFC 3339, in UTC.

A body is a JSON object, of 64 KiB at most unless the operation says otherwise, with the header
`Content-Type: application/json`. A field that is not known is an error.

Where the daemon has a token, requests carry it as `Authorization: Bearer TOKEN`. A second token may be set that only
reads: GET and HEAD. A request names the daemon in its Host. A page of another site can neither change nor read
anything.

An error is a problem report (RFC 9457): `detail` is a sentence for people, `code` is for programs and does not change.
Beside what stands at each operation, any path may be answered with 404 (there is nothing), 405 (nothing of this
method), 431 (a line of the header has more than 8 KiB, or there are too many), 400 (no HTTP), and 503 (every connection
is being answered)."""

TAGS: Final[Mapping[str, str]] = {
    "balloons": "The balloons, and the sizes that they are to have.",
    "resizes": "How balloons get to their sizes.",
    "frames": "Which frames of a guest's memory a balloon holds.",
    "statistics": "What guests say of their memory.",
    "hinting": "Rounds of free page hinting.",
    "events": "What happens, as it happens.",
    "policy": "Who decides on the sizes, and what was decided.",
    "reservations": "Memory of the host that is to be free by a given time.",
    "daemon": "The daemon as a whole.",
}

ANSWERS: Final[Mapping[int, str]] = {
    200: "Done.",
    201: "Added. Location names it.",
    202: "Begun.",
    204: "Done; there is nothing to say.",
    304: "What the client has is still the newest.",
    503: "Not all is well.",
}

PROBLEMS: Final[Mapping[int, str]] = {
    400: "The request does not have this form: a field, a parameter, or the JSON itself.",
    401: "The token is missing, or another one.",
    403: "The Host is foreign, another site's page asks, or the token only reads.",
    404: "There is nothing of this name.",
    408: "The body did not come in time.",
    409: "What there is speaks against it: `code` says what.",
    413: "The body is too large.",
    415: "The body is not JSON, by its Content-Type.",
    422: "The form is right, a value is out of range.",
    429: "As many of these as may be are being looked at; try again later.",
    503: "Whoever would have to answer is not there.",
}

EXAMPLES: Final[Mapping[type[BaseModel], Mapping[str, Any]]] = {
    TargetChange: {
        "size": {"target_mib": 8},
        "settled": {"target_bytes": 4194304, "settle": True, "deadline_s": 60},
    },
    BalloonSettings: {
        "modelled": {"name": "demo2", "transport": "in-process", "memory": "16MiB"},
        "machine": {"name": "vm2", "transport": "vhost-user", "socket": "/run/vballoond/vm2.sock"},
    },
    StatisticsChange: {"often": {"interval_s": 1}, "off": {"interval_s": 0}},
    PolicyChange: {
        "other": {"name": "static"},
        "tuned": {"name": "watermark", "settings": {"pressure_threshold": 0.25}},
        "shadow": {"shadow": {"name": "proportional"}},
    },
    PlanRequest: {"now": {"name": "proportional"}},
    ReservationRequest: {"machine": {"bytes": 2147483648, "within_s": 120, "purpose": "vm7"}},
    ReservationClaim: {"nobody": {}},
    HintingStart: {"kept": {"acknowledge_on_stop": False}},
}
"""By the model of a body, each with a name."""
