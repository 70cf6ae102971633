// What a detection says of a body's place and stature, and what that comes to with all that is known otherwise.
#pragma once

#include <cstdint>

#include "matrices.hpp"

namespace aisle {

// On which side of its box a body may be, in units of the reach: an arm on no or on both sides, left, right.
constexpr double kSides[3] = {0.0, 1.0, -1.0};

struct Gaussian3 {
    Matrix3 information;
    Vector3 vector;
};

struct Placed {
    Vector2 position;
    Matrix2 covariance;
};

// One Gaussian with the mean and covariance of all sides, weighed by `shares` [3].
Gaussian3 merged(const Gaussian3& evidence, Vector2 reach, const double* shares);

// Where somebody of known stature (multiple of the mean) stands.
Placed located(const Gaussian3& evidence, double stature, double variance);

// M detections, N persons, of whom `expected_information` [N, 3, 3] and `expected_vector` [N, 3] on (x, y, s) are known otherwise. Changes
// the `shares` [M, 3]: each detection's are judged against all the rest, then its sides are merged into one Gaussian, and again until it
// settles (expectation propagation). All refer to one time.
void settled_shares(int64_t detections, const double* information, const double* vector, const double* reach, double* shares,
                    const int64_t* whose, int64_t persons, const double* expected_information, const double* expected_vector);

// Weights [M] up to 1, less for detections that are far from where the persons, with `means` [N, 2] and information `places` [N, 2, 2] on
// their positions, are expected and all the other detections see them (Student's t, reweighted).
void trust(int64_t detections, const double* positions, const double* spreads, const int64_t* whose, int64_t persons,
           const double* places, const double* means, double* weights);

// Squared Mahalanobis distance of a detection, `age` s old, to a state [4] with covariance [4, 4], and log det of the innovation's
// covariance.
void innovation(const double* mean, const double* covariance, double age, const double* position, const double* spread, double& distance,
                double& log_determinant);

// Detections [M] of persons whom they show, as on_floor gives them: `ages` s before the persons' states.
struct Evidence {
    int64_t detections;
    const int64_t* whose;
    const double *ages, *information, *vector, *reach, *shares;
};

// Columns of `Persons::statures`.
constexpr int kStatures = 5;

// Persons [N]: `means` [N, 4], `covariances` [N, 4, 4], and what is known of their `statures` [N, 5]: mean, as multiple of the population's,
// and variance; how likely it is that they crouch; mean and variance of what they seem to have at the moment.
struct Persons {
    int64_t count;
    double *means, *covariances, *statures;
};

// Corrects persons by detections that are first told more exactly by all that is known (aisle_perception.body_updater). `pose_share`: how
// much of what a slot says of a stature is new; `least_stature_variance`: it is never known better. False where a covariance is singular.
bool correct_bodies(const Persons& persons, const Evidence& evidence, double huber, double pose_share, double least_stature_variance);

// False where a covariance is singular.
bool fuse(int64_t persons, double* means, double* covariances, int64_t detections, const int64_t* whose, const double* positions,
          const double* ages, const double* precisions);

}  // namespace aisle
