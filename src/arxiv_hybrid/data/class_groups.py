"""Many classes in groups that people can read."""

from __future__ import annotations

from arxiv_hybrid.data.label_set import LabelSet
from arxiv_hybrid.taxonomy.categories import archive_of, name_of

FEW = 24  # up to this many classes are shown in full, of more only this many


def by_archive(label_set: LabelSet) -> dict[str, list[str]]:
    """The names of the classes, grouped by arXiv's archives in their order.

    A key is an archive with its name, such as `cs (Computer Science)`. Classes of several archives,
    or alone in theirs, come last, as `others`. Sets that archives do not group are one group `all`.
    """
    groups: dict[str, list[str]] = {}
    for name in label_set.names:
        archives = {archive_of(category) for category in label_set.categories.get(name, ())}
        groups.setdefault(archives.pop() if len(archives) == 1 else "", []).append(name)
    large = {f"{archive} ({name_of(archive)})": names for archive, names in groups.items()
             if archive and len(names) > 1}  # fmt: skip
    grouped = {name for names in large.values() for name in names}
    others = [name for name in label_set.names if name not in grouped]
    if not large:
        return {"all": others}
    return {**large, "others": others} if others else large
