"""The pose of a camera in a LiDAR's frame that puts the LiDAR's points onto the boards that the camera sees.

Source of the constraint: Zhang and Pless, "Extrinsic calibration of a camera and laser range finder", 2004: every LiDAR point on
the board lies in the plane that the camera saw. Here each view's points are first made two control points of a line (three of a
plane), whose distances from the board are weighed by how sure LiDAR and camera are of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.optimize import least_squares
from scipy.spatial.transform import Rotation
from scipy.stats import chi2

from mm_nav.calibration.track import BoardTrack
from mm_nav.calibration.views import Contact, View

Floats = npt.NDArray[np.float64]
Matrix = npt.NDArray[np.float64]

# Both sensors are believed to stamp within a twentieth of a second, before anything moved.
PRIOR_S = 0.05
# LiDARs measure a little differently on black and on white; this does not go away with the number of points.
_LIDAR_FLOOR_M, _LIDAR_LEAST_M = 0.001, 0.002
# Share of the way between two pictures by which a board may be off the straight line between them.
_INTERPOLATION = 0.1
# A view whose error would come up less often than this among good ones is left out.
_STRANGE = 1e-3
_STEP_S = 0.01
# Standard deviations from which on directions are followed.
_FOLLOW_RAD, _FOLLOW_M = float(np.radians(0.5)), 0.012


@dataclass(frozen=True)
class Constraint:
    """A view and the control points of what the LiDAR saw of its board."""

    view: View
    contact: Contact


@dataclass(frozen=True)
class Prior:
    """What is believed of lidar_T_camera (4, 4) before any view, by standard deviations (m, rad) of each direction.

    It decides only what the views leave open; where they tell a direction to within a tenth of this, it moves it by a hundredth
    of how far it is off itself.
    """

    lidar_T_camera: Matrix
    shift_m: float = 0.5
    turn_rad: float = float(np.radians(30.0))


@dataclass(frozen=True)
class Solution:
    """The best pose, and how sure it is.

    lidar_T_camera: (4, 4), the camera's optical frame in the LiDAR's. offset_s: how much later pictures are stamped than sweeps.
    scale: how much larger the board is than it was said to be. covariance: (8, 8) of a small turn of the camera (rad, about the
    LiDAR's axes), its shift (m, along them), offset_s and scale; rows of what was not asked for are 0. used: which constraints (N,)
    were. distances: of each constraint, its points' distances from its board, metres. chi2_per_dof: 1 where errors are as large as
    they were taken to be; the covariance is multiplied by it where it is more. noise_m: of a LiDAR point, standard deviation.
    """

    lidar_T_camera: Matrix
    offset_s: float
    scale: float
    covariance: Floats
    used: npt.NDArray[np.bool_]
    distances: tuple[Floats, ...]
    chi2_per_dof: float
    noise_m: float

    @property
    def deviation(self) -> Floats:
        """Standard deviations (8,): roll, pitch, yaw (rad), x, y, z (m) along and about the LiDAR's axes; offset (s); scale."""
        return np.asarray(np.sqrt(np.maximum(np.diag(self.covariance), 0.0)))

    @property
    def rms_m(self) -> float:
        """Distance of the LiDAR's points from the boards they are on, root of the mean square over the views used, metres."""
        kept = [d for d, used in zip(self.distances, self.used, strict=True) if used]
        return float(np.sqrt(np.mean(np.concatenate(kept) ** 2))) if kept else float("nan")


def solve(
    constraints: Sequence[Constraint], track: BoardTrack, start: Matrix, *, offset: bool = True, scale: bool = False,
    start_s: float = 0.0, prior: Prior | None = None,
) -> Solution:  # fmt: skip
    """Return the pose that fits constraints best, from a start (4, 4) that fits about.

    offset, scale: whether these are found too. prior: None = the start, weakly. Views that contradict the others are not used.
    """
    free = np.r_[np.ones(6, bool), offset, scale]
    noise = lidar_noise_m([c.contact for c in constraints])
    state = _State(start, start_s, 1.0)
    believed = prior or Prior(start)
    used = np.ones(len(constraints), bool)
    for round_ in range(8):
        problem = _Problem.at(constraints, track, state, noise, believed)
        state = problem.fitted(state, used, free, robust=round_ < 3)
        kept = problem.agreeing(state) if round_ >= 2 else used
        if round_ >= 4 and (kept == used).all():
            break
        used = kept
    problem = _Problem.at(constraints, track, state, noise, believed)
    state = problem.fitted(state, used, free, robust=False)
    residuals, jacobian = problem.system(state, used, free)
    rows = len(residuals) - 8
    strange = float(residuals[:rows] @ residuals[:rows]) / max(rows - int(free.sum()), 1)
    covariance = np.zeros((8, 8))
    covariance[np.ix_(free, free)] = np.linalg.inv(jacobian.T @ jacobian) * max(1.0, strange)
    covariance = _widened(covariance, problem, state, used, free, max(1.0, strange))
    distances = tuple(_distances(c, track, state) for c in constraints)
    return Solution(state.pose, state.offset_s, state.scale, covariance, used, distances, strange, noise)


def _widened(
    covariance: Floats, problem: _Problem, state: _State, used: npt.NDArray[np.bool_], free: npt.NDArray[np.bool_],
    strange: float,
) -> Floats:  # fmt: skip
    """Return the covariance with what is poorly determined as uncertain as the misfit really leaves it.

    Where boards stand upright, the valley of good poses is long and bent, and its curvature at one place says too little: the
    direction is followed, with all others free, to where the misfit says two standard deviations.
    """

    def misfit(at: _State) -> float:
        residuals, _ = problem.system(at, used, free)
        return float(residuals @ residuals) / strange

    widened, least = covariance.copy(), misfit(state)
    for k, limit in enumerate((*[_FOLLOW_RAD] * 3, *[_FOLLOW_M] * 3)):
        deviation = float(np.sqrt(covariance[k, k]))
        if deviation < limit:
            continue
        others, found = free.copy(), deviation
        others[k] = False
        for sign in (-1.0, 1.0):
            far, at = 2 * deviation, state
            for _ in range(6):
                step = np.zeros(8)
                # Beside the direction itself, what usually goes with it: a start near the valley's floor.
                step[:] = covariance[:, k] / covariance[k, k] * sign * far
                at = problem.fitted(state.moved(step), used, others, robust=False)
                if misfit(at) - least > 4.0:
                    break
                far *= 1.3
            found = max(found, far / 2)
        widened[k], widened[:, k] = widened[k] * found / deviation, widened[:, k] * found / deviation
    return widened


def lidar_noise_m(contacts: Sequence[Contact]) -> float:
    """Return how far a LiDAR's points are off the lines or planes they are on, standard deviation over all, metres."""
    rss, dof = sum(c.rss for c in contacts), sum(c.dof for c in contacts)
    return max(_LIDAR_LEAST_M, float(np.sqrt(rss / max(dof, 1))))


@dataclass(frozen=True)
class _State:
    pose: Matrix
    offset_s: float
    scale: float

    def moved(self, step: Floats) -> _State:
        pose = self.pose.copy()
        pose[:3, :3] = Rotation.from_rotvec(step[:3]).as_matrix() @ pose[:3, :3]
        pose[:3, 3] += step[3:6]
        return _State(pose, self.offset_s + float(step[6]), self.scale + float(step[7]))


@dataclass(frozen=True)
class _Problem:
    """All constraints as arrays of C views with K control points each; what changes slowly is that of one state.

    points: (C, K, 3), in the LiDAR. normals: (C, K, 3) and offsets: (C, K) of the boards before the camera, normal_rates and
    offset_rates how fast they change with the time offset, which was offset_s. blocks: (C, K, K), which make residuals independent
    and of variance 1. believed: the prior.
    """

    points: Floats
    normals: Floats
    offsets: Floats
    normal_rates: Floats
    offset_rates: Floats
    offset_s: float
    blocks: Floats
    believed: Prior

    @classmethod
    def at(
        cls, constraints: Sequence[Constraint], track: BoardTrack, state: _State, noise_m: float, believed: Prior
    ) -> _Problem:
        points = np.stack([c.contact.points for c in constraints])
        count, size = points.shape[:2]
        normals = np.repeat(np.array([c.view.pose.normal for c in constraints])[:, None], size, axis=1)
        offsets = np.repeat(np.array([c.view.pose.offset for c in constraints])[:, None], size, axis=1)
        normal_rates, offset_rates = np.zeros_like(normals), np.zeros_like(offsets)
        moving = [k for k, c in enumerate(constraints) if not c.view.still]
        if moving:
            times = np.concatenate([constraints[k].contact.times_s for k in moving]) + state.offset_s
            now, late, early = (track.planes(times + dt) for dt in (0.0, _STEP_S, -_STEP_S))
            normals[moving], offsets[moving] = now[0].reshape(-1, size, 3), now[1].reshape(-1, size)
            normal_rates[moving] = ((late[0] - early[0]) / (2 * _STEP_S)).reshape(-1, size, 3)
            offset_rates[moving] = ((late[1] - early[1]) / (2 * _STEP_S)).reshape(-1, size)
        problem = cls(
            points,
            normals,
            offsets,
            normal_rates,
            offset_rates,
            state.offset_s,
            np.zeros((count, size, size)),
            believed,
        )
        rates = problem._rates(state, *problem._arms(state))
        blocks = [_whitener(c, normals[k], rates[k], state, noise_m) for k, c in enumerate(constraints)]
        return replace(problem, blocks=np.stack(blocks))

    def residuals(self, state: _State) -> Floats:
        """Return how far (C, K) the control points are behind their boards, metres."""
        turned, arms = self._arms(state)
        later = state.offset_s - self.offset_s
        return np.asarray(
            np.einsum("cki,cki->ck", turned, arms) - state.scale * (self.offsets + later * self.offset_rates)
        )

    def system(self, state: _State, used: npt.NDArray[np.bool_], free: npt.NDArray[np.bool_]) -> tuple[Floats, Floats]:
        """Return whitened residuals (M,), the prior's eight last, and how they change (M, free parameters)."""
        turned, arms = self._arms(state)
        # In the LiDAR: the residual is normal @ (point - position) - scale * offset.
        slope = np.concatenate(
            [np.cross(turned, arms), -turned, self._rates(state, turned, arms)[..., None], -self.offsets[..., None]],
            axis=2,
        )
        blocks = self.blocks[used]
        seen = np.einsum("ckl,cl->ck", blocks, self.residuals(state)[used]).ravel()
        slopes = np.einsum("ckl,clp->ckp", blocks, slope[used]).reshape(-1, 8)
        believed, prior = self.believed.lidar_T_camera, self.believed
        turn = Rotation.from_matrix(state.pose[:3, :3] @ believed[:3, :3].T).as_rotvec()
        weights = np.r_[np.full(3, 1 / prior.turn_rad), np.full(3, 1 / prior.shift_m), 1 / PRIOR_S, 1.0]
        departure = np.r_[turn, state.pose[:3, 3] - believed[:3, 3], state.offset_s, state.scale - 1.0]
        return np.concatenate([seen, weights * departure]), np.concatenate([slopes, np.diag(weights)])[:, free]

    def fitted(self, state: _State, used: npt.NDArray[np.bool_], free: npt.NDArray[np.bool_], robust: bool) -> _State:
        """Return the state that fits the used constraints best."""

        def full(step: Floats) -> Floats:
            whole = np.zeros(8)
            whole[free] = step
            return whole

        found = least_squares(
            lambda step: self.system(state.moved(full(step)), used, free)[0], np.zeros(int(free.sum())),
            lambda step: self.system(state.moved(full(step)), used, free)[1],
            loss="cauchy" if robust else "linear", f_scale=3.0, x_scale="jac", max_nfev=30,
        )  # fmt: skip
        return state.moved(full(found.x))

    def agreeing(self, state: _State) -> npt.NDArray[np.bool_]:
        """Return which constraints (C,) agree with a state, given how well the middling one does."""
        size = np.sum(np.einsum("ckl,cl->ck", self.blocks, self.residuals(state)) ** 2, axis=1)
        freedom = self.points.shape[1]
        usual = max(1.0, float(np.median(size) / chi2.ppf(0.5, freedom)))
        agreeing = size / usual < chi2.ppf(1 - _STRANGE, freedom)
        # Leaving out half of the views would be choosing an answer.
        return np.asarray(agreeing if agreeing.sum() > len(agreeing) / 2 else size <= np.median(size), np.bool_)

    def _arms(self, state: _State) -> tuple[Floats, Floats]:
        """Return normals (C, K, 3) and control points from the camera (C, K, 3), both along the LiDAR's axes."""
        normals = self.normals + (state.offset_s - self.offset_s) * self.normal_rates
        return normals @ state.pose[:3, :3].T, self.points - state.pose[:3, 3]

    def _rates(self, state: _State, turned: Floats, arms: Floats) -> Floats:
        """Return how fast (C, K) the residuals change with the time offset, m/s."""
        moved = np.einsum("cki,cki->ck", self.normal_rates @ state.pose[:3, :3].T, arms)
        return np.asarray(moved - state.scale * self.offset_rates)


def _distances(constraint: Constraint, track: BoardTrack, state: _State) -> Floats:
    """Return how far (N,) a view's LiDAR points are behind its board, metres."""
    view, contact = constraint.view, constraint.contact
    normal, offset = view.pose.normal, view.pose.offset
    if not view.still:
        normals, offsets = track.planes(contact.times_s + state.offset_s)
        normal, offset = normals.mean(axis=0), float(offsets.mean())
    seen = (contact.on_board - state.pose[:3, 3]) @ state.pose[:3, :3]
    return np.asarray(seen @ normal - state.scale * offset)


def _whitener(constraint: Constraint, normals: Floats, rates: Floats, state: _State, noise_m: float) -> Floats:
    """Return the matrix (K, K) that makes a constraint's residuals independent, of variance 1."""
    view, contact = constraint.view, constraint.contact
    seen = (contact.points - state.pose[:3, 3]) @ state.pose[:3, :3]
    facing = (normals @ state.pose[:3, :3].T) @ contact.normal
    covariance = contact.lever * noise_m**2 * np.outer(facing, facing) + _LIDAR_FLOOR_M**2 * np.eye(len(seen))
    arms = np.concatenate([np.cross(seen - state.scale * view.pose.centre, normals), normals], axis=1)
    covariance += arms @ np.linalg.inv(view.pose.information) @ arms.T * view.corner_px**2
    covariance += np.diag((_INTERPOLATION * view.gap_s * rates) ** 2)
    return np.asarray(np.linalg.inv(np.linalg.cholesky(covariance)))
