"""Who is who decided with hindsight: several explanations of the last frames are kept until later frames tell which one is right.

Track-oriented multiple hypothesis tracking (Reid, IEEE TAC 24(6), 1979; Blackman, IEEE AES Magazine 19(1), 2004): each detection may begin
a person, belong to any person near it or be false. Every person is a tree whose leaves are the ways in which his detections may continue;
leaves are scored by log-likelihood ratios against false detections. In each frame the set of leaves that explains most, no detection used
twice and no person twice, is found by integer programming; what it says of the oldest frame of the window is final (N-scan pruning).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, linprog, milp
from scipy.sparse import coo_array, csr_array

from aisle_contract.config import parameter
from aisle_perception import kalman
from aisle_perception.association import FloorDetections, innovations

#: A detection number that stands for "not seen".
UNSEEN = -1


@dataclass(frozen=True)
class DeferredConfig:
    """How people move, come, hide and go."""

    acceleration_density: float = parameter(0.1, "Spectral density of a person's acceleration, m^2/s^3", 0.01, 100.0)
    start_speed_deviation: float = parameter(0.9, "Standard deviation of a new person's velocity along each axis, m/s", 0.05, 5.0)
    gate: float = parameter(11.8, "Squared Mahalanobis distance within which a detection may belong to a person (11.8: 99.7 %)", 1.0, 100.0)
    false_density: float = parameter(0.004, "False detections per frame and square metre", 1e-6, 1.0)
    arrival_density: float = parameter(0.004, "New persons per second and square metre", 1e-6, 1.0)
    hiding: float = parameter(0.06, "Share of frames in which a person seen before is not found", 0.001, 0.5)
    hidden_s: float = parameter(0.3, "Time constant with which persons who are not found appear again, s", 0.01, 60.0)
    departures_per_s: float = parameter(0.02, "Share of the persons who go away in a second", 0.0001, 1.0)
    longest_hidden_s: float = parameter(4.0, "Nobody is followed who was not found for longer, s", 0.1, 60.0)
    leaves: int = parameter(200, "Most explanations looked at for one person", 1, 1000)
    explanations: int = parameter(2500, "Most explanations looked at for all persons, as far as each has two", 10, 100_000)
    doubt: float = parameter(5.0, "Explanations that make the whole less likely by more than this are dropped (log-likelihood)", 0.1, 100.0)


@dataclass(eq=False)
class _Node:
    """A person's state after frame ``index`` if he was seen by ``detection`` there (or not) and ``parent`` is what went before."""

    index: int
    detection: int
    mean: np.ndarray
    covariance: np.ndarray
    parent: _Node | None

    def path(self) -> list[_Node]:
        """This node and those before it, newest first."""
        node: _Node | None = self
        path = []
        while node is not None:
            path.append(node)
            node = node.parent
        return path


@dataclass(eq=False)
class _Leaf:
    """One explanation of a person: ``score`` (log-likelihood ratio) at his last detection, ``misses`` frames ago."""

    tree: int
    node: _Node
    score: float
    misses: int


@dataclass(frozen=True, eq=False)
class Decided:
    """A person in the decided frame: state [4], and whether he was seen in it."""

    track: int
    state: np.ndarray
    seen: bool


@dataclass(frozen=True, eq=False)
class _Continuations:
    """Possible leaves of the next frame: number of the leaf continued (-1: a new person), detection (-1: not seen), score, misses,
    and tree, each [K]; ``claims`` [K, window + 1]: the detections used in the last frames, numbered through; ``weight`` [K] is what the
    explanation is worth if nothing follows."""

    leaf: np.ndarray
    detection: np.ndarray
    claims: np.ndarray
    score: np.ndarray
    misses: np.ndarray
    tree: np.ndarray
    weight: np.ndarray

    def subset(self, chosen: np.ndarray) -> _Continuations:
        return _Continuations(*(getattr(self, f.name)[chosen] for f in dataclasses.fields(self)))


