"""Which chunk a free worker computes next."""

from collections import deque
from collections.abc import Iterable, Mapping


class Board:
    """Chunks still to be given out, and the group each worker is at.

    Law: a worker stays with its group while that has chunks, since it has compiled it; then it goes
    where most work is left for each worker already there. A worker gets nothing only where nothing
    is left. So W workers on G groups of equal work compile about max(W, G) programs, where giving
    out chunk by chunk in order would compile W G.

    Args:
        starts: First runs of the chunks to give out, by name of the group.
        work: Operations of one chunk, by name of the group.
    """

    def __init__(self, starts: Mapping[str, Iterable[int]], work: Mapping[str, float]):
        self.left = {name: deque(each) for name, each in starts.items()}
        self.work = work
        self.at: dict[str, str] = {}

    def __bool__(self) -> bool:
        return any(self.left.values())

    def keep(self, workers: Iterable[str]) -> None:
        """Forget the workers that are not among these."""
        alive = set(workers)
        self.at = {worker: name for worker, name in self.at.items() if worker in alive}

    def take(self, worker: str) -> tuple[str, int] | None:
        """Group and first run of the worker's next chunk; None where nothing is left."""
        if not self:
            return None
        name = self.at.get(worker)
        if name is None or not self.left[name]:
            name = max((n for n in self.left if self.left[n]), key=self._share)
        self.at[worker] = name
        return name, self.left[name].popleft()

    def put_back(self, name: str, start: int) -> None:
        """Take back a chunk that was given out and not computed."""
        self.left[name].appendleft(start)

    def _share(self, name: str) -> float:
        """Work left in a group for each worker there, one more added."""
        there = sum(other == name for other in self.at.values())
        return len(self.left[name]) * self.work[name] / (there + 1)
