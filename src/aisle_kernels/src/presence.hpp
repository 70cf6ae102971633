// What a slot says of who is there (the methods: aisle_perception.existence, floor_tracker, view_coverage).
#pragma once

#include <cstdint>

namespace aisle {

// Shares of bodies that cameras have in view, by cell of a grid on the floor.
struct Coverage {
    int64_t cameras, columns, rows, kinds;
    const uint8_t* shares;            // [cameras, columns, rows], which of the `kinds`
    const double *silence, *hidden;   // [kinds] log(1 - probability to be found), of somebody in plain view and behind another person
    double x, y, cell, radius;        // m; where the grid begins, and how near to a line of sight somebody hides what is behind him
    const double* eyes;               // [cameras, 2] m
};

// log(1 - probability) [cameras, N] with which each camera finds persons at `positions` [N, 2].
void silence(const Coverage& coverage, int64_t persons, const double* positions, double* result);

// aisle_perception.existence.ExistenceConfig.
struct ExistenceConfig {
    double hit_gain, miss_share, greatest_slot_gain, greatest_slot_loss, fading_per_s, fading_at_gate_per_s, greatest_log_odds;
};

// Which of `cameras` has found whom: detections [M] of the cameras `camera_of` [M] were taken for `owner` [M], -1: nobody.
struct Findings {
    int64_t cameras, detections;
    const int64_t *camera_of, *owner;
};

// Changes the log-odds [N] by what a slot of `dt_s` s says: `silence` [cameras, N] as above, of the cameras `reporting` in it alone.
// `at_gate` [N]. Those who were found have been seen at `stamp_ns`.
void judge(const ExistenceConfig& config, double dt_s, int64_t stamp_ns, const bool* reporting, const Findings& findings, int64_t persons,
           const double* silence, const bool* at_gate, double* log_odds, int64_t* seen_ns);

// Pairs of persons, [N, N] each: of the later (row) and the earlier one (column) since when they are near (-1: they are not), when a camera
// last saw both, and in how many frames.
struct Pairs {
    int64_t *near_since_ns, *apart_ns, *apart_frames;
};

// Takes up who is within `radius` m of whom, with `means` [N, 4], and whom of those the same cameras see. How many pairs are near.
int64_t compare_neighbours(double radius, int64_t stamp_ns, const Findings& findings, int64_t persons, const double* means, const Pairs& pairs);

}  // namespace aisle
