"""Why a resize does not move."""

from ..service.balloon_service import BalloonService


def stall_reason(service: BalloonService) -> str | None:
    """Return the reason for people; None while the resize moves, or is done, or there is none."""
    resize = service.resizing.current
    if resize is None or resize.done:
        return None
    match service.state_name:
        case "waiting":
            return "no driver: no guest with a balloon driver has connected"
        case "paused":
            return "the guest's queues are stopped: its VM is paused or its driver was removed"
        case "broken":
            return f"broken by its driver: {service.broken_reason}"
    if not service.resizing.stalled():
        return None
    if resize.target_frames > service.actual_frames:
        return "the guest finds no more free memory to give"
    return "the guest's driver does not take its memory back"
