// Levels, noise and shaking of all plates of a store, bin by bin.
#pragma once

#include <cstdint>

namespace aisle {

// What aisle_fusion.shelf_monitor_levels counts in bins and in numbers of things ...
struct LevelCounts {
    int64_t history, mean, guard, level_span, least_level, lasting, report, learning_blocks, relearn, least_shaking_plates, still;
};

// ... and its other constants and parameters, masses in kg.
struct LevelLimits {
    double trigger, trigger_deviations, steady, steady_deviations, least_noise, lasting_deviations, noise_gain, first_gain, prior_weight,
        clipped_at, clipped_mean, shaken_variance, drift_per_report, shaking_deadband, shaking_fade, quiet_quantile, quiet_of_normal;
};

// The arrays of a PlateLevels, one number for each plate (P = shelves * width), each shelf (S), or each of them in each row of history (H);
// `averaging` [H + 1].
struct PlateLevels {
    LevelCounts counts;
    LevelLimits limits;
    int64_t shelves, width;
    const double* averaging;
    double *sums, *samples, *means;                  // [H, P]
    double *unrest, *restlessness, *shaking;         // [H, S]
    const double* settling;                          // [S], squared
    double *noise, *level, *level_variance;          // [P]
    double *blocks, *error;                          // [P]
    double *steady_range, *per_noise;                // [P]
    double *squared_noise, *squared_level;           // [P], times the trigger's factor
    double* last_load;                               // [P]
    const bool* idle;                                // [P]
    const int64_t* start_bin;                        // [P]
    int64_t *last_present_bin, *unchanged_bins;      // [P]

    int64_t plates() const { return shelves * width; }
    int64_t row(int64_t bin) const { return (bin % counts.history + counts.history) % counts.history; }

    // Takes `loads` [count, P] (NaN: none, which becomes 0) of the bins from `first` on, and says which are there. How many of them pass
    // before a plate at rest leaves its level; the last bin of a report never does.
    int64_t add(int64_t first, int64_t count, double* loads, bool* present) const;
    // Plates at rest whose load has left its level; how many.
    int64_t off_level(int64_t bin, int64_t* found) const;
    // The same for means over `lasting` bins, but not where `frozen` [P] says so (null: nowhere).
    int64_t lastingly_off(int64_t bin, const bool* frozen, int64_t* found) const;
    // Notes which plates report and which show the same all the time, and gives the exponents [P] of the factors by which noise has grown,
    // as far as `known` [P]. Not for plates that are `busy`.
    void watch(int64_t bin, const double* loads, const bool* present, int64_t number_busy, const int64_t* busy, double* exponents,
               bool* known) const;
    void learn_noise(const double* growth, const bool* known) const;
    void track_levels(int64_t bin, const bool* frozen) const;
    void set_thresholds() const;
    // For how many bins the short means of `plates` [count] have kept within `tolerances` [count].
    int64_t still(int64_t bin, int64_t count, const int64_t* plates, const double* tolerances) const;

private:
    void measure_shaking(int64_t bin) const;
    bool is_off(int64_t row, int64_t shelf, int64_t plate) const;
};

}  // namespace aisle
