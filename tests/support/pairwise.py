"""Few combinations in which every two choices, or every three, stand together."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations, product
from typing import TypeAlias

Row: TypeAlias = dict[str, object]
Together: TypeAlias = tuple[tuple[str, object], ...]


def covering(factors: Mapping[str, Sequence[object]], strength: int = 2) -> list[Row]:
    """Return combinations in which any ``strength`` factors take all their values together; always the same ones.

    Args:
        factors: What there is to choose, and from what. Where it makes no difference the first value is chosen.
        strength: 2 for all pairs; not more than there are factors.
    """
    missing = dict.fromkeys(all_together(factors, strength))
    rows = []
    while missing:
        row = _filled(dict(next(iter(missing))), factors, strength, missing)
        rows.append(row)
        for together in combinations(row.items(), strength):
            missing.pop(together, None)
    return rows


def all_together(factors: Mapping[str, Sequence[object]], strength: int) -> Iterator[Together]:
    """Yield every choice for every ``strength`` of the factors."""
    for names in combinations(factors, strength):
        for values in product(*(factors[name] for name in names)):
            yield tuple(zip(names, values, strict=True))


def _filled(row: Row, factors: Mapping[str, Sequence[object]], strength: int, missing: Mapping[Together, None]) -> Row:
    """Choose what is left to choose, each so that the most of what is missing stands in the row then."""

    def gain(name: str, value: object) -> int:
        chosen = [(each, row[each]) if each in row else (name, value) for each in factors if each in {*row, name}]
        return sum(together in missing for together in combinations(chosen, strength) if (name, value) in together)

    for name, values in factors.items():
        if name not in row:
            gains = [gain(name, value) for value in values]
            row[name] = values[gains.index(max(gains))]
    return {name: row[name] for name in factors}
