"""What sessions have read of the catalog, kept until a definition changes: each look into the database costs the time
of a short query."""

from collections.abc import Callable, Hashable

MOST = 2000  # answers


class Known:
    """Answers of committed definitions. An answer counts as long as no definition was committed since it was asked."""

    def __init__(self) -> None:
        self.changed()

    def changed(self) -> None:
        """To be called after a definition has been committed and before that is acknowledged."""
        self.version, self.kept = object(), {}

    def answer(self, question: Hashable, ask: Callable[[], list]) -> list:
        """The answer to this question; the caller leaves it as it is."""
        version = self.version  # before asking: what is committed meanwhile makes the answer old
        asked, answer = self.kept.get(question, (None, None))
        if asked is not version:
            answer = ask()
            if len(self.kept) >= MOST:
                self.kept = {}
            self.kept[question] = version, answer
        return answer
