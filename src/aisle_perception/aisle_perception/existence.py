"""Whether a track is a real person: evidence added up as log-odds (after Musicki, Evans, Stankovic, IPDA, IEEE TAC 39(6), 1994).

Successive frames of one camera are not independent (a reflection stays where it is, a blind spot stays blind), so both what a hit and
what a miss says is tempered, and one slot's evidence is bounded.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

import aisle_kernels
from aisle_contract.config import parameter
from aisle_perception.people import People


@dataclass(frozen=True)
class LifeConfig:
    """From what evidence on a track counts, and from what on it has ended: the same for boxes and for persons on the floor."""

    existence_start: float = parameter(-2.0, "Log-odds of a new track before its first detections count", -10.0, 2.0)
    greatest_log_odds: float = parameter(6.0, "Upper bound of the log-odds", 1.0, 20.0)
    confirm_log_odds: float = parameter(2.2, "Log-odds from which on a track is given out", -5.0, 10.0)
    delete_log_odds: float = parameter(-2.5, "Log-odds below which a track ends", -20.0, 0.0)


def added(config: LifeConfig, log_odds: np.ndarray, change: np.ndarray) -> np.ndarray:
    """Log-odds [N] after a ``change`` [N]; bounded, so that nobody is too sure to be let go."""
    return np.minimum(log_odds + change, config.greatest_log_odds)


def confirmed(config: LifeConfig, log_odds: np.ndarray) -> np.ndarray:
    """bool [N]: who is sure enough to be given out."""
    return log_odds >= config.confirm_log_odds


def ended(config: LifeConfig, log_odds: np.ndarray) -> np.ndarray:
    """bool [N]: who is too unlikely to be followed on."""
    return log_odds < config.delete_log_odds


@dataclass(frozen=True)
class ExistenceConfig(LifeConfig):
    """How cameras that are known to see a place, or not, add evidence about a person there."""

    detection_probability: float = parameter(0.85, "Share of frames in which a camera finds a person who is wholly in view", 0.05, 0.999)
    hit_gain: float = parameter(0.8, "Log-odds that one camera's detection adds", 0.0, 5.0)
    miss_share: float = parameter(0.15, "Share of log(1 - p) that a camera's silence about a person in its view adds", 0.0, 1.0)
    greatest_slot_gain: float = parameter(1.5, "Most log-odds gained in one slot", 0.1, 10.0)
    greatest_slot_loss: float = parameter(0.25, "Most log-odds lost in one slot", 0.01, 10.0)
    fading_per_s: float = parameter(0.4, "Log-odds lost per second by a person whom no camera finds, wherever he is", 0.0, 20.0)
    fading_at_gate_per_s: float = parameter(8.0, "The same within a gate's reach: he has most likely left", 0.0, 50.0)


class ExistenceJudge:
    """Takes up what slots say. The arithmetic is in ``aisle_kernels/src/presence.cpp``."""

    def __init__(self, config: ExistenceConfig) -> None:
        self._config = np.array(
            [
                config.hit_gain,
                config.miss_share,
                config.greatest_slot_gain,
                config.greatest_slot_loss,
                config.fading_per_s,
                config.fading_at_gate_per_s,
                config.greatest_log_odds,
            ]
        )

    def judge(
        self,
        people: People,
        dt_s: float,
        stamp_ns: int,
        reporting: np.ndarray,
        at_gate: np.ndarray,
        silence: np.ndarray,
        cameras: np.ndarray,
        owner: np.ndarray,
    ) -> None:
        """Changes log-odds and stamps of N people by a slot of ``dt_s`` seconds, in which the cameras ``reporting`` (int [R]) have a frame.

        ``at_gate`` bool [N]; ``silence`` float64 [C, N]: logarithm of how likely each camera is not to find a person; ``owner`` int [M]:
        whom the detections of ``cameras`` int [M] were taken for, -1 for nobody.
        """
        reports = np.zeros(len(silence), dtype=bool)
        reports[reporting] = True
        slot = dt_s, stamp_ns, reports, at_gate, silence, cameras, owner
        aisle_kernels.judge(self._config, *slot, people.log_odds, people.seen_ns)


def probability(log_odds: np.ndarray) -> np.ndarray:
    """Existence probabilities 0..1 [N]."""
    return 1.0 / (1.0 + np.exp(-log_odds))


class ScoreEvidence:
    """Log-odds that detections add by their scores: half the score's own, within bounds, since successive frames are not independent."""

    def __init__(self, least_gain: float, greatest_gain: float) -> None:
        self._low, self._high = math.tanh(least_gain), math.tanh(greatest_gain)

    def of(self, scores: np.ndarray) -> np.ndarray:
        """float64 [K] of ``scores`` [K]: half of log(p / (1 - p)), which is artanh(2 p - 1)."""
        sure = 2.0 * scores
        sure -= 1.0
        np.maximum(sure, self._low, out=sure)
        np.minimum(sure, self._high, out=sure)
        return np.arctanh(sure, out=sure)
