// Which detection shows which person (the method: aisle_perception.association).
#pragma once

#include <cstdint>

namespace aisle {

// N persons, of whom those `asked` [N] are looked for among the `free` [M] detections of `cameras` [M]: squared `distances` [N, M] up to
// `limit` are near enough, and `gains` [N, M] say what it is worth.
struct Candidates {
    double limit;
    int64_t persons;
    const bool* asked;
    int64_t detections;
    const bool* free;
    int64_t number_of_cameras;
    const int64_t* cameras;
    const double *distances, *gains;
};

// Gives detections to persons in `owner` [M], for each camera one to one with the greatest sum of gains; the rest of it is left as it is.
void assign(const Candidates& candidates, int64_t* owner);

// Rows and columns matched one to one with the least sum of `costs` [rows, columns]; rows <= columns. `column_of` [rows].
// The shortest augmenting paths of Crouse, On implementing 2D rectangular assignment algorithms, IEEE TAES 52(4), 2016.
void match(int64_t rows, int64_t columns, const double* costs, int64_t* column_of);

// Groups detections [M] of different cameras whose squared distance is `gate` or less (complete links): `labels` [M] is the number of the
// first one of each group.
void find_clusters(double gate, int64_t detections, const int64_t* cameras, const double* positions, const double* covariances,
                   int64_t* labels);

// Which detections [M] that are nobody's (`owner` -1) lie within the squared distance `limit` of a person who is `confirmed` [N] and whom
// their camera shows by no other detection.
void find_shadows(double limit, int64_t persons, const bool* confirmed, int64_t detections, const int64_t* cameras, const int64_t* owner,
                  const double* distances, bool* shadows);

}  // namespace aisle
