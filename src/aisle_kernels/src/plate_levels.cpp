#include "plate_levels.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

namespace aisle {

namespace {

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

}  // namespace

int64_t PlateLevels::add(int64_t first, int64_t count, double* loads, bool* present) const {
    const int64_t all = plates();
    for (int64_t bin = first; bin < first + count; ++bin, loads += all, present += all) {
        const int64_t now = row(bin) * all, before = row(bin - 1) * all, since = row(bin - counts.mean) * all;
        for (int64_t p = 0; p < all; ++p) {
            present[p] = std::isfinite(loads[p]);
            if (!present[p]) loads[p] = 0.0;
            sums[now + p] = sums[before + p] + loads[p];
            samples[now + p] = samples[before + p] + (present[p] ? 1.0 : 0.0);
            const double number = samples[now + p] - samples[since + p];
            means[now + p] = 2.0 * number < static_cast<double>(counts.mean) ? kNone : (sums[now + p] - sums[since + p]) / number;
        }
        measure_shaking(bin);
    }
    for (int64_t bin = first; bin < first + count; ++bin) {
        const bool due = bin == first + count - 1 && (bin + 1) % counts.report == 0;
        const int64_t now = row(bin);
        for (int64_t shelf = 0; shelf < shelves; ++shelf)
            for (int64_t p = shelf * width; p < (shelf + 1) * width; ++p)
                if (is_off(now, shelf, p)) return bin - first;
        if (due) return count - 1;
    }
    return count;
}

void PlateLevels::measure_shaking(int64_t bin) const {
    const int64_t now = row(bin), before = row(bin - 1), since = row(bin - counts.mean);
    std::vector<double> differences(static_cast<std::size_t>(width));
    for (int64_t shelf = 0; shelf < shelves; ++shelf) {
        int64_t there = 0;
        for (int64_t p = shelf * width; p < (shelf + 1) * width; ++p) {
            const double difference = std::abs(means[now * plates() + p] - means[since * plates() + p]) * per_noise[p];
            if (!std::isnan(difference)) differences[static_cast<std::size_t>(there++)] = difference;
        }
        double level = 1.0;
        if (there >= counts.least_shaking_plates) {
            const auto quiet = differences.begin() + static_cast<int64_t>(static_cast<double>(there - 1) * limits.quiet_quantile);
            std::nth_element(differences.begin(), quiet, differences.begin() + there);
            level = *quiet / limits.quiet_of_normal;
        }
        restlessness[now * shelves + shelf] = level;
        double newest = restlessness[row(bin - counts.mean + 1) * shelves + shelf];
        for (int64_t k = bin - counts.mean + 2; k <= bin; ++k) newest += restlessness[row(k) * shelves + shelf];
        newest /= static_cast<double>(counts.mean) * limits.shaking_deadband;
        const double shakes = std::max(newest, 1.0 + (shaking[before * shelves + shelf] - 1.0) * limits.shaking_fade);
        shaking[now * shelves + shelf] = shakes;
        unrest[now * shelves + shelf] = unrest[before * shelves + shelf] + shakes * shakes;
    }
}

bool PlateLevels::is_off(int64_t row, int64_t shelf, int64_t plate) const {
    if (!idle[plate]) return false;
    const double off = means[row * plates() + plate] - level[plate], shakes = shaking[row * shelves + shelf];
    const double limit = squared_noise[plate] * (shakes * shakes) + squared_level[plate] + settling[shelf];
    return off * off > std::max(limit, limits.trigger * limits.trigger);
}

int64_t PlateLevels::off_level(int64_t bin, int64_t* found) const {
    const int64_t now = row(bin);
    int64_t count = 0;
    for (int64_t shelf = 0; shelf < shelves; ++shelf)
        for (int64_t p = shelf * width; p < (shelf + 1) * width; ++p)
            if (is_off(now, shelf, p)) found[count++] = p;
    return count;
}

int64_t PlateLevels::lastingly_off(int64_t bin, const bool* frozen, int64_t* found) const {
    const int64_t now = row(bin), since = row(bin - counts.lasting), all = plates();
    const double lasting = static_cast<double>(counts.lasting), average = averaging[counts.lasting];
    const double factor = limits.lasting_deviations * limits.lasting_deviations, least = limits.trigger * limits.trigger;
    int64_t count = 0;
    for (int64_t p = 0; p < all; ++p) {
        if (!idle[p] || blocks[p] < static_cast<double>(counts.learning_blocks) || (frozen && frozen[p])) continue;
        const double number = samples[now * all + p] - samples[since * all + p];
        if (4.0 * number < 3.0 * lasting) continue;
        const double off = (sums[now * all + p] - sums[since * all + p]) / std::max(number, 1.0) - level[p];
        const int64_t shelf = p / width;
        const double shook = (unrest[now * shelves + shelf] - unrest[since * shelves + shelf]) / lasting;
        double limit = (noise[p] * noise[p] * shook * average + level_variance[p]) * (error[p] * error[p]);
        limit *= factor;
        limit += settling[shelf];
        if (off * off > std::max(limit, least)) found[count++] = p;
    }
    return count;
}

void PlateLevels::watch(int64_t bin, const double* loads, const bool* present, int64_t number_busy, const int64_t* busy, double* exponents,
                        bool* known) const {
    const int64_t all = plates(), now = row(bin), report = row(bin - counts.report), since = row(bin - counts.mean);
    for (int64_t p = 0; p < all; ++p) {
        if (samples[now * all + p] > samples[report * all + p]) last_present_bin[p] = bin;
        if (present[p]) {
            unchanged_bins[p] = loads[p] != last_load[p] ? 0 : unchanged_bins[p] + counts.report;
            last_load[p] = loads[p];
        }
        const double units = std::abs(means[now * all + p] - means[since * all + p]) * per_noise[p];
        known[p] = std::isfinite(units);
        double gain = std::max(limits.noise_gain, limits.first_gain / (blocks[p] + limits.prior_weight));
        // What shakes a whole shelf at once passes in most cases: it is learnt slowly, unless it is all that the plate has ever shown.
        if (blocks[p] >= static_cast<double>(counts.learning_blocks)) gain /= shaking[now * shelves + p / width];
        exponents[p] = known[p] ? gain * (std::min(units, limits.clipped_at) - limits.clipped_mean) : 0.0;
    }
    for (int64_t k = 0; k < number_busy; ++k) {
        const int64_t p = busy[k];
        if (blocks[p] >= static_cast<double>(counts.learning_blocks) && bin - start_bin[p] <= counts.relearn) known[p] = false;
    }
}

void PlateLevels::learn_noise(const double* growth, const bool* known) const {
    for (int64_t p = 0; p < plates(); ++p) {
        if (!known[p]) continue;
        noise[p] = std::max(noise[p] * growth[p], limits.least_noise);
        blocks[p] += 1.0;
    }
}

void PlateLevels::track_levels(int64_t bin, const bool* frozen) const {
    const int64_t all = plates(), last = row(bin - counts.guard), first = row(bin - counts.level_span);
    for (int64_t p = 0; p < all; ++p) {
        const double number = samples[last * all + p] - samples[first * all + p];
        if (!idle[p] || number < static_cast<double>(counts.least_level) || (frozen && frozen[p])) continue;
        const int64_t shelf = p / width;
        const double shook =
            (unrest[last * shelves + shelf] - unrest[first * shelves + shelf]) / static_cast<double>(counts.level_span - counts.guard);
        const double variance = noise[p] * noise[p] * shook * averaging[static_cast<int64_t>(number)];
        // While a shelf shakes, the level from before is the better one, with what may have drifted since.
        const double deviation = std::sqrt(level_variance[p]) + limits.drift_per_report, aged = deviation * deviation;
        if (variance > limits.shaken_variance * aged && settling[shelf] == 0.0) {
            level_variance[p] = aged;
        } else {
            level_variance[p] = variance;
            level[p] = (sums[last * all + p] - sums[first * all + p]) / std::max(number, 1.0);
        }
    }
}

void PlateLevels::set_thresholds() const {
    const double factor = limits.trigger_deviations * limits.trigger_deviations, root = std::sqrt(2.0);
    for (int64_t p = 0; p < plates(); ++p) {
        squared_noise[p] = factor * (noise[p] * noise[p]);
        squared_level[p] = factor * level_variance[p];
        steady_range[p] = std::max(limits.steady, limits.steady_deviations * noise[p]);
        per_noise[p] = 1.0 / (root * noise[p]);
    }
}

int64_t PlateLevels::still(int64_t bin, int64_t count, const int64_t* chosen, const double* tolerances) const {
    constexpr double kEndless = std::numeric_limits<double>::infinity();
    std::vector<double> low(static_cast<std::size_t>(count), kEndless), high(low.size(), -kEndless);
    for (int64_t bins = 0; bins < counts.still; ++bins) {
        const double* mean = means + row(bin - bins) * plates();
        for (std::size_t k = 0; k < low.size(); ++k) {
            const double load = mean[chosen[k]];
            low[k] = std::min(low[k], load), high[k] = std::max(high[k], load);
            if (!(high[k] - low[k] <= tolerances[k]) || std::isnan(load)) return bins;
        }
    }
    return counts.still;
}

}  // namespace aisle
