#include "plate_samples.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

namespace aisle {

namespace {

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

// The greatest whole number of divisors (> 0) that is not greater.
int64_t whole(int64_t value, int64_t divisor) {
    const int64_t quotient = value / divisor;
    return value % divisor < 0 ? quotient - 1 : quotient;
}

// Times from a damaged recording may be anything: they wrap around.
int64_t sum(int64_t a, int64_t b) { return static_cast<int64_t>(static_cast<uint64_t>(a) + static_cast<uint64_t>(b)); }
int64_t product(int64_t a, int64_t b) { return static_cast<int64_t>(static_cast<uint64_t>(a) * static_cast<uint64_t>(b)); }

}  // namespace

SampleBins::SampleBins(int64_t width, int64_t bin_ns, double glitch_kg)
    : width_(width), bin_ns_(bin_ns), glitch_kg_(glitch_kg), last_load_(width, std::numeric_limits<double>::infinity()) {}

bool SampleBins::open(int64_t& oldest, int64_t& newest) const {
    const auto begin = tables_.lower_bound(first_open_);
    if (begin == tables_.end()) return false;
    oldest = begin->first, newest = tables_.rbegin()->first;
    return true;
}

void SampleBins::take(SampleStream& stream, int64_t stamp_ns, int64_t period_ns, const Weights& weights) {
    const std::size_t plates = stream.columns.size();
    int64_t first = 0, slot = stream.slot;
    while (first < weights.rows) {
        const int64_t bin = whole(stamp_ns, bin_ns_);
        const int64_t left_ns = sum(product(bin + 1, bin_ns_), -stamp_ns);
        const int64_t fitting = std::max<int64_t>(left_ns / period_ns + (left_ns % period_ns != 0), 1);
        const int64_t end = fitting < weights.rows - first ? first + fitting : weights.rows;
        // The stamps of two readings may overlap by their jitter; their samples do not.
        if (bin > stream.bin) stream.bin = bin, slot = 0;
        const int64_t after = slot + end - first;
        if (stream.bin < first_open_) {
            too_late_ += end - first;
        } else {
            double* row = with_room(stream.bin, after).data() + slot * width_;
            for (int64_t sample = first; sample < end; ++sample, row += width_)
                for (std::size_t k = 0; k < plates; ++k) row[stream.columns[k]] = weights.at(sample, stream.known[k]);
        }
        stamp_ns = sum(stamp_ns, product(end - first, period_ns));
        first = end, slot = after;
    }
    stream.slot = slot;
}

SampleBins::Table& SampleBins::with_room(int64_t bin, int64_t slots) {
    const auto found = tables_.lower_bound(bin);
    const std::size_t size = static_cast<std::size_t>(slots * width_);
    if (found != tables_.end() && found->first == bin) {
        if (found->second.size() < size) found->second.resize(size, kNone);
        return found->second;
    }
    Table table;
    if (!spare_.empty()) {
        table = std::move(spare_.back());
        spare_.pop_back();
    }
    table.assign(size, kNone);
    return tables_.emplace_hint(found, bin, std::move(table))->second;
}

bool SampleBins::pop(int64_t first, int64_t end, double* means) {
    first_open_ = end;
    const auto begin = tables_.lower_bound(first), until = tables_.lower_bound(end);
    const bool any = begin != until;
    if (any) {
        const std::size_t width = static_cast<std::size_t>(width_);
        std::fill(means, means + (end - first) * width_, kNone);
        std::vector<char> jumps(width);
        for (auto at = begin; at != until; ++at)
            for (const double *row = at->second.data(), *stop = row + at->second.size(); row != stop; row += width)
                for (std::size_t k = 0; k < width; ++k) jumps[k] |= std::isfinite(row[k]) && std::abs(row[k] - last_load_[k]) > glitch_kg_ / 2;
        std::vector<const double*> glitches;
        for (int64_t column = 0; column < width_; ++column)
            if (jumps[static_cast<std::size_t>(column)]) find_glitches(first, end, column, glitches);
        std::sort(glitches.begin(), glitches.end());
        std::vector<double> total(width), count(width);
        for (auto at = begin; at != until; ++at) {
            std::fill(total.begin(), total.end(), 0.0), std::fill(count.begin(), count.end(), 0.0);
            for (const double *row = at->second.data(), *stop = row + at->second.size(); row != stop; row += width)
                for (std::size_t k = 0; k < width; ++k) {
                    if (!std::isfinite(row[k]) || (jumps[k] && std::binary_search(glitches.begin(), glitches.end(), row + k))) continue;
                    total[k] += row[k], count[k] += 1.0;
                }
            double* mean = means + (at->first - first) * width_;
            for (std::size_t k = 0; k < width; ++k)
                if (count[k] > 0.0) last_load_[k] = mean[k] = total[k] / count[k];
        }
    }
    // The last bin is kept: the neighbours of the next one's first samples are there.
    const auto kept = tables_.lower_bound(end - 1);
    for (auto at = tables_.begin(); at != kept; ++at) spare_.push_back(std::move(at->second));
    tables_.erase(tables_.begin(), kept);
    return any;
}

void SampleBins::find_glitches(int64_t first, int64_t end, int64_t column, std::vector<const double*>& found) const {
    std::vector<const double*> valid;
    for (auto at = tables_.lower_bound(first - 1); at != tables_.end() && at->first <= end; ++at)
        for (const double *place = at->second.data() + column, *stop = at->second.data() + at->second.size(); place < stop; place += width_)
            if (std::isfinite(*place)) valid.push_back(place);
    for (std::size_t k = 1; k + 1 < valid.size(); ++k) {
        const double before = *valid[k - 1], here = *valid[k], after = *valid[k + 1];
        const bool jumps = std::min(std::abs(here - before), std::abs(here - after)) > glitch_kg_;
        if (jumps && std::abs(after - before) < glitch_kg_ / 4) found.push_back(valid[k]);
    }
}

}  // namespace aisle