class DeferredTracker:
    """Follows everybody with a delay of ``window`` frames that are ``period_s`` apart."""

    #: Found and not found: with less nobody could be followed.
    _FEWEST_LEAVES = 2
    #: Of the search for the best explanation in whole numbers; nearly always the first one tells.
    _MOST_NODES = 200

    def __init__(self, config: DeferredConfig, period_s: float, window: int) -> None:
        self._config = config
        self._window = window
        self._motion = kalman.constant_velocity(period_s, 2, config.acceleration_density)
        self._arrivals = np.log(config.arrival_density * period_s / config.false_density)
        self._departure = -np.log(-np.expm1(-config.departures_per_s * period_s))
        self._stay = -period_s / config.hidden_s
        self._most_misses = max(1, int(config.longest_hidden_s / period_s))
        self._leaves: list[_Leaf] = []
        self._claims = np.zeros((0, window + 1), dtype=int)
        self._chosen: list[_Leaf] = []
        self._tracks: dict[int, int] = {}
        self._index = -1
        self._trees = 0
        self._counted = 0

    def step(self, detections: FloorDetections) -> list[Decided]:
        """Takes a frame's detections, all of different persons; gives what is now decided of the frame ``window`` frames ago."""
        self._index += 1
        predicted = self._predicted()
        continuations = self._best_of_each(self._continuations(predicted, detections))
        chosen, likely = self._explain(continuations)
        grown = dict(zip(likely.tolist(), self._grown(continuations.subset(likely), predicted, detections), strict=True))
        self._leaves, self._claims = list(grown.values()), continuations.claims[likely]
        self._chosen = [grown[number] for number in chosen.tolist()]
        oldest = self._index - self._window
        decided = self._decide(oldest)
        self._prune_by_decision(oldest)
        return decided

    def flush(self) -> list[list[Decided]]:
        """What is thought of the frames that are still undecided, oldest first."""
        first = max(0, self._index - self._window + 1)
        return [self._decide(index) for index in range(first, self._index + 1)]

    def _predicted(self) -> tuple[np.ndarray, np.ndarray]:
        if not self._leaves:
            return np.zeros((0, 4)), np.zeros((0, 4, 4))
        means, covariances = np.stack([x.node.mean for x in self._leaves]), np.stack([x.node.covariance for x in self._leaves])
        return kalman.predict(means, covariances, *self._motion)

    def _continuations(self, predicted: tuple[np.ndarray, np.ndarray], detections: FloorDetections) -> _Continuations:
        config, count = self._config, len(detections)
        scores = np.array([leaf.score for leaf in self._leaves])
        misses = np.array([leaf.misses for leaf in self._leaves], dtype=int)
        trees = np.array([leaf.tree for leaf in self._leaves], dtype=int)
        hidden = np.log(config.hiding) + (misses - 1) * self._stay
        found_again = np.where(misses == 0, np.log1p(-config.hiding), hidden + np.log(-np.expm1(self._stay)))
        found = innovations(*predicted, detections)
        gain = -0.5 * (found.distance + found.log_determinant) - np.log(2.0 * np.pi * config.false_density)
        who, which = np.nonzero((found.distance <= config.gate) & (misses <= self._most_misses)[:, None])
        # Who has gone for good still claims his detections until they are final.
        silent = np.flatnonzero(misses <= max(self._most_misses, self._window))
        penalty = np.minimum(self._departure, -np.log(config.hiding) - misses[silent] * self._stay)
        hit_scores = scores[who] + found_again[who] + gain[who, which]
        begin = np.full(count, self._arrivals)
        new = np.arange(count)
        leaf = np.concatenate([who, silent, np.full(count, -1)])
        detection = np.concatenate([which, np.full(len(silent), UNSEEN), new])
        claims = np.full((len(leaf), self._window + 1), UNSEEN)
        claims[leaf >= 0, :-1] = self._claims[leaf[leaf >= 0], 1:]
        claims[:, -1] = np.where(detection >= 0, detection + self._counted, UNSEEN)
        self._counted += count
        return _Continuations(
            leaf,
            detection,
            claims,
            np.concatenate([hit_scores, scores[silent], begin]),
            np.concatenate([np.zeros(len(who), dtype=int), misses[silent] + 1, np.zeros(count, dtype=int)]),
            np.concatenate([trees[who], trees[silent], self._trees + 1 + new]),
            np.concatenate([hit_scores, scores[silent] - penalty, begin]),
        )

    def _best_of_each(self, found: _Continuations) -> _Continuations:
        """The best of each tree, fewer of each where there are many trees.

        Those for different detections of this frame take turns: the best for each, then the second best for each, and so on. Otherwise
        the many pasts of one likely detection would leave no room for the others.
        """
        number = np.arange(len(found.tree))
        order = np.lexsort((-found.weight, found.detection, found.tree))
        begins = np.flatnonzero(np.diff(found.tree[order], prepend=-1) | np.diff(found.detection[order], prepend=-2))
        turn = np.empty(len(order), dtype=int)
        turn[order] = number - np.repeat(begins, np.diff(begins, append=len(order)))
        order = np.lexsort((found.detection, -found.weight, turn, found.tree))
        trees = found.tree[order]
        rank = number - np.searchsorted(trees, trees)
        within = np.cumsum(np.bincount(rank, minlength=1)) <= self._config.explanations
        each = max(int(within.sum()), self._FEWEST_LEAVES)
        return found.subset(order[rank < min(each, self._config.leaves)])

    def _grown(self, found: _Continuations, predicted: tuple[np.ndarray, np.ndarray], detections: FloorDetections) -> list[_Leaf]:
        means, covariances = np.zeros((len(found.leaf), 4)), np.zeros((len(found.leaf), 4, 4))
        old, hit = found.leaf >= 0, found.detection >= 0
        means[old], covariances[old] = predicted[0][found.leaf[old]], predicted[1][found.leaf[old]]
        new = ~old
        means[new, :2] = detections.positions[found.detection[new]]
        covariances[new, :2, :2] = detections.covariances[found.detection[new]]
        covariances[new, 2:, 2:] = self._config.start_speed_deviation**2 * np.eye(2)
        corrected = np.flatnonzero(old & hit)
        if len(corrected):
            which = found.detection[corrected]
            means[corrected], covariances[corrected] = kalman.update(
                means[corrected], covariances[corrected], detections.positions[which], np.eye(2, 4), detections.covariances[which]
            )
        self._trees += len(detections)
        parents = [self._leaves[leaf].node if leaf >= 0 else None for leaf in found.leaf.tolist()]
        nodes = [_Node(self._index, *rest) for rest in zip(found.detection.tolist(), means, covariances, parents, strict=True)]
        return [_Leaf(*rest) for rest in zip(found.tree.tolist(), nodes, found.score.tolist(), found.misses.tolist(), strict=True)]

    def _explain(self, found: _Continuations) -> tuple[np.ndarray, np.ndarray]:
        """Numbers of the continuations that together explain most, and of all those (with them) that a likely explanation may hold.

        Persons who compete with nobody for a detection take their best continuation; all others are decided together.
        """
        trees, tree = np.unique(found.tree, return_inverse=True)
        row, column = np.nonzero(found.claims >= 0)
        claimed, used = np.unique(found.claims[row, column], return_inverse=True)
        contested = _contested(used, tree[row], len(claimed))
        rivals = np.zeros(len(trees), dtype=bool)
        rivals[tree[row[contested[used]]]] = True
        best = np.zeros(len(trees))
        np.maximum.at(best, tree, found.weight)
        dearness = best[tree] - found.weight
        chosen = np.zeros(len(tree), dtype=bool)
        order = np.lexsort((np.arange(len(tree)), dearness, tree))
        first = order[np.r_[True, tree[order][1:] != tree[order][:-1]]] if len(order) else order
        chosen[first] = dearness[first] <= 0.0
        among = np.flatnonzero(rivals[tree])
        if len(among):
            kept = contested[used] & rivals[tree[row]]
            exclusive = _exclusive(row[kept], used[kept], tree, among)
            dearness[among], chosen[among] = self._decided_together(found.weight[among], exclusive)
        chosen &= dearness <= self._config.doubt
        return np.flatnonzero(chosen), np.flatnonzero((dearness <= self._config.doubt) | chosen)

    def _decided_together(self, weight: np.ndarray, exclusive: csr_array) -> tuple[np.ndarray, np.ndarray]:
        """By how much forcing each continuation in makes the whole worse, at least, float64 [K], and which are best, bool [K].

        The first are the reduced costs of the relaxed program; where its solution is not whole, those that are dearer than the doubt
        allows are left out of the program in whole numbers. ``exclusive`` [C, K]: of each row's continuations at most one holds.
        """
        relaxed = linprog(-weight, A_ub=exclusive, b_ub=np.ones(exclusive.shape[0]), method="highs-ds")
        dearness = -weight - exclusive.T @ relaxed.ineqlin.marginals
        share = relaxed.x
        if (np.abs(share - np.round(share)) > 1e-6).any():
            likely = np.flatnonzero(dearness <= self._config.doubt)
            limits, whole = LinearConstraint(exclusive[:, likely], ub=1.0), np.ones(len(likely))
            # Bounded by nodes and not by time, so that the same detections give the same tracks. Gaps relative to the sum of all
            # that people have ever scored would hide what tells two explanations apart.
            options = {"node_limit": self._MOST_NODES, "mip_rel_gap": 0.0}
            solved = milp(-weight[likely], integrality=whole, bounds=Bounds(0, 1), constraints=limits, options=options).x
            if solved is not None:
                share = np.zeros(len(weight))
                share[likely] = solved
        # Of a relaxed solution the shares above a half exclude each other too.
        return dearness, share > 0.5

    def _decide(self, index: int) -> list[Decided]:
        """Persons in frame ``index`` by the present explanation; those who are not seen again are said to have gone."""
        decided = []
        for leaf in sorted(self._chosen, key=lambda x: self._tracks.get(x.tree, x.tree + len(self._tracks))):
            path = [node for node in leaf.node.path() if node.index >= index]
            if not path or path[-1].index != index:
                continue
            seen = [i for i, node in enumerate(path) if node.detection != UNSEEN]
            if not seen:
                continue
            track = self._tracks.setdefault(leaf.tree, len(self._tracks) + 1)
            decided.append(Decided(track, self._smoothed(path[seen[0] :]), path[-1].detection != UNSEEN))
        return decided

    def _smoothed(self, path: Sequence[_Node]) -> np.ndarray:
        """State [4] at the oldest node of ``path`` (newest first), given the newer ones.

        Rauch, Tung, Striebel, Maximum Likelihood Estimates of Linear Dynamic Systems, AIAA Journal 3(8), 1965.
        """
        transition, noise = self._motion
        mean = path[0].mean
        for node in path[1:]:
            predicted = transition @ node.covariance @ transition.T + noise
            gain = np.linalg.solve(predicted, transition @ node.covariance).T
            mean = node.mean + gain @ (mean - transition @ node.mean)
        return mean

    def _prune_by_decision(self, oldest: int) -> None:
        """Drops explanations that contradict what is now final, and the nodes before it."""
        if oldest < 0:
            return
        kept: dict[int, _Node] = {}
        for leaf in self._chosen:
            kept.update((leaf.tree, node) for node in leaf.node.path() if node.index == oldest)
        possible = []
        for number, leaf in enumerate(self._leaves):
            path = leaf.node.path()
            if path[-1].index > oldest or any(node is kept.get(leaf.tree) for node in path):
                possible.append(number)
        for node in kept.values():
            node.parent = None
        self._leaves = [self._leaves[number] for number in possible]
        self._claims = self._claims[possible]


def _contested(used: np.ndarray, tree: np.ndarray, claimed: int) -> np.ndarray:
    """bool [claimed]: detections that more than one tree claims; ``used`` and ``tree`` int [C] belong together."""
    lowest, highest = np.full(claimed, np.iinfo(int).max), np.full(claimed, -1)
    np.minimum.at(lowest, used, tree)
    np.maximum.at(highest, used, tree)
    return lowest < highest


def _exclusive(row: np.ndarray, used: np.ndarray, tree: np.ndarray, among: np.ndarray) -> csr_array:
    """Which of the continuations ``among`` (int [K]) exclude each other: one row per contested detection and per tree, columns [K].

    Continuation ``row`` claims detection ``used`` (int [C] each).
    """
    place = np.full(len(tree), -1)
    place[among] = np.arange(len(among))
    detections, detection = np.unique(used, return_inverse=True)
    persons, person = np.unique(tree[among], return_inverse=True)
    rows = np.concatenate([detection, person + len(detections)])
    columns = np.concatenate([place[row], np.arange(len(among))])
    return coo_array((np.ones(len(rows)), (rows, columns)), shape=(len(detections) + len(persons), len(among))).tocsr()
