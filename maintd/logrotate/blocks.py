"""One config file's text as stanzas, each with what holds outside of it, and the complaints about it.

What logrotate refuses is refused here, and costs what it costs there, with one exception: an error in a stanza costs
that stanza alone. logrotate loses those that follow it, too, if the error is an argument that is missing, a bad
`weekly`, or a closing brace on its line or none at all.
"""

from collections.abc import Callable
from dataclasses import replace

from maintd.logrotate import arguments, directives
from maintd.logrotate.directives import Scope
from maintd.logrotate.stanza import Complaint, Loss, Stanza
from maintd.logrotate.syntax import Close, Directive, Fault, Names, Node, parse, words

FileDirective = Callable[[Directive, Scope], tuple[Scope, bool]]
"""What include, tabooext and taboopat do: the scope after it, and whether there was an error."""


class Blocks:
    """Reads one file; then `scope` is what holds behind it, and `failed` whether logrotate would count an error."""

    def __init__(self, file: str, scope: Scope, found: list[Stanza | Complaint], about_files: FileDirective) -> None:
        self.scope = replace(scope, kind="")
        self.failed = False
        self._file = file
        self._found = found
        self._about_files = about_files
        self._names: Names | None = None
        self._local = scope
        self._place = 0
        self._dropped = False

    def read(self, text: str) -> None:
        """Puts what is found in the text at the end of the list, in the order of the file."""
        for node in parse(text, directives.shape):
            if not self._take(node):
                self._names = None
                return
        self._close(text.count("\n") + (not text.endswith("\n")))

    def _take(self, node: Node) -> bool:
        """Whether to go on behind a part of the file."""
        match node:
            case Names():
                self._names, self._place, self._dropped = node, len(self._found), False
                self._local = replace(self.scope, kind="")
            case Close():
                self._close(node.line)
            case Fault():
                if not self._dropped or node.loses == "file":
                    self._complain(node.line, node.text, node.loses, fails=node.loses != "line")
                self._dropped = self._dropped or node.loses == "stanza"
                return node.loses != "file"
            case Directive():
                return self._dropped or self._directive(node)
        return True

    def _close(self, line: int) -> None:
        if self._names is not None and not self._dropped:
            stanza = Stanza(
                patterns=words(self._names.text),
                text=self._names.text,
                options=self._local.options,
                scripts=self._local.scripts,
                file=self._file,
                line=self._names.line,
                end=line,
            )
            self._found.insert(self._place, stanza)
        self._names, self._dropped = None, False

    def _directive(self, node: Directive) -> bool:
        scope = self.scope if self._names is None else self._local
        try:
            scope = self._after(node, scope)
        except directives.Ignored as ignored:
            self._complain(node.line, str(ignored), "line", fails=False)
        except arguments.Wrong as wrong:
            self._complain(node.line, str(wrong), "file" if self._names is None else "stanza", fails=True)
            self._dropped = self._names is not None
            return self._dropped
        if self._names is None:
            self.scope = scope
        else:
            self._local = scope
        return True

    def _after(self, node: Directive, scope: Scope) -> Scope:
        if node.keyword == "errors":
            text = "the errors directive is deprecated and no longer used."
            self._found.append(Complaint(self._file, node.line, "warning", text, "line"))
            return scope
        if node.keyword in ("include", "tabooext", "taboopat"):
            return self._of_files(node, scope)
        changed, note = directives.apply(node, scope)
        if note:
            self._found.append(Complaint(self._file, node.line, "note", note))
        return changed

    def _of_files(self, node: Directive, scope: Scope) -> Scope:
        if node.keyword == "include" and not node.value:
            raise arguments.Wrong("argument expected after include")
        if node.keyword != "include" and self._names is not None:
            raise arguments.Wrong(f"{node.keyword} may not appear inside of log file definition")
        if not node.value:
            raise directives.Ignored(f"argument expected after {node.keyword}")
        after, failed = self._about_files(node, scope)
        self.failed = self.failed or failed
        return after

    def _complain(self, line: int, text: str, loses: Loss, *, fails: bool) -> None:
        self.failed = self.failed or fails
        self._found.append(Complaint(self._file, line, "error", text, loses, fails))
