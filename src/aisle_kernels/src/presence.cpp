#include "presence.hpp"

#include <algorithm>
#include <cmath>
#include <vector>

#include "floor_geometry.hpp"

namespace aisle {

namespace {

int64_t cell_of(double position, double begin, double size, int64_t cells) {
    const double cell = std::nearbyint((position - begin) / size);
    // Written so that what is no number has a place too.
    return cell > 0.0 ? static_cast<int64_t>(std::min(cell, static_cast<double>(cells - 1))) : 0;
}

// bool [cameras, N].
std::vector<char> seen_by(const Findings& findings, int64_t persons) {
    std::vector<char> seen(static_cast<std::size_t>(findings.cameras * persons), 0);
    for (int64_t m = 0; m < findings.detections; ++m)
        if (findings.owner[m] >= 0) seen[findings.camera_of[m] * persons + findings.owner[m]] = 1;
    return seen;
}

}  // namespace

void silence(const Coverage& c, int64_t persons, const double* positions, double* result) {
    std::vector<int64_t> cells(persons);
    for (int64_t n = 0; n < persons; ++n)
        cells[n] = cell_of(positions[2 * n], c.x, c.cell, c.columns) * c.rows + cell_of(positions[2 * n + 1], c.y, c.cell, c.rows);
    for (int64_t camera = 0; camera < c.cameras; ++camera) {
        for (int64_t n = 0; n < persons; ++n) {
            const uint8_t share = c.shares[camera * c.columns * c.rows + cells[n]];
            // Most cameras of a large store do not see him at all.
            const bool behind = c.silence[share] != c.hidden[share] && hidden(c.eyes + 2 * camera, n, persons, positions, c.radius);
            result[camera * persons + n] = (behind ? c.hidden : c.silence)[share];
        }
    }
}

void judge(const ExistenceConfig& config, double dt_s, int64_t stamp_ns, const bool* reporting, const Findings& findings, int64_t persons,
           const double* silence, const bool* at_gate, double* log_odds, int64_t* seen_ns) {
    const std::vector<char> seen = seen_by(findings, persons);
    for (int64_t n = 0; n < persons; ++n) {
        int64_t frames = 0;
        double silent = 0.0;
        for (int64_t camera = 0; camera < findings.cameras; ++camera) {
            const int64_t at = camera * persons + n;
            if (seen[at])
                ++frames;
            else if (reporting[camera])
                silent += silence[at];
        }
        const double said = config.hit_gain * static_cast<double>(frames) + config.miss_share * silent;
        const double fading = frames ? 0.0 : (at_gate[n] ? config.fading_at_gate_per_s : config.fading_per_s) * dt_s;
        const double gain = std::min(std::max(said, -config.greatest_slot_loss), config.greatest_slot_gain) - fading;
        log_odds[n] = std::min(log_odds[n] + gain, config.greatest_log_odds);
        if (frames) seen_ns[n] = stamp_ns;
    }
}

int64_t compare_neighbours(double radius, int64_t stamp_ns, const Findings& findings, int64_t persons, const double* means, const Pairs& pairs) {
    std::vector<char> seen;
    int64_t near = 0;
    for (int64_t later = 0; later < persons; ++later) {
        for (int64_t earlier = 0; earlier < later; ++earlier) {
            const int64_t at = later * persons + earlier;
            const double x = means[4 * later] - means[4 * earlier], y = means[4 * later + 1] - means[4 * earlier + 1];
            if (!(x * x + y * y <= radius * radius)) {
                pairs.near_since_ns[at] = -1;
                continue;
            }
            ++near;
            if (pairs.near_since_ns[at] < 0) pairs.near_since_ns[at] = stamp_ns;
            if (seen.empty()) seen = seen_by(findings, persons);
            int64_t both = 0;
            for (int64_t camera = 0; camera < findings.cameras; ++camera)
                both += seen[camera * persons + later] && seen[camera * persons + earlier];
            if (!both) continue;
            pairs.apart_ns[at] = stamp_ns;
            pairs.apart_frames[at] += both;
        }
    }
    return near;
}

}  // namespace aisle
