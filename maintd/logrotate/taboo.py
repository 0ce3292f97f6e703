"""Which names in a directory of config files are passed over: leftovers of packages and editors, and what is named."""

from maintd.logrotate import wildcards
from maintd.values import dataclass

_SEPARATORS = str.maketrans(",", " ")


@dataclass(frozen=True)
class Taboo:
    """The patterns of tabooext and taboopat; the extensions are those that logrotate begins with.

    `.new`, `.old` and `.orig` came with 3.22, those of pacman after it.
    """

    patterns: tuple[str, ...] = tuple(
        "*" + extension
        for extension in (
            *(",v", ".bak", ".cfsaved", ".disabled", ".dpkg-bak", ".dpkg-del", ".dpkg-dist", ".dpkg-new", ".dpkg-old"),
            *(".dpkg-tmp", ".new", ".old", ".orig", ".pacnew", ".pacorig", ".pacsave", ".rhn-cfg-tmp-*", ".rpmnew"),
            *(".rpmorig", ".rpmsave", ".swp", ".ucf-dist", ".ucf-new", ".ucf-old", "~"),
        )
    )

    def changed(self, keyword: str, value: str) -> "Taboo":
        """After tabooext or taboopat [+] LIST, whose items are parted by blanks and commas."""
        more = value.startswith("+")
        items = value.removeprefix("+").translate(_SEPARATORS).split()
        found = tuple("*" + item if keyword == "tabooext" else item for item in items)
        return Taboo((*self.patterns, *found) if more else found)

    def of(self, name: str) -> str | None:
        """The pattern that a name matches, if one does."""
        return next((pattern for pattern in self.patterns if wildcards.is_match(name, pattern)), None)
