// Who may have been found by which detection.
#pragma once

#include <cstdint>
#include <vector>

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

// Most detections have one possible person who has no other detection of that camera: those are given to him in `owner` [M]. The other
// pairs are marked in `shared` [N, M]; whether there are any.
inline bool gate(const Candidates& c, int64_t* owner, bool* shared) {
    std::vector<int> possible(static_cast<std::size_t>(c.detections)), in_frame(static_cast<std::size_t>(c.persons * c.number_of_cameras));
    for (int64_t n = 0; n < c.persons; ++n) {
        for (int64_t m = 0; m < c.detections; ++m) {
            const int64_t at = n * c.detections + m;
            shared[at] = c.asked[n] && c.free[m] && c.distances[at] <= c.limit && c.gains[at] > 0.0;
            possible[m] += shared[at];
            in_frame[n * c.number_of_cameras + c.cameras[m]] += shared[at];
        }
    }
    bool any = false;
    for (int64_t n = 0; n < c.persons; ++n) {
        for (int64_t m = 0; m < c.detections; ++m) {
            const int64_t at = n * c.detections + m;
            if (shared[at] && possible[m] == 1 && in_frame[n * c.number_of_cameras + c.cameras[m]] == 1) {
                owner[m] = n;
                shared[at] = false;
            }
            any |= shared[at];
        }
    }
    return any;
}

}  // namespace aisle
