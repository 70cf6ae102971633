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

// The functions below are those of the same names in aisle_perception.body_updater and aisle_perception.kalman; M detections, N persons.

void settled_shares(int64_t detections, const double* information, const double* vector, const double* reach, double* shares,
                    const int64_t* whose, int64_t persons, const double* expected_information, const double* expected_vector);

void trust(int64_t detections, const double* positions, const double* spreads, const int64_t* whose, int64_t persons,
           const double* places, const double* means, double* weights);

// Squared Mahalanobis distance of a detection, `age` s old, to a state [4] with covariance [4, 4], and log det of the innovation's covariance.
void innovation(const double* mean, const double* covariance, double age, const double* position, const double* spread, double& distance,
                double& log_determinant);

// False where a covariance is singular.
bool fuse(int64_t persons, double* means, double* covariances, int64_t detections, const int64_t* whose, const double* positions,
          const double* ages, const double* precisions);

}  // namespace aisle
