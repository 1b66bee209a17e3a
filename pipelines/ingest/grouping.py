"""Splits that keep groups whole: nobody is learnt from and tested on."""
from __future__ import annotations

from collections.abc import Mapping, Sequence

from etils import epy

from pipelines.errors import UserError
from pipelines.ingest.index import Part
from pipelines.ingest.section import DataSection

with epy.lazy_imports():
    import numpy as np

#: The class of examples that have none.
NO_CLASS = 0


def groups_of(section: DataSection, positions: Mapping[Part, Sequence[int]]) -> dict[Part, list[str]] | None:
    """Return the group of each example that can be read, by part; None where examples have none.

    Args:
        positions: of the examples, by part of the source.

    Raises:
        UserError: the source knows no such groups, or one is in two of its parts.
    """
    source = section.source
    name = section.group or source.grouped_by
    if name is None:
        return None
    groups: dict[Part, list[str]] = {}
    for part, chosen in positions.items():
        known = source.groups(part, name, chosen)
        if known is None:
            raise UserError(f"data.group: the source {source.entry_name} says of no example which {name} it is of; "
                            f"its fields are {', '.join(source.fields())}")
        groups[part] = known
    _refuse_in_two_parts(name, groups)
    return groups


def taken_groups(groups: Sequence[str], classes: Sequence[int] | None, share: float,
                 generator: np.random.Generator) -> list[int]:
    """Return the places of examples that become another split: about their share of each class, in whole groups.

    Groups come one after the other, at random; one is taken where that brings the split nearer to its share. At least
    one is taken, and never the last.

    Args:
        groups: of each example.
        classes: of each example; without any, all count alike.

    Raises:
        UserError: there is but one group.
    """
    names, group_of = np.unique(np.asarray(groups), return_inverse=True)
    if len(names) < 2:
        raise UserError(f"data: all {len(groups):,} examples left for training are of one group, {names[0]}, and a "
                        "group is in one split alone; give more, or another data.group")
    class_of = np.asarray([NO_CLASS] * len(groups) if classes is None else classes, int)
    counts = np.zeros((len(names), class_of.max() + 1), int)
    np.add.at(counts, (group_of, class_of), 1)
    missing = share * counts.sum(axis=0)
    taken: list[int] = []
    order = generator.permutation(len(names)).tolist()
    for one in order[:-1]:
        if np.abs(missing - counts[one]).sum() < np.abs(missing).sum():
            taken.append(one)
            missing = missing - counts[one]
    if not taken:  # all are larger than the share: the smallest one
        taken = [min(order, key=lambda one: int(counts[one].sum()))]
    return np.flatnonzero(np.isin(group_of, taken)).tolist()


def _refuse_in_two_parts(name: str, groups: Mapping[Part, Sequence[str]]) -> None:
    owners: dict[str, Part] = {}
    for part, known in groups.items():
        for one in sorted(set(known)):
            if owners.setdefault(one, part) != part:
                raise UserError(f"data: the {name} {one} is in {owners[one]} and in {part}; what is tested on must not "
                                "be learnt. Move it into one of them")
