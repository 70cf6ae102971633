#include "body_evidence.hpp"

#include <algorithm>
#include <vector>

namespace aisle {

namespace {

constexpr int kRounds = 3;
// Degrees of freedom of Student's t: how far tails reach. Boxes are far off now and then, as when an arm is taken for feet.
constexpr double kFreedom = 3.0;
// How often somebody who stood upright crouches or bends to low shelves in the next slot, and how often he goes on to; the stature that he
// seems to have then as a share of his own: mean and deviation, and how well it may be known at best.
constexpr double kCrouches = 0.05, kGoesOn = 0.95, kCrouchingShare = 0.72, kCrouchingDeviation = 0.15, kLeastCrouching = 0.04;
// A crouching body is no small upright one, and cameras err alike about it: what they say of its stature counts by this share.
constexpr double kAlike = 0.5;
// Keeps what nothing was seen of solvable.
constexpr double kUseless = 1e-9;
// Keeps persons of whom nothing was seen solvable.
constexpr double kVague = 1e-6;

Gaussian3 load(const double* information, const double* vector, int64_t at) {
    return {Matrix3::load(information + 9 * at), {vector[3 * at], vector[3 * at + 1], vector[3 * at + 2]}};
}

Vector2 load2(const double* from, int64_t at) { return {from[2 * at], from[2 * at + 1]}; }

Matrix2 load4(const double* from, int64_t at) { return {from[4 * at], from[4 * at + 1], from[4 * at + 2], from[4 * at + 3]}; }

void store(Matrix2 m, double* to) { to[0] = m.xx, to[1] = m.xy, to[2] = m.yx, to[3] = m.yy; }

// Of a person, columns of Persons::statures.
constexpr int kMean = 0, kVariance = 1, kCrouching = 2, kMomentary = 3, kMomentaryVariance = 4;

// How likely it is that somebody crouches, and how tall he is at the moment, given what is known of his place and `seen` of him; written to
// `stature`.
void see_posture(const Gaussian3& seen, double* stature) {
    const double* e = seen.information.e;
    const Vector2 together{e[2], e[5]};
    const Vector2 gain = inverse(Matrix2{e[0] + kVague, e[1], e[3], e[4] + kVague}) * together;
    const double precision = kAlike * std::max(e[8] - dot(gain, together), 0.0);
    const double pull = kAlike * (seen.vector.z - dot(gain, Vector2{seen.vector.x, seen.vector.y}));
    const double means[2] = {stature[kMean], kCrouchingShare * stature[kMean]};
    const double variances[2] = {stature[kVariance], kCrouchingDeviation * kCrouchingDeviation};
    const double before = kCrouches + (kGoesOn - kCrouches) * stature[kCrouching];
    double odds[2] = {std::log1p(-before), std::log(before)};
    for (int h = 0; h < 2; ++h) {
        const double known = 1.0 / variances[h], pulled = pull + means[h] * known;
        odds[h] += 0.5 * (pulled * pulled / (precision + known) - means[h] * means[h] * known - std::log1p(precision * variances[h]));
    }
    const double crouching = 1.0 / (1.0 + std::exp(odds[0] - odds[1]));
    const double known = 1.0 / variances[1], mean = (pull + means[1] * known) / (precision + known);
    const double variance = std::max(1.0 / (precision + known), kLeastCrouching * kLeastCrouching);
    // Both together: who stands upright is as tall as ever.
    const double apart = mean - stature[kMean];
    stature[kCrouching] = crouching;
    stature[kMomentary] = stature[kMean] + crouching * apart;
    stature[kMomentaryVariance] =
        (1.0 - crouching) * stature[kVariance] + crouching * variance + crouching * (1.0 - crouching) * apart * apart;
}

// Takes what a slot's detections say of a stature (mean and variance), wherever the person stands.
void learn_stature(const Gaussian3& said, double pose_share, double least_variance, double* stature) {
    const double* e = said.information.e;
    const Vector2 together{e[2], e[5]};
    const Vector2 gain = inverse(Matrix2{e[0] + kVague, e[1], e[3], e[4] + kVague}) * together;
    const double weight = pose_share * std::max(e[8] - dot(gain, together), 0.0);
    const double pull = pose_share * (said.vector.z - dot(gain, Vector2{said.vector.x, said.vector.y}));
    const double precision = 1.0 / stature[1] + weight;
    stature[0] = (stature[0] / stature[1] + pull) / precision;
    stature[1] = std::max(1.0 / precision, least_variance);
}

// Inverse of a symmetric positive 4 x 4 matrix by Cholesky's decomposition; false where it is none.
bool invert4(const double* m, double* inverse) {
    double lower[16] = {0.0}, solved[16] = {0.0};
    for (int i = 0; i < 4; ++i) {
        for (int j = 0; j <= i; ++j) {
            double sum = m[4 * i + j];
            for (int k = 0; k < j; ++k) sum -= lower[4 * i + k] * lower[4 * j + k];
            if (i != j) {
                lower[4 * i + j] = sum / lower[4 * j + j];
            } else {
                if (!(sum > 0.0)) return false;
                lower[4 * i + i] = std::sqrt(sum);
            }
        }
    }
    // The inverse of the lower triangle, then its transpose times itself.
    for (int i = 0; i < 4; ++i) {
        solved[4 * i + i] = 1.0 / lower[4 * i + i];
        for (int j = 0; j < i; ++j) {
            double sum = 0.0;
            for (int k = j; k < i; ++k) sum -= lower[4 * i + k] * solved[4 * k + j];
            solved[4 * i + j] = sum / lower[4 * i + i];
        }
    }
    for (int i = 0; i < 4; ++i) {
        for (int j = 0; j <= i; ++j) {
            double sum = 0.0;
            for (int k = i; k < 4; ++k) sum += solved[4 * k + i] * solved[4 * k + j];
            inverse[4 * i + j] = inverse[4 * j + i] = sum;
        }
    }
    return true;
}

}  // namespace

Gaussian3 merged(const Gaussian3& evidence, Vector2 reach, const double* shares) {
    const double side = shares[1] - shares[2];
    const double variance = shares[1] + shares[2] - side * side;
    const Vector3 pushed = evidence.information * reach;
    const double stiffness = pushed.x * reach.x + pushed.y * reach.y;
    const double held = variance / (1.0 + variance * stiffness);
    // The side is a Gaussian of this mean and variance; integrating it out (Schur's complement) leaves this vector.
    const double along = evidence.vector.x * reach.x + evidence.vector.y * reach.y;
    const double pull = (side - variance * along) / (1.0 + variance * stiffness);
    return {evidence.information - held * outer(pushed), evidence.vector + pull * pushed};
}

Placed located(const Gaussian3& evidence, double stature, double variance) {
    Matrix3 known = evidence.information;
    known.e[0] += kUseless;
    known.e[4] += kUseless;
    known.e[8] += 1.0 / variance;
    Vector3 pulled = evidence.vector;
    pulled.z += stature / variance;
    const Matrix3 covariance = inverse(known);
    const Vector3 solution = covariance * pulled;
    return {{solution.x, solution.y}, {covariance.e[0], covariance.e[1], covariance.e[3], covariance.e[4]}};
}

void settled_shares(int64_t detections, const double* information, const double* vector, const double* reach, double* shares,
                    const int64_t* whose, int64_t persons, const double* expected_information, const double* expected_vector) {
    struct Open {
        int64_t detection;
        Vector3 pushed;
        double stiffness, held, prior[3];
    };
    std::vector<Open> open_ones;
    for (int64_t m = 0; m < detections; ++m) {
        const double* share = shares + 3 * m;
        if (share[1] == 0.0 && share[2] == 0.0) continue;
        Open one;
        const Vector2 arm = load2(reach, m);
        one.detection = m;
        one.pushed = Matrix3::load(information + 9 * m) * arm;
        one.stiffness = one.pushed.x * arm.x + one.pushed.y * arm.y;
        one.held = vector[3 * m] * arm.x + vector[3 * m + 1] * arm.y;
        for (int h = 0; h < 3; ++h) one.prior[h] = std::log(std::max(share[h], 1e-300));
        open_ones.push_back(one);
    }
    if (open_ones.empty()) return;
    std::vector<Gaussian3> single(detections), total(persons);
    for (int round = 0; round < kRounds; ++round) {
        for (int64_t n = 0; n < persons; ++n) total[n] = load(expected_information, expected_vector, n);
        for (int64_t m = 0; m < detections; ++m) {
            single[m] = merged(load(information, vector, m), load2(reach, m), shares + 3 * m);
            Gaussian3& sum = total[whose[m]];
            sum = {sum.information + single[m].information, sum.vector + single[m].vector};
        }
        for (const Open& one : open_ones) {
            const int64_t m = one.detection;
            const Gaussian3 own = load(information, vector, m);
            const Gaussian3& all = total[whose[m]];
            const Matrix3 spread = inverse(all.information - single[m].information + own.information);
            const Vector3 others = all.vector - single[m].vector + own.vector;
            double odds[3], greatest = -std::numeric_limits<double>::infinity();
            for (int h = 0; h < 3; ++h) {
                const Vector3 candidate = others + kSides[h] * one.pushed;
                const double fit = dot(candidate, spread * candidate) - kSides[h] * kSides[h] * one.stiffness;
                odds[h] = one.prior[h] + 0.5 * fit - kSides[h] * one.held;
                greatest = std::max(greatest, odds[h]);
            }
            for (double& odd : odds) odd = std::exp(odd - greatest);
            const double sum = odds[0] + odds[1] + odds[2];
            for (int h = 0; h < 3; ++h) shares[3 * m + h] = odds[h] / sum;
        }
    }
}

void trust(int64_t detections, const double* positions, const double* spreads, const int64_t* whose, int64_t persons,
           const double* places, const double* means, double* weights) {
    struct Sum {
        Matrix2 information;
        Vector2 vector;
    };
    std::vector<Sum> expected(persons), said(detections), weighed(detections), total;
    for (int64_t n = 0; n < persons; ++n) {
        expected[n].information = load4(places, n);
        expected[n].vector = expected[n].information * load2(means, n);
    }
    for (int64_t m = 0; m < detections; ++m) {
        said[m].information = inverse(load4(spreads, m));
        said[m].vector = said[m].information * load2(positions, m);
        weights[m] = 1.0;
    }
    for (int round = 0; round < kRounds; ++round) {
        total = expected;
        for (int64_t m = 0; m < detections; ++m) {
            weighed[m] = {weights[m] * said[m].information, weights[m] * said[m].vector};
            Sum& sum = total[whose[m]];
            sum = {sum.information + weighed[m].information, sum.vector + weighed[m].vector};
        }
        for (int64_t m = 0; m < detections; ++m) {
            const Sum& sum = total[whose[m]];
            const Matrix2 others = inverse(sum.information + -1.0 * weighed[m].information);
            const Vector2 off = load2(positions, m) - others * (sum.vector - weighed[m].vector);
            weights[m] = (kFreedom + 2.0) / (kFreedom + std::max(squared_mahalanobis(off, others + load4(spreads, m)), 2.0));
        }
    }
}

void innovation(const double* mean, const double* covariance, double age, const double* position, const double* spread, double& distance,
                double& log_determinant) {
    const double* c = covariance;
    const auto moved = [c, age](int i, int j) {
        return c[4 * i + j] - age * (c[4 * i + j + 2] + c[4 * j + i + 2]) + age * age * c[4 * (i + 2) + j + 2];
    };
    const Vector2 off{position[0] - (mean[0] - age * mean[2]), position[1] - (mean[1] - age * mean[3])};
    const double xy = moved(0, 1) + spread[1];
    const Matrix2 sum{moved(0, 0) + spread[0], xy, xy, moved(1, 1) + spread[3]};
    distance = squared_mahalanobis(off, sum);
    log_determinant = std::log(sum.xx * sum.yy - sum.xy * sum.xy);
}

bool correct_bodies(const Persons& persons, const Evidence& evidence, double huber, double pose_share, double least_stature_variance) {
    const int64_t people = persons.count, detections = evidence.detections;
    const auto& [count, whose, ages, information, vector, reach, given_shares] = evidence;
    std::vector<double> places(4 * people), centres(2 * people), known(9 * people, 0.0), known_vector(3 * people);
    for (int64_t n = 0; n < people; ++n) {
        const double *mean = persons.means + 4 * n, *c = persons.covariances + 16 * n, *stature = persons.statures + kStatures * n;
        const Matrix2 place = inverse(Matrix2{c[0], c[1], c[4], c[5]});
        store(place, places.data() + 4 * n);
        double* e = known.data() + 9 * n;
        e[0] = place.xx, e[1] = place.xy, e[3] = place.yx, e[4] = place.yy, e[8] = 1.0 / stature[1];
        const Vector2 centre{mean[0], mean[1]}, pulled = place * centre;
        centres[2 * n] = centre.x, centres[2 * n + 1] = centre.y;
        known_vector[3 * n] = pulled.x, known_vector[3 * n + 1] = pulled.y, known_vector[3 * n + 2] = stature[0] / stature[1];
    }
    // What the detections would say at the time of the persons' states.
    std::vector<double> present(3 * detections), shares(given_shares, given_shares + 3 * detections);
    std::vector<Vector2> lags(detections);
    for (int64_t m = 0; m < detections; ++m) {
        const double* mean = persons.means + 4 * whose[m];
        lags[m] = ages[m] * Vector2{mean[2], mean[3]};
        const Vector3 moved = Matrix3::load(information + 9 * m) * lags[m];
        present[3 * m] = vector[3 * m] + moved.x, present[3 * m + 1] = vector[3 * m + 1] + moved.y;
        present[3 * m + 2] = vector[3 * m + 2] + moved.z;
    }
    settled_shares(detections, information, present.data(), reach, shares.data(), whose, people, known.data(), known_vector.data());
    std::vector<double> positions(2 * detections), moved(2 * detections), spreads(4 * detections), weights(detections);
    std::vector<Gaussian3> totals(people);
    for (int64_t m = 0; m < detections; ++m) {
        const Gaussian3 said = merged(load(information, present.data(), m), load2(reach, m), shares.data() + 3 * m);
        Gaussian3& total = totals[whose[m]];
        total = {total.information + said.information, total.vector + said.vector};
    }
    for (int64_t n = 0; n < people; ++n) {
        Gaussian3 seen = totals[n];
        if (!(seen.information.e[8] > 0.0)) continue;
        for (const int i : {0, 1, 3, 4}) seen.information.e[i] += known[9 * n + i];
        seen.vector.x += known_vector[3 * n], seen.vector.y += known_vector[3 * n + 1];
        see_posture(seen, persons.statures + kStatures * n);
    }
    for (int64_t m = 0; m < detections; ++m) {
        const double* stature = persons.statures + kStatures * whose[m];
        const Gaussian3 said = merged(load(information, vector, m), load2(reach, m), shares.data() + 3 * m);
        const Placed placed = located(said, stature[kMomentary], stature[kMomentaryVariance]);
        positions[2 * m] = placed.position.x, positions[2 * m + 1] = placed.position.y;
        moved[2 * m] = placed.position.x + lags[m].x, moved[2 * m + 1] = placed.position.y + lags[m].y;
        store(placed.covariance, spreads.data() + 4 * m);
    }
    trust(detections, moved.data(), spreads.data(), whose, people, places.data(), centres.data(), weights.data());
    std::vector<double> precisions(4 * detections);
    for (int64_t m = 0; m < detections; ++m) {
        const Matrix2 spread = (1.0 / weights[m]) * load4(spreads.data(), m);
        double spread4[4], distance, log_determinant;
        store(spread, spread4);
        innovation(persons.means + 4 * whose[m], persons.covariances + 16 * whose[m], ages[m], positions.data() + 2 * m, spread4, distance,
                   log_determinant);
        store(std::min(1.0, huber / std::max(std::sqrt(distance), huber)) * inverse(spread), precisions.data() + 4 * m);
    }
    for (int64_t n = 0; n < people; ++n) {
        double* stature = persons.statures + kStatures * n;
        learn_stature(totals[n], (1.0 - stature[kCrouching]) * pose_share, least_stature_variance, stature);
    }
    return fuse(people, persons.means, persons.covariances, detections, whose, positions.data(), ages, precisions.data());
}

bool fuse(int64_t persons, double* means, double* covariances, int64_t detections, const int64_t* whose, const double* positions,
          const double* ages, const double* precisions) {
    std::vector<double> information(16 * persons), vector(4 * persons);
    for (int64_t n = 0; n < persons; ++n) {
        if (!invert4(covariances + 16 * n, information.data() + 16 * n)) return false;
        for (int i = 0; i < 4; ++i) {
            double sum = 0.0;
            for (int j = 0; j < 4; ++j) sum += information[16 * n + 4 * i + j] * means[4 * n + j];
            vector[4 * n + i] = sum;
        }
    }
    for (int64_t k = 0; k < detections; ++k) {
        // The detection is of the place at its own, earlier time: position - age * velocity.
        const double by[4] = {1.0, 1.0, -ages[k], -ages[k]};
        const double* precision = precisions + 4 * k;
        const Vector2 said = load4(precisions, k) * load2(positions, k);
        double* sum = information.data() + 16 * whose[k];
        double* pulled = vector.data() + 4 * whose[k];
        for (int i = 0; i < 4; ++i) {
            for (int j = 0; j < 4; ++j) sum[4 * i + j] += by[i] * precision[2 * (i % 2) + j % 2] * by[j];
            pulled[i] += by[i] * (i % 2 ? said.y : said.x);
        }
    }
    for (int64_t n = 0; n < persons; ++n) {
        if (!invert4(information.data() + 16 * n, covariances + 16 * n)) return false;
        for (int i = 0; i < 4; ++i) {
            double sum = 0.0;
            for (int j = 0; j < 4; ++j) sum += covariances[16 * n + 4 * i + j] * vector[4 * n + j];
            means[4 * n + i] = sum;
        }
    }
    return true;
}

}  // namespace aisle
