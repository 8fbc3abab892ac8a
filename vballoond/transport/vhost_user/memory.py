"""The guest memory of a session: mapping what is new in it, keeping the rest."""

from collections.abc import Collection, Mapping

from ...memory.guest_memory import GuestMemory
from ...memory.region import MappedRegion
from ...memory.seals import check_sealed
from .session import Session, memory_name


def map_memory(
    session: Session,
    present: GuestMemory,
    fds: Mapping[str, int],
    replaced: Collection[str],
    *,
    require_sealed: bool = False,
) -> GuestMemory:
    """Return the memory of ``session``.

    Regions of ``present`` are taken over, save those whose descriptor is ``replaced`` by another in ``fds``.

    Raises:
        FrontEndError: A region cannot be mapped, or two overlap; or with ``require_sealed``, the file of a new one can
            be made shorter. What was mapped anew is unmapped again.
    """
    kept = {memory_name(region.place): region for region in present.regions}
    regions: list[MappedRegion] = []
    try:
        for place in session.regions:
            name = memory_name(place)
            if name in kept and name not in replaced:
                regions.append(kept[name])
                continue
            if require_sealed:  # before its size is looked at, which stays then
                check_sealed(fds[name])
            regions.append(MappedRegion(place, fds[name]))
        return GuestMemory(regions)
    except Exception:
        unmap(regions, keep=present)
        raise


def unmap(regions: "list[MappedRegion] | tuple[MappedRegion, ...]", keep: GuestMemory) -> None:
    """Unmap those of ``regions`` that ``keep`` does not use."""
    for region in regions:
        if region not in keep.regions:
            region.close()
